/*
 * im_watch.h -- what the subscribers of a topic were notified of last: whether
 * a user is online, or how many users are in a room.
 *
 * Notifications come from several Logics, answers to questions on another path,
 * and the order of their arrival means nothing.  Each carries a version, and a
 * value that is older than the last notified one is dropped.  The same value is
 * not notified again, unless a subscriber received another one meanwhile.
 *
 * One thread.
 */

#ifndef IM_WATCH_H
#define IM_WATCH_H

#include "im_core.h"

/* Zeroed at first. */
typedef struct {
    uint64_t    version;           /* of value; 0: older than any other */
    uint32_t    value;
    unsigned    known:1;           /* there is a value */
    unsigned    differs:1;         /* a subscriber may have another one */
} im_watch_t;

/* IM_OK: all subscribers are to be notified.  IM_DONE: they know it.
 * IM_DECLINED: it is older than what they know.  A version of 0 (the sender
 * knows of none) is never older. */
int im_watch_event(im_watch_t *w, uint64_t version, uint32_t value);

/* The notification was not sent after all. */
void im_watch_missed(im_watch_t *w);

/*
 * One subscriber is about to get this value as an answer.  IM_OK: the others
 * are to be notified of it.  IM_DONE: they know it.  IM_DECLINED: it is older
 * than what they know, and *value was set to that.
 */
int im_watch_answer(im_watch_t *w, uint64_t version, uint32_t *value);

/* The same for a value without a version.  IM_DONE: the others know the same.
 * IM_AGAIN: it is not known which value is right, and it must be requested. */
int im_watch_given(im_watch_t *w, uint32_t value);

/* Versions begin anew. */
void im_watch_reset(im_watch_t *w);

#endif
