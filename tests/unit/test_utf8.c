/*
 * test_utf8.c -- text is UTF-8 by RFC 3629, and nothing else is: a text frame
 * that is not closes with 1007, a string in JSON is refused.
 */

#include "unit.h"

#include "im_utf8.h"


static size_t
encode(unsigned c, unsigned char *p)
{
    if (c < 0x80) {
        p[0] = (unsigned char) c;
        return 1;
    }

    if (c < 0x800) {
        p[0] = (unsigned char) (0xc0 | c >> 6);
        p[1] = (unsigned char) (0x80 | (c & 0x3f));
        return 2;
    }

    if (c < 0x10000) {
        p[0] = (unsigned char) (0xe0 | c >> 12);
        p[1] = (unsigned char) (0x80 | (c >> 6 & 0x3f));
        p[2] = (unsigned char) (0x80 | (c & 0x3f));
        return 3;
    }

    p[0] = (unsigned char) (0xf0 | c >> 18);
    p[1] = (unsigned char) (0x80 | (c >> 12 & 0x3f));
    p[2] = (unsigned char) (0x80 | (c >> 6 & 0x3f));
    p[3] = (unsigned char) (0x80 | (c & 0x3f));

    return 4;
}


static void
every_character_is_text_and_no_surrogate_is(void **state)
{
    int            rc;
    size_t         n;
    unsigned       c;
    unsigned char  p[4];

    (void) state;

    for (c = 0; c < 0x200000; c++) {
        n = encode(c, p);
        rc = im_utf8_check(p, n);

        if ((rc == IM_OK) != (c < 0xd800 || (c > 0xdfff && c < 0x110000))) {
            fail_msg("U+%04X: %d", c, rc);
        }
    }
}


/* Eight bytes are looked at together: each place in them, and after them. */
static void
what_is_wrong_is_found_wherever_it_stands(void **state)
{
    size_t    i, pad, n;
    im_str_t  s;
    char      text[64];

    static const char *bad[] = {
        "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2" "a",
        "\xe0\x80\x80", "\xe0\x9f\xbf", "\xe1\x80", "\xe1\x80" "a",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xfe", "\xff",
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        for (pad = 0; pad < 20; pad++) {
            n = strlen(bad[i]);
            memset(text, 'x', sizeof(text));
            memcpy(text + pad, bad[i], n);

            s = unit_exact(text, pad + n);               /* at the end */
            assert_int_equal(im_utf8_check(s.data, s.len), IM_ERROR);
            free(s.data);

            s = unit_exact(text, pad + n + 20);          /* in the middle */
            assert_int_equal(im_utf8_check(s.data, s.len), IM_ERROR);
            free(s.data);
        }
    }
}


static void
a_text_that_is_cut_inside_a_character_is_no_text(void **state)
{
    size_t             n;
    im_str_t           s;
    static const char  text[] = "Gr\xc3\xbc\xc3\x9f dich, \xf0\x9f\x98\x80!";

    (void) state;

    for (n = 0; n < sizeof(text); n++) {
        s = unit_exact(text, n);

        if ((im_utf8_check(s.data, n) == IM_OK)
            != (n == 0 || (text[n] & 0xc0) != 0x80))
        {
            fail_msg("%zu bytes", n);
        }

        free(s.data);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_character_is_text_and_no_surrogate_is),
        cmocka_unit_test(what_is_wrong_is_found_wherever_it_stands),
        cmocka_unit_test(a_text_that_is_cut_inside_a_character_is_no_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
