/*
 * test_client_query.c -- questions of a client, and their answers, in both
 * encodings.
 */

#include "unit_client.h"

#include <stdio.h>

#include "im_check.h"
#include "im_frame.h"
#include "logic.pb-c.h"


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
    assert_string_equal(d.f.code, "missing_field");
    assert_true(d.f.id == 7);
    done(&d);

    assert_int_equal(decode_json(&d, "{\"type\":\"dance\"}"), IM_ERROR);

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        assert_non_null(strstr(d.f.err.text, im_client_questions[i].type));
    }

    done(&d);
}


/* Of several members of the frame's oneof the last one counts. */
static void
nothing_stays_of_a_question_that_another_frame_replaces(void **state)
{
    decode_t  d;

    (void) state;

    /* history (13) of user 1 with an id (6) of 9, and then a ping (3) */

    assert_int_equal(decode(&d, IM_ENCODING_PROTO,
                            "\x6a\x04\x08\x01\x30\x09\x1a\x00", 8), IM_OK);
    assert_int_equal(d.f.frame.frame_case, IM__FRAME__FRAME_PING);
    assert_null(d.f.question);
    assert_null(d.f.message);
    assert_true(d.f.id == 0);
    done(&d);

    /* a send (5) without anything: the refusal is of the send */

    assert_int_equal(decode(&d, IM_ENCODING_PROTO,
                            "\x6a\x04\x08\x01\x30\x09\x2a\x00", 8),
                     IM_ERROR);
    assert_true(d.f.id == 0);
    done(&d);

    /* a read (17) that is malformed */

    assert_int_equal(decode(&d, IM_ENCODING_PROTO,
                            "\x6a\x04\x08\x01\x30\x09\x8a\x01\x01\xff", 10),
                     IM_ERROR);
    assert_true(d.f.id == 0);
    done(&d);
}


/* Who asks is what the token says, in whatever encoding it is said. */
static void
nobody_asks_in_the_name_of_another(void **state)
{
    size_t             i, n;
    decode_t           d;
    Im__Caller         caller = IM__CALLER__INIT;
    Im__Cursor         cursor = IM__CURSOR__INIT, *cursors = &cursor;
    unsigned char      packed[512], again[512];
    Im__ReadRequest    read = IM__READ_REQUEST__INIT;
    const ProtobufCFieldDescriptor  *f, *with;

    union {
        ProtobufCMessage          base;
        Im__SyncRequest           sync;
        Im__HistoryRequest        history;
        Im__ConversationsRequest  conversations;
        Im__ReadRequest           read;
        Im__RoomJoinRequest       join;
        Im__RoomLeaveRequest      leave;
        Im__RoomsRequest          rooms;
        Im__PresenceSubscribe     presence;
    } u;

    static const char  json[] = "{\"type\":\"read\",\"seq\":1,\"with\":2,"
                                "\"caller\":{\"uid\":1,\"sid\":\"x\","
                               "\"device\":\"d\"}}";

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

        with = protobuf_c_message_descriptor_get_field_by_name(
                   im_client_questions[i].request, "with");

        if (with != NULL) {
            *(protobuf_c_boolean *) ((char *) &u + with->quantifier_offset)
                = 1;
            *(uint64_t *) ((char *) &u + with->offset) = 2;
        }

        if (im_client_questions[i].frame == IM__FRAME__FRAME_SYNC) {
            u.sync.n_cursors = 1;
            u.sync.cursors = &cursors;
        }

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

    read.has_with = 1;
    read.with = 2;
    n = pack(packed, &im_client_questions[3], &read);
    assert_int_equal(n, 7);            /* 17, length, with 2, seq 0 */
    memcpy(packed + n, "\xa2\x01\x08somebody", 11);
    packed[2] += 11;

    assert_int_equal(decode(&d, IM_ENCODING_PROTO, packed, n + 11), IM_OK);
    assert_int_equal(protobuf_c_message_pack(d.f.message, again), 4);
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
        { 3, "\x8a\x01\x00", "missing_field" },           /* no seq */
        { 5, "\x8a\x01\x02\x20\x80", "bad_request" },     /* cut */
        { 5, "\x8a\x01\x02\x22\x00", "missing_field" },   /* seq as bytes */
        { 5, "\x8a\x01\x03\x20\x01", "bad_request" },     /* too short */
        { 4, "\x5a\x02\x12\x00", "missing_field" },       /* cursor, no seq */
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

    for (n = IM_CURSORS_MAX; n <= 16000;
         n = (n == IM_CURSORS_MAX + 1) ? 16000 : n + 1)
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
            assert_int_equal(n, IM_CURSORS_MAX);
            assert_int_equal(((Im__SyncRequest *) d.f.message)->n_cursors, n);

        } else {
            assert_true(n > IM_CURSORS_MAX);
            assert_string_equal(d.f.code, n < 16000 ? "bad_field"
                                                    : "bad_request");
        }

        done(&d);

        /* as many fields that nobody knows, of conversations (15) */

        big[0] = 0x7a;

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


/* An answer without a name would never be sent. */
static void
each_answer_has_its_name_in_json(void **state)
{
    char                             start[64];
    size_t                           i, len;
    Im__Frame                        frame;
    Im__ReadReply                    reply = IM__READ_REPLY__INIT;
    unsigned char                    out[256];
    const ProtobufCFieldDescriptor  *f;

    (void) state;

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        f = protobuf_c_message_descriptor_get_field(
                &im__frame__descriptor, im_client_questions[i].reply);
        snprintf(start, sizeof(start), "{\"type\":\"%s\",", f->name);

        im_client_answer(&frame, &im_client_questions[i], 7, &reply.base);
        len = im_client_encode(&frame, IM_ENCODING_JSON, out, sizeof(out));

        assert_true(len > 2 + strlen(start));
        assert_memory_equal(out + 2, start, strlen(start));
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


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_question_means_the_same_in_both_encodings),
        cmocka_unit_test(every_question_has_a_method_and_an_answer),
        cmocka_unit_test(a_refused_question_keeps_its_id),
        cmocka_unit_test(
            nothing_stays_of_a_question_that_another_frame_replaces),
        cmocka_unit_test(nobody_asks_in_the_name_of_another),
        cmocka_unit_test(a_question_in_protobuf_is_bounded_and_checked),
        cmocka_unit_test(each_answer_has_its_name_in_json),
        cmocka_unit_test(an_answer_carries_the_question_s_id_in_both_encodings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
