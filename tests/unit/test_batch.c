/*
 * test_batch.c -- a batch keeps the order of a conversation, also where some of
 * its messages are repeats whose first try another Logic has left behind.
 *
 * Redis, MySQL and Kafka are these functions; the steps of a batch and the park
 * are the real ones.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "logic_asking.h"
#include "logic_batch.h"
#include "logic_conf.h"
#include "logic_decided.h"
#include "logic_fate.h"
#include "logic_ids.h"
#include "logic_outcome.h"
#include "logic_probes.h"
#include "logic_produce.h"
#include "logic_renew.h"
#include "logic_repeats.h"
#include "logic_settle.h"

#define MAX    16
#define YOUNG  1000                    /* ms, of a number */
#define OLD    6000
#define VOID   12000


typedef struct {
    uint64_t  seq;                     /* 0: no first try */
    uint64_t  age_ms;
    uint64_t  stored;                  /* msg_id of the row; 0: none */
} first_t;

static pthread_mutex_t    lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t     wake = PTHREAD_COND_INITIALIZER;
static logic_park_t       park;
static logic_batch_t      batch;
static first_t            first[MAX];  /* by what a message is to be */
static uint64_t           head;        /* the last number that was given */
static logic_question_t  *asked[MAX];
static unsigned           asked_n;
static uint64_t           produced[MAX];
static unsigned           produced_n;
static unsigned           accepted;
static unsigned           refused;


int
logic_sequence(im_redis_t *redis, logic_seq_t **items, size_t n)
{
    size_t          i;
    const first_t  *f;

    (void) redis;

    for (i = 0; i < n; i++) {
        f = &first[items[i]->field[0]];

        if (f->seq == 0) {
            items[i]->result = LOGIC_SEQ_NEW;
            items[i]->seq = ++head;
            continue;
        }

        items[i]->result = LOGIC_SEQ_REPEAT;
        items[i]->seq = f->seq;
        items[i]->msg_id = f->seq;
        items[i]->age_ms = f->age_ms;
    }

    return IM_OK;
}


int
logic_sequence_look(im_redis_t *redis, logic_seq_t **items, size_t n)
{
    (void) redis;
    (void) items;
    (void) n;

    return IM_ERROR;
}


void
logic_produce(logic_message_t **messages, size_t n, logic_touched_t *answers)
{
    size_t  i;

    (void) answers;

    for (i = 0; i < n; i++) {
        produced[produced_n++] = messages[i]->seq.seq;
        free(messages[i]);
    }
}


void
logic_asking_add(logic_question_t *q)
{
    asked[asked_n++] = q;
}


void
logic_asking_error(char *text, size_t size)
{
    (void) size;

    text[0] = '\0';
}


void
logic_outcome_accept(logic_message_t *m, logic_touched_t *t, int dup)
{
    (void) t;

    assert_true(dup);
    accepted++;
    free(m);
}


void
logic_outcome_refuse(logic_message_t *m, logic_touched_t *t, const char *code,
    const char *text)
{
    (void) t;
    (void) code;
    (void) text;

    refused++;
    free(m);
}


int
logic_outcome_recall(logic_message_t *m)
{
    (void) m;

    return IM_DECLINED;
}


int
logic_message_track(logic_message_t *m)
{
    (void) m;

    return IM_OK;
}


int
logic_ids_mint(logic_message_t **messages, size_t n)
{
    (void) messages;
    (void) n;

    return IM_OK;
}


logic_cache_e
logic_lookup_may(const logic_message_t *m, uint64_t now_us,
    logic_lookup_may_t *may)
{
    (void) m;
    (void) now_us;

    memset(may, 0, sizeof(logic_lookup_may_t));

    return LOGIC_CACHE_FRESH;
}


void
logic_lookup_pair(const logic_message_t *m, logic_lookup_pair_t *pair)
{
    (void) m;

    memset(pair, 0, sizeof(logic_lookup_pair_t));
}


void
logic_renew(uint64_t from, uint64_t to, uint64_t room)
{
    (void) from;
    (void) to;
    (void) room;
}


void
logic_repeats_add(logic_message_t *m, logic_touched_t *answers)
{
    logic_outcome_refuse(m, answers, "", "");
}


void
logic_decided_enter(unsigned char *phase)
{
    (void) phase;
}


void
logic_decided_leave(unsigned char *phase)
{
    (void) phase;
}


void
logic_fate_refused(const logic_seq_t *seq, unsigned char *phase)
{
    (void) seq;
    (void) phase;
}


void
logic_fate_unanswered(const logic_seq_t *seq)
{
    (void) seq;
}


int
logic_probes_kafka_away(void)
{
    return 0;
}


int
logic_probes_mysql_away(void)
{
    return 0;
}


uint64_t
logic_void_after_ms(void)
{
    return VOID;
}


static int
setup(void **state)
{
    (void) state;

    logic_conf.kafka_delivery_ms = 5000;
    logic_park_init(&park, &lock, &wake, MAX);
    memset(&batch, 0, sizeof(batch));
    batch.park = &park;
    memset(first, 0, sizeof(first));
    head = asked_n = produced_n = accepted = refused = 0;

    return 0;
}


/* The next of the batch. */
static void
put(size_t n, unsigned char what, uint64_t room)
{
    logic_message_t  *m;

    m = calloc(1, sizeof(logic_message_t));
    assert_non_null(m);
    m->seq.conv.b = room;
    m->seq.by = LOGIC_BY_CMID;
    m->seq.field[0] = what;
    batch.messages[n] = m;
}


/* MySQL answers all that is asked, until nobody waits. */
static void
answer(void)
{
    size_t             n;
    logic_question_t  *q;

    while (asked_n > 0) {

        while (asked_n > 0) {
            q = asked[--asked_n];
            assert_int_equal(q->want, LOGIC_WANT_STORED);
            q->stored = first[q->seq.field[0]].stored;
            logic_park_done(q, IM_OK);
        }

        n = logic_park_take(&park, batch.messages, MAX);
        logic_batch_run(&batch, n);
    }

    assert_int_equal(park.n, 0);
}


static void
a_new_message_does_not_overtake_a_repeat_of_its_batch(void **state)
{
    unsigned  i;

    (void) state;

    /* a Logic died when it had numbered two, and not more */

    first[1] = (first_t) { 12, YOUNG, 0 };
    first[2] = (first_t) { 13, YOUNG, 0 };
    head = 13;

    for (i = 0; i < 4; i++) {
        put(i, (unsigned char) (i + 1), 7);
    }

    logic_batch_run(&batch, 4);
    answer();

    assert_int_equal(produced_n, 4);

    for (i = 0; i < 4; i++) {
        assert_int_equal(produced[i], 12 + i);
    }
}


static void
what_is_stored_is_not_produced_again(void **state)
{
    (void) state;

    first[1] = (first_t) { 12, YOUNG, 12 };
    put(0, 1, 7);
    put(1, 2, 8);                      /* of another conversation */

    logic_batch_run(&batch, 2);
    assert_int_equal(produced_n, 1);   /* which does not wait */
    answer();

    assert_int_equal(produced_n, 1);
    assert_int_equal(accepted, 1);
}


static void
an_old_number_is_not_used_for_the_sake_of_the_order(void **state)
{
    (void) state;

    first[1] = (first_t) { 12, OLD, 0 };
    head = 12;
    put(0, 1, 7);
    put(1, 2, 7);

    logic_batch_run(&batch, 2);
    answer();

    assert_int_equal(produced_n, 1);
    assert_int_equal(produced[0], 13);
    assert_int_equal(refused, 1);      /* it comes again, and gets another */
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup(
            a_new_message_does_not_overtake_a_repeat_of_its_batch, setup),
        cmocka_unit_test_setup(what_is_stored_is_not_produced_again, setup),
        cmocka_unit_test_setup(
            an_old_number_is_not_used_for_the_sake_of_the_order, setup)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
