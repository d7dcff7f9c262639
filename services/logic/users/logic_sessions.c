/*
 * logic_sessions.c -- tokens.
 *
 * An access token (JWT) is checked at the edge without asking anybody, so it
 * lives 15 minutes.  A refresh token is changed at each use
 * (logic_refresh.c).  Log-out deletes the row, marks the session for as long as
 * a token of it may live (logic_revoked.c), and notifies every Connect
 * instance, which ends its live connections.
 */

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "im_clock.h"
#include "im_jwt.h"
#include "im_keys.h"
#include "im_log.h"
#include "logic_conf.h"
#include "logic_db.h"
#include "logic_fail.h"
#include "logic_refresh.h"
#include "logic_revoked.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"
#include "logic_workers.h"


#define SESSIONS_TOKEN_MAX  1024


typedef struct {
    size_t    n;
    char      texts[LOGIC_REVOKED_SIDS][IM_SID_LEN + 1];
    char     *sids[LOGIC_REVOKED_SIDS];
} sessions_list_t;


static int sessions_on_sid(void *ctx, const im_mysql_value_t *v);
static void sessions_unchecked(logic_db_t *db, im_rpc_req_t *req);
static void sessions_text(im_mysql_value_t *v, const void *p, size_t len);
static void sessions_number(im_mysql_value_t *v, uint64_t n);


int
logic_sessions_begin(logic_db_t *db, im_rpc_req_t *req, uint64_t uid,
    const char *device, const char *password)
{
    uint64_t          now, made;
    unsigned char     raw[16];
    logic_refresh_t   refresh;
    logic_session_t   row;
    im_mysql_value_t  v[9];

    /* a password that was changed since it was looked up makes no session: who
     * changes it ends all that are there, and none comes after that */

    static const char  sql[] =
        "INSERT INTO sessions (sid, uid, device, refresh_hash, family_hash, "
        "created_ms, turned_ms, expires_ms) "
        "SELECT ?, uid, ?, ?, ?, ?, ?, ? FROM users "
        "WHERE uid = ? AND password = ?";

    row.uid = uid;
    snprintf(row.device, sizeof(row.device), "%s", device);

    randombytes_buf(raw, sizeof(raw));
    sodium_bin2base64(row.sid, sizeof(row.sid), raw, sizeof(raw),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    logic_refresh_make(&refresh);

    now = im_now_ms();

    sessions_text(&v[0], row.sid, IM_SID_LEN);
    sessions_text(&v[1], row.device, strlen(row.device));
    sessions_text(&v[2], refresh.hash, sizeof(refresh.hash));
    sessions_text(&v[3], refresh.family, sizeof(refresh.family));
    sessions_number(&v[4], now);
    sessions_number(&v[5], now);
    sessions_number(&v[6], now + (uint64_t) logic_conf.refresh_ttl_s * 1000);
    sessions_number(&v[7], uid);
    sessions_text(&v[8], password, strlen(password));

    if (im_mysql_run(db->mysql, sql, v, 9, NULL, 0, NULL, NULL, &made, NULL)
        != IM_OK)
    {
        logic_db_failed(db, req);
        return IM_ERROR;
    }

    if (made != 1) {
        return IM_DECLINED;
    }

    logic_sessions_answer(req, &row, refresh.token);

    return IM_OK;
}


void
logic_sessions_answer(im_rpc_req_t *req, const logic_session_t *row,
    const char *refresh)
{
    char             token[SESSIONS_TOKEN_MAX];
    int64_t          now;
    Im__TokenReply   reply = IM__TOKEN_REPLY__INIT;
    im_jwt_claims_t  claims;

    now = (int64_t) (im_now_ms() / 1000);

    memset(&claims, 0, sizeof(claims));
    claims.uid = row->uid;
    claims.exp = now + logic_conf.access_ttl_s;
    memcpy(claims.sid, row->sid, sizeof(claims.sid));
    memcpy(claims.device, row->device, sizeof(claims.device));

    if (im_jwt_sign(&logic_jwt_key, &claims, now, token, sizeof(token))
        != IM_OK)
    {
        logic_fail(req, "internal", "cannot sign a token");
        return;
    }

    reply.uid = row->uid;
    reply.access_token = token;
    reply.refresh_token = (char *) refresh;
    reply.expires_in = logic_conf.access_ttl_s;

    im_rpc_reply(req, &reply.base);
}


void
logic_sessions_logout(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    Im__LogoutReply            reply = IM__LOGOUT_REPLY__INIT;
    const Im__LogoutRequest   *r;

    r = (const Im__LogoutRequest *) in;

    if (strlen(r->caller->sid) != IM_SID_LEN) {
        logic_fail(req, "unauthorized", "no session");
        return;
    }

    if (logic_sessions_end(db, req, r->caller->uid, r->caller->sid,
                           "this session was logged out")
        == IM_OK)
    {
        im_rpc_reply(req, &reply.base);
    }
}


int
logic_sessions_end(logic_db_t *db, im_rpc_req_t *req, uint64_t uid, char *sid,
    const char *why)
{
    im_mysql_value_t  v[1];

    static const char  sql[] = "DELETE FROM sessions WHERE sid = ?";

    /* first the mark: from here on the access token is worth nothing */

    if (logic_revoked_add(db->redis, &sid, 1) != IM_OK) {
        im_warn_seldom("sessions cannot be ended: redis: %s",
                       im_redis_error(db->redis));
        logic_fail(req, "unavailable", "the session store does not answer");
        return IM_ERROR;
    }

    sessions_text(&v[0], sid, IM_SID_LEN);

    if (im_mysql_run(db->mysql, sql, v, 1, NULL, 0, NULL, NULL, NULL, NULL)
        != IM_OK)
    {
        logic_db_failed(db, req);
        return IM_ERROR;
    }

    logic_workers_end(uid, sid, "session_revoked", why);

    return IM_OK;
}


/* In portions: a user who logged in a thousand times has as many rows. */
int
logic_sessions_end_others(logic_db_t *db, uint64_t uid, const char *sid)
{
    size_t             i;
    sessions_list_t    list;
    im_mysql_value_t   v[2];

    static const char             find[] =
        "SELECT sid FROM sessions WHERE uid = ? AND sid <> ? LIMIT 100";
    static const char             drop[] = "DELETE FROM sessions WHERE sid = ?";
    static const im_mysql_type_t  columns[] = { IM_MYSQL_STR };

    _Static_assert(LOGIC_REVOKED_SIDS == 100, "the LIMIT is another");

    do {
        list.n = 0;
        sessions_number(&v[0], uid);
        sessions_text(&v[1], sid, strlen(sid));

        if (logic_db_run(db, find, v, 2, columns, 1, sessions_on_sid, &list)
            != IM_OK)
        {
            return IM_ERROR;
        }

        if (list.n > 0
            && logic_revoked_add(db->redis, list.sids, list.n) != IM_OK)
        {
            return IM_ERROR;
        }

        for (i = 0; i < list.n; i++) {
            sessions_text(&v[0], list.sids[i], IM_SID_LEN);

            if (logic_db_run(db, drop, v, 1, NULL, 0, NULL, NULL) != IM_OK) {
                return IM_ERROR;
            }

            logic_workers_end(uid, list.sids[i], "session_revoked",
                            "the password was changed");
        }

    } while (list.n == LOGIC_REVOKED_SIDS);

    return IM_OK;
}


static int
sessions_on_sid(void *ctx, const im_mysql_value_t *v)
{
    sessions_list_t  *list = ctx;

    if (v[0].str.len != IM_SID_LEN || list->n == LOGIC_REVOKED_SIDS) {
        return IM_OK;
    }

    memcpy(list->texts[list->n], v[0].str.data, IM_SID_LEN);
    list->texts[list->n][IM_SID_LEN] = '\0';
    list->sids[list->n] = list->texts[list->n];
    list->n++;

    return IM_OK;
}


void
logic_sessions_auth(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    Im__AuthReply            reply = IM__AUTH_REPLY__INIT;
    const Im__AuthRequest   *r;

    r = (const Im__AuthRequest *) in;

    if (logic_sessions_check(db, req, r->caller) == IM_OK) {
        im_rpc_reply(req, &reply.base);
    }
}


int
logic_sessions_check(logic_db_t *db, im_rpc_req_t *req,
    const Im__Caller *caller)
{
    int  rc;

    rc = logic_sessions_check_append(db, req, caller);

    return (rc == IM_OK) ? logic_sessions_check_reply(db, req) : rc;
}


int
logic_sessions_check_append(logic_db_t *db, im_rpc_req_t *req,
    const Im__Caller *caller)
{
    int       n;
    char      key[64];
    im_str_t  argv[2] = { im_str("EXISTS"), { 0, NULL } };

    if (caller == NULL) {
        logic_fail(req, "unauthorized", "the call names no caller");
        return IM_DECLINED;
    }

    n = snprintf(key, sizeof(key), IM_KEY_REVOKED, caller->sid);
    argv[1].data = (unsigned char *) key;
    argv[1].len = (size_t) n;

    if (im_redis_append(db->redis, 2, argv) != IM_OK) {
        sessions_unchecked(db, req);
        return IM_ERROR;
    }

    return IM_OK;
}


int
logic_sessions_check_reply(logic_db_t *db, im_rpc_req_t *req)
{
    long long  ended;

    if (im_redis_expect_int(db->redis, &ended) != IM_OK) {
        sessions_unchecked(db, req);
        return IM_ERROR;
    }

    if (ended > 0) {
        logic_fail(req, "session_revoked", "this session was ended");
        return IM_DECLINED;
    }

    return IM_OK;
}


static void
sessions_unchecked(logic_db_t *db, im_rpc_req_t *req)
{
    im_warn_seldom("sessions cannot be checked: redis: %s",
                   im_redis_error(db->redis));
    logic_fail(req, "unavailable", "the session store does not answer");
}


static void
sessions_text(im_mysql_value_t *v, const void *p, size_t len)
{
    memset(v, 0, sizeof(*v));
    v->type = IM_MYSQL_STR;
    v->str.data = (unsigned char *) p;
    v->str.len = len;
}


static void
sessions_number(im_mysql_value_t *v, uint64_t n)
{
    memset(v, 0, sizeof(*v));
    v->type = IM_MYSQL_U64;
    v->u64 = n;
}
