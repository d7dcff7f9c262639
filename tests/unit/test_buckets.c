/*
 * test_buckets.c -- each key has a bucket of its own; a full table forgets the
 * key that was not used for the longest time, and counts what that costs.
 */

#include "unit.h"

#include "im_buckets.h"


#define SECOND  UINT64_C(1000000000)
#define KEYS    64                     /* of the model */


static const unsigned char  secret[IM_BUCKETS_SECRET] = "0123456789abcdef";


static im_bucket_key_t
key_of(uint64_t value, uint32_t rule)
{
    im_bucket_key_t  key;

    key.value = value;
    key.more = 0;
    key.rule = rule;

    return key;
}


static im_bucket_entry_t *
get(im_buckets_t *t, uint64_t value, uint64_t now)
{
    im_bucket_key_t  key;

    key = key_of(value, 1);

    return im_buckets_get(t, &key, now);
}


/* A table for exactly so many keys; the caller frees. */
static im_buckets_t *
table_for(uint32_t keys)
{
    void          *mem;
    size_t         size;
    im_buckets_t  *t;

    for (size = 64; /* void */; size++) {
        mem = malloc(size);
        t = im_buckets_init(mem, size, secret);

        if (t != NULL && im_buckets_max(t) == keys) {
            return t;
        }

        free(mem);
    }
}


static void
each_key_and_each_rule_has_a_bucket_of_its_own(void **state)
{
    uint64_t            i;
    im_buckets_t       *t;
    im_bucket_key_t     key;
    im_bucket_entry_t  *e;

    (void) state;

    t = table_for(1000);

    for (i = 0; i < 500; i++) {
        key = key_of(i, 1);
        im_buckets_get(t, &key, SECOND)->full_ns = i;
        key = key_of(i, 2);
        im_buckets_get(t, &key, SECOND)->full_ns = 1000 + i;
    }

    for (i = 0; i < 500; i++) {
        key = key_of(i, 1);
        e = im_buckets_get(t, &key, SECOND);
        assert_true(im_buckets_is(e, &key));
        assert_int_equal(e->full_ns, i);
        key = key_of(i, 2);
        assert_int_equal(im_buckets_get(t, &key, SECOND)->full_ns, 1000 + i);
    }

    key.more = 1;
    assert_int_equal(im_buckets_n(t), 1000);
    assert_int_equal(im_buckets_get(t, &key, SECOND)->full_ns, 0);

    free(t);
}


static void
a_full_table_forgets_the_oldest_and_counts_it(void **state)
{
    im_buckets_t  *t;

    (void) state;

    t = table_for(3);

    get(t, 1, 1 * SECOND)->full_ns = 100 * SECOND;
    get(t, 2, 2 * SECOND)->full_ns = 100 * SECOND;
    get(t, 3, 3 * SECOND)->full_ns = 4 * SECOND;
    get(t, 1, 4 * SECOND);             /* now 2 is the oldest */

    get(t, 4, 5 * SECOND)->full_ns = 100 * SECOND;
    assert_int_equal(im_buckets_forgotten(t), 1);
    assert_int_equal(get(t, 1, 6 * SECOND)->full_ns, 100 * SECOND);

    /* the bucket of 3 is full: forgetting it gives nothing away */

    get(t, 5, 6 * SECOND);
    assert_int_equal(im_buckets_forgotten(t), 1);
    assert_int_equal(im_buckets_n(t), 3);
    assert_int_equal(get(t, 1, 7 * SECOND)->full_ns, 100 * SECOND);
    assert_int_equal(get(t, 4, 7 * SECOND)->full_ns, 100 * SECOND);

    free(t);
}


static void
what_was_given_to_another_key_is_noticed(void **state)
{
    im_buckets_t       *t;
    im_bucket_key_t     first, second;
    im_bucket_entry_t  *e;

    (void) state;

    t = table_for(1);
    first = key_of(1, 1);
    second = key_of(2, 1);

    e = im_buckets_get(t, &first, SECOND);
    assert_true(im_buckets_is(e, &first));
    im_buckets_get(t, &second, SECOND);
    assert_false(im_buckets_is(e, &first));

    free(t);
}


static void
it_keeps_what_a_simple_list_keeps(void **state)
{
    uint64_t            seed, now, value, forgotten;
    unsigned            i, n, step;
    im_buckets_t       *t;
    im_bucket_entry_t  *e;
    struct {
        uint64_t        value;
        uint64_t        full;
        uint64_t        used_s;
    } list[KEYS], x;                   /* the oldest first */

    (void) state;

    t = table_for(KEYS);
    seed = 88172645463325252;
    now = SECOND;
    n = 0;
    forgotten = 0;

    for (step = 0; step < 200000; step++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;

        now += (seed >> 40) % (SECOND / 20);
        value = seed % (KEYS + KEYS / 4);

        for (i = 0; i < n && list[i].value != value; i++) {
            /* find it */
        }

        e = get(t, value, now);

        if (i == n) {
            if (n == KEYS) {
                forgotten += list[0].full > now;
                memmove(list, list + 1, --n * sizeof(list[0]));
            }

            x.value = value;
            x.full = 0;
            x.used_s = now / SECOND;
            list[n++] = x;

        } else if (list[i].used_s != now / SECOND) {
            x = list[i];
            x.used_s = now / SECOND;
            memmove(list + i, list + i + 1, (n - 1 - i) * sizeof(list[0]));
            list[n - 1] = x;
            i = n - 1;
        }

        i = (i < n) ? i : n - 1;
        assert_int_equal(e->full_ns, list[i].full);

        if (seed % 7 == 0) {
            e->full_ns = list[i].full = now + (seed >> 20) % (20 * SECOND);
        }

        assert_int_equal(im_buckets_n(t), n);
        assert_int_equal(im_buckets_forgotten(t), forgotten);
    }

    assert_true(forgotten > 1000);
    free(t);
}


static void
memory_that_is_too_small_is_refused(void **state)
{
    void    *mem;
    size_t   size;

    (void) state;

    /* each size in memory that ends where it ends, for the sanitizers */

    for (size = 0; size < 300; size++) {
        mem = malloc(size ? size : 1);

        if (im_buckets_init(mem, size, secret) != NULL) {
            get(mem, 1, SECOND)->full_ns = 1;
            get(mem, 2, SECOND)->full_ns = 2;
            assert_int_equal(get(mem, 2, SECOND)->full_ns, 2);
        } else {
            assert_true(size < 150);
        }

        free(mem);
    }
}


static void
ten_megabytes_hold_more_than_200000_keys(void **state)
{
    void  *mem;

    (void) state;

    mem = malloc(10 << 20);
    assert_in_range(im_buckets_max(im_buckets_init(mem, 10 << 20, secret)),
                    200000, 300000);
    free(mem);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(each_key_and_each_rule_has_a_bucket_of_its_own),
        cmocka_unit_test(a_full_table_forgets_the_oldest_and_counts_it),
        cmocka_unit_test(what_was_given_to_another_key_is_noticed),
        cmocka_unit_test(it_keeps_what_a_simple_list_keeps),
        cmocka_unit_test(memory_that_is_too_small_is_refused),
        cmocka_unit_test(ten_megabytes_hold_more_than_200000_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
