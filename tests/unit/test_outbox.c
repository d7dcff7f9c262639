/*
 * test_outbox.c -- nothing that was asked is forgotten or reordered when
 * instances come, die and leave.
 */

#include <stdio.h>

#include "unit.h"

#include "im_outbox.h"

#define WRITTEN_MAX  4096
#define BODY         7             /* bytes */


/* An instance, as the outbox sees it, and what reached it. */
typedef struct {
    im_outbox_peer_t  peer;
    unsigned          room;            /* items that its queue still takes */
    unsigned          n;
    struct {
        uint64_t      ref;
        uint64_t      conn;
        char          cmid[16];
    }                 written[WRITTEN_MAX];
} instance_t;

static instance_t   a, b;
static instance_t  *owner;             /* of every slot */
static unsigned     refused;
static im_outbox_info_t  refused_info;
static im_outbox_t *asked_again;       /* refuse adds to it, slot 5 */
static char         refused_cmid[16];
static char         refused_code[16];


static im_outbox_peer_t *
on_owner(void *ctx, unsigned slot)
{
    (void) ctx;
    (void) slot;

    return (owner != NULL) ? &owner->peer : NULL;
}


static int
on_write(void *ctx, im_outbox_peer_t *peer, const im_str_t *item)
{
    Im__UpItem  *up;
    instance_t  *in = (instance_t *) peer;

    (void) ctx;

    if (in->room == 0) {
        return IM_BUSY;
    }

    in->room--;

    up = im__up_item__unpack(NULL, item->len, item->data);
    assert_non_null(up);
    assert_true(in->n < WRITTEN_MAX);

    in->written[in->n].ref = up->ref;
    in->written[in->n].conn = up->conn;
    in->written[in->n].cmid[0] = '\0';

    if (up->item_case == IM__UP_ITEM__ITEM_SEND) {
        snprintf(in->written[in->n].cmid, sizeof(in->written[0].cmid), "%s",
                 up->send->cmid);
    }

    in->n++;
    im__up_item__free_unpacked(up, NULL);

    return IM_OK;
}


static int say(im_outbox_t *box, unsigned slot, const char *cmid,
    uint64_t now);


static void
on_refuse(void *ctx, const im_outbox_info_t *info, const char *cmid,
    const char *code)
{
    (void) ctx;

    refused++;
    refused_info = *info;
    snprintf(refused_cmid, sizeof(refused_cmid), "%s", cmid);
    snprintf(refused_code, sizeof(refused_code), "%s", code);

    if (asked_again != NULL) {
        assert_int_equal(say(asked_again, 5, "again", 0), IM_OK);
    }
}


static const im_outbox_handler_t  handler = {
    .owner = on_owner,
    .write = on_write,
    .refuse = on_refuse
};


static im_outbox_t *
box_of(size_t items_max)
{
    im_outbox_t       *box;
    im_outbox_conf_t   conf = { items_max, 1 << 20, 8000 };

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    a.room = b.room = WRITTEN_MAX;
    owner = &a;
    refused = 0;
    refused_cmid[0] = '\0';

    box = im_outbox_create(&conf, &handler, NULL);
    assert_non_null(box);

    return box;
}


static int
say(im_outbox_t *box, unsigned slot, const char *cmid, uint64_t now)
{
    Im__UpItem   item = IM__UP_ITEM__INIT;
    Im__Deliver  send = IM__DELIVER__INIT;

    send.cmid = (char *) cmid;
    send.body.data = (uint8_t *) "\"hello\"";
    send.body.len = BODY;
    item.conn = 7;
    item.item_case = IM__UP_ITEM__ITEM_SEND;
    item.send = &send;

    return im_outbox_add(box, slot, &item, now, NULL);
}


static int
answered(im_outbox_t *box, uint64_t ref)
{
    im_outbox_info_t  info;

    return im_outbox_answered(box, ref, &info);
}


static void
an_answer_ends_an_item(void **state)
{
    im_outbox_t       *box;
    im_outbox_info_t   info;

    (void) state;

    box = box_of(100);

    assert_int_equal(say(box, 1, "m1", 30), IM_OK);
    assert_int_equal(a.peer.in_flight, 1);
    assert_true(im_outbox_waits(box, a.written[0].ref));

    assert_int_equal(im_outbox_answered(box, a.written[0].ref, &info), IM_OK);
    assert_int_equal(info.kind, IM__UP_ITEM__ITEM_SEND);
    assert_int_equal(info.conn, 7);
    assert_int_equal(info.added_ms, 30);
    assert_int_equal(info.body, BODY);
    assert_int_equal(a.peer.in_flight, 0);
    assert_int_equal(im_outbox_items(box), 0);
    assert_false(im_outbox_waits(box, a.written[0].ref));

    /* late, doubled and made-up answers */

    assert_int_equal(answered(box, a.written[0].ref), IM_DECLINED);
    assert_int_equal(answered(box, 0), IM_DECLINED);
    assert_int_equal(answered(box, UINT64_MAX), IM_DECLINED);

    im_outbox_destroy(box);
}


static void
what_died_with_an_instance_is_sent_again_first_and_in_order(void **state)
{
    unsigned      i;
    char          cmid[16];
    im_outbox_t  *box;

    (void) state;

    box = box_of(1000);

    for (i = 0; i < 100; i++) {
        snprintf(cmid, sizeof(cmid), "m%u", i);
        assert_int_equal(say(box, 5, cmid, 0), IM_OK);
    }

    for (i = 0; i < 40; i++) {
        assert_int_equal(answered(box, a.written[i].ref), IM_OK);
    }

    owner = &b;
    im_outbox_lost(box, &a.peer);
    assert_int_equal(say(box, 5, "after", 0), IM_OK);

    assert_int_equal(a.peer.in_flight, 0);
    assert_int_equal(b.n, 61);

    for (i = 0; i < 60; i++) {
        snprintf(cmid, sizeof(cmid), "m%u", i + 40);
        assert_string_equal(b.written[i].cmid, cmid);
    }

    assert_string_equal(b.written[60].cmid, "after");
    assert_int_equal(refused, 0);

    im_outbox_destroy(box);
}


static void
without_a_client_id_it_is_refused_not_doubled(void **state)
{
    im_outbox_t  *box;

    (void) state;

    box = box_of(100);

    say(box, 5, "m1", 0);
    say(box, 5, "", 0);
    say(box, 5, "m3", 0);

    owner = &b;
    im_outbox_lost(box, &a.peer);

    assert_int_equal(refused, 1);
    assert_int_equal(refused_info.conn, 7);
    assert_int_equal(refused_info.kind, IM__UP_ITEM__ITEM_SEND);
    assert_int_equal(refused_info.body, BODY);
    assert_string_equal(refused_cmid, "");
    assert_string_equal(refused_code, "unavailable");
    assert_int_equal(b.n, 2);
    assert_string_equal(b.written[0].cmid, "m1");
    assert_string_equal(b.written[1].cmid, "m3");

    im_outbox_destroy(box);
}


static void
who_is_refused_may_ask_again_at_once(void **state)
{
    im_outbox_t  *box;

    (void) state;

    box = box_of(100);

    say(box, 5, "", 0);
    say(box, 5, "", 0);
    say(box, 5, "m3", 0);

    owner = &b;
    asked_again = box;
    im_outbox_lost(box, &a.peer);
    asked_again = NULL;

    assert_int_equal(refused, 2);
    assert_int_equal(b.n, 3);
    assert_string_equal(b.written[0].cmid, "m3");
    assert_string_equal(b.written[2].cmid, "again");
    assert_int_equal(b.peer.in_flight, 3);
    assert_int_equal(a.peer.in_flight, 0);

    assert_int_equal(answered(box, b.written[2].ref), IM_OK);
    assert_int_equal(b.peer.in_flight, 2);

    im_outbox_destroy(box);

    /* nothing but what is refused */

    box = box_of(100);
    say(box, 5, "", 0);

    owner = &b;
    asked_again = box;
    im_outbox_lost(box, &a.peer);
    asked_again = NULL;

    assert_int_equal(b.peer.in_flight, 1);
    assert_int_equal(answered(box, b.written[0].ref), IM_OK);

    im_outbox_destroy(box);
}


static void
a_slot_moves_only_when_nothing_is_in_flight(void **state)
{
    im_outbox_t  *box;

    (void) state;

    box = box_of(100);

    say(box, 5, "m1", 0);
    say(box, 5, "m2", 0);

    owner = &b;                         /* an instance was added */
    say(box, 5, "m3", 0);
    say(box, 5, "m4", 0);
    im_outbox_move(box);

    assert_int_equal(b.n, 0);

    answered(box, a.written[1].ref);
    assert_int_equal(b.n, 0);
    answered(box, a.written[0].ref);

    assert_int_equal(b.n, 2);
    assert_string_equal(b.written[0].cmid, "m3");
    assert_string_equal(b.written[1].cmid, "m4");
    assert_int_equal(a.n, 2);

    im_outbox_destroy(box);
}


static void
other_slots_move_at_once(void **state)
{
    im_outbox_t  *box;

    (void) state;

    box = box_of(100);

    say(box, 5, "m1", 0);
    owner = &b;
    say(box, 6, "m2", 0);

    assert_int_equal(b.n, 1);

    im_outbox_destroy(box);
}


static void
nobody_home_is_said_at_once_but_what_was_taken_waits(void **state)
{
    im_outbox_t  *box;

    (void) state;

    box = box_of(100);

    say(box, 5, "m1", 0);

    owner = NULL;
    im_outbox_lost(box, &a.peer);
    assert_int_equal(say(box, 5, "m2", 0), IM_DECLINED);
    assert_int_equal(say(box, 9, "m3", 0), IM_DECLINED);
    assert_int_equal(im_outbox_items(box), 1);

    owner = &b;
    im_outbox_move(box);
    assert_int_equal(b.n, 1);
    assert_string_equal(b.written[0].cmid, "m1");

    im_outbox_destroy(box);
}


static void
what_waits_too_long_is_refused(void **state)
{
    im_outbox_t  *box;

    (void) state;

    box = box_of(100);

    say(box, 5, "m1", 1000);
    say(box, 5, "m2", 2000);

    im_outbox_expire(box, 8999);
    assert_int_equal(refused, 0);

    im_outbox_expire(box, 9000);
    assert_int_equal(refused, 1);
    assert_string_equal(refused_cmid, "m1");
    assert_string_equal(refused_code, "timeout");
    assert_int_equal(a.peer.in_flight, 1);

    assert_int_equal(answered(box, a.written[0].ref), IM_DECLINED);

    im_outbox_destroy(box);
}


static void
limits_are_said_as_busy(void **state)
{
    unsigned      i;
    im_outbox_t  *box;

    (void) state;

    box = box_of(300);

    for (i = 0; i < 300; i++) {
        assert_int_equal(say(box, i, "m", 0), IM_OK);
    }

    assert_int_equal(say(box, 1, "m", 0), IM_BUSY);
    answered(box, a.written[0].ref);
    assert_int_equal(say(box, 1, "m", 0), IM_OK);

    im_outbox_destroy(box);
    box = box_of(300);

    a.room = 1;
    assert_int_equal(say(box, 1, "m1", 0), IM_OK);
    assert_int_equal(say(box, 1, "m2", 0), IM_BUSY);
    assert_int_equal(im_outbox_items(box), 1);

    im_outbox_destroy(box);
}


static void
a_full_instance_gets_the_rest_when_it_has_room(void **state)
{
    im_outbox_t  *box;

    (void) state;

    box = box_of(100);

    say(box, 5, "m1", 0);
    say(box, 5, "m2", 0);

    b.room = 1;
    owner = &b;
    im_outbox_lost(box, &a.peer);
    assert_int_equal(b.n, 1);

    b.room = 10;
    im_outbox_move(box);
    assert_int_equal(b.n, 2);
    assert_string_equal(b.written[1].cmid, "m2");

    im_outbox_destroy(box);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(an_answer_ends_an_item),
        cmocka_unit_test(
            what_died_with_an_instance_is_sent_again_first_and_in_order),
        cmocka_unit_test(without_a_client_id_it_is_refused_not_doubled),
        cmocka_unit_test(who_is_refused_may_ask_again_at_once),
        cmocka_unit_test(a_slot_moves_only_when_nothing_is_in_flight),
        cmocka_unit_test(other_slots_move_at_once),
        cmocka_unit_test(nobody_home_is_said_at_once_but_what_was_taken_waits),
        cmocka_unit_test(what_waits_too_long_is_refused),
        cmocka_unit_test(limits_are_said_as_busy),
        cmocka_unit_test(a_full_instance_gets_the_rest_when_it_has_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
