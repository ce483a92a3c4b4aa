/* What the load programs need: clocks, sockets, a histogram of times, and the CPU time of the server under test. */
#ifndef COMMON_H
#define COMMON_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HOSTID_LENGTH 24
#define SECOND 1000000000ull
#define FIRST_SOURCE 0x7f000002u /* 127.0.0.2: one address has 28,000 ports to connect from, which many devices exceed */

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, ": %s\n", strerror(errno));
    exit(1);
}

static inline uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * SECOND + time.tv_nsec;
}

/* The same hostids as bench/peers/servers.py. */
static inline void write_hostid(char *into, unsigned device)
{
    char text[HOSTID_LENGTH + 1];
    snprintf(text, sizeof text, "3439333633355115%08X", device + 1);
    memcpy(into, text, HOSTID_LENGTH);
}

static inline void raise_file_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* A socket that connects to a port of 127.0.0.1, from the address of its device. */
static inline int start_connecting(unsigned device, unsigned sources, int port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(FIRST_SOURCE + device % sources)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (void *)&from, sizeof from))
        fail("bind");
    if (connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS)
        fail("connect");
    return fd;
}

/* Times in ns, counted in buckets that are 1/32 wide of what they hold. */
#define BUCKETS (64 * 32)
struct histogram {
    uint64_t counts[BUCKETS], total, longest;
};

static inline void note_time(struct histogram *times, uint64_t ns)
{
    unsigned exponent = ns < 64 ? 0 : 58 - __builtin_clzll(ns);
    times->counts[exponent * 32 + (ns >> exponent)]++;
    times->total++;
    if (ns > times->longest)
        times->longest = ns;
}

/* The time that a share of all did not exceed, in ms: the upper end of its bucket. */
static inline double quantile_ms(const struct histogram *times, double share)
{
    uint64_t wanted = times->total * share, seen = 0;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        seen += times->counts[bucket];
        if (seen > wanted) {
            unsigned exponent = bucket < 64 ? 0 : bucket / 32 - 1;
            uint64_t end = (uint64_t)(bucket - exponent * 32 + 1) << exponent;
            return (end < times->longest ? end : times->longest) / 1e6;
        }
    }
    return times->longest / 1e6;
}

/* CPU time of all threads of a process in seconds, to the nanosecond where the kernel counts it. */
static inline double cpu_seconds(int pid)
{
    char path[64], file[400];
    double seconds = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return 0;
    for (struct dirent *task; (task = readdir(tasks));) {
        unsigned long long on_cpu = 0;
        if (task->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s/schedstat", path, task->d_name);
        FILE *stream = fopen(file, "r");
        if (stream) {
            if (fscanf(stream, "%llu", &on_cpu) == 1)
                seconds += on_cpu / 1e9;
            fclose(stream);
        }
    }
    closedir(tasks);
    return seconds;
}

static inline long resident_kib(int pid)
{
    char path[64], line[256];
    long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *stream = fopen(path, "r");
    while (stream && fgets(line, sizeof line, stream))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    if (stream)
        fclose(stream);
    return kib;
}
#endif
