/*
 * test_record.c -- a record is read where it lies just as the library for
 * protobuf reads it, and so is one that is damaged.
 */

#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "im_record.h"
#include "stream.pb-c.h"

#define MUTATIONS  200000
#define LEN_MAX    512


static uint32_t  chance = 2463534242u;


static uint32_t
some(uint32_t n)
{
    chance ^= chance << 13;
    chance ^= chance >> 17;
    chance ^= chance << 5;

    return chance % n;
}


/* In a piece of its own size, so that a read beyond it is seen. */
static int
read_copy(im_record_t *r, const uint8_t *data, size_t len, uint8_t **copy)
{
    *copy = malloc(len ? len : 1);
    assert_non_null(*copy);

    if (len > 0) {
        memcpy(*copy, data, len);
    }

    return im_record_read(r, *copy, len);
}


static void
assert_like_the_library(const uint8_t *data, size_t len)
{
    int           rc;
    uint8_t      *copy;
    Im__Record   *m;
    im_record_t   r;

    rc = read_copy(&r, data, len, &copy);
    m = im__record__unpack(NULL, len, data);

    assert_int_equal(rc, (m != NULL) ? IM_OK : IM_ERROR);

    if (m != NULL) {
        assert_true(r.conv_a == m->conv_a);
        assert_true(r.conv_b == m->conv_b);
        assert_true(r.seq == m->seq);
        assert_true(r.msg_id == m->msg_id);
        assert_true(r.from == m->from);
        assert_true(r.time_ms == m->time_ms);
        assert_true(r.from_conn == m->from_conn);
        assert_true(r.removals == m->removals);
        assert_non_null(r.cmid.data);
        assert_int_equal(r.cmid.len, strlen(m->cmid));
        assert_memory_equal(r.cmid.data, m->cmid, strlen(m->cmid));
        assert_non_null(r.body.data);
        assert_int_equal(r.body.len, m->body.len);

        if (m->body.len > 0) {
            assert_memory_equal(r.body.data, m->body.data, m->body.len);
        }

        im__record__free_unpacked(m, NULL);
    }

    free(copy);
}


static size_t
record(uint8_t *data)
{
    size_t       len;
    uint8_t      body[200];
    Im__Record   m = IM__RECORD__INIT;

    memset(body, 'b', sizeof(body));

    m.conv_a = some(2) ? 0 : some(1u << 31);
    m.conv_b = some(4) ? some(1u << 31) : UINT64_MAX;
    m.seq = 1 + some(300);
    m.msg_id = ((uint64_t) some(1u << 31) << 32) + 7;
    m.from = some(200);
    m.time_ms = 1796000000000 + some(1000);
    m.from_conn = some(2) ? UINT64_MAX - some(9) : 0;
    m.removals = some(3);
    m.cmid = some(2) ? "a-client's-id" : "";
    m.body.data = body;
    m.body.len = some(sizeof(body));

    len = im__record__get_packed_size(&m);
    assert_true(len <= LEN_MAX);
    im__record__pack(&m, data);

    return len;
}


static void
test_records_are_read_as_the_library_reads_them(void **state)
{
    unsigned  i;
    uint8_t   data[LEN_MAX];

    (void) state;

    for (i = 0; i < 1000; i++) {
        assert_like_the_library(data, record(data));
    }

    assert_like_the_library(data, 0);
}


static void
test_each_end_of_a_record_is_seen(void **state)
{
    size_t   len, i;
    uint8_t  data[LEN_MAX];

    (void) state;

    len = record(data);

    for (i = 0; i < len; i++) {
        assert_like_the_library(data, i);
    }
}


static void
test_damaged_records_are_refused_like_by_the_library(void **state)
{
    size_t    len, k;
    unsigned  i;
    uint8_t   data[LEN_MAX];

    (void) state;

    for (i = 0; i < MUTATIONS; i++) {
        len = record(data);

        for (k = 0; k <= some(3); k++) {
            data[some((uint32_t) len)] = (uint8_t) some(256);
        }

        assert_like_the_library(data, len - some(2));
    }
}


static void
test_noise_is_read_like_by_the_library(void **state)
{
    size_t    len, k;
    unsigned  i;
    uint8_t   data[32];

    /* what a record consists of, and what goes beyond it */

    static const uint8_t  parts[] = {
        0x00, 0x01, 0x08, 0x10, 0x18, 0x42, 0x4a, 0x50, 0x51, 0x55, 0x0a,
        0x0d, 0x09, 0x40, 0x48, 0x7a, 0x80, 0xff, 0x03, 0x0b, 0x7f
    };

    (void) state;

    for (i = 0; i < MUTATIONS; i++) {
        len = some(sizeof(data));

        for (k = 0; k < len; k++) {
            data[k] = parts[some(sizeof(parts))];
        }

        assert_like_the_library(data, len);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_records_are_read_as_the_library_reads_them),
        cmocka_unit_test(test_each_end_of_a_record_is_seen),
        cmocka_unit_test(test_damaged_records_are_refused_like_by_the_library),
        cmocka_unit_test(test_noise_is_read_like_by_the_library),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
