/*
 * bench_rpc.h -- what the two halves of im-bench-rpc share.
 */

#ifndef BENCH_RPC_H
#define BENCH_RPC_H

#include <stdint.h>

/* CPU of this process and of its ended children, user and system. */
uint64_t bench_cpu_us(void);
uint64_t bench_now_us(void);

/* bench_calls.c: a server process and a client process on loopback. */
int bench_unary(unsigned depth, unsigned seconds);
int bench_stream(unsigned batch, unsigned seconds);

/* bench_watch.c: one watches what another one changes in etcd. */
int bench_watch(const char *etcd, unsigned instances, unsigned rate,
    unsigned seconds);

/* bench_opens.c: log-ins, at a Logic of a whole stack; pids: of im-logic and of
 * Redis. */
int bench_opens(const char *etcd, unsigned rate, unsigned seconds,
    const int *pids);

#endif
