/*
 * logic_rooms_int.h -- one request about a room, shared by the files of
 * logic_rooms.
 */

#ifndef LOGIC_ROOMS_INT_H
#define LOGIC_ROOMS_INT_H

#include "im_check.h"
#include "logic.pb-c.h"
#include "logic_rooms.h"
#include "logic_rooms_routes.h"

#define LOGIC_ROOMS_NAME_MAX  64       /* bytes */
#define LOGIC_ROOMS_UIDS_MAX  IM_UIDS_MAX  /* of one request */
#define LOGIC_ROOMS_EXACT_MAX 20000    /* users of a room that are counted */
#define LOGIC_ROOMS_CHEAP_MAX 200      /* by a crowd that joins, or in a list */

typedef struct {
    unsigned    role;
    uint64_t    muted_until_ms;
} logic_rooms_member_t;

typedef struct {
    logic_db_t              *db;
    im_rpc_req_t            *req;
    const ProtobufCMessage  *in;
    uint64_t                 uid;      /* who asks */

    uint64_t                 room;
    unsigned                 kind;     /* 0: there is no such room */
    unsigned                 open:1;
    unsigned                 history:1;
    unsigned                 dismissed:1;
    unsigned                 unchanged:1;  /* nothing was to be done */
    unsigned                 role_same:1;  /* nor of this part of it */
    unsigned                 mute_same:1;
    unsigned                 quiet:1;      /* only the user is notified, not
                                              the others in the room */
    char                     name[LOGIC_ROOMS_NAME_MAX + 1];

    uint64_t                 removals; /* so far, with ours */

    logic_rooms_member_t     me;
    logic_rooms_member_t     other;    /* whom it is about */

    /* Whose membership changes, ascending. */
    uint64_t                 uids[LOGIC_ROOMS_UIDS_MAX + 1];
    size_t                   n;
    size_t                   connected;    /* of those who were brought in */

    const char              *code;     /* of a refusal */
    const char              *text;
    char                     note[64];     /* room for a text with a number */
} logic_rooms_t;

/* Starts a request: IM_OK, or it has been answered. */
int logic_rooms_begin(logic_rooms_t *r, logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in, const Im__Caller *caller, uint64_t room);

/* IM_DECLINED, with a code and a text that lives as long as r. */
int logic_rooms_refuse(logic_rooms_t *r, const char *code, const char *text);
/* The same: [rooms] group_max is reached. */
int logic_rooms_group_full(logic_rooms_t *r);
/* Answers a request that did not end in IM_OK. */
void logic_rooms_failed(logic_rooms_t *r, int rc);

/* Adds to r->uids, which stay ascending, each once.  DECLINED: a 0. */
int logic_rooms_users(logic_rooms_t *r, const uint64_t *uids, size_t n);
/* The room as its caller sees it, with texts of r's; members and owner as of
 * logic_rooms_size().  Users who are there are counted up to `exact`.
 * DECLINED: Redis. */
int logic_rooms_show(logic_rooms_t *r, uint64_t members, uint64_t owner,
    size_t exact, Im__Room *room);
/* Answers with the room, or with join->room. */
void logic_rooms_answer(logic_rooms_t *r, Im__RoomJoinReply *join);

/*
 * Runs a step in a transaction, again after a deadlock.  The step ends in
 * IM_OK: committed; IM_DONE: nothing was to be done, IM_OK is returned and
 * r->unchanged set; anything else: rolled back.  Before a commit the groups of
 * r->uids are forgotten in Redis.
 */
int logic_rooms_transact(logic_rooms_t *r, int (*step)(logic_rooms_t *r));

/*
 * Reads.  Locks come first in a transaction: what is read without one is as it
 * was when the first such read was made.  IM_OK, IM_AGAIN, IM_ERROR, and
 * IM_DECLINED where said.
 */
int logic_rooms_lock(logic_rooms_t *r);         /* the room; DECLINED: none */
int logic_rooms_read(logic_rooms_t *r);         /* the same without a lock */
/* Fills in a logic_rooms_t (ctx) from kind, open, history, dismissed_ms and
 * name. */
int logic_rooms_on_room(void *ctx, const im_mysql_value_t *v);
int logic_rooms_lock_users(logic_rooms_t *r);   /* r->uids; DECLINED: missing */
int logic_rooms_member(logic_rooms_t *r, uint64_t uid,
    logic_rooms_member_t *member);
/* Members with a role, and the owner (0: none); owner may be NULL. */
int logic_rooms_size(logic_rooms_t *r, uint64_t *members, uint64_t *owner);
int logic_rooms_removals(logic_rooms_t *r);     /* sets r->removals */
/* Who was removed is remembered in Redis, too, and marked before a change of
 * the room as the groups of its users are (logic_rooms_groups.h). */
int logic_rooms_removed_touch(im_redis_t *redis, uint64_t room,
    const char *mark);
int logic_rooms_removed_refill(logic_rooms_t *r, const char *mark);
/* *no: number of the last removal of a user who is not in it, 0: none. */
int logic_rooms_removal(logic_rooms_t *r, uint64_t uid, uint64_t *no);
/* Takes out of r->uids who is in the room. */
int logic_rooms_without_members(logic_rooms_t *r);
/* DECLINED: one of r->uids is in as many groups as permitted. */
int logic_rooms_check_groups(logic_rooms_t *r);

/* DECLINED, as if there were no such room: the caller (r->me) is not in it and
 * may not enter. */
int logic_rooms_known(logic_rooms_t *r);

/* The caller is owner or admin, and above `other` (0: of nobody); else
 * DECLINED.  Sets r->me and r->other. */
int logic_rooms_actor(logic_rooms_t *r, uint64_t other);
/* DECLINED: the room was dismissed. */
int logic_rooms_alive(logic_rooms_t *r);

/* Writes. */
int logic_rooms_write(logic_rooms_t *r, const char *sql,
    const im_mysql_value_t *v, size_t n);
int logic_rooms_put_members(logic_rooms_t *r);  /* r->uids, as members */
int logic_rooms_put_role(logic_rooms_t *r, uint64_t uid, unsigned role);
int logic_rooms_put_mute(logic_rooms_t *r, uint64_t uid, uint64_t until_ms);
int logic_rooms_delete_member(logic_rooms_t *r, uint64_t uid);
int logic_rooms_put_dismissed(logic_rooms_t *r);
/* Numbers a removal; delete_member does it. */
int logic_rooms_put_removal(logic_rooms_t *r, uint64_t uid);

/*
 * Tells what was committed.  membership: r->uids, to all Connect instances;
 * event: to all who are there.  Redis and links only, so nothing to fail.
 */
void logic_rooms_tell_members(logic_rooms_t *r, int member,
    const char *event);
void logic_rooms_tell_event(logic_rooms_t *r, const char *event, uint64_t uid,
    const char *role, const uint64_t *muted_until_ms);

const char *logic_rooms_role(unsigned role);    /* NULL: none */

#endif
