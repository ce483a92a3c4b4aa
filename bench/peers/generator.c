/* Sends what devices send, checks every answer byte for byte, and says what that took.
 *
 * generator -p PORT -n CONNECTIONS -k heartbeat|full|change|mixed [-r RATE] [-w WARMUP_S] [-d SECONDS] [-s SOURCES]
 *           [-P SERVER_PID] [-c CONNECT_S]
 *
 * Every connection is a device's. It first sends a full upload and as many changes as settle a byte order, so that the
 * server has attached it and knows all of its registers. Then, without a rate, each connection sends its next message
 * as soon as the last was answered: the server is never idle. With a rate (messages a second, all connections
 * together) they take turns at even intervals, whether answers come or not, as devices do. A time counts from when a
 * message is due, so that a server that holds the generator up does not hide how late it was. With -c the connections
 * come spread over so many seconds, and with them what the server does at intervals. Prints one line of JSON; the exit
 * status is not 0 if an answer was wrong or missing, or a connection was lost. SIGTERM ends the measuring early.
 */
#include <signal.h>
#include "common.h"

enum kind { HEARTBEAT, FULL, CHANGE, MIXED };
static const char *const KINDS[] = {"heartbeat", "full", "change", "mixed"};
/* One upload in ten is full, four bring changes, the rest are heartbeats. */
static const enum kind MIX[] = {FULL, HEARTBEAT, CHANGE, HEARTBEAT, CHANGE, HEARTBEAT, CHANGE, HEARTBEAT, CHANGE, HEARTBEAT};

#define LONGEST 1024
#define VARIANTS 16  /* of a full upload: each differs from the one before */
#define PREPARING 5  /* a full upload, then changes: more than the evidence that settles a byte order */
#define MOST_WAITING 8 /* messages of one connection that may be unanswered where a rate is given */
#define MOST_CONNECTING 256
#define DEADLINE (180 * SECOND) /* to prepare all connections: each device's first upload is kept */

static const char HEARTBEAT_ANSWER[] = "{\"method\":\"HB\",\"message\":\"OK\",\"retcode\":\"000000\"}";
static const char UPLOAD_ANSWER[] = "{\"method\":\"reqdata\",\"message\":\"OK\",\"retcode\":\"000000\"}";

struct connection {
    int fd;
    char hostid[HOSTID_LENGTH];
    unsigned sent, answered;       /* messages; the difference is what waits */
    unsigned matched;              /* bytes of the next answer that have come */
    uint64_t due[MOST_WAITING];    /* by number of the message */
    unsigned char asked[MOST_WAITING]; /* its kind, likewise */
    uint8_t connected, lost;
};

static struct connection *connections;
static unsigned connection_count = 100, prepared, lost;
static uint64_t wrong, sent, answered, skipped;
static enum kind kind = FULL;
static int poller, measuring, preparing = 1;
static volatile sig_atomic_t told_to_end;
static double rate;
static struct histogram times;
static char full_frames[VARIANTS][LONGEST / 2];

static unsigned crc16(const uint8_t *bytes, int length)
{
    unsigned crc = 0xFFFF;
    while (length--) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xA001 : crc >> 1;
    }
    return crc;
}

/* A Modbus RTU response of unit 1 in hex. */
static char *write_frame(char *into, unsigned function, const uint8_t *values, int length)
{
    uint8_t frame[256] = {1, function, length};
    memcpy(frame + 3, values, length);
    unsigned crc = crc16(frame, 3 + length);
    frame[3 + length] = crc & 0xFF;
    frame[4 + length] = crc >> 8;
    for (int position = 0; position < 5 + length; position++)
        into += sprintf(into, "%02X", frame[position]);
    return into;
}

static void write_registers(uint8_t *into, const unsigned *registers, int count)
{
    for (int index = 0; index < count; index++) {
        into[2 * index] = registers[index] >> 8;
        into[2 * index + 1] = registers[index];
    }
}

/* Full uploads of an HGM6120N at rest behind healthy mains: 90 coils and 55 registers in three frames. */
static void make_full_frames(void)
{
    static const int coils_on[] = {6, 41, 50, 65, 74, 76};
    static const unsigned at_rest[45] = {
        231, 232, 233, 401, 402, 403, 5003, [17] = 37, 5154, 32766, 95, 77, 1892, 0, 273, [42] = 1, 2, 51};
    static const unsigned counters[10] = {0, 39, 0, 253, 43, 34, 0, 0, 0, 12};
    static const int measured[] = {0, 1, 2, 3, 4, 5, 6, 17, 18, 20, 22, 24};
    uint8_t coils[12] = {0}, registers[90], counted[20];
    for (unsigned index = 0; index < sizeof coils_on / sizeof *coils_on; index++)
        coils[coils_on[index] / 8] |= 1 << coils_on[index] % 8;
    for (int variant = 0; variant < VARIANTS; variant++) {
        unsigned values[45];
        memcpy(values, at_rest, sizeof values);
        for (unsigned index = 0; index < sizeof measured / sizeof *measured; index++)
            values[measured[index]] += (variant * 7 + index * 3) % 5;
        write_registers(registers, values, 45);
        write_registers(counted, counters, 10);
        char *end = write_frame(full_frames[variant], 1, coils, sizeof coils);
        *end++ = ';';
        end = write_frame(end, 3, registers, sizeof registers);
        *end++ = ';';
        *write_frame(end, 3, counted, sizeof counted) = 0;
    }
}

static int write_message(char *into, const struct connection *one, enum kind what)
{
    unsigned number = one->sent;
    switch (what) {
    case FULL:
        return snprintf(into, LONGEST, "{\"method\":\"reqdata\",\"params\":\"%s\",\"hostid\":\"%.24s\"}",
            full_frames[number % VARIANTS], one->hostid);
    case CHANGE: /* registers little-endian; the coils are those of the full uploads, so that no alarm comes or goes */
        return sprintf(into,
            "{\"method\":\"reqdatachange\",\"params\":{\"packetnum\":%u,\"03\":[{\"0000\":\"%02X00\"},{\"0006\":"
            "\"%02X13\"},{\"0018\":\"%02X01\"}],\"01\":[{\"0000\":\"40\"}]},\"hostid\":\"%.24s\"}",
            number % 1000000, 0xE7 + number % 3, 0x88 + number % 5, 0x10 + number % 4, one->hostid);
    default:
        return sprintf(into, "{\"method\":\"HB\",\"hostid\":\"%.24s\",\"params\":\"\"}", one->hostid);
    }
}

static void lose(struct connection *one)
{
    if (!one->lost) {
        one->lost = 1;
        lost++;
        close(one->fd);
    }
}

/* What a connection sends next. */
static enum kind next_kind(const struct connection *one)
{
    if (preparing)
        return one->sent ? CHANGE : FULL;
    return kind == MIXED ? MIX[(one->sent + (one - connections)) % (sizeof MIX / sizeof *MIX)] : kind;
}

static void send_message(struct connection *one, uint64_t due)
{
    char message[LONGEST];
    enum kind what = next_kind(one);
    int length = write_message(message, one, what);
    one->due[one->sent % MOST_WAITING] = due;
    one->asked[one->sent % MOST_WAITING] = what;
    one->sent++;
    sent++;
    /* Fewer than MOST_WAITING messages are unanswered: the kernel's buffer always has room for this one. */
    if (send(one->fd, message, length, MSG_NOSIGNAL) != length)
        lose(one);
}

/* Take what has come; every byte must be that of the next answer. Returns how many answers are complete. */
static int receive(struct connection *one)
{
    char bytes[4096];
    int complete = 0;
    ssize_t length = recv(one->fd, bytes, sizeof bytes, 0);
    if (length <= 0) {
        if (length == 0 || errno != EAGAIN)
            lose(one);
        return 0;
    }
    uint64_t now = now_ns();
    for (ssize_t position = 0; position < length;) {
        unsigned number = one->answered % MOST_WAITING;
        int heartbeat = one->asked[number] == HEARTBEAT;
        const char *answer = heartbeat ? HEARTBEAT_ANSWER : UPLOAD_ANSWER;
        unsigned whole = heartbeat ? sizeof HEARTBEAT_ANSWER - 1 : sizeof UPLOAD_ANSWER - 1;
        unsigned rest = whole - one->matched;
        unsigned have = length - position < rest ? length - position : rest;
        if (one->answered == one->sent || memcmp(bytes + position, answer + one->matched, have)) {
            fprintf(stderr, "wrong answer: %.*s\n", (int)(length - position), bytes + position);
            wrong++;
            lose(one);
            return complete;
        }
        position += have;
        one->matched += have;
        if (one->matched == whole) {
            if (measuring)
                note_time(&times, now - one->due[number]);
            one->matched = 0;
            one->answered++;
            answered++;
            complete++;
        }
    }
    return complete;
}

static void watch(struct connection *one, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = one};
    epoll_ctl(poller, operation, one->fd, &event);
}

static void become_connected(struct connection *one)
{
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(one->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    one->connected = 1;
    if (error) {
        fprintf(stderr, "connect: %s\n", strerror(error));
        lose(one);
        return;
    }
    watch(one, EPOLL_CTL_MOD, EPOLLIN);
    send_message(one, now_ns());
}

/* Connect all, and let each say what it says first. */
static void prepare(int port, unsigned sources, double connect_s)
{
    struct epoll_event events[512];
    unsigned started = 0;
    uint64_t begin = now_ns(), give_up = begin + connect_s * SECOND + DEADLINE;
    while (prepared + lost < connection_count) {
        double passed = (now_ns() - begin) / 1e9;
        unsigned due = passed < connect_s ? connection_count * passed / connect_s : connection_count;
        while (started < due && started - prepared - lost < MOST_CONNECTING) {
            struct connection *one = &connections[started];
            write_hostid(one->hostid, started);
            one->fd = start_connecting(started++, sources, port);
            watch(one, EPOLL_CTL_ADD, EPOLLOUT);
        }
        int count = epoll_wait(poller, events, 512, started < connection_count ? 1 : 1000);
        for (int index = 0; index < count; index++) {
            struct connection *one = events[index].data.ptr;
            if (one->lost)
                continue;
            if (!one->connected)
                become_connected(one);
            else if (receive(one)) {
                if (one->sent < PREPARING)
                    send_message(one, now_ns());
                else
                    prepared++;
            }
        }
        if (now_ns() > give_up)
            fail("%u of %u connections prepared", prepared, connection_count);
    }
    preparing = 0;
}

static uint64_t interval, next_due;
static unsigned whose_turn;

/* Send what is due by now. */
static void keep_pace(uint64_t now)
{
    while (next_due <= now) {
        struct connection *one = &connections[whose_turn++ % connection_count];
        if (one->sent - one->answered >= MOST_WAITING)
            skipped++;
        else if (!one->lost)
            send_message(one, next_due);
        next_due += interval;
    }
}

/* Exchange messages until a time; a saturating generator sends after each answer while it may. */
static void run(uint64_t until, int sending)
{
    struct epoll_event events[512];
    for (uint64_t now; (now = now_ns()) < until;) {
        if (sending ? told_to_end : answered == sent || lost)
            return;
        uint64_t wake = until;
        if (rate > 0 && sending) {
            keep_pace(now);
            if (next_due < wake)
                wake = next_due;
        }
        now = now_ns();
        uint64_t left = wake > now ? wake - now : 0;
        struct timespec patience = {left / SECOND, left % SECOND};
        int count = epoll_pwait2(poller, events, 512, &patience, NULL);
        for (int index = 0; index < count; index++) {
            struct connection *one = events[index].data.ptr;
            if (!one->lost && receive(one) && sending && rate <= 0 && !one->lost)
                send_message(one, now_ns());
        }
    }
}

static void end_soon(int number)
{
    (void)number;
    told_to_end = 1;
}

static double own_cpu_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int count, char **arguments)
{
    int port = 0, pid = 0, option;
    unsigned sources = 1;
    double warmup = 0.5, duration = 2, connect_s = 0;
    while ((option = getopt(count, arguments, "p:n:k:r:w:d:s:P:c:")) != -1)
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'n': connection_count = atoi(optarg); break;
        case 'k':
            for (kind = HEARTBEAT; kind < MIXED && strcmp(optarg, KINDS[kind]); kind++)
                ;
            break;
        case 'r': rate = atof(optarg); break;
        case 'w': warmup = atof(optarg); break;
        case 'd': duration = atof(optarg); break;
        case 's': sources = atoi(optarg); break;
        case 'P': pid = atoi(optarg); break;
        case 'c': connect_s = atof(optarg); break;
        default: return 2;
        }
    raise_file_limit();
    make_full_frames();
    connections = calloc(connection_count, sizeof *connections);
    if ((poller = epoll_create1(EPOLL_CLOEXEC)) < 0)
        fail("epoll_create1");
    signal(SIGTERM, end_soon);
    prepare(port, sources, connect_s);

    next_due = now_ns();
    if (rate > 0)
        interval = SECOND / rate;
    else
        for (unsigned index = 0; index < connection_count; index++)
            if (!connections[index].lost)
                send_message(&connections[index], now_ns());
    run(now_ns() + warmup * SECOND, 1);
    measuring = 1;
    uint64_t started = now_ns(), answered_before = answered;
    double server_cpu = cpu_seconds(pid), own_cpu = own_cpu_seconds();
    run(started + duration * SECOND, 1);
    double took = (now_ns() - started) / 1e9;
    uint64_t messages = answered - answered_before;
    server_cpu = cpu_seconds(pid) - server_cpu;
    own_cpu = own_cpu_seconds() - own_cpu;
    measuring = rate > 0; /* what was due in time and is answered later counts; a saturating load has no such thing */
    run(now_ns() + 5 * SECOND, 0);
    printf("{\"kind\":\"%s\",\"connections\":%u,\"rate\":%.0f,\"seconds\":%.3f,\"messages\":%lu,\"per_second\":%.0f,"
           "\"cpu_us\":%.3f,\"cpu_percent\":%.2f,\"own_cpu_us\":%.3f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,"
           "\"resident_kib\":%ld,\"unanswered\":%lu,\"skipped\":%lu,\"wrong\":%lu,\"lost\":%u}\n",
        KINDS[kind], connection_count, rate, took, messages, messages / took, messages ? server_cpu / messages * 1e6 : 0,
        server_cpu / took * 100, messages ? own_cpu / messages * 1e6 : 0, quantile_ms(&times, .5),
        quantile_ms(&times, .99), quantile_ms(&times, 1), resident_kib(pid), sent - answered, skipped, wrong, lost);
    fflush(stdout);
    return sent != answered || wrong || lost || skipped ? 3 : 0;
}
