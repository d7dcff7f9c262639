/*
 * logic_fate_queue.h -- numbers whose fate is not known yet, by what is to be
 * done next and when.
 *
 * Pure: time comes as an argument, the caller locks.
 */

#ifndef LOGIC_FATE_QUEUE_H
#define LOGIC_FATE_QUEUE_H

#include <sys/queue.h>

#include "logic_fence.h"
#include "logic_sequence.h"

#define LOGIC_FATE_PAUSE_MS      20      /* the first; then doubled */
#define LOGIC_FATE_PAUSE_MAX_MS  160

/* In the order in which they are gone through. */
typedef enum {
    LOGIC_FATE_FENCE = 0,      /* may be in the log: nothing may come behind */
    LOGIC_FATE_STORED,         /* is it in MySQL? */
    LOGIC_FATE_UNANSWERED,     /* was a number given at all? */
    LOGIC_FATE_RELEASE,        /* does somebody else hold it? */
    LOGIC_FATE_JUMP,           /* up to where is it void? */
    LOGIC_FATE_VOID,           /* to be written down */
    LOGIC_FATE_STATES
} logic_fate_e;

typedef struct logic_fate_s  logic_fate_t;

struct logic_fate_s {
    TAILQ_ENTRY(logic_fate_s) link;    /* of a state's list */
    uint64_t         due_us;
    unsigned         tries;        /* in this state */
    logic_seq_t      seq;
    uint64_t         to;           /* of a range from seq.seq; else seq.seq */
    uint64_t         mark;         /* of a jump: logic_memory.h */
    logic_fence_t    fence;
    uint64_t         turn;         /* when STORED: logic_fate_log.h */
    unsigned char    phase;        /* of logic_decided_enter() */
};

typedef TAILQ_HEAD(, logic_fate_s)  logic_fate_list_t;

typedef struct {
    logic_fate_list_t  lists[LOGIC_FATE_STATES];
    size_t             n;
    size_t             max;
} logic_fate_queue_t;

void logic_fate_queue_init(logic_fate_queue_t *q, size_t max);
/* IM_OK: f is the queue's, and due at once; IM_BUSY: it is full. */
int logic_fate_queue_add(logic_fate_queue_t *q, logic_fate_e state,
    logic_fate_t *f, uint64_t now_us);
/* Takes up to max of those that are due, oldest first.  Each is freed, or comes
 * back by one of the two below, whatever the limit. */
size_t logic_fate_queue_take(logic_fate_queue_t *q, logic_fate_e state,
    uint64_t now_us, logic_fate_t **out, size_t max);
void logic_fate_queue_next(logic_fate_queue_t *q, logic_fate_e state,
    logic_fate_t *f, uint64_t now_us);
/* In the same state, after a pause that grows. */
void logic_fate_queue_later(logic_fate_queue_t *q, logic_fate_e state,
    logic_fate_t *f, uint64_t now_us);
/* One that was taken is no more. */
void logic_fate_queue_done(logic_fate_queue_t *q, logic_fate_t *f);
/* When the first is due; UINT64_MAX: there is none. */
uint64_t logic_fate_queue_due(const logic_fate_queue_t *q);

#endif
