/*
 * test_json_number.c -- a number that is passed on can be read by everybody:
 * RFC 8259 section 6, RFC 7493 section 2.2.
 */

#include "unit_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "im_client.h"


#define DIGITS_40  "1234567890123456789012345678901234567890"


static int
valid(const char *json, im_json_err_t *err)
{
    int       rc;
    im_str_t  s;

    err->code = "none";
    err->text[0] = '\0';
    s = unit_exact(json, strlen(json));
    rc = im_json_valid(&s, err);
    free(s.data);

    return rc;
}


static void
a_number_that_is_a_double_is_taken(void **state)
{
    size_t              i;
    im_json_err_t       err;
    static const char  *good[] = {
        "0", "-0", "0.0", "0e999", "-0.000e+99999999", "1e308", "-1E+308",
        "1.7976931348623157e308", "-1.7976931348623157e+308",
        "1.7976931348623158e308", "1.79769313486231580793728971405e308",
        "179769313486231580793.7289714053e288", "0.0017976931348623157e311",
        "9.9e307", "999999999999999999999999999999999999e270",
        "1e-400", "1e-99999999999999999999", "5e-324",
        "0.00000000000000000000000000001e330", DIGITS_40,
        "-123456789012345678901234567890123456789", "[1,2.5,1e5]",
        "1797.6931348623157e+305", "1e0000000000000000000000000000000000308",
    };

    (void) state;

    for (i = 0; i < UNIT_N(good); i++) {
        if (valid(good[i], &err) != IM_OK) {
            fail_msg("%s: %s", good[i], err.text);
        }
    }
}


static void
a_number_that_no_double_holds_is_refused_with_its_place(void **state)
{
    size_t         i;
    im_json_err_t  err;

    static const struct {
        const char  *json;
        const char  *text;
    } bad[] = {
        { "1e400", "at byte 0 is beyond" },
        { "-1e309", "at byte 0 is beyond" },
        { "1.7976931348623159e308", "at byte 0 is beyond" },
        { "1.797693134862315808e308", "at byte 0 is beyond" },
        { "17976931348623159e292", "at byte 0 is beyond" },
        { "0.00017976931348623159E312", "at byte 0 is beyond" },
        { "9999999999999999999999999999999999999e272",
          "at byte 0 is longer than 40" },
        { "999999999999999999999999999999999999e273", "at byte 0 is beyond" },
        { "1e99999999999999999999999999999999", "at byte 0 is beyond" },
        { DIGITS_40 "1", "at byte 0 is longer than 40" },
        { "0." DIGITS_40, "at byte 0 is longer than 40" },
        { "{\"a\":[1, 1e400]}", "at byte 9 is beyond" },
        { "[" DIGITS_40 "." DIGITS_40 "]", "at byte 1 is longer than 40" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        if (valid(bad[i].json, &err) != IM_ERROR
            || strcmp(err.code, "bad_field") != 0
            || strstr(err.text, bad[i].text) == NULL)
        {
            fail_msg("%s: %s, %s", bad[i].json, err.code, err.text);
        }
    }
}


/* The C library decides what a double is. */
static void
the_edge_is_that_of_strtod(void **state)
{
    int            i, exp;
    char           text[64];
    double         d;
    unsigned       seed;
    im_json_err_t  err;

    (void) state;

    seed = 4711;

    for (i = 0; i < 200000; i++) {
        exp = 300 + (int) (rand_r(&seed) % 12);

        if (i % 2) {
            snprintf(text, sizeof(text), "%u.%07ue%d", rand_r(&seed) % 100,
                     rand_r(&seed) % 10000000, exp);

        } else {
            snprintf(text, sizeof(text), "1.797693134862315%02u%ue%d",
                     rand_r(&seed) % 100, rand_r(&seed) % 100000, 308);
        }

        d = strtod(text, NULL);

        if ((valid(text, &err) == IM_OK) != (isfinite(d) != 0)) {
            fail_msg("%s is %g: %s", text, d, err.text);
        }
    }
}


/* Its sender must know which message this was. */
static void
a_refused_frame_names_its_message_wherever_the_number_is(void **state)
{
    size_t              i;
    im_str_t            s;
    unsigned char       memory[65536];
    im_json_mem_t       mem;
    im_client_frame_t   f;
    static const char  *frames[] = {
        "{\"type\":\"send\",\"to\":\"1\",\"cmid\":\"a\",\"body\":1e400}",
        "{\"body\":1e400,\"cmid\":\"a\",\"to\":\"1\",\"type\":\"send\"}",
        "{\"later\":1e400,\"type\":\"send\",\"body\":1,\"cmid\":\"a\"}",
    };

    (void) state;

    for (i = 0; i < UNIT_N(frames); i++) {
        s = unit_str(frames[i]);
        mem.pos = memory;
        mem.end = memory + sizeof(memory);

        assert_int_equal(im_client_decode(&f, IM_ENCODING_JSON, &s, &mem),
                         IM_ERROR);
        assert_string_equal(f.code, "bad_field");
        assert_string_equal(f.cmid, "a");
        assert_non_null(strstr(f.err.text, "is beyond"));
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_number_that_is_a_double_is_taken),
        cmocka_unit_test(
            a_number_that_no_double_holds_is_refused_with_its_place),
        cmocka_unit_test(the_edge_is_that_of_strtod),
        cmocka_unit_test(
            a_refused_frame_names_its_message_wherever_the_number_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
