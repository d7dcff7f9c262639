/*
 * logic_outcome.c -- see logic_outcome.h.
 *
 * The confirmed are kept in sets of four, found by bits of the field, which is
 * a hash already; a set forgets its oldest.  A repeat of what is remembered is
 * answered from here.  One that is not (another Logic took the first try, or
 * it is long ago) goes the long way, by Redis and MySQL.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "im_clock.h"
#include "logic_conf.h"
#include "logic_outcome.h"


#define OUTCOME_SETS  16384        /* a power of two */
#define OUTCOME_WAYS  4


typedef struct {
    unsigned char  field[16];
    unsigned char  digest[8];
    uint64_t       msg_id;         /* 0: empty */
    uint64_t       seq;
    uint64_t       time_ms;
} outcome_t;


static void outcome_remember(const logic_message_t *m);
static outcome_t *outcome_set(const unsigned char *field);
static int outcome_same(const outcome_t *o, const logic_message_t *m);


static pthread_mutex_t  outcome_lock = PTHREAD_MUTEX_INITIALIZER;
static outcome_t        outcome_table[OUTCOME_SETS][OUTCOME_WAYS];

static atomic_ulong     outcome_accepted;
static atomic_ulong     outcome_repeated;
static atomic_ulong     outcome_refused;


void
logic_outcome_refuse(logic_message_t *m, logic_touched_t *t, const char *code,
    const char *text)
{
    logic_message_t  *r;

    r = logic_message_untrack(m);
    m->next = r;

    while (m != NULL) {
        r = m->next;
        atomic_fetch_add(&outcome_refused, 1);
        logic_reply_error(&m->reply, t, m->cmid, code, text);
        logic_message_free(m);
        m = r;
    }
}


void
logic_outcome_accept(logic_message_t *m, logic_touched_t *t, int dup)
{
    logic_ack_t       ack;
    logic_message_t  *r;

    memset(&ack, 0, sizeof(ack));
    ack.msg_id = m->seq.msg_id;
    ack.seq = m->seq.seq;
    ack.time_ms = m->time_ms;
    ack.to = m->to;
    ack.room = (m->to == 0) ? m->seq.conv.b : 0;
    ack.dup = dup;

    if (m->seq.by != LOGIC_BY_NOTHING) {
        outcome_remember(m);           /* before a repeat can find no trace */
    }

    r = logic_message_untrack(m);
    m->next = r;

    while (m != NULL) {
        r = m->next;
        atomic_fetch_add(&outcome_accepted, 1);

        if (ack.dup) {
            atomic_fetch_add(&outcome_repeated, 1);
        }

        ack.cmid = m->cmid;
        logic_reply_ack(&m->reply, t, &ack);
        logic_message_free(m);
        m = r;
        ack.dup = 1;                   /* all but the first are repeats */
    }
}


static void
outcome_remember(const logic_message_t *m)
{
    int         i;
    outcome_t  *set;

    pthread_mutex_lock(&outcome_lock);

    set = outcome_set(m->seq.field);

    for (i = 0; i < OUTCOME_WAYS - 1; i++) {
        if (memcmp(set[i].field, m->seq.field, 16) == 0) {
            break;
        }
    }

    memmove(set + 1, set, (size_t) i * sizeof(outcome_t));

    memcpy(set[0].field, m->seq.field, 16);
    memcpy(set[0].digest, m->seq.digest, 8);
    set[0].msg_id = m->seq.msg_id;
    set[0].seq = m->seq.seq;
    set[0].time_ms = m->time_ms;

    pthread_mutex_unlock(&outcome_lock);
}


int
logic_outcome_recall(logic_message_t *m)
{
    int         i, rc;
    outcome_t  *set;

    rc = IM_DECLINED;

    pthread_mutex_lock(&outcome_lock);

    set = outcome_set(m->seq.field);

    for (i = 0; i < OUTCOME_WAYS; i++) {

        if (!outcome_same(&set[i], m)) {
            continue;
        }

        if (memcmp(set[i].digest, m->seq.digest, 8) != 0) {
            rc = IM_BUSY;
            break;
        }

        m->seq.msg_id = set[i].msg_id;
        m->seq.seq = set[i].seq;
        m->time_ms = set[i].time_ms;
        rc = IM_OK;
        break;
    }

    pthread_mutex_unlock(&outcome_lock);

    return rc;
}


/* A body counts for a while only; the script has the last word on what is
 * older. */
static int
outcome_same(const outcome_t *o, const logic_message_t *m)
{
    if (o->msg_id == 0 || memcmp(o->field, m->seq.field, 16) != 0) {
        return 0;
    }

    return m->seq.by == LOGIC_BY_CMID
           || o->time_ms + logic_conf.body_window_ms >= im_now_ms();
}


static outcome_t *
outcome_set(const unsigned char *field)
{
    unsigned  i;

    i = (unsigned) field[0] | (unsigned) field[1] << 8;

    return outcome_table[i & (OUTCOME_SETS - 1)];
}


void
logic_outcome_stats(logic_intake_stats_t *stats)
{
    stats->accepted = atomic_load(&outcome_accepted);
    stats->repeated = atomic_load(&outcome_repeated);
    stats->refused = atomic_load(&outcome_refused);
}
