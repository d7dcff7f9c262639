/*
 * bench_store_main.c -- what a message costs in Redis and in MySQL, by the
 * servers' own code against real ones.
 *
 *   im-bench-store sequence REDIS PID
 *   im-bench-store entries REDIS
 *   im-bench-store insert MYSQL USER DATABASE PID
 *   im-bench-store history MYSQL USER DATABASE PID
 *
 * Addresses are "unix:/path" or "host:port"; PID is that of the server, whose
 * CPU time is read.  Each prints one line of JSON for each figure.
 * bench/store/run runs the figures of docs/performance.md.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench_store.h"


static uint64_t clock_us(clockid_t id);
static uint64_t server_us(pid_t pid);


int
main(int argc, char **argv)
{
    const char  *what;

    what = (argc > 1) ? argv[1] : "";

    if (argc == 4 && strcmp(what, "sequence") == 0) {
        return bench_sequence(argv[2], (pid_t) atoi(argv[3]));
    }

    if (argc == 3 && strcmp(what, "entries") == 0) {
        return bench_entries(argv[2]);
    }

    if (argc == 6 && strcmp(what, "insert") == 0) {
        return bench_insert(argv[2], argv[3], argv[4], (pid_t) atoi(argv[5]));
    }

    if (argc == 6 && strcmp(what, "history") == 0) {
        return bench_history(argv[2], argv[3], argv[4],
                             (pid_t) atoi(argv[5]));
    }

    fprintf(stderr, "usage: im-bench-store sequence REDIS PID\n"
                    "       im-bench-store entries REDIS\n"
                    "       im-bench-store insert|history MYSQL USER DATABASE "
                    "PID\n");

    return 2;
}


void
bench_begin(bench_span_t *span, pid_t server)
{
    span->server = server;
    span->wall_us = bench_now_us();
    span->client_us = clock_us(CLOCK_PROCESS_CPUTIME_ID);
    span->server_us = server_us(server);
}


void
bench_end(bench_span_t *span)
{
    span->wall_us = bench_now_us() - span->wall_us;
    span->client_us = clock_us(CLOCK_PROCESS_CPUTIME_ID) - span->client_us;
    span->server_us = server_us(span->server) - span->server_us;
}


void
bench_report(const bench_span_t *span, const char *what, unsigned batch,
    uint64_t n)
{
    printf("{\"what\":\"%s\",\"batch\":%u,\"n\":%llu,\"wall_us\":%.2f,"
           "\"client_us\":%.2f,\"server_us\":%.2f}\n", what, batch,
           (unsigned long long) n, (double) span->wall_us / (double) n,
           (double) span->client_us / (double) n,
           (double) span->server_us / (double) n);
    fflush(stdout);
}


/* All threads of it; it must be ours, or we root. */
static uint64_t
server_us(pid_t pid)
{
    clockid_t  id;

    if (clock_getcpuclockid(pid, &id) != 0) {
        fprintf(stderr, "im-bench-store: there is no process %d\n", (int) pid);
        exit(1);
    }

    return clock_us(id);
}


static uint64_t
clock_us(clockid_t id)
{
    struct timespec  ts;

    if (clock_gettime(id, &ts) != 0) {
        fprintf(stderr, "im-bench-store: a clock cannot be read\n");
        exit(1);
    }

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


uint64_t
bench_now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}


uint64_t
bench_roll(uint64_t n)
{
    static uint64_t  dice;

    /* other numbers each time: what an earlier run left must not be met */

    if (dice == 0) {
        dice = bench_now_us() * 88172645463325252ull | 1;
    }

    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;

    return dice % n;
}
