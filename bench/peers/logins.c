/* Logs devices in as they come back after a restart: all within a short time, and again where they are refused.
 *
 * logins -p PORT -n DEVICES [-a ARRIVE_S] [-b AGAIN_S] [-t PATIENCE_S] [-x DEADLINE_S] [-s SOURCES] [-P SERVER_PID]
 *
 * A device connects at some time within ARRIVE_S, sends its login and waits for at most PATIENCE_S. With an answer that
 * says "try again" (000006), without one, or where it cannot connect, it comes again after AGAIN_S to 1.5 AGAIN_S. Prints one line of
 * JSON; the exit status is not 0 if a device was refused in another way or has not got in before the deadline.
 */
#include "common.h"

#define LONGEST_ANSWER 2048
#define ANSWERED "\"retcode\":\"000000\""
#define TRY_AGAIN "\"retcode\":\"000006\""

enum state { WAITS, CONNECTS, ASKED, IS_IN };

struct device {
    enum state state;
    int fd, length;
    unsigned attempts;
    uint64_t at; /* when it comes, or gives up */
    uint64_t since;
    char *answer;
};

static struct device *devices;
static unsigned device_count = 1000, sources = 1, in, refused, timed_out, unconnected, most_attempts, wrong, waiting_most;
static int poller, port;
static double arrive = 5, again = 5, patience = 20;
static struct histogram times;

static void come_again(struct device *one)
{
    close(one->fd);
    free(one->answer);
    one->answer = NULL;
    one->state = WAITS;
    one->at = now_ns() + again * SECOND * (1 + drand48() / 2);
}

static void connect_device(struct device *one)
{
    one->fd = start_connecting(one - devices, sources, port);
    one->state = CONNECTS;
    one->length = 0;
    one->answer = malloc(LONGEST_ANSWER);
    one->attempts++;
    one->since = now_ns();
    one->at = one->since + patience * SECOND;
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = one};
    epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &event);
}

static void ask(struct device *one)
{
    char hostid[HOSTID_LENGTH], message[512];
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(one->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        unconnected++;
        come_again(one);
        return;
    }
    write_hostid(hostid, one - devices);
    int size = sprintf(message,
        "{\"method\":\"login\",\"params\":{\"hostid\":\"%.24s\",\"hostname\":\"G%u\",\"password\":\"12345\",\"moduletype\":"
        "\"HGM6120N\",\"modulePort\":2,\"moduleBaud\":0}}",
        hostid, (unsigned)(one - devices));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
    epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &event);
    one->state = ASKED;
    if (send(one->fd, message, size, MSG_NOSIGNAL) != size)
        come_again(one);
}

static void receive(struct device *one)
{
    ssize_t length = recv(one->fd, one->answer + one->length, LONGEST_ANSWER - 1 - one->length, 0);
    if (length <= 0) {
        unconnected++;
        come_again(one);
        return;
    }
    one->length += length;
    one->answer[one->length] = 0;
    if (!strstr(one->answer, "\"retcode\":"))
        return; /* the rest comes */
    if (strstr(one->answer, ANSWERED)) {
        note_time(&times, now_ns() - one->since);
        if (one->attempts > most_attempts)
            most_attempts = one->attempts;
        close(one->fd);
        free(one->answer);
        one->state = IS_IN;
        in++;
    } else if (strstr(one->answer, TRY_AGAIN)) {
        refused++;
        come_again(one);
    } else {
        fprintf(stderr, "wrong answer: %s\n", one->answer);
        wrong++;
        come_again(one);
    }
}

/* Let those come whose time it is, and those give up who have waited too long. */
static void look_at_times(void)
{
    uint64_t now = now_ns();
    unsigned waiting = 0;
    for (unsigned index = 0; index < device_count; index++) {
        struct device *one = &devices[index];
        waiting += one->state == ASKED;
        if (one->state == IS_IN || one->at > now)
            continue;
        if (one->state == WAITS)
            connect_device(one);
        else {
            timed_out++;
            come_again(one);
        }
    }
    if (waiting > waiting_most)
        waiting_most = waiting;
}

int main(int count, char **arguments)
{
    int pid = 0, option;
    double deadline = 300;
    while ((option = getopt(count, arguments, "p:n:a:b:t:x:s:P:")) != -1)
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'n': device_count = atoi(optarg); break;
        case 'a': arrive = atof(optarg); break;
        case 'b': again = atof(optarg); break;
        case 't': patience = atof(optarg); break;
        case 'x': deadline = atof(optarg); break;
        case 's': sources = atoi(optarg); break;
        case 'P': pid = atoi(optarg); break;
        default: return 2;
        }
    raise_file_limit();
    srand48(1);
    devices = calloc(device_count, sizeof *devices);
    if ((poller = epoll_create1(EPOLL_CLOEXEC)) < 0)
        fail("epoll_create1");
    uint64_t started = now_ns(), next_look = started;
    for (unsigned index = 0; index < device_count; index++)
        devices[index].at = started + drand48() * arrive * SECOND;
    double server_cpu = cpu_seconds(pid);
    struct epoll_event events[512];
    while (in < device_count && now_ns() < started + deadline * SECOND) {
        if (now_ns() >= next_look) {
            look_at_times();
            next_look = now_ns() + SECOND / 50;
        }
        int ready = epoll_wait(poller, events, 512, 5);
        for (int index = 0; index < ready; index++) {
            struct device *one = events[index].data.ptr;
            if (one->state == CONNECTS)
                ask(one);
            else if (one->state == ASKED)
                receive(one);
        }
    }
    double took = (now_ns() - started) / 1e9;
    printf("{\"devices\":%u,\"in\":%u,\"seconds\":%.2f,\"cpu_ms\":%.3f,\"refused\":%u,\"timed_out\":%u,\"unconnected\":%u,"
           "\"most_attempts\":%u,\"waiting_most\":%u,\"p50_ms\":%.1f,\"p99_ms\":%.1f,\"max_ms\":%.1f,\"resident_kib\":%ld,"
           "\"wrong\":%u}\n",
        device_count, in, took, in ? (cpu_seconds(pid) - server_cpu) / in * 1e3 : 0, refused, timed_out, unconnected,
        most_attempts, waiting_most, quantile_ms(&times, .5), quantile_ms(&times, .99), quantile_ms(&times, 1),
        resident_kib(pid), wrong);
    return in < device_count || wrong ? 3 : 0;
}
