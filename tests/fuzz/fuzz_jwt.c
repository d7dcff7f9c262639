/*
 * fuzz_jwt.c -- access tokens.
 *
 * An input with a line feed is a header, a line feed, and claims: they are
 * signed with our key here, because no fuzzer finds a signature.  Others are
 * tokens as they are.
 *
 * What is accepted is in its bounds and signed by our key; signed anew it says
 * the same; with another key, or with one character changed, it is refused.
 */

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fuzz.h"
#include "im_jwt.h"


#define NOW  1000000                   /* s since 1970 */


static size_t jwt_make(const uint8_t *data, size_t size, const uint8_t *lf,
    char *out);
static size_t jwt_base64(const uint8_t *data, size_t size, char *out);
static void jwt_accepted(const im_str_t *token, const im_jwt_claims_t *claims);
static int jwt_is_name(const char *s);


static const im_jwt_key_t  jwt_key = {
    32, "0123456789abcdef0123456789abcdef"
};

static const im_jwt_key_t  jwt_other = {
    32, "0123456789abcdef0123456789abcdeF"
};


void
fuzz_jwt(const uint8_t *data, size_t size)
{
    int               rc;
    char             *made;
    im_str_t          token;
    const char       *reason;
    const uint8_t    *lf;
    im_jwt_claims_t   claims;

    if (size > 2 * IM_JWT_TOKEN_MAX) {
        return;
    }

    lf = (size == 0) ? NULL : memchr(data, '\n', size);

    if (lf == NULL) {
        token = fuzz_exact(data, size);

    } else {
        made = fuzz_alloc(2 * size + 64);
        token = fuzz_exact(made, jwt_make(data, size, lf, made));
        free(made);
    }

    memset(&claims, 0, sizeof(claims));
    reason = NULL;

    rc = im_jwt_verify(&jwt_key, &token, NOW, &claims, &reason);

    if (rc == IM_OK) {
        jwt_accepted(&token, &claims);

    } else {
        FUZZ_CHECK(rc == IM_DECLINED && reason != NULL);
    }

    free(token.data);
}


/* A token of a header and claims, both as written. */
static size_t
jwt_make(const uint8_t *data, size_t size, const uint8_t *lf, char *out)
{
    char           *p;
    unsigned        len;
    unsigned char   mac[EVP_MAX_MD_SIZE];

    p = out;
    p += jwt_base64(data, (size_t) (lf - data), p);
    *p++ = '.';
    p += jwt_base64(lf + 1, size - (size_t) (lf + 1 - data), p);

    FUZZ_CHECK(HMAC(EVP_sha256(), jwt_key.data, (int) jwt_key.len,
                    (unsigned char *) out, (size_t) (p - out), mac, &len)
               != NULL);
    *p++ = '.';
    p += jwt_base64(mac, len, p);

    return (size_t) (p - out);
}


/* base64url without padding; returns the length. */
static size_t
jwt_base64(const uint8_t *data, size_t size, char *out)
{
    size_t    i;
    char     *p;
    unsigned  bits, value;

    static const char  letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    p = out;
    bits = 0;
    value = 0;

    for (i = 0; i < size; i++) {
        value = value << 8 | data[i];

        for (bits += 8; bits >= 6; bits -= 6) {
            *p++ = letters[value >> (bits - 6) & 63];
        }

        value &= 63;
    }

    if (bits > 0) {
        *p++ = letters[value << (6 - bits) & 63];
    }

    return (size_t) (p - out);
}


static void
jwt_accepted(const im_str_t *token, const im_jwt_claims_t *claims)
{
    char              text[IM_JWT_TOKEN_MAX + 1];
    im_str_t          changed;
    const char       *reason;
    im_jwt_claims_t   again;

    FUZZ_CHECK(token->len <= IM_JWT_TOKEN_MAX);
    FUZZ_CHECK(claims->uid >= 1 && claims->uid <= INT64_MAX);
    FUZZ_CHECK(claims->exp > NOW);
    FUZZ_CHECK(strlen(claims->sid) == IM_SID_LEN && jwt_is_name(claims->sid));
    FUZZ_CHECK(strlen(claims->device) <= IM_DEVICE_MAX
               && jwt_is_name(claims->device));
    FUZZ_CHECK(im_jwt_is_signed(&jwt_key, token));
    FUZZ_CHECK(!im_jwt_is_signed(&jwt_other, token));
    FUZZ_CHECK(im_jwt_verify(&jwt_key, token, claims->exp, &again, &reason)
               == IM_DECLINED);

    FUZZ_CHECK(im_jwt_sign(&jwt_key, claims, NOW, text, sizeof(text))
               == IM_OK);
    changed.data = (unsigned char *) text;
    changed.len = strlen(text);
    FUZZ_CHECK(im_jwt_verify(&jwt_key, &changed, NOW, &again, &reason)
               == IM_OK);
    FUZZ_CHECK(again.uid == claims->uid && again.exp == claims->exp
               && strcmp(again.sid, claims->sid) == 0
               && strcmp(again.device, claims->device) == 0);

    /* also the last character, of which base64 does not need all bits */

    changed = fuzz_exact(token->data, token->len);
    changed.data[changed.len - 1] ^= 1;
    FUZZ_CHECK(im_jwt_verify(&jwt_key, &changed, NOW, &again, &reason)
               == IM_DECLINED);
    changed.data[changed.len - 1] ^= 1;
    changed.data[claims->uid % changed.len] ^= 2;
    FUZZ_CHECK(im_jwt_verify(&jwt_key, &changed, NOW, &again, &reason)
               == IM_DECLINED);
    free(changed.data);
}


static int
jwt_is_name(const char *s)
{
    return *s != '\0'
           && s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                       "0123456789-_.")] == '\0';
}
