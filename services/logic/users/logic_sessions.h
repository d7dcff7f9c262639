/*
 * logic_sessions.h -- sessions: a row in MySQL, an access token that expires,
 * a refresh token that rotates.
 */

#ifndef LOGIC_SESSIONS_H
#define LOGIC_SESSIONS_H

#include "logic.pb-c.h"
#include "logic_db.h"

typedef struct {
    uint64_t  uid;
    char      sid[IM_SID_LEN + 1];
    char      device[IM_DEVICE_MAX + 1];
} logic_session_t;

/* Makes a session and answers with its tokens; password: the hash that was
 * compared.  IM_DECLINED: the user has another one by now, and the request is
 * not answered. */
int logic_sessions_begin(logic_db_t *db, im_rpc_req_t *req, uint64_t uid,
    const char *device, const char *password);
/* Ends all sessions of a user but this one.  IM_ERROR: a store does not answer;
 * safe to repeat. */
int logic_sessions_end_others(logic_db_t *db, uint64_t uid, const char *sid);

/* Ends one, everywhere.  IM_ERROR: req has been answered. */
int logic_sessions_end(logic_db_t *db, im_rpc_req_t *req, uint64_t uid,
    char *sid, const char *why);
/* Answers with a new access token and this refresh token. */
void logic_sessions_answer(im_rpc_req_t *req, const logic_session_t *row,
    const char *refresh);

/* IM_OK if the caller's session was not ended; else req has been answered. */
int logic_sessions_check(logic_db_t *db, im_rpc_req_t *req,
    const Im__Caller *caller);
/* The same in two steps, for a job that asks Redis for more in the same round
 * trip: queues the question; then, before any other reply, takes this one.
 * When that is not IM_OK, the other replies are still the caller's to take. */
int logic_sessions_check_append(logic_db_t *db, im_rpc_req_t *req,
    const Im__Caller *caller);
int logic_sessions_check_reply(logic_db_t *db, im_rpc_req_t *req);

#endif
