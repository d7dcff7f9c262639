/*
 * logic_rooms_let.c -- see logic_rooms_let.h.
 *
 * A live room is full by the number of users that its instances report, and a
 * report comes up to a second after a join.  So whoever is let in counts from
 * then on, until reported, or a crowd that comes at once would all find the
 * last place free.  Who is never reported (the connection ended meanwhile) is
 * forgotten after LET_US.
 *
 * Any thread, under one lock.
 */

#include <pthread.h>
#include <stdlib.h>

#include "im_core.h"
#include "im_hash.h"
#include "logic_rooms_let.h"


#define LET_US   (5 * (uint64_t) 1000000)
#define LET_MAX  262144            /* further ones are let in uncounted */


typedef struct let_user_s  let_user_t;

typedef struct {
    uint64_t         room;
    uint64_t         uid;
} let_key_t;

struct let_user_s {
    UT_hash_handle   hh;
    let_key_t        key;
    uint64_t         until_us;
    let_user_t      *prev;         /* by time */
    let_user_t      *next;
};

typedef struct {
    UT_hash_handle   hh;
    uint64_t         room;
    uint64_t         n;
} let_room_t;


static void let_add(const let_key_t *key, let_room_t *r, uint64_t now_us);
static void let_end(let_user_t *u);


static pthread_mutex_t   let_lock = PTHREAD_MUTEX_INITIALIZER;
static let_user_t       *let_users;
static let_user_t       *let_oldest;
static let_user_t       *let_newest;
static let_room_t       *let_rooms;


int
logic_rooms_let(uint64_t room, uint64_t uid, uint64_t sum, uint64_t max,
    uint64_t now_us)
{
    int          rc;
    let_key_t    key = { .room = room, .uid = uid };
    let_room_t  *r;
    let_user_t  *u;

    rc = IM_OK;

    pthread_mutex_lock(&let_lock);

    while (let_oldest != NULL && let_oldest->until_us < now_us) {
        let_end(let_oldest);
    }

    HASH_FIND(hh, let_users, &key, sizeof(key), u);
    HASH_FIND(hh, let_rooms, &room, sizeof(room), r);

    if (u != NULL) {
        goto done;                     /* has its place */
    }

    if (sum + (r != NULL ? r->n : 0) >= max) {
        rc = IM_BUSY;
        goto done;
    }

    if (HASH_COUNT(let_users) < LET_MAX) {
        let_add(&key, r, now_us);
    }

done:

    pthread_mutex_unlock(&let_lock);

    return rc;
}


/* Without memory it is not counted. */
static void
let_add(const let_key_t *key, let_room_t *r, uint64_t now_us)
{
    let_user_t  *u;

    u = calloc(1, sizeof(let_user_t));
    if (u == NULL) {
        return;
    }

    if (r == NULL) {
        r = calloc(1, sizeof(let_room_t));
        if (r == NULL) {
            free(u);
            return;
        }

        r->room = key->room;
        HASH_ADD(hh, let_rooms, room, sizeof(r->room), r);

        if (!im_hash_is_added(r)) {
            free(r);
            free(u);
            return;
        }
    }

    u->key = *key;
    u->until_us = now_us + LET_US;
    u->prev = let_newest;
    HASH_ADD(hh, let_users, key, sizeof(u->key), u);

    if (!im_hash_is_added(u)) {
        free(u);

        if (r->n == 0) {
            HASH_DEL(let_rooms, r);
            free(r);
        }

        return;
    }

    r->n++;

    if (let_newest != NULL) {
        let_newest->next = u;

    } else {
        let_oldest = u;
    }

    let_newest = u;
}


static void
let_end(let_user_t *u)
{
    let_room_t  *r;

    HASH_FIND(hh, let_rooms, &u->key.room, sizeof(u->key.room), r);

    if (r != NULL && --r->n == 0) {
        HASH_DEL(let_rooms, r);
        free(r);
    }

    HASH_DEL(let_users, u);

    if (u->prev != NULL) {
        u->prev->next = u->next;

    } else {
        let_oldest = u->next;
    }

    if (u->next != NULL) {
        u->next->prev = u->prev;

    } else {
        let_newest = u->prev;
    }

    free(u);
}


void
logic_rooms_let_reported(uint64_t room, const uint64_t *uids, size_t n)
{
    size_t       i;
    let_key_t    key = { .room = room };
    let_user_t  *u;

    pthread_mutex_lock(&let_lock);

    for (i = 0; i < n && let_users != NULL; i++) {
        key.uid = uids[i];
        HASH_FIND(hh, let_users, &key, sizeof(key), u);

        if (u != NULL) {
            let_end(u);
        }
    }

    pthread_mutex_unlock(&let_lock);
}


void
logic_rooms_let_clear(void)
{
    pthread_mutex_lock(&let_lock);

    while (let_oldest != NULL) {
        let_end(let_oldest);
    }

    pthread_mutex_unlock(&let_lock);
}
