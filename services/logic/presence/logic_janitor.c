/*
 * logic_janitor.c -- see logic_janitor.h.
 *
 * Memory.  im:presence holds a random number that the first Logic to look puts
 * there.  If it is another one than last time, Redis has lost all it knew, and
 * every worker announces its connections again (Announce), once for each
 * number.
 *
 * Dead workers.  When etcd forgets an instance, its entries in im:u:* are not
 * valid any more, but subscribers must be notified that its users are
 * gone.  The Logic that owns the slot of the name walks through all users, some
 * hundred at a time, and removes the entries of instances that are dead.  It
 * then leaves a note; another Logic that does not find one after 8 s does it
 * instead.  The note expires soon after that: an instance that was cut off
 * comes back under its name, and may die once more.  The same walk is done a
 * while after the start and every 10 minutes, for instances that died while no
 * Logic ran.
 *
 * A thread of its own, with its own connection: a walk must not delay opens.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>
#include <sodium.h>

#include "im_clock.h"
#include "im_cond.h"
#include "im_keys.h"
#include "im_log.h"
#include "im_steps.h"
#include "logic_alive.h"
#include "logic_args.h"
#include "logic_blocks.h"
#include "logic_devices.h"
#include "logic_janitor.h"
#include "logic_owner.h"
#include "logic_presence_state.h"
#include "logic_stores.h"
#include "logic_workers.h"


#define JANITOR_TICK_MS    500
#define JANITOR_ID         160         /* bytes of a name */
#define JANITOR_GONE_MAX   64
#define JANITOR_LATE_US    8000000
#define JANITOR_FIRST_US   5000000
#define JANITOR_EVERY_US   600000000
#define JANITOR_SCAN       "500"
#define JANITOR_PAUSE_MS   2
#define JANITOR_NOTE_S     "15"        /* more than JANITOR_LATE_US */


typedef struct {
    char        id[JANITOR_ID];
    uint64_t    at_us;
} janitor_gone_t;


static void janitor_on_gone(const char *id);
static void *janitor_thread(void *arg);
static int janitor_wait(unsigned ms);
static int janitor_memory(im_redis_t *redis);
static int janitor_dead(im_redis_t *redis);
static void janitor_walk_again(void);
static int janitor_due(char *id, int *late);
static int janitor_swept(im_redis_t *redis, const char *id);
static int janitor_clean(im_redis_t *redis, const char *id);
static int janitor_walk(im_redis_t *redis);
static int janitor_users(im_redis_t *redis, const redisReply *keys);
static int janitor_user(im_redis_t *redis, const char *key,
    const redisReply *entries, unsigned *asked);
static int janitor_is_dead(const redisReply *value);


static im_thread_t       janitor_id;
static im_redis_t       *janitor_db;           /* its thread's */
static pthread_mutex_t   janitor_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t    janitor_wake = PTHREAD_COND_INITIALIZER;
static int               janitor_stopping;
static janitor_gone_t    janitor_gone[JANITOR_GONE_MAX];
static unsigned          janitor_gone_n;
static uint64_t          janitor_next_us;
static _Atomic uint64_t  janitor_epoch;
static im_log_seldom_t   janitor_log;


int
logic_janitor_start(void)
{
    logic_alive_watch(janitor_on_gone);
    janitor_next_us = im_mono_us() + JANITOR_FIRST_US;

    janitor_db = logic_redis_create();

    return (janitor_db != NULL)
           ? im_thread_start(&janitor_id, janitor_thread, janitor_db)
           : IM_ERROR;
}


/* rpc thread.  Too many: the walk of every 10 minutes comes at once. */
static void
janitor_on_gone(const char *id)
{
    pthread_mutex_lock(&janitor_lock);

    if (janitor_gone_n == JANITOR_GONE_MAX) {
        janitor_next_us = 0;

    } else {
        snprintf(janitor_gone[janitor_gone_n].id,
                 sizeof(janitor_gone[0].id), "%s", id);
        janitor_gone[janitor_gone_n++].at_us = im_mono_us();
    }

    pthread_cond_signal(&janitor_wake);
    pthread_mutex_unlock(&janitor_lock);
}


static void *
janitor_thread(void *arg)
{
    int          rc;
    im_redis_t  *redis = arg;

    do {
        rc = janitor_memory(redis);

        if (rc == IM_OK) {
            rc = logic_blocks_poll(redis);
        }

        if (rc == IM_OK) {
            rc = janitor_dead(redis);
        }

        if (rc != IM_OK && rc != IM_DONE) {
            im_log_seldom(&janitor_log, IM_LOG_WARN, "what dead workers left "
                          "cannot be swept, it is tried again: redis: %s",
                          im_redis_error(redis));
        }

    } while (!janitor_wait(JANITOR_TICK_MS));

    return NULL;
}


/* 1: stop. */
static int
janitor_wait(unsigned ms)
{
    int  stop;

    pthread_mutex_lock(&janitor_lock);

    if (!janitor_stopping) {
        (void) im_cond_wait(&janitor_wake, &janitor_lock, ms);
    }

    stop = janitor_stopping;

    pthread_mutex_unlock(&janitor_lock);

    return stop;
}


static int
janitor_memory(im_redis_t *redis)
{
    char            mark[24];
    uint64_t        epoch, before;
    redisReply     *reply;
    Im__Announce    announce = IM__ANNOUNCE__INIT;
    Im__DownItem    item = IM__DOWN_ITEM__INIT;

    randombytes_buf(&epoch, sizeof(epoch));
    snprintf(mark, sizeof(mark), "%" PRIu64, epoch >> 1 | 1);

    if (logic_args(redis, 4, "SET", IM_KEY_PRESENCE, mark, "NX") != IM_OK
        || logic_args(redis, 2, "GET", IM_KEY_PRESENCE) != IM_OK)
    {
        return IM_ERROR;
    }

    reply = im_redis_expect(redis, IM_REDIS_OK | IM_REDIS_NIL);
    if (reply == NULL) {
        return IM_ERROR;
    }

    im_redis_free(reply);

    reply = im_redis_expect(redis, IM_REDIS_STR | IM_REDIS_NIL);
    if (reply == NULL) {
        return IM_ERROR;
    }

    epoch = (reply->type == REDIS_REPLY_STRING)
            ? strtoull(reply->str, NULL, 10) : 0;
    im_redis_free(reply);

    before = atomic_load(&janitor_epoch);

    if (epoch == 0 || epoch == before) {
        return IM_OK;
    }

    atomic_store(&janitor_epoch, epoch);

    if (before != 0) {
        im_log(IM_LOG_WARN, "redis: it has lost its memory: all workers "
               "announce their connections again");
    }

    announce.epoch = epoch;
    item.item_case = IM__DOWN_ITEM__ITEM_ANNOUNCE;
    item.announce = &announce;
    logic_workers_send_all(&item);

    return IM_OK;
}


static int
janitor_dead(im_redis_t *redis)
{
    int   rc, all, late;
    char  id[JANITOR_ID];

    pthread_mutex_lock(&janitor_lock);

    all = (im_mono_us() >= janitor_next_us);

    if (all) {
        janitor_next_us = im_mono_us() + JANITOR_EVERY_US;
    }

    pthread_mutex_unlock(&janitor_lock);

    if (all && logic_is_owner(logic_owner_slot_of("janitor"))) {
        rc = janitor_walk(redis);

        if (rc != IM_OK) {
            janitor_walk_again();
        }

        return rc;
    }

    while (janitor_due(id, &late)) {
        rc = late ? janitor_swept(redis, id) : IM_DECLINED;

        if (rc == IM_DECLINED) {
            rc = janitor_clean(redis, id);
        }

        if (rc != IM_OK) {
            janitor_on_gone(id);       /* with the next tick */
            return rc;
        }
    }

    return IM_OK;
}


/* A walk that was cut short has cleaned nothing: it is due at once. */
static void
janitor_walk_again(void)
{
    pthread_mutex_lock(&janitor_lock);
    janitor_next_us = 0;
    pthread_mutex_unlock(&janitor_lock);
}


/* id: of an instance that we are to clean up after, now.  late: in place of
 * another Logic, if that has not. */
static int
janitor_due(char *id, int *late)
{
    int              due;
    unsigned         i;
    janitor_gone_t  *gone;

    due = 0;

    pthread_mutex_lock(&janitor_lock);

    for (i = 0; i < janitor_gone_n && !due; i++) {
        gone = &janitor_gone[i];

        *late = !logic_is_owner(logic_owner_slot_of(gone->id));
        due = !*late || im_mono_us() > gone->at_us + JANITOR_LATE_US;

        if (due) {
            memcpy(id, gone->id, JANITOR_ID);
            *gone = janitor_gone[--janitor_gone_n];
        }
    }

    pthread_mutex_unlock(&janitor_lock);

    return due;
}


/* IM_OK: another Logic has; IM_DECLINED: none has; IM_ERROR. */
static int
janitor_swept(im_redis_t *redis, const char *id)
{
    char       note[200];
    long long  n;

    snprintf(note, sizeof(note), IM_KEY_SWEPT, id);

    if (logic_args(redis, 2, "EXISTS", note) != IM_OK
        || im_redis_expect_int(redis, &n) != IM_OK)
    {
        return IM_ERROR;
    }

    return (n > 0) ? IM_OK : IM_DECLINED;
}


static int
janitor_clean(im_redis_t *redis, const char *id)
{
    int   rc;
    char  note[200];

    snprintf(note, sizeof(note), IM_KEY_SWEPT, id);

    im_log(IM_LOG_NOTICE, "connect %s is gone: its users are removed", id);

    rc = janitor_walk(redis);

    if (rc == IM_OK) {
        rc = logic_args(redis, 5, "SET", note, "1", "EX", JANITOR_NOTE_S);
    }

    return (rc == IM_OK) ? logic_args_done(redis, 1) : rc;
}


/* All users, a portion at a time, so that Redis serves others in between.
 * IM_DONE: we are to stop, and not all were looked at. */
static int
janitor_walk(im_redis_t *redis)
{
    int          rc;
    char         cursor[24];
    redisReply  *reply;

    snprintf(cursor, sizeof(cursor), "0");

    do {
        if (logic_args(redis, 6, "SCAN", cursor, "MATCH", IM_KEY_USER_ANY,
                       "COUNT", JANITOR_SCAN) != IM_OK)
        {
            return IM_ERROR;
        }

        reply = im_redis_expect(redis, IM_REDIS_ARRAY);
        if (reply == NULL) {
            return IM_ERROR;
        }

        rc = IM_ERROR;

        if (reply->elements == 2) {
            snprintf(cursor, sizeof(cursor), "%s", reply->element[0]->str);
            rc = janitor_users(redis, reply->element[1]);
        }

        im_redis_free(reply);

        if (rc == IM_OK && strcmp(cursor, "0") == 0) {
            return IM_OK;
        }

        if (rc == IM_OK && janitor_wait(JANITOR_PAUSE_MS)) {
            rc = IM_DONE;
        }

    } while (rc == IM_OK);

    return rc;
}


static int
janitor_users(im_redis_t *redis, const redisReply *keys)
{
    size_t        i;
    unsigned      asked;
    redisReply   *reply;

    asked = 0;

    for (i = 0; i < keys->elements; i++) {
        if (logic_args(redis, 2, "HGETALL", keys->element[i]->str) != IM_OK) {
            return IM_ERROR;
        }
    }

    for (i = 0; i < keys->elements; i++) {
        reply = logic_args_array(redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        if (janitor_user(redis, keys->element[i]->str, reply, &asked)
            != IM_OK)
        {
            im_redis_free(reply);
            return IM_ERROR;
        }

        im_redis_free(reply);
    }

    return logic_args_done(redis, asked);
}


/* Field by field: a connection that was opened since then is not touched.  Who
 * has none left is put into im:off first: a user who is in neither would be
 * gone without a notification (logic_presence_state.c). */
static int
janitor_user(im_redis_t *redis, const char *key, const redisReply *entries,
    unsigned *asked)
{
    size_t       i, dead;
    const char  *uid;

    dead = 0;

    for (i = 0; i + 1 < entries->elements; i += 2) {
        dead += janitor_is_dead(entries->element[i + 1]);
    }

    uid = strchr(key, '{');

    if (dead == 0 || uid == NULL) {
        return IM_OK;
    }

    if (dead == entries->elements / 2) {
        (*asked)++;

        if (logic_presence_suspect(redis, strtoull(uid + 1, NULL, 10))
            != IM_OK)
        {
            return IM_ERROR;
        }
    }

    for (i = 0; i + 1 < entries->elements; i += 2) {

        if (!janitor_is_dead(entries->element[i + 1])) {
            continue;
        }

        (*asked)++;

        if (logic_args(redis, 3, "HDEL", key, entries->element[i]->str)
            != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
janitor_is_dead(const redisReply *value)
{
    im_keys_route_t  route;

    return im_keys_route_read(&route, value->str, value->len) == IM_OK
           && !logic_route_alive(&route);
}


uint64_t
logic_janitor_epoch(void)
{
    return atomic_load(&janitor_epoch);
}


void
logic_janitor_stop(void)
{
    pthread_mutex_lock(&janitor_lock);
    janitor_stopping = 1;
    pthread_cond_signal(&janitor_wake);
    pthread_mutex_unlock(&janitor_lock);

    im_thread_join(&janitor_id);

    im_redis_destroy(janitor_db);
    janitor_db = NULL;
}
