/*
 * im_topics.h -- subscriptions of connections: rooms, and presence of users.
 *
 * A topic is (kind, id).  A subscriber is a part of a connection; the same
 * connection is in a topic once.  A topic has members (connections) and
 * users (each with one or several of them).  It lives while it has members or
 * is pinned.
 *
 * One thread.
 */

#ifndef IM_TOPICS_H
#define IM_TOPICS_H

#include "im_core.h"
#include "im_watch.h"

#define IM_TOPIC_ROOM      0
#define IM_TOPIC_PRESENCE  1
#define IM_TOPIC_KINDS     2

typedef struct im_topics_s  im_topics_t;

/* Zeroed, then uid is set; it may not change while there are memberships. */
typedef struct {
    uint64_t       uid;
    uint32_t       first;          /* its memberships; 0: none */
    uint16_t       n[IM_TOPIC_KINDS];
} im_subscriber_t;

#define IM_SUBSCRIBER_MAX  UINT16_MAX  /* topics of a kind */

typedef struct {
    uint64_t       id;
    void          *data;           /* the owner's; not freed here */
    im_watch_t     watch;          /* the owner's; zeroed at first */
    uint32_t      *list;           /* members; 0: a hole, left in a walk */
    uint32_t       len;            /* of list, holes included */
    uint32_t       cap;
    uint32_t       members;
    uint32_t       users;
    uint32_t       no;             /* of this topic */
    uint32_t       chain;          /* next in its bucket */
    uint16_t       walks;          /* under way */
    uint16_t       pins;
    uint8_t        kind;
} im_topic_t;

/* A user's first connection joined, or the last one left. */
typedef void (*im_topics_changed_pt)(void *ctx, im_topic_t *topic,
    uint64_t uid);

/* NULL: out of memory. */
im_topics_t *im_topics_create(im_topics_changed_pt changed, void *ctx);
void im_topics_destroy(im_topics_t *t);

im_topic_t *im_topics_find(im_topics_t *t, unsigned kind, uint64_t id);

/* IM_OK, IM_DONE: was in already; *topic is set then.  IM_ERROR: out of
 * memory, or IM_SUBSCRIBER_MAX; nothing has changed. */
int im_topics_join(im_topics_t *t, unsigned kind, uint64_t id,
    im_subscriber_t *sub, im_topic_t **topic);
/* IM_OK, or IM_DECLINED: is not in.  The topic may be freed by it. */
int im_topics_leave(im_topics_t *t, im_topic_t *topic, im_subscriber_t *sub);
void im_topics_leave_all(im_topics_t *t, im_subscriber_t *sub);

int im_topics_is_in(im_topics_t *t, const im_topic_t *topic,
    const im_subscriber_t *sub);
int im_topics_has_user(im_topics_t *t, const im_topic_t *topic, uint64_t uid);

/* The topics of a subscriber, one by one: *at is sub->first to begin.  The one
 * that is returned may be left.  NULL: no more. */
im_topic_t *im_topics_next(im_topics_t *t, uint32_t *at);
/* All topics, by number: *no is 0 to begin; any may be freed meanwhile. */
im_topic_t *im_topics_each(im_topics_t *t, uint32_t *no);

void im_topics_pin(im_topic_t *topic);
void im_topics_unpin(im_topics_t *t, im_topic_t *topic);

/*
 * A walk, which may take many turns: all from 0 to the end that begin returns,
 * with at() NULL for a hole.  A member that is in the topic all the time is
 * visited exactly once; one that joins meanwhile is behind the end.  The topic
 * is pinned.
 */
uint32_t im_topics_walk_begin(im_topic_t *topic);
im_subscriber_t *im_topics_at(im_topics_t *t, const im_topic_t *topic,
    uint32_t i);
void im_topics_walk_end(im_topics_t *t, im_topic_t *topic);

#endif
