/*
 * test_h2_core.c -- src/h2 and the C core understand each other, whichever of
 * them calls: answers and refusals, streams both ways, large batches through
 * small windows, ends of all kinds.
 */

#define IM_RPC_H2

#include "unit_core.h"
#include "unit_h2.h"
#include "unit_tls.h"
#include "im_timeouts.h"

#define WAIT_MS  15000
#define ITEMS    2000
#define PART     1000000               /* bytes */


static talk_server_t    server;
static talk_outcome_t   o;


static im_rpc_t *
h2_runtime(const im_rpc_tls_t *tls)
{
    im_rpc_t       *rpc;
    im_rpc_conf_t   conf;

    memset(&conf, 0, sizeof(conf));

    if (tls != NULL) {
        conf.tls = *tls;
    }

    rpc = h2_create(&conf);
    assert_non_null(rpc);
    memset(&server, 0, sizeof(server));

    return rpc;
}


/* A caller and a server, one of them by the C core; called by these. */
typedef struct {
    im_rpc_t          *core;
    im_rpc_t          *h2;
    im_rpc_server_t   *server;
    im_rpc_channel_t  *ch;
    int                core_calls;
} pair_t;


static void
pair_tls(pair_t *p, int core_calls, const im_rpc_tls_t *caller,
    const im_rpc_tls_t *callee)
{
    char  address[32];

    memset(p, 0, sizeof(pair_t));
    p->core_calls = core_calls;
    p->h2 = h2_runtime(core_calls ? callee : caller);
    p->core = core_create(core_calls ? caller : callee);

    if (core_calls) {
        p->server = talk_serve(p->h2, address, &server);
        p->ch = core_channel(p->core, address, im_rpc_boot(p->h2));

    } else {
        p->server = core_serve(p->core, address, &server);
        p->ch = im_rpc_channel_peer(p->h2, address, core_boot(p->core),
                                    IM_RPC_LOGIC);
    }

    assert_non_null(p->ch);
}


static void
pair(pair_t *p, int core_calls)
{
    pair_tls(p, core_calls, NULL, NULL);
}


static void
pair_end(pair_t *p)
{
    if (p->core_calls) {
        core_unref(p->ch);
        core_destroy(p->core);
        im_rpc_destroy(p->h2);

    } else {
        im_rpc_channel_unref(p->ch);
        im_rpc_destroy(p->h2);
        core_destroy(p->core);
    }

    assert_null(h2_timers);
}


static void
pair_call(pair_t *p, const char *trace, unsigned timeout_ms)
{
    if (p->core_calls) {
        (void) core_call(p->ch, &o, trace, timeout_ms);

    } else {
        (void) talk_call(p->ch, &o, trace, timeout_ms);
    }

    H2_WITHIN(WAIT_MS, atomic_load(&o.done));
}


/* A busy machine may need several tries to connect. */
static void
pair_reach(pair_t *p, const char *trace)
{
    unsigned  tries;

    for (tries = 0; tries < 200; tries++) {
        pair_call(p, trace, 4000);

        if (o.code != IM_RPC_UNAVAILABLE || o.sent != IM_RPC_NOT_SENT) {
            return;
        }

        h2_turn(20);
    }
}


static im_rpc_stream_t *
pair_open(pair_t *p)
{
    return p->core_calls ? core_open(p->ch, &o) : talk_open(p->ch, &o);
}


static unsigned
pair_say(pair_t *p, im_rpc_stream_t *s, unsigned from, unsigned to,
    size_t len)
{
    return p->core_calls ? core_say(s, from, to, len)
                         : talk_say(s, from, to, len);
}


/* Items up to `to` go there and come back, a part at a time, since an echo that
 * finds a full queue is lost. */
static void
pair_echo(pair_t *p, im_rpc_stream_t *s, unsigned to, size_t len)
{
    unsigned  said, part;

    part = (unsigned) (PART / (len + 100));

    for (said = atomic_load(&o.items); said < to; ) {
        said = pair_say(p, s, said + 1, said + part < to ? said + part : to,
                        len);
        H2_WITHIN(WAIT_MS, atomic_load(&o.items) == said);
    }

    assert_int_equal(atomic_load(&o.wrong), 0);
}


#define BOTH_WAYS(p)                                                          \
    int  core_calls;                                                          \
    for (core_calls = 0; core_calls < 2; core_calls++)


static void
a_call_is_answered_with_what_it_asked(void **state)
{
    pair_t  p;

    (void) state;

    BOTH_WAYS(p) {
        pair(&p, core_calls);
        pair_reach(&p, "7f3a90");

        assert_int_equal(o.code, IM_RPC_OK);
        assert_int_equal(o.sent, IM_RPC_ANSWERED);
        assert_string_equal(o.answer, "of 4711");
        assert_int_equal(atomic_load(&server.handled), 1);
        assert_string_equal(server.trace, "7f3a90");
        assert_in_range(atomic_load(&server.left_ms), 1, 4000);

        pair_call(&p, NULL, 4000);
        assert_int_equal(atomic_load(&server.handled), 2);
        assert_string_equal(server.trace, "-");
        pair_end(&p);
    }
}


static void
a_refusal_keeps_its_text_and_says_when_to_come_back(void **state)
{
    pair_t  p;

    (void) state;

    BOTH_WAYS(p) {
        pair(&p, core_calls);
        pair_reach(&p, NULL);
        server.text = "unavailable: 50% of r\xc3\xa9" "dis,\n\tis away";
        atomic_store(&server.refuses, 1);
        pair_call(&p, NULL, 4000);

        assert_int_equal(o.code, IM_RPC_UNAVAILABLE);
        assert_int_equal(o.sent, IM_RPC_ANSWERED);
        assert_string_equal(o.message, server.text);
        assert_int_equal(o.retry_ms, 1700);
        pair_end(&p);
    }
}


static void
another_process_is_not_called(void **state)
{
    pair_t             p;
    im_rpc_channel_t  *good;

    (void) state;

    BOTH_WAYS(p) {
        char  address[32];

        pair(&p, core_calls);
        good = p.ch;
        snprintf(address, sizeof(address), "127.0.0.1:%u",
                 core_calls ? im_rpc_server_port(p.server) : 0);

        if (core_calls) {
            core_unref(good);
            p.ch = core_channel(p.core, address, "0123456789abcdef");

        } else {
            im_rpc_channel_unref(good);
            (void) core_serve(p.core, address, &server);
            p.ch = im_rpc_channel_peer(p.h2, address, "0123456789abcdef",
                                       IM_RPC_LOGIC);
        }

        pair_reach(&p, NULL);
        assert_int_equal(o.code, IM_RPC_FAILED_PRECONDITION);
        assert_int_equal(o.sent, IM_RPC_NOT_SENT);
        assert_int_equal(atomic_load(&server.handled), 0);

        (void) pair_open(&p);
        H2_WITHIN(WAIT_MS, atomic_load(&o.done));
        assert_int_equal(o.code, IM_RPC_FAILED_PRECONDITION);
        assert_int_equal(o.sent, IM_RPC_NOT_SENT);
        assert_int_equal(atomic_load(&server.accepted), 0);
        pair_end(&p);
    }
}


static void
a_deadline_ends_a_call_that_is_late(void **state)
{
    pair_t  p;

    (void) state;

    pair(&p, 0);
    pair_reach(&p, NULL);
    atomic_store(&server.late_us, 400000);
    pair_call(&p, NULL, 100);
    assert_int_equal(o.code, IM_RPC_DEADLINE_EXCEEDED);
    assert_int_equal(o.sent, IM_RPC_MAYBE_SENT);
    atomic_store(&server.late_us, 0);
    pair_call(&p, NULL, 4000);
    assert_int_equal(o.code, IM_RPC_OK);
    pair_end(&p);
}


static void
a_call_that_is_cancelled_ends_once(void **state)
{
    pair_t          p;
    im_rpc_call_t  *c;

    (void) state;

    pair(&p, 0);
    pair_reach(&p, NULL);

    c = talk_call(p.ch, &o, NULL, 4000);
    im_rpc_call_cancel(c);
    assert_int_equal(atomic_load(&o.done), 0);     /* never inside */
    H2_WITHIN(WAIT_MS, atomic_load(&o.done));
    assert_int_equal(o.code, IM_RPC_CANCELLED);
    assert_int_equal(o.sent, IM_RPC_NOT_SENT);     /* nothing has gone out */

    pair_call(&p, NULL, 4000);
    assert_int_equal(o.code, IM_RPC_OK);
    pair_end(&p);
}


static void
what_a_stream_carries_comes_back_whole_and_in_order(void **state)
{
    size_t            i;
    pair_t            p;
    unsigned          n;
    im_rpc_stream_t  *s;

    static const size_t  sizes[] = { 0, 1, 200, 300, 5000, 60000 };

    (void) state;

    BOTH_WAYS(p) {
        pair(&p, core_calls);
        pair_reach(&p, NULL);
        s = pair_open(&p);
        n = 0;

        for (i = 0; i < UNIT_N(sizes); i++) {
            n += (sizes[i] > 1000) ? ITEMS / 10 : ITEMS;
            pair_echo(&p, s, n, sizes[i]);
        }

        assert_int_equal(atomic_load(&o.opened), 1);

        if (core_calls) {
            core_close(s);
        } else {
            im_rpc_stream_close(s);
        }

        H2_WITHIN(WAIT_MS, atomic_load(&o.done)
                           && atomic_load(&server.ended) == 1);
        assert_int_equal(o.code, IM_RPC_OK);
        assert_int_equal(o.sent, IM_RPC_ANSWERED);
        assert_int_equal(atomic_load(&server.code), IM_RPC_OK);
        pair_end(&p);
    }
}


static void
a_full_queue_says_so_and_says_when_there_is_room(void **state)
{
    pair_t            p;
    unsigned          said;
    im_rpc_stream_t  *s;

    (void) state;

    pair(&p, 0);
    pair_reach(&p, NULL);
    s = talk_open(p.ch, &o);

    said = talk_say(s, 1, 100000, 1000);
    assert_in_range(said, 500, 99999);
    H2_WITHIN(WAIT_MS, atomic_load(&o.writable) == 1
                       && atomic_load(&o.items) == said);
    assert_int_equal(atomic_load(&o.wrong), 0);
    pair_end(&p);
}


static void
a_silent_stream_lives_and_a_cancelled_one_ends_on_both_sides(void **state)
{
    pair_t            p;
    uint64_t          until;
    im_rpc_stream_t  *s;

    (void) state;

    BOTH_WAYS(p) {
        pair(&p, core_calls);
        pair_reach(&p, NULL);
        s = pair_open(&p);

        /* longer than a stream lives that hears nothing */

        for (until = h2_now_us() + 4000000; h2_now_us() < until; ) {
            h2_turn(20);
            assert_int_equal(atomic_load(&o.done), 0);
        }

        assert_int_equal(atomic_load(&server.ended), 0);

        if (core_calls) {
            core_cancel(s);
        } else {
            im_rpc_stream_cancel(s);
        }

        H2_WITHIN(WAIT_MS, atomic_load(&o.done)
                           && atomic_load(&server.ended) == 1);
        assert_int_equal(o.code, IM_RPC_CANCELLED);
        assert_int_equal(atomic_load(&server.code), IM_RPC_CANCELLED);
        pair_end(&p);
    }
}


static void
on_drained(void *ctx)
{
    atomic_store((atomic_int *) ctx, 1);
}


static void
a_server_that_drains_finishes_what_it_has_begun(void **state)
{
    pair_t            p;
    atomic_int        drained;
    im_rpc_stream_t  *s;

    (void) state;

    BOTH_WAYS(p) {
        pair(&p, core_calls);
        pair_reach(&p, NULL);
        s = pair_open(&p);
        (void) pair_say(&p, s, 1, 10, 100);
        H2_WITHIN(WAIT_MS, atomic_load(&o.items) == 10);

        atomic_store(&drained, 0);

        if (core_calls) {
            im_rpc_server_drain(p.server, 10000, on_drained, &drained);
        } else {
            core_drain(p.server, 10000, on_drained, &drained);
        }

        h2_turn(50);
        (void) pair_say(&p, s, 11, 20, 100);
        H2_WITHIN(WAIT_MS, atomic_load(&o.items) == 20);
        assert_int_equal(atomic_load(&drained), 0);

        if (core_calls) {
            core_close(s);
        } else {
            im_rpc_stream_close(s);
        }

        H2_WITHIN(WAIT_MS, atomic_load(&o.done) && atomic_load(&drained));
        assert_int_equal(o.code, IM_RPC_OK);

        pair_call(&p, NULL, 2000);
        assert_int_equal(o.code, IM_RPC_UNAVAILABLE);
        assert_int_equal(o.sent, IM_RPC_NOT_SENT);
        pair_end(&p);
    }
}


static void
a_runtime_that_ends_cancels_what_is_under_way(void **state)
{
    pair_t            p;
    im_rpc_stream_t  *s;

    (void) state;

    pair(&p, 0);
    pair_reach(&p, NULL);
    s = talk_open(p.ch, &o);
    (void) talk_say(s, 1, 1, 10);
    H2_WITHIN(WAIT_MS, atomic_load(&o.items) == 1);
    assert_int_equal(atomic_load(&o.done), 0);

    pair_end(&p);
    assert_int_equal(atomic_load(&o.done), 1);
    assert_int_equal(o.code, IM_RPC_CANCELLED);
}


/* Nothing runs between a call, whose answer takes us, and destroy. */
static void
leave(pair_t *p, unsigned last, unsigned us)
{
    im_rpc_call_t  *c;

    pair(p, 0);
    pair_reach(p, NULL);
    atomic_store(&server.late_us, us);
    c = talk_call(p->ch, &o, NULL, 8000);

    if (last) {
        im_rpc_call_last(c);
    }

    im_rpc_channel_unref(p->ch);
    im_rpc_destroy(p->h2);
    assert_int_equal(atomic_load(&o.done), 1);
    atomic_store(&server.late_us, 0);
    core_destroy(p->core);
}


static void
the_last_words_are_heard_and_do_not_hold_up_the_exit(void **state)
{
    pair_t  p;

    (void) state;

    leave(&p, 1, 50000);
    assert_int_equal(o.code, IM_RPC_OK);

    leave(&p, 0, 1000000);
    assert_int_equal(o.code, IM_RPC_CANCELLED);

    leave(&p, 1, (IM_RPC_LEAVE_MS + 1000) * 1000);
    assert_int_equal(o.code, IM_RPC_CANCELLED);
}


static void
with_certificates_both_understand_each_other(void **state)
{
    pair_t            p;
    im_pem_t          nginx, logic, task;
    im_rpc_tls_t      caller, callee, other;
    im_rpc_stream_t  *s;

    (void) state;

    load(&nginx, "ca.pem", "nginx.pem", "nginx.key");
    load(&logic, "ca.pem", "logic.pem", "logic.key");
    load(&task, "ca.pem", "task.pem", "task.key");

    caller = (im_rpc_tls_t) { nginx.ca, nginx.cert, nginx.key, "im" };
    callee = (im_rpc_tls_t) { logic.ca, logic.cert, logic.key, "im" };
    other = (im_rpc_tls_t) { task.ca, task.cert, task.key, "im" };

    BOTH_WAYS(p) {
        pair_tls(&p, core_calls, &caller, &callee);
        pair_reach(&p, NULL);
        assert_int_equal(o.code, IM_RPC_OK);
        assert_string_equal(o.answer, "of 4711");

        s = pair_open(&p);

        pair_echo(&p, s, 300, 20000);
        pair_end(&p);

        /* a caller of another tier, then a server of another one */

        pair_tls(&p, core_calls, &other, &callee);
        pair_reach(&p, NULL);
        assert_int_equal(o.code, IM_RPC_PERMISSION_DENIED);
        assert_int_equal(o.sent, IM_RPC_NOT_SENT);
        pair_end(&p);

        pair_tls(&p, core_calls, &caller, &other);
        pair_call(&p, NULL, 3000);
        assert_int_equal(o.code, IM_RPC_UNAVAILABLE);
        assert_int_equal(o.sent, IM_RPC_NOT_SENT);
        assert_int_equal(atomic_load(&server.handled), 0);
        pair_end(&p);
    }

    im_pem_free(&nginx);
    im_pem_free(&logic);
    im_pem_free(&task);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_call_is_answered_with_what_it_asked),
        cmocka_unit_test(a_refusal_keeps_its_text_and_says_when_to_come_back),
        cmocka_unit_test(another_process_is_not_called),
        cmocka_unit_test(a_deadline_ends_a_call_that_is_late),
        cmocka_unit_test(a_call_that_is_cancelled_ends_once),
        cmocka_unit_test(what_a_stream_carries_comes_back_whole_and_in_order),
        cmocka_unit_test(a_full_queue_says_so_and_says_when_there_is_room),
        cmocka_unit_test(
            a_silent_stream_lives_and_a_cancelled_one_ends_on_both_sides),
        cmocka_unit_test(a_server_that_drains_finishes_what_it_has_begun),
        cmocka_unit_test(a_runtime_that_ends_cancels_what_is_under_way),
        cmocka_unit_test(the_last_words_are_heard_and_do_not_hold_up_the_exit),
        cmocka_unit_test(with_certificates_both_understand_each_other),
    };

    return cmocka_run_group_tests(tests, make_certificates,
                                  remove_certificates);
}
