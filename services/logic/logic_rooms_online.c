/*
 * logic_rooms_online.c -- reports of workers go to Redis, and when the number
 * of users in a room has changed, the room is told.
 *
 *   report --> queue --> pipeline to Redis --> answered
 *                          |
 *                          v  the room is dirty
 *              due: 20 ms later, and a second after the last event at least
 *                          |
 *                 counted over all instances --> room_event to those
 *
 * Reports of a room come to its home, so the home alone tells.  Of a large
 * room every event costs a frame to each who is there: above 10,000 users the
 * second grows with the room.
 *
 * A room is remembered while somebody is in it: when an instance dies nobody
 * reports that its users are gone, so all rooms are counted again.
 *
 * A thread of its own.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <uthash.h>

#include "logic_alive.h"
#include "logic_links.h"
#include "logic_rooms_let.h"
#include "logic_rooms_online.h"
#include "logic_rooms_where.h"
#include "logic_words.h"


#define ONLINE_BATCH       256     /* reports in one pipeline */
#define ONLINE_TELL        32      /* rooms counted in one pipeline */
#define ONLINE_UIDS        1000    /* in one command */
#define ONLINE_TICK_MS     20
#define ONLINE_SECOND_US   1000000
#define ONLINE_LARGE       10000   /* users; from here on slower */
#define ONLINE_EXACT_MAX   20000   /* of a room; above, see docs */
#define ONLINE_ROOMS_MAX   262144  /* remembered; no other is told */
#define ONLINE_RETRIES     5       /* of an event for which a link is missing */
#define ONLINE_UNTOLD      UINT64_MAX


typedef struct online_job_s   online_job_t;
typedef struct online_room_s  online_room_t;

struct online_job_s {
    online_job_t    *next;
    logic_reply_t    reply;
    uint64_t         room;
    uint32_t         online;
    int              whole;
    size_t           joined;
    size_t           left;
    unsigned         asked;        /* replies to wait for */
    char             instance[LOGIC_ROOMS_ID];
    uint64_t         uids[];       /* joined, then left */
};

struct online_room_s {
    UT_hash_handle   hh;
    uint64_t         room;
    uint64_t         told;         /* users, of the last event */
    uint64_t         last_us;      /* when it was sent */
    uint64_t         due_us;       /* of a dirty one */
    online_room_t   *next;         /* dirty ones */
    unsigned         dirty:1;
    unsigned         tries:8;
};


static void *online_thread(void *arg);
static online_job_t *online_take(void);
static void online_wait(void);
static void online_batch(online_job_t *jobs);
static int online_ask(online_job_t *job);
static int online_uids(online_job_t *job, const char *verb, const char *key,
    const uint64_t *uids, size_t n);
static void online_dirty(uint64_t room);
static void online_queue_dirty(online_room_t *r);
static void online_all_dirty(void);
static void online_tell(void);
static size_t online_due(online_room_t **due, uint64_t now);
static int online_count(online_room_t **due, size_t n);
static void online_event(online_room_t *r, const logic_rooms_where_t *where,
    uint64_t online, uint64_t now);
static uint64_t online_interval(uint64_t online);
static void online_on_gone(const char *id);


static pthread_t             online_id;
static pthread_mutex_t       online_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t        online_wake = PTHREAD_COND_INITIALIZER;
static online_job_t         *online_first;
static online_job_t        **online_last = &online_first;
static unsigned              online_n;
static unsigned              online_max;
static int                   online_stopping;
static int                   online_gone;      /* an instance has */

static im_redis_t           *online_redis;     /* the rest: the thread's own */
static online_room_t        *online_rooms;
static online_room_t        *online_dirty_list;
static logic_rooms_where_t  *online_where;     /* ONLINE_TELL */
static im_dependency_t       online_store = { "redis", 0 };


int
logic_rooms_online_start(unsigned queue_max)
{
    online_max = queue_max;
    online_redis = logic_redis_create();
    online_where = calloc(ONLINE_TELL, sizeof(logic_rooms_where_t));

    if (online_redis == NULL || online_where == NULL) {
        return IM_ERROR;
    }

    logic_alive_watch(online_on_gone);

    return pthread_create(&online_id, NULL, online_thread, NULL) == 0
           ? IM_OK : IM_ERROR;
}


void
logic_rooms_online_report(logic_reply_t *reply, const char *instance,
    const Im__RoomReport *report)
{
    int               full;
    online_job_t     *job;
    logic_touched_t   touched = { .n = 0 };

    job = calloc(1, sizeof(online_job_t)
                 + (report->n_joined + report->n_left) * sizeof(uint64_t));

    if (job != NULL) {
        job->reply = *reply;
        job->room = report->room;
        job->online = report->online;
        job->whole = report->whole;
        job->joined = report->n_joined;
        job->left = report->n_left;
        snprintf(job->instance, sizeof(job->instance), "%s", instance);

        if (job->joined > 0) {
            memcpy(job->uids, report->joined,
                   job->joined * sizeof(uint64_t));
        }

        if (job->left > 0) {
            memcpy(job->uids + job->joined, report->left,
                   job->left * sizeof(uint64_t));
        }
    }

    pthread_mutex_lock(&online_lock);

    full = job == NULL || online_n >= online_max || online_stopping
           || instance[0] == '\0';

    if (!full) {
        *online_last = job;
        online_last = &job->next;
        online_n++;
        pthread_cond_signal(&online_wake);
    }

    pthread_mutex_unlock(&online_lock);

    if (full) {
        free(job);
        logic_reply_error(reply, &touched, "", "busy",
                          "too many reports wait");
        logic_reply_flush(&touched);
    }
}


static void *
online_thread(void *arg)
{
    int            gone, stop;
    online_job_t  *jobs;

    (void) arg;

    for ( ;; ) {
        pthread_mutex_lock(&online_lock);

        online_wait();
        jobs = online_take();
        gone = online_gone;
        online_gone = 0;
        stop = online_stopping;

        pthread_mutex_unlock(&online_lock);

        if (jobs == NULL && stop) {
            break;
        }

        if (gone) {
            online_all_dirty();
        }

        if (jobs != NULL) {
            online_batch(jobs);
        }

        online_tell();
    }

    return NULL;
}


/* Under the lock.  With a dirty room at hand, not for long. */
static void
online_wait(void)
{
    struct timespec  until;

    if (online_first != NULL || online_gone || online_stopping) {
        return;
    }

    if (online_dirty_list == NULL) {
        pthread_cond_wait(&online_wake, &online_lock);
        return;
    }

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += ONLINE_TICK_MS * 1000000;

    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }

    pthread_cond_timedwait(&online_wake, &online_lock, &until);
}


static online_job_t *
online_take(void)
{
    unsigned        n;
    online_job_t   *jobs, **last;

    jobs = online_first;
    last = &jobs;

    for (n = 0; n < ONLINE_BATCH && *last != NULL; n++) {
        last = &(*last)->next;
    }

    online_first = *last;
    *last = NULL;
    online_n -= n;

    if (online_first == NULL) {
        online_last = &online_first;
    }

    return jobs;
}


static void
online_batch(online_job_t *jobs)
{
    int               alive;
    online_job_t     *job, *next;
    logic_touched_t   touched = { .n = 0 };

    alive = 1;

    for (job = jobs; job != NULL && alive; job = job->next) {
        alive = online_ask(job) == IM_OK;
    }

    for (job = jobs; job != NULL; job = next) {
        next = job->next;

        if (alive
            && logic_words_done(online_redis, job->asked) == IM_OK)
        {
            logic_rooms_let_reported(job->room, job->uids, job->joined);
            online_dirty(job->room);
            logic_reply_closed(&job->reply, &touched);

        } else {
            alive = 0;
            logic_reply_error(&job->reply, &touched, "", "unavailable",
                              "the report cannot be written");
        }

        free(job);
    }

    if (alive) {
        im_dependency_up(&online_store);

    } else {
        /* replies of other commands may be under way on this connection */

        im_dependency_down(&online_store, im_redis_error(online_redis));
        im_redis_destroy(online_redis);
        online_redis = logic_redis_create();
    }

    logic_reply_flush(&touched);
}


static int
online_ask(online_job_t *job)
{
    int   rc;
    char  key[LOGIC_ROOMS_KEY], set[LOGIC_ROOMS_SET], n[16];

    logic_rooms_key(key, job->room);
    logic_rooms_set_key(set, job->room, job->instance);
    snprintf(n, sizeof(n), "%u", job->online);

    rc = logic_words(online_redis, 4, "HSET", key, job->instance, n);

    if (rc == IM_OK) {
        rc = logic_words(online_redis, 3, "EXPIRE", key, LOGIC_ROOMS_TTL_S);
        job->asked = 2;
    }

    if (rc == IM_OK && job->whole) {
        rc = logic_words(online_redis, 2, "DEL", set);
        job->asked++;
    }

    if (rc == IM_OK) {
        rc = online_uids(job, "ZADD", set, job->uids, job->joined);
    }

    if (rc == IM_OK) {
        rc = online_uids(job, "ZREM", set, job->uids + job->joined,
                         job->left);
    }

    if (rc == IM_OK) {
        rc = logic_words(online_redis, 3, "EXPIRE", set, LOGIC_ROOMS_TTL_S);
        job->asked++;
    }

    return rc;
}


/* The score of a user is the uid. */
static int
online_uids(online_job_t *job, const char *verb, const char *key,
    const uint64_t *uids, size_t n)
{
    char       texts[ONLINE_UIDS][24];
    size_t     i, k, argc, each;
    im_str_t   argv[2 + 2 * ONLINE_UIDS];

    each = (verb[1] == 'A') ? 2 : 1;   /* ZADD */

    for (i = 0; i < n; i += ONLINE_UIDS) {
        argv[0].data = (unsigned char *) verb;
        argv[0].len = strlen(verb);
        argv[1].data = (unsigned char *) key;
        argv[1].len = strlen(key);
        argc = 2;

        for (k = 0; k < ONLINE_UIDS && i + k < n; k++) {
            argv[argc].data = (unsigned char *) texts[k];
            argv[argc].len = (size_t) snprintf(texts[k], 24, "%llu",
                                         (unsigned long long) uids[i + k]);

            if (each == 2) {
                argv[argc + 1] = argv[argc];
            }

            argc += each;
        }

        if (im_redis_append(online_redis, (int) argc, argv) != IM_OK) {
            return IM_ERROR;
        }

        job->asked++;
    }

    return IM_OK;
}


static void
online_dirty(uint64_t room)
{
    online_room_t  *r;

    HASH_FIND(hh, online_rooms, &room, sizeof(room), r);

    if (r == NULL) {

        if (HASH_COUNT(online_rooms) >= ONLINE_ROOMS_MAX) {
            return;
        }

        r = calloc(1, sizeof(online_room_t));
        if (r == NULL) {
            return;
        }

        r->room = room;
        r->told = ONLINE_UNTOLD;
        HASH_ADD(hh, online_rooms, room, sizeof(r->room), r);
    }

    r->tries = 0;
    online_queue_dirty(r);
}


static void
online_queue_dirty(online_room_t *r)
{
    uint64_t  now, next;

    now = im_mono_us() + ONLINE_TICK_MS * 1000;
    next = r->last_us + online_interval(r->told);

    r->due_us = (r->last_us != 0 && next > now) ? next : now;

    if (!r->dirty) {
        r->dirty = 1;
        r->next = online_dirty_list;
        online_dirty_list = r;
    }
}


static uint64_t
online_interval(uint64_t online)
{
    if (online == ONLINE_UNTOLD || online <= ONLINE_LARGE) {
        return ONLINE_SECOND_US;
    }

    return online * ONLINE_SECOND_US / ONLINE_LARGE;
}


static void
online_all_dirty(void)
{
    online_room_t  *r, *next;

    HASH_ITER(hh, online_rooms, r, next) {
        r->tries = 0;
        online_queue_dirty(r);
    }
}


static void
online_tell(void)
{
    size_t          i, n;
    uint64_t        now, online;
    online_room_t  *due[ONLINE_TELL];

    now = im_mono_us();

    for ( ;; ) {
        n = online_due(due, now);

        if (n == 0) {
            return;
        }

        if (online_count(due, n) != IM_OK) {
            break;
        }

        for (i = 0; i < n; i++) {
            if (logic_rooms_count(online_redis, due[i]->room,
                                  &online_where[i], ONLINE_EXACT_MAX,
                                  &online)
                != IM_OK)
            {
                break;
            }

            online_event(due[i], &online_where[i], online, now);
            due[i] = NULL;
        }

        if (i < n) {
            break;
        }
    }

    /* Redis does not answer: once more, a second later */

    im_dependency_down(&online_store, im_redis_error(online_redis));
    im_redis_destroy(online_redis);
    online_redis = logic_redis_create();

    for (i = 0; i < n; i++) {
        if (due[i] != NULL) {
            due[i]->last_us = now;
            online_queue_dirty(due[i]);
        }
    }
}


static size_t
online_due(online_room_t **due, uint64_t now)
{
    size_t           n;
    online_room_t   *r, **p;

    n = 0;
    p = &online_dirty_list;

    while (*p != NULL && n < ONLINE_TELL) {
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
online_count(online_room_t **due, size_t n)
{
    size_t    i;
    unsigned  stale;

    stale = 0;

    for (i = 0; i < n; i++) {
        if (logic_rooms_where_ask(online_redis, due[i]->room) != IM_OK) {
            return IM_ERROR;
        }
    }

    for (i = 0; i < n; i++) {
        if (logic_rooms_where_read(online_redis, due[i]->room,
                                   &online_where[i])
            != IM_OK)
        {
            return IM_ERROR;
        }

        stale += online_where[i].stale;
    }

    return logic_words_done(online_redis, stale);
}


static void
online_event(online_room_t *r, const logic_rooms_where_t *where,
    uint64_t online, uint64_t now)
{
    int             missing;
    size_t          i;
    Im__DownItem    item = IM__DOWN_ITEM__INIT;
    Im__RoomEvent   event = IM__ROOM_EVENT__INIT;

    if (online == r->told) {

        if (online == 0 && now - r->last_us >= ONLINE_SECOND_US) {
            HASH_DEL(online_rooms, r);
            free(r);
        }

        return;
    }

    event.room = r->room;
    event.has_online = 1;
    event.online = (uint32_t) online;
    item.item_case = IM__DOWN_ITEM__ITEM_ROOM_EVENT;
    item.room_event = &event;

    missing = 0;

    for (i = 0; i < where->n; i++) {
        missing |= (logic_links_send(where->list[i].id, &item) != IM_OK);
    }

    r->told = online;
    r->last_us = now;

    if (missing && r->tries < ONLINE_RETRIES) {
        r->tries++;
        r->told = ONLINE_UNTOLD;
    }

    /* one that is empty is looked at once more, and forgotten */

    if (r->told == ONLINE_UNTOLD || online == 0) {
        online_queue_dirty(r);
    }
}


/* rpc thread */
static void
online_on_gone(const char *id)
{
    (void) id;

    pthread_mutex_lock(&online_lock);
    online_gone = 1;
    pthread_cond_signal(&online_wake);
    pthread_mutex_unlock(&online_lock);
}


int
logic_rooms_online_healthy(void)
{
    return !online_store.down;
}


void
logic_rooms_online_stop(void)
{
    online_room_t  *r, *next;

    pthread_mutex_lock(&online_lock);
    online_stopping = 1;
    pthread_cond_signal(&online_wake);
    pthread_mutex_unlock(&online_lock);

    pthread_join(online_id, NULL);

    HASH_ITER(hh, online_rooms, r, next) {
        HASH_DEL(online_rooms, r);
        free(r);
    }

    logic_rooms_let_clear();

    im_redis_destroy(online_redis);
    free(online_where);
}
