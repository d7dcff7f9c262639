/*
 * logic_refresh.c -- refresh tokens, each good for one use (RFC 9700, 4.14.2).
 *
 *   token = base64url( family: 16 bytes | secret: 32 bytes )
 *
 * The family stays for as long as the session, the secret changes at each use;
 * the row has SHA-256 of the family and of the whole token.  So every earlier
 * token of a session is recognised by its family, however often it was changed
 * since, without keeping any of them: who shows one has either stolen it or was
 * stolen from.  Nobody can tell which, so the session ends, for both.
 *
 * The next secret is an HMAC of the token under our key.  A client that lost
 * the answer may therefore repeat its call: within IM_REFRESH_REPEAT_MS of the
 * first use it gets the same successor again.  A thief gains nothing by these
 * seconds: he and the owner then hold one token, and the second of them to use
 * it, later than that, ends the session.
 *
 * Not chosen: to keep the last token only, which a thief who refreshes twice
 * gets around; the session's id in the token, which is in every access token,
 * so that whoever sees one could end the session.
 *
 * Tokens of earlier versions are 32 random bytes without a family.  They are
 * good until they are used.  An earlier im-logic refuses the tokens of this
 * one, so during an update replace all of them within access_ttl_s.
 */

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "im_clock.h"
#include "im_log.h"
#include "im_timeouts.h"
#include "logic_conf.h"
#include "logic_db.h"
#include "logic_fail.h"
#include "logic_refresh.h"
#include "logic_revoked.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"


#define REFRESH_FAMILY     16
#define REFRESH_SECRET     32
#define REFRESH_OLD_LEN    43          /* of earlier versions */


typedef struct {
    logic_session_t  session;
    unsigned char    hash[LOGIC_REFRESH_HASH];
    uint64_t         turned_ms;        /* the current token was made */
} refresh_row_t;


static int refresh_find(logic_db_t *db, refresh_row_t *row, const char *sql,
    const unsigned char *hash);
static int refresh_on_row(void *ctx, const im_mysql_value_t *v);
static void refresh_next(logic_refresh_t *next, const unsigned char *raw);
static int refresh_turn(logic_db_t *db, const refresh_row_t *row,
    const logic_refresh_t *next);
static void refresh_end(logic_db_t *db, im_rpc_req_t *req,
    const refresh_row_t *row);
static void refresh_old(logic_db_t *db, im_rpc_req_t *req, const char *token);
static void refresh_hash(logic_refresh_t *r, const unsigned char *raw);
static void refresh_bytes(im_mysql_value_t *v, const void *p, size_t len);
static void refresh_number(im_mysql_value_t *v, uint64_t n);


#define REFRESH_COLUMNS  "uid, sid, device, refresh_hash, turned_ms"

static const char  refresh_by_family[] =
    "SELECT " REFRESH_COLUMNS " FROM sessions WHERE family_hash = ? "
    "AND expires_ms > ?";
static const char  refresh_by_hash[] =
    "SELECT " REFRESH_COLUMNS " FROM sessions WHERE refresh_hash = ? "
    "AND expires_ms > ? AND family_hash IS NULL";


void
logic_refresh_make(logic_refresh_t *r)
{
    unsigned char  raw[REFRESH_FAMILY + REFRESH_SECRET];

    randombytes_buf(raw, sizeof(raw));
    refresh_hash(r, raw);
}


void
logic_refresh_use(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                         rc, tries;
    uint64_t                    now;
    refresh_row_t               row;
    unsigned char               raw[REFRESH_FAMILY + REFRESH_SECRET];
    logic_refresh_t             shown, next;
    const Im__RefreshRequest   *r;

    r = (const Im__RefreshRequest *) in;

    if (strlen(r->refresh_token) == REFRESH_OLD_LEN) {
        refresh_old(db, req, r->refresh_token);
        return;
    }

    if (strlen(r->refresh_token) != LOGIC_REFRESH_LEN
        || sodium_base642bin(raw, sizeof(raw), r->refresh_token,
                             LOGIC_REFRESH_LEN, NULL, NULL, NULL,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
    {
        logic_fail(req, "unauthorized", "the refresh token is not valid");
        return;
    }

    refresh_hash(&shown, raw);
    refresh_next(&next, raw);

    /* a second round: somebody else used it between our two statements */

    for (tries = 0; tries < 2; tries++) {
        rc = refresh_find(db, &row, refresh_by_family, shown.family);

        if (rc == IM_ERROR) {
            logic_db_failed(db, req);
            return;
        }

        if (rc == IM_DECLINED) {
            logic_fail(req, "unauthorized", "the refresh token is not valid");
            return;
        }

        if (sodium_memcmp(row.hash, shown.hash, sizeof(row.hash)) != 0) {
            break;
        }

        rc = refresh_turn(db, &row, &next);

        if (rc == IM_ERROR) {
            logic_db_failed(db, req);
            return;
        }

        if (rc == IM_OK) {
            logic_sessions_answer(req, &row.session, next.token);
            return;
        }
    }

    now = im_now_ms();

    if (sodium_memcmp(row.hash, next.hash, sizeof(row.hash)) == 0
        && now < row.turned_ms + IM_REFRESH_REPEAT_MS)
    {
        logic_sessions_answer(req, &row.session, next.token);
        return;
    }

    refresh_end(db, req, &row);
}


/* IM_DECLINED: there is no such session. */
static int
refresh_find(logic_db_t *db, refresh_row_t *row, const char *sql,
    const unsigned char *hash)
{
    im_mysql_value_t  v[2];

    static const im_mysql_type_t  columns[] = {
        IM_MYSQL_U64, IM_MYSQL_STR, IM_MYSQL_STR, IM_MYSQL_STR, IM_MYSQL_U64
    };

    row->session.uid = 0;
    refresh_bytes(&v[0], hash, LOGIC_REFRESH_HASH);
    refresh_number(&v[1], im_now_ms());

    if (im_mysql_run(db->mysql, sql, v, 2, columns, 5, refresh_on_row, row,
                     NULL, NULL)
        != IM_OK)
    {
        return IM_ERROR;
    }

    return (row->session.uid != 0) ? IM_OK : IM_DECLINED;
}


static int
refresh_on_row(void *ctx, const im_mysql_value_t *v)
{
    refresh_row_t  *row = ctx;

    if (v[1].str.len != IM_SID_LEN || v[2].str.len > IM_DEVICE_MAX
        || v[3].str.len != sizeof(row->hash))
    {
        return IM_OK;
    }

    row->session.uid = v[0].u64;
    memcpy(row->session.sid, v[1].str.data, IM_SID_LEN);
    row->session.sid[IM_SID_LEN] = '\0';
    memcpy(row->session.device, v[2].str.data, v[2].str.len);
    row->session.device[v[2].str.len] = '\0';
    memcpy(row->hash, v[3].str.data, sizeof(row->hash));
    row->turned_ms = v[4].u64;

    return IM_OK;
}


/* The same for the same token, as long as our key is. */
static void
refresh_next(logic_refresh_t *next, const unsigned char *raw)
{
    unsigned char                 made[REFRESH_FAMILY + REFRESH_SECRET];
    crypto_auth_hmacsha256_state  hmac;

    static const unsigned char    use[] = "im refresh token, next secret";

    _Static_assert(crypto_auth_hmacsha256_BYTES == REFRESH_SECRET, "length");

    memcpy(made, raw, REFRESH_FAMILY);

    crypto_auth_hmacsha256_init(&hmac, logic_jwt_key.data, logic_jwt_key.len);
    crypto_auth_hmacsha256_update(&hmac, use, sizeof(use));
    crypto_auth_hmacsha256_update(&hmac, raw, sizeof(made));
    crypto_auth_hmacsha256_final(&hmac, made + REFRESH_FAMILY);

    refresh_hash(next, made);
}


/* IM_DECLINED: its token is another one meanwhile. */
static int
refresh_turn(logic_db_t *db, const refresh_row_t *row,
    const logic_refresh_t *next)
{
    uint64_t          now, changed;
    im_mysql_value_t  v[6];

    static const char  sql[] =
        "UPDATE sessions SET refresh_hash = ?, family_hash = ?, "
        "turned_ms = ?, expires_ms = ? WHERE sid = ? AND refresh_hash = ?";

    now = im_now_ms();

    refresh_bytes(&v[0], next->hash, sizeof(next->hash));
    refresh_bytes(&v[1], next->family, sizeof(next->family));
    refresh_number(&v[2], now);
    refresh_number(&v[3], now + (uint64_t) logic_conf.refresh_ttl_s * 1000);
    refresh_bytes(&v[4], row->session.sid, IM_SID_LEN);
    refresh_bytes(&v[5], row->hash, sizeof(row->hash));

    if (im_mysql_run(db->mysql, sql, v, 6, NULL, 0, NULL, NULL, &changed,
                     NULL)
        != IM_OK)
    {
        return IM_ERROR;
    }

    return (changed == 1) ? IM_OK : IM_DECLINED;
}


/* As a log-out. */
static void
refresh_end(logic_db_t *db, im_rpc_req_t *req, const refresh_row_t *row)
{
    char  sid[IM_SID_LEN + 1];

    memcpy(sid, row->session.sid, sizeof(sid));

    im_log(IM_LOG_WARN, "user %llu: a refresh token of session %.6s... was "
           "used twice; the session is ended",
           (unsigned long long) row->session.uid, sid);

    if (logic_sessions_end(db, req, row->session.uid, sid,
                           "a refresh token was used twice")
        == IM_OK)
    {
        logic_fail(req, "session_revoked", "this refresh token was used "
                   "before; the session is ended");
    }
}


static void
refresh_old(logic_db_t *db, im_rpc_req_t *req, const char *token)
{
    int               rc;
    refresh_row_t     row;
    logic_refresh_t   next;
    unsigned char     hash[LOGIC_REFRESH_HASH];

    crypto_hash_sha256(hash, (const unsigned char *) token, REFRESH_OLD_LEN);

    rc = refresh_find(db, &row, refresh_by_hash, hash);

    if (rc == IM_OK) {
        logic_refresh_make(&next);
        rc = refresh_turn(db, &row, &next);
    }

    if (rc == IM_OK) {
        logic_sessions_answer(req, &row.session, next.token);

    } else if (rc == IM_DECLINED) {
        logic_fail(req, "unauthorized", "the refresh token is not valid");

    } else {
        logic_db_failed(db, req);
    }
}


static void
refresh_hash(logic_refresh_t *r, const unsigned char *raw)
{
    sodium_bin2base64(r->token, sizeof(r->token), raw,
                      REFRESH_FAMILY + REFRESH_SECRET,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    crypto_hash_sha256(r->hash, (unsigned char *) r->token, LOGIC_REFRESH_LEN);
    crypto_hash_sha256(r->family, raw, REFRESH_FAMILY);
}


static void
refresh_bytes(im_mysql_value_t *v, const void *p, size_t len)
{
    memset(v, 0, sizeof(*v));
    v->type = IM_MYSQL_STR;
    v->str.data = (unsigned char *) p;
    v->str.len = len;
}


static void
refresh_number(im_mysql_value_t *v, uint64_t n)
{
    memset(v, 0, sizeof(*v));
    v->type = IM_MYSQL_U64;
    v->u64 = n;
}
