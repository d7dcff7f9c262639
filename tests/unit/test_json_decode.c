/*
 * test_json_decode.c -- JSON that clients send: RFC 8259, no more and no less,
 * straight into the fields of a request.
 */

#include "unit_json.h"

#include <stdio.h>

#include "logic.pb-c.h"


static int
valid(const char *json, size_t len)
{
    int            rc;
    im_str_t       s;
    im_json_err_t  err;

    s = unit_exact(json, len);
    err.code = "none";
    rc = im_json_valid(&s, &err);
    free(s.data);

    if (rc != IM_OK) {
        assert_string_equal(err.code, "bad_json");
        assert_true(err.text[0] != '\0');
    }

    return rc == IM_OK;
}


static void
all_of_rfc_8259_is_json(void **state)
{
    size_t             i;
    static const char *good[] = {
        "null", "true", "false", "0", "-0", "-1", "10", "1.5", "1e5", "1E+5",
        "1.25e-7", "\"\"", "\"a\"", "[]", "{}", "[1]", "[1,2]", "[[],{}]",
        " [ 1 , 2 ] ", "\t\r\n{ \"a\" : 1 }\n", "{\"a\":{\"b\":[null]}}",
        "{\"a\":1,\"a\":2}", "{\"\":0}", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u0041\"", "\"\\ud83d\\ude00\"", "\"\\uD83D\\uDE00\"",
        "\"\xc3\xa9\"", "\"\x7f\"", "\"\\u0000\"",
        "123456789012345678901234567890",
    };

    (void) state;

    for (i = 0; i < UNIT_N(good); i++) {
        if (!valid(good[i], strlen(good[i]))) {
            fail_msg("refused: %s", good[i]);
        }
    }
}


static void
what_is_not_in_rfc_8259_is_refused(void **state)
{
    size_t             i;
    static const char *bad[] = {
        "", " ", "nul", "nulll", "True", "NaN", "Infinity", "-", "+1", "01",
        "-01", ".5", "1.", "1.e5", "1e", "1e+", "0x10", "1 2", "[", "]", "[1",
        "[1,", "[1,]", "[,1]", "[1 2]", "{", "}", "{\"a\"", "{\"a\":",
        "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{a:1}", "{'a':1}",
        "{1:1}", "{\"a\" 1}", "{\"a\",1}", "\"", "\"a", "'a'", "\"\\\"",
        "\"\\x41\"", "\"\\u\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud83d\"",
        "\"\\ude00\"", "\"\\ud83d\\u0041\"", "\"\\ud83dx\"", "\"\n\"",
        "\"\t\"", "\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "[1]]", "{}{}",
        "/* */ 1", "// 1\n1", "\xef\xbb\xbf{}",
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        if (valid(bad[i], strlen(bad[i]))) {
            fail_msg("taken: %s", bad[i]);
        }
    }

    assert_false(valid("\"a\0b\"", 5));
}


/* Whether it comes as an object's member or alone, as in protobuf. */
static void
a_body_may_be_32_levels_deep(void **state)
{
    int              depth;
    char             json[128], frame[160];
    decode_t         d;
    Im__SendRequest  msg;

    (void) state;

    for (depth = 1; depth <= 34; depth++) {
        memset(json, '[', (size_t) depth);
        memset(json + depth, ']', (size_t) depth);
        json[2 * depth] = '\0';

        if (valid(json, strlen(json)) != (depth <= 32)) {
            fail_msg("depth %d", depth);
        }

        im__send_request__init(&msg);
        snprintf(frame, sizeof(frame), "{\"to\":1,\"body\":%s}", json);

        if ((decode(&d, &msg.base, frame, strlen(frame)) == IM_OK)
            != (depth <= 32))
        {
            fail_msg("depth %d in a frame", depth);
        }

        done(&d);
    }
}


static void
a_document_that_is_cut_anywhere_is_refused(void **state)
{
    int                rc;
    size_t             n;
    decode_t           d;
    Im__SendRequest    msg;
    static const char  json[] = "{ \"to\" : \"7\" , \"cmid\":\"a\\u00e9\xc3\xa9"
                                "\\ud83d\\ude00\", \"other\": [1.5e3, true, "
                                "null, {\"x\":\"y\"}],\"body\":{\"t\":-0.5}}";

    (void) state;

    for (n = 0; n < sizeof(json); n++) {
        im__send_request__init(&msg);
        rc = decode(&d, &msg.base, json, n);

        if (n < sizeof(json) - 1) {
            assert_int_equal(rc, IM_ERROR);
            assert_string_equal(d.err.code, "bad_json");

        } else {
            assert_int_equal(rc, IM_OK);
        }

        done(&d);
    }
}


static void
fields_arrive_unescaped_and_bodies_verbatim(void **state)
{
    decode_t           d;
    Im__SendRequest    msg;
    static const char  json[] = "{\"to\":\"9007199254740993\","
                                "\"cmid\":\"\\\"\\u0041\\u00e9\\u20ac"
                                "\\ud83d\\ude00\\n\","
                                "\"body\": {\"a\" : [1, \"\\u0041\"]} }";

    (void) state;

    im__send_request__init(&msg);
    assert_int_equal(decode(&d, &msg.base, json, strlen(json)), IM_OK);

    assert_true(msg.to == 9007199254740993ULL);
    assert_string_equal(msg.cmid, "\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n");
    assert_int_equal(msg.body.len, strlen("{\"a\" : [1, \"\\u0041\"]}"));
    assert_memory_equal(msg.body.data, "{\"a\" : [1, \"\\u0041\"]}",
                        msg.body.len);

    done(&d);
}


static void
a_body_of_any_kind_is_kept_as_written(void **state)
{
    char                json[64];
    size_t              i;
    decode_t            d;
    Im__SendRequest     msg;
    static const char  *bodies[] = {
        "\"hello\"", "\"\"", "1.50", "-0", "true", "null", "[]", "{ }",
        "\"\\u00e9\"",
    };

    (void) state;

    for (i = 0; i < UNIT_N(bodies); i++) {
        im__send_request__init(&msg);
        snprintf(json, sizeof(json), "{\"body\" : %s ,\"to\":1}", bodies[i]);

        assert_int_equal(decode(&d, &msg.base, json, strlen(json)), IM_OK);
        assert_int_equal(msg.body.len, strlen(bodies[i]));
        assert_memory_equal(msg.body.data, bodies[i], msg.body.len);

        done(&d);
    }
}


static void
a_wrong_field_is_named(void **state)
{
    int       rc;
    size_t    i;
    decode_t  d;

    union {
        ProtobufCMessage    base;
        Im__HistoryRequest  history;
        Im__LoginRequest    login;
    } msg;

    static const struct {
        int          login;
        const char  *json;
        const char  *code;
        const char  *field;
    } bad[] = {
        { 0, "{\"with\":-1}", "bad_field", "'with'" },
        { 0, "{\"with\":1.5}", "bad_field", "'with'" },
        { 0, "{\"with\":1e3}", "bad_field", "'with'" },
        { 0, "{\"with\":\"\"}", "bad_field", "'with'" },
        { 0, "{\"with\":\" 1\"}", "bad_field", "'with'" },
        { 0, "{\"with\":\"01\"}", "bad_field", "'with'" },
        { 0, "{\"with\":\"0x1\"}", "bad_field", "'with'" },
        { 0, "{\"with\":\"\\u0031\"}", "bad_field", "'with'" },
        { 0, "{\"with\":true}", "bad_field", "'with'" },
        { 0, "{\"with\":null}", "bad_field", "'with'" },
        { 0, "{\"with\":[1]}", "bad_field", "'with'" },
        { 0, "{\"with\":18446744073709551616}", "bad_field",
          "18446744073709551615" },
        { 0, "{\"limit\":4294967296}", "bad_field", "4294967295" },
        { 0, "{\"with\":1,\"with\":1}", "bad_field", "twice" },
        { 0, "{\"with\":1,\"w\\u0069th\":1}", "bad_field", "twice" },
        { 1, "{\"name\":1}", "bad_field", "'name'" },
        { 1, "{\"name\":null}", "bad_field", "'name'" },
        { 1, "{\"name\":{}}", "bad_field", "'name'" },
        { 1, "{\"name\":\"a\\u0000b\"}", "bad_field", "U+0000" },
        { 1, "[]", "bad_json", "object" },
        { 1, "\"name\"", "bad_json", "object" },
        { 1, "{}x", "bad_json", "nothing more" },
        { 1, "{\"name\":\"\xff\"}", "bad_json", "UTF-8" },
        { 1, "{\"x\":\"\xff\"}", "bad_json", "UTF-8" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        if (bad[i].login) {
            im__login_request__init(&msg.login);

        } else {
            im__history_request__init(&msg.history);
        }

        rc = decode(&d, &msg.base, bad[i].json, strlen(bad[i].json));

        if (rc != IM_ERROR || strcmp(d.err.code, bad[i].code) != 0
            || strstr(d.err.text, bad[i].field) == NULL)
        {
            fail_msg("%s: %d %s: %s", bad[i].json, rc, d.err.code,
                     d.err.text);
        }

        done(&d);
    }
}


static void
the_largest_numbers_fit(void **state)
{
    decode_t            d;
    Im__HistoryRequest  msg;
    static const char   json[] = "{\"with\":18446744073709551615,"
                                 "\"after_seq\":\"0\",\"limit\":4294967295}";

    (void) state;

    im__history_request__init(&msg);
    assert_int_equal(decode(&d, &msg.base, json, strlen(json)), IM_OK);

    assert_true(msg.with == UINT64_MAX);
    assert_true(msg.has_after_seq);
    assert_true(msg.after_seq == 0);
    assert_false(msg.has_before_seq);
    assert_int_equal(msg.limit, UINT32_MAX);

    done(&d);
}


/* The caller is what the token says; nobody becomes another by a body. */
static void
a_message_field_cannot_be_set_from_outside(void **state)
{
    decode_t            d;
    im_str_t            name, value;
    Im__SyncRequest     sync;
    Im__HistoryRequest  msg;
    static const char   json[] = "{\"caller\":{\"uid\":\"1\"},\"with\":2}";

    (void) state;

    im__history_request__init(&msg);
    assert_int_equal(decode(&d, &msg.base, json, strlen(json)), IM_OK);
    assert_null(msg.caller);

    name = unit_str("caller");
    value = unit_str("1");
    assert_int_equal(im_json_set(&msg.base, &name, &value, &d.mem, &d.seen,
                                 &d.err), IM_DECLINED);
    assert_null(msg.caller);

    im__sync_request__init(&sync);
    name = unit_str("cursors");
    assert_int_equal(im_json_set(&sync.base, &name, &value, &d.mem, &d.seen,
                                 &d.err), IM_DECLINED);

    done(&d);
}


static void
what_is_unknown_is_skipped_but_must_be_json(void **state)
{
    decode_t            d;
    Im__HistoryRequest  msg;
    static const char   good[] = "{\"x\":[{\"with\":5}],\"with\":2,\"y\":1e9}";
    static const char   bad[] = "{\"x\":[{\"with\":5}},\"with\":2}";

    (void) state;

    im__history_request__init(&msg);
    assert_int_equal(decode(&d, &msg.base, good, strlen(good)), IM_OK);
    assert_true(msg.with == 2);
    done(&d);

    im__history_request__init(&msg);
    assert_int_equal(decode(&d, &msg.base, bad, strlen(bad)), IM_ERROR);
    assert_string_equal(d.err.code, "bad_json");
    done(&d);
}


static void
memory_that_is_too_small_is_an_error_not_an_overrun(void **state)
{
    size_t             n;
    im_str_t           json;
    uint64_t           seen;
    im_json_mem_t      mem;
    im_json_err_t      err;
    unsigned char     *memory;
    Im__LoginRequest   msg;

    (void) state;

    json = unit_str("{\"name\":\"\\u0061lice\",\"password\":\"secret\"}");

    for (n = 0; n < 32; n++) {
        im__login_request__init(&msg);
        memory = malloc(n + 1);
        mem.pos = memory;
        mem.end = memory + n;
        seen = 0;

        if (im_json_decode(&msg.base, &json, &mem, &seen, &err) != IM_OK) {
            assert_string_equal(err.code, "too_large");

        } else {
            assert_true(n >= sizeof("alice") + sizeof("secret"));
            assert_string_equal(msg.name, "alice");
        }

        free(memory);
    }
}


static void
arguments_of_the_query_fill_fields_too(void **state)
{
    size_t              i;
    decode_t            d;
    im_str_t            name, value;
    Im__HistoryRequest  msg;
    Im__SendRequest     send;

    static const struct {
        const char  *name;
        const char  *value;
        int          rc;
    } args[] = {
        { "with", "12", IM_OK },
        { "with", "12", IM_ERROR },               /* twice */
        { "limit", "x", IM_ERROR },
        { "after_seq", "-1", IM_ERROR },
        { "nothing", "1", IM_DECLINED },
        { "", "1", IM_DECLINED },
    };

    (void) state;

    im__history_request__init(&msg);
    assert_int_equal(decode(&d, &msg.base, "{}", 2), IM_OK);

    for (i = 0; i < UNIT_N(args); i++) {
        name = unit_str(args[i].name);
        value = unit_str(args[i].value);

        if (im_json_set(&msg.base, &name, &value, &d.mem, &d.seen, &d.err)
            != args[i].rc)
        {
            fail_msg("%s=%s", args[i].name, args[i].value);
        }
    }

    assert_true(msg.with == 12);
    done(&d);

    im__send_request__init(&send);
    assert_int_equal(decode(&d, &send.base, "{      }", 8), IM_OK);
    name = unit_str("cmid");
    value = unit_str("a\xc3\xa9");
    assert_int_equal(im_json_set(&send.base, &name, &value, &d.mem, &d.seen,
                                 &d.err), IM_OK);
    assert_string_equal(send.cmid, "a\xc3\xa9");

    name = unit_str("body");
    assert_int_equal(im_json_set(&send.base, &name, &value, &d.mem, &d.seen,
                                 &d.err), IM_ERROR);

    done(&d);
}


static void
a_required_field_that_is_missing_is_named(void **state)
{
    decode_t          d;
    Im__LoginRequest  msg;

    (void) state;

    im__login_request__init(&msg);
    assert_int_equal(decode(&d, &msg.base, "{\"name\":\"a\"}", 12), IM_OK);
    assert_int_equal(im_json_check_required(&msg.base, d.seen, &d.err),
                     IM_ERROR);
    assert_string_equal(d.err.code, "missing_field");
    assert_non_null(strstr(d.err.text, "'password'"));
    done(&d);

    im__login_request__init(&msg);
    assert_int_equal(decode(&d, &msg.base,
                            "{\"name\":\"\",\"password\":\"\"}", 25), IM_OK);
    assert_int_equal(im_json_check_required(&msg.base, d.seen, &d.err),
                     IM_OK);
    done(&d);
}


static void
a_look_at_one_member_finds_only_the_top_level(void **state)
{
    int       rc;
    size_t    i;
    im_str_t  json, value;

    static const struct {
        const char  *json;
        int          rc;
        const char  *value;
    } peeks[] = {
        { "{\"type\":\"send\"}", IM_OK, "send" },
        { " { \"a\" : {\"type\":\"x\"} , \"type\" : \"y\" }", IM_OK, "y" },
        { "{\"type\":\"\"}", IM_OK, "" },
        { "{\"type\":\"a\\u0062\"}", IM_ERROR, NULL },
        { "{\"type\":1}", IM_ERROR, NULL },
        { "{\"type\":", IM_ERROR, NULL },
        { "{\"typ\":\"x\"}", IM_DECLINED, NULL },
        { "{\"a\":[\"type\"]}", IM_DECLINED, NULL },
        { "[]", IM_DECLINED, NULL },
        { "", IM_DECLINED, NULL },
        { "{", IM_DECLINED, NULL },
        { "{\"a\":1,", IM_DECLINED, NULL },
    };

    (void) state;

    for (i = 0; i < UNIT_N(peeks); i++) {
        json = unit_exact(peeks[i].json, strlen(peeks[i].json));
        rc = im_json_peek(&json, "type", &value);

        if (rc != peeks[i].rc) {
            fail_msg("%s: %d", peeks[i].json, rc);
        }

        if (rc == IM_OK) {
            assert_int_equal(value.len, strlen(peeks[i].value));
            assert_memory_equal(value.data, peeks[i].value, value.len);
        }

        free(json.data);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(all_of_rfc_8259_is_json),
        cmocka_unit_test(what_is_not_in_rfc_8259_is_refused),
        cmocka_unit_test(a_body_may_be_32_levels_deep),
        cmocka_unit_test(a_document_that_is_cut_anywhere_is_refused),
        cmocka_unit_test(fields_arrive_unescaped_and_bodies_verbatim),
        cmocka_unit_test(a_body_of_any_kind_is_kept_as_written),
        cmocka_unit_test(a_wrong_field_is_named),
        cmocka_unit_test(the_largest_numbers_fit),
        cmocka_unit_test(a_message_field_cannot_be_set_from_outside),
        cmocka_unit_test(what_is_unknown_is_skipped_but_must_be_json),
        cmocka_unit_test(memory_that_is_too_small_is_an_error_not_an_overrun),
        cmocka_unit_test(arguments_of_the_query_fill_fields_too),
        cmocka_unit_test(a_required_field_that_is_missing_is_named),
        cmocka_unit_test(a_look_at_one_member_finds_only_the_top_level),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
