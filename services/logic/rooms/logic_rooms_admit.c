/*
 * logic_rooms_admit.c -- see logic_rooms_admit.h.
 *
 * A live room is full by the number of users that its instances report, and a
 * report comes up to a second after a join.  So a user who was admitted counts
 * at once, until reported; else all users of a crowd would find the last place
 * free.  A user who is never reported (the connection ended meanwhile) is
 * forgotten after ADMITTED_US.
 *
 * Any thread, under one lock.
 */

#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "im_core.h"
#include "im_hash.h"
#include "logic_rooms_admit.h"


#define ADMITTED_US   (5 * (uint64_t) 1000000)
#define ADMITTED_MAX  262144       /* further ones are not counted */


typedef struct admitted_user_s  admitted_user_t;

typedef struct {
    uint64_t         room;
    uint64_t         uid;
} admitted_key_t;

struct admitted_user_s {
    UT_hash_handle                 hh;
    admitted_key_t                 key;
    uint64_t                       until_us;
    TAILQ_ENTRY(admitted_user_s)   link;       /* by time */
};

typedef struct {
    UT_hash_handle   hh;
    uint64_t         room;
    uint64_t         n;
} admitted_room_t;


static void admitted_add(const admitted_key_t *key, admitted_room_t *r,
    uint64_t now_us);
static void admitted_end(admitted_user_t *u);


static pthread_mutex_t   admitted_lock = PTHREAD_MUTEX_INITIALIZER;
static admitted_user_t  *admitted_users;
static admitted_room_t  *admitted_rooms;
static TAILQ_HEAD(, admitted_user_s)  admitted_list =
    TAILQ_HEAD_INITIALIZER(admitted_list);


int
logic_rooms_admit(uint64_t room, uint64_t uid, uint64_t sum, uint64_t max,
    uint64_t now_us)
{
    int               rc;
    admitted_key_t    key = { .room = room, .uid = uid };
    admitted_room_t  *r;
    admitted_user_t  *u;

    rc = IM_OK;

    pthread_mutex_lock(&admitted_lock);

    while ((u = TAILQ_FIRST(&admitted_list)) != NULL && u->until_us < now_us) {
        admitted_end(u);
    }

    HASH_FIND(hh, admitted_users, &key, sizeof(key), u);
    HASH_FIND(hh, admitted_rooms, &room, sizeof(room), r);

    if (u != NULL) {
        goto done;                     /* has its place */
    }

    if (sum + (r != NULL ? r->n : 0) >= max) {
        rc = IM_BUSY;
        goto done;
    }

    if (HASH_COUNT(admitted_users) < ADMITTED_MAX) {
        admitted_add(&key, r, now_us);
    }

done:

    pthread_mutex_unlock(&admitted_lock);

    return rc;
}


/* Without memory it is not counted. */
static void
admitted_add(const admitted_key_t *key, admitted_room_t *r, uint64_t now_us)
{
    admitted_user_t  *u;

    u = calloc(1, sizeof(admitted_user_t));
    if (u == NULL) {
        return;
    }

    if (r == NULL) {
        r = calloc(1, sizeof(admitted_room_t));
        if (r == NULL) {
            free(u);
            return;
        }

        r->room = key->room;
        HASH_ADD(hh, admitted_rooms, room, sizeof(r->room), r);

        if (!im_hash_is_added(r)) {
            free(r);
            free(u);
            return;
        }
    }

    u->key = *key;
    u->until_us = now_us + ADMITTED_US;
    HASH_ADD(hh, admitted_users, key, sizeof(u->key), u);

    if (!im_hash_is_added(u)) {
        free(u);

        if (r->n == 0) {
            HASH_DEL(admitted_rooms, r);
            free(r);
        }

        return;
    }

    r->n++;
    TAILQ_INSERT_TAIL(&admitted_list, u, link);
}


static void
admitted_end(admitted_user_t *u)
{
    admitted_room_t  *r;

    HASH_FIND(hh, admitted_rooms, &u->key.room, sizeof(u->key.room), r);

    if (r != NULL && --r->n == 0) {
        HASH_DEL(admitted_rooms, r);
        free(r);
    }

    HASH_DEL(admitted_users, u);
    TAILQ_REMOVE(&admitted_list, u, link);
    free(u);
}


void
logic_rooms_admit_reported(uint64_t room, const uint64_t *uids, size_t n)
{
    size_t            i;
    admitted_key_t    key = { .room = room };
    admitted_user_t  *u;

    pthread_mutex_lock(&admitted_lock);

    for (i = 0; i < n && admitted_users != NULL; i++) {
        key.uid = uids[i];
        HASH_FIND(hh, admitted_users, &key, sizeof(key), u);

        if (u != NULL) {
            admitted_end(u);
        }
    }

    pthread_mutex_unlock(&admitted_lock);
}


void
logic_rooms_admit_clear(void)
{
    pthread_mutex_lock(&admitted_lock);

    while (!TAILQ_EMPTY(&admitted_list)) {
        admitted_end(TAILQ_FIRST(&admitted_list));
    }

    pthread_mutex_unlock(&admitted_lock);
}
