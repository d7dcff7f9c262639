/*
 * logic_rooms_join.c -- a user joins a room, or is added.
 *
 * A group: one transaction under the room's lock (logic_rooms_store.c); workers
 * are notified once it is committed.  A live room: only the route of the
 * connection is written.  Joining twice does no harm.
 *
 * Jobs of a pool.
 */

#include <stdio.h>
#include <string.h>

#include "im_clock.h"
#include "im_log.h"
#include "logic_args.h"
#include "logic_conf.h"
#include "logic_db.h"
#include "logic_rooms_admit.h"
#include "logic_rooms_int.h"
#include "logic_rpcs.h"


static int join_group(logic_rooms_t *r);
static int join_step(logic_rooms_t *r);
static int join_place(logic_rooms_t *r, const char *instance);
static int join_live(logic_rooms_t *r);
static int join_live_place(logic_rooms_t *r, const char *instance);
static int join_add_step(logic_rooms_t *r);
static int join_add(logic_rooms_t *r);


void
logic_rooms_join(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                          rc;
    uint64_t                     head;
    logic_rooms_t                r;
    Im__RoomJoinReply            reply = IM__ROOM_JOIN_REPLY__INIT;
    const Im__RoomJoinRequest   *q;

    q = (const Im__RoomJoinRequest *) in;

    if (logic_rooms_begin(&r, db, req, in, q->caller, q->room) != IM_OK) {
        return;
    }

    rc = logic_rooms_read(&r);

    if (rc == IM_OK) {
        rc = logic_rooms_member(&r, r.uid, &r.me);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_known(&r);
    }

    if (rc == IM_OK) {
        rc = (r.kind == LOGIC_ROOM_GROUP) ? join_group(&r)
                                          : join_live(&r);
    }

    if (rc == IM_OK) {
        rc = logic_db_head(db, 0, r.room, &head);
    }

    if (rc != IM_OK) {
        logic_rooms_failed(&r, rc);
        return;
    }

    reply.has_id = q->has_id;
    reply.id = q->id;
    reply.head = head;
    logic_rooms_answer(&r, &reply);
}


static int
join_group(logic_rooms_t *r)
{
    int                         rc;
    const Im__RoomJoinRequest  *q;

    q = (const Im__RoomJoinRequest *) r->in;

    rc = logic_rooms_transact(r, join_step);
    if (rc != IM_OK) {
        return rc;
    }

    if (r->n > 0) {
        logic_rooms_tell_members(r, 1, "joined");
        r->me.role = LOGIC_ROLE_MEMBER;
    }

    return (q->instance != NULL) ? join_place(r, q->instance) : IM_OK;
}


static int
join_step(logic_rooms_t *r)
{
    int  rc;

    r->n = 0;
    rc = logic_rooms_users(r, &r->uid, 1);

    if (rc == IM_OK) {
        rc = logic_rooms_lock(r);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_lock_users(r);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_member(r, r->uid, &r->me);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_known(r);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_alive(r);
    }

    if (rc != IM_OK) {
        return rc;
    }

    if (r->me.role != LOGIC_ROLE_NONE) {
        r->n = 0;
        return IM_DONE;                /* is in it */
    }

    return join_add(r);
}


/* Lets the connection's instance have the room's messages. */
static int
join_place(logic_rooms_t *r, const char *instance)
{
    if (logic_rooms_watch(r->db->redis, r->room, instance) != IM_OK
        || logic_args_done(r->db->redis, LOGIC_ROOMS_WATCH) != IM_OK)
    {
        im_warn_seldom("rooms cannot be joined: redis: %s",
                       im_redis_error(r->db->redis));
        return logic_rooms_refuse(r, "unavailable",
                                  "the room cannot be joined now");
    }

    return IM_OK;
}


static int
join_live(logic_rooms_t *r)
{
    int                         rc;
    const Im__RoomJoinRequest  *q;

    q = (const Im__RoomJoinRequest *) r->in;

    if (q->instance == NULL || !q->has_conn) {
        return logic_rooms_refuse(r, "unsupported",
                                  "only a WebSocket can join a live room");
    }

    if (strlen(q->instance) >= LOGIC_ROOMS_ID) {
        return logic_rooms_refuse(r, "bad_request", "no such instance");
    }

    rc = logic_rooms_alive(r);

    if (rc == IM_OK) {
        rc = join_live_place(r, q->instance);
    }

    return (rc == IM_OK) ? join_place(r, q->instance) : rc;
}


/* Who is there by another connection of this instance takes no place. */
static int
join_live_place(logic_rooms_t *r, const char *instance)
{
    unsigned char         known;
    logic_rooms_routes_t  routes, own;

    own.n = 1;
    snprintf(own.list[0].id, sizeof(own.list[0].id), "%s", instance);

    if (logic_rooms_routes(r->db->redis, r->room, &routes) != IM_OK
        || logic_rooms_online_of(r->db->redis, r->room, &own, &r->uid, 1,
                                 &known)
           != IM_OK)
    {
        im_warn_seldom("joins cannot look up the users of a room: redis: %s",
                       im_redis_error(r->db->redis));
        return logic_rooms_refuse(r, "unavailable",
                                  "the users who are there cannot be "
                                  "looked up");
    }

    if (!known
        && logic_rooms_admit(r->room, r->uid, routes.sum,
                             logic_conf.rooms_live_max, im_mono_us())
           != IM_OK)
    {
        return logic_rooms_refuse(r, "room_full", "the room is full");
    }

    return IM_OK;
}


void
logic_rooms_add(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                         rc;
    logic_rooms_t               r;
    Im__RoomAddReply            reply = IM__ROOM_ADD_REPLY__INIT;
    const Im__RoomAddRequest   *q;

    q = (const Im__RoomAddRequest *) in;

    if (logic_rooms_begin(&r, db, req, in, q->caller, q->room) != IM_OK) {
        return;
    }

    rc = logic_rooms_transact(&r, join_add_step);

    if (rc != IM_OK) {
        logic_rooms_failed(&r, rc);
        return;
    }

    if (r.kind == LOGIC_ROOM_GROUP) {
        logic_rooms_tell_members(&r, 1, "joined");
    }

    reply.added = (uint32_t) r.n;
    im_rpc_reply(req, &reply.base);
}


static int
join_add_step(logic_rooms_t *r)
{
    int                        rc, actor;
    const Im__RoomAddRequest  *q;

    q = (const Im__RoomAddRequest *) r->in;

    r->n = 0;
    rc = logic_rooms_users(r, q->uids, q->n_uids);

    if (rc == IM_OK) {
        rc = logic_rooms_lock(r);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_lock_users(r);
    }

    /* without permission to add, nobody learns who exists */

    if (rc == IM_OK || (rc == IM_DECLINED && r->kind != 0)) {
        actor = logic_rooms_actor(r, 0);
        rc = (actor == IM_OK) ? rc : actor;
    }

    if (rc == IM_OK) {
        rc = logic_rooms_alive(r);
    }

    return (rc == IM_OK) ? join_add(r) : rc;
}


/* Those of r->uids who are not in the room, if there are places. */
static int
join_add(logic_rooms_t *r)
{
    int       rc;
    uint64_t  members;

    rc = logic_rooms_without_members(r);

    if (rc != IM_OK) {
        return rc;
    }

    if (r->n == 0) {
        return IM_DONE;
    }

    rc = logic_rooms_size(r, &members, NULL);

    if (rc != IM_OK) {
        return rc;
    }

    if (members + r->n > logic_conf.rooms_group_max) {
        return logic_rooms_group_full(r);
    }

    if (r->kind == LOGIC_ROOM_GROUP) {
        rc = logic_rooms_check_groups(r);
    }

    return (rc == IM_OK) ? logic_rooms_put_members(r) : rc;
}
