/*
 * logic_users.c -- register, log in, change the password.
 *
 * Passwords are hashed with argon2id (RFC 9106) by libsodium, in the pool
 * "auth" only: a hash costs 20 ms of a core, so few run at a time.  An unknown
 * user costs the same time as a wrong password, and gets the same answer.
 *
 * A log-in that finds a hash which costs less than the configuration asks for
 * makes it anew.  So a hash may change while the password stays: who finds
 * another one than he has compared looks again.
 */

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "im_clock.h"
#include "im_log.h"
#include "im_utf8.h"
#include "logic_conf.h"
#include "logic_db.h"
#include "logic_draw.h"
#include "logic_fail.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"
#include "logic_users.h"


#define USERS_NAME_MIN      3
#define USERS_PASSWORD_MIN  8
#define USERS_PASSWORD_MAX  128
#define USERS_TRIES         3      /* when the hash changes meanwhile */


typedef struct {
    uint64_t  uid;
    char      hash[crypto_pwhash_STRBYTES];
} users_row_t;


static int users_insert(logic_db_t *db, const char *name, const char *hash,
    uint64_t *uid);
static int users_by_name(logic_db_t *db, const char *name, users_row_t *row);
static int users_password_check(im_rpc_req_t *req, const char *password);
static int users_login(logic_db_t *db, im_rpc_req_t *req,
    const Im__LoginRequest *r, const char *device);
static void users_strengthen(logic_db_t *db, users_row_t *row,
    const char *password);
static int users_hash_is_weak(const char *hash);
static int users_hash_replace(logic_db_t *db, const users_row_t *row,
    const char *hash, uint64_t *changed);
static int users_password_change(logic_db_t *db, im_rpc_req_t *req,
    const Im__PasswordRequest *r);
static int users_of_caller(logic_db_t *db, im_rpc_req_t *req,
    const Im__Caller *caller, users_row_t *row);
static int users_password_set(logic_db_t *db, im_rpc_req_t *req,
    const users_row_t *row, const char *password);
static int users_word_valid(const char *s, size_t min, size_t max);
static int users_on_row(void *ctx, const im_mysql_value_t *v);
static int users_hash(char *out, const char *password);
static void users_value(im_mysql_value_t *v, const char *s);


static char  users_nobody[crypto_pwhash_STRBYTES];


int
logic_users_init(void)
{
    return users_hash(users_nobody, "nobody has this password");
}


static int
users_hash(char *out, const char *password)
{
    return crypto_pwhash_str_alg(out, password, strlen(password),
                                 logic_conf.argon2_ops,
                                 (size_t) logic_conf.argon2_memory_kib * 1024,
                                 crypto_pwhash_ALG_ARGON2ID13)
           == 0 ? IM_OK : IM_ERROR;
}


void
logic_users_create(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                          rc;
    char                         hash[crypto_pwhash_STRBYTES];
    Im__RegisterReply            reply = IM__REGISTER_REPLY__INIT;
    const Im__RegisterRequest   *r;

    r = (const Im__RegisterRequest *) in;

    if (!logic_users_name_valid(r->name)) {
        logic_fail(req, "bad_name", "a name is %d to %d of a-z A-Z 0-9 . _ -",
                   USERS_NAME_MIN, LOGIC_USERS_NAME_MAX);
        return;
    }

    if (users_password_check(req, r->password) != IM_OK) {
        return;
    }

    if (users_hash(hash, r->password) != IM_OK) {
        logic_fail(req, "internal", "out of memory");
        return;
    }

    rc = users_insert(db, r->name, hash, &reply.uid);

    if (rc == IM_OK) {
        im_rpc_reply(req, &reply.base);

    } else if (rc == IM_DECLINED) {
        logic_fail(req, "name_taken", "the name \"%s\" is taken", r->name);

    } else {
        logic_db_failed(db, req);
    }
}


/* IM_DECLINED: the name is taken. */
static int
users_insert(logic_db_t *db, const char *name, const char *hash,
    uint64_t *uid)
{
    int               rc, tries;
    users_row_t       row;
    im_mysql_value_t  v[4];

    static const char  sql[] =
        "INSERT INTO users (uid, name, password, created_ms) "
        "VALUES (?, ?, ?, ?)";

    for (tries = 0; tries < LOGIC_DRAW_TRIES; tries++) {
        *uid = logic_draw();

        v[0] = (im_mysql_value_t) { .type = IM_MYSQL_U64, .u64 = *uid };
        users_value(&v[1], name);
        users_value(&v[2], hash);
        v[3] = (im_mysql_value_t) { .type = IM_MYSQL_U64,
                                    .u64 = im_now_ms() };

        rc = im_mysql_run(db->mysql, sql, v, 4, NULL, 0, NULL, NULL, NULL,
                          NULL);
        if (rc != IM_DECLINED) {
            return rc;
        }

        /* is it the name that is there already, or the uid? */

        if (users_by_name(db, name, &row) != IM_OK) {
            return IM_ERROR;
        }

        if (row.uid != 0) {
            return IM_DECLINED;
        }
    }

    return IM_ERROR;
}


/* row->uid is 0 if nobody has the name. */
static int
users_by_name(logic_db_t *db, const char *name, users_row_t *row)
{
    im_mysql_value_t  v[1];

    static const char             sql[] =
        "SELECT uid, password FROM users WHERE name = ?";
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_STR };

    row->uid = 0;
    users_value(&v[0], name);

    return im_mysql_run(db->mysql, sql, v, 1, columns, 2, users_on_row, row,
                        NULL, NULL);
}


static int
users_password_check(im_rpc_req_t *req, const char *password)
{
    size_t  len;

    len = strlen(password);

    if (len < USERS_PASSWORD_MIN || len > USERS_PASSWORD_MAX
        || im_utf8_check((unsigned char *) password, len) != IM_OK)
    {
        logic_fail(req, "bad_password", "a password is %d to %d bytes of "
                   "UTF-8", USERS_PASSWORD_MIN, USERS_PASSWORD_MAX);
        return IM_DECLINED;
    }

    return IM_OK;
}


void
logic_users_login(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                       rc, tries;
    const char               *device;
    const Im__LoginRequest   *r;

    r = (const Im__LoginRequest *) in;
    device = (r->device != NULL) ? r->device : "default";

    if (!users_word_valid(device, 1, IM_DEVICE_MAX)) {
        logic_fail(req, "bad_field", "field 'device' is 1 to %d of "
                   "a-z A-Z 0-9 . _ -", IM_DEVICE_MAX);
        return;
    }

    rc = IM_DECLINED;

    for (tries = 0; tries < USERS_TRIES && rc == IM_DECLINED; tries++) {
        rc = users_login(db, req, r, device);
    }

    if (rc == IM_DECLINED) {
        logic_fail(req, "bad_credentials", "wrong name or password");
    }
}


/* IM_DECLINED: the password, or only its hash, was changed meanwhile. */
static int
users_login(logic_db_t *db, im_rpc_req_t *req, const Im__LoginRequest *r,
    const char *device)
{
    int          rc, right;
    users_row_t  row;

    if (strlen(r->password) > USERS_PASSWORD_MAX
        || !logic_users_name_valid(r->name))
    {
        /* cannot be anybody's; still costs what a wrong password costs */
        row.uid = 0;
        rc = IM_OK;

    } else {
        rc = users_by_name(db, r->name, &row);
    }

    if (rc != IM_OK) {
        logic_db_failed(db, req);
        return IM_ERROR;
    }

    right = crypto_pwhash_str_verify(row.uid ? row.hash : users_nobody,
                                     r->password, strlen(r->password))
            == 0;

    if (row.uid == 0 || !right) {
        logic_fail(req, "bad_credentials", "wrong name or password");
        return IM_ERROR;
    }

    users_strengthen(db, &row, r->password);

    return logic_sessions_begin(db, req, row.uid, device, row.hash);
}


/*
 * A hash that costs less than the configuration asks for is made anew, for only
 * now is the password known.  If that does not work, the log-in goes on, and
 * the next one tries again.
 */
static void
users_strengthen(logic_db_t *db, users_row_t *row, const char *password)
{
    char      hash[crypto_pwhash_STRBYTES];
    uint64_t  changed;

    if (!users_hash_is_weak(row->hash)) {
        return;
    }

    if (users_hash(hash, password) != IM_OK
        || users_hash_replace(db, row, hash, &changed) != IM_OK)
    {
        im_warn_seldom("a password keeps its weak hash: no memory, or mysql "
                       "does not answer");
        return;
    }

    if (changed == 1) {
        memcpy(row->hash, hash, sizeof(hash));
    }
}


/* Not crypto_pwhash_str_needs_rehash(): to it a stronger one is wrong, too, and
 * two Logics of different configuration would take turns. */
static int
users_hash_is_weak(const char *hash)
{
    unsigned long  memory_kib, ops;

    if (sscanf(hash, "$argon2id$v=19$m=%lu,t=%lu,", &memory_kib, &ops) != 2) {
        return 1;                      /* argon2i, which is compared as well */
    }

    return memory_kib * ops
           < (unsigned long) logic_conf.argon2_memory_kib
             * logic_conf.argon2_ops;
}


/* *changed is 0 if the user has another hash than row->hash by now. */
static int
users_hash_replace(logic_db_t *db, const users_row_t *row, const char *hash,
    uint64_t *changed)
{
    im_mysql_value_t  v[3];

    static const char  sql[] =
        "UPDATE users SET password = ? WHERE uid = ? AND password = ?";

    users_value(&v[0], hash);
    v[1] = (im_mysql_value_t) { .type = IM_MYSQL_U64, .u64 = row->uid };
    users_value(&v[2], row->hash);

    return im_mysql_run(db->mysql, sql, v, 3, NULL, 0, NULL, NULL, changed,
                        NULL);
}


/*
 * A repeat must end as the first try would have: if the old password is wrong
 * and the new one is the user's already, what is left is done.
 */
void
logic_users_password(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    int                          rc, tries;
    Im__PasswordReply            reply = IM__PASSWORD_REPLY__INIT;
    const Im__PasswordRequest   *r;

    r = (const Im__PasswordRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK
        || users_password_check(req, r->new_password) != IM_OK)
    {
        return;
    }

    rc = IM_DECLINED;

    for (tries = 0; tries < USERS_TRIES && rc == IM_DECLINED; tries++) {
        rc = users_password_change(db, req, r);
    }

    if (rc == IM_DECLINED) {
        logic_fail(req, "bad_credentials", "the old password is wrong");
    }

    if (rc != IM_OK) {
        return;
    }

    if (logic_sessions_end_others(db, r->caller->uid, r->caller->sid)
        != IM_OK)
    {
        logic_fail(req, "unavailable", "the password is changed, but not all "
                   "sessions could be ended");
        return;
    }

    im_rpc_reply(req, &reply.base);
}


/* IM_DECLINED: the hash was changed meanwhile.  IM_ERROR: it has been
 * answered. */
static int
users_password_change(logic_db_t *db, im_rpc_req_t *req,
    const Im__PasswordRequest *r)
{
    size_t       len;
    users_row_t  row;

    if (users_of_caller(db, req, r->caller, &row) != IM_OK) {
        return IM_ERROR;
    }

    len = strlen(r->old_password);

    if (len <= USERS_PASSWORD_MAX
        && crypto_pwhash_str_verify(row.hash, r->old_password, len) == 0)
    {
        return users_password_set(db, req, &row, r->new_password);
    }

    if (crypto_pwhash_str_verify(row.hash, r->new_password,
                                 strlen(r->new_password))
        != 0)
    {
        logic_fail(req, "bad_credentials", "the old password is wrong");
        return IM_ERROR;
    }

    return IM_OK;
}


/* IM_ERROR: it has been answered. */
static int
users_of_caller(logic_db_t *db, im_rpc_req_t *req, const Im__Caller *caller,
    users_row_t *row)
{
    im_mysql_value_t  v[1];

    static const char             sql[] =
        "SELECT uid, password FROM users WHERE uid = ?";
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_STR };

    memset(row, 0, sizeof(*row));
    v[0] = (im_mysql_value_t) { .type = IM_MYSQL_U64, .u64 = caller->uid };

    if (im_mysql_run(db->mysql, sql, v, 1, columns, 2, users_on_row, row,
                     NULL, NULL)
        != IM_OK)
    {
        logic_db_failed(db, req);
        return IM_ERROR;
    }

    if (row->uid == 0) {
        logic_fail(req, "no_such_user", "there is no such user");
        return IM_ERROR;
    }

    return IM_OK;
}


/* Of two changes at a time one finds another hash than it has compared. */
static int
users_password_set(logic_db_t *db, im_rpc_req_t *req, const users_row_t *row,
    const char *password)
{
    char      hash[crypto_pwhash_STRBYTES];
    uint64_t  changed;

    if (users_hash(hash, password) != IM_OK) {
        logic_fail(req, "internal", "out of memory");
        return IM_ERROR;
    }

    if (users_hash_replace(db, row, hash, &changed) != IM_OK) {
        logic_db_failed(db, req);
        return IM_ERROR;
    }

    return (changed == 1) ? IM_OK : IM_DECLINED;
}


static int
users_on_row(void *ctx, const im_mysql_value_t *v)
{
    users_row_t  *row = ctx;

    row->uid = v[0].u64;
    row->hash[0] = '\0';

    if (v[1].str.len < sizeof(row->hash)) {
        memcpy(row->hash, v[1].str.data, v[1].str.len);
        row->hash[v[1].str.len] = '\0';
    }

    return IM_OK;
}


int
logic_users_name_valid(const char *name)
{
    return users_word_valid(name, USERS_NAME_MIN, LOGIC_USERS_NAME_MAX);
}


static int
users_word_valid(const char *s, size_t min, size_t max)
{
    size_t  i;

    for (i = 0; s[i]; i++) {
        if (i == max
            || !((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z')
                 || (s[i] >= '0' && s[i] <= '9') || s[i] == '.'
                 || s[i] == '_' || s[i] == '-'))
        {
            return 0;
        }
    }

    return i >= min;
}


static void
users_value(im_mysql_value_t *v, const char *s)
{
    memset(v, 0, sizeof(*v));
    v->type = IM_MYSQL_STR;
    v->str.data = (unsigned char *) s;
    v->str.len = strlen(s);
}
