/*
 * bench_floor_relay.h -- what the two files of the relay share.
 */

#ifndef BENCH_FLOOR_RELAY_H
#define BENCH_FLOOR_RELAY_H

#include <stdint.h>

/* bench_floor_worker.c: serves what comes on the channel until that ends. */
int bench_floor_worker(int channel);

/* bench_floor_main.c */
uint32_t bench_floor_number(const unsigned char *p);
/* Says so; returns an exit code. */
int bench_floor_failed(const char *what);

#endif
