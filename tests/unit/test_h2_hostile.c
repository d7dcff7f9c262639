/*
 * test_h2_hostile.c -- peers of src/h2 that mean harm: each is refused with the
 * error that HTTP/2 has for it, what it costs is bounded, one line says so, and
 * others are served meanwhile.
 */

#define IM_RPC_H2

#include <malloc.h>

#include "unit_h2_host.h"

#define FLOOD       5000
#define PEERS       20
#define COSTS_MAX   (24 * 1024 * 1024)     /* bytes, of one that means harm */



static void
is_refused(uint32_t error)
{
    RAW_UNTIL(raw.goaway != RAW_NONE);
    assert_int_equal(raw.goaway, error);
    RAW_UNTIL(raw.ended);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(line, "127.0.0.1 was closed"));
}


static void
what_is_no_http2_is_refused_as_a_protocol_error(void **state)
{
    (void) state;

    raw_connect(im_rpc_server_port(listening));
    raw_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    is_refused(NGHTTP2_PROTOCOL_ERROR);
    others_are_served();
}


static void
random_bytes_after_the_hello_are_refused(void **state)
{
    size_t    i;
    uint8_t   noise[4000];
    uint32_t  x;

    (void) state;

    for (i = 0, x = 1; i < sizeof(noise); i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (uint8_t) (x >> 24);
    }

    caller();
    raw_bytes(noise, sizeof(noise));
    RAW_UNTIL(raw.goaway != RAW_NONE && raw.ended);
    assert_int_not_equal(raw.goaway, NGHTTP2_NO_ERROR);
    others_are_served();
}


static void
a_frame_above_the_limit_is_refused_before_it_has_come(void **state)
{
    static const uint8_t  head[9] = { 0x7f, 0xff, 0xff, NGHTTP2_DATA, 0,
                                      0, 0, 0, 1 };

    (void) state;

    caller();
    raw_bytes(head, sizeof(head));
    RAW_UNTIL(raw.goaway != RAW_NONE);
    assert_int_equal(raw.goaway, NGHTTP2_FRAME_SIZE_ERROR);
    RAW_UNTIL(raw.ended);
    others_are_served();
}


static void
who_opens_and_resets_without_end_is_told_to_calm_down(void **state)
{
    unsigned              i;
    static const uint8_t  cancel[4] = { 0, 0, 0, NGHTTP2_CANCEL };

    (void) state;

    caller();

    for (i = 0; i < FLOOD && raw.goaway == RAW_NONE; i++) {
        raw_headers(0, 2 * i + 1, exchange);
        raw_send(NGHTTP2_RST_STREAM, 0, 2 * i + 1, cancel, sizeof(cancel));

        if (i % 50 == 0) {
            h2_turn(0);
            raw_read();
        }
    }

    is_refused(NGHTTP2_ENHANCE_YOUR_CALM);
    H2_WITHIN(RAW_WAIT_MS, atomic_load(&server.accepted)
                           == atomic_load(&server.ended));
    others_are_served();
}


static void
continuations_without_end_are_refused(void **state)
{
    size_t    n;
    uint8_t   block[1000];
    unsigned  i;

    (void) state;

    caller();
    n = raw_fields(block, exchange);
    raw_send(NGHTTP2_HEADERS, 0, 1, block, n);

    for (i = 0; i < 100; i++) {
        raw_send(NGHTTP2_CONTINUATION, 0, 1, NULL, 0);
    }

    is_refused(NGHTTP2_ENHANCE_YOUR_CALM);
    others_are_served();
}


/* type, flags, payload */
static void
flood(unsigned type, unsigned id, const void *payload, size_t len)
{
    unsigned  i;

    for (i = 0; i < FLOOD && raw.goaway == RAW_NONE; i++) {
        raw_send(type, 0, id, payload, len);

        if (i % 50 == 0) {
            h2_turn(0);
            raw_read();
        }
    }

    is_refused(NGHTTP2_ENHANCE_YOUR_CALM);
    others_are_served();
}


static void
settings_without_end_are_refused(void **state)
{
    (void) state;

    caller();
    flood(NGHTTP2_SETTINGS, 0, NULL, 0);
}


static void
pings_without_end_are_refused(void **state)
{
    (void) state;

    caller();
    flood(NGHTTP2_PING, 0, "12345678", 8);
}


static void
empty_frames_without_end_are_refused(void **state)
{
    (void) state;

    caller();
    raw_headers(0, 1, exchange);
    flood(NGHTTP2_DATA, 1, NULL, 0);
}


/* Acknowledgements that nobody reads would pile up. */
static void
pings_of_who_reads_nothing_are_refused_too(void **state)
{
    unsigned  i;
    size_t    before;

    (void) state;

    caller();
    h2_turn(10);
    before = mallinfo2().uordblks;

    for (i = 0; i < 4 * FLOOD; i++) {
        raw_send(NGHTTP2_PING, 0, 0, "12345678", 8);

        if (i % 50 == 0) {
            h2_turn(0);
        }
    }

    assert_true(mallinfo2().uordblks - before < COSTS_MAX);
    is_refused(NGHTTP2_ENHANCE_YOUR_CALM);
    others_are_served();
}


static void
many_hostile_connections_of_a_peer_are_one_line(void **state)
{
    unsigned  i;

    (void) state;

    for (i = 0; i < PEERS; i++) {
        raw_connect(im_rpc_server_port(listening));
        raw_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
        RAW_UNTIL(raw.ended);
        close(raw.fd);
    }

    raw_connect(im_rpc_server_port(listening));
    assert_int_equal(lines, 1);
}


/* Batches of one item each; reads: also what comes back. */
static void
items(unsigned n, int reads)
{
    uint8_t           *body, *p;
    size_t             len;
    unsigned           i;
    Im__UpItem         item = IM__UP_ITEM__INIT, *list[1] = { &item };
    Im__UpBatch        batch = IM__UP_BATCH__INIT;
    Im__Deliver        deliver = IM__DELIVER__INIT;

    body = calloc(1, 15000);
    assert_non_null(body);
    item.item_case = IM__UP_ITEM__ITEM_SEND;
    item.send = &deliver;
    deliver.body.data = body;
    deliver.body.len = 15000;
    batch.n_items = 1;
    batch.items = list;

    len = im__up_batch__get_packed_size(&batch);
    p = calloc(1, 5 + len);
    assert_non_null(p);
    p[3] = (uint8_t) (len >> 8);
    p[4] = (uint8_t) len;
    im__up_batch__pack(&batch, p + 5);

    for (i = 0; i < n; i++) {
        raw_send(NGHTTP2_DATA, 0, 1, p, 5 + len);
        h2_turn(0);

        if (reads) {
            raw_read();
        }
    }

    free(p);
    free(body);
}


static void
a_window_of_zero_costs_no_more_than_a_queue(void **state)
{
    size_t                before;
    static const uint8_t  zero[6] = { 0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
                                      0, 0, 0, 0 };

    (void) state;

    caller();
    raw_send(NGHTTP2_SETTINGS, 0, 0, zero, sizeof(zero));
    raw_headers(0, 1, exchange);
    RAW_UNTIL(atomic_load(&server.accepted) == 1);
    before = mallinfo2().uordblks;

    /* 30 MB, which the server would send back */

    items(2000, 1);
    RAW_UNTIL(atomic_load(&server.items) == 2000);
    assert_int_equal(raw.data, 0);
    assert_true(mallinfo2().uordblks - before < COSTS_MAX);
    others_are_served();
}


static void
an_answer_that_nobody_reads_costs_no_more_than_a_queue(void **state)
{
    size_t                before;
    static const uint8_t  wide[6] = { 0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
                                      0x7f, 0xff, 0xff, 0xff };
    static const uint8_t  more[4] = { 0x70, 0, 0, 0 };

    (void) state;

    caller();
    raw_send(NGHTTP2_SETTINGS, 0, 0, wide, sizeof(wide));
    raw_send(NGHTTP2_WINDOW_UPDATE, 0, 0, more, sizeof(more));
    raw_headers(0, 1, exchange);
    RAW_UNTIL(atomic_load(&server.accepted) == 1);
    before = mallinfo2().uordblks;

    items(2000, 0);
    assert_true(mallinfo2().uordblks - before < COSTS_MAX);
    others_are_served();
}


static void
a_message_that_promises_too_much_is_refused_and_takes_no_memory(void **state)
{
    static const uint8_t  prefix[5] = { 0, 0xff, 0xff, 0xff, 0xff };

    (void) state;

    caller();
    raw_headers(0, 1, ticket);
    raw_send(NGHTTP2_DATA, 0, 1, prefix, sizeof(prefix));
    RAW_UNTIL(raw.trailers == 1);
    assert_non_null(strstr(raw.fields, "grpc-status: 8\n"));
    assert_non_null(strstr(raw.fields, "im-h: 0\n"));
    assert_int_equal(raw.goaway, RAW_NONE);
    others_are_served();
}


/* Each promises a megabyte, sends a part of it, and leaves it at that. */
static void
unfinished_messages_of_a_connection_have_a_limit(void **state)
{
    size_t                before;
    unsigned              i;
    static uint8_t        part[16000] = { 0, 0, 0x0f, 0, 0 };

    (void) state;

    caller();
    h2_turn(10);
    before = mallinfo2().uordblks;

    for (i = 0; i < 200; i++) {
        raw_headers(0, 2 * i + 1, ticket);
        raw_send(NGHTTP2_DATA, 0, 2 * i + 1, part, sizeof(part));
        raw_send(NGHTTP2_DATA, 0, 2 * i + 1, part + 5, sizeof(part) - 5);
        raw_send(NGHTTP2_DATA, 0, 2 * i + 1, part + 5, sizeof(part) - 5);
        raw_send(NGHTTP2_DATA, 0, 2 * i + 1, part + 5, sizeof(part) - 5);
        raw_send(NGHTTP2_DATA, 0, 2 * i + 1, part + 5, sizeof(part) - 5);
        raw_send(NGHTTP2_DATA, 0, 2 * i + 1, part + 5, sizeof(part) - 5);
        h2_turn(0);
        raw_read();
    }

    assert_true(mallinfo2().uordblks - before < COSTS_MAX);
    RAW_UNTIL(raw.trailers > 0);
    assert_non_null(strstr(raw.fields, "grpc-status: 8\n"));
    others_are_served();
}


static void
metadata_above_the_limit_end_the_call_only(void **state)
{
    char            big[1001];
    size_t          n;
    unsigned        i;
    const char     *fields[60];
    static uint8_t  block[65536];

    (void) state;

    memcpy(fields, exchange, 12 * sizeof(char *));
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';

    for (i = 12; i < 52; i += 2) {
        fields[i] = "x-filler";
        fields[i + 1] = big;
    }

    fields[i] = NULL;

    caller();
    n = raw_fields(block, fields);
    assert_true(n > 16384);
    raw_send(NGHTTP2_HEADERS, 0, 1, block, 16000);
    raw_send(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, block + 16000,
             n - 16000);

    RAW_UNTIL(raw.resets == 1);
    assert_int_equal(raw.reset, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(raw.goaway, RAW_NONE);
    assert_int_equal(atomic_load(&server.accepted), 0);
    others_are_served();
}


#define test(name)  cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(what_is_no_http2_is_refused_as_a_protocol_error),
        test(random_bytes_after_the_hello_are_refused),
        test(a_frame_above_the_limit_is_refused_before_it_has_come),
        test(who_opens_and_resets_without_end_is_told_to_calm_down),
        test(continuations_without_end_are_refused),
        test(settings_without_end_are_refused),
        test(pings_without_end_are_refused),
        test(empty_frames_without_end_are_refused),
        test(pings_of_who_reads_nothing_are_refused_too),
        test(many_hostile_connections_of_a_peer_are_one_line),
        test(a_window_of_zero_costs_no_more_than_a_queue),
        test(an_answer_that_nobody_reads_costs_no_more_than_a_queue),
        test(a_message_that_promises_too_much_is_refused_and_takes_no_memory),
        test(unfinished_messages_of_a_connection_have_a_limit),
        test(metadata_above_the_limit_end_the_call_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
