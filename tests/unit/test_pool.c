/*
 * test_pool.c -- a job that answers several calls: it gets those that somebody
 * waits for, and goes on with none whose caller has left, nor after a stop.
 *
 * The pool has no threads here: the test is its job.
 */

#include <string.h>

#include "unit.h"

#include "logic_fail.h"
#include "logic_pool.h"
#include "logic_stores.h"

#define CALLS  4


struct im_rpc_req_s {
    int          left_ms;
    const char  *code;                 /* of the refusal */
};

static im_rpc_req_t   reqs[CALLS];
static logic_db_t     db;


int
im_rpc_req_left_ms(im_rpc_req_t *req)
{
    return req->left_ms;
}


void
logic_fail(im_rpc_req_t *req, const char *code, const char *fmt, ...)
{
    (void) fmt;

    assert_null(req->code);            /* answered once */
    req->code = code;
}


int
logic_settle_wait(logic_wait_t *w)
{
    (void) w;

    return IM_BUSY;
}


im_mysql_t *
logic_mysql_create(void)
{
    return NULL;
}


im_redis_t *
logic_redis_create(void)
{
    return NULL;
}


static void
job(logic_db_t *unused, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    (void) unused;
    (void) req;
    (void) in;
}


static int
setup(void **state)
{
    size_t  i;

    (void) state;

    memset(reqs, 0, sizeof(reqs));

    for (i = 0; i < CALLS; i++) {
        reqs[i].left_ms = 1000;
    }

    db.pool = logic_pool_create("test", 1, CALLS);
    assert_non_null(db.pool);

    return 0;
}


static int
teardown(void **state)
{
    (void) state;

    logic_pool_destroy(db.pool);

    return 0;
}


static void
test_calls_that_nobody_waits_for_are_not_shared(void **state)
{
    size_t        i;
    logic_call_t  calls[LOGIC_CALLS_MAX] = { { &reqs[0], NULL } };

    (void) state;

    for (i = 1; i < CALLS; i++) {
        logic_pool_run(db.pool, job, &reqs[i], NULL);
    }

    reqs[2].left_ms = 0;

    assert_int_equal(logic_pool_share(&db, job, calls), 3);
    assert_ptr_equal(calls[1].req, &reqs[1]);
    assert_ptr_equal(calls[2].req, &reqs[3]);
    assert_string_equal(reqs[2].code, "timeout");
}


static void
test_a_job_does_not_go_on_for_a_caller_who_has_left(void **state)
{
    (void) state;

    assert_true(logic_pool_goes_on(&db, &reqs[0]));
    assert_null(reqs[0].code);

    reqs[0].left_ms = 0;
    assert_false(logic_pool_goes_on(&db, &reqs[0]));
    assert_string_equal(reqs[0].code, "timeout");
}


static void
test_a_job_does_not_go_on_in_a_pool_that_stops(void **state)
{
    (void) state;

    logic_pool_stop(db.pool);

    assert_false(logic_pool_goes_on(&db, &reqs[0]));
    assert_string_equal(reqs[0].code, "unavailable");
}


int
main(void)
{
#define T(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest  tests[] = {
        T(test_calls_that_nobody_waits_for_are_not_shared),
        T(test_a_job_does_not_go_on_for_a_caller_who_has_left),
        T(test_a_job_does_not_go_on_in_a_pool_that_stops),
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
