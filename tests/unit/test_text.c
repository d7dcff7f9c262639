/*
 * test_text.c -- what others wrote cannot make or change a line of a log.
 */

#include <fcntl.h>
#include <unistd.h>

#include "unit.h"

#include "im_instance.h"
#include "im_log.h"
#include "im_text.h"


static const char *
shown(const char *text, size_t len)
{
    size_t       n;
    static char  out[256];

    n = im_text_print(out, sizeof(out), text, len);
    assert_int_equal(n, strlen(out));

    return out;
}


static void
plain_text_of_any_language_stays_as_it_is(void **state)
{
    const char  *s = "Größe 日本 \xf0\x9f\x98\x80 \\x1b, \"quoted\"";

    (void) state;

    assert_string_equal(shown(s, strlen(s)), s);
    assert_string_equal(shown("", 0), "");
}


static void
control_bytes_are_escaped(void **state)
{
    (void) state;

    assert_string_equal(shown("a\r\nb\t\0c\x7f" "d", 9),
                        "a\\x0d\\x0ab\\x09\\x00c\\x7fd");
    assert_string_equal(shown("\x1b[31mred", 8), "\\x1b[31mred");
    /* U+009B is ESC [ to some terminals, U+2028 ends a line to some tools,
     * U+202E turns the direction of writing */
    assert_string_equal(shown("\xc2\x9b" "2J", 4), "\\xc2\\x9b2J");
    assert_string_equal(shown("\xe2\x80\xa8", 3), "\\xe2\\x80\\xa8");
    assert_string_equal(shown("\xe2\x80\xae", 3), "\\xe2\\x80\\xae");
    assert_string_equal(shown("\xe2\x81\xa6", 3), "\\xe2\\x81\\xa6");
}


static void
what_is_not_utf8_is_escaped(void **state)
{
    (void) state;

    assert_string_equal(shown("a\xff" "b", 3), "a\\xffb");
    assert_string_equal(shown("\xc3", 1), "\\xc3");
    assert_string_equal(shown("\xc3(", 2), "\\xc3(");
    assert_string_equal(shown("\xc0\x8a", 2), "\\xc0\\x8a");     /* overlong */
    assert_string_equal(shown("\xed\xa0\x80", 3), "\\xed\\xa0\\x80");
    assert_string_equal(shown("\xf4\x90\x80\x80", 4), "\\xf4\\x90\\x80\\x80");
}


static void
long_text_is_cut_between_characters(void **state)
{
    char  out[6];

    (void) state;

    assert_int_equal(im_text_print(out, sizeof(out), "abcdefgh", 8), 5);
    assert_string_equal(out, "abcde");
    assert_int_equal(im_text_print(out, sizeof(out), "ab\x1b", 3), 2);
    assert_string_equal(out, "ab");
    assert_int_equal(im_text_print(out, sizeof(out), "abcd\xc3\xa9", 6), 4);
    assert_string_equal(out, "abcd");
    assert_int_equal(im_text_print(out, 1, "a", 1), 0);
}


static void
a_name_of_an_instance_has_no_other_characters(void **state)
{
    char  name[IM_NAME_MAX + 1];

    (void) state;

    assert_true(im_text_is_name("web-1.example_7-4711-0a1b", 25));
    assert_false(im_text_is_name("", 0));
    assert_false(im_text_is_name("a b", 3));
    assert_false(im_text_is_name("a/b", 3));
    assert_false(im_text_is_name("a\n", 2));
    assert_false(im_text_is_name("\x1b[2J", 4));
    assert_false(im_text_is_name("\xc3\xa9", 2));

    memset(name, 'x', sizeof(name));
    assert_true(im_text_is_name(name, IM_NAME_MAX));
    assert_false(im_text_is_name(name, IM_NAME_MAX + 1));

    im_instance_name(name, sizeof(name));
    assert_true(im_text_is_name(name, strlen(name)));
}


/* What im_log() writes to stderr. */
static const char *
logged(const char *text)
{
    int          fds[2], err;
    ssize_t      n;
    static char  line[4096];

    assert_int_equal(pipe(fds), 0);
    err = dup(STDERR_FILENO);
    assert_true(dup2(fds[1], STDERR_FILENO) != -1);
    im_log(IM_LOG_ERR, "connect %s: linked", text);
    assert_true(dup2(err, STDERR_FILENO) != -1);
    close(err);
    close(fds[1]);
    n = read(fds[0], line, sizeof(line) - 1);
    close(fds[0]);
    assert_true(n > 0);
    line[n] = '\0';

    return line;
}


static void
one_event_is_one_line_of_a_daemons_log(void **state)
{
    char         big[3000];
    const char  *line;

    (void) state;

    line = logged("x\r\n2026-01-01T00:00:00.000Z err forged\x1b[2J\xff");
    assert_non_null(strstr(line, "connect x\\x0d\\x0a2026-01-01T00:00:00.000Z "
                           "err forged\\x1b[2J\\xff: linked\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);

    memset(big, '\x1b', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    line = logged(big);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_null(strchr(line, '\x1b'));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(plain_text_of_any_language_stays_as_it_is),
        cmocka_unit_test(control_bytes_are_escaped),
        cmocka_unit_test(what_is_not_utf8_is_escaped),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(a_name_of_an_instance_has_no_other_characters),
        cmocka_unit_test(one_event_is_one_line_of_a_daemons_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
