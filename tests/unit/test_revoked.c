/*
 * test_revoked.c -- an ended session is known as such while it matters.
 */

#include <stdio.h>

#include "unit.h"

#include "im_revoked.h"


static const char *
sid(unsigned i)
{
    static char  text[IM_SID_LEN + 1];

    snprintf(text, sizeof(text), "session-%014u", i);

    return text;
}


static void
an_ended_session_is_known_until_its_tokens_have_expired(void **state)
{
    im_revoked_t  *r;

    (void) state;

    r = im_revoked_create(10);

    assert_false(im_revoked_has(r, sid(1), 0));
    assert_int_equal(im_revoked_add(r, sid(1), 100, 0), IM_OK);
    assert_true(im_revoked_has(r, sid(1), 99));
    assert_false(im_revoked_has(r, sid(1), 100));
    assert_false(im_revoked_has(r, sid(2), 0));

    /* said again, for longer; never shorter */

    assert_int_equal(im_revoked_add(r, sid(1), 200, 0), IM_OK);
    assert_int_equal(im_revoked_add(r, sid(1), 150, 0), IM_OK);
    assert_true(im_revoked_has(r, sid(1), 199));

    assert_int_equal(im_revoked_add(r, "short", 200, 0), IM_DECLINED);
    assert_false(im_revoked_has(r, "short", 0));

    im_revoked_destroy(r);
}


static void
the_oldest_make_room_for_more_than_the_maximum(void **state)
{
    unsigned       i;
    im_revoked_t  *r;

    (void) state;

    r = im_revoked_create(1000);

    for (i = 0; i < 5000; i++) {
        assert_int_equal(im_revoked_add(r, sid(i), 100, 0),
                         i < 1000 ? IM_OK : IM_BUSY);
    }

    for (i = 0; i < 5000; i++) {
        assert_int_equal(im_revoked_has(r, sid(i), 0), i >= 4000);
    }

    im_revoked_destroy(r);
}


static void
what_has_expired_takes_no_place(void **state)
{
    unsigned       i;
    im_revoked_t  *r;

    (void) state;

    r = im_revoked_create(100);

    for (i = 0; i < 10000; i++) {
        assert_int_equal(im_revoked_add(r, sid(i), i + 50, i), IM_OK);
        assert_true(im_revoked_has(r, sid(i), i));
        assert_true(i < 49 || im_revoked_has(r, sid(i - 49), i));
        assert_false(i >= 50 && im_revoked_has(r, sid(i - 50), i));
    }

    im_revoked_destroy(r);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(
            an_ended_session_is_known_until_its_tokens_have_expired),
        cmocka_unit_test(the_oldest_make_room_for_more_than_the_maximum),
        cmocka_unit_test(what_has_expired_takes_no_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
