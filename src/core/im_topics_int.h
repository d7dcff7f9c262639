/*
 * im_topics_int.h -- between the files of im_topics.
 */

#ifndef IM_TOPICS_INT_H
#define IM_TOPICS_INT_H

#include "im_topics.h"


#define TOPICS_CHUNK    1024           /* memberships allocated at a time */

typedef struct {
    im_subscriber_t   *sub;
    uint32_t           topic;          /* its number */
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


static inline topics_member_t *
im_topics_member(im_topics_t *t, uint32_t no)
{
    return &t->chunks[no / TOPICS_CHUNK][no % TOPICS_CHUNK];
}


/* im_topics_tables.c */
int im_topics_tables_init(im_topics_t *t);
void im_topics_tables_free(im_topics_t *t);
/* A number for a topic; it is taken by im_topics_put_topic. */
int im_topics_number(im_topics_t *t, uint32_t *no);
void im_topics_put_topic(im_topics_t *t, im_topic_t *topic);
void im_topics_drop_topic(im_topics_t *t, im_topic_t *topic);
/* 0: out of memory. */
uint32_t im_topics_take_member(im_topics_t *t);
/* Its topic and sub are set. */
void im_topics_put_member(im_topics_t *t, uint32_t no);
void im_topics_drop_member(im_topics_t *t, uint32_t no);
/* The first of a chain in which all memberships of a user in a topic are. */
uint32_t im_topics_user_head(im_topics_t *t, uint32_t topic, uint64_t uid);

#endif
