/*
 * task_conversations.c -- see task_conversations.h.
 *
 * Nearly every message belongs to a conversation whose rows are there.  So
 * those that were written or found lately are remembered, and only the others
 * cost an INSERT; it leaves rows alone that exist, so forgetting is harmless.
 * Nothing deletes from `conversations`; had an operator done so, a restart
 * brings the rows back with the next message.
 *
 * The memory: a table of sets with two places each.  The last one used is in
 * front, a new one pushes out the one behind.  Keys are whole, because a
 * conversation that is wrongly taken for known would stay invisible.
 */

#include <stdlib.h>
#include <string.h>

#include "task_conversations.h"


#define KNOWN_SETS  131072         /* two each; 4 MB.  A power of two */
#define COLUMNS     3


typedef struct {
    uint64_t  uid;
    uint64_t  conv_a;
    uint64_t  conv_b;
} conversation_t;


static size_t conversations_collect(const task_row_t *rows, size_t n);
static void conversations_add(size_t i, uint64_t uid, const Im__Record *m);
static int conversations_compare(const void *a, const void *b);
static task_known_t *known_set(uint64_t conv_a, uint64_t conv_b);


static const char  conversations_sql[] =
    "INSERT INTO conversations (uid, conv_a, conv_b) VALUES (?, ?, ?)"
    " ON DUPLICATE KEY UPDATE uid = uid";

static task_known_t      *known;
static conversation_t    *conversations;
static im_mysql_value_t  *conversations_values;


int
task_conversations_start(size_t max)
{
    known = calloc(KNOWN_SETS * 2, sizeof(task_known_t));
    conversations = calloc(max * 2, sizeof(conversation_t));
    conversations_values = calloc(max * 2 * COLUMNS,
                                  sizeof(im_mysql_value_t));

    return (known != NULL && conversations != NULL
            && conversations_values != NULL) ? IM_OK : IM_ERROR;
}


int
task_conversations_write(im_mysql_t *mysql, const task_row_t *rows, size_t n)
{
    int                rc;
    size_t             i, wanted;
    uint64_t           new_rows;
    im_mysql_value_t  *v;

    wanted = conversations_collect(rows, n);

    if (wanted == 0) {
        return IM_OK;
    }

    v = conversations_values;
    memset(v, 0, wanted * COLUMNS * sizeof(im_mysql_value_t));

    for (i = 0; i < wanted; i++) {
        v[0].u64 = conversations[i].uid;
        v[1].u64 = conversations[i].conv_a;
        v[2].u64 = conversations[i].conv_b;
        v += COLUMNS;
    }

    rc = im_mysql_insert(mysql, conversations_sql, conversations_values,
                         COLUMNS, wanted, &new_rows);
    if (rc != IM_OK) {
        return rc;
    }

    for (i = 0; i < wanted; i++) {

        /* once for the two users */

        if (conversations[i].uid == conversations[i].conv_a) {
            task_known_add(conversations[i].conv_a, conversations[i].conv_b);
        }
    }

    return IM_OK;
}


/* Rows of one conversation are neighbours.  Rooms have no such rows. */
static size_t
conversations_collect(const task_row_t *rows, size_t n)
{
    size_t             i, wanted;
    const Im__Record  *m, *last;

    wanted = 0;
    last = NULL;

    for (i = 0; i < n; i++) {
        m = rows[i].message;

        if (m->conv_a == 0
            || (last != NULL && last->conv_a == m->conv_a
                && last->conv_b == m->conv_b))
        {
            continue;
        }

        last = m;

        if (task_known_has(m->conv_a, m->conv_b)) {
            continue;
        }

        conversations_add(wanted++, m->conv_a, m);

        if (m->conv_a != m->conv_b) {
            conversations_add(wanted++, m->conv_b, m);
        }
    }

    /* by primary key: as in `messages`, no circle of locks */

    qsort(conversations, wanted, sizeof(conversation_t),
          conversations_compare);

    return wanted;
}


static void
conversations_add(size_t i, uint64_t uid, const Im__Record *m)
{
    conversations[i].uid = uid;
    conversations[i].conv_a = m->conv_a;
    conversations[i].conv_b = m->conv_b;
}


static int
conversations_compare(const void *a, const void *b)
{
    const conversation_t  *x = a, *y = b;

    if (x->uid != y->uid) {
        return (x->uid < y->uid) ? -1 : 1;
    }

    if (x->conv_a != y->conv_a) {
        return (x->conv_a < y->conv_a) ? -1 : 1;
    }

    return (x->conv_b < y->conv_b) ? -1 : (x->conv_b > y->conv_b);
}


int
task_known_has(uint64_t conv_a, uint64_t conv_b)
{
    task_known_t  *set, front;

    set = known_set(conv_a, conv_b);

    if (set[0].conv_a == conv_a && set[0].conv_b == conv_b) {
        return 1;
    }

    if (set[1].conv_a != conv_a || set[1].conv_b != conv_b) {
        return 0;
    }

    front = set[1];
    set[1] = set[0];
    set[0] = front;

    return 1;
}


void
task_known_add(uint64_t conv_a, uint64_t conv_b)
{
    task_known_t  *set;

    if (task_known_has(conv_a, conv_b)) {
        return;
    }

    set = known_set(conv_a, conv_b);
    set[1] = set[0];
    set[0].conv_a = conv_a;
    set[0].conv_b = conv_b;
}


/* Users' numbers are small and dense: spread by the finalizer of MurmurHash3
 * (fmix64, public domain, Austin Appleby). */
static task_known_t *
known_set(uint64_t conv_a, uint64_t conv_b)
{
    uint64_t  h;

    h = conv_a * 0x9e3779b97f4a7c15u ^ conv_b;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
    h ^= h >> 33;

    return &known[(h & (KNOWN_SETS - 1)) * 2];
}


void
task_conversations_stop(void)
{
    free(known);
    free(conversations);
    free(conversations_values);
    known = NULL;
    conversations = NULL;
    conversations_values = NULL;
}
