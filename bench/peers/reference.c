/* The floor: a server in C that finds the end of each object and answers by its method, and knows nothing else.
 *
 * reference PORT
 */
#include "common.h"

static const char HEARTBEAT_ANSWER[] = "{\"method\":\"HB\",\"message\":\"OK\",\"retcode\":\"000000\"}";
static const char UPLOAD_ANSWER[] = "{\"method\":\"reqdata\",\"message\":\"OK\",\"retcode\":\"000000\"}";
#define LONGEST 65536

struct connection {
    int fd, depth, in_string, escaped;
    int length; /* of what is kept */
    char *kept; /* the beginning of an object that is not complete */
};

/* The end of the object that begins here, or 0: it is not complete. */
static int end_of_object(struct connection *one, const char *bytes, int length)
{
    one->depth = one->in_string = one->escaped = 0;
    for (int position = 0; position < length; position++) {
        char byte = bytes[position];
        if (one->in_string) {
            if (one->escaped)
                one->escaped = 0;
            else if (byte == '\\')
                one->escaped = 1;
            else if (byte == '"')
                one->in_string = 0;
        } else if (byte == '"')
            one->in_string = 1;
        else if (byte == '{')
            one->depth++;
        else if (byte == '}' && --one->depth == 0)
            return position + 1;
    }
    return 0;
}

static void answer(struct connection *one, const char *bytes, int length)
{
    int heartbeat = memmem(bytes, length, "\"method\":\"HB\"", 13) != NULL;
    send(one->fd, heartbeat ? HEARTBEAT_ANSWER : UPLOAD_ANSWER,
        (heartbeat ? sizeof HEARTBEAT_ANSWER : sizeof UPLOAD_ANSWER) - 1, MSG_NOSIGNAL);
}

/* Returns whether the connection goes on. */
static int receive(struct connection *one)
{
    static char bytes[LONGEST];
    if (one->length)
        memcpy(bytes, one->kept, one->length);
    ssize_t length = recv(one->fd, bytes + one->length, sizeof bytes - one->length, 0);
    if (length <= 0)
        return length < 0 && errno == EAGAIN;
    int begin = 0, end, behind = one->length + length;
    while (begin < behind && (end = end_of_object(one, bytes + begin, behind - begin))) {
        answer(one, bytes + begin, end);
        begin += end;
    }
    free(one->kept);
    one->kept = NULL;
    one->length = behind - begin;
    if (one->length) {
        one->kept = malloc(one->length);
        memcpy(one->kept, bytes + begin, one->length);
    }
    return one->length < LONGEST;
}

int main(int count, char **arguments)
{
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0), fd;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(count > 1 ? atoi(arguments[1]) : 0), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN}, events[512];
    raise_file_limit();
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096))
        fail("listen");
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poller, events, 512, -1);
        for (int index = 0; index < ready; index++) {
            struct connection *device = events[index].data.ptr;
            if (device) {
                if (!receive(device)) {
                    close(device->fd);
                    free(device->kept);
                    free(device);
                }
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                device = calloc(1, sizeof *device);
                device->fd = fd;
                event.data.ptr = device;
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
