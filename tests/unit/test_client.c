/*
 * test_client.c -- frames of a client in both encodings: what is well formed
 * is understood alike, what is not gets an error that names it.
 */

#define _GNU_SOURCE          /* memmem */

#include "unit.h"

#include <stdio.h>

#include "im_client.h"
#include "im_frame.h"
#include "logic.pb-c.h"


typedef struct {
    im_client_frame_t   f;
    im_str_t            input;
    unsigned char      *memory;
} decode_t;


static int
decode(decode_t *d, im_encoding_t encoding, const void *data, size_t len)
{
    size_t         room;
    im_json_mem_t  mem;

    room = len + im_client_mem_extra();

    d->input = unit_exact(data, len);
    d->memory = malloc(room);
    mem.pos = d->memory;
    mem.end = d->memory + room;

    return im_client_decode(&d->f, encoding, &d->input, &mem);
}


static int
decode_json(decode_t *d, const char *json)
{
    return decode(d, IM_ENCODING_JSON, json, strlen(json));
}


static void
done(decode_t *d)
{
    free(d->input.data);
    free(d->memory);
}


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
        { 6, "\x2a\x04\x08\x07\x22\x00", "bad_json" },
        { 6, "\x2a\x04\x08\x07\x10\x01", "bad_field" },   /* to and room */
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


static size_t
pack(unsigned char *out, const im_client_question_t *q, void *message)
{
    Im__Frame  frame = IM__FRAME__INIT;

    frame.frame_case = (Im__Frame__FrameCase) q->frame;
    frame.sync = message;

    return im__frame__pack(&frame, out);
}


static void
a_question_means_the_same_in_both_encodings(void **state)
{
    int               i;
    size_t            n;
    decode_t          d;
    Im__Cursor        c1 = IM__CURSOR__INIT, c2 = IM__CURSOR__INIT;
    Im__Cursor       *cursors[2] = { &c1, &c2 };
    unsigned char     packed[256];
    Im__SyncRequest   sync = IM__SYNC_REQUEST__INIT, *got;

    static const char  json[] =
        "{\"type\":\"sync\",\"id\":\"7\",\"cursors\":[{\"with\":\"2\","
        "\"seq\":\"5\"},{\"room\":\"3\",\"seq\":0}],\"limit\":10}";

    (void) state;

    c1.has_with = 1;
    c1.with = 2;
    c1.seq = 5;
    c2.has_room = 1;
    c2.room = 3;
    sync.has_id = 1;
    sync.id = 7;
    sync.has_limit = 1;
    sync.limit = 10;
    sync.n_cursors = 2;
    sync.cursors = cursors;
    n = pack(packed, &im_client_questions[0], &sync);

    for (i = 0; i < 2; i++) {
        assert_int_equal(i ? decode(&d, IM_ENCODING_PROTO, packed, n)
                           : decode_json(&d, json), IM_OK);

        assert_int_equal(d.f.frame.frame_case, IM__FRAME__FRAME_SYNC);
        assert_ptr_equal(d.f.question, &im_client_questions[0]);
        assert_true(d.f.id == 7);

        got = (Im__SyncRequest *) d.f.message;
        assert_int_equal(got->n_cursors, 2);
        assert_true(got->cursors[0]->with == 2 && got->cursors[0]->seq == 5);
        assert_true(got->cursors[1]->has_room && !got->cursors[1]->has_with);
        assert_int_equal(got->limit, 10);
        done(&d);
    }
}


/* A row is a frame, a method of Logic that takes it, and an answer. */
static void
every_question_has_a_method_and_an_answer(void **state)
{
    int                                sub;
    size_t                             i, len;
    const char                        *name;
    const im_client_question_t        *q;
    const ProtobufCFieldDescriptor    *f;
    const ProtobufCMethodDescriptor   *m;

    (void) state;

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        q = &im_client_questions[i];

        m = protobuf_c_service_descriptor_get_method_by_name(
                &im__logic__descriptor, q->method);
        assert_non_null(m);
        sub = q->frame == IM__FRAME__FRAME_PRESENCE_SUB;

        if (!sub) {                    /* the edge makes another message */
            assert_ptr_equal(m->input, q->request);
        }

        f = protobuf_c_message_descriptor_get_field(&im__frame__descriptor,
                                                    q->frame);
        assert_string_equal(f->name, q->type);
        assert_ptr_equal(f->descriptor, q->request);

        f = protobuf_c_message_descriptor_get_field(&im__frame__descriptor,
                                                    q->reply);
        assert_ptr_equal(f->descriptor, m->output);
        name = f->name;
        len = sub ? strlen("presence") : strlen(q->type);
        assert_memory_equal(name, q->type, len);
        assert_string_equal(name + len, "_res");
    }
}


static void
a_refused_question_keeps_its_id(void **state)
{
    int       rc;
    size_t    i;
    decode_t  d;

    static const struct {
        const char  *json;
        const char  *code;
        uint64_t     id;
    } bad[] = {
        { "{\"type\":\"dance\",\"id\":\"7\"}", "unknown_type", 7 },
        { "{\"type\":\"dance\",\"id\":7}", "unknown_type", 7 },
        { "{\"type\":\"dance\"}", "unknown_type", 0 },
        { "{\"type\":\"read\",\"id\":7}", "missing_field", 7 },
        { "{\"type\":\"read\",\"seq\":\"x\",\"id\":\"7\"}", "bad_field", 7 },
        { "{\"type\":\"read\",\"seq\":1,\"id\":-7}", "bad_field", 0 },
        { "{\"type\":\"read\",\"seq\":1,\"id\":\"a\"}", "bad_field", 0 },
        { "{\"type\":\"sync\",\"id\":18446744073709551615,\"cursors\":[1]}",
          "bad_field", UINT64_MAX },
        { "{\"type\":\"sync\",\"id\":7,\"cursors\":[{}]}", "missing_field", 7 },
        { "{\"type\":\"sync\",\"id\":7,\"cursors\":[", "bad_json", 7 },
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        rc = decode_json(&d, bad[i].json);

        if (rc != IM_ERROR || strcmp(d.f.code, bad[i].code) != 0
            || d.f.id != bad[i].id)
        {
            fail_msg("%s: %d %s: %s, id %llu", bad[i].json, rc, d.f.code,
                     d.f.err.text, (unsigned long long) d.f.id);
        }

        done(&d);
    }

    /* read (17) with an id (1) of 7, and without seq */

    assert_int_equal(decode(&d, IM_ENCODING_PROTO, "\x8a\x01\x02\x08\x07", 5),
                     IM_ERROR);
    assert_string_equal(d.f.code, "bad_request");
    assert_true(d.f.id == 7);
    done(&d);

    assert_int_equal(decode_json(&d, "{\"type\":\"dance\"}"), IM_ERROR);

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        assert_non_null(strstr(d.f.err.text, im_client_questions[i].type));
    }

    done(&d);
}


/* Who asks is what the token says, in whatever encoding it is said. */
static void
nobody_asks_in_the_name_of_another(void **state)
{
    size_t             i, n;
    decode_t           d;
    Im__Caller         caller = IM__CALLER__INIT;
    unsigned char      packed[512], again[512];
    Im__ReadRequest    read = IM__READ_REQUEST__INIT;
    const ProtobufCFieldDescriptor  *f;

    union {
        ProtobufCMessage          base;
        Im__SyncRequest           sync;
        Im__HistoryRequest        history;
        Im__ConversationsRequest  conversations;
        Im__ReadRequest           read;
        Im__RoomJoinRequest       join;
        Im__RoomLeaveRequest      leave;
        Im__PresenceSubscribe     presence;
    } u;

    static const char  json[] = "{\"type\":\"read\",\"seq\":1,\"caller\":"
                                "{\"uid\":1,\"sid\":\"x\",\"device\":\"d\"}}";

    (void) state;

    caller.uid = 1;
    caller.sid = "somebody";
    caller.device = "else";

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        protobuf_c_message_init(im_client_questions[i].request, &u);
        f = protobuf_c_message_descriptor_get_field_by_name(
                im_client_questions[i].request, "caller");

        if (im_client_questions[i].frame == IM__FRAME__FRAME_PRESENCE_SUB) {
            assert_null(f);            /* the edge makes another message */
            continue;
        }

        assert_non_null(f);
        *(Im__Caller **) ((char *) &u + f->offset) = &caller;

        n = pack(packed, &im_client_questions[i], &u);
        assert_int_equal(decode(&d, IM_ENCODING_PROTO, packed, n), IM_OK);
        n = protobuf_c_message_pack(d.f.message, again);
        assert_null(memmem(again, n, "somebody", 8));
        assert_null(*(void **) ((char *) d.f.message + f->offset));
        done(&d);
    }

    assert_int_equal(decode_json(&d, json), IM_OK);
    assert_null(((Im__ReadRequest *) d.f.message)->caller);
    done(&d);

    /* a field that only a newer Logic knows is not smuggled to it either */

    n = pack(packed, &im_client_questions[3], &read);
    assert_int_equal(n, 5);            /* 17, length, seq 0 */
    memcpy(packed + n, "\xa2\x01\x08somebody", 11);
    packed[2] += 11;

    assert_int_equal(decode(&d, IM_ENCODING_PROTO, packed, n + 11), IM_OK);
    assert_int_equal(protobuf_c_message_pack(d.f.message, again), 2);
    done(&d);
}


static void
a_question_in_protobuf_is_bounded_and_checked(void **state)
{
    size_t          i, n;
    decode_t        d;
    unsigned char  *big;

    static const struct {
        size_t       len;
        const char  *bytes;
        const char  *code;
    } bad[] = {
        { 3, "\x8a\x01\x00", "bad_request" },             /* no seq */
        { 5, "\x8a\x01\x02\x20\x80", "bad_request" },     /* cut */
        { 5, "\x8a\x01\x02\x22\x00", "bad_request" },     /* seq as bytes */
        { 5, "\x8a\x01\x03\x20\x01", "bad_request" },     /* too short */
        { 5, "\x5a\x02\x12\x00", "bad_request" },         /* cursor, no seq */
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        assert_int_equal(decode(&d, IM_ENCODING_PROTO, bad[i].bytes,
                                bad[i].len), IM_ERROR);

        if (strcmp(d.f.code, bad[i].code) != 0) {
            fail_msg("%zu: %s", i, d.f.code);
        }

        done(&d);
    }

    /* sync (11) with n cursors (2) of seq (3) 1 */

    for (n = IM_JSON_ITEMS_MAX; n <= 16000; n = (n == 16000) ? n + 1
         : (n == IM_JSON_ITEMS_MAX) ? n + 1 : 16000)
    {
        big = malloc(4 * n + 4);
        big[0] = 0x5a;
        big[1] = (unsigned char) (0x80 | (4 * n & 0x7f));
        big[2] = (unsigned char) (0x80 | (4 * n >> 7 & 0x7f));
        big[3] = (unsigned char) (4 * n >> 14);

        for (i = 0; i < n; i++) {
            memcpy(big + 4 + 4 * i, "\x12\x02\x18\x01", 4);
        }

        if (decode(&d, IM_ENCODING_PROTO, big, 4 * n + 4) == IM_OK) {
            assert_int_equal(n, IM_JSON_ITEMS_MAX);
            assert_int_equal(((Im__SyncRequest *) d.f.message)->n_cursors, n);

        } else {
            assert_true(n > IM_JSON_ITEMS_MAX);
            assert_string_equal(d.f.code, n < 16000 ? "bad_field"
                                                    : "bad_request");
        }

        done(&d);

        /* as many fields that nobody knows */

        for (i = 0; i < n; i++) {
            memcpy(big + 4 + 4 * i, "\xa2\x01\x01x", 4);
        }

        if (decode(&d, IM_ENCODING_PROTO, big, 4 * n + 4) == IM_OK) {
            assert_int_equal(protobuf_c_message_get_packed_size(d.f.message),
                             0);
        }

        done(&d);
        free(big);
    }
}


static void
an_answer_carries_the_question_s_id_in_both_encodings(void **state)
{
    size_t             len;
    Im__Frame          frame, *back;
    Im__ReadReply      reply = IM__READ_REPLY__INIT;
    unsigned char      out[256];

    static const char  json[] = "{\"type\":\"read_res\",\"id\":\"7\","
                                "\"read_seq\":\"0\"}";
    static const char  bare[] = "{\"type\":\"read_res\",\"read_seq\":\"0\"}";

    (void) state;

    reply.has_id = 1;
    reply.id = 99;                     /* not Logic's to say */

    im_client_answer(&frame, &im_client_questions[3], 7, &reply.base);

    len = im_client_encode(&frame, IM_ENCODING_JSON, out, sizeof(out));
    assert_int_equal(len, 2 + strlen(json));
    assert_memory_equal(out + 2, json, strlen(json));

    len = im_client_encode(&frame, IM_ENCODING_PROTO, out, sizeof(out));
    back = im__frame__unpack(NULL, len - 2, out + 2);
    assert_non_null(back);
    assert_int_equal(back->frame_case, IM__FRAME__FRAME_READ_RES);
    assert_true(back->read_res->id == 7);
    im__frame__free_unpacked(back, NULL);

    im_client_answer(&frame, &im_client_questions[3], 0, &reply.base);
    len = im_client_encode(&frame, IM_ENCODING_JSON, out, sizeof(out));
    assert_int_equal(len, 2 + strlen(bare));
    assert_memory_equal(out + 2, bare, strlen(bare));
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
        cmocka_unit_test(a_question_means_the_same_in_both_encodings),
        cmocka_unit_test(every_question_has_a_method_and_an_answer),
        cmocka_unit_test(a_refused_question_keeps_its_id),
        cmocka_unit_test(nobody_asks_in_the_name_of_another),
        cmocka_unit_test(a_question_in_protobuf_is_bounded_and_checked),
        cmocka_unit_test(an_answer_carries_the_question_s_id_in_both_encodings),
        cmocka_unit_test(every_frame_of_the_server_has_a_name_in_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
