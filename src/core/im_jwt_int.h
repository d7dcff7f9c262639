/*
 * im_jwt_int.h -- between the files of im_jwt.
 */

#ifndef IM_JWT_INT_H
#define IM_JWT_INT_H

#include "im_json.h"
#include "im_jwt.h"

typedef struct {
    const char    *alg;                /* NULL: not given */
    const char    *typ;
    const char    *sub;
    const char    *sid;
    const char    *dev;
    int64_t        exp;                /* -1: not given */
    int64_t        nbf;
    int64_t        iat;
    unsigned       crit;               /* it is given */
} im_jwt_members_t;

/*
 * The members of a part of a token, in base64url, that have a meaning.  Text is
 * put into mem, which holds twice the part's length.  IM_DECLINED: *reason.
 */
int im_jwt_read_header(const im_str_t *part, im_jwt_members_t *m,
    im_json_mem_t *mem, const char **reason);
int im_jwt_read_claims(const im_str_t *part, im_jwt_members_t *m,
    im_json_mem_t *mem, const char **reason);

/* IM_DECLINED. */
int im_jwt_refuse(const char **reason, const char *text);

#endif
