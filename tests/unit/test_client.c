/*
 * test_client.c -- frames of a client in both encodings: what is well formed
 * is understood alike, what is not gets an error that names it.
 */

#include "unit_client.h"

#include <stdio.h>

#include "im_frame.h"
#include "logic.pb-c.h"


static void
a_send_means_the_same_in_both_encodings(void **state)
{
    int            i;
    size_t         n;
    decode_t       d;
    Im__Send       send = IM__SEND__INIT;
    Im__Frame      frame = IM__FRAME__INIT;
    unsigned char  packed[256];

    static const char  json[] = "{\"body\":{\"t\":\"hi\"},\"type\":\"send\","
                                "\"cmid\":\"c-1\",\"to\":\"77\"}";

    (void) state;

    send.to = 77;
    send.cmid = "c-1";
    send.body.data = (unsigned char *) "{\"t\":\"hi\"}";
    send.body.len = 10;
    frame.frame_case = IM__FRAME__FRAME_SEND;
    frame.send = &send;
    n = im__frame__pack(&frame, packed);

    for (i = 0; i < 2; i++) {
        assert_int_equal(i ? decode(&d, IM_ENCODING_PROTO, packed, n)
                           : decode_json(&d, json), IM_OK);

        assert_int_equal(d.f.frame.frame_case, IM__FRAME__FRAME_SEND);
        assert_true(d.f.u.send.to == 77);
        assert_string_equal(d.f.u.send.cmid, "c-1");
        assert_int_equal(d.f.u.send.body.len, 10);
        assert_memory_equal(d.f.u.send.body.data, "{\"t\":\"hi\"}", 10);
        assert_string_equal(d.f.cmid, "c-1");
        done(&d);
    }
}


static void
a_send_may_go_to_a_room(void **state)
{
    decode_t  d;

    (void) state;

    assert_int_equal(decode_json(&d, "{\"type\":\"send\",\"room\":\"9\","
                                 "\"body\":1}"), IM_OK);
    assert_int_equal(d.f.frame.send->to, 0);
    assert_int_equal(d.f.frame.send->room, 9);
    done(&d);

    assert_int_equal(decode(&d, IM_ENCODING_PROTO,
                            "\x2a\x05\x10\x09\x22\x01" "1", 7), IM_OK);
    assert_int_equal(d.f.frame.send->room, 9);
    done(&d);
}


static void
auth_ping_and_pong_are_understood(void **state)
{
    decode_t  d;

    (void) state;

    assert_int_equal(decode_json(&d, "{\"type\":\"auth\",\"token\":\"a.b\"}"),
                     IM_OK);
    assert_int_equal(d.f.frame.frame_case, IM__FRAME__FRAME_AUTH);
    assert_string_equal(d.f.u.auth.token, "a.b");
    done(&d);

    assert_int_equal(decode_json(&d, "{\"type\":\"ping\",\"id\":\"9\"}"),
                     IM_OK);
    assert_int_equal(d.f.frame.frame_case, IM__FRAME__FRAME_PING);
    assert_true(d.f.u.ping.id == 9);
    done(&d);

    assert_int_equal(decode_json(&d, "{\"type\":\"pong\"}"), IM_OK);
    assert_int_equal(d.f.frame.frame_case, IM__FRAME__FRAME_PONG);
    done(&d);

    assert_int_equal(decode(&d, IM_ENCODING_PROTO, "\x1a\x02\x08\x09", 4),
                     IM_OK);
    assert_int_equal(d.f.frame.frame_case, IM__FRAME__FRAME_PING);
    assert_true(d.f.u.ping.id == 9);
    done(&d);
}


static void
a_wrong_frame_is_refused_by_name(void **state)
{
    int       rc;
    size_t    i;
    decode_t  d;

    static const struct {
        const char  *json;
        const char  *code;
        const char  *text;
        const char  *cmid;
    } bad[] = {
        { "", "bad_json", "", "" },
        { "{", "bad_json", "", "" },
        { "[]", "bad_json", "object", "" },
        { "\"{\"", "bad_json", "object", "" },
        { "{}", "missing_field", "'type'", "" },
        { "{\"type\":5}", "bad_field", "'type'", "" },
        { "{\"type\":\"\"}", "unknown_type", "send", "" },
        { "{\"type\":\"SEND\"}", "unknown_type", "send", "" },
        { "{\"type\":\"ack\",\"cmid\":\"x\"}", "unknown_type", "", "x" },
        { "{\"type\":\"auth\"}", "missing_field", "'token'", "" },
        { "{\"type\":\"auth\",\"token\":1}", "bad_field", "'token'", "" },
        { "{\"type\":\"ping\",\"id\":-1}", "bad_field", "'id'", "" },
        { "{\"type\":\"send\",\"cmid\":\"x\",\"body\":1}", "missing_field",
          "'to'", "x" },
        { "{\"type\":\"send\",\"cmid\":\"x\",\"to\":1}", "missing_field",
          "'body'", "x" },
        { "{\"type\":\"send\",\"to\":0,\"body\":1}", "missing_field", "'to'",
          "" },
        { "{\"type\":\"send\",\"to\":9223372036854775808,\"body\":1}",
          "bad_field", "'to'", "" },
        { "{\"type\":\"send\",\"cmid\":\"x\",\"to\":\"bob\",\"body\":1}",
          "bad_field", "'to'", "x" },
        { "{\"type\":\"send\",\"cmid\":\"x\",\"to\":1,\"to\":2,\"body\":1}",
          "bad_field", "twice", "x" },
        { "{\"type\":\"send\",\"cmid\":\"x\",\"to\":1,\"body\":1,"
          "\"type\":\"ping\"}", "bad_field", "'type'", "x" },
        { "{\"type\":\"send\",\"cmid\":\"x\",\"to\":1,\"body\":[1e309]}",
          "bad_field", "at byte 41 is beyond", "x" },
        { "{\"type\":\"send\",\"room\":1,\"to\":1,\"body\":1}", "bad_field",
          "'room'", "" },
        { "{\"type\":\"send\",\"room\":9223372036854775808,\"body\":1}",
          "bad_field", "'room'", "" },
        { "{\"type\":\"send\",\"room\":1}", "missing_field", "'body'", "" },
        { "{\"type\":\"join\",\"id\":3}", "missing_field", "'room'", "" },
        { "{\"type\":\"send\",\"cmid\":\"x\",\"to\":1,\"body\":tru}",
          "bad_json", "", "x" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        rc = decode_json(&d, bad[i].json);

        if (rc != IM_ERROR || strcmp(d.f.code, bad[i].code) != 0
            || strstr(d.f.err.text, bad[i].text) == NULL
            || strcmp(d.f.cmid, bad[i].cmid) != 0)
        {
            fail_msg("%s: %d %s: %s (cmid %s)", bad[i].json, rc, d.f.code,
                     d.f.err.text, d.f.cmid);
        }

        done(&d);
    }
}


static void
the_bounds_of_cmid_and_body_are_exact(void **state)
{
    int       i;
    char     *json;
    size_t    cmid, body;
    decode_t  d;

    static const struct {
        size_t       cmid;
        size_t       body;
        const char  *code;
    } sizes[] = {
        { 0, 3, NULL },
        { IM_CMID_MAX, 3, NULL },
        { IM_CMID_MAX + 1, 3, "bad_field" },
        { 1, IM_BODY_MAX, NULL },
        { 1, IM_BODY_MAX + 1, "too_large" },
    };

    (void) state;

    for (i = 0; i < (int) UNIT_N(sizes); i++) {
        cmid = sizes[i].cmid;
        body = sizes[i].body;
        json = malloc(cmid + body + 64);

        /* a body of quotes and letters, body bytes in all */

        sprintf(json, "{\"type\":\"send\",\"to\":1,\"cmid\":\"%0*d\","
                "\"body\":\"%0*d\"}", (int) cmid, 0, (int) body - 2, 0);

        if (cmid == 0) {
            sprintf(json, "{\"type\":\"send\",\"to\":1,\"body\":\"a\"}");
        }

        if (sizes[i].code == NULL) {
            assert_int_equal(decode_json(&d, json), IM_OK);
            assert_int_equal(d.f.u.send.body.len, body);
            assert_int_equal(strlen(d.f.u.send.cmid), cmid);

        } else {
            assert_int_equal(decode_json(&d, json), IM_ERROR);
            assert_string_equal(d.f.code, sizes[i].code);
        }

        done(&d);
        free(json);
    }
}


static void
a_protobuf_frame_that_is_cut_or_broken_is_refused(void **state)
{
    int            rc;
    size_t         i, n, len;
    decode_t       d;
    Im__Send       send = IM__SEND__INIT;
    Im__Frame      frame = IM__FRAME__INIT;
    unsigned char  packed[256];

    static const struct {
        size_t       len;
        const char  *bytes;
        const char  *code;
    } bad[] = {
        { 0, "", "unknown_type" },
        { 2, "\x32\x00", "unknown_type" },             /* an ack */
        { 1, "\x00", "bad_request" },                  /* field 0 */
        { 1, "\x0b", "bad_request" },                  /* a group */
        { 2, "\x0a\x05", "bad_request" },              /* longer than it is */
        { 11, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
          "bad_request" },                             /* more than 64 bits */
        { 2, "\x0a\x00", "missing_field" },            /* auth, no token */
        { 5, "\x0a\x03\x0a\x01\xff", "bad_field" },    /* not UTF-8 */
        { 5, "\x0a\x03\x0a\x01\x00", "bad_field" },    /* NUL */
        { 4, "\x2a\x02\x08\x07", "missing_field" },    /* no body */
        { 7, "\x2a\x05\x08\x07\x22\x01{", "bad_json" },
        { 11, "\x2a\x09\x08\x07\x22\x05" "1e309", "bad_field" },
        { 6, "\x2a\x04\x08\x07\x22\x00", "bad_json" },
        { 9, "\x2a\x07\x08\x07\x10\x01\x22\x01" "1",
          "bad_field" },                               /* to and room */
        { 6, "\x2a\x04\x08\x07\x10\x01", "missing_field" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        rc = decode(&d, IM_ENCODING_PROTO, bad[i].bytes, bad[i].len);

        if (rc != IM_ERROR || strcmp(d.f.code, bad[i].code) != 0) {
            fail_msg("%zu: %d %s", i, rc, rc == IM_ERROR ? d.f.code : "");
        }

        done(&d);
    }

    send.to = 300;
    send.cmid = "abc";
    send.body.data = (unsigned char *) "[1, 2]";
    send.body.len = 6;
    frame.frame_case = IM__FRAME__FRAME_SEND;
    frame.send = &send;
    len = im__frame__pack(&frame, packed);

    for (n = 0; n < len; n++) {
        assert_int_equal(decode(&d, IM_ENCODING_PROTO, packed, n), IM_ERROR);
        done(&d);
    }
}


/* A field or a frame type that a later version has does no harm. */
static void
what_a_newer_client_adds_is_skipped(void **state)
{
    decode_t  d;

    static const char  proto[] =
        "\xfa\x01\x02hi"                     /* frame 31 */
        "\x2a\x13"                           /* send of 19 bytes */
        "\x08\x07"                           /* to 7 */
        "\x78\x01"                           /* field 15, varint */
        "\x7d" "abcd"                        /* field 15, 32 bits */
        "\x0a\x01x"                          /* `to` as bytes: unknown */
        "\x22\x01" "1"                       /* body 1 */
        "\x1a\x02" "c1";                     /* cmid */

    (void) state;

    assert_int_equal(decode(&d, IM_ENCODING_PROTO, proto, sizeof(proto) - 1),
                     IM_OK);
    assert_true(d.f.u.send.to == 7);
    assert_string_equal(d.f.u.send.cmid, "c1");
    done(&d);

    assert_int_equal(decode_json(&d, "{\"type\":\"ping\",\"id\":1,"
                                     "\"later\":{\"a\":[]}}"), IM_OK);
    assert_true(d.f.u.ping.id == 1);
    done(&d);
}


static void
a_server_frame_is_one_websocket_message(void **state)
{
    size_t          cap, len;
    Im__Ack         ack = IM__ACK__INIT;
    Im__Frame       frame = IM__FRAME__INIT, *back;
    unsigned char  *out;

    static const char  json[] = "{\"type\":\"ack\",\"cmid\":\"c\","
                                "\"msg_id\":\"1\",\"seq\":\"2\","
                                "\"time_ms\":\"3\"}";

    (void) state;

    ack.cmid = "c";
    ack.msg_id = 1;
    ack.seq = 2;
    ack.time_ms = 3;
    frame.frame_case = IM__FRAME__FRAME_ACK;
    frame.ack = &ack;

    len = im_client_encode(&frame, IM_ENCODING_JSON, NULL, 0);
    assert_int_equal(len, 2 + strlen(json));

    for (cap = 0; cap <= len; cap++) {
        out = calloc(1, len + 1);
        assert_int_equal(im_client_encode(&frame, IM_ENCODING_JSON, out, cap),
                         len);

        if (cap < len) {
            assert_int_equal(out[0], 0);

        } else {
            assert_int_equal(out[0], 0x80 | IM_FRAME_TEXT);
            assert_int_equal(out[1], strlen(json));
            assert_memory_equal(out + 2, json, strlen(json));
        }

        free(out);
    }

    len = im_client_encode(&frame, IM_ENCODING_PROTO, NULL, 0);
    out = malloc(len);
    assert_int_equal(im_client_encode(&frame, IM_ENCODING_PROTO, out, len),
                     len);
    assert_int_equal(out[0], 0x80 | IM_FRAME_BINARY);

    back = im__frame__unpack(NULL, len - 2, out + 2);
    assert_non_null(back);
    assert_int_equal(back->frame_case, IM__FRAME__FRAME_ACK);
    assert_true(back->ack->seq == 2);
    im__frame__free_unpacked(back, NULL);
    free(out);
}


static void
every_frame_of_the_server_has_a_name_in_json(void **state)
{
    size_t             i, n, len;
    Im__Error          error = IM__ERROR__INIT;
    Im__Frame          frame = IM__FRAME__INIT;
    Im__SyncNeeded     needed = IM__SYNC_NEEDED__INIT;
    unsigned char      out[256];

    static const char  json[] = "{\"type\":\"sync_needed\"}";
    static const char  text[] = "{\"type\":\"error\",\"code\":\"busy\","
                                "\"id\":\"7\"}";
    static const unsigned  clients[] = {
        IM__FRAME__FRAME_AUTH, IM__FRAME__FRAME_SEND, IM__FRAME__FRAME_SYNC,
        IM__FRAME__FRAME_HISTORY, IM__FRAME__FRAME_CONVERSATIONS,
        IM__FRAME__FRAME_READ, 0, 19, 1000
    };

    (void) state;

    frame.frame_case = IM__FRAME__FRAME_SYNC_NEEDED;
    frame.sync_needed = &needed;
    len = im_client_encode(&frame, IM_ENCODING_JSON, out, sizeof(out));
    assert_int_equal(len, 2 + strlen(json));
    assert_memory_equal(out + 2, json, strlen(json));

    len = im_client_encode(&frame, IM_ENCODING_PROTO, out, sizeof(out));
    assert_int_equal(len, 4);
    assert_memory_equal(out, "\x82\x02\x52\x00", 4);

    error.code = "busy";
    error.id = 7;
    frame.frame_case = IM__FRAME__FRAME_ERROR;
    frame.error = &error;
    len = im_client_encode(&frame, IM_ENCODING_JSON, out, sizeof(out));
    assert_int_equal(len, 2 + strlen(text));
    assert_memory_equal(out + 2, text, strlen(text));

    /* a client's own are not sent by the server, an unknown one is no crash */

    for (i = 0; i < UNIT_N(clients); i++) {
        frame.frame_case = (Im__Frame__FrameCase) clients[i];
        n = im_client_encode(&frame, IM_ENCODING_JSON, out, sizeof(out));
        assert_int_equal(n, 0);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_send_means_the_same_in_both_encodings),
        cmocka_unit_test(a_send_may_go_to_a_room),
        cmocka_unit_test(auth_ping_and_pong_are_understood),
        cmocka_unit_test(a_wrong_frame_is_refused_by_name),
        cmocka_unit_test(the_bounds_of_cmid_and_body_are_exact),
        cmocka_unit_test(a_protobuf_frame_that_is_cut_or_broken_is_refused),
        cmocka_unit_test(what_a_newer_client_adds_is_skipped),
        cmocka_unit_test(a_server_frame_is_one_websocket_message),
        cmocka_unit_test(every_frame_of_the_server_has_a_name_in_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
