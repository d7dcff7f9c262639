/*
 * test_peer.c -- what im-task sends to Connect instances that end, stand still
 * or are not there yet.
 *
 * The instance is a gRPC server in this process, which answers when the test
 * says so.  Discovery is the test itself.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "unit_wait.h"

#include "task_peer.h"

#define WINDOW  (8 * 2)        /* items, of batches of 2 */
#define NAME    "host-1-cafe"
#define OTHER   "host-2-cafe"

#define ABSENT_MAX  1024


static const im_disc_handler_t  *disc_handler;

static im_rpc_t            *rpc;
static im_rpc_channel_t    *channel;
static im_disc_instance_t   instance, other;
static _Atomic(im_rpc_stream_t *)  stream;     /* of the instance */
static atomic_int           streams, answering;
static atomic_uint          taken;             /* items, of this stream */
static atomic_uint          told;              /* of all: that it missed some */


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


static void
answer_n(im_rpc_stream_t *s, unsigned n)
{
    Im__Pushed  pushed = IM__PUSHED__INIT;

    pushed.received = n;
    assert_int_equal(im_rpc_stream_add(s, &pushed.base), IM_OK);
    im_rpc_stream_flush(s);
}


static void
answer(im_rpc_stream_t *s)
{
    answer_n(s, atomic_load(&taken));
}


static void *
on_accept(void *ctx, im_rpc_stream_t *s)
{
    (void) ctx;

    atomic_store(&taken, 0);
    atomic_store(&stream, s);
    atomic_fetch_add(&streams, 1);

    return NULL;
}


static void
on_batch(void *ctx, im_rpc_stream_t *s, const uint8_t *data, size_t len)
{
    size_t          i;
    Im__PushBatch  *batch;

    (void) ctx;

    batch = im__push_batch__unpack(NULL, len, data);
    assert_non_null(batch);

    for (i = 0; i < batch->n_items; i++) {
        atomic_fetch_add(&told, batch->items[i]->missed != 0);
    }

    atomic_fetch_add(&taken, (unsigned) batch->n_items);
    im__push_batch__free_unpacked(batch, NULL);

    if (atomic_load(&answering)) {
        answer(s);
    }
}


static void
on_close(void *ctx, im_rpc_stream_t *s, const im_rpc_status_t *status)
{
    (void) ctx;
    (void) status;

    if (atomic_load(&stream) == s) {
        atomic_store(&stream, NULL);
    }
}


static const im_rpc_handler_t  handlers[] = {
    { .name = "Push", .roles = IM_RPC_TASK, .accept = on_accept,
      .stream = { .on_batch = on_batch, .on_close = on_close,
                  .beat_ms = 100, .dead_ms = 5000 } },
    { .name = NULL }
};


static int
setup(void **state)
{
    char              address[32];
    im_rpc_conf_t     conf;
    im_rpc_server_t  *server;

    (void) state;

    memset(&conf, 0, sizeof(conf));
    rpc = im_rpc_create(&conf);
    assert_non_null(rpc);

    server = im_rpc_serve(rpc, "127.0.0.1:0", &im__connect__descriptor,
                          handlers, NULL);
    assert_non_null(server);

    snprintf(address, sizeof(address), "127.0.0.1:%u",
             im_rpc_server_port(server));

    channel = im_rpc_channel_peer(rpc, address, NULL, IM_RPC_NGINX);
    assert_non_null(channel);

    instance.id = NAME;
    instance.address = "here";
    instance.channel = channel;
    other = instance;
    other.id = OTHER;

    atomic_store(&answering, 1);
    atomic_store(&streams, 0);
    atomic_store(&stream, NULL);
    atomic_store(&taken, 0);
    atomic_store(&told, 0);
    assert_int_equal(task_peer_start(NULL), IM_OK);

    return 0;
}


static int
teardown(void **state)
{
    (void) state;

    im_rpc_channel_unref(channel);
    im_rpc_destroy(rpc);
    task_peer_stop();

    return 0;
}


/* A mark of the peer, which is known or expected. */
static task_mark_t
mark_of(const char *name)
{
    task_mark_t  mark;

    memset(&mark, 0, sizeof(mark));
    mark.peer = task_peer_find(name, strlen(name));
    assert_non_null(mark.peer);

    return mark;
}


static int
send_one(task_mark_t *mark)
{
    Im__PushItem  item = IM__PUSH_ITEM__INIT;

    return task_peer_send(mark, &item);
}


static void
send_n(task_mark_t *mark, unsigned n)
{
    for (mark->due += n; n > 0; n--) {
        assert_int_equal(send_one(mark), IM_OK);
    }

    task_peer_flush(mark->peer);
}


static int
is_done(task_mark_t *mark)
{
    return task_peer_state(mark) == TASK_PEER_DONE;
}


/* The peer is the one that can take what it is due. */
static int
is_resumed(const task_mark_t *mark)
{
    task_peer_t  *peer;

    peer = task_peer_resume();

    if (peer == NULL) {
        return 0;
    }

    assert_ptr_equal(peer, mark->peer);
    task_peer_release(peer);

    return 1;
}


#define WITHIN_5_S(condition)  UNIT_WITHIN(5000, condition)


static void
test_what_was_not_confirmed_is_due_again_on_the_next_stream(void **state)
{
    task_mark_t  first, later;

    (void) state;

    disc_handler->up(NULL, &instance);
    first = mark_of(NAME);
    later = mark_of(NAME);

    atomic_store(&answering, 0);
    send_n(&first, 3);
    WITHIN_5_S(atomic_load(&taken) == 3);
    assert_false(is_done(&first));
    assert_false(is_resumed(&first));

    im_rpc_stream_cancel(atomic_load(&stream));
    later.due = 1;
    WITHIN_5_S(send_one(&later) == IM_AGAIN);

    /* it takes nothing later first, and nothing before it has answered */

    WITHIN_5_S(is_resumed(&first));
    assert_int_equal(atomic_load(&streams), 2);
    assert_int_equal(task_peer_rewind(&first), 3);
    assert_int_equal(first.handed, 0);

    atomic_store(&answering, 1);
    first.due = 0;
    send_n(&first, 3);
    task_peer_rewind(&later);
    assert_int_equal(send_one(&later), IM_OK);
    task_peer_flush(later.peer);
    WITHIN_5_S(is_done(&first) && is_done(&later));

    task_peer_release(first.peer);
    task_peer_release(later.peer);
}


static void
test_one_that_says_nothing_is_not_waited_for(void **state)
{
    task_mark_t  mark;

    (void) state;

    disc_handler->up(NULL, &instance);
    mark = mark_of(NAME);

    atomic_store(&answering, 0);
    send_n(&mark, WINDOW);
    WITHIN_5_S(!task_peer_lags());

    /* nothing more goes there, so that what it must catch up stays small */

    mark.due++;
    assert_int_equal(send_one(&mark), IM_AGAIN);
    assert_false(is_resumed(&mark));

    WITHIN_5_S(atomic_load(&taken) == WINDOW);
    answer(atomic_load(&stream));
    WITHIN_5_S(is_resumed(&mark));
    assert_int_equal(task_peer_rewind(&mark), 0);
    assert_int_equal(mark.handed, WINDOW);

    atomic_store(&answering, 1);
    assert_int_equal(send_one(&mark), IM_OK);
    task_peer_flush(mark.peer);
    WITHIN_5_S(is_done(&mark));

    task_peer_release(mark.peer);
}


/* Confirms n of what it has taken each 10 ms; in how many of the answers to
 * come everybody is to wait. */
static unsigned
lags_while_it_confirms(unsigned n, unsigned answers)
{
    unsigned  i, lags;

    lags = 0;

    for (i = 0; i < answers; i++) {
        answer_n(atomic_load(&stream), n);
        unit_pause(10);
        lags += (unsigned) task_peer_lags();
    }

    return lags;
}


static void
test_a_slow_one_is_waited_for_a_moment_and_again_when_it_is_not(
    void **state)
{
    unsigned     lags;
    task_mark_t  mark;

    (void) state;

    disc_handler->up(NULL, &instance);
    disc_handler->up(NULL, &other);
    mark = mark_of(NAME);

    atomic_store(&answering, 0);
    send_n(&mark, WINDOW);
    assert_true(task_peer_lags());
    WITHIN_5_S(atomic_load(&taken) == WINDOW);

    /* the other one is free, and gets its items; on a busy machine the moment
     * is over before it begins */

    lags = lags_while_it_confirms(1, 100);
    assert_in_range(lags, 0, 50);
    assert_int_equal(lags_while_it_confirms(1, 20), 0);

    /* some room, which is filled at once: it is as slow as before */

    mark.due++;
    assert_int_equal(send_one(&mark), IM_AGAIN);
    answer_n(atomic_load(&stream), WINDOW / 2 + 1);
    WITHIN_5_S(is_resumed(&mark));
    mark.due--;
    send_n(&mark, WINDOW / 2 + 1);
    assert_int_equal(lags_while_it_confirms(WINDOW / 2 + 1, 20), 0);

    /* it has caught up */

    WITHIN_5_S(atomic_load(&taken) == WINDOW + WINDOW / 2 + 1);
    answer(atomic_load(&stream));
    WITHIN_5_S(is_done(&mark));
    assert_false(task_peer_lags());
    send_n(&mark, WINDOW);
    assert_true(task_peer_lags());

    task_peer_release(mark.peer);
}


static void
test_all_wait_while_all_are_busy(void **state)
{
    task_mark_t  mark;

    (void) state;

    disc_handler->up(NULL, &instance);
    mark = mark_of(NAME);

    atomic_store(&answering, 0);
    send_n(&mark, WINDOW);
    WITHIN_5_S(atomic_load(&taken) == WINDOW);

    /* far longer than for one of several; a few, on a busy machine */

    assert_in_range(lags_while_it_confirms(1, 100), 60, 100);

    WITHIN_5_S(!task_peer_lags());
    task_peer_release(mark.peer);
}


static void
test_what_was_confirmed_is_not_due_again_when_the_stream_ends(void **state)
{
    task_mark_t  first, copy, later;

    (void) state;

    disc_handler->up(NULL, &instance);
    first = mark_of(NAME);
    later = mark_of(NAME);

    send_n(&first, 3);
    copy = first;
    WITHIN_5_S(is_done(&copy));        /* nobody asks of the first one */

    atomic_store(&answering, 0);
    send_n(&later, 2);
    WITHIN_5_S(atomic_load(&taken) == 5);

    im_rpc_stream_cancel(atomic_load(&stream));
    WITHIN_5_S(is_resumed(&first) && atomic_load(&streams) == 2);
    assert_true(is_done(&first));
    assert_false(is_done(&later));

    /* and stays so, whatever becomes of later ones */

    assert_int_equal(task_peer_rewind(&later), 2);
    later.due = 0;
    send_n(&later, 2);
    WITHIN_5_S(atomic_load(&taken) == 2);
    im_rpc_stream_cancel(atomic_load(&stream));
    WITHIN_5_S(is_resumed(&first) && atomic_load(&streams) == 3);
    assert_true(is_done(&first));
    assert_false(is_done(&later));

    task_peer_release(first.peer);
    task_peer_release(later.peer);
}


static void
test_who_was_given_up_is_told_until_it_has_confirmed_that(void **state)
{
    task_mark_t  mark;

    (void) state;

    disc_handler->up(NULL, &instance);
    mark = mark_of(NAME);

    atomic_store(&answering, 0);
    send_n(&mark, 1);
    WITHIN_5_S(atomic_load(&taken) == 1);

    task_peer_missed(mark.peer);
    assert_false(is_resumed(&mark));
    WITHIN_5_S(atomic_load(&told) == 1);

    /* that may be lost as well */

    im_rpc_stream_cancel(atomic_load(&stream));
    WITHIN_5_S(is_resumed(&mark) && atomic_load(&streams) == 2);
    WITHIN_5_S(atomic_load(&told) == 2);

    atomic_store(&answering, 1);
    task_peer_rewind(&mark);
    mark.due = 0;
    send_n(&mark, 1);
    WITHIN_5_S(is_done(&mark));

    im_rpc_stream_cancel(atomic_load(&stream));
    WITHIN_5_S(is_resumed(&mark) && atomic_load(&streams) == 3);
    assert_int_equal(atomic_load(&told), 2);

    task_peer_release(mark.peer);
}


static void
test_one_that_etcd_does_not_know_yet_gets_its_items_once_it_does(void **state)
{
    task_mark_t  mark;

    (void) state;

    mark = mark_of(NAME);
    mark.due = 1;
    assert_int_equal(send_one(&mark), IM_AGAIN);
    assert_int_equal(task_peer_state(&mark), TASK_PEER_WAITS);
    assert_false(is_resumed(&mark));
    assert_int_equal(task_peer_count(), 0);

    disc_handler->up(NULL, &instance);
    assert_int_equal(task_peer_count(), 1);
    WITHIN_5_S(is_resumed(&mark));
    task_peer_rewind(&mark);
    assert_int_equal(send_one(&mark), IM_OK);
    task_peer_flush(mark.peer);
    WITHIN_5_S(is_done(&mark));

    task_peer_release(mark.peer);
}


static void
test_one_that_is_gone_is_dead_after_a_second_and_may_come_back(void **state)
{
    task_mark_t  mark;

    (void) state;

    disc_handler->up(NULL, &instance);
    mark = mark_of(NAME);
    atomic_store(&answering, 0);
    send_n(&mark, 1);

    disc_handler->down(NULL, &instance);
    assert_int_equal(task_peer_state(&mark), TASK_PEER_WAITS);
    WITHIN_5_S(task_peer_state(&mark) == TASK_PEER_GONE);
    assert_null(task_peer_find(NAME, strlen(NAME)));
    task_peer_missed(mark.peer);

    atomic_store(&answering, 1);
    disc_handler->up(NULL, &instance);
    assert_int_equal(task_peer_state(&mark), TASK_PEER_WAITS);
    WITHIN_5_S(is_resumed(&mark));
    assert_int_equal(task_peer_rewind(&mark), 1);
    assert_int_equal(send_one(&mark), IM_OK);
    task_peer_flush(mark.peer);
    WITHIN_5_S(is_done(&mark) && atomic_load(&told) == 1);

    task_peer_release(mark.peer);
}


/* Is this one expected?  Otherwise it is dead. */
static int
is_expected(int n)
{
    char          id[32];
    task_peer_t  *peer;

    peer = task_peer_find(id, (size_t) snprintf(id, sizeof(id), "dead-%d", n));

    if (peer != NULL) {
        task_peer_release(peer);
    }

    return peer != NULL;
}


static void
test_one_dead_instance_too_many_makes_one_be_forgotten(void **state)
{
    int  i, dead;

    (void) state;

    for (i = 0; i < ABSENT_MAX; i++) {
        assert_true(is_expected(i));
    }

    WITHIN_5_S(!is_expected(ABSENT_MAX - 1));
    assert_true(is_expected(ABSENT_MAX));

    for (i = 1, dead = 0; i < ABSENT_MAX; i++) {
        dead += !is_expected(i);
    }

    assert_int_equal(dead, ABSENT_MAX - 1);
}


int
main(void)
{
#define T(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest  tests[] = {
        T(test_what_was_not_confirmed_is_due_again_on_the_next_stream),
        T(test_one_that_says_nothing_is_not_waited_for),
        T(test_a_slow_one_is_waited_for_a_moment_and_again_when_it_is_not),
        T(test_all_wait_while_all_are_busy),
        T(test_what_was_confirmed_is_not_due_again_when_the_stream_ends),
        T(test_who_was_given_up_is_told_until_it_has_confirmed_that),
        T(test_one_that_etcd_does_not_know_yet_gets_its_items_once_it_does),
        T(test_one_that_is_gone_is_dead_after_a_second_and_may_come_back),
        T(test_one_dead_instance_too_many_makes_one_be_forgotten),
    };

    task_conf.push_batch = 2;

    return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
