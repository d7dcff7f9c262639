/*
 * test_sync_batch.c -- syncs that are answered together when MySQL stands
 * still: it is waited for once, and not once for each of them; whoever needs
 * nothing of it is answered; and nothing is asked for a caller who has left.
 *
 * MySQL, Redis and the pool are the stubs below.
 */

#include <string.h>

#include "unit.h"

#include "logic_rpcs.h"
#include "logic_sessions.h"
#include "logic_sync_int.h"

#define CALLS  4


typedef enum {
    NOTHING,                           /* has come yet */
    ANSWERED,
    FAILED,                            /* by MySQL */
    LATE
} end_e;

struct im_rpc_req_s {
    unsigned          room:1;
    unsigned          behind:1;
    unsigned          late:1;
    end_e             end;
    Im__Cursor        cursor, *cursors[1];
    Im__SyncRequest   in;
};

static im_rpc_req_t     reqs[CALLS];
static logic_db_t       db;
static int              away;          /* MySQL */
static int              lags;          /* behind Redis */
static unsigned         asked;         /* MySQL, so often */
static size_t           n_parked;
static logic_parked_t  *parked[CALLS];


static void
end(im_rpc_req_t *req, end_e how)
{
    assert_int_equal(req->end, NOTHING);   /* answered once */
    req->end = how;
}


static int
ask(void)
{
    asked++;

    return away ? IM_ERROR : IM_OK;
}


size_t
logic_pool_share(logic_db_t *unused, logic_job_pt job, logic_call_t *calls)
{
    size_t  i;

    (void) unused;
    (void) job;

    for (i = 0; i < CALLS; i++) {
        calls[i].req = &reqs[i];
        calls[i].in = &reqs[i].in.base;
    }

    return CALLS;
}


int
logic_pool_goes_on(logic_db_t *unused, im_rpc_req_t *req)
{
    (void) unused;

    if (req->late) {
        end(req, LATE);
    }

    return !req->late;
}


int
logic_pool_park(logic_db_t *unused, logic_parked_t *p)
{
    (void) unused;

    parked[n_parked++] = p;

    return IM_AGAIN;
}


int
im_rpc_req_left_ms(im_rpc_req_t *req)
{
    (void) req;

    return 5000;
}


void
im_rpc_reply(im_rpc_req_t *req, const ProtobufCMessage *reply)
{
    (void) reply;

    end(req, ANSWERED);
}


void
logic_page_failed(logic_db_t *unused, im_rpc_req_t *req, int memory)
{
    (void) unused;

    assert_false(memory);
    end(req, FAILED);
}


const char *
logic_page_named(int has_with, uint64_t with, int has_room,
    const char **text)
{
    (void) has_with;
    (void) with;
    (void) has_room;
    (void) text;

    return NULL;
}


int
logic_sessions_check_append(logic_db_t *unused, im_rpc_req_t *req,
    const Im__Caller *caller)
{
    (void) unused;
    (void) req;
    (void) caller;

    return IM_OK;
}


uint64_t
logic_settle_bit(const im_conv_t *conv)
{
    (void) conv;

    return 1;
}


int
logic_sync_ask(logic_sync_t *sync)
{
    (void) sync;

    return IM_OK;
}


int
logic_sync_begin(logic_sync_t *sync)
{
    sync->items[0].read = sync->parked.req->behind;

    return IM_OK;
}


int
logic_sync_has_rooms(const logic_sync_t *sync)
{
    return sync->parked.req->room;
}


int
logic_sync_rooms(logic_sync_t *sync)
{
    if (ask() != IM_OK) {
        end(sync->parked.req, FAILED);
        return IM_ERROR;
    }

    return IM_OK;
}


int
logic_sync_whole(logic_sync_t *sync)
{
    (void) sync;

    return IM_DECLINED;
}


int
logic_sync_whole_many(logic_db_t *unused, logic_sync_t **syncs, size_t n)
{
    (void) unused;
    (void) syncs;
    (void) n;

    return IM_OK;                      /* they share nothing */
}


int
logic_sync_heads(logic_sync_t *sync)
{
    return sync->items[0].read ? ask() : IM_OK;
}


int
logic_sync_pages(logic_sync_t *sync)
{
    (void) sync;

    return IM_OK;
}


void
logic_sync_forget(logic_sync_item_t *item)
{
    (void) item;
}


int
logic_sync_lags(const logic_sync_item_t *item)
{
    return lags && item->read;
}


int
logic_sync_judge(logic_sync_t *sync, logic_sync_item_t *item)
{
    (void) sync;
    (void) item;

    return IM_OK;
}


void
logic_sync_write_down(const logic_sync_t *sync)
{
    (void) sync;
}


uint64_t
logic_sync_until(const logic_sync_t *sync)
{
    (void) sync;

    return UINT64_MAX;
}


static int
setup(void **state)
{
    size_t         i;
    im_rpc_req_t  *r;

    (void) state;

    away = 0;
    lags = 0;
    asked = 0;
    n_parked = 0;
    memset(reqs, 0, sizeof(reqs));

    for (i = 0; i < CALLS; i++) {
        r = &reqs[i];

        im__cursor__init(&r->cursor);
        im__sync_request__init(&r->in);
        r->cursors[0] = &r->cursor;
        r->in.cursors = r->cursors;
        r->in.n_cursors = 1;
        r->behind = 1;
    }

    return 0;
}


static void
come(void)
{
    logic_sync_get(&db, &reqs[0], &reqs[0].in.base);
}


static void
test_mysql_that_stands_still_is_waited_for_once(void **state)
{
    (void) state;

    away = 1;
    reqs[2].behind = 0;

    come();

    assert_int_equal(asked, 1);
    assert_int_equal(reqs[0].end, FAILED);
    assert_int_equal(reqs[1].end, FAILED);
    assert_int_equal(reqs[2].end, ANSWERED);
    assert_int_equal(reqs[3].end, FAILED);
}


static void
test_so_it_is_when_it_is_asked_for_rooms(void **state)
{
    (void) state;

    away = 1;
    reqs[1].room = 1;
    reqs[2].room = 1;
    reqs[3].behind = 0;

    come();

    assert_int_equal(asked, 1);
    assert_int_equal(reqs[0].end, FAILED);
    assert_int_equal(reqs[1].end, FAILED);
    assert_int_equal(reqs[2].end, FAILED);
    assert_int_equal(reqs[3].end, ANSWERED);
}


static void
test_so_it_is_when_they_have_waited_for_the_store(void **state)
{
    size_t  i;

    (void) state;

    lags = 1;
    come();
    assert_int_equal(n_parked, CALLS);
    assert_int_equal(asked, CALLS);

    away = 1;
    asked = 0;
    parked[0]->resume(&db, parked, CALLS);

    assert_int_equal(asked, 1);

    for (i = 0; i < CALLS; i++) {
        assert_int_equal(reqs[i].end, FAILED);
    }
}


static void
test_nothing_is_asked_for_a_caller_who_has_left(void **state)
{
    (void) state;

    reqs[1].late = 1;
    reqs[2].late = 1;
    reqs[2].room = 1;

    come();

    assert_int_equal(asked, 2);
    assert_int_equal(reqs[0].end, ANSWERED);
    assert_int_equal(reqs[1].end, LATE);
    assert_int_equal(reqs[2].end, LATE);
    assert_int_equal(reqs[3].end, ANSWERED);
}


int
main(void)
{
#define T(name)  cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest  tests[] = {
        T(test_mysql_that_stands_still_is_waited_for_once),
        T(test_so_it_is_when_it_is_asked_for_rooms),
        T(test_so_it_is_when_they_have_waited_for_the_store),
        T(test_nothing_is_asked_for_a_caller_who_has_left),
    };

    return cmocka_run_group_tests_name("sync_batch", tests, NULL, NULL);
}
