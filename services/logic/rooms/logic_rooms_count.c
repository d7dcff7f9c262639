/*
 * logic_rooms_count.c -- the members of a room are notified when the number of
 * users in it has changed.
 *
 *             report                        due
 *   quiet ------------------> dirty ----------------> counted --> quiet
 *     ^   an instance died      |  20 ms later, and      |
 *     |                         |  a second after the    | another number, or
 *     |                         |  last event at least   | a report has asked
 *     |                         |                        v
 *     +-------------------------+----------------- event to all instances
 *
 * Reports of a room come to its owner, so only the owner counts.  In a large
 * room every event costs a frame for each user: above 10,000 users the second
 * grows with the room.
 *
 * An event carries a version that was raised before the count was read.  If two
 * Logics both act as the owner, or a count is late, the larger version is the
 * newer count.  A worker drops an older one, and one that its members know
 * already (core/im_watch.h).  This Logic knows only what it sent itself:
 * another one may have sent another count since, an event may be lost, an
 * answer to a join may have an older number.  So a worker whose members may not
 * know the count asks for it in a report, and then it is sent, whatever was
 * sent before.
 *
 * A room is remembered while somebody is in it: when an instance dies, no
 * report says that its users are gone, so all rooms are counted again.
 *
 * The thread of logic_rooms_online.c.
 */

#include <stdlib.h>

#include "im_clock.h"
#include "im_hash.h"
#include "logic_args.h"
#include "logic_presence_state.h"
#include "logic_rooms_count.h"
#include "logic_rooms_routes.h"
#include "logic_workers.h"


#define COUNT_ASK         32       /* rooms in one pipeline */
#define COUNT_SOON_US     20000
#define COUNT_SECOND_US   1000000
#define COUNT_LARGE       10000    /* users; from here on slower */
#define COUNT_EXACT_MAX   20000
#define COUNT_ROOMS_MAX   262144   /* remembered; no other is notified */
#define COUNT_RETRIES     5        /* of an event for which a link is missing */
#define COUNT_UNTOLD      UINT64_MAX


typedef struct count_room_s  count_room_t;

struct count_room_s {
    UT_hash_handle   hh;
    uint64_t         room;
    uint64_t         told;         /* users, of the last event */
    uint64_t         last_us;      /* when it was sent */
    uint64_t         due_us;       /* of a dirty one */
    count_room_t    *next;         /* dirty ones */
    unsigned         dirty:1;
    unsigned         asked:1;      /* by a report: sent in any case */
    unsigned         tries:8;
};


static void count_queue(count_room_t *r);
static uint64_t count_interval(uint64_t online);
static size_t count_due(count_room_t **due, uint64_t now);
static int count_ask(im_redis_t *redis, count_room_t **due, size_t n);
static void count_tell(count_room_t *r, const logic_rooms_routes_t *routes,
    uint64_t online, uint64_t version, uint64_t now);


static count_room_t         *count_rooms;
static count_room_t         *count_dirty;
static logic_rooms_routes_t  *count_where;      /* COUNT_ASK */


int
logic_rooms_count_start(void)
{
    count_where = calloc(COUNT_ASK, sizeof(logic_rooms_routes_t));

    return (count_where != NULL) ? IM_OK : IM_ERROR;
}


void
logic_rooms_count_dirty(uint64_t room, unsigned ask)
{
    count_room_t  *r;

    HASH_FIND(hh, count_rooms, &room, sizeof(room), r);

    if (r == NULL) {

        if (HASH_COUNT(count_rooms) >= COUNT_ROOMS_MAX) {
            return;
        }

        r = calloc(1, sizeof(count_room_t));
        if (r == NULL) {
            return;
        }

        r->room = room;
        r->told = COUNT_UNTOLD;
        HASH_ADD(hh, count_rooms, room, sizeof(r->room), r);

        if (!im_hash_is_added(r)) {
            free(r);
            return;
        }
    }

    r->tries = 0;
    r->asked |= ask;
    count_queue(r);
}


static void
count_queue(count_room_t *r)
{
    uint64_t  now, next;

    now = im_mono_us() + COUNT_SOON_US;
    next = r->last_us + count_interval(r->told);

    r->due_us = (r->last_us != 0 && next > now) ? next : now;

    if (!r->dirty) {
        r->dirty = 1;
        r->next = count_dirty;
        count_dirty = r;
    }
}


static uint64_t
count_interval(uint64_t online)
{
    if (online == COUNT_UNTOLD || online <= COUNT_LARGE) {
        return COUNT_SECOND_US;
    }

    return online * COUNT_SECOND_US / COUNT_LARGE;
}


void
logic_rooms_count_all(void)
{
    count_room_t  *r, *next;

    HASH_ITER(hh, count_rooms, r, next) {
        r->tries = 0;
        count_queue(r);
    }
}


int
logic_rooms_count(im_redis_t *redis)
{
    size_t          i, n;
    uint64_t        now, online, version;
    count_room_t   *due[COUNT_ASK];

    now = im_mono_us();

    for ( ;; ) {
        n = count_due(due, now);

        if (n == 0) {
            return IM_OK;
        }

        if (logic_presence_version(redis, &version) != IM_OK
            || count_ask(redis, due, n) != IM_OK)
        {
            break;
        }

        for (i = 0; i < n; i++) {
            if (logic_rooms_users_there(redis, due[i]->room,
                                        &count_where[i], COUNT_EXACT_MAX,
                                        &online)
                != IM_OK)
            {
                break;
            }

            count_tell(due[i], &count_where[i], online, version, now);
            due[i] = NULL;
        }

        if (i < n) {
            break;
        }
    }

    /* Redis does not answer: once more, a second later */

    for (i = 0; i < n; i++) {
        if (due[i] != NULL) {
            due[i]->last_us = now;
            count_queue(due[i]);
        }
    }

    return IM_ERROR;
}


static size_t
count_due(count_room_t **due, uint64_t now)
{
    size_t           n;
    count_room_t   *r, **p;

    n = 0;
    p = &count_dirty;

    while (*p != NULL && n < COUNT_ASK) {
        r = *p;

        if (r->due_us > now) {
            p = &r->next;
            continue;
        }

        *p = r->next;
        r->next = NULL;
        r->dirty = 0;
        due[n++] = r;
    }

    return n;
}


static int
count_ask(im_redis_t *redis, count_room_t **due, size_t n)
{
    size_t    i;
    unsigned  stale;

    stale = 0;

    for (i = 0; i < n; i++) {
        if (logic_rooms_routes_ask(redis, due[i]->room) != IM_OK) {
            return IM_ERROR;
        }
    }

    for (i = 0; i < n; i++) {
        if (logic_rooms_routes_read(redis, due[i]->room,
                                    &count_where[i])
            != IM_OK)
        {
            return IM_ERROR;
        }

        stale += count_where[i].stale;
    }

    return logic_args_done(redis, stale);
}


static void
count_tell(count_room_t *r, const logic_rooms_routes_t *routes,
    uint64_t online, uint64_t version, uint64_t now)
{
    int             missing;
    size_t          i;
    Im__DownItem    item = IM__DOWN_ITEM__INIT;
    Im__RoomEvent   event = IM__ROOM_EVENT__INIT;

    if (online == r->told && !r->asked) {

        if (online == 0 && now - r->last_us >= COUNT_SECOND_US) {
            HASH_DEL(count_rooms, r);
            free(r);
        }

        return;
    }

    event.room = r->room;
    event.has_online = 1;
    event.online = (uint32_t) online;
    event.has_version = 1;
    event.version = version;
    item.item_case = IM__DOWN_ITEM__ITEM_ROOM_EVENT;
    item.room_event = &event;

    missing = 0;

    for (i = 0; i < routes->n; i++) {
        missing |= (logic_workers_send(routes->list[i].id, &item) != IM_OK);
    }

    r->told = online;
    r->asked = 0;
    r->last_us = now;

    if (missing && r->tries < COUNT_RETRIES) {
        r->tries++;
        r->told = COUNT_UNTOLD;
    }

    /* one that is empty is looked at once more, and forgotten */

    if (r->told == COUNT_UNTOLD || online == 0) {
        count_queue(r);
    }
}


int
logic_rooms_count_waiting(void)
{
    return count_dirty != NULL;
}


void
logic_rooms_count_stop(void)
{
    count_room_t  *r, *next;

    HASH_ITER(hh, count_rooms, r, next) {
        HASH_DEL(count_rooms, r);
        free(r);
    }

    free(count_where);
    count_where = NULL;
    count_dirty = NULL;
}
