/*
 * test_json_encode.c -- what the server answers in JSON: numbers that
 * JavaScript keeps, strings that any parser reads, never a byte too many.
 */

#include "unit.h"

#include "client.pb-c.h"
#include "im_json.h"
#include "logic.pb-c.h"


/* Encodes into memory of exactly the right size; the caller frees. */
static char *
encode(const ProtobufCMessage *msg, const char *type)
{
    char    *out;
    size_t   len;

    len = im_json_encode_max(msg, type);
    out = malloc(len + 1);

    assert_int_equal(im_json_encode(msg, type, (unsigned char *) out, len),
                     len);
    out[len] = '\0';

    return out;
}


static void
sixty_four_bits_are_strings_and_thirty_two_are_numbers(void **state)
{
    char           *s;
    Im__TokenReply  msg = IM__TOKEN_REPLY__INIT;

    (void) state;

    msg.uid = UINT64_MAX;
    msg.access_token = "a";
    msg.refresh_token = "";
    msg.expires_in = UINT32_MAX;

    s = encode(&msg.base, NULL);
    assert_string_equal(s, "{\"uid\":\"18446744073709551615\","
                           "\"access_token\":\"a\",\"refresh_token\":\"\","
                           "\"expires_in\":4294967295}");
    free(s);
}


static void
the_type_stands_first_and_defaults_are_left_out(void **state)
{
    char      *s;
    Im__Ack    ack = IM__ACK__INIT;
    Im__Pong   pong = IM__PONG__INIT;

    (void) state;

    s = encode(&pong.base, "pong");
    assert_string_equal(s, "{\"type\":\"pong\"}");
    free(s);

    ack.cmid = "c1";
    ack.msg_id = 5;
    ack.dup = 1;

    s = encode(&ack.base, "ack");
    assert_string_equal(s, "{\"type\":\"ack\",\"cmid\":\"c1\",\"msg_id\":\"5\","
                           "\"dup\":true}");
    free(s);
}


static void
optional_fields_are_there_when_they_were_set(void **state)
{
    char           *s;
    Im__SendReply   msg = IM__SEND_REPLY__INIT;

    (void) state;

    s = encode(&msg.base, NULL);
    assert_string_equal(s, "{\"msg_id\":\"0\",\"seq\":\"0\","
                           "\"time_ms\":\"0\"}");
    free(s);

    msg.has_dup = 1;
    s = encode(&msg.base, NULL);
    assert_string_equal(s, "{\"msg_id\":\"0\",\"seq\":\"0\","
                           "\"time_ms\":\"0\",\"dup\":false}");
    free(s);
}


static void
lists_and_bodies_are_nested_as_they_are(void **state)
{
    char                *s;
    Im__HistoryReply     msg = IM__HISTORY_REPLY__INIT;
    Im__Message   a = IM__MESSAGE__INIT;
    Im__Message   b = IM__MESSAGE__INIT;
    Im__Message  *list[2] = { &a, &b };

    (void) state;

    s = encode(&msg.base, NULL);
    assert_string_equal(s, "{\"messages\":[],\"more\":false}");
    free(s);

    a.seq = 1;
    a.body.data = (unsigned char *) "{\"t\": \"\\u00e9\"}";
    a.body.len = strlen((char *) a.body.data);
    b.seq = 2;
    msg.messages = list;
    msg.n_messages = 2;
    msg.more = 1;

    s = encode(&msg.base, NULL);
    assert_string_equal(s, "{\"messages\":["
                           "{\"seq\":\"1\",\"msg_id\":\"0\",\"from\":\"0\","
                           "\"time_ms\":\"0\",\"body\":{\"t\": \"\\u00e9\"}},"
                           "{\"seq\":\"2\",\"msg_id\":\"0\",\"from\":\"0\","
                           "\"time_ms\":\"0\",\"body\":null}],"
                           "\"more\":true}");
    free(s);
}


static void
every_string_is_read_back_as_it_was(void **state)
{
    char              text[2], *s;
    int               c;
    im_str_t          json;
    uint64_t          seen;
    Im__Kick          msg = IM__KICK__INIT;
    Im__LoginRequest  back;
    im_json_mem_t     mem;
    im_json_err_t     err;
    unsigned char     memory[64];
    Im__LoginRequest  out = IM__LOGIN_REQUEST__INIT;

    (void) state;

    out.password = "caf\xc3\xa9 \xf0\x9f\x98\x80";

    for (c = 1; c < 0x80; c++) {
        text[0] = (char) c;
        text[1] = '\0';
        out.name = text;

        s = encode(&out.base, NULL);
        json = unit_str(s);
        mem.pos = memory;
        mem.end = memory + sizeof(memory);
        seen = 0;

        im__login_request__init(&back);
        assert_int_equal(im_json_decode(&back.base, &json, &mem, &seen, &err),
                         IM_OK);
        assert_string_equal(back.name, text);
        assert_string_equal(back.password, out.password);
        free(s);
    }

    msg.message = "\"\\\b\f\n\r\t\x01\x1f/";
    s = encode(&msg.base, NULL);
    assert_string_equal(s, "{\"message\":\"\\\"\\\\\\u0008\\u000c\\n\\r\\t"
                           "\\u0001\\u001f/\"}");
    free(s);
}


static void
nothing_is_written_beyond_the_room(void **state)
{
    size_t          len, cap;
    unsigned char  *out;
    Im__Error       msg = IM__ERROR__INIT;

    (void) state;

    msg.code = "busy";
    msg.message = "a \"message\"\n";
    msg.retryable = 1;
    msg.retry_after_ms = 500;

    len = im_json_encode_max(&msg.base, "error");

    for (cap = 0; cap <= len; cap++) {
        out = malloc(cap + 1);
        out[cap] = 0xee;
        assert_int_equal(im_json_encode(&msg.base, "error", out, cap), len);
        assert_int_equal(out[cap], 0xee);
        free(out);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(
            sixty_four_bits_are_strings_and_thirty_two_are_numbers),
        cmocka_unit_test(the_type_stands_first_and_defaults_are_left_out),
        cmocka_unit_test(optional_fields_are_there_when_they_were_set),
        cmocka_unit_test(lists_and_bodies_are_nested_as_they_are),
        cmocka_unit_test(every_string_is_read_back_as_it_was),
        cmocka_unit_test(nothing_is_written_beyond_the_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
