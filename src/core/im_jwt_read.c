/*
 * im_jwt_read.c -- header and claims of a token, read strictly.
 *
 * They are read by the scanner that reads frames, which refuses all that is
 * not JSON.  Each member that has a meaning here must be of its type and may be
 * given once (RFC 7515 section 4, RFC 7519 section 4); others are passed over.
 *
 * Room: core.
 */

#include <string.h>

#include "im_json_scan.h"
#include "im_jwt_int.h"


/* A member that is looked at. */
typedef struct {
    const char    *name;
    unsigned       is_number;          /* else a string */
    size_t         offset;             /* in im_jwt_members_t */
} jwt_member_t;


static int jwt_read(const im_str_t *part, const jwt_member_t *members,
    im_jwt_members_t *m, im_json_mem_t *mem, const char **reason);
static int jwt_read_member(im_json_scan_t *s, const jwt_member_t *members,
    im_jwt_members_t *m, unsigned *seen, im_json_mem_t *mem,
    const char **reason);
static int jwt_read_value(im_json_scan_t *s, const jwt_member_t *member,
    im_jwt_members_t *m, im_json_mem_t *mem, const char **reason);
static size_t jwt_unbase64(const im_str_t *text, unsigned char *out);


static const jwt_member_t  jwt_header[] = {
    { "alg", 0, offsetof(im_jwt_members_t, alg) },
    { "typ", 0, offsetof(im_jwt_members_t, typ) },
    { "crit", 0, 0 },
    { NULL, 0, 0 }
};

static const jwt_member_t  jwt_claims[] = {
    { "typ", 0, offsetof(im_jwt_members_t, typ) },
    { "sub", 0, offsetof(im_jwt_members_t, sub) },
    { "sid", 0, offsetof(im_jwt_members_t, sid) },
    { "dev", 0, offsetof(im_jwt_members_t, dev) },
    { "exp", 1, offsetof(im_jwt_members_t, exp) },
    { "nbf", 1, offsetof(im_jwt_members_t, nbf) },
    { "iat", 1, offsetof(im_jwt_members_t, iat) },
    { NULL, 0, 0 }
};


int
im_jwt_read_header(const im_str_t *part, im_jwt_members_t *m,
    im_json_mem_t *mem, const char **reason)
{
    return jwt_read(part, jwt_header, m, mem, reason);
}


int
im_jwt_read_claims(const im_str_t *part, im_jwt_members_t *m,
    im_json_mem_t *mem, const char **reason)
{
    return jwt_read(part, jwt_claims, m, mem, reason);
}


/* The members of one JSON object, in base64url.  Text is put into mem. */
static int
jwt_read(const im_str_t *part, const jwt_member_t *members, im_jwt_members_t *m,
    im_json_mem_t *mem, const char **reason)
{
    im_str_t         json;
    unsigned         seen;
    im_json_err_t    err;
    im_json_scan_t   s;

    memset(m, 0, sizeof(im_jwt_members_t));
    m->exp = -1;
    m->nbf = -1;
    m->iat = -1;
    seen = 0;

    json.data = mem->pos;
    json.len = jwt_unbase64(part, mem->pos);
    mem->pos += json.len;

    if (im_json_valid(&json, &err) != IM_OK) {
        return im_jwt_refuse(reason, "not JSON");
    }

    im_json_scan_init(&s, &json, &err);
    im_json_space(&s);

    if (*s.p != '{') {
        return im_jwt_refuse(reason, "not a JSON object");
    }

    do {
        s.p++;
        im_json_space(&s);

        if (*s.p == '}') {
            return IM_OK;              /* an empty one */
        }

        if (jwt_read_member(&s, members, m, &seen, mem, reason) != IM_OK) {
            return IM_DECLINED;
        }

        im_json_space(&s);

    } while (*s.p == ',');

    return IM_OK;
}


/* Name and value; that they are JSON is known already. */
static int
jwt_read_member(im_json_scan_t *s, const jwt_member_t *members,
    im_jwt_members_t *m, unsigned *seen, im_json_mem_t *mem,
    const char **reason)
{
    int        escaped;
    char      *name;
    size_t     len;
    im_str_t   key;
    unsigned   i;

    if (im_json_skip_string(s, &key, &escaped) != IM_OK
        || im_json_unescape(&key, mem, &name, &len) != IM_OK)
    {
        return im_jwt_refuse(reason, "malformed");
    }

    im_json_space(s);
    s->p++;
    im_json_space(s);

    for (i = 0; members[i].name != NULL; i++) {
        if (strlen(members[i].name) != len
            || memcmp(members[i].name, name, len) != 0)
        {
            continue;
        }

        if (*seen & (1u << i)) {
            return im_jwt_refuse(reason, "a member is given twice");
        }

        *seen |= 1u << i;

        return jwt_read_value(s, &members[i], m, mem, reason);
    }

    return (im_json_skip_value(s, 1) == IM_OK)
           ? IM_OK : im_jwt_refuse(reason, "malformed");
}


static int
jwt_read_value(im_json_scan_t *s, const jwt_member_t *member,
    im_jwt_members_t *m, im_json_mem_t *mem, const char **reason)
{
    int                   escaped;
    char                 *text;
    size_t                len;
    im_str_t              raw;
    uint64_t              number;
    const unsigned char  *start;

    if (strcmp(member->name, "crit") == 0) {
        m->crit = 1;

        return im_json_skip_value(s, 1);
    }

    start = s->p;

    if (member->is_number) {
        (void) im_json_skip_value(s, 1);
        raw.data = (unsigned char *) start;
        raw.len = (size_t) (s->p - start);

        if (im_json_number(&raw, INT64_MAX, &number) != IM_OK) {
            return im_jwt_refuse(reason, "claim exp, nbf or iat is not a time");
        }

        *(int64_t *) ((char *) m + member->offset) = (int64_t) number;

        return IM_OK;
    }

    if (*start != '"'
        || im_json_skip_string(s, &raw, &escaped) != IM_OK
        || im_json_unescape(&raw, mem, &text, &len) != IM_OK
        || strlen(text) != len)
    {
        return im_jwt_refuse(reason, "alg, typ, sub, sid or dev is not text");
    }

    *(const char **) ((char *) m + member->offset) = text;

    return IM_OK;
}


/* base64url without padding (RFC 7515 section 2); returns the length. */
static size_t
jwt_unbase64(const im_str_t *text, unsigned char *out)
{
    size_t          i;
    unsigned        bits, value, c;
    unsigned char  *q;

    q = out;
    bits = 0;
    value = 0;

    for (i = 0; i < text->len; i++) {
        c = text->data[i];

        if (c >= 'a') {
            c = c - 'a' + 26;

        } else if (c == '_') {
            c = 63;

        } else if (c >= 'A') {
            c = c - 'A';

        } else {
            c = (c == '-') ? 62 : c - '0' + 52;
        }

        value = value << 6 | c;
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            *q++ = (unsigned char) (value >> bits);
        }
    }

    return (size_t) (q - out);
}
