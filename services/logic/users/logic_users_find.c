/*
 * logic_users_find.c -- users by name and by uid, and the caller himself.
 *
 * One statement for all that is asked, both kinds together.  It is filled up
 * with uid 0 and the empty name, which nobody has, to 8 of each or to 200.
 *
 * A name that no user can have is not asked for: SQL compares strings as if
 * they were filled up with spaces, so "bob " would be bob.
 *
 * Jobs of a pool.
 */

#include <stdlib.h>
#include <string.h>

#include "logic_ask.h"
#include "logic_db.h"
#include "logic_fail.h"
#include "logic_rpcs.h"
#include "logic_sessions.h"
#include "logic_users.h"


#define FIND_MAX   200             /* in one request */
#define FIND_FEW   8

#define FIND_SQL(list)                                                        \
    "SELECT uid, name FROM users WHERE uid IN (" list ") UNION "              \
    "SELECT uid, name FROM users WHERE name IN (" list ") ORDER BY uid"
#define FIND_200                                                              \
    LOGIC_ASK_128("?", ", ") ", " LOGIC_ASK_32("?", ", ") ", "                \
    LOGIC_ASK_32("?", ", ") ", " LOGIC_ASK_8("?", ", ")


typedef struct {
    size_t     n;                  /* found */
    Im__User  *list[FIND_MAX];
    Im__User   users[FIND_MAX];
    char       names[FIND_MAX][LOGIC_USERS_NAME_MAX + 1];
} find_t;


static int find_users(logic_db_t *db, const uint64_t *uids, size_t n_uids,
    char **names, size_t n_names, find_t *found);
static int find_on_row(void *ctx, const im_mysql_value_t *v);
static find_t *find_create(im_rpc_req_t *req);


void
logic_users_find(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    find_t                      *found;
    const Im__FindUserRequest   *r;

    r = (const Im__FindUserRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    found = find_create(req);
    if (found == NULL) {
        return;
    }

    if (find_users(db, NULL, 0, (char **) &r->name, 1, found) != IM_OK) {
        logic_db_failed(db, req);

    } else if (found->n == 0) {
        logic_fail(req, "no_such_user", "no user has this name");

    } else {
        im_rpc_reply(req, &found->users[0].base);
    }

    free(found);
}


void
logic_users_lookup(logic_db_t *db, im_rpc_req_t *req,
    const ProtobufCMessage *in)
{
    size_t                          n;
    find_t                         *found;
    Im__LookupUsersReply            reply = IM__LOOKUP_USERS_REPLY__INIT;
    const Im__LookupUsersRequest   *r;

    r = (const Im__LookupUsersRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    n = r->n_uids + r->n_names;

    if (n < 1 || n > FIND_MAX) {
        logic_fail(req, "bad_field", "fields 'uids' and 'names' need 1 to %d "
                   "entries together", FIND_MAX);
        return;
    }

    found = find_create(req);
    if (found == NULL) {
        return;
    }

    if (find_users(db, r->uids, r->n_uids, r->names, r->n_names, found)
        == IM_OK)
    {
        reply.users = found->list;
        reply.n_users = found->n;
        im_rpc_reply(req, &reply.base);

    } else {
        logic_db_failed(db, req);
    }

    free(found);
}


void
logic_users_me(logic_db_t *db, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    find_t                *found;
    Im__MeReply            reply = IM__ME_REPLY__INIT;
    const Im__MeRequest   *r;

    r = (const Im__MeRequest *) in;

    if (logic_sessions_check(db, req, r->caller) != IM_OK) {
        return;
    }

    found = find_create(req);
    if (found == NULL) {
        return;
    }

    if (find_users(db, &r->caller->uid, 1, NULL, 0, found) != IM_OK) {
        logic_db_failed(db, req);

    } else if (found->n == 0) {
        logic_fail(req, "no_such_user", "there is no such user");

    } else {
        reply.uid = found->users[0].uid;
        reply.name = found->users[0].name;
        reply.device = r->caller->device;
        reply.session = r->caller->sid;
        im_rpc_reply(req, &reply.base);
    }

    free(found);
}


/* NULL: it has been answered. */
static find_t *
find_create(im_rpc_req_t *req)
{
    find_t  *found;

    found = calloc(1, sizeof(find_t));

    if (found == NULL) {
        logic_fail(req, "internal", "out of memory");
    }

    return found;
}


/* FIND_MAX of both together at most; each user is found once, by uid. */
static int
find_users(logic_db_t *db, const uint64_t *uids, size_t n_uids, char **names,
    size_t n_names, find_t *found)
{
    size_t            i, k, max;
    im_mysql_value_t  v[2 * FIND_MAX];

    static const char             few[] = FIND_SQL(LOGIC_ASK_8("?", ", "));
    static const char             many[] = FIND_SQL(FIND_200);
    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_STR };

    max = (n_uids <= FIND_FEW && n_names <= FIND_FEW) ? FIND_FEW : FIND_MAX;
    memset(v, 0, sizeof(v));

    for (i = 0; i < n_uids; i++) {
        v[i].u64 = (uids[i] <= INT64_MAX) ? uids[i] : 0;
    }

    for (i = 0; i < max; i++) {
        v[max + i].type = IM_MYSQL_STR;
        v[max + i].str.data = (unsigned char *) "";
    }

    for (i = 0, k = max; i < n_names; i++) {
        if (logic_users_name_valid(names[i])) {
            v[k].str.data = (unsigned char *) names[i];
            v[k++].str.len = strlen(names[i]);
        }
    }

    return logic_db_run(db, max == FIND_FEW ? few : many, v, 2 * max,
                          columns, 2, find_on_row, found);
}


static int
find_on_row(void *ctx, const im_mysql_value_t *v)
{
    char      *name;
    size_t     len;
    find_t    *found = ctx;
    Im__User  *user;

    if (found->n == FIND_MAX) {
        return IM_DONE;
    }

    len = v[1].str.len;
    name = found->names[found->n];

    if (len > LOGIC_USERS_NAME_MAX) {
        len = LOGIC_USERS_NAME_MAX;    /* the column is no longer */
    }

    memcpy(name, v[1].str.data, len);
    name[len] = '\0';

    user = &found->users[found->n];
    im__user__init(user);
    user->uid = v[0].u64;
    user->name = name;
    found->list[found->n++] = user;

    return IM_OK;
}
