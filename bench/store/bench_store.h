/*
 * bench_store.h -- what the parts of im-bench-store share.
 */

#ifndef BENCH_STORE_H
#define BENCH_STORE_H

#include <stdint.h>
#include <sys/types.h>

/* A measured stretch: of the wall, of this process, of the server. */
typedef struct {
    pid_t     server;
    uint64_t  wall_us;
    uint64_t  client_us;
    uint64_t  server_us;
} bench_span_t;

void bench_begin(bench_span_t *span, pid_t server);
void bench_end(bench_span_t *span);
/* One line of JSON: the span divided by n, after "what":"...". */
void bench_report(const bench_span_t *span, const char *what, unsigned batch,
    uint64_t n);

uint64_t bench_now_us(void);
uint64_t bench_roll(uint64_t n);

/* bench_sequence.c; address: of Redis. */
int bench_sequence(const char *address, pid_t server);
int bench_entries(const char *address);

/* bench_rows.c; address: of MySQL. */
int bench_insert(const char *address, const char *user, const char *database,
    pid_t server);
int bench_history(const char *address, const char *user,
    const char *database, pid_t server);

#endif
