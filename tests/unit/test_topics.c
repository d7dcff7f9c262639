/*
 * test_topics.c -- who is in a topic gets what is said there, once.
 */

#include "unit.h"

#include "im_topics.h"


#define SUBS   200
#define ROOMS  40


static unsigned  seed = 1;


static unsigned
dice(unsigned n)
{
    seed = seed * 1103515245 + 12345;

    return (seed >> 16) % n;
}


static void
a_topic_has_members_and_users(void **state)
{
    im_topic_t       *a, *b;
    im_topics_t      *t;
    im_subscriber_t   s[3] = { { .uid = 7 }, { .uid = 7 }, { .uid = 8 } };

    (void) state;

    t = im_topics_create(NULL, NULL);

    assert_int_equal(im_topics_join(t, IM_TOPIC_ROOM, 5, &s[0], &a), IM_OK);
    assert_int_equal(im_topics_join(t, IM_TOPIC_ROOM, 5, &s[0], &b), IM_DONE);
    assert_ptr_equal(a, b);
    assert_int_equal(im_topics_join(t, IM_TOPIC_ROOM, 5, &s[1], &a), IM_OK);
    assert_int_equal(im_topics_join(t, IM_TOPIC_ROOM, 5, &s[2], &a), IM_OK);
    assert_int_equal(a->members, 3);
    assert_int_equal(a->users, 2);

    /* the same number is another topic if it is of another kind */

    assert_null(im_topics_find(t, IM_TOPIC_PRESENCE, 5));
    assert_int_equal(im_topics_join(t, IM_TOPIC_PRESENCE, 5, &s[0], &b),
                     IM_OK);
    assert_ptr_not_equal(a, b);
    assert_int_equal(s[0].n[IM_TOPIC_ROOM], 1);
    assert_int_equal(s[0].n[IM_TOPIC_PRESENCE], 1);

    assert_int_equal(im_topics_leave(t, a, &s[0]), IM_OK);
    assert_int_equal(im_topics_leave(t, a, &s[0]), IM_DECLINED);
    assert_int_equal(a->users, 2);
    assert_true(im_topics_has_user(t, a, 7));
    im_topics_leave_all(t, &s[1]);
    assert_int_equal(a->users, 1);
    assert_false(im_topics_has_user(t, a, 7));
    assert_int_equal(s[1].first, 0);

    /* the last one takes it along, unless it is pinned */

    im_topics_pin(a);
    im_topics_leave_all(t, &s[2]);
    assert_ptr_equal(im_topics_find(t, IM_TOPIC_ROOM, 5), a);
    im_topics_unpin(t, a);
    assert_null(im_topics_find(t, IM_TOPIC_ROOM, 5));

    im_topics_destroy(t);
}


static int       changes;
static uint64_t  last_changed;


static void
on_changed(void *ctx, im_topic_t *topic, uint64_t uid)
{
    (void) ctx;
    (void) topic;

    changes++;
    last_changed = uid;
}


static void
a_user_comes_and_goes_once_with_all_his_devices(void **state)
{
    size_t            i;
    im_topic_t       *topic;
    im_topics_t      *t;
    im_subscriber_t   s[3] = { { .uid = 7 }, { .uid = 7 }, { .uid = 7 } };

    (void) state;

    t = im_topics_create(on_changed, NULL);
    changes = 0;

    for (i = 0; i < 3; i++) {
        assert_int_equal(im_topics_join(t, IM_TOPIC_ROOM, 5, &s[i], &topic),
                         IM_OK);
    }

    assert_int_equal(changes, 1);
    assert_int_equal(last_changed, 7);

    for (i = 0; i < 3; i++) {
        assert_int_equal(changes, 1);
        im_topics_leave_all(t, &s[i]);
    }

    assert_int_equal(changes, 2);

    im_topics_destroy(t);
}


/* Against a plain matrix. */
static void
random_joins_and_leaves_are_kept_exactly(void **state)
{
    int               rc;
    unsigned          i, s, r, n, users;
    uint32_t          at;
    im_topic_t       *topic;
    im_topics_t      *t;
    static char       in[SUBS][ROOMS], user[SUBS];
    im_subscriber_t   subs[SUBS];

    (void) state;

    t = im_topics_create(NULL, NULL);
    memset(subs, 0, sizeof(subs));
    memset(in, 0, sizeof(in));

    for (s = 0; s < SUBS; s++) {
        subs[s].uid = s / 3 + 1;
    }

    for (i = 0; i < 200000; i++) {
        s = dice(SUBS);
        r = dice(ROOMS);

        if (dice(200) == 0) {
            im_topics_leave_all(t, &subs[s]);
            memset(in[s], 0, ROOMS);

        } else if (dice(2) == 0) {
            rc = im_topics_join(t, r % 2, r / 2 + 1, &subs[s], &topic);
            assert_int_equal(rc, in[s][r] ? IM_DONE : IM_OK);
            in[s][r] = 1;

        } else {
            topic = im_topics_find(t, r % 2, r / 2 + 1);
            rc = (topic == NULL) ? IM_DECLINED
                                 : im_topics_leave(t, topic, &subs[s]);
            assert_int_equal(rc, in[s][r] ? IM_OK : IM_DECLINED);
            in[s][r] = 0;
        }
    }

    for (r = 0; r < ROOMS; r++) {
        topic = im_topics_find(t, r % 2, r / 2 + 1);
        memset(user, 0, sizeof(user));
        n = 0;
        users = 0;

        for (s = 0; s < SUBS; s++) {
            n += in[s][r];
            user[s / 3] |= in[s][r];
        }

        for (s = 0; s < SUBS; s++) {
            users += user[s];
        }

        assert_int_equal(topic ? topic->members : 0, n);
        assert_int_equal(topic ? topic->users : 0, users);
    }

    for (s = 0; s < SUBS; s++) {
        at = subs[s].first;

        while ((topic = im_topics_next(t, &at)) != NULL) {
            r = (unsigned) (topic->id - 1) * 2 + topic->kind;
            assert_int_equal(in[s][r], 1);
            in[s][r] = 0;
        }

        for (r = 0; r < ROOMS; r++) {
            assert_int_equal(in[s][r], 0);
        }
    }

    im_topics_destroy(t);
}


/* In portions, while others join and leave: nobody twice, nobody missed. */
static void
a_walk_meets_who_was_there_all_the_time_exactly_once(void **state)
{
    unsigned          round, s, k;
    uint32_t          i, end;
    im_topic_t       *topic, *again;
    im_topics_t      *t;
    static int        met[SUBS], stayed[SUBS];
    im_subscriber_t  *sub, subs[SUBS];

    (void) state;

    t = im_topics_create(NULL, NULL);
    memset(subs, 0, sizeof(subs));

    for (s = 0; s < SUBS; s++) {
        subs[s].uid = s / 2 + 1;
        assert_int_equal(im_topics_join(t, IM_TOPIC_ROOM, 1, &subs[s], &topic),
                         IM_OK);
    }

    for (round = 0; round < 2000; round++) {

        for (s = 0; s < SUBS; s++) {
            met[s] = 0;
            stayed[s] = im_topics_is_in(t, topic, &subs[s]);
        }

        end = im_topics_walk_begin(topic);

        for (i = 0; i < end; i++) {
            sub = im_topics_at(t, topic, i);

            if (sub != NULL) {
                met[sub - subs]++;
                assert_true(im_topics_is_in(t, topic, sub));
            }

            for (k = dice(4); k > 0; k--) {
                s = dice(SUBS);

                if (im_topics_is_in(t, topic, &subs[s])) {
                    (void) im_topics_leave(t, topic, &subs[s]);
                    stayed[s] = 0;

                } else {
                    (void) im_topics_join(t, IM_TOPIC_ROOM, 1, &subs[s],
                                          &again);
                    assert_ptr_equal(again, topic);
                }
            }
        }

        for (s = 0; s < SUBS; s++) {
            assert_true(met[s] <= 1);
            assert_true(!stayed[s] || met[s] == 1);
        }

        im_topics_pin(topic);
        im_topics_walk_end(t, topic);
        assert_int_equal(topic->len, topic->members);
        topic->pins--;

        if (topic->members < SUBS / 4) {
            for (s = 0; s < SUBS; s++) {
                (void) im_topics_join(t, IM_TOPIC_ROOM, 1, &subs[s], &again);
            }
        }
    }

    im_topics_destroy(t);
}


static void
a_topic_may_empty_in_a_walk(void **state)
{
    uint32_t          end, i;
    im_topic_t       *topic;
    im_topics_t      *t;
    im_subscriber_t   s[2] = { { .uid = 1 }, { .uid = 2 } };

    (void) state;

    t = im_topics_create(NULL, NULL);

    (void) im_topics_join(t, IM_TOPIC_ROOM, 1, &s[0], &topic);
    (void) im_topics_join(t, IM_TOPIC_ROOM, 1, &s[1], &topic);

    end = im_topics_walk_begin(topic);
    im_topics_leave_all(t, &s[0]);
    im_topics_leave_all(t, &s[1]);

    for (i = 0; i < end; i++) {
        assert_null(im_topics_at(t, topic, i));
    }

    im_topics_walk_end(t, topic);
    assert_null(im_topics_find(t, IM_TOPIC_ROOM, 1));

    im_topics_destroy(t);
}


static void
all_topics_are_met_by_number(void **state)
{
    uint32_t          no;
    uint64_t          id, sum;
    im_topic_t       *topic;
    im_topics_t      *t;
    im_subscriber_t   s = { .uid = 1 };

    (void) state;

    t = im_topics_create(NULL, NULL);

    for (id = 1; id <= 1000; id++) {
        assert_int_equal(im_topics_join(t, IM_TOPIC_ROOM, id, &s, &topic),
                         IM_OK);
    }

    for (id = 1; id <= 1000; id += 2) {
        topic = im_topics_find(t, IM_TOPIC_ROOM, id);
        assert_int_equal(im_topics_leave(t, topic, &s), IM_OK);
    }

    sum = 0;

    for (no = 0; (topic = im_topics_each(t, &no)) != NULL; sum += topic->id) {
        assert_int_equal(topic->id % 2, 0);
    }

    assert_int_equal(sum, 500 * 501);

    im_topics_destroy(t);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_topic_has_members_and_users),
        cmocka_unit_test(a_user_comes_and_goes_once_with_all_his_devices),
        cmocka_unit_test(random_joins_and_leaves_are_kept_exactly),
        cmocka_unit_test(a_walk_meets_who_was_there_all_the_time_exactly_once),
        cmocka_unit_test(a_topic_may_empty_in_a_walk),
        cmocka_unit_test(all_topics_are_met_by_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
