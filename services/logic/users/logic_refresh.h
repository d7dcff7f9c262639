/*
 * logic_refresh.h -- refresh tokens: made, used once, and what a second use
 * means.
 */

#ifndef LOGIC_REFRESH_H
#define LOGIC_REFRESH_H

#include "logic_db.h"

#define LOGIC_REFRESH_LEN   64         /* of a token, base64url */
#define LOGIC_REFRESH_HASH  32

/* What of a session's row is made of its token. */
typedef struct {
    char           token[LOGIC_REFRESH_LEN + 1];
    unsigned char  hash[LOGIC_REFRESH_HASH];
    unsigned char  family[LOGIC_REFRESH_HASH];
} logic_refresh_t;

/* The first one of a session. */
void logic_refresh_make(logic_refresh_t *r);

#endif
