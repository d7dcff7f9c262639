/*
 * logic_rooms_members.c -- who comes, goes, is brought, sent away, given a role
 * or muted.
 *
 * Each is one transaction under the room's lock (logic_rooms_store.c), and is
 * told once it is committed.  Joining twice does no harm.
 *
 * Jobs of a pool.
 */

#include <string.h>

#include "logic_page.h"
#include "logic_rooms_access.h"
#include "logic_rooms_int.h"
#include "logic_rooms_let.h"
#include "logic_words.h"


static int members_join_group(logic_rooms_t *r);
static int members_join_step(logic_rooms_t *r);
static int members_join_live(logic_rooms_t *r);
static int members_place(logic_rooms_t *r, const char *instance);
static int members_add_step(logic_rooms_t *r);
static int members_add(logic_rooms_t *r);
static int members_leave_step(logic_rooms_t *r);
static int members_remove_step(logic_rooms_t *r);
static int members_set_check(logic_rooms_t *r);
static int members_set_step(logic_rooms_t *r);
static int members_set_role(logic_rooms_t *r, unsigned role);
static int members_set_mute(logic_rooms_t *r);
static int members_actor(logic_rooms_t *r, uint64_t other);
static int members_alive(logic_rooms_t *r);
static int members_role(const char *name, unsigned *role);


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
        rc = (r.kind == LOGIC_ROOM_GROUP) ? members_join_group(&r)
                                          : members_join_live(&r);
    }

    if (rc == IM_OK) {
        rc = logic_page_head(db, 0, r.room, &head);
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
members_join_group(logic_rooms_t *r)
{
    int                         rc;
    const Im__RoomJoinRequest  *q;

    q = (const Im__RoomJoinRequest *) r->in;

    rc = logic_rooms_transact(r, members_join_step);
    if (rc != IM_OK) {
        return rc;
    }

    if (r->n > 0) {
        logic_rooms_tell_members(r, 1, "joined");
        r->me.role = LOGIC_ROLE_MEMBER;
    }

    return (q->instance != NULL) ? members_place(r, q->instance) : IM_OK;
}


static int
members_join_step(logic_rooms_t *r)
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
        rc = members_alive(r);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_member(r, r->uid, &r->me);
    }

    if (rc != IM_OK) {
        return rc;
    }

    if (r->me.role != LOGIC_ROLE_NONE) {
        r->n = 0;
        return IM_DONE;                /* is in it */
    }

    if (!r->open) {
        return logic_rooms_refuse(r, "forbidden", "this group is joined by "
                                  "invitation only");
    }

    return members_add(r);
}


/* Lets the connection's instance have the room's messages. */
static int
members_place(logic_rooms_t *r, const char *instance)
{
    if (logic_rooms_watch(r->db->redis, r->room, instance) != IM_OK
        || logic_words_done(r->db->redis, LOGIC_ROOMS_WATCH) != IM_OK)
    {
        im_log(IM_LOG_WARN, "redis: %s", im_redis_error(r->db->redis));
        return logic_rooms_refuse(r, "unavailable",
                                  "the room cannot be joined now");
    }

    return IM_OK;
}


static int
members_join_live(logic_rooms_t *r)
{
    int                         rc;
    unsigned char               known;
    logic_rooms_where_t         where, own;
    const Im__RoomJoinRequest  *q;

    q = (const Im__RoomJoinRequest *) r->in;

    if (q->instance == NULL || !q->has_conn) {
        return logic_rooms_refuse(r, "unsupported",
                                  "a live room is joined by a WebSocket");
    }

    if (strlen(q->instance) >= LOGIC_ROOMS_ID) {
        return logic_rooms_refuse(r, "bad_request", "no such instance");
    }

    rc = members_alive(r);

    if (rc == IM_OK) {
        rc = logic_rooms_member(r, r->uid, &r->me);
    }

    if (rc != IM_OK) {
        return rc;
    }

    if (!r->open && r->me.role == LOGIC_ROLE_NONE) {
        return logic_rooms_refuse(r, "forbidden", "this room is joined by "
                                  "invitation only");
    }

    own.n = 1;
    strcpy(own.list[0].id, q->instance);

    if (logic_rooms_where(r->db->redis, r->room, &where) != IM_OK
        || logic_rooms_online_of(r->db->redis, r->room, &own, &r->uid, 1,
                                 &known)
           != IM_OK)
    {
        im_log(IM_LOG_WARN, "redis: %s", im_redis_error(r->db->redis));
        return logic_rooms_refuse(r, "unavailable",
                                  "it is not known who is there");
    }

    if (!known
        && logic_rooms_let(r->room, r->uid, where.sum,
                           logic_conf.rooms_live_max, im_mono_us())
           != IM_OK)
    {
        return logic_rooms_refuse(r, "room_full", "the room is full");
    }

    return members_place(r, q->instance);
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

    if (q->n_uids < 1 || q->n_uids > LOGIC_ROOMS_UIDS_MAX) {
        logic_fail(req, "bad_field", "field 'uids' has not 1-%d entries",
                   LOGIC_ROOMS_UIDS_MAX);
        return;
    }

    rc = logic_rooms_transact(&r, members_add_step);

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
members_add_step(logic_rooms_t *r)
{
    int                        rc;
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

    /* who may not add is not told who exists */

    if (rc == IM_OK || (rc == IM_DECLINED && r->kind != 0)) {
        int  actor = members_actor(r, 0);

        rc = (actor == IM_OK) ? rc : actor;
    }

    if (rc == IM_OK) {
        rc = members_alive(r);
    }

    return (rc == IM_OK) ? members_add(r) : rc;
}


/* Those of r->uids who are not in the room, if there are places. */
static int
members_add(logic_rooms_t *r)
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
        return logic_rooms_refuse(r, "room_full", "the room is full");
    }

    if (r->kind == LOGIC_ROOM_GROUP) {
        rc = logic_rooms_check_groups(r);
    }

    return (rc == IM_OK) ? logic_rooms_put_members(r) : rc;
}


void
logic_rooms_leave(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                           rc;
    logic_rooms_t                 r;
    Im__RoomLeaveReply            reply = IM__ROOM_LEAVE_REPLY__INIT;
    const Im__RoomLeaveRequest   *q;

    q = (const Im__RoomLeaveRequest *) in;

    if (logic_rooms_begin(&r, db, req, in, q->caller, q->room) != IM_OK) {
        return;
    }

    rc = logic_rooms_transact(&r, members_leave_step);

    if (rc != IM_OK) {
        logic_rooms_failed(&r, rc);
        return;
    }

    logic_rooms_access_drop(r.room, 0);
    logic_rooms_tell_members(&r, 0, "left");

    reply.has_id = q->has_id;
    reply.id = q->id;
    reply.room = r.room;
    im_rpc_reply(req, &reply.base);
}


/* The owner is the last one to leave, and the room ends with that. */
static int
members_leave_step(logic_rooms_t *r)
{
    int       rc;
    uint64_t  members;

    r->n = 0;
    rc = logic_rooms_users(r, &r->uid, 1);

    if (rc == IM_OK) {
        rc = logic_rooms_lock(r);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_member(r, r->uid, &r->me);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_size(r, &members, NULL);
    }

    if (rc != IM_OK) {
        return rc;
    }

    if (r->me.role == LOGIC_ROLE_NONE) {
        return logic_rooms_refuse(r, "not_member", "one has to be in a room "
                                  "to leave it");
    }

    if (r->me.role == LOGIC_ROLE_OWNER && !r->dismissed) {

        if (members > 1) {
            return logic_rooms_refuse(r, "last_owner", "somebody else must "
                                      "become owner first");
        }

        rc = logic_rooms_put_dismissed(r);
    }

    return (rc == IM_OK) ? logic_rooms_delete_member(r, r->uid) : rc;
}


void
logic_rooms_remove(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                            rc;
    logic_rooms_t                  r;
    Im__RoomRemoveReply            reply = IM__ROOM_REMOVE_REPLY__INIT;
    const Im__RoomRemoveRequest   *q;

    q = (const Im__RoomRemoveRequest *) in;

    if (logic_rooms_begin(&r, db, req, in, q->caller, q->room) != IM_OK) {
        return;
    }

    if (q->uid == r.uid) {
        logic_fail(req, "bad_request", "one leaves a room by 'leave'");
        return;
    }

    rc = logic_rooms_transact(&r, members_remove_step);

    if (rc != IM_OK) {
        logic_rooms_failed(&r, rc);
        return;
    }

    logic_rooms_tell_members(&r, 0, "removed");
    im_rpc_reply(req, &reply.base);
}


/* Of a live room anybody can be sent away, whether Logic knows him or not. */
static int
members_remove_step(logic_rooms_t *r)
{
    int                           rc;
    const Im__RoomRemoveRequest  *q;

    q = (const Im__RoomRemoveRequest *) r->in;

    r->n = 0;
    rc = logic_rooms_users(r, &q->uid, 1);

    if (rc == IM_OK) {
        rc = logic_rooms_lock(r);
    }

    if (rc == IM_OK) {
        rc = members_actor(r, q->uid);
    }

    if (rc != IM_OK) {
        return rc;
    }

    if (r->other.role == LOGIC_ROLE_NONE) {

        if (r->kind == LOGIC_ROOM_LIVE) {
            return IM_DONE;
        }

        return logic_rooms_refuse(r, "not_member",
                                  "this user is not in the room");
    }

    return logic_rooms_delete_member(r, q->uid);
}


void
logic_rooms_set(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                         rc;
    logic_rooms_t               r;
    Im__RoomSetReply            reply = IM__ROOM_SET_REPLY__INIT;
    const Im__RoomSetRequest   *q;

    q = (const Im__RoomSetRequest *) in;

    if (logic_rooms_begin(&r, db, req, in, q->caller, q->room) != IM_OK) {
        return;
    }

    rc = members_set_check(&r);

    if (rc == IM_OK) {
        rc = logic_rooms_transact(&r, members_set_step);
    }

    if (rc != IM_OK) {
        logic_rooms_failed(&r, rc);
        return;
    }

    logic_rooms_access_drop(r.room, q->uid);
    logic_rooms_access_drop(r.room, r.uid);

    if (q->role != NULL) {
        logic_rooms_tell_event(&r, "role", q->uid, q->role, NULL);

        if (strcmp(q->role, "owner") == 0 && q->uid != r.uid) {
            logic_rooms_tell_event(&r, "role", r.uid, "admin", NULL);
        }
    }

    if (q->has_mute_s) {
        logic_rooms_tell_event(&r, "muted", q->uid, NULL,
                               &r.other.muted_until_ms);
    }

    im_rpc_reply(req, &reply.base);
}


static int
members_set_check(logic_rooms_t *r)
{
    unsigned                   role;
    const Im__RoomSetRequest  *q;

    q = (const Im__RoomSetRequest *) r->in;

    if (q->role == NULL && !q->has_mute_s) {
        return logic_rooms_refuse(r, "missing_field",
                                  "field 'role' or 'mute_s' is required");
    }

    if (q->role != NULL && members_role(q->role, &role) != IM_OK) {
        return logic_rooms_refuse(r, "bad_field", "field 'role' is owner, "
                                  "admin or member");
    }

    return (q->uid == 0)
           ? logic_rooms_refuse(r, "no_such_user", "nobody has uid 0")
           : IM_OK;
}


static int
members_set_step(logic_rooms_t *r)
{
    int                        rc;
    unsigned                   role;
    const Im__RoomSetRequest  *q;

    q = (const Im__RoomSetRequest *) r->in;
    r->n = 0;

    rc = logic_rooms_lock(r);

    if (rc == IM_OK) {
        rc = members_alive(r);
    }

    if (rc == IM_OK) {
        rc = members_actor(r, 0);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_member(r, q->uid, &r->other);
    }

    if (rc != IM_OK) {
        return rc;
    }

    if (r->other.role == LOGIC_ROLE_NONE) {

        if (r->kind == LOGIC_ROOM_GROUP) {
            return logic_rooms_refuse(r, "not_member",
                                      "this user is not in the room");
        }

        r->uids[0] = q->uid;
        r->n = 1;
        rc = logic_rooms_lock_users(r);
        r->n = 0;
    }

    if (rc == IM_OK && q->has_mute_s) {
        rc = members_set_mute(r);
    }

    if (rc == IM_OK && q->role != NULL) {
        (void) members_role(q->role, &role);
        rc = members_set_role(r, role);
    }

    return rc;
}


/* There is one owner: who makes another one is admin from then on. */
static int
members_set_role(logic_rooms_t *r, unsigned role)
{
    int                        rc;
    const Im__RoomSetRequest  *q;

    q = (const Im__RoomSetRequest *) r->in;

    if (r->me.role != LOGIC_ROLE_OWNER) {
        return logic_rooms_refuse(r, "forbidden", "only the owner gives "
                                  "roles");
    }

    if (q->uid == r->uid) {
        return (role == LOGIC_ROLE_OWNER) ? IM_OK
               : logic_rooms_refuse(r, "last_owner", "somebody else must "
                                    "become owner first");
    }

    rc = logic_rooms_put_role(r, q->uid, role);

    if (rc == IM_OK && role == LOGIC_ROLE_OWNER) {
        rc = logic_rooms_put_role(r, r->uid, LOGIC_ROLE_ADMIN);
    }

    return rc;
}


static int
members_set_mute(logic_rooms_t *r)
{
    const Im__RoomSetRequest  *q;

    q = (const Im__RoomSetRequest *) r->in;

    if (r->other.role >= r->me.role) {
        return logic_rooms_refuse(r, "forbidden", "only who is above a user "
                                  "mutes him");
    }

    r->other.muted_until_ms = (q->mute_s == 0) ? 0
                              : im_now_ms() + (uint64_t) q->mute_s * 1000;

    return logic_rooms_put_mute(r, q->uid, r->other.muted_until_ms);
}


/* Under the lock: the caller is owner or admin, and above `other` (0: of
 * nobody).  Who is not in the room is told no more than that. */
static int
members_actor(logic_rooms_t *r, uint64_t other)
{
    int  rc;

    rc = logic_rooms_member(r, r->uid, &r->me);

    if (rc == IM_OK && r->me.role < LOGIC_ROLE_ADMIN) {
        return logic_rooms_refuse(r, "forbidden",
                                  "only owner and admins may do that");
    }

    if (rc != IM_OK || other == 0) {
        return rc;
    }

    rc = logic_rooms_member(r, other, &r->other);

    if (rc == IM_OK && r->other.role >= r->me.role) {
        return logic_rooms_refuse(r, "forbidden",
                                  "this user is not below the caller");
    }

    return rc;
}


static int
members_alive(logic_rooms_t *r)
{
    return r->dismissed
           ? logic_rooms_refuse(r, "room_dismissed", "the room was dismissed")
           : IM_OK;
}


static int
members_role(const char *name, unsigned *role)
{
    for (*role = LOGIC_ROLE_MEMBER; *role <= LOGIC_ROLE_OWNER; (*role)++) {
        if (strcmp(name, logic_rooms_role(*role)) == 0) {
            return IM_OK;
        }
    }

    return IM_DECLINED;
}
