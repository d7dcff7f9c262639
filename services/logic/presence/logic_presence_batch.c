/*
 * logic_presence_batch.c -- a batch of opens and closes.
 *
 *   open, close      one run of the presence script each, in one pipeline
 *                    (logic_presence_state.c)
 *   second round     the instance is put into the groups' rooms, so that a
 *                    message sent after auth_ok finds it; connections that the
 *                    policy of devices ends are taken out
 *   answers          then notifications
 *
 * The script refuses a session that was ended and a connection that was
 * replaced.  What only this Logic can judge, because it depends on which
 * instances are alive, is found out afterwards, and the connection that was
 * written is closed again before anybody is notified that it is open.
 *
 * Presence thread.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_clock.h"
#include "im_keys.h"
#include "im_slot.h"
#include "logic_args.h"
#include "logic_conf.h"
#include "logic_presence_int.h"
#include "logic_rooms_groups.h"
#include "logic_workers.h"


#define BATCH_REPLACED   "3600"        /* seconds */


static int batch_run(presence_t *p, presence_job_t *jobs);
static int batch_ask(presence_t *p, presence_job_t *job);
static im_str_t batch_str(const char *text);
static int batch_ask_close(presence_t *p, const presence_job_t *job);
static void batch_read(presence_t *p, presence_job_t *job,
    const redisReply *reply);
static void batch_read_close(presence_job_t *job, const redisReply *reply);
static void batch_read_open(presence_t *p, presence_job_t *job,
    const redisReply *reply);
static size_t batch_read_others(presence_t *p, presence_job_t *job,
    const redisReply *reply, int *own);
static void batch_loser(presence_t *p, presence_job_t *job, const char *conn,
    const im_keys_route_t  *route);
static void batch_read_groups(presence_job_t *job, const redisReply *reply);
static void batch_on_group(void *ctx, uint64_t room);
static size_t batch_alive(const redisReply *reply);
static int batch_write(presence_t *p, presence_job_t *jobs);
static void batch_answer(presence_t *p, presence_job_t *job);
static void batch_replace(const presence_job_t *job);


int
logic_presence_batch(presence_t *p, presence_job_t *jobs)
{
    int              rc;
    presence_job_t  *job, *next;

    rc = batch_run(p, jobs);

    if (rc == IM_OK && logic_presence_is_forgotten()) {
        rc = batch_run(p, jobs);       /* Redis was restarted */
    }

    if (rc == IM_OK) {
        logic_presence_groups(p, jobs);
        rc = logic_presence_rooms(p, jobs);
    }

    if (rc == IM_OK) {
        rc = batch_write(p, jobs);
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
batch_run(presence_t *p, presence_job_t *jobs)
{
    redisReply      *reply;
    presence_job_t  *job;

    for (job = jobs; job != NULL; job = job->next) {
        if (batch_ask(p, job) != IM_OK) {
            return IM_ERROR;
        }
    }

    for (job = jobs; job != NULL; job = job->next) {
        reply = logic_presence_reply(p->db.redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        batch_read(p, job, reply);
        im_redis_free(reply);
    }

    return IM_OK;
}


static int
batch_ask(presence_t *p, presence_job_t *job)
{
    char             conn[20], uid[24], value[256];
    uint64_t         now;
    im_keys_route_t  route;

    if (job->kind == PRESENCE_CLOSE) {
        return batch_ask_close(p, job);
    }

    snprintf(uid, sizeof(uid), "%" PRIu64, job->uid);
    snprintf(conn, sizeof(conn), IM_KEY_CONN, job->conn);

    now = im_now_ms();
    job->since_ms = (job->age_ms < now) ? now - job->age_ms : 0;
    route.instance = batch_str(job->instance);
    route.sid = batch_str(job->sid);
    route.device = batch_str(job->device);
    route.since_ms = job->since_ms;
    im_keys_route_write(value, sizeof(value), &route);

    return logic_presence_call(p->db.redis, 6, "open", uid, conn, value,
                               job->sid,
                               (p->policy == LOGIC_DEVICES_ALL) ? "0" : "1");
}


static im_str_t
batch_str(const char *text)
{
    im_str_t  str;

    str.data = (unsigned char *) text;
    str.len = strlen(text);

    return str;
}


static int
batch_ask_close(presence_t *p, const presence_job_t *job)
{
    char  conn[20], uid[24];

    snprintf(uid, sizeof(uid), "%" PRIu64, job->uid);
    snprintf(conn, sizeof(conn), IM_KEY_CONN, job->conn);

    return logic_presence_call(p->db.redis, 4, "close", uid, conn,
                               IM_TIMEOUT_STR(LOGIC_PRESENCE_LEAVE_MS));
}


/* May be the second reply. */
static void
batch_read(presence_t *p, presence_job_t *job, const redisReply *reply)
{
    job->unknown = (reply->type != REDIS_REPLY_ARRAY);
    job->written = 0;
    job->left = 0;

    if (job->unknown) {
        (void) im_redis_is(p->db.redis, reply, IM_REDIS_ARRAY);

    } else if (job->kind == PRESENCE_CLOSE) {
        batch_read_close(job, reply);

    } else {
        batch_read_open(p, job, reply);
    }
}


/* What is left may be of dead instances only. */
static void
batch_read_close(presence_job_t *job, const redisReply *reply)
{
    job->written = 1;
    job->left = (reply->elements > 0 && batch_alive(reply) == 0);
}


static void
batch_read_open(presence_t *p, presence_job_t *job, const redisReply *reply)
{
    int     own;
    size_t  others;

    if (reply->elements != 5
        || reply->element[0]->type != REDIS_REPLY_INTEGER
        || reply->element[1]->type != REDIS_REPLY_INTEGER)
    {
        job->unknown = 1;
        return;
    }

    job->written = 1;
    job->revoked = (reply->element[0]->integer > 0);
    job->replaced = (reply->element[1]->integer > 0);
    job->n_losers = 0;
    job->n_rooms = 0;

    others = batch_read_others(p, job, reply->element[2], &own);
    batch_read_groups(job, reply->element[3]);
    logic_presence_changed(p, job->uid, 0, reply->element[4]);

    job->crowded = (!own && job->n_losers == 0
                    && others >= logic_conf.devices_max);

    if (logic_presence_refused(job)) {
        job->n_losers = 0;
    }
}


int
logic_presence_refused(const presence_job_t *job)
{
    return job->revoked || job->replaced || job->crowded;
}


/* field, value, field, value */
static size_t
batch_read_others(presence_t *p, presence_job_t *job, const redisReply *reply,
    int *own)
{
    char             conn[20];
    size_t           i, others;
    redisReply      *field, *value;
    im_keys_route_t  route;

    *own = 0;
    others = 0;

    snprintf(conn, sizeof(conn), IM_KEY_CONN, job->conn);

    for (i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements;
         i += 2)
    {
        field = reply->element[i];
        value = reply->element[i + 1];

        if (strcmp(field->str, conn) == 0) {
            *own = 1;
            continue;
        }

        if (im_keys_route_read(&route, value->str, value->len) != IM_OK
            || !logic_route_alive(&route))
        {
            continue;
        }

        others++;
        batch_loser(p, job, field->str, &route);
    }

    return others;
}


/* One of two; the newer stays.  It may be the other one: if the worker of this
 * one counted as dead, the other one found nothing to replace when it came. */
static void
batch_loser(presence_t *p, presence_job_t *job, const char *conn,
    const im_keys_route_t *route)
{
    im_str_t           device;
    presence_loser_t  *loser;

    device = batch_str(job->device);

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


static void
batch_read_groups(presence_job_t *job, const redisReply *reply)
{
    job->groups = 1;                   /* unless memory is short */
    job->missing = 0;

    if (reply->type != REDIS_REPLY_STRING
        || im_keys_groups_read(reply->str, reply->len, batch_on_group, job)
           != IM_OK)
    {
        job->missing = 1;
        job->groups = 0;
    }
}


static void
batch_on_group(void *ctx, uint64_t room)
{
    logic_presence_room(ctx, room);
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
            if (logic_presence_suspect(p->db.redis, job->uid) != IM_OK) {
                return IM_ERROR;
            }

            n++;
        }

        for (i = 0; i < job->n_losers; i++) {
            snprintf(key, sizeof(key), IM_KEY_USER, job->uid);
            snprintf(conn, sizeof(conn), IM_KEY_CONN, job->losers[i].conn);
            snprintf(re, sizeof(re), IM_KEY_REPLACED, conn);

            if (logic_args(p->db.redis, 3, "HDEL", key, conn) != IM_OK
                || logic_args(p->db.redis, 5, "SET", re, "1", "EX",
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
 * Ends the connections that the policy does not permit any more.  If the
 * instance that Redis names has no link to us, all instances are notified: the
 * name may be older than the link.  A worker that cannot be reached now gets it
 * as an answer when it announces the connection again (im:re).
 */
static void
batch_replace(const presence_job_t *job)
{
    unsigned      i;
    Im__End       end = IM__END__INIT;
    Im__DownItem  item = IM__DOWN_ITEM__INIT;

    for (i = 0; i < job->n_losers; i++) {
        logic_reply_end_replaced(&item, &end, job->uid, job->losers[i].conn);

        if (logic_workers_send(job->losers[i].instance, &item) != IM_OK) {
            logic_workers_send_all(&item);
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


/* Connections of living instances among these values. */
static size_t
batch_alive(const redisReply *reply)
{
    size_t           i, n;
    im_keys_route_t  route;

    n = 0;

    for (i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {

        if (im_keys_route_read(&route, reply->element[i]->str,
                              reply->element[i]->len) == IM_OK
            && logic_route_alive(&route))
        {
            n++;
        }
    }

    return n;
}
