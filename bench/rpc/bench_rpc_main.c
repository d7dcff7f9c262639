/*
 * bench_rpc_main.c -- what the calls between the tiers cost.
 *
 *   im-bench-rpc unary DEPTH [SECONDS]
 *   im-bench-rpc stream BATCH [SECONDS]
 *   im-bench-rpc watch ETCD INSTANCES RATE [SECONDS]
 *   im-bench-rpc opens ETCD RATE SECONDS LOGIC-PID REDIS-PID
 *
 * bench/rpc/run runs the figures of docs/performance.md.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench_rpc.h"

#define SECONDS_MAX  60


uint64_t
bench_cpu_us(void)
{
    int            i;
    uint64_t       us;
    struct rusage  ru;

    us = 0;

    for (i = 0; i < 2; i++) {
        getrusage(i ? RUSAGE_CHILDREN : RUSAGE_SELF, &ru);
        us += (uint64_t) (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000
              + (uint64_t) (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
    }

    return us;
}


uint64_t
bench_now_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


static unsigned
number(const char *text, unsigned max)
{
    int  n;

    n = (text != NULL) ? atoi(text) : 5;

    return (n >= 1 && (unsigned) n <= max) ? (unsigned) n : 0;
}


int
main(int argc, char **argv)
{
    int       pids[2];
    unsigned  n, seconds;

    if (argc == 3 || argc == 4) {
        n = number(argv[2], 1024);
        seconds = number(argc == 4 ? argv[3] : NULL, SECONDS_MAX);

        if (n != 0 && seconds != 0 && strcmp(argv[1], "unary") == 0) {
            return bench_unary(n, seconds);
        }

        if (n != 0 && seconds != 0 && strcmp(argv[1], "stream") == 0) {
            return bench_stream(n, seconds);
        }
    }

    if ((argc == 5 || argc == 6) && strcmp(argv[1], "watch") == 0) {
        n = number(argv[3], 5000);
        seconds = number(argc == 6 ? argv[5] : NULL, SECONDS_MAX);

        if (n != 0 && seconds != 0 && number(argv[4], 1000) != 0) {
            return bench_watch(argv[2], n, number(argv[4], 1000), seconds);
        }
    }

    if (argc == 7 && strcmp(argv[1], "opens") == 0) {
        pids[0] = atoi(argv[5]);
        pids[1] = atoi(argv[6]);
        n = number(argv[3], 50000);
        seconds = number(argv[4], SECONDS_MAX);

        if (n != 0 && seconds != 0) {
            return bench_opens(argv[2], n, seconds, pids);
        }
    }

    fprintf(stderr, "usage: im-bench-rpc unary DEPTH [SECONDS]\n"
                    "       im-bench-rpc stream BATCH [SECONDS]\n"
                    "       im-bench-rpc watch ETCD INSTANCES RATE "
                    "[SECONDS]\n"
                    "       im-bench-rpc opens ETCD RATE SECONDS LOGIC-PID "
                    "REDIS-PID\n");

    return 2;
}
