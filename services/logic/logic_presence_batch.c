/*
 * logic_presence_batch.c -- a batch of opens and closes, in Redis's words.
 *
 *   open    EXISTS im:rev:<sid>       was the session ended?
 *           EXISTS im:re:<conn>       was it replaced? (unless all may stay)
 *           HGETALL im:u:{uid}        who else is there
 *           HSETNX im:u:{uid} <conn> "<instance> <sid> <device> <since_ms>"
 *           GET im:g:{uid}            the groups; not there: MySQL is asked
 *           ZREM im:off <uid>         the leave that nobody has heard of
 *   close   HDEL im:u:{uid} <conn>, HVALS im:u:{uid}
 *
 * The checks and the write go out together; what was written for a session that
 * had ended is taken out again before anybody is told that it is open.  Then,
 * in a second round: the instance is put into the groups' rooms, so that a
 * message sent after auth_ok finds it; connections that the policy of devices
 * ends are taken out; leaves are noted.  Then the answers.
 *
 * Presence thread.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_slot.h"
#include "logic_links.h"
#include "logic_presence_int.h"
#include "logic_rooms_groups.h"
#include "logic_words.h"


#define BATCH_DOUBT_US   10000000
#define BATCH_REPLACED   "3600"        /* seconds */


static int batch_ask(presence_t *p, presence_job_t *job);
static int batch_read(presence_t *p, presence_job_t *job);
static int batch_read_close(presence_t *p, presence_job_t *job);
static int batch_read_checks(presence_t *p, presence_job_t *job);
static int batch_read_others(presence_t *p, presence_job_t *job,
    size_t *others, int *own);
static void batch_loser(presence_t *p, presence_job_t *job, const char *conn,
    const logic_route_t *route);
static int batch_read_groups(presence_t *p, presence_job_t *job);
static void batch_on_group(void *ctx, uint64_t room);
static int batch_number(im_redis_t *redis, long long *n);
static int batch_write(presence_t *p, presence_job_t *jobs);
static void batch_answer(presence_t *p, presence_job_t *job);
static void batch_replace(const presence_job_t *job);


int
logic_presence_batch(presence_t *p, presence_job_t *jobs)
{
    int              rc;
    presence_job_t  *job, *next;

    rc = logic_words(p->db.redis, 1, "TIME");

    for (job = jobs; job != NULL && rc == IM_OK; job = job->next) {
        rc = batch_ask(p, job);
    }

    if (rc == IM_OK) {
        rc = logic_presence_time(p);
    }

    for (job = jobs; job != NULL && rc == IM_OK; job = job->next) {
        rc = batch_read(p, job);
    }

    if (rc == IM_OK) {
        logic_presence_groups(p, jobs);
        rc = logic_presence_rooms(p, jobs);
    }

    if (rc == IM_OK) {
        rc = batch_write(p, jobs);
    }

    if (rc != IM_OK) {
        /* some of it was written, and nobody was told: see batch_read */
        p->doubt_us = im_mono_us() + BATCH_DOUBT_US;
    }

    for (job = jobs; job != NULL; job = next) {
        next = job->next;

        if (rc == IM_OK) {
            batch_answer(p, job);

        } else if (job->kind == PRESENCE_OPEN) {
            logic_reply_error(&job->reply, &p->touched, "", "unavailable",
                              "presence cannot be written");
        }

        logic_presence_free(job);
    }

    logic_reply_flush(&p->touched);

    return (rc == IM_OK) ? logic_presence_tell(p) : rc;
}


static int
batch_ask(presence_t *p, presence_job_t *job)
{
    int          rc;
    uint64_t     now;
    char         key[32], conn[20], uid[24], rev[64], re[32], groups[40];
    char         value[256];
    im_redis_t  *r;

    r = p->db.redis;

    snprintf(key, sizeof(key), "im:u:{%" PRIu64 "}", job->uid);
    snprintf(conn, sizeof(conn), "%016" PRIx64, job->conn);

    if (job->kind == PRESENCE_CLOSE) {
        rc = logic_words(r, 3, "HDEL", key, conn);

        return (rc == IM_OK) ? logic_words(r, 2, "HVALS", key) : rc;
    }

    snprintf(uid, sizeof(uid), "%" PRIu64, job->uid);
    snprintf(rev, sizeof(rev), "im:rev:%s", job->sid);
    snprintf(re, sizeof(re), "im:re:%s", conn);

    now = im_now_ms();
    job->since_ms = (job->age_ms < now) ? now - job->age_ms : 0;
    snprintf(value, sizeof(value), "%s %s %s %" PRIu64, job->instance,
             job->sid, job->device, job->since_ms);
    (void) logic_rooms_groups_key(groups, sizeof(groups), job->uid);

    if (logic_words(r, 2, "EXISTS", rev) != IM_OK
        || (p->policy != LOGIC_DEVICES_ALL
            && logic_words(r, 2, "EXISTS", re) != IM_OK)
        || logic_words(r, 2, "HGETALL", key) != IM_OK
        || logic_words(r, 4, "HSETNX", key, conn, value) != IM_OK
        || logic_words(r, 2, "GET", groups) != IM_OK)
    {
        return IM_ERROR;
    }

    return logic_presence_stays(p, job->uid);
}


/*
 * The user came if nobody else of theirs is there, and the leave, if there was
 * one, has been told.  A connection that is announced again was there before:
 * unless Redis failed lately, when we do not know what we have told.
 */
static int
batch_read(presence_t *p, presence_job_t *job)
{
    int        own;
    size_t     others;
    long long  written, left;

    if (job->kind == PRESENCE_CLOSE) {
        return batch_read_close(p, job);
    }

    if (batch_read_checks(p, job) != IM_OK
        || batch_read_others(p, job, &others, &own) != IM_OK
        || batch_number(p->db.redis, &written) != IM_OK
        || batch_read_groups(p, job) != IM_OK
        || batch_number(p->db.redis, &left) != IM_OK)
    {
        return IM_ERROR;
    }

    job->written = (written >= 0 && left >= 0 && !job->unknown);
    job->came = (job->written && others == 0 && left == 0
                 && (!own || im_mono_us() < p->doubt_us));
    job->crowded = (!own && job->n_losers == 0
                    && others >= logic_conf.devices_max);

    if (logic_presence_refused(job)) {
        job->came = 0;
        job->n_losers = 0;
    }

    return IM_OK;
}


static int
batch_read_close(presence_t *p, presence_job_t *job)
{
    long long    removed;
    redisReply  *reply;

    if (batch_number(p->db.redis, &removed) != IM_OK) {
        return IM_ERROR;
    }

    reply = im_redis_reply(p->db.redis);
    if (reply == NULL) {
        return IM_ERROR;
    }

    job->written = (removed >= 0
                    && im_redis_is(p->db.redis, reply, IM_REDIS_ARRAY));
    job->left = (job->written && logic_presence_alive(reply) == 0);
    im_redis_free(reply);

    return IM_OK;
}


static int
batch_read_checks(presence_t *p, presence_job_t *job)
{
    long long  n;

    if (batch_number(p->db.redis, &n) != IM_OK) {
        return IM_ERROR;
    }

    job->unknown |= (n < 0);
    job->revoked = (n > 0);

    if (p->policy == LOGIC_DEVICES_ALL) {
        return IM_OK;
    }

    if (batch_number(p->db.redis, &n) != IM_OK) {
        return IM_ERROR;
    }

    job->unknown |= (n < 0);
    job->replaced = (n > 0);

    return IM_OK;
}


int
logic_presence_refused(const presence_job_t *job)
{
    return job->revoked || job->replaced || job->crowded;
}


/* field, value, field, value */
static int
batch_read_others(presence_t *p, presence_job_t *job, size_t *others,
    int *own)
{
    char            conn[20];
    size_t          i;
    redisReply     *reply, *field, *value;
    logic_route_t   route;

    *others = 0;
    *own = 0;

    reply = im_redis_reply(p->db.redis);
    if (reply == NULL) {
        return IM_ERROR;
    }

    snprintf(conn, sizeof(conn), "%016" PRIx64, job->conn);
    job->unknown |= !im_redis_is(p->db.redis, reply, IM_REDIS_ARRAY);

    for (i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements;
         i += 2)
    {
        field = reply->element[i];
        value = reply->element[i + 1];

        if (strcmp(field->str, conn) == 0) {
            *own = 1;
            continue;
        }

        if (logic_route_parse(&route, value->str, value->len) != IM_OK
            || !logic_route_alive(&route))
        {
            continue;
        }

        (*others)++;
        batch_loser(p, job, field->str, &route);
    }

    im_redis_free(reply);

    return IM_OK;
}


/* One of two; the newer stays.  It may be the other one: if this one's worker
 * was taken for dead, there was nobody to be replaced when the other came. */
static void
batch_loser(presence_t *p, presence_job_t *job, const char *conn,
    const logic_route_t *route)
{
    im_str_t           device;
    presence_loser_t  *loser;

    device.data = (unsigned char *) job->device;
    device.len = strlen(job->device);

    if (!logic_devices_replaces(p->policy, &device, &route->device)) {
        return;
    }

    if (job->age_ms > 0 && route->since_ms > job->since_ms) {
        job->replaced = 1;
        return;
    }

    if (job->n_losers == PRESENCE_LOSERS) {
        return;
    }

    if (job->losers == NULL) {
        job->losers = calloc(PRESENCE_LOSERS, sizeof(presence_loser_t));
        if (job->losers == NULL) {
            return;
        }
    }

    loser = &job->losers[job->n_losers++];
    loser->conn = strtoull(conn, NULL, 16);
    snprintf(loser->instance, sizeof(loser->instance), "%.*s",
             (int) route->instance.len, (char *) route->instance.data);
}


static int
batch_read_groups(presence_t *p, presence_job_t *job)
{
    redisReply  *reply;

    reply = im_redis_reply(p->db.redis);
    if (reply == NULL) {
        return IM_ERROR;
    }

    job->groups = 1;                   /* unless memory is short */

    if (reply->type != REDIS_REPLY_STRING
        || logic_rooms_groups_take(reply->str, reply->len, batch_on_group,
                                   job)
           != IM_OK)
    {
        job->missing = 1;
        job->groups = 0;
    }

    im_redis_free(reply);

    return IM_OK;
}


static void
batch_on_group(void *ctx, uint64_t room)
{
    logic_presence_room(ctx, room);
}


/* An answer that is no number is -1. */
static int
batch_number(im_redis_t *redis, long long *n)
{
    redisReply  *reply;

    reply = im_redis_reply(redis);
    if (reply == NULL) {
        return IM_ERROR;
    }

    *n = im_redis_is(redis, reply, IM_REDIS_INT) ? reply->integer : -1;
    im_redis_free(reply);

    return IM_OK;
}


static int
batch_write(presence_t *p, presence_job_t *jobs)
{
    char             key[32], conn[20], re[32];
    size_t           n;
    unsigned         i;
    presence_job_t  *job;

    n = 0;

    for (job = jobs; job != NULL; job = job->next) {

        if (job->left) {
            if (logic_presence_leaves(p, job->uid) != IM_OK) {
                return IM_ERROR;
            }

            n++;
        }

        for (i = 0; i < job->n_losers; i++) {
            snprintf(key, sizeof(key), "im:u:{%" PRIu64 "}", job->uid);
            snprintf(conn, sizeof(conn), "%016" PRIx64, job->losers[i].conn);
            snprintf(re, sizeof(re), "im:re:%s", conn);

            if (logic_words(p->db.redis, 3, "HDEL", key, conn) != IM_OK
                || logic_words(p->db.redis, 5, "SET", re, "1", "EX",
                                      BATCH_REPLACED) != IM_OK)
            {
                return IM_ERROR;
            }

            n += 2;
        }
    }

    return logic_presence_skip(p->db.redis, n);
}


static void
batch_answer(presence_t *p, presence_job_t *job)
{
    if (job->kind == PRESENCE_CLOSE) {

        if (!job->written) {
            logic_presence_undo(job);  /* Redis loads its file: ours from now */
            p->pause = 1;
        }

        logic_reply_closed(&job->reply, &p->touched);
        return;
    }

    if (job->came) {
        logic_presence_changed(p, job->uid, 1);
    }

    if (job->revoked) {
        logic_reply_error(&job->reply, &p->touched, "", "session_revoked",
                          "this session was ended");
        logic_presence_undo(job);

    } else if (job->replaced) {
        logic_reply_replaced(&job->reply, &p->touched, job->uid);
        logic_presence_undo(job);

    } else if (job->crowded) {
        logic_reply_error(&job->reply, &p->touched, "", "limit_reached",
                          "too many connections of this user");
        logic_presence_undo(job);

    } else if (!job->written || !job->groups) {
        logic_reply_error(&job->reply, &p->touched, "", "unavailable",
                          "presence cannot be written");

    } else {
        batch_replace(job);
        logic_reply_opened(&job->reply, &p->touched, job->rooms,
                           job->n_rooms);
    }
}


/*
 * Whom the policy does not let stay.  Told to all, not to its instance only: a
 * worker has a link to each Logic, and the name in Redis may be older than the
 * link.  Who cannot be told now hears it when the worker announces it again
 * (im:re).
 */
static void
batch_replace(const presence_job_t *job)
{
    unsigned      i;
    Im__End       end = IM__END__INIT;
    Im__DownItem  item = IM__DOWN_ITEM__INIT;

    for (i = 0; i < job->n_losers; i++) {
        logic_reply_end_replaced(&item, &end, job->uid, job->losers[i].conn);

        if (logic_links_send(job->losers[i].instance, &item) != IM_OK) {
            logic_links_send_all(&item);
        }
    }
}


void
logic_presence_free(presence_job_t *job)
{
    if (job->reply.stream != NULL) {
        im_rpc_stream_unref(job->reply.stream);
    }

    free(job->losers);
    free(job->rooms);
    free(job);
}


int
logic_presence_skip(im_redis_t *redis, size_t n)
{
    int          rc;
    redisReply  *reply;

    rc = IM_OK;

    while (n-- > 0) {
        reply = im_redis_reply(redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        /* one key that is broken must not keep all others out */

        if (reply->type == REDIS_REPLY_ERROR
            && strncmp(reply->str, "WRONGTYPE", 9) != 0)
        {
            (void) im_redis_is(redis, reply, IM_REDIS_INT);
            rc = IM_ERROR;
        }

        im_redis_free(reply);
    }

    return rc;
}


size_t
logic_presence_alive(const redisReply *reply)
{
    size_t          i, n;
    logic_route_t   route;

    n = 0;

    for (i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {

        if (logic_route_parse(&route, reply->element[i]->str,
                              reply->element[i]->len) == IM_OK
            && logic_route_alive(&route))
        {
            n++;
        }
    }

    return n;
}
