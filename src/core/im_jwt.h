/*
 * im_jwt.h -- access tokens: HS256 (RFC 7515, RFC 7519, RFC 8725) by libjwt.
 *
 * The algorithm is fixed; exp, sub, sid, dev and typ are required, nbf is
 * checked.  im_jwt.c lists all checks.  No function reads a clock.
 */

#ifndef IM_JWT_H
#define IM_JWT_H

#include "im_core.h"

#define IM_JWT_KEY_MIN    32       /* bytes */
#define IM_JWT_KEY_MAX    512
#define IM_JWT_TOKEN_MAX  4096     /* bytes; longer tokens are refused */

typedef struct {
    size_t         len;
    unsigned char  data[IM_JWT_KEY_MAX];
} im_jwt_key_t;

typedef struct {
    uint64_t       uid;                        /* "sub" */
    int64_t        exp;                        /* s since 1970 */
    char           sid[IM_SID_LEN + 1];        /* session id */
    char           device[IM_DEVICE_MAX + 1];  /* "dev" */
} im_jwt_claims_t;

/* Reads a key file: trailing white space is cut.  IM_ERROR: *reason. */
int im_jwt_key_load(im_jwt_key_t *key, const char *path, const char **reason);

/*
 * A name for a key, to compare two of them without showing either: 8 bytes of
 * SHA-256 over a prefix of ours and the key, in hex.  It may be logged.
 */
#define IM_JWT_KEY_ID_LEN  16
int im_jwt_key_id(const im_jwt_key_t *key, char id[IM_JWT_KEY_ID_LEN + 1]);

/* IM_OK, or IM_DECLINED with *reason ("expired", "bad signature", ...). */
int im_jwt_verify(const im_jwt_key_t *key, const im_str_t *token, int64_t now,
    im_jwt_claims_t *claims, const char **reason);

/* 1 if the token was signed with this key, whatever its claims and its age. */
int im_jwt_is_signed(const im_jwt_key_t *key, const im_str_t *token);

/* Signs claims; out gets a NUL-terminated token.  IM_ERROR if cap is short. */
int im_jwt_sign(const im_jwt_key_t *key, const im_jwt_claims_t *claims,
    int64_t now, char *out, size_t cap);

#endif
