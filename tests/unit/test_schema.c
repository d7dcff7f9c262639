/*
 * test_schema.c -- which program works with which tables; and the table of
 * migrations that the build makes.
 */

#include "unit.h"

#include "im_schema.h"


static im_daemon_conf_t  conf = { .mysql_database = "im",
                                  .file = "/etc/im/logic.conf" };


/* What a program that knows schema 4 makes of it. */
static int
check(unsigned version, unsigned min_program, char *error, size_t size)
{
    im_schema_state_t  s = { version, min_program };

    return im_schema_check(&s, 4, &conf, error, size);
}


static void
programs_of_two_versions_work_beside_each_other(void **state)
{
    char  error[256];

    (void) state;

    assert_int_equal(check(4, 1, error, sizeof(error)), IM_OK);
    assert_int_equal(check(4, 4, error, sizeof(error)), IM_OK);
    assert_int_equal(check(5, 4, error, sizeof(error)), IM_OK);
    assert_int_equal(check(9, 1, error, sizeof(error)), IM_OK);
}


static void
a_schema_that_is_too_old_is_refused_with_what_to_type(void **state)
{
    char  error[256];

    (void) state;

    assert_int_equal(check(0, 0, error, sizeof(error)), IM_DECLINED);
    assert_int_equal(check(3, 1, error, sizeof(error)), IM_DECLINED);
    assert_string_equal(error, "database \"im\" has schema 3, and this program "
                               "needs 4: type im-schema --config "
                               "/etc/im/logic.conf up");
}


/* Also while the migration that excludes the program is under way. */
static void
a_schema_that_is_too_new_is_refused(void **state)
{
    char  error[256];

    (void) state;

    assert_int_equal(check(5, 5, error, sizeof(error)), IM_ERROR);
    assert_int_equal(check(4, 5, error, sizeof(error)), IM_ERROR);
    assert_int_equal(check(3, 5, error, sizeof(error)), IM_ERROR);
}


static void
migrations_are_numbered_and_exclude_no_program_that_comes_later(void **state)
{
    unsigned            n, before;
    const im_schema_t  *s;

    (void) state;

    before = 1;

    for (s = im_schema_all, n = 0; s->version != 0; s++) {
        n++;
        assert_int_equal(s->version, n);
        assert_non_null(s->statements[0]);
        assert_in_range(s->min_program, before, n);
        before = s->min_program;
    }

    assert_in_range(n, 4, 9999);
    assert_int_equal(n, im_schema_known());
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(programs_of_two_versions_work_beside_each_other),
        cmocka_unit_test(a_schema_that_is_too_old_is_refused_with_what_to_type),
        cmocka_unit_test(a_schema_that_is_too_new_is_refused),
        cmocka_unit_test(
            migrations_are_numbered_and_exclude_no_program_that_comes_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
