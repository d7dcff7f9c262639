/*
 * test_alive.c -- which Connect instances count as dead.
 *
 * Discovery is the test itself.
 */

#include <stdio.h>

#include "unit.h"

#include "logic_alive.h"

#define MISSING_MAX  1024


static const im_disc_handler_t  *disc_handler;


int
im_disc_subscribe(im_disc_t *disc, const char *service,
    const im_disc_handler_t *handler, void *ctx)
{
    (void) disc;
    (void) service;
    (void) ctx;

    disc_handler = handler;

    return IM_OK;
}


static int
alive(int n)
{
    char  id[32];

    return logic_alive(id, (size_t) snprintf(id, sizeof(id), "host-%d", n));
}


/* A name that is new is not dead yet, and those that are dead stay dead. */
static void
one_dead_instance_too_many_makes_one_be_forgotten(void **state)
{
    int                 i, dead;
    char                id[32];
    im_disc_instance_t  inst;

    (void) state;

    assert_int_equal(logic_alive_start(NULL), IM_OK);

    memset(&inst, 0, sizeof(inst));
    inst.id = id;

    for (i = 0; i < MISSING_MAX; i++) {
        snprintf(id, sizeof(id), "host-%d", i);
        disc_handler->up(NULL, &inst);
        assert_int_equal(alive(i), IM_OK);
        disc_handler->down(NULL, &inst);
    }

    assert_int_equal(alive(MISSING_MAX), IM_AGAIN);

    for (i = 1, dead = 0; i < MISSING_MAX; i++) {
        dead += (alive(i) == IM_DECLINED);
    }

    assert_int_equal(dead, MISSING_MAX - 1);

    logic_alive_stop();
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(one_dead_instance_too_many_makes_one_be_forgotten)
    };

    return cmocka_run_group_tests_name("alive", tests, NULL, NULL);
}
