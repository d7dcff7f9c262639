/*
 * test_disc.c -- whom the service view picks: the less loaded, in turn, or the
 * home of a slot; never who leaves, is dead or was ejected; and what a value
 * in etcd must look like.
 *
 * Rows are made by hand here, and the clock is an argument; real etcd and real
 * processes are in tests/e2e/test_discovery.py.
 */

#include <stdio.h>

#include "unit.h"

#include "im_disc_int.h"


#define ROWS_MAX  64

static im_disc_t        d;
static disc_service_t  *svc;
static disc_row_t       rows[ROWS_MAX];
static disc_row_t      *before[IM_SLOTS];


static void
fleet(unsigned n)
{
    unsigned  i;

    memset(&d, 0, sizeof(d));
    memset(rows, 0, sizeof(rows));

    svc = calloc(1, sizeof(disc_service_t));
    assert_non_null(svc);
    svc->disc = &d;
    svc->dice = 88172645463325252ull;
    snprintf(svc->name, sizeof(svc->name), "logic");

    for (i = 0; i < n; i++) {
        snprintf(rows[i].id, sizeof(rows[i].id), "host-%u-5f3c%04x", 100 + i,
                 i * 2654435761u >> 16);
        rows[i].svc = svc;
        rows[i].serial = i + 1;
        rows[i].pub.id = rows[i].id;
        rows[i].pub.address = "127.0.0.1:1";
        rows[i].svc_next = svc->rows;
        svc->rows = &rows[i];
        im_disc_pick_up(&rows[i]);
    }
}


static void
remove_row(disc_row_t *row)
{
    disc_row_t  **p;

    for (p = &svc->rows; *p != row; p = &(*p)->svc_next) { /* find it */ }

    *p = row->svc_next;
    im_disc_pick_down(row);
}


static unsigned
moved(void)
{
    unsigned  i, n;

    n = 0;

    for (i = 0; i < IM_SLOTS; i++) {
        n += (svc->slots[i] != before[i]);
    }

    return n;
}


/* Between n and n + 1 instances, whichever of them it is. */
static void
a_change_moves_only_its_share_of_the_slots(void **state)
{
    unsigned  n, i, k, slots;

    (void) state;

    for (n = 1; n <= 32; n *= 2) {
        fleet(n + 1);
        memcpy(before, svc->slots, sizeof(before));

        for (k = 0; k <= n; k++) {

            for (i = 0, slots = 0; i < IM_SLOTS; i++) {
                assert_non_null(svc->slots[i]);
                slots += (svc->slots[i] == &rows[k]);
            }

            remove_row(&rows[k]);
            assert_int_equal(moved(), slots);    /* its own, no other */
            assert_true(moved() * 100 * n <= IM_SLOTS * (100 + 2 * n));

            rows[k].svc_next = svc->rows;
            svc->rows = &rows[k];
            im_disc_pick_up(&rows[k]);
            assert_int_equal(moved(), 0);        /* back: all as it was */
        }

        free(svc);
    }
}


static void
slots_are_spread_evenly(void **state)
{
    unsigned  i, k, n;

    (void) state;

    fleet(4);

    for (k = 0; k < 4; k++) {

        for (i = 0, n = 0; i < IM_SLOTS; i++) {
            n += (svc->slots[i] == &rows[k]);
        }

        assert_in_range(n, IM_SLOTS / 4 - 80, IM_SLOTS / 4 + 80);
    }

    free(svc);
}


static void
every_process_sees_the_same_home(void **state)
{
    unsigned     i;
    disc_row_t  *home[IM_SLOTS];

    (void) state;

    fleet(5);
    memcpy(home, svc->slots, sizeof(home));
    free(svc);

    /* the same instances, met in another order */

    fleet(5);
    remove_row(&rows[3]);
    remove_row(&rows[0]);

    for (i = 0; i <= 3; i += 3) {
        rows[i].svc_next = svc->rows;
        svc->rows = &rows[i];
        im_disc_pick_up(&rows[i]);
    }

    for (i = 0; i < IM_SLOTS; i++) {
        assert_ptr_equal(svc->slots[i], home[i]);
    }

    free(svc);
}


static void
the_less_loaded_of_two_is_picked(void **state)
{
    unsigned             i, n[3];
    disc_row_t          *row;
    im_disc_call_conf_t  conf = { .policy = IM_DISC_LEAST_LOADED };

    (void) state;

    fleet(2);
    rows[0].outstanding = 3;
    assert_ptr_equal(im_disc_pick_row(svc, &conf, NULL, 0, 1), &rows[1]);

    rows[1].outstanding = 3;
    rows[1].pub.load = 90;             /* what it published itself */
    assert_ptr_equal(im_disc_pick_row(svc, &conf, NULL, 0, 1), &rows[0]);

    free(svc);

    /* of three, the busiest is never the better of two */

    fleet(3);
    rows[2].outstanding = 100;
    memset(n, 0, sizeof(n));

    for (i = 0; i < 1000; i++) {
        row = im_disc_pick_row(svc, &conf, NULL, 0, 1);
        n[row - rows]++;
    }

    assert_int_equal(n[2], 0);
    assert_in_range(n[0], 350, 650);

    free(svc);
}


static void
round_robin_takes_all_in_turn(void **state)
{
    unsigned             i, n[3] = { 0, 0, 0 };
    im_disc_call_conf_t  conf = { .policy = IM_DISC_ROUND_ROBIN };

    (void) state;

    fleet(3);

    for (i = 0; i < 300; i++) {
        n[im_disc_pick_row(svc, &conf, NULL, 0, 1) - rows]++;
    }

    assert_int_equal(n[0], 100);
    assert_int_equal(n[1], 100);
    assert_int_equal(n[2], 100);

    free(svc);
}


static void
a_slot_goes_home_and_else_to_its_next_home(void **state)
{
    unsigned             slot;
    uint64_t             tried;
    disc_row_t          *home, *next;
    im_disc_call_conf_t  conf = { .policy = IM_DISC_SLOT };

    (void) state;

    fleet(4);

    for (slot = 0; slot < IM_SLOTS; slot++) {
        conf.slot = slot;
        home = im_disc_pick_row(svc, &conf, NULL, 0, 1);
        assert_ptr_equal(home, svc->slots[slot]);

        tried = home->serial;
        next = im_disc_pick_row(svc, &conf, &tried, 1, 1);
        assert_ptr_not_equal(next, home);

        /* the one that all others would find home, too, without it */

        im_disc_dead(&home->pub);
        assert_ptr_equal(svc->slots[slot], next);
        im_disc_alive(&home->pub);
    }

    free(svc);
}


static void
who_leaves_gets_nothing_new(void **state)
{
    unsigned             i;
    im_disc_call_conf_t  conf = { .policy = IM_DISC_LEAST_LOADED };

    (void) state;

    fleet(2);
    rows[0].pub.draining = 1;
    im_disc_pick_changed(&rows[0]);

    for (i = 0; i < IM_SLOTS; i++) {
        assert_ptr_equal(svc->slots[i], &rows[1]);
        assert_ptr_equal(im_disc_pick_row(svc, &conf, NULL, 0, 1),
                         &rows[1]);
    }

    rows[1].pub.draining = 1;
    im_disc_pick_changed(&rows[1]);
    assert_null(im_disc_pick_row(svc, &conf, NULL, 0, 1));
    assert_null(svc->slots[0]);

    free(svc);
}


static void
who_fails_in_a_row_is_ejected_for_a_while_doubled_each_time(void **state)
{
    unsigned             i, round, pause;
    uint64_t             now;
    im_rpc_status_t      lost = { IM_RPC_UNAVAILABLE, IM_RPC_MAYBE_SENT,
                                  "reset", 0 };
    im_disc_call_conf_t  conf = { .policy = IM_DISC_ROUND_ROBIN };

    (void) state;

    fleet(2);
    now = 1000000;
    pause = IM_DISC_EJECT_MIN_MS;

    for (round = 0; round < 3; round++) {

        for (i = 0; i < 3; i++) {
            assert_int_equal(rows[0].ejected_until_ms > now, 0);
            im_disc_pick_judge(&rows[0], 0, 0, &lost, now);
        }

        assert_int_equal(rows[0].ejected_until_ms, now + pause);
        assert_ptr_equal(im_disc_pick_row(svc, &conf, NULL, 0,
                                              now + pause - 1), &rows[1]);
        assert_ptr_equal(svc->slots[0], &rows[1]);

        now += pause;
        pause *= 2;

        /* let in again, with its slots */

        (void) im_disc_pick_row(svc, &conf, NULL, 0, now);
        assert_true(rows[0].picked);
        im_breaker_init(&rows[0].breakers[0]);
    }

    free(svc);
}


static void
an_answer_ends_the_row_of_failures(void **state)
{
    unsigned         i;
    im_rpc_status_t  lost = { IM_RPC_UNAVAILABLE, IM_RPC_MAYBE_SENT, "", 0 };
    im_rpc_status_t  no = { IM_RPC_NOT_FOUND, IM_RPC_ANSWERED, "no", 0 };

    (void) state;

    fleet(2);

    for (i = 0; i < 20; i++) {
        im_disc_pick_judge(&rows[0], i % IM_DISC_CLASSES, 0,
                              i % 3 == 2 ? &no : &lost, 1000);
    }

    assert_int_equal(rows[0].ejected_until_ms, 0);

    free(svc);
}


static void
when_all_are_ejected_they_are_asked_after_all(void **state)
{
    unsigned             i;
    im_rpc_status_t      lost = { IM_RPC_UNAVAILABLE, IM_RPC_NOT_SENT, "no",
                                  0 };
    im_disc_call_conf_t  conf = { .policy = IM_DISC_LEAST_LOADED };

    (void) state;

    fleet(1);

    for (i = 0; i < 3; i++) {
        im_disc_pick_judge(&rows[0], 0, 0, &lost, 1000);
    }

    assert_true(rows[0].ejected_until_ms > 1000);
    assert_ptr_equal(im_disc_pick_row(svc, &conf, NULL, 0, 1001),
                     &rows[0]);

    free(svc);
}


static void
a_breaker_is_of_one_class_of_methods(void **state)
{
    unsigned             i;
    im_rpc_status_t      down = { IM_RPC_UNAVAILABLE, IM_RPC_ANSWERED,
                                  "unavailable: mysql is away", 0 };
    im_disc_call_conf_t  query = { .class = 0 }, message = { .class = 2 };

    (void) state;

    fleet(1);

    for (i = 0; i < 10; i++) {
        im_disc_pick_judge(&rows[0], 0, 0, &down, 5000);
    }

    assert_null(im_disc_pick_row(svc, &query, NULL, 0, 5001));
    assert_ptr_equal(im_disc_pick_row(svc, &message, NULL, 0, 5001),
                     &rows[0]);

    /* open everywhere: asked again after the pause */

    assert_non_null(im_disc_pick_row(svc, &query, NULL, 0,
                                         5000 + IM_BREAKER_OPEN_MIN_MS));

    free(svc);
}


static void
no_is_not_a_failure(void **state)
{
    unsigned             i;
    im_rpc_status_t      no = { IM_RPC_UNAUTHENTICATED, IM_RPC_ANSWERED,
                                "unauthorized: who are you?", 0 };
    im_disc_call_conf_t  conf = { .class = 0 };

    (void) state;

    fleet(1);

    for (i = 0; i < 100; i++) {
        im_disc_pick_judge(&rows[0], 0, 0, &no, 5000);
    }

    assert_non_null(im_disc_pick_row(svc, &conf, NULL, 0, 5000));

    free(svc);
}


static int
reads(const char *json, disc_value_t *v)
{
    int                   rc;
    im_str_t              exact;
    const char           *why;
    ProtobufCBinaryData   data;

    why = NULL;
    exact = unit_exact(json, strlen(json));
    data.data = exact.data;
    data.len = exact.len;

    rc = im_disc_value_read(v, &data, &why);
    free(exact.data);

    assert_int_equal(rc == IM_OK, why == NULL);

    return rc;
}


static void
a_value_is_read_as_it_was_written(void **state)
{
    char          text[DISC_VALUE_MAX];
    disc_value_t  v;
    Im__Instance  inst = IM__INSTANCE__INIT;

    (void) state;

    inst.proto = IM_RPC_PROTOCOL;
    inst.address = "10.0.0.7:4100";
    inst.boot = "5f0c1e2a9b3d4c77";
    inst.has_draining = inst.draining = 1;
    inst.has_cpu = inst.has_queue = 1;
    inst.cpu = 12;
    inst.queue = 34;

    im_disc_value_write(text, &inst);
    assert_int_equal(reads(text, &v), IM_OK);
    assert_string_equal(v.address, "10.0.0.7:4100");
    assert_string_equal(v.boot, "5f0c1e2a9b3d4c77");
    assert_int_equal(v.draining, 1);
    assert_int_equal(v.load, 34);

    /* a newer instance may say more */

    assert_int_equal(reads("{\"proto\":1,\"address\":\"h:1\",\"boot\":\"b\","
                           "\"zone\":\"eu\"}", &v), IM_OK);
    assert_int_equal(v.draining, 0);
    assert_int_equal(v.load, 0);
}


static void
garbage_is_refused_with_a_reason(void **state)
{
    size_t        i;
    char          big[5000];
    disc_value_t  v;

    static const char *const  bad[] = {
        "", " ", "127.0.0.1:80", "{", "[]", "null", "{}",
        "{\"proto\":1}",
        "{\"proto\":1,\"address\":\"h:1\"}",
        "{\"proto\":2,\"address\":\"h:1\",\"boot\":\"b\"}",
        "{\"proto\":\"x\",\"address\":\"h:1\",\"boot\":\"b\"}",
        "{\"proto\":1,\"address\":\"\",\"boot\":\"b\"}",
        "{\"proto\":1,\"address\":\"h\",\"boot\":\"b\"}",
        "{\"proto\":1,\"address\":\"h:\",\"boot\":\"b\"}",
        "{\"proto\":1,\"address\":\":1\",\"boot\":\"b\"}",
        "{\"proto\":1,\"address\":\"h:0\",\"boot\":\"b\"}",
        "{\"proto\":1,\"address\":\"h:65536\",\"boot\":\"b\"}",
        "{\"proto\":1,\"address\":\"h:99999999999999999999\",\"boot\":\"b\"}",
        "{\"proto\":1,\"address\":\"unix:/etc/x:1\",\"boot\":\"b\"}",
        "{\"proto\":1,\"address\":\"a,b:1\",\"boot\":\"b\"}",
        "{\"proto\":1,\"address\":\"h:1\",\"boot\":\"\"}",
        "{\"proto\":1,\"address\":\"h:1\",\"boot\":"
            "\"123456789012345678901234567890123\"}",
        "{\"proto\":1,\"address\":\"h:1\",\"boot\":\"b\",\"cpu\":-1}",
        "{\"proto\":1,\"address\":\"h:1\",\"boot\":\"b\",\"draining\":7}",
        "{\"proto\":1,\"address\":\"h\\u0000:1\",\"boot\":\"b\"}",
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        assert_int_equal(reads(bad[i], &v), IM_ERROR);
    }

    memset(big, ' ', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    assert_int_equal(reads(big, &v), IM_ERROR);
}


static void
a_probe_learns_since_when_etcd_is_silent_and_we_are_missing(void **state)
{
    uint64_t          now;
    im_disc_state_t   st;
    static im_disc_t  d;

    (void) state;

    memset(&d, 0, sizeof(d));
    now = im_disc_now_ms();
    d.lost_ms = now - 7000;
    snprintf(d.error, sizeof(d.error), "it has not answered yet");

    im_disc_state(&d, &st);
    assert_false(st.answers);
    assert_int_equal(st.silent_ms, now - 7000);
    assert_string_equal(st.error, "it has not answered yet");
    assert_true(st.registered);        /* there is nothing to be registered */

    atomic_store(&d.ready, 1);
    im_disc_state(&d, &st);
    assert_true(st.answers);

    /* the oldest of those that are missing counts */

    strcpy(d.regs[0].key, "/im/connect/a");
    strcpy(d.regs[1].key, "/im/logic/a");
    strcpy(d.regs[2].key, "/im/task/a");
    d.regs[0].missing_ms = now - 1000;
    d.regs[1].missing_ms = now - 5000;
    d.regs[2].held = 1;
    im_disc_state(&d, &st);
    assert_false(st.registered);
    assert_int_equal(st.missing_ms, now - 5000);

    d.regs[0].held = d.regs[1].held = 1;
    im_disc_state(&d, &st);
    assert_true(st.registered);

    /* a frozen etcd ends no stream, but renews no lease */

    d.lease.id = 1;
    d.lease.ttl_s = 3;
    d.lease.heard_ms = now - 2000;
    im_disc_state(&d, &st);
    assert_true(st.answers);

    d.lease.heard_ms = now - 4000;
    im_disc_state(&d, &st);
    assert_false(st.answers);
    assert_int_equal(st.silent_ms, now - 4000);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_change_moves_only_its_share_of_the_slots),
        cmocka_unit_test(slots_are_spread_evenly),
        cmocka_unit_test(every_process_sees_the_same_home),
        cmocka_unit_test(the_less_loaded_of_two_is_picked),
        cmocka_unit_test(round_robin_takes_all_in_turn),
        cmocka_unit_test(a_slot_goes_home_and_else_to_its_next_home),
        cmocka_unit_test(who_leaves_gets_nothing_new),
        cmocka_unit_test(
            who_fails_in_a_row_is_ejected_for_a_while_doubled_each_time),
        cmocka_unit_test(an_answer_ends_the_row_of_failures),
        cmocka_unit_test(when_all_are_ejected_they_are_asked_after_all),
        cmocka_unit_test(a_breaker_is_of_one_class_of_methods),
        cmocka_unit_test(no_is_not_a_failure),
        cmocka_unit_test(a_value_is_read_as_it_was_written),
        cmocka_unit_test(garbage_is_refused_with_a_reason),
        cmocka_unit_test(
            a_probe_learns_since_when_etcd_is_silent_and_we_are_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
