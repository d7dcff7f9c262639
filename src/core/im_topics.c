/*
 * im_topics.c -- see im_topics.h.
 *
 *     subscriber --first--> membership --next--> membership ...
 *     topic --list[]------> membership --sub---> subscriber
 *
 * A worker may hold a million memberships.  One costs 24 bytes, 4 to 8 in the
 * dense list of its topic (what a fan-out walks) and 4 to 8 in a hash table by
 * (topic, user), which tells in one look whether a connection is in a room and
 * whether it is the first or last of its user there (im_topics_tables.c): 33 to
 * 35 bytes in all, measured with a million.
 *
 * A membership that ends in a walk leaves a hole in the list, so that nobody
 * moves under the walker's feet; the end of the walk closes the holes.
 *
 * Room: core.
 */

#include <assert.h>
#include <stdlib.h>

#include "im_topics_int.h"


#define TOPICS_LIST  4                 /* of a new topic */


static im_topic_t *topics_make(im_topics_t *t, unsigned kind, uint64_t id);
static void topics_drop_if_unused(im_topics_t *t, im_topic_t *topic);
static int topics_reserve(im_topic_t *topic);
static void topics_remove(im_topics_t *t, im_topic_t *topic, uint32_t no);
static void topics_list_remove(im_topics_t *t, im_topic_t *topic,
    uint32_t index);
static void topics_compact(im_topics_t *t, im_topic_t *topic);
static uint32_t topics_find_member(im_topics_t *t, const im_topic_t *topic,
    const im_subscriber_t *sub);


im_topics_t *
im_topics_create(im_topics_changed_pt changed, void *ctx)
{
    im_topics_t  *t;

    t = calloc(1, sizeof(im_topics_t));
    if (t == NULL) {
        return NULL;
    }

    t->changed = changed;
    t->ctx = ctx;
    if (im_topics_tables_init(t) != IM_OK) {
        im_topics_destroy(t);
        return NULL;
    }

    return t;
}


void
im_topics_destroy(im_topics_t *t)
{
    uint32_t  i;

    if (t == NULL) {
        return;
    }

    for (i = 1; i < t->places_n; i++) {
        if (t->places[i].topic != NULL) {
            free(t->places[i].topic->list);
            free(t->places[i].topic);
        }
    }

    im_topics_tables_free(t);
    free(t);
}


int
im_topics_join(im_topics_t *t, unsigned kind, uint64_t id,
    im_subscriber_t *sub, im_topic_t **topic)
{
    int               came;
    uint32_t          no;
    im_topic_t       *tp;
    topics_member_t  *m;

    tp = im_topics_find(t, kind, id);

    if (tp != NULL && im_topics_is_in(t, tp, sub)) {
        *topic = tp;
        return IM_DONE;
    }

    if (tp == NULL) {
        tp = topics_make(t, kind, id);
    }

    if (tp == NULL) {
        return IM_ERROR;
    }

    no = (sub->n[kind] < IM_SUBSCRIBER_MAX && topics_reserve(tp) == IM_OK)
         ? im_topics_take_member(t) : 0;

    if (no == 0) {
        topics_drop_if_unused(t, tp);
        return IM_ERROR;
    }

    came = !im_topics_has_user(t, tp, sub->uid);

    m = im_topics_member(t, no);
    m->sub = sub;
    m->topic = tp->no;
    m->next = sub->first;
    m->index = tp->len;

    sub->first = no;
    sub->n[kind]++;
    tp->list[tp->len++] = no;
    tp->members++;
    tp->users += came;
    im_topics_put_member(t, no);

    *topic = tp;

    if (came && t->changed != NULL) {
        t->changed(t->ctx, tp, sub->uid);
    }

    return IM_OK;
}


static im_topic_t *
topics_make(im_topics_t *t, unsigned kind, uint64_t id)
{
    im_topic_t  *topic;

    topic = calloc(1, sizeof(im_topic_t));
    if (topic == NULL) {
        return NULL;
    }

    if (im_topics_number(t, &topic->no) != IM_OK) {
        free(topic);
        return NULL;
    }

    topic->kind = (uint8_t) kind;
    topic->id = id;
    t->places[topic->no].topic = topic;

    im_topics_put_topic(t, topic);

    return topic;
}


static void
topics_drop_if_unused(im_topics_t *t, im_topic_t *topic)
{
    if (topic->members == 0 && topic->pins == 0) {
        im_topics_drop_topic(t, topic);
        free(topic->list);
        free(topic);
    }
}


static int
topics_reserve(im_topic_t *topic)
{
    uint32_t   cap;
    uint32_t  *list;

    if (topic->len < topic->cap) {
        return IM_OK;
    }

    cap = topic->cap ? topic->cap * 2 : TOPICS_LIST;
    list = realloc(topic->list, cap * sizeof(uint32_t));

    if (list == NULL) {
        return IM_ERROR;
    }

    topic->list = list;
    topic->cap = cap;

    return IM_OK;
}


int
im_topics_leave(im_topics_t *t, im_topic_t *topic, im_subscriber_t *sub)
{
    uint32_t   no;
    uint32_t  *p;

    no = topics_find_member(t, topic, sub);

    if (no == 0) {
        return IM_DECLINED;
    }

    for (p = &sub->first; *p != no; p = &im_topics_member(t, *p)->next) {
        /* find who points at it */
    }

    *p = im_topics_member(t, no)->next;
    topics_remove(t, topic, no);

    return IM_OK;
}


void
im_topics_leave_all(im_topics_t *t, im_subscriber_t *sub)
{
    uint32_t          no;
    topics_member_t  *m;

    while (sub->first != 0) {
        no = sub->first;
        m = im_topics_member(t, no);
        sub->first = m->next;
        topics_remove(t, t->places[m->topic].topic, no);
    }
}


/* The subscriber's own list is the caller's business. */
static void
topics_remove(im_topics_t *t, im_topic_t *topic, uint32_t no)
{
    int               went;
    uint64_t          uid;
    topics_member_t  *m;

    m = im_topics_member(t, no);
    uid = m->sub->uid;

    topics_list_remove(t, topic, m->index);
    topic->members--;
    m->sub->n[topic->kind]--;

    im_topics_drop_member(t, no);

    went = !im_topics_has_user(t, topic, uid);
    topic->users -= went;

    if (went && t->changed != NULL) {
        topic->pins++;
        t->changed(t->ctx, topic, uid);
        topic->pins--;
    }

    topics_drop_if_unused(t, topic);
}


static void
topics_list_remove(im_topics_t *t, im_topic_t *topic, uint32_t index)
{
    uint32_t  last;

    if (topic->walks != 0) {
        topic->list[index] = 0;
        return;
    }

    last = topic->list[--topic->len];

    if (index != topic->len) {
        topic->list[index] = last;
        im_topics_member(t, last)->index = index;
    }
}


/* After a walk: without holes, and not much larger than it must be. */
static void
topics_compact(im_topics_t *t, im_topic_t *topic)
{
    uint32_t   i, n, cap;
    uint32_t  *list;

    n = 0;

    for (i = 0; i < topic->len && n < topic->members; i++) {
        if (topic->list[i] != 0) {
            topic->list[n] = topic->list[i];
            im_topics_member(t, topic->list[n])->index = n;
            n++;
        }
    }

    topic->len = n;
    assert(n == topic->members);

    for (cap = topic->cap; cap > TOPICS_LIST && n < cap / 4; cap /= 2) {
        /* half, and half again */
    }

    if (cap < topic->cap) {
        list = realloc(topic->list, cap * sizeof(uint32_t));

        if (list != NULL) {
            topic->list = list;
            topic->cap = cap;
        }
    }
}


int
im_topics_is_in(im_topics_t *t, const im_topic_t *topic,
    const im_subscriber_t *sub)
{
    return topics_find_member(t, topic, sub) != 0;
}


static uint32_t
topics_find_member(im_topics_t *t, const im_topic_t *topic,
    const im_subscriber_t *sub)
{
    uint32_t          no;
    topics_member_t  *m;

    no = im_topics_user_head(t, topic->no, sub->uid);

    for ( /* void */ ; no != 0; no = m->chain) {
        m = im_topics_member(t, no);

        if (m->sub == sub && m->topic == topic->no) {
            return no;
        }
    }

    return 0;
}


int
im_topics_has_user(im_topics_t *t, const im_topic_t *topic, uint64_t uid)
{
    uint32_t          no;
    topics_member_t  *m;

    no = im_topics_user_head(t, topic->no, uid);

    for ( /* void */ ; no != 0; no = m->chain) {
        m = im_topics_member(t, no);

        if (m->topic == topic->no && m->sub->uid == uid) {
            return 1;
        }
    }

    return 0;
}


im_topic_t *
im_topics_next(im_topics_t *t, uint32_t *at)
{
    topics_member_t  *m;

    if (*at == 0) {
        return NULL;
    }

    m = im_topics_member(t, *at);
    *at = m->next;

    return t->places[m->topic].topic;
}


im_topic_t *
im_topics_each(im_topics_t *t, uint32_t *no)
{
    while (++*no < t->places_n) {
        if (t->places[*no].topic != NULL) {
            return t->places[*no].topic;
        }
    }

    return NULL;
}


void
im_topics_pin(im_topic_t *topic)
{
    topic->pins++;
}


void
im_topics_unpin(im_topics_t *t, im_topic_t *topic)
{
    assert(topic->pins > 0);

    topic->pins--;
    topics_drop_if_unused(t, topic);
}


uint32_t
im_topics_walk_begin(im_topic_t *topic)
{
    topic->walks++;
    topic->pins++;

    return topic->len;
}


im_subscriber_t *
im_topics_at(im_topics_t *t, const im_topic_t *topic, uint32_t i)
{
    return (topic->list[i] != 0) ? im_topics_member(t, topic->list[i])->sub
                                 : NULL;
}


void
im_topics_walk_end(im_topics_t *t, im_topic_t *topic)
{
    assert(topic->walks > 0);

    if (--topic->walks == 0) {
        topics_compact(t, topic);
    }

    im_topics_unpin(t, topic);
}
