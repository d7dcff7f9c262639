/*
 * test_check.c -- a request is refused alike, with the same code and text,
 * whether it is a frame in JSON, a frame in protobuf, or the body of an HTTP
 * request; and no field of the schema is forgotten.
 */

#include "unit_client.h"

#include <stdio.h>

#include "im_check.h"
#include "logic.pb-c.h"


#define REFUSAL_MAX  256
#define FIELDS_MAX   4096


static void
put(char *out, int rc, const char *code, const char *text)
{
    if (rc == IM_OK) {
        snprintf(out, REFUSAL_MAX, "taken");

    } else {
        snprintf(out, REFUSAL_MAX, "%s: %s", code, text);
    }
}


/* Decodes {fields} into *m.  required: seen is checked. */
static int
fill(ProtobufCMessage *m, char *json, const char *fields, im_json_mem_t *mem,
    int required, im_json_err_t *err)
{
    im_str_t  s;
    uint64_t  seen;

    seen = 0;
    snprintf(json, FIELDS_MAX, "{%s}", fields);
    s = unit_str(json);

    if (im_json_decode(m, &s, mem, &seen, err) != IM_OK) {
        return IM_ERROR;
    }

    return required ? im_json_check_required(m, seen, err) : IM_OK;
}


/* As ngx_im_api_fill.c does it. */
static void
by_http(const ProtobufCMessageDescriptor *d, const char *fields, char *out)
{
    int                rc;
    char               json[FIELDS_MAX];
    uint64_t           memory[FIELDS_MAX], space[64];
    im_json_err_t      err;
    im_json_mem_t      mem;
    ProtobufCMessage  *m;

    assert_true(d->sizeof_message <= sizeof(space));
    m = (ProtobufCMessage *) space;
    protobuf_c_message_init(d, m);
    mem.pos = (unsigned char *) memory;
    mem.end = mem.pos + sizeof(memory);

    rc = fill(m, json, fields, &mem, 1, &err);

    if (rc == IM_OK) {
        rc = im_check(m, &err);
    }

    put(out, rc, err.code, err.text);
}


static void
by_frame(const char *type, const char *fields, char *out)
{
    int       rc;
    char      json[FIELDS_MAX];
    decode_t  d;

    snprintf(json, sizeof(json), "{\"type\":\"%s\"%s%s}", type,
             fields[0] ? "," : "", fields);

    rc = decode_json(&d, json);
    put(out, rc, d.f.code, d.f.err.text);
    done(&d);
}


/* 0: protobuf cannot say this. */
static int
by_protobuf(const ProtobufCMessageDescriptor *d, unsigned type,
    const char *fields, char *out)
{
    int                rc, required;
    char               json[FIELDS_MAX];
    size_t             n;
    uint64_t           memory[FIELDS_MAX], space[64];
    decode_t           back;
    Im__Frame          frame = IM__FRAME__INIT;
    im_json_err_t      err;
    im_json_mem_t      mem;
    unsigned char      packed[FIELDS_MAX];
    ProtobufCMessage  *m;

    m = (ProtobufCMessage *) space;
    protobuf_c_message_init(d, m);
    mem.pos = (unsigned char *) memory;
    mem.end = mem.pos + sizeof(memory);
    required = (d != &im__send__descriptor);

    if (fill(m, json, fields, &mem, required, &err) != IM_OK) {
        return 0;
    }

    frame.frame_case = (Im__Frame__FrameCase) type;
    frame.sync = (void *) m;           /* or what else it is: a union */
    assert_true(im__frame__get_packed_size(&frame) <= sizeof(packed));
    n = im__frame__pack(&frame, packed);

    rc = decode(&back, IM_ENCODING_PROTO, packed, n);
    put(out, rc, back.f.code, back.f.err.text);
    done(&back);

    return 1;
}


static void
same(const char *type, const ProtobufCMessageDescriptor *request,
    const ProtobufCMessageDescriptor *message, unsigned frame,
    const char *fields)
{
    char  http[REFUSAL_MAX], json[REFUSAL_MAX], proto[REFUSAL_MAX];

    by_http(request, fields, http);
    by_frame(type, fields, json);

    if (strcmp(http, json) != 0) {
        fail_msg("%s {%s}: HTTP %s, frame %s", type, fields, http, json);
    }

    if (by_protobuf(message, frame, fields, proto)
        && strcmp(http, proto) != 0)
    {
        fail_msg("%s {%s}: HTTP %s, protobuf %s", type, fields, http, proto);
    }
}


static const char  *ids[] = {
    "", "0", "\"0\"", "1", "\"2\"", "9223372036854775807",
    "\"9223372036854775808\"", "18446744073709551615", "18446744073709551616",
    "-1", "1.5", "null", "\"bob\"", "[1]",
};


static void
add(char *fields, const char *name, const char *value)
{
    size_t  n;

    if (value[0] != '\0') {
        n = strlen(fields);
        snprintf(fields + n, FIELDS_MAX - n, "%s\"%s\":%s", n ? "," : "",
                 name, value);
    }
}


static void
a_send_is_refused_alike_by_http_and_by_frame(void **state)
{
    char    fields[FIELDS_MAX], longest[80], *cmids[5];
    size_t  i, k, c, b;

    static const char  *bodies[] = { "", "1" };

    (void) state;

    memset(longest, 'c', sizeof(longest));
    longest[0] = '"';
    longest[IM_CMID_MAX + 2] = '"';
    longest[IM_CMID_MAX + 3] = '\0';

    cmids[0] = "";
    cmids[1] = "\"\"";
    cmids[2] = "\"a\"";
    cmids[3] = longest;
    cmids[4] = "7";

    for (i = 0; i < UNIT_N(ids); i++) {
        for (k = 0; k < UNIT_N(ids); k++) {
            for (c = 0; c < 5; c++) {
                for (b = 0; b < UNIT_N(bodies); b++) {
                    fields[0] = '\0';
                    add(fields, "to", ids[i]);
                    add(fields, "room", ids[k]);
                    add(fields, "cmid", cmids[c]);
                    add(fields, "body", bodies[b]);

                    same("send", &im__send_request__descriptor,
                         &im__send__descriptor, IM__FRAME__FRAME_SEND,
                         fields);
                }
            }
        }
    }
}


static void
a_question_is_refused_alike_by_http_and_by_frame(void **state)
{
    char                         fields[FIELDS_MAX];
    size_t                       i, k, n, q;
    const im_client_question_t  *question;

    static const char  *names[] = {
        "with", "room", "seq", "before_seq", "after_seq", "before", "limit"
    };

    (void) state;

    for (q = 0; q < IM_CLIENT_QUESTIONS; q++) {
        question = &im_client_questions[q];

        for (n = 0; n < UNIT_N(names); n++) {
            for (i = 0; i < UNIT_N(ids); i++) {
                for (k = 0; k < UNIT_N(ids); k++) {
                    fields[0] = '\0';
                    add(fields, "with", ids[k]);

                    if (n != 0) {
                        add(fields, names[n], ids[i]);
                    }

                    if (n % 2) {
                        add(fields, "seq", n == 2 ? "" : "1");
                        add(fields, "cursors", "[{\"seq\":1,\"with\":0}]");
                    }

                    same(question->type, question->request,
                         question->request, question->frame, fields);
                }
            }
        }
    }
}


static void
an_id_of_0_counts_as_not_given(void **state)
{
    size_t         i;
    char           out[REFUSAL_MAX];
    im_json_err_t  err;

    Im__SyncRequest  sync = IM__SYNC_REQUEST__INIT;
    Im__Cursor       cursor = IM__CURSOR__INIT, *cursors = &cursor;

    static const struct {
        const char  *fields;
        const char  *result;
    } t[] = {
        { "\"to\":2,\"room\":0,\"body\":1", "taken" },
        { "\"to\":0,\"room\":5,\"body\":1", "taken" },
        { "\"to\":0,\"body\":1", "missing_field: field 'to' or 'room' is "
                                 "required" },
        { "\"to\":0,\"room\":0,\"body\":1", "missing_field: field 'to' or "
                                            "'room' is required" },
        { "\"to\":1,\"room\":5,\"body\":1", "bad_field: fields 'to' and "
                                            "'room' exclude each other" },
        { "\"to\":9223372036854775808,\"body\":1",
          "bad_field: field 'to' is not in 1 to 2^63-1" },
        { "\"to\":2", "missing_field: field 'body' is required" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(t); i++) {
        by_http(&im__send_request__descriptor, t[i].fields, out);
        assert_string_equal(out, t[i].result);
        by_frame("send", t[i].fields, out);
        assert_string_equal(out, t[i].result);
    }

    by_http(&im__history_request__descriptor, "\"with\":0,\"room\":\"7\"",
            out);
    assert_string_equal(out, "taken");
    by_http(&im__read_request__descriptor, "\"with\":0,\"seq\":1", out);
    assert_string_equal(out, "missing_field: field 'with' or 'room' is "
                        "required");

    cursor.has_with = 1;
    sync.n_cursors = 1;
    sync.cursors = &cursors;
    assert_int_equal(im_check(&sync.base, &err), IM_OK);
    assert_false(cursor.has_with);
}


static void
a_page_has_its_bounds(void **state)
{
    char    fields[FIELDS_MAX], out[REFUSAL_MAX];
    size_t  i, k;

    static const struct {
        const ProtobufCMessageDescriptor  *request;
        const char                        *named;
        const char                        *from;
        int                                max;
    } t[] = {
        { &im__history_request__descriptor, "\"with\":7", "before_seq", 200 },
        { &im__conversations_request__descriptor, "", "before", 100 },
        { &im__room_members_request__descriptor, "\"room\":7", "after", 200 },
        { &im__rooms_request__descriptor, "", "after", 50 },
    };

    (void) state;

    for (i = 0; i < UNIT_N(t); i++) {
        for (k = 0; k < 4; k++) {
            int  limit[] = { 0, 1, t[i].max, t[i].max + 1 };

            snprintf(fields, sizeof(fields), "%s%s\"limit\":%d", t[i].named,
                     t[i].named[0] ? "," : "", limit[k]);
            by_http(t[i].request, fields, out);
            assert_int_equal(strncmp(out, "bad_field: ", 11) == 0,
                             k == 0 || k == 3);
            assert_int_equal(strcmp(out, "taken") == 0, k == 1 || k == 2);
        }

        snprintf(fields, sizeof(fields), "%s%s\"%s\":9223372036854775808",
                 t[i].named, t[i].named[0] ? "," : "", t[i].from);
        by_http(t[i].request, fields, out);
        assert_int_equal(strncmp(out, "bad_field: ", 11), 0);
    }
}


static void
a_list_has_its_length_whoever_asks(void **state)
{
    int       i, n, ok;
    char      list[FIELDS_MAX / 2], fields[FIELDS_MAX], out[REFUSAL_MAX];
    decode_t  d;

    (void) state;

    for (n = 0; n <= 202; n++) {
        strcpy(list, "[");

        for (i = 0; i < n; i++) {
            strcat(list, i ? ",1" : "1");
        }

        strcat(list, "]");

        fields[0] = '\0';
        add(fields, "add", list);
        by_frame("presence_sub", fields, out);
        ok = (strcmp(out, "taken") == 0);
        assert_int_equal(ok, n <= IM_UIDS_MAX);

        fields[0] = '\0';
        add(fields, "uids", list);
        by_http(&im__presence_request__descriptor, fields, out);
        ok = (strcmp(out, "taken") == 0);
        assert_int_equal(ok, n >= 1 && n <= IM_UIDS_MAX);
    }

    /* a binary frame names what is missing, too: join, a sync's cursor */

    assert_int_equal(decode(&d, IM_ENCODING_PROTO, "\x9a\x01\x02\x08\x05", 5),
                     IM_ERROR);
    assert_string_equal(d.f.code, "missing_field");
    assert_string_equal(d.f.err.text, "field 'room' is required");
    assert_true(d.f.id == 5);
    done(&d);

    assert_int_equal(decode(&d, IM_ENCODING_PROTO,
                            "\x5a\x04\x12\x02\x08\x07", 6), IM_ERROR);
    assert_string_equal(d.f.code, "missing_field");
    assert_string_equal(d.f.err.text, "field 'seq' is required");
    done(&d);
}


/* What Logic decides, and what any value is good for. */
static const char  *judged_by_logic[] = {
    /* required ids: no_such_user, no_such_room; a read mark: cursor_ahead */
    "uid", "room", "seq",
    /* any number of the client's */
    "id",
    /* the edge's */
    "instance", "conn", "caller", "since",
    /* names, passwords, tokens; yes and no */
    "name", "password", "old_password", "new_password", "device",
    "refresh_token", "ticket", "kind", "role", "open", "history", "online",
    "hidden", "pinned", "muted", "mute_s",
};


static int
is_judged_by_logic(const char *name)
{
    size_t  i;

    for (i = 0; i < UNIT_N(judged_by_logic); i++) {
        if (strcmp(judged_by_logic[i], name) == 0) {
            return 1;
        }
    }

    return 0;
}


static void
look_for_rules(const ProtobufCMessageDescriptor *d)
{
    unsigned  i;

    for (i = 0; i < d->n_fields; i++) {
        if (im_check_has_rule(d, i) || is_judged_by_logic(d->fields[i].name)) {
            continue;
        }

        /* the sum of the two is bounded, by Logic */
        if (d == &im__lookup_users_request__descriptor) {
            continue;
        }

        fail_msg("%s.%s: neither a rule in im_check.c, nor listed here",
                 d->name, d->fields[i].name);
    }
}


static void
every_field_of_the_schema_has_a_rule_or_is_left_to_logic(void **state)
{
    size_t                             i;
    const ProtobufCMessageDescriptor  *d;

    (void) state;

    for (i = 0; i < im__logic__descriptor.n_methods; i++) {
        d = im__logic__descriptor.methods[i].input;

        if (d != &im__up_batch__descriptor) {
            look_for_rules(d);
        }
    }

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        look_for_rules(im_client_questions[i].request);
    }

    look_for_rules(&im__send__descriptor);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_send_is_refused_alike_by_http_and_by_frame),
        cmocka_unit_test(a_question_is_refused_alike_by_http_and_by_frame),
        cmocka_unit_test(an_id_of_0_counts_as_not_given),
        cmocka_unit_test(a_page_has_its_bounds),
        cmocka_unit_test(a_list_has_its_length_whoever_asks),
        cmocka_unit_test(
            every_field_of_the_schema_has_a_rule_or_is_left_to_logic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
