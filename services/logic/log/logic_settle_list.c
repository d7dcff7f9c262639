/*
 * logic_settle_list.c -- see logic_settle_list.h.
 *
 *   add --> wants an end --begin, ends--> wants a commit --commits--> taken out
 *
 * All that wait when a question for the ends begins share its answer, so a
 * crowd that comes together costs as many questions as one client.  An end that
 * was asked for before a request came does not count for it: messages that were
 * acked in between are above that end.
 *
 * A partition to which nothing is written has the end that the group committed
 * before.  Such a commit is remembered for a second, and then a crowd needs one
 * question, not two.  It counts only if it is equal: an end below it is that of
 * a log which was cut.
 *
 * A list, walked from end to end: it is walked for each answer of Kafka, every
 * few ms, and 10,000 entries take less than one.
 */

#include <stddef.h>
#include <string.h>

#include "logic_settle_list.h"


static void list_reach(logic_wait_t *w, uint64_t partitions,
    const int64_t *commits);
static logic_wait_t *list_take(logic_settle_list_t *list,
    int (*is_over)(const logic_wait_t *w, uint64_t now_us), uint64_t now_us);
static int list_is_settled(const logic_wait_t *w, uint64_t now_us);
static int list_is_due(const logic_wait_t *w, uint64_t now_us);


void
logic_settle_list_add(logic_settle_list_t *list, logic_wait_t *w)
{
    w->round = list->round;
    w->next = list->first;
    list->first = w;
    list->n++;
}


uint64_t
logic_settle_list_begin(logic_settle_list_t *list)
{
    uint64_t       partitions;
    logic_wait_t  *w;

    partitions = 0;
    list->round++;

    for (w = list->first; w != NULL; w = w->next) {
        partitions |= w->partitions & ~w->marked;
    }

    return partitions;
}


void
logic_settle_list_ends(logic_settle_list_t *list, uint64_t partitions,
    const int64_t *ends)
{
    unsigned       p;
    uint64_t       bit, fresh;
    logic_wait_t  *w;

    for (w = list->first; w != NULL; w = w->next) {
        fresh = w->partitions & partitions & ~w->marked;

        if (w->round == list->round || fresh == 0) {
            continue;
        }

        for (p = 0; p < LOGIC_SETTLE_PARTITIONS; p++) {
            bit = 1ULL << p;

            if (!(fresh & bit) || ends[p] < 0) {
                continue;
            }

            w->ends[p] = ends[p];
            w->marked |= bit;

            /* nothing ever was, or nothing since */

            if (ends[p] == 0 || ends[p] == list->commits[p]) {
                w->reached |= bit;
            }
        }
    }
}


void
logic_settle_list_forget(logic_settle_list_t *list)
{
    memset(list->commits, 0, sizeof(list->commits));
}


uint64_t
logic_settle_list_marked(const logic_settle_list_t *list)
{
    uint64_t             partitions;
    const logic_wait_t  *w;

    partitions = 0;

    for (w = list->first; w != NULL; w = w->next) {
        partitions |= w->partitions & w->marked & ~w->reached;
    }

    return partitions;
}


logic_wait_t *
logic_settle_list_commits(logic_settle_list_t *list, uint64_t partitions,
    const int64_t *commits)
{
    unsigned       p;
    logic_wait_t  *w;

    for (p = 0; p < LOGIC_SETTLE_PARTITIONS; p++) {
        if (partitions & (1ULL << p)) {
            list->commits[p] = (commits[p] > 0) ? commits[p] : 0;
        }
    }

    for (w = list->first; w != NULL; w = w->next) {
        list_reach(w, partitions, commits);
    }

    return list_take(list, list_is_settled, 0);
}


static void
list_reach(logic_wait_t *w, uint64_t partitions, const int64_t *commits)
{
    unsigned  p;
    uint64_t  open;

    open = w->partitions & w->marked & ~w->reached & partitions;

    for (p = 0; open >> p != 0; p++) {
        if ((open & (1ULL << p)) && commits[p] >= w->ends[p]) {
            w->reached |= 1ULL << p;
        }

        if (p == LOGIC_SETTLE_PARTITIONS - 1) {
            break;
        }
    }
}


logic_wait_t *
logic_settle_list_due(logic_settle_list_t *list, uint64_t now_us)
{
    return list_take(list, list_is_due, now_us);
}


static logic_wait_t *
list_take(logic_settle_list_t *list,
    int (*is_over)(const logic_wait_t *w, uint64_t now_us), uint64_t now_us)
{
    logic_wait_t  *w, *taken, **at;

    taken = NULL;
    at = &list->first;

    while (*at != NULL) {
        w = *at;

        if (!is_over(w, now_us)) {
            at = &w->next;
            continue;
        }

        *at = w->next;
        w->next = taken;
        taken = w;
        list->n--;
    }

    return taken;
}


static int
list_is_settled(const logic_wait_t *w, uint64_t now_us)
{
    (void) now_us;

    return (w->partitions & ~w->reached) == 0;
}


static int
list_is_due(const logic_wait_t *w, uint64_t now_us)
{
    return w->until_us <= now_us;
}


uint64_t
logic_settle_list_next_us(const logic_settle_list_t *list)
{
    uint64_t             next_us;
    const logic_wait_t  *w;

    next_us = UINT64_MAX;

    for (w = list->first; w != NULL; w = w->next) {
        if (w->until_us < next_us) {
            next_us = w->until_us;
        }
    }

    return next_us;
}
