/*
 * logic_rooms.c -- rooms: made, looked at, dismissed.
 *
 * A room is a `group`, whose members stand in MySQL, or `live`: in it is who
 * says so with a connection.  Of a live room `members` holds only who has a
 * role (owner, admin; member: invited to one that is not open) and who is
 * muted.
 *
 *   owner   all; there is exactly one
 *   admin   adds, removes and mutes members
 *   member  sends, reads, leaves
 *
 * A room that was dismissed stays as it was, but nobody may send or join; its
 * members can read it, and leave.
 *
 * Jobs of a pool.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_clock.h"
#include "im_log.h"
#include "im_utf8.h"
#include "logic_conf.h"
#include "logic_db.h"
#include "logic_draw.h"
#include "logic_fail.h"
#include "logic_rooms_access.h"
#include "logic_rooms_int.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"




static int rooms_create_check(logic_rooms_t *r);
static int rooms_name_valid(const char *name);
static int rooms_create_step(logic_rooms_t *r);
static int rooms_insert(logic_rooms_t *r);
static int rooms_dismiss_step(logic_rooms_t *r);
static int rooms_compare(const void *a, const void *b);


int
logic_rooms_begin(logic_rooms_t *r, logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in, const Im__Caller *caller, uint64_t room)
{
    memset(r, 0, sizeof(logic_rooms_t));

    r->db = db;
    r->req = req;
    r->in = in;
    r->room = room;

    if (logic_sessions_check(db, req, caller) != IM_OK) {
        return IM_DECLINED;
    }

    r->uid = caller->uid;

    return IM_OK;
}


int
logic_rooms_refuse(logic_rooms_t *r, const char *code, const char *text)
{
    r->code = code;
    r->text = text;

    return IM_DECLINED;
}


int
logic_rooms_group_full(logic_rooms_t *r)
{
    snprintf(r->note, sizeof(r->note), "a group can have at most %u members",
             logic_conf.rooms_group_max);

    return logic_rooms_refuse(r, "room_full", r->note);
}


void
logic_rooms_failed(logic_rooms_t *r, int rc)
{
    if (rc == IM_DECLINED && r->code != NULL) {
        logic_fail(r->req, r->code, "%s", r->text);

    } else {
        logic_db_failed(r->db, r->req);
    }
}


const char *
logic_rooms_role(unsigned role)
{
    static const char *const  names[] = { NULL, "member", "admin", "owner" };

    return names[role & 3];
}


int
logic_rooms_users(logic_rooms_t *r, const uint64_t *uids, size_t n)
{
    size_t  i, k;

    for (i = 0; i < n; i++) {
        r->uids[r->n++] = uids[i];
    }

    qsort(r->uids, r->n, sizeof(uint64_t), rooms_compare);

    for (i = 0, k = 0; i < r->n; i++) {
        if (k == 0 || r->uids[k - 1] != r->uids[i]) {
            r->uids[k++] = r->uids[i];
        }
    }

    r->n = k;

    return (k > 0 && r->uids[0] == 0)
           ? logic_rooms_refuse(r, "no_such_user", "no user has uid 0")
           : IM_OK;
}


static int
rooms_compare(const void *a, const void *b)
{
    const uint64_t  *x = a, *y = b;

    return (*x < *y) ? -1 : (*x > *y);
}


void
logic_rooms_create(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                            rc;
    logic_rooms_t                  r;
    const Im__RoomCreateRequest   *q;

    q = (const Im__RoomCreateRequest *) in;

    if (logic_rooms_begin(&r, db, req, in, q->caller, 0) != IM_OK) {
        return;
    }

    rc = rooms_create_check(&r);

    if (rc == IM_OK) {
        rc = logic_rooms_transact(&r, rooms_create_step);
    }

    if (rc != IM_OK) {
        logic_rooms_failed(&r, rc);
        return;
    }

    if (r.kind == LOGIC_ROOM_GROUP) {
        logic_rooms_tell_members(&r, 1, "joined");
    }

    r.me.role = LOGIC_ROLE_OWNER;
    logic_rooms_answer(&r, NULL);
}


static int
rooms_create_check(logic_rooms_t *r)
{
    const Im__RoomCreateRequest  *q;

    q = (const Im__RoomCreateRequest *) r->in;

    if (strcmp(q->kind, "group") == 0) {
        r->kind = LOGIC_ROOM_GROUP;

    } else if (strcmp(q->kind, "live") == 0) {
        r->kind = LOGIC_ROOM_LIVE;

    } else {
        return logic_rooms_refuse(r, "bad_field",
                                  "field 'kind' is \"group\" or \"live\"");
    }

    if (!rooms_name_valid(q->name)) {
        return logic_rooms_refuse(r, "bad_name", "a room's name is 1 to 64 "
                                  "bytes of UTF-8 without control "
                                  "characters");
    }

    if (r->kind == LOGIC_ROOM_LIVE && q->n_members > 0) {
        return logic_rooms_refuse(r, "bad_field", "a live room has no "
                                  "'members': users join it");
    }

    if (r->kind == LOGIC_ROOM_GROUP && q->has_history && !q->history) {
        return logic_rooms_refuse(r, "bad_field", "a group always has "
                                  "'history'");
    }

    r->open = q->has_open ? q->open : (r->kind == LOGIC_ROOM_LIVE);
    r->history = q->has_history ? q->history : (r->kind == LOGIC_ROOM_GROUP);
    snprintf(r->name, sizeof(r->name), "%s", q->name);

    if (logic_rooms_users(r, q->members, q->n_members) != IM_OK
        || logic_rooms_users(r, &r->uid, 1) != IM_OK)
    {
        return IM_DECLINED;
    }

    if (r->kind == LOGIC_ROOM_GROUP && r->n > logic_conf.rooms_group_max) {
        return logic_rooms_group_full(r);
    }

    return IM_OK;
}


static int
rooms_name_valid(const char *name)
{
    size_t                i, len;
    const unsigned char  *p;

    p = (const unsigned char *) name;
    len = strlen(name);

    if (len < 1 || len > LOGIC_ROOMS_NAME_MAX
        || im_utf8_check(p, len) != IM_OK)
    {
        return 0;
    }

    /* U+0000-001F, U+007F, U+0080-009F */

    for (i = 0; i < len; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f
            || (p[i] == 0xc2 && p[i + 1] < 0xa0))
        {
            return 0;
        }
    }

    return 1;
}


static int
rooms_create_step(logic_rooms_t *r)
{
    int  rc;

    rc = logic_rooms_lock_users(r);

    if (rc == IM_OK && r->kind == LOGIC_ROOM_GROUP) {
        rc = logic_rooms_check_groups(r);
    }

    if (rc == IM_OK) {
        rc = rooms_insert(r);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_put_members(r);
    }

    return (rc == IM_OK) ? logic_rooms_put_role(r, r->uid, LOGIC_ROLE_OWNER)
                         : rc;
}


static int
rooms_insert(logic_rooms_t *r)
{
    int               rc, tries;
    im_mysql_value_t  v[6];

    static const char  sql[] =
        "INSERT INTO rooms (room, kind, name, open, history, created_ms) "
        "VALUES (?, ?, ?, ?, ?, ?)";

    memset(v, 0, sizeof(v));
    v[1].u64 = r->kind;
    v[2].type = IM_MYSQL_STR;
    v[2].str.data = (unsigned char *) r->name;
    v[2].str.len = strlen(r->name);
    v[3].u64 = r->open;
    v[4].u64 = r->history;
    v[5].u64 = im_now_ms();

    rc = IM_DECLINED;                  /* another room has this id */

    for (tries = 0; tries < LOGIC_DRAW_TRIES && rc == IM_DECLINED; tries++) {
        r->room = logic_draw();
        v[0].u64 = r->room;
        rc = logic_rooms_write(r, sql, v, 6);
    }

    return rc;
}


void
logic_rooms_get(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                         rc;
    logic_rooms_t               r;
    const Im__RoomGetRequest   *q;

    q = (const Im__RoomGetRequest *) in;

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
        rc = logic_rooms_alive(&r);
    }

    if (rc == IM_OK) {
        logic_rooms_answer(&r, NULL);

    } else {
        logic_rooms_failed(&r, rc);
    }
}


/* The same words as where there is none. */
int
logic_rooms_known(logic_rooms_t *r)
{
    return (!r->open && r->me.role == LOGIC_ROLE_NONE)
           ? logic_rooms_refuse(r, "no_such_room", "there is no such room")
           : IM_OK;
}


void
logic_rooms_answer(logic_rooms_t *r, Im__RoomJoinReply *join)
{
    int       rc;
    uint64_t  members, owner;
    Im__Room  room;

    rc = logic_rooms_size(r, &members, &owner);

    if (rc == IM_OK) {
        rc = logic_rooms_show(r, members, owner,
                              (join != NULL) ? LOGIC_ROOMS_CHEAP_MAX
                                             : LOGIC_ROOMS_EXACT_MAX, &room);
    }

    if (rc != IM_OK) {
        logic_rooms_failed(r, rc);
        return;
    }

    if (join == NULL) {
        im_rpc_reply(r->req, &room.base);
        return;
    }

    join->room = &room;
    im_rpc_reply(r->req, &join->base);
}


int
logic_rooms_show(logic_rooms_t *r, uint64_t members, uint64_t owner,
    size_t exact, Im__Room *room)
{
    uint64_t              online;
    logic_rooms_routes_t  routes;

    if (logic_rooms_routes(r->db->redis, r->room, &routes) != IM_OK
        || logic_rooms_users_there(r->db->redis, r->room, &routes, exact,
                                   &online)
           != IM_OK)
    {
        im_warn_seldom("rooms are not shown: redis: %s",
                       im_redis_error(r->db->redis));
        return logic_rooms_refuse(r, "unavailable",
                                  "the users who are there cannot be "
                                  "looked up");
    }

    im__room__init(room);
    room->room = r->room;
    room->kind = (r->kind == LOGIC_ROOM_GROUP) ? "group" : "live";
    room->name = r->name;
    room->owner = owner;
    room->open = r->open;
    room->history = r->history;
    room->members = (r->kind == LOGIC_ROOM_GROUP) ? (uint32_t) members : 0;
    room->online = (uint32_t) ((online > r->connected) ? online
                                                       : r->connected);
    room->role = (char *) logic_rooms_role(r->me.role);

    if (r->me.muted_until_ms > im_now_ms()) {
        room->has_muted_until_ms = 1;
        room->muted_until_ms = r->me.muted_until_ms;
    }

    return IM_OK;
}


void
logic_rooms_dismiss(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                             rc;
    logic_rooms_t                   r;
    Im__RoomDismissReply            reply = IM__ROOM_DISMISS_REPLY__INIT;
    const Im__RoomDismissRequest   *q;

    q = (const Im__RoomDismissRequest *) in;

    if (logic_rooms_begin(&r, db, req, in, q->caller, q->room) != IM_OK) {
        return;
    }

    rc = logic_rooms_transact(&r, rooms_dismiss_step);

    if (rc != IM_OK) {
        logic_rooms_failed(&r, rc);
        return;
    }

    if (!r.unchanged) {
        logic_rooms_access_drop(r.room, 0);
        logic_rooms_tell_event(&r, "dismissed", 0, NULL, NULL);
    }

    im_rpc_reply(req, &reply.base);
}


static int
rooms_dismiss_step(logic_rooms_t *r)
{
    int  rc;

    rc = logic_rooms_lock(r);

    if (rc == IM_OK) {
        rc = logic_rooms_member(r, r->uid, &r->me);
    }

    if (rc == IM_OK) {
        rc = logic_rooms_known(r);
    }

    if (rc != IM_OK) {
        return rc;
    }

    if (r->me.role != LOGIC_ROLE_OWNER) {
        return logic_rooms_refuse(r, "forbidden",
                                  "only the owner may dismiss a room");
    }

    return r->dismissed ? IM_DONE : logic_rooms_put_dismissed(r);
}
