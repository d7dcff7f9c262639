/*
 * im_jwt.c -- access tokens: libjwt compares the signature, the rest is here.
 *
 * What a token says is not read by libjwt.  It takes "hs256" for HS256, of two
 * claims of one name the second, and ends its JSON at a NUL, so that what
 * stands behind it is signed and not seen.  im_jwt_read.c reads header and
 * claims.
 *
 * Checked: alg is HS256; typ of the header, if it is given, is JWT; there is
 * no crit; typ of the claims is "access"; exp is to come and nbf, if it is
 * given, has passed, both to the second; iat, if it is given, is a time; sub,
 * sid and dev have their form.  Not looked at: iss, aud, jti, kid and all
 * others.  There is one key, whoever has it is trusted.
 *
 * Room: core.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jwt.h>
#include <openssl/evp.h>

#include "im_jwt_int.h"


#define IM_JWT_TYPE    "access"
#define IM_JWT_KEY_ID  "im key id"     /* with its NUL: a domain of its own */


static int jwt_is_ours(const im_jwt_key_t *key, const im_str_t *token,
    const char **reason);
static int jwt_well_formed(const im_str_t *token, const char **reason);
static void jwt_part(const im_str_t *token, unsigned n, im_str_t *part);
static int jwt_check_header(const im_str_t *part, const char **reason);
static int jwt_take_claims(const im_str_t *part, int64_t now,
    im_jwt_claims_t *claims, const char **reason);
static int jwt_parse_uid(const char *s, uint64_t *uid);
static int jwt_copy(char *out, size_t size, const char *s);


int
im_jwt_key_load(im_jwt_key_t *key, const char *path, const char **reason)
{
    FILE           *f;
    size_t          n;
    unsigned char   data[IM_JWT_KEY_MAX + 64];

    f = fopen(path, "rb");
    if (f == NULL) {
        *reason = strerror(errno);
        return IM_ERROR;
    }

    n = fread(data, 1, sizeof(data), f);
    fclose(f);

    while (n > 0 && strchr(" \t\r\n", data[n - 1]) != NULL
           && data[n - 1] != '\0')
    {
        n--;
    }

    if (n < IM_JWT_KEY_MIN) {
        *reason = "the key is shorter than 32 bytes";
        return IM_ERROR;
    }

    if (n > IM_JWT_KEY_MAX) {
        *reason = "the key is longer than 512 bytes";
        return IM_ERROR;
    }

    memcpy(key->data, data, n);
    key->len = n;

    return IM_OK;
}


int
im_jwt_key_id(const im_jwt_key_t *key, char id[IM_JWT_KEY_ID_LEN + 1])
{
    size_t         i;
    EVP_MD_CTX    *md;
    unsigned int   len;
    unsigned char  sum[EVP_MAX_MD_SIZE];

    id[0] = '\0';
    len = 0;
    md = EVP_MD_CTX_new();

    if (md != NULL
        && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1
        && EVP_DigestUpdate(md, IM_JWT_KEY_ID, sizeof(IM_JWT_KEY_ID)) == 1
        && EVP_DigestUpdate(md, key->data, key->len) == 1
        && EVP_DigestFinal_ex(md, sum, &len) != 1)
    {
        len = 0;
    }

    EVP_MD_CTX_free(md);

    for (i = 0; i < IM_JWT_KEY_ID_LEN / 2 && len > 0; i++) {
        snprintf(id + 2 * i, 3, "%02x", sum[i]);
    }

    return (len > 0) ? IM_OK : IM_ERROR;
}


int
im_jwt_verify(const im_jwt_key_t *key, const im_str_t *token, int64_t now,
    im_jwt_claims_t *claims, const char **reason)
{
    im_str_t  part;

    if (jwt_is_ours(key, token, reason) != IM_OK) {
        return IM_DECLINED;
    }

    jwt_part(token, 0, &part);

    if (jwt_check_header(&part, reason) != IM_OK) {
        return IM_DECLINED;
    }

    jwt_part(token, 1, &part);

    return jwt_take_claims(&part, now, claims, reason);
}


int
im_jwt_is_signed(const im_jwt_key_t *key, const im_str_t *token)
{
    const char  *reason;

    return jwt_is_ours(key, token, &reason) == IM_OK;
}


/* IM_OK: signed with the key. */
static int
jwt_is_ours(const im_jwt_key_t *key, const im_str_t *token,
    const char **reason)
{
    int     rc;
    char    text[IM_JWT_TOKEN_MAX + 1];
    jwt_t  *jwt;

    if (jwt_well_formed(token, reason) != IM_OK) {
        return IM_DECLINED;
    }

    memcpy(text, token->data, token->len);
    text[token->len] = '\0';

    jwt = NULL;

    if (jwt_decode(&jwt, text, key->data, (int) key->len) != 0) {
        return im_jwt_refuse(reason, "bad signature");
    }

    rc = (jwt_get_alg(jwt) == JWT_ALG_HS256)
         ? IM_OK : im_jwt_refuse(reason, "algorithm is not HS256");
    jwt_free(jwt);

    return rc;
}


/* Three parts, nothing but base64url in them. */
static int
jwt_well_formed(const im_str_t *token, const char **reason)
{
    size_t         i, part;
    unsigned       dots;
    unsigned char  c;

    if (token->len > IM_JWT_TOKEN_MAX) {
        return im_jwt_refuse(reason, "longer than 4096 bytes");
    }

    dots = 0;
    part = 0;

    for (i = 0; i < token->len; i++) {
        c = token->data[i];

        if (c == '.') {
            if (part == 0) {
                return im_jwt_refuse(reason, "malformed");
            }

            dots++;
            part = 0;
            continue;
        }

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '-' || c == '_'))
        {
            return im_jwt_refuse(reason, "malformed");
        }

        part++;
    }

    if (dots != 2 || part == 0) {
        return im_jwt_refuse(reason, "malformed");
    }

    return IM_OK;
}


static int
jwt_check_header(const im_str_t *part, const char **reason)
{
    im_jwt_members_t   m;
    im_json_mem_t   mem;
    unsigned char   memory[2 * IM_JWT_TOKEN_MAX];

    mem.pos = memory;
    mem.end = memory + sizeof(memory);

    if (im_jwt_read_header(part, &m, &mem, reason) != IM_OK) {
        return IM_DECLINED;
    }

    if (m.alg == NULL || strcmp(m.alg, "HS256") != 0) {
        return im_jwt_refuse(reason, "algorithm is not HS256");
    }

    if (m.crit) {
        return im_jwt_refuse(reason, "header crit is not understood");
    }

    /* a media type: without regard to case, RFC 7515 section 4.1.9 */

    if (m.typ != NULL && strcasecmp(m.typ, "JWT") != 0) {
        return im_jwt_refuse(reason, "header typ is not JWT");
    }

    return IM_OK;
}


static int
jwt_take_claims(const im_str_t *part, int64_t now, im_jwt_claims_t *claims,
    const char **reason)
{
    im_jwt_members_t   m;
    im_json_mem_t   mem;
    unsigned char   memory[2 * IM_JWT_TOKEN_MAX];

    mem.pos = memory;
    mem.end = memory + sizeof(memory);

    if (im_jwt_read_claims(part, &m, &mem, reason) != IM_OK) {
        return IM_DECLINED;
    }

    if (m.typ == NULL || strcmp(m.typ, IM_JWT_TYPE) != 0) {
        return im_jwt_refuse(reason, "not an access token");
    }

    if (m.exp <= 0) {
        return im_jwt_refuse(reason, "claim exp is missing");
    }

    if (m.exp <= now) {
        return im_jwt_refuse(reason, "expired");
    }

    if (m.nbf > now) {
        return im_jwt_refuse(reason, "not valid yet");
    }

    claims->exp = m.exp;

    if (jwt_parse_uid(m.sub, &claims->uid) != IM_OK) {
        return im_jwt_refuse(reason, "claim sub is not a user id");
    }

    if (jwt_copy(claims->sid, sizeof(claims->sid), m.sid) != IM_OK
        || strlen(claims->sid) != IM_SID_LEN)
    {
        return im_jwt_refuse(reason, "claim sid is not a session id");
    }

    if (jwt_copy(claims->device, sizeof(claims->device), m.dev) != IM_OK) {
        return im_jwt_refuse(reason, "claim dev is not a device");
    }

    return IM_OK;
}


/* The n-th of the three, which are there. */
static void
jwt_part(const im_str_t *token, unsigned n, im_str_t *part)
{
    unsigned char  *p, *dot, *end;

    p = token->data;
    end = token->data + token->len;

    for ( ;; ) {
        dot = memchr(p, '.', (size_t) (end - p));

        if (n-- == 0) {
            break;
        }

        p = dot + 1;
    }

    part->data = p;
    part->len = (size_t) ((dot == NULL ? end : dot) - p);
}


int
im_jwt_refuse(const char **reason, const char *text)
{
    *reason = text;

    return IM_DECLINED;
}


/* Decimal, no sign, no leading zero, 1 to 2^63 - 1. */
static int
jwt_parse_uid(const char *s, uint64_t *uid)
{
    uint64_t  v;

    if (s == NULL || *s < '1' || *s > '9' || strlen(s) > 19) {
        return IM_ERROR;
    }

    for (v = 0; *s; s++) {
        if (*s < '0' || *s > '9') {
            return IM_ERROR;
        }

        v = v * 10 + (uint64_t) (*s - '0');
    }

    if (v > INT64_MAX) {
        return IM_ERROR;
    }

    *uid = v;

    return IM_OK;
}


/* Letters, digits, dot, dash and underscore only: it goes into keys. */
static int
jwt_copy(char *out, size_t size, const char *s)
{
    size_t  i;

    if (s == NULL || *s == '\0' || strlen(s) >= size) {
        return IM_ERROR;
    }

    for (i = 0; s[i]; i++) {
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z')
              || (s[i] >= '0' && s[i] <= '9') || s[i] == '-' || s[i] == '_'
              || s[i] == '.'))
        {
            return IM_ERROR;
        }
    }

    memcpy(out, s, i + 1);

    return IM_OK;
}


int
im_jwt_sign(const im_jwt_key_t *key, const im_jwt_claims_t *claims,
    int64_t now, char *out, size_t cap)
{
    int     rc;
    char    uid[24], *text;
    jwt_t  *jwt;

    if (jwt_new(&jwt) != 0) {
        return IM_ERROR;
    }

    rc = IM_ERROR;
    text = NULL;

    snprintf(uid, sizeof(uid), "%llu", (unsigned long long) claims->uid);

    if (jwt_set_alg(jwt, JWT_ALG_HS256, key->data, (int) key->len) == 0
        && jwt_add_grant(jwt, "sub", uid) == 0
        && jwt_add_grant(jwt, "sid", claims->sid) == 0
        && jwt_add_grant(jwt, "dev", claims->device) == 0
        && jwt_add_grant(jwt, "typ", IM_JWT_TYPE) == 0
        && jwt_add_grant_int(jwt, "iat", (long) now) == 0
        && jwt_add_grant_int(jwt, "exp", (long) claims->exp) == 0)
    {
        text = jwt_encode_str(jwt);
    }

    if (text != NULL && strlen(text) < cap) {
        memcpy(out, text, strlen(text) + 1);
        rc = IM_OK;
    }

    free(text);
    jwt_free(jwt);

    return rc;
}
