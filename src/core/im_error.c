/*
 * im_error.c -- the table of refusals.  Adding one is adding a row.
 *
 * Room: core.
 */

#include <string.h>

#include "im_error.h"
#include "im_timeouts.h"


#define IM_ERROR_INTERNAL       0
#define IM_ERROR_UNIMPLEMENTED  12     /* of gRPC */


static const im_error_t  im_errors[] = {
    { "internal", 500, 13, 0, "Internal error" },
    { "bad_request", 400, 3, 0, "Bad request" },
    { "bad_json", 400, 3, 0, "Malformed JSON" },
    { "missing_field", 400, 3, 0, "A required field is missing" },
    { "bad_field", 400, 3, 0, "A field has a wrong value" },
    { "bad_name", 400, 3, 0, "Not a possible user name" },
    { "bad_password", 400, 3, 0, "Not a possible password" },
    { "unknown_type", 400, 3, 0, "Unknown frame type" },
    { "unauthorized", 401, 16, 0, "A valid token is needed" },
    { "token_expired", 401, 16, 0, "The token has expired" },
    { "bad_credentials", 401, 16, 0, "Wrong name or password" },
    { "session_revoked", 401, 16, 0, "The session was ended" },
    { "forbidden", 403, 7, 0, "Not permitted" },
    { "not_member", 403, 7, 0, "Not in this room" },
    { "muted", 403, 7, 0, "May not speak in this room" },
    { "blocked", 403, 7, 0, "The recipient takes no messages of yours" },
    { "not_found", 404, 5, 0, "Not found" },
    { "no_such_user", 404, 5, 0, "No such user" },
    { "no_such_room", 404, 5, 0, "No such room" },
    { "method_not_allowed", 405, 3, 0, "Method not allowed" },
    { "name_taken", 409, 6, 0, "The name is taken" },
    { "cmid_conflict", 409, 6, 0, "The cmid belongs to another message" },
    { "room_full", 409, 9, 0, "The room is full" },
    { "last_owner", 409, 9, 0, "The room would have no owner" },
    { "limit_reached", 409, 9, 0, "Too many of these" },
    { "room_dismissed", 410, 9, 0, "The room was dismissed" },
    { "cursor_ahead", 409, 9, 0, "The cursor is ahead of the server" },
    { "too_large", 413, 3, 0, "Too large" },
    { "unsupported", 415, 3, 0, "Not supported" },
    { "upgrade_required", 426, 3, 0, "WebSocket upgrade required" },
    { "rate_limited", 429, 8, 1, "Too many requests" },
    { "busy", 503, 8, 1, "Busy" },
    { "unavailable", 503, 14, 1, "Temporarily unavailable" },
    { "timeout", 504, 4, 1, "No answer in time" }
};

#define IM_ERRORS  (sizeof(im_errors) / sizeof(im_errors[0]))


static const im_error_t *error_lookup(const char *code, size_t len);


const im_error_t *
im_error_at(size_t i)
{
    return (i < IM_ERRORS) ? &im_errors[i] : NULL;
}


const im_error_t *
im_error_find(const char *code, size_t len)
{
    const im_error_t  *e;

    e = error_lookup(code, len);

    return (e != NULL) ? e : &im_errors[IM_ERROR_INTERNAL];
}


static const im_error_t *
error_lookup(const char *code, size_t len)
{
    size_t  i;

    for (i = 0; i < IM_ERRORS; i++) {
        if (strlen(im_errors[i].code) == len
            && memcmp(im_errors[i].code, code, len) == 0)
        {
            return &im_errors[i];
        }
    }

    return NULL;
}


const im_error_t *
im_error_from_status(int grpc, const char *message, im_str_t *text)
{
    const char        *colon;
    const im_error_t  *e;

    if (message == NULL) {
        message = "";
    }

    colon = strchr(message, ':');

    if (colon != NULL && grpc != IM_ERROR_UNIMPLEMENTED) {
        e = error_lookup(message, (size_t) (colon - message));

        if (e != NULL) {
            colon++;

            if (*colon == ' ') {
                colon++;
            }

            text->data = (unsigned char *) colon;
            text->len = strlen(colon);

            return e;
        }
    }

    text->data = (unsigned char *) message;
    text->len = strlen(message);

    switch (grpc) {

    case 4:
        return im_error_find("timeout", 7);

    case 8:
    case 14:
        return im_error_find("unavailable", 11);

    case IM_ERROR_UNIMPLEMENTED:
        return im_error_find("unsupported", 11);

    default:
        return &im_errors[IM_ERROR_INTERNAL];
    }
}


unsigned
im_error_retry_ms(const im_error_t *e, uint64_t away_ms)
{
    uint64_t  half;

    if (!e->retryable) {
        return 0;
    }

    if (away_ms == 0) {
        return IM_RETRY_MS;
    }

    half = away_ms / 2;

    return (half < IM_RETRY_AWAY_MIN_MS) ? IM_RETRY_AWAY_MIN_MS
           : (half > IM_RETRY_AWAY_MAX_MS) ? IM_RETRY_AWAY_MAX_MS
           : (unsigned) half;
}
