/*
 * test_h2_foreign.c -- peers of src/h2 that speak HTTP/2 and no gRPC, or not
 * all of it: a caller gets the answer that the protocol has for it, and a
 * server is believed as far as it speaks gRPC.
 */

#define IM_RPC_H2

#include "unit_h2_host.h"


/* What a request lacks, and what it is answered. */
static void
what_is_no_grpc_is_answered_as_such(void **state)
{
    unsigned  i;

    static const struct {
        const char  *fields[20];
        const char  *answer;
    } cases[] = {
        { { ":method", "POST", ":scheme", "http", ":path", "/im.Logic/Ticket",
            ":authority", "x", "te", "trailers", "content-type",
            "application/json", NULL }, ":status: 415\n" },
        { { ":method", "POST", ":scheme", "http", ":path", "/im.Logic/Ticket",
            ":authority", "x", "te", "trailers", "content-type",
            "application/grpc-web", NULL }, ":status: 415\n" },
        { { ":method", "POST", ":scheme", "http", ":path", "/im.Logic/Ticket",
            ":authority", "x", "te", "trailers", NULL }, ":status: 415\n" },
        { { ":method", "GET", ":scheme", "http", ":path", "/im.Logic/Ticket",
            ":authority", "x", "te", "trailers", "content-type",
            "application/grpc", NULL }, ":status: 405\n" },
        { { ":method", "POST", ":scheme", "http", ":path", "/im.Logic/Ticket",
            ":authority", "x", "content-type", "application/grpc", NULL },
          "grpc-status: 13\n" },
        { { ":method", "POST", ":scheme", "http", ":path", "/im.Logic/None",
            ":authority", "x", "te", "trailers", "content-type",
            "application/grpc", NULL }, "grpc-status: 12\n" },
        { { ":method", "POST", ":scheme", "http", ":path", "/im.Logic/Ticket",
            ":authority", "x", "te", "trailers", "content-type",
            "application/grpc", "grpc-timeout", "1x", NULL },
          "grpc-status: 13\n" },
        { { ":method", "POST", ":scheme", "http", ":path", "/im.Logic/Ticket",
            ":authority", "x", "te", "trailers", "content-type",
            "application/grpc", "grpc-encoding", "gzip", NULL },
          "grpc-status: 12\n" },
        { { ":method", "POST", ":scheme", "http", ":path", "/im.Logic/Ticket",
            ":authority", "x", "te", "trailers", "content-type",
            "application/grpc", "im-proto", "99", NULL },
          "grpc-status: 9\n" },
    };

    (void) state;

    caller();

    for (i = 0; i < UNIT_N(cases); i++) {
        raw.fields[0] = '\0';
        raw_headers(0, 2 * i + 1, cases[i].fields);
        RAW_UNTIL(raw.trailers == i + 1);
        assert_non_null(strstr(raw.fields, cases[i].answer));
    }

    assert_int_equal(atomic_load(&server.handled), 0);
    others_are_served();
}


static void
a_message_that_is_compressed_or_missing_is_refused(void **state)
{
    static const uint8_t  squeezed[6] = { 1, 0, 0, 0, 1, 0 };
    static const uint8_t  cut[6] = { 0, 0, 0, 0, 9, 1 };
    static const uint8_t  malformed[7] = { 0, 0, 0, 0, 2, 0xff, 0xff };

    (void) state;

    caller();

    raw_headers(0, 1, ticket);
    raw_send(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, squeezed, 6);
    RAW_UNTIL(raw.trailers == 1);
    assert_non_null(strstr(raw.fields, "grpc-status: 13\n"));

    raw.fields[0] = '\0';
    raw_headers(0, 3, ticket);
    raw_send(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 3, cut, 6);
    RAW_UNTIL(raw.trailers == 2);
    assert_non_null(strstr(raw.fields, "grpc-status: 13\n"));

    raw.fields[0] = '\0';
    raw_headers(NGHTTP2_FLAG_END_STREAM, 5, ticket);
    RAW_UNTIL(raw.trailers == 3);
    assert_non_null(strstr(raw.fields, "grpc-status: 13\n"));

    raw.fields[0] = '\0';
    raw_headers(0, 7, ticket);
    raw_send(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 7, malformed, 7);
    RAW_UNTIL(raw.trailers == 4);
    assert_non_null(strstr(raw.fields, "grpc-status: 3\n"));
    assert_non_null(strstr(raw.fields, "grpc-message: bad_request: "));

    assert_int_equal(atomic_load(&server.handled), 0);
    others_are_served();
}


/* The other way round: a server that is one by its own rules. */
static int
raw_server(char address[32])
{
    int                 fd;
    socklen_t           len;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    len = sizeof(sin);

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd != -1);
    assert_int_equal(bind(fd, (struct sockaddr *) &sin, sizeof(sin)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) &sin, &len), 0);
    snprintf(address, 32, "127.0.0.1:%d", ntohs(sin.sin_port));
    assert_int_not_equal(fcntl(fd, F_SETFL, O_NONBLOCK), -1);

    return fd;
}


/* Takes the next connection, and the one call of it. */
static void
raw_accept(int lfd)
{
    int       fd;
    uint64_t  until;

    fd = -1;

    for (until = h2_now_us() + RAW_WAIT_MS * 1000;
         fd == -1 && h2_now_us() < until; h2_turn(1))
    {
        fd = accept(lfd, NULL, NULL);
    }

    assert_true(fd != -1);
    raw_begin(fd);
    raw_send(NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}


/* The magic is not a frame. */
static void
raw_skip_magic(void)
{
    ssize_t   n;
    uint8_t   magic[24];
    uint64_t  until;

    n = -1;

    for (until = h2_now_us() + RAW_WAIT_MS * 1000;
         n <= 0 && h2_now_us() < until; h2_turn(1))
    {
        n = recv(raw.fd, magic, sizeof(magic), 0);
    }

    assert_int_equal(n, 24);
}


static void
a_server_is_believed_as_far_as_it_speaks_grpc(void **state)
{
    int                lfd;
    char               address[32];
    unsigned           i;
    im_rpc_channel_t  *ch;

    static const struct {
        const char   *fields[12];
        unsigned      flags;
        const char   *data;
        size_t        len;
        int           code;
        const char   *text;
    } cases[] = {
        { { ":status", "503", NULL }, NGHTTP2_FLAG_END_STREAM, "", 0,
          IM_RPC_UNAVAILABLE, "HTTP status 503" },
        { { ":status", "200", "content-type", "text/html", NULL }, 0, "", 0,
          IM_RPC_UNKNOWN, "another content-type" },
        { { ":status", "200", "content-type", "application/grpc", NULL },
          NGHTTP2_FLAG_END_STREAM, "", 0, IM_RPC_UNKNOWN, "no grpc-status" },
        { { ":status", "200", "content-type", "application/grpc",
            "grpc-status", "5", "grpc-message", "not%20here%2C 100%", NULL },
          NGHTTP2_FLAG_END_STREAM, "", 0, IM_RPC_NOT_FOUND,
          "not here, 100%" },
        { { ":status", "200", "content-type", "application/grpc", NULL }, 0,
          "\0\x7f\xff\xff\xff", 5, IM_RPC_RESOURCE_EXHAUSTED, "longer than" },
        { { ":status", "200", "content-type", "application/grpc", NULL }, 0,
          "\1\0\0\0\0", 5, IM_RPC_INTERNAL, "compressed" },
        { { ":status", "200", "content-type", "application/grpc", NULL }, 0,
          "\0\0\0\0\0\0\0\0\0\0", 10, IM_RPC_INTERNAL, "several messages" },
        { { ":status", "200", "content-type", "application/grpc",
            "grpc-status", "77", NULL }, NGHTTP2_FLAG_END_STREAM, "", 0,
          IM_RPC_UNKNOWN, "" },
    };

    (void) state;

    lfd = raw_server(address);

    for (i = 0; i < UNIT_N(cases); i++) {
        ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);
        (void) talk_call(ch, &o, NULL, 5000);
        raw_accept(lfd);
        raw_skip_magic();
        RAW_UNTIL(raw.trailers == 0 && raw.data > 0);

        raw_headers(cases[i].flags, 1, cases[i].fields);

        if (cases[i].len > 0) {
            raw_send(NGHTTP2_DATA, 0, 1, cases[i].data, cases[i].len);
        }

        RAW_UNTIL(atomic_load(&o.done));
        assert_int_equal(o.code, cases[i].code);
        assert_int_equal(o.sent, IM_RPC_MAYBE_SENT);
        assert_non_null(strstr(o.message, cases[i].text));
        im_rpc_channel_unref(ch);
        RAW_UNTIL(raw.ended);
        close(raw.fd);
    }

    close(lfd);
    raw_connect(im_rpc_server_port(listening));
}


/* RFC 9113, 8.7: then nothing has been processed. */
static void
a_call_that_a_server_refuses_by_http2_was_surely_not_handled(void **state)
{
    int                   lfd;
    char                  address[32];
    im_rpc_channel_t     *ch;
    static const uint8_t  refused[4] = { 0, 0, 0, NGHTTP2_REFUSED_STREAM };
    static const uint8_t  goaway[8] = { 0 };

    (void) state;

    lfd = raw_server(address);
    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);
    (void) talk_call(ch, &o, NULL, 5000);
    raw_accept(lfd);
    raw_skip_magic();
    RAW_UNTIL(raw.data > 0);
    raw_send(NGHTTP2_RST_STREAM, 0, 1, refused, 4);
    RAW_UNTIL(atomic_load(&o.done));
    assert_int_equal(o.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(o.sent, IM_RPC_NOT_SENT);

    /* a GOAWAY that counts the call out; the next one dials again */

    (void) talk_call(ch, &o, NULL, 5000);
    RAW_UNTIL(raw.in_n == 0 && raw.data > 10);
    raw_send(NGHTTP2_GOAWAY, 0, 0, goaway, 8);
    RAW_UNTIL(atomic_load(&o.done));
    assert_int_equal(o.code, IM_RPC_UNAVAILABLE);
    assert_int_equal(o.sent, IM_RPC_NOT_SENT);
    RAW_UNTIL(raw.ended);
    close(raw.fd);

    (void) talk_call(ch, &o, NULL, 5000);
    raw_accept(lfd);
    raw_skip_magic();
    RAW_UNTIL(raw.data > 0);

    im_rpc_channel_unref(ch);
    close(lfd);
}


static void
a_server_that_sends_noise_is_left(void **state)
{
    int                lfd;
    char               address[32];
    im_rpc_channel_t  *ch;

    (void) state;

    lfd = raw_server(address);
    ch = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_LOGIC);
    (void) talk_call(ch, &o, NULL, 5000);
    raw_accept(lfd);
    raw_bytes("220 mail.example.org ESMTP, hello and welcome\r\n", 47);
    H2_WITHIN(RAW_WAIT_MS, atomic_load(&o.done));
    assert_int_equal(o.code, IM_RPC_UNAVAILABLE);
    im_rpc_channel_unref(ch);
    close(lfd);
}


#define test(name)  cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        test(what_is_no_grpc_is_answered_as_such),
        test(a_message_that_is_compressed_or_missing_is_refused),
        test(a_server_is_believed_as_far_as_it_speaks_grpc),
        test(a_call_that_a_server_refuses_by_http2_was_surely_not_handled),
        test(a_server_that_sends_noise_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
