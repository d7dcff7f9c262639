/*
 * test_error.c -- a refusal has one code and one status, wherever it is made.
 */

#include "unit.h"

#include <ctype.h>

#include "im_error.h"


static void
every_code_is_found_and_has_a_status(void **state)
{
    size_t             i, k;
    const char        *p;
    const im_error_t  *e;

    (void) state;

    for (i = 0; (e = im_error_at(i)) != NULL; i++) {
        assert_ptr_equal(im_error_find(e->code, strlen(e->code)), e);
        assert_in_range(e->http, 400, 599);
        assert_in_range(e->grpc, 1, 16);
        assert_true(e->title[0] != '\0');

        for (p = e->code; *p; p++) {
            assert_true(islower((unsigned char) *p) || *p == '_');
        }

        for (k = 0; k < i; k++) {
            assert_string_not_equal(im_error_at(k)->code, e->code);
        }

        /* only what passes by itself is worth a retry */

        if (e->retryable) {
            assert_true(e->http == 429 || e->http == 503 || e->http == 504);
        }
    }

    assert_true(i > 20);
    assert_null(im_error_at(i));
    assert_null(im_error_at(SIZE_MAX));
}


static void
an_unknown_code_is_an_internal_error(void **state)
{
    (void) state;

    assert_string_equal(im_error_find("nonsense", 8)->code, "internal");
    assert_string_equal(im_error_find("", 0)->code, "internal");
    assert_string_equal(im_error_find("busyx", 5)->code, "internal");
    assert_string_equal(im_error_find("busyx", 4)->code, "busy");
}


static void
a_status_of_logic_becomes_the_client_s_refusal(void **state)
{
    size_t             i;
    im_str_t           text;
    const im_error_t  *e;

    static const struct {
        int          grpc;
        const char  *message;
        const char  *code;
        const char  *text;
    } s[] = {
        { 6, "name_taken: alice is taken", "name_taken", "alice is taken" },
        { 6, "name_taken:alice", "name_taken", "alice" },
        { 6, "name_taken:", "name_taken", "" },
        { 3, "bad_field: a: b", "bad_field", "a: b" },
        { 14, "busy: later", "busy", "later" },
        { 4, "Deadline Exceeded", "timeout", "Deadline Exceeded" },
        { 8, "", "unavailable", "" },
        { 14, "failed to connect: refused", "unavailable",
          "failed to connect: refused" },
        { 14, NULL, "unavailable", "" },
        { 13, "weird: thing", "internal", "weird: thing" },
        { 2, "", "internal", "" },
        { 12, "not_found: no such method", "unsupported",
          "not_found: no such method" },
        { 12, "", "unsupported", "" },
        { 0, "", "internal", "" },
        { 99, "", "internal", "" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(s); i++) {
        e = im_error_from_status(s[i].grpc, s[i].message, &text);
        assert_string_equal(e->code, s[i].code);
        assert_int_equal(text.len, strlen(s[i].text));
        assert_memory_equal(text.data, s[i].text, text.len);
    }
}


static unsigned
retry(const char *code, uint64_t away_ms)
{
    return im_error_retry_ms(im_error_find(code, strlen(code)), away_ms);
}


static void
a_client_is_told_to_wait_half_as_long_as_the_outage_has_lasted(void **state)
{
    (void) state;

    assert_int_equal(retry("unavailable", 0), 1000);
    assert_int_equal(retry("unavailable", 1), 500);
    assert_int_equal(retry("unavailable", 1000), 500);
    assert_int_equal(retry("unavailable", 4000), 2000);
    assert_int_equal(retry("timeout", 4000), 2000);
    assert_int_equal(retry("unavailable", 3600000), 2500);
    assert_int_equal(retry("unavailable", UINT64_MAX), 2500);
    assert_int_equal(retry("bad_field", 4000), 0);
    assert_int_equal(retry("bad_field", 0), 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_code_is_found_and_has_a_status),
        cmocka_unit_test(an_unknown_code_is_an_internal_error),
        cmocka_unit_test(a_status_of_logic_becomes_the_client_s_refusal),
        cmocka_unit_test(
            a_client_is_told_to_wait_half_as_long_as_the_outage_has_lasted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
