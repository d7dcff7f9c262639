/*
 * im_topics_tables.c -- where topics and memberships are found.
 *
 * Small numbers stand for pointers: a topic's is its place in one array, which
 * only grows; a membership's names its chunk, and chunks never move.
 *
 * Both hash tables, of topics by (kind, id) and of memberships by (topic,
 * user), grow by linear hashing (Litwin 1980): each insertion splits one bucket
 * at most, so that no single join pays for all the others.
 *
 * Room: core.
 */

#include <stdlib.h>
#include <string.h>

#include "im_topics_int.h"


#define TABLES_MIN  64                 /* of a new table */


static int tables_hash_init(topics_hash_t *h);
static uint64_t tables_hash_id(unsigned kind, uint64_t id);
static uint64_t tables_hash_user(uint32_t topic, uint64_t uid);
static uint32_t tables_bucket(const topics_hash_t *h, uint64_t hash);
static int tables_may_split(topics_hash_t *h);
static uint64_t tables_mix(uint64_t x);


int
im_topics_tables_init(im_topics_t *t)
{
    t->places_n = 1;                   /* 0 is nobody's */

    return (tables_hash_init(&t->by_user) == IM_OK
            && tables_hash_init(&t->by_id) == IM_OK) ? IM_OK : IM_ERROR;
}


static uint64_t
tables_hash_id(unsigned kind, uint64_t id)
{
    return tables_mix(tables_mix(kind) + id);
}


static uint64_t
tables_hash_user(uint32_t topic, uint64_t uid)
{
    return tables_mix(tables_mix(topic) + uid);
}


im_topic_t *
im_topics_find(im_topics_t *t, unsigned kind, uint64_t id)
{
    uint32_t     no;
    im_topic_t  *topic;

    no = t->by_id.heads[tables_bucket(&t->by_id, tables_hash_id(kind, id))];

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
im_topics_number(im_topics_t *t, uint32_t *no)
{
    uint32_t         cap;
    topics_place_t  *places;

    if (t->free_place != 0) {
        *no = t->free_place;
        t->free_place = t->places[*no].next_free;
        return IM_OK;
    }

    if (t->places_n >= t->places_cap) {
        cap = t->places_cap ? t->places_cap * 2 : TABLES_MIN;
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


void
im_topics_put_topic(im_topics_t *t, im_topic_t *topic)
{
    uint32_t        old, i, next, b;
    im_topic_t     *tp;
    topics_hash_t  *h;

    h = &t->by_id;

    if (tables_may_split(h)) {
        old = h->buckets - 1 - h->cap / 2;
        i = h->heads[old];
        h->heads[old] = 0;

        for ( /* void */ ; i != 0; i = next) {
            tp = t->places[i].topic;
            next = tp->chain;
            b = tables_bucket(h, tables_hash_id(tp->kind, tp->id));
            tp->chain = h->heads[b];
            h->heads[b] = i;
        }
    }

    b = tables_bucket(h, tables_hash_id(topic->kind, topic->id));
    topic->chain = h->heads[b];
    h->heads[b] = topic->no;
}


void
im_topics_drop_topic(im_topics_t *t, im_topic_t *topic)
{
    uint32_t  *p;

    p = &t->by_id.heads[tables_bucket(&t->by_id,
                                      tables_hash_id(topic->kind,
                                                     topic->id))];

    while (*p != topic->no) {
        p = &t->places[*p].topic->chain;
    }

    *p = topic->chain;
    t->by_id.count--;

    t->places[topic->no].topic = NULL;
    t->places[topic->no].next_free = t->free_place;
    t->free_place = topic->no;
}


/* 0: out of memory.  Chunks stay: what was needed once is needed again. */
uint32_t
im_topics_take_member(im_topics_t *t)
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
    t->free_member = im_topics_member(t, no)->next;

    return no;
}


void
im_topics_put_member(im_topics_t *t, uint32_t no)
{
    uint32_t          old, i, next, b;
    topics_hash_t    *h;
    topics_member_t  *m;

    h = &t->by_user;

    if (tables_may_split(h)) {
        old = h->buckets - 1 - h->cap / 2;
        i = h->heads[old];
        h->heads[old] = 0;

        for ( /* void */ ; i != 0; i = next) {
            m = im_topics_member(t, i);
            next = m->chain;
            b = tables_bucket(h, tables_hash_user(m->topic, m->sub->uid));
            m->chain = h->heads[b];
            h->heads[b] = i;
        }
    }

    m = im_topics_member(t, no);
    b = tables_bucket(h, tables_hash_user(m->topic, m->sub->uid));
    m->chain = h->heads[b];
    h->heads[b] = no;
}


void
im_topics_drop_member(im_topics_t *t, uint32_t no)
{
    uint32_t         *p;
    topics_member_t  *m;

    m = im_topics_member(t, no);
    p = &t->by_user.heads[tables_bucket(&t->by_user,
                                        tables_hash_user(m->topic,
                                                         m->sub->uid))];

    while (*p != no) {
        p = &im_topics_member(t, *p)->chain;
    }

    *p = m->chain;
    t->by_user.count--;

    m->sub = NULL;
    m->next = t->free_member;
    t->free_member = no;
}


uint32_t
im_topics_user_head(im_topics_t *t, uint32_t topic, uint64_t uid)
{
    return t->by_user.heads[tables_bucket(&t->by_user,
                                          tables_hash_user(topic, uid))];
}


/*
 * Of cap / 2 < buckets <= cap: those from cap / 2 on were split off the ones
 * cap / 2 below them; what belongs to one that is not there yet is there still.
 */
static uint32_t
tables_bucket(const topics_hash_t *h, uint64_t hash)
{
    uint32_t  b;

    b = (uint32_t) (hash >> 32) & (h->cap - 1);

    return (b < h->buckets) ? b : b - h->cap / 2;
}


/* One more bucket, empty, if it is time for it and there is memory. */
static int
tables_may_split(topics_hash_t *h)
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


static int
tables_hash_init(topics_hash_t *h)
{
    h->heads = calloc(TABLES_MIN, sizeof(uint32_t));
    h->cap = TABLES_MIN;
    h->buckets = TABLES_MIN;

    return (h->heads != NULL) ? IM_OK : IM_ERROR;
}


void
im_topics_tables_free(im_topics_t *t)
{
    uint32_t  i;

    for (i = 0; i < t->chunks_n; i++) {
        free(t->chunks[i]);
    }

    free(t->chunks);
    free(t->places);
    free(t->by_user.heads);
    free(t->by_id.heads);
}


/* The finalizer of splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t
tables_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;

    return x ^ (x >> 31);
}
