/*
 * logic_rooms_members.c -- a member leaves, is removed, gets a role or a mute.
 *
 * Each is one transaction under the room's lock (logic_rooms_store.c), and
 * workers are notified once it is committed.  A request that changes nothing,
 * because it is a repeat perhaps, is answered like the first, and nobody is
 * notified.
 *
 * Jobs of a pool.
 */

#include <string.h>

#include "im_clock.h"
#include "logic_fail.h"
#include "logic_rooms_access.h"
#include "logic_rooms_int.h"
#include "logic_rpcs.h"


static int members_leave_step(logic_rooms_t *r);
static int members_leave_again(logic_rooms_t *r);
static int members_remove_step(logic_rooms_t *r);
static int members_remove_other(logic_rooms_t *r, uint64_t uid);
static int members_was_there(logic_rooms_t *r, uint64_t uid);
static int members_set_check(logic_rooms_t *r);
static int members_set_step(logic_rooms_t *r);
static int members_set_role(logic_rooms_t *r, unsigned role);
static int members_set_mute(logic_rooms_t *r);
static int members_role(const char *name, unsigned *role);


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

    if (!r.unchanged) {
        logic_rooms_access_drop(r.room, 0);
        logic_rooms_tell_members(&r, 0, "left");
    }

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
        return members_leave_again(r);
    }

    if (r->me.role == LOGIC_ROLE_OWNER && !r->dismissed) {

        if (members > 1) {
            return logic_rooms_refuse(r, "last_owner", "another member must "
                                      "become owner first");
        }

        rc = logic_rooms_put_dismissed(r);
    }

    return (rc == IM_OK) ? logic_rooms_delete_member(r, r->uid) : rc;
}


/* Who has left a group, or was removed from it, is out of it as he wants. */
static int
members_leave_again(logic_rooms_t *r)
{
    int       rc;
    uint64_t  no;

    no = 0;
    rc = (r->kind == LOGIC_ROOM_GROUP)
         ? logic_rooms_removal(r, r->uid, &no) : IM_OK;

    if (rc == IM_OK && no != 0) {
        return IM_DONE;
    }

    if (rc == IM_OK) {
        rc = logic_rooms_known(r);
    }

    return (rc == IM_OK)
           ? logic_rooms_refuse(r, "not_member",
                                "the caller is not in this room")
           : rc;
}


void
logic_rooms_remove(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                            rc, there;
    logic_rooms_t                  r;
    Im__RoomRemoveReply            reply = IM__ROOM_REMOVE_REPLY__INIT;
    const Im__RoomRemoveRequest   *q;

    q = (const Im__RoomRemoveRequest *) in;

    if (logic_rooms_begin(&r, db, req, in, q->caller, q->room) != IM_OK) {
        return;
    }

    if (q->uid == r.uid) {
        logic_fail(req, "bad_request", "use 'leave' to leave a room");
        return;
    }

    rc = logic_rooms_transact(&r, members_remove_step);

    if (rc != IM_OK) {
        logic_rooms_failed(&r, rc);
        return;
    }

    if (!r.unchanged) {
        there = r.kind == LOGIC_ROOM_GROUP || members_was_there(&r, q->uid);
        r.quiet = (!there && r.other.role == LOGIC_ROLE_NONE);
        logic_rooms_tell_members(&r, 0, "removed");
    }

    im_rpc_reply(req, &reply.base);
}


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
        rc = logic_rooms_actor(r, q->uid);
    }

    if (rc != IM_OK) {
        return rc;
    }

    return (r->other.role == LOGIC_ROLE_NONE)
           ? members_remove_other(r, q->uid)
           : logic_rooms_delete_member(r, q->uid);
}


/*
 * Of a live room anybody can be sent away, whether Logic knows that he is in it
 * or not: he may be about to join.
 */
static int
members_remove_other(logic_rooms_t *r, uint64_t uid)
{
    int  rc;

    if (r->kind == LOGIC_ROOM_GROUP) {
        return IM_DONE;
    }

    rc = logic_rooms_lock_users(r);

    return (rc == IM_DECLINED) ? IM_DONE
           : (rc == IM_OK) ? logic_rooms_put_removal(r, uid) : rc;
}


/* Only the first of two removals finds him in Redis.  1 if Redis does not
 * answer: better twice than never. */
static int
members_was_there(logic_rooms_t *r, uint64_t uid)
{
    int                   there;
    logic_rooms_routes_t  routes;

    return logic_rooms_routes(r->db->redis, r->room, &routes) != IM_OK
           || logic_rooms_take_out(r->db->redis, r->room, &routes, uid, &there)
              != IM_OK
           || there;
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

    if (q->role != NULL && !r.role_same) {
        logic_rooms_tell_event(&r, "role", q->uid, q->role, NULL);

        if (strcmp(q->role, "owner") == 0 && q->uid != r.uid) {
            logic_rooms_tell_event(&r, "role", r.uid, "admin", NULL);
        }
    }

    if (q->has_mute_s && !r.mute_same) {
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
           ? logic_rooms_refuse(r, "no_such_user", "no user has uid 0")
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
        rc = logic_rooms_actor(r, 0);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_alive(r);
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
    r->role_same = (r->other.role == role);

    if (r->role_same) {
        return IM_OK;
    }

    if (r->me.role != LOGIC_ROLE_OWNER) {
        return logic_rooms_refuse(r, "forbidden", "only the owner may "
                                  "change roles");
    }

    if (q->uid == r->uid) {
        return logic_rooms_refuse(r, "last_owner", "another member must "
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
        return logic_rooms_refuse(r, "forbidden", "only a user with a higher "
                                  "role may mute this user");
    }

    r->mute_same = (q->mute_s == 0
                    && r->other.muted_until_ms <= im_now_ms());

    r->other.muted_until_ms = (q->mute_s == 0) ? 0
                              : im_now_ms() + (uint64_t) q->mute_s * 1000;

    return logic_rooms_put_mute(r, q->uid, r->other.muted_until_ms);
}


/* A caller who is not in the room learns no more than that. */
int
logic_rooms_actor(logic_rooms_t *r, uint64_t other)
{
    int  rc;

    rc = logic_rooms_member(r, r->uid, &r->me);

    if (rc == IM_OK) {
        rc = logic_rooms_known(r);
    }

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
                                  "this user's role is not below the caller's");
    }

    return rc;
}


int
logic_rooms_alive(logic_rooms_t *r)
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
