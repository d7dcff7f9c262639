/*
 * logic_message.h -- one message on its way through Logic.
 */

#ifndef LOGIC_MESSAGE_H
#define LOGIC_MESSAGE_H

#include "im_hash.h"
#include "logic_reply.h"
#include "logic_sequence.h"

typedef struct logic_message_s  logic_message_t;

struct logic_message_s {
    logic_message_t  *next;        /* queue, batch */
    logic_message_t  *repeats;     /* the same field, waiting for our outcome */
    unsigned          repeats_n;
    logic_reply_t     reply;
    logic_seq_t       seq;
    uint64_t          from;
    uint64_t          to;          /* 0: to the room seq.conv.b */
    uint64_t          time_ms;
    uint64_t          queued_us;
    uint64_t          removals;    /* of the room, when it was accepted */
    uint64_t          stored;      /* of a repeat: msg_id of the row under its
                                      number, 0: none; logic_lookup_stored() */
    uint64_t          stored_seq;  /* and under which it was looked for */
    uint64_t          park_no;     /* logic_park.c; 0: has never waited */
    struct logic_question_s  *question;    /* what it waits for */
    unsigned          unanswered;  /* LOGIC_WANT_...: no answer */
    unsigned          answered;    /* questions */
    unsigned          dup:1;       /* the first try was before us */
    unsigned          tracked:1;   /* in the table of those in flight */
    unsigned          joined:1;    /* the connection is in the (live) room */
    unsigned          nobody:1;    /* answer: the recipient does not exist */
    unsigned          seeded:1;    /* answer: its conversation begins with 1 */
    const char       *denied;      /* code: it may pass as a repeat only */
    const char       *denied_text;
    uint64_t          numbered_us; /* when its number was asked for */
    unsigned char     phase;       /* of logic_decided_enter() */
    unsigned char     fence;       /* no message: logic_fence.h */
    unsigned char     key[16];     /* of the Kafka record */
    UT_hash_handle    hh;          /* by seq.field */
    char             *cmid;
    size_t            body_len;
    unsigned char    *body;        /* with cmid in this allocation */
};

/* A copy of all that is needed of a request; NULL if out of memory. */
logic_message_t *logic_message_create(const Im__Deliver *m);
void logic_message_free(logic_message_t *m);

#define LOGIC_MESSAGE_REPEATS  16  /* may wait for the outcome of one */

/* 1: to a room. */
#define logic_message_room(m)  ((m)->seq.conv.a == 0)

/* The Kafka record, malloc'ed. */
int logic_message_pack(const logic_message_t *m, im_str_t *out);

/*
 * Messages in flight by field.  track: IM_OK, m goes on; IM_BUSY, it was
 * chained to the first and is answered with it; IM_DECLINED, the first has
 * another body under the same cmid; IM_ERROR, too many are chained already.
 * Any thread.
 */
int logic_message_track(logic_message_t *m);
/* Takes m and its repeats out; the list of repeats is the caller's. */
logic_message_t *logic_message_untrack(logic_message_t *m);

#endif
