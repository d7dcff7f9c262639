/*
 * logic_tickets.c -- tickets for one WebSocket handshake.
 *
 * A browser cannot set headers on a WebSocket, and what stands in a URL gets
 * into logs.  So it may exchange its token for a ticket that is worth nothing
 * once it was used: GETDEL lets one of two handshakes have it.  Redis holds a
 * hash, as the table of sessions does of refresh tokens: who can read it, but
 * not write, cannot log in.
 *
 * The session may end between the two calls, so it is looked at in both.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <hiredis.h>
#include <sodium.h>

#include "im_keys.h"
#include "logic_conf.h"
#include "logic_fail.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"


#define TICKETS_BYTES    16
#define TICKETS_LEN      22            /* of them in base64url */


static void tickets_key(char *key, const char *ticket);
static int tickets_set(im_redis_t *redis, const char *key, const char *row);
static int tickets_take(im_redis_t *redis, const char *key,
    im_keys_ticket_t *row);
static im_str_t tickets_str(const char *s);


void
logic_tickets_create(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    char                      ticket[TICKETS_LEN + 1];
    char                      key[IM_KEY_MAX];
    char                      value[IM_KEYS_TICKET_MAX];
    unsigned char             raw[TICKETS_BYTES];
    Im__TicketReply           reply = IM__TICKET_REPLY__INIT;
    im_keys_ticket_t          row;
    const Im__TicketRequest  *r;

    r = (const Im__TicketRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    if (strlen(r->caller->sid) != IM_SID_LEN || r->caller->device == NULL
        || strlen(r->caller->device) > IM_DEVICE_MAX)
    {
        logic_fail(req, "unauthorized", "no session");
        return;
    }

    randombytes_buf(raw, sizeof(raw));
    sodium_bin2base64(ticket, sizeof(ticket), raw, sizeof(raw),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);

    tickets_key(key, ticket);
    row.uid = r->caller->uid;
    snprintf(row.sid, sizeof(row.sid), "%s", r->caller->sid);
    snprintf(row.device, sizeof(row.device), "%s", r->caller->device);
    im_keys_ticket_write(value, &row);

    if (tickets_set(db->redis, key, value) != IM_OK) {
        logic_fail(req, "unavailable", "the session store does not answer");
        return;
    }

    reply.ticket = ticket;
    reply.expires_in = logic_conf.ticket_ttl_s;

    im_rpc_reply(req, &reply.base);
}


void
logic_tickets_redeem(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                       rc;
    char                      key[IM_KEY_MAX];
    Im__Caller                caller = IM__CALLER__INIT;
    im_keys_ticket_t          row;
    Im__RedeemReply           reply = IM__REDEEM_REPLY__INIT;
    const Im__RedeemRequest  *r;

    r = (const Im__RedeemRequest *) in;

    rc = IM_DECLINED;

    if (strlen(r->ticket) == TICKETS_LEN) {
        tickets_key(key, r->ticket);
        rc = tickets_take(db->redis, key, &row);
    }

    if (rc == IM_DECLINED) {
        logic_fail(req, "unauthorized", "the ticket is not valid: it was "
                   "used, has expired, or never was one");
        return;
    }

    if (rc != IM_OK) {
        logic_fail(req, "unavailable", "the session store does not answer");
        return;
    }

    caller.uid = row.uid;
    caller.sid = row.sid;
    caller.device = row.device;

    if (logic_sessions_check(db, req, &caller) != IM_OK) {
        return;
    }

    reply.uid = row.uid;
    reply.sid = row.sid;
    reply.device = row.device;

    im_rpc_reply(req, &reply.base);
}


static void
tickets_key(char *key, const char *ticket)
{
    char           text[48];
    unsigned char  hash[32];

    crypto_hash_sha256(hash, (const unsigned char *) ticket, TICKETS_LEN);

    sodium_bin2base64(text, sizeof(text), hash, sizeof(hash),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(key, IM_KEY_MAX, IM_KEY_TICKET, text);
}


static int
tickets_set(im_redis_t *redis, const char *key, const char *row)
{
    char      ttl[16];
    im_str_t  argv[5] = {
        im_str("SET"), { 0, NULL }, { 0, NULL }, im_str("EX"), { 0, NULL }
    };

    snprintf(ttl, sizeof(ttl), "%u", logic_conf.ticket_ttl_s);
    argv[1] = tickets_str(key);
    argv[2] = tickets_str(row);
    argv[4] = tickets_str(ttl);

    if (im_redis_append(redis, 5, argv) != IM_OK) {
        return IM_ERROR;
    }

    return im_redis_skip(redis, 1);
}


/* IM_DECLINED: there is none. */
static int
tickets_take(im_redis_t *redis, const char *key, im_keys_ticket_t *row)
{
    int          rc;
    im_str_t     argv[2] = { im_str("GETDEL"), { 0, NULL } };
    redisReply  *reply;

    argv[1] = tickets_str(key);

    if (im_redis_append(redis, 2, argv) != IM_OK) {
        return IM_ERROR;
    }

    reply = im_redis_expect(redis, IM_REDIS_STR | IM_REDIS_NIL);
    if (reply == NULL) {
        return IM_ERROR;
    }

    rc = (reply->type == REDIS_REPLY_STRING)
         ? im_keys_ticket_read(row, reply->str, reply->len) : IM_DECLINED;

    im_redis_free(reply);

    return rc;
}


static im_str_t
tickets_str(const char *s)
{
    im_str_t  str;

    str.data = (unsigned char *) s;
    str.len = strlen(s);

    return str;
}
