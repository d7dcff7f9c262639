/*
 * im_topics.c -- see im_topics.h.
 *
 *     subscriber --first--> membership --next--> membership ...
 *     topic --list[]------> membership --sub---> subscriber
 *
 * A worker may hold a million memberships, so one costs 24 bytes, 4 to 8 in the
 * dense list of its topic (what a fan-out walks) and 4 to 8 in a hash table by
 * (topic, user), which tells in one look whether a connection is in a room and
 * whether it is the first or last of its user there.  Small numbers stand for
 * pointers; memberships lie in chunks that never move.
 *
 * Both hash tables grow by linear hashing (Litwin 1980): each insertion splits
 * one bucket at most, so that no single join pays for all the others.
 *
 * Room: core.
 */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "im_topics.h"


#define TOPICS_CHUNK    1024           /* memberships allocated at a time */
#define TOPICS_BUCKETS  64             /* of a new hash table */
#define TOPICS_LIST     4              /* of a new topic */


typedef struct {
    im_subscriber_t   *sub;
    uint32_t           topic;
    uint32_t           next;           /* of the subscriber; or free */
    uint32_t           chain;          /* next in its bucket */
    uint32_t           index;          /* in the topic's list */
} topics_member_t;

_Static_assert(sizeof(topics_member_t) == 24, "a membership is 24 bytes");

typedef struct {
    im_topic_t        *topic;          /* NULL: free */
    uint32_t           next_free;
} topics_place_t;

typedef struct {
    uint32_t          *heads;
    uint32_t           cap;            /* a power of two, as buckets begin */
    uint32_t           buckets;
    uint32_t           count;
} topics_hash_t;

struct im_topics_s {
    im_topics_changed_pt   changed;
    void                  *ctx;

    topics_member_t      **chunks;
    uint32_t               chunks_n;
    uint32_t               free_member;    /* 0: none */
    topics_hash_t          by_user;        /* of memberships */

    topics_place_t        *places;         /* topics by number, from 1 */
    uint32_t               places_n;
    uint32_t               places_cap;
    uint32_t               free_place;     /* 0: none */
    topics_hash_t          by_id;          /* of topics */
};


static im_topic_t *topics_make(im_topics_t *t, unsigned kind, uint64_t id);
static int topics_number(im_topics_t *t, uint32_t *no);
static void topics_drop_if_unused(im_topics_t *t, im_topic_t *topic);
static int topics_reserve(im_topic_t *topic);
static void topics_remove(im_topics_t *t, im_topic_t *topic, uint32_t no);
static void topics_list_remove(im_topics_t *t, im_topic_t *topic,
    uint32_t index);
static void topics_compact(im_topics_t *t, im_topic_t *topic);
static uint32_t topics_find_member(im_topics_t *t, const im_topic_t *topic,
    const im_subscriber_t *sub);
static uint32_t topics_take_member(im_topics_t *t);
static int topics_hash_init(topics_hash_t *h);
static uint32_t topics_bucket(const topics_hash_t *h, uint64_t hash);
static int topics_may_split(topics_hash_t *h);
static void topics_put_member(im_topics_t *t, uint32_t no);
static void topics_put_topic(im_topics_t *t, im_topic_t *topic);
static uint64_t topics_mix(uint64_t x);


static inline topics_member_t *
topics_member(im_topics_t *t, uint32_t no)
{
    return &t->chunks[no / TOPICS_CHUNK][no % TOPICS_CHUNK];
}


static inline uint64_t
topics_hash_user(uint32_t topic, uint64_t uid)
{
    return topics_mix(topics_mix(topic) + uid);
}


static inline uint64_t
topics_hash_id(unsigned kind, uint64_t id)
{
    return topics_mix(topics_mix(kind) + id);
}


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
    t->places_n = 1;                   /* 0 is nobody's */

    if (topics_hash_init(&t->by_user) != IM_OK
        || topics_hash_init(&t->by_id) != IM_OK)
    {
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

    for (i = 0; i < t->chunks_n; i++) {
        free(t->chunks[i]);
    }

    free(t->chunks);
    free(t->places);
    free(t->by_user.heads);
    free(t->by_id.heads);
    free(t);
}


im_topic_t *
im_topics_find(im_topics_t *t, unsigned kind, uint64_t id)
{
    uint32_t     no;
    im_topic_t  *topic;

    no = t->by_id.heads[topics_bucket(&t->by_id, topics_hash_id(kind, id))];

    while (no != 0) {
        topic = t->places[no].topic;

        if (topic->id == id && topic->kind == kind) {
            return topic;
        }

        no = topic->chain;
    }

    return NULL;
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
         ? topics_take_member(t) : 0;

    if (no == 0) {
        topics_drop_if_unused(t, tp);
        return IM_ERROR;
    }

    came = !im_topics_has_user(t, tp, sub->uid);

    m = topics_member(t, no);
    m->sub = sub;
    m->topic = tp->no;
    m->next = sub->first;
    m->index = tp->len;

    sub->first = no;
    sub->n[kind]++;
    tp->list[tp->len++] = no;
    tp->members++;
    tp->users += came;
    topics_put_member(t, no);

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

    if (topics_number(t, &topic->no) != IM_OK) {
        free(topic);
        return NULL;
    }

    topic->kind = (uint8_t) kind;
    topic->id = id;
    t->places[topic->no].topic = topic;

    topics_put_topic(t, topic);

    return topic;
}


static int
topics_number(im_topics_t *t, uint32_t *no)
{
    uint32_t         cap;
    topics_place_t  *places;

    if (t->free_place != 0) {
        *no = t->free_place;
        t->free_place = t->places[*no].next_free;
        return IM_OK;
    }

    if (t->places_n >= t->places_cap) {
        cap = t->places_cap ? t->places_cap * 2 : TOPICS_BUCKETS;
        places = realloc(t->places, cap * sizeof(topics_place_t));

        if (places == NULL) {
            return IM_ERROR;
        }

        t->places = places;
        t->places_cap = cap;
    }

    *no = t->places_n++;

    return IM_OK;
}


static void
topics_drop_if_unused(im_topics_t *t, im_topic_t *topic)
{
    uint32_t  *p;

    if (topic->members != 0 || topic->pins != 0) {
        return;
    }

    p = &t->by_id.heads[topics_bucket(&t->by_id,
                                      topics_hash_id(topic->kind,
                                                     topic->id))];

    while (*p != topic->no) {
        p = &t->places[*p].topic->chain;
    }

    *p = topic->chain;
    t->by_id.count--;

    t->places[topic->no].topic = NULL;
    t->places[topic->no].next_free = t->free_place;
    t->free_place = topic->no;

    free(topic->list);
    free(topic);
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

    for (p = &sub->first; *p != no; p = &topics_member(t, *p)->next) {
        /* find who points at it */
    }

    *p = topics_member(t, no)->next;
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
        m = topics_member(t, no);
        sub->first = m->next;
        topics_remove(t, t->places[m->topic].topic, no);
    }
}


/* The subscriber's own list is the caller's business. */
static void
topics_remove(im_topics_t *t, im_topic_t *topic, uint32_t no)
{
    int               went;
    uint32_t         *p;
    uint64_t          uid;
    topics_member_t  *m;

    m = topics_member(t, no);
    uid = m->sub->uid;

    p = &t->by_user.heads[topics_bucket(&t->by_user,
                                        topics_hash_user(topic->no, uid))];

    while (*p != no) {
        p = &topics_member(t, *p)->chain;
    }

    *p = m->chain;
    t->by_user.count--;

    topics_list_remove(t, topic, m->index);
    topic->members--;
    m->sub->n[topic->kind]--;

    m->sub = NULL;
    m->next = t->free_member;
    t->free_member = no;

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
        topics_member(t, last)->index = index;
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
            topics_member(t, topic->list[n])->index = n;
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

    no = t->by_user.heads[topics_bucket(&t->by_user,
                                        topics_hash_user(topic->no,
                                                         sub->uid))];

    for ( /* void */ ; no != 0; no = m->chain) {
        m = topics_member(t, no);

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

    no = t->by_user.heads[topics_bucket(&t->by_user,
                                        topics_hash_user(topic->no, uid))];

    for ( /* void */ ; no != 0; no = m->chain) {
        m = topics_member(t, no);

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

    m = topics_member(t, *at);
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
    return (topic->list[i] != 0) ? topics_member(t, topic->list[i])->sub
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


/* 0: out of memory.  Chunks stay: what was needed once is needed again. */
static uint32_t
topics_take_member(im_topics_t *t)
{
    uint32_t           i, no;
    topics_member_t   *m, **chunks;

    if (t->free_member == 0) {
        chunks = realloc(t->chunks, (t->chunks_n + 1) * sizeof(*chunks));
        if (chunks == NULL) {
            return 0;
        }

        t->chunks = chunks;

        m = malloc(TOPICS_CHUNK * sizeof(topics_member_t));
        if (m == NULL) {
            return 0;
        }

        chunks[t->chunks_n] = m;

        for (i = TOPICS_CHUNK; i-- > 0; /* void */ ) {
            no = t->chunks_n * TOPICS_CHUNK + i;

            if (no != 0) {             /* which is nobody's */
                m[i].sub = NULL;
                m[i].next = t->free_member;
                t->free_member = no;
            }
        }

        t->chunks_n++;
    }

    no = t->free_member;
    t->free_member = topics_member(t, no)->next;

    return no;
}


static int
topics_hash_init(topics_hash_t *h)
{
    h->heads = calloc(TOPICS_BUCKETS, sizeof(uint32_t));
    h->cap = TOPICS_BUCKETS;
    h->buckets = TOPICS_BUCKETS;

    return (h->heads != NULL) ? IM_OK : IM_ERROR;
}


/*
 * Of cap / 2 < buckets <= cap: those from cap / 2 on were split off the ones
 * cap / 2 below them; what belongs to one that is not there yet is there still.
 */
static uint32_t
topics_bucket(const topics_hash_t *h, uint64_t hash)
{
    uint32_t  b;

    b = (uint32_t) (hash >> 32) & (h->cap - 1);

    return (b < h->buckets) ? b : b - h->cap / 2;
}


/* One more bucket, empty, if it is time for it and there is memory. */
static int
topics_may_split(topics_hash_t *h)
{
    uint32_t  *heads;

    if (++h->count <= h->buckets) {
        return 0;
    }

    if (h->buckets == h->cap) {
        heads = realloc(h->heads, 2 * (size_t) h->cap * sizeof(uint32_t));
        if (heads == NULL) {
            return 0;
        }

        h->heads = heads;
        h->cap *= 2;
    }

    h->heads[h->buckets++] = 0;

    return 1;
}


static void
topics_put_member(im_topics_t *t, uint32_t no)
{
    uint32_t          old, i, next, b;
    topics_hash_t    *h;
    topics_member_t  *m;

    h = &t->by_user;

    if (topics_may_split(h)) {
        old = h->buckets - 1 - h->cap / 2;
        i = h->heads[old];
        h->heads[old] = 0;

        for ( /* void */ ; i != 0; i = next) {
            m = topics_member(t, i);
            next = m->chain;
            b = topics_bucket(h, topics_hash_user(m->topic, m->sub->uid));
            m->chain = h->heads[b];
            h->heads[b] = i;
        }
    }

    m = topics_member(t, no);
    b = topics_bucket(h, topics_hash_user(m->topic, m->sub->uid));
    m->chain = h->heads[b];
    h->heads[b] = no;
}


static void
topics_put_topic(im_topics_t *t, im_topic_t *topic)
{
    uint32_t        old, i, next, b;
    im_topic_t     *tp;
    topics_hash_t  *h;

    h = &t->by_id;

    if (topics_may_split(h)) {
        old = h->buckets - 1 - h->cap / 2;
        i = h->heads[old];
        h->heads[old] = 0;

        for ( /* void */ ; i != 0; i = next) {
            tp = t->places[i].topic;
            next = tp->chain;
            b = topics_bucket(h, topics_hash_id(tp->kind, tp->id));
            tp->chain = h->heads[b];
            h->heads[b] = i;
        }
    }

    b = topics_bucket(h, topics_hash_id(topic->kind, topic->id));
    topic->chain = h->heads[b];
    h->heads[b] = topic->no;
}


/* The finalizer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t
topics_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;

    return x ^ (x >> 31);
}
