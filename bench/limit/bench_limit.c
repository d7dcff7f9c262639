/*
 * bench_limit.c -- what one look at a limit costs, and how many keys fit.
 *
 *     im-bench-limit [keys]
 *
 * The table is that of a zone of im_limit, in anonymous shared memory, with a
 * lock that nobody else wants around each look, as in a worker.  Keys are asked
 * for in an order of chance, each as often as any other, which is the worst
 * case for caches; "hot" is a tenth of a percent of them.  The clock goes on by
 * what a look has taken.
 */

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#include "im_bucket.h"
#include "im_buckets.h"


#define LIMIT_LOOKS  5000000
#define LIMIT_KEYS   1000000
#define LIMIT_ZONE   (10 << 20)

typedef struct {
    im_buckets_t      *table;
    atomic_flag        lock;
    im_bucket_rate_t   rate;
    uint64_t           seed;
    uint64_t           refused;
} limit_bench_t;


static uint64_t limit_now(void);
static im_buckets_t *limit_table(size_t size);
static void limit_look(limit_bench_t *b, uint64_t value, uint64_t now);
static void limit_run(limit_bench_t *b, const char *what, uint64_t first,
    uint64_t keys);


int
main(int argc, char **argv)
{
    size_t         size;
    uint64_t       keys, i, now;
    limit_bench_t  b = { .lock = ATOMIC_FLAG_INIT };

    keys = (argc > 1) ? strtoull(argv[1], NULL, 10) : LIMIT_KEYS;

    if (keys == 0 || keys > 100000000) {
        fprintf(stderr, "im-bench-limit: keys are 1 to 100000000\n");
        return 2;
    }

    (void) im_bucket_rate(&b.rate, 20, 1, 40, 40);

    b.table = limit_table(LIMIT_ZONE);
    if (b.table == NULL) {
        return 1;
    }

    printf("a table of 10 MB holds %u keys\n", im_buckets_max(b.table));

    size = (size_t) keys * 48 + 4096;
    b.table = limit_table(size);

    if (b.table == NULL
        || getrandom(&b.seed, sizeof(b.seed), 0) != sizeof(b.seed))
    {
        return 1;
    }

    b.seed |= 1;
    now = limit_now();

    for (i = 0; i < keys; i++) {
        limit_look(&b, i, now);
    }

    printf("%llu keys in %zu MB:\n", (unsigned long long) keys, size >> 20);

    limit_run(&b, "known, by chance", 0, keys);
    limit_run(&b, "known, hot", 0, keys / 1000 + 1);

    while (im_buckets_n(b.table) < im_buckets_max(b.table)) {
        limit_look(&b, i++, now);
    }

    limit_run(&b, "new, the zone is full", UINT64_C(1) << 40,
              UINT64_C(1) << 40);

    printf("  %llu refused, %llu forgotten\n",
           (unsigned long long) b.refused,
           (unsigned long long) im_buckets_forgotten(b.table));

    return 0;
}


static uint64_t
limit_now(void)
{
    struct timespec  t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);

    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}


static im_buckets_t *
limit_table(size_t size)
{
    void           *mem;
    unsigned char   secret[IM_BUCKETS_SECRET];

    mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
               MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (mem == MAP_FAILED
        || getrandom(secret, sizeof(secret), 0) != sizeof(secret))
    {
        perror("im-bench-limit");
        return NULL;
    }

    return im_buckets_init(mem, size, secret);
}


static void
limit_look(limit_bench_t *b, uint64_t value, uint64_t now)
{
    uint64_t            wait;
    im_bucket_key_t     key;
    im_bucket_entry_t  *e;

    key.value = value;
    key.more = 0;
    key.rule = 1;

    while (atomic_flag_test_and_set_explicit(&b->lock, memory_order_acquire)) {
        /* nobody else has it */
    }

    e = im_buckets_get(b->table, &key, now);

    if (im_bucket_test(&b->rate, e->full_ns, now, &wait)
        == IM_BUCKET_REJECTED)
    {
        b->refused++;

    } else {
        e->full_ns = im_bucket_take(&b->rate, e->full_ns, now);
    }

    atomic_flag_clear_explicit(&b->lock, memory_order_release);
}


static void
limit_run(limit_bench_t *b, const char *what, uint64_t first, uint64_t keys)
{
    uint64_t  i, start, now;

    start = limit_now();
    now = start;

    for (i = 0; i < LIMIT_LOOKS; i++) {
        b->seed ^= b->seed << 13;
        b->seed ^= b->seed >> 7;
        b->seed ^= b->seed << 17;

        if (i % 1024 == 0) {
            now = limit_now();
        }

        limit_look(b, first + b->seed % keys, now);
    }

    printf("  %-24s %4llu ns\n", what,
           (unsigned long long) ((limit_now() - start) / LIMIT_LOOKS));
}
