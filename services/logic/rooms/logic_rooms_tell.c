/*
 * logic_rooms_tell.c -- notifies Connect instances of a change of a room.
 *
 * First the routes of the new members are written to Redis, so that a message
 * that is sent from now on finds these instances; then the instances are
 * notified of the members.  If Redis does not answer, they report the room
 * themselves when they get the notification.
 *
 * Functions of a pool's thread.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis.h>

#include "im_keys.h"
#include "im_log.h"
#include "logic_args.h"
#include "logic_devices.h"
#include "logic_rooms_access.h"
#include "logic_rooms_int.h"
#include "logic_workers.h"


static int tell_watch(logic_rooms_t *r);
static int tell_find(logic_rooms_t *r, logic_rooms_routes_t *found);
static void tell_found(logic_rooms_routes_t *found, const im_str_t *instance);


void
logic_rooms_tell_members(logic_rooms_t *r, int member, const char *name)
{
    size_t           i;
    Im__DownItem     item = IM__DOWN_ITEM__INIT;
    Im__RoomEvent    event = IM__ROOM_EVENT__INIT;
    Im__Membership   membership = IM__MEMBERSHIP__INIT;

    for (i = 0; i < r->n; i++) {
        logic_rooms_access_drop(r->room, r->uids[i]);
    }

    if (!member) {
        logic_rooms_access_drop(r->room, 0);   /* knew of fewer removals */
    }

    if (member && r->n > 0 && tell_watch(r) != IM_OK) {
        im_warn_seldom("workers do not learn of new members: redis: %s",
                       im_redis_error(r->db->redis));
    }

    event.room = r->room;
    event.event = (char *) name;
    event.has_uid = 1;

    if (member) {
        event.role = (char *) logic_rooms_role(LOGIC_ROLE_MEMBER);
    }

    membership.room = r->room;
    membership.member = member;
    membership.event = &event;
    membership.removals = r->removals;
    membership.quiet = r->quiet;

    item.item_case = IM__DOWN_ITEM__ITEM_MEMBERSHIP;
    item.membership = &membership;

    for (i = 0; i < r->n; i++) {
        event.uid = r->uids[i];
        membership.uid = r->uids[i];
        logic_workers_send_all(&item);
    }
}


static int
tell_watch(logic_rooms_t *r)
{
    size_t                i;
    logic_rooms_routes_t  found = { .n = 0 };

    if (tell_find(r, &found) != IM_OK) {
        return IM_ERROR;
    }

    for (i = 0; i < found.n; i++) {
        if (logic_rooms_watch(r->db->redis, r->room, found.list[i].id)
            != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return logic_args_done(r->db->redis,
                           (unsigned) found.n * LOGIC_ROOMS_WATCH);
}


/* The instances where each user is connected.  Who has one is there from now
 * on, before any worker has reported it. */
static int
tell_find(logic_rooms_t *r, logic_rooms_routes_t *found)
{
    char             key[IM_KEY_MAX];
    size_t           i, k;
    unsigned         here;
    redisReply      *reply;
    im_keys_route_t  route;

    r->connected = 0;

    for (i = 0; i < r->n; i++) {
        snprintf(key, sizeof(key), IM_KEY_USER, r->uids[i]);

        if (logic_args(r->db->redis, 2, "HVALS", key) != IM_OK) {
            return IM_ERROR;
        }
    }

    for (i = 0; i < r->n; i++) {
        reply = logic_args_array(r->db->redis);
        if (reply == NULL) {
            return IM_ERROR;
        }

        here = 0;

        for (k = 0; k < reply->elements; k++) {

            if (im_keys_route_read(&route, reply->element[k]->str,
                                   reply->element[k]->len) == IM_OK)
            {
                tell_found(found, &route.instance);
                here |= logic_route_alive(&route);
            }
        }

        r->connected += here;
        im_redis_free(reply);
    }

    return IM_OK;
}


static void
tell_found(logic_rooms_routes_t *found, const im_str_t *instance)
{
    size_t  i;

    if (instance->len >= LOGIC_ROOMS_ID) {
        return;
    }

    for (i = 0; i < found->n; i++) {
        if (strncmp(found->list[i].id, (char *) instance->data, instance->len)
            == 0
            && found->list[i].id[instance->len] == '\0')
        {
            return;
        }
    }

    if (found->n < LOGIC_ROOMS_INSTANCES) {
        memcpy(found->list[found->n].id, instance->data, instance->len);
        found->list[found->n++].id[instance->len] = '\0';
    }
}


void
logic_rooms_tell_event(logic_rooms_t *r, const char *name, uint64_t uid,
    const char *role, const uint64_t *muted_until_ms)
{
    Im__DownItem     item = IM__DOWN_ITEM__INIT;
    Im__RoomEvent    event = IM__ROOM_EVENT__INIT;

    event.room = r->room;
    event.event = (char *) name;
    event.has_uid = (uid != 0);
    event.uid = uid;
    event.role = (char *) role;

    if (muted_until_ms != NULL) {
        event.has_muted_until_ms = 1;
        event.muted_until_ms = *muted_until_ms;
    }

    item.item_case = IM__DOWN_ITEM__ITEM_ROOM_EVENT;
    item.room_event = &event;

    logic_workers_send_all(&item);
}
