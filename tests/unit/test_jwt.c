/*
 * test_jwt.c -- only a token that we signed, for access, and that has not
 * expired, is anybody's.
 */

#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include <jwt.h>
#include <openssl/hmac.h>

#include "im_jwt.h"


#define NOW  1800000000
#define SID  "abcdefghijklmnopqrstuv"


static im_jwt_key_t  key;


static int
make_key(void **state)
{
    (void) state;

    key.len = 32;
    memset(key.data, 'k', 32);

    return 0;
}


static im_jwt_claims_t
make_claims(void)
{
    im_jwt_claims_t  c;

    memset(&c, 0, sizeof(c));
    c.uid = 42;
    c.exp = NOW + 900;
    strcpy(c.sid, SID);
    strcpy(c.device, "phone");

    return c;
}


static int
verify(const char *token, int64_t now, const char **reason)
{
    int              rc;
    im_str_t         s;
    im_jwt_claims_t  c;

    *reason = "";
    s = unit_exact(token, strlen(token));
    rc = im_jwt_verify(&key, &s, now, &c, reason);
    free(s.data);

    return rc;
}


static void
a_signed_token_comes_back_as_it_was(void **state)
{
    char              token[1024];
    im_str_t          s;
    const char       *reason;
    im_jwt_claims_t   c, back;

    (void) state;

    c = make_claims();
    c.uid = INT64_MAX;
    assert_int_equal(im_jwt_sign(&key, &c, NOW, token, sizeof(token)), IM_OK);

    s = unit_str(token);
    assert_int_equal(im_jwt_verify(&key, &s, NOW, &back, &reason), IM_OK);
    assert_true(back.uid == INT64_MAX);
    assert_true(back.exp == NOW + 900);
    assert_string_equal(back.sid, SID);
    assert_string_equal(back.device, "phone");

    assert_int_equal(im_jwt_sign(&key, &c, NOW, token, strlen(token)),
                     IM_ERROR);
}


static void
a_token_ends_in_the_second_it_says(void **state)
{
    char              token[1024];
    const char       *reason;
    im_jwt_claims_t   c;

    (void) state;

    c = make_claims();
    im_jwt_sign(&key, &c, NOW, token, sizeof(token));

    assert_int_equal(verify(token, NOW + 899, &reason), IM_OK);
    assert_int_equal(verify(token, NOW + 900, &reason), IM_DECLINED);
    assert_string_equal(reason, "expired");
}


static void
a_changed_byte_anywhere_is_refused(void **state)
{
    char              token[1024], was;
    size_t            i, last;
    const char       *reason;
    im_jwt_claims_t   c;

    (void) state;

    c = make_claims();
    im_jwt_sign(&key, &c, NOW, token, sizeof(token));
    assert_int_equal(verify(token, NOW, &reason), IM_OK);

    /* of the last letter, two bits are padding */
    last = strlen(token) - 1;

    for (i = 0; i < last; i++) {
        was = token[i];
        token[i] = (was == 'A') ? 'B' : 'A';

        if (verify(token, NOW, &reason) != IM_DECLINED) {
            fail_msg("byte %zu", i);
        }

        token[i] = was;
    }
}


static void
a_token_cut_anywhere_is_refused(void **state)
{
    char              token[1024];
    size_t            n;
    const char       *reason;
    im_jwt_claims_t   c;

    (void) state;

    c = make_claims();
    im_jwt_sign(&key, &c, NOW, token, sizeof(token));

    for (n = strlen(token); n > 0; n--) {
        token[n - 1] = '\0';
        assert_int_equal(verify(token, NOW, &reason), IM_DECLINED);
    }
}


static void
a_token_of_another_key_is_refused(void **state)
{
    char              token[1024];
    const char       *reason;
    im_jwt_key_t      other;
    im_jwt_claims_t   c;

    (void) state;

    other.len = 32;
    memset(other.data, 'o', 32);
    c = make_claims();
    im_jwt_sign(&other, &c, NOW, token, sizeof(token));

    assert_int_equal(verify(token, NOW, &reason), IM_DECLINED);
    assert_string_equal(reason, "bad signature");
}


/* Signed with our key, but not what we sign. */
static void
a_token_must_say_all_that_ours_say(void **state)
{
    int           rc;
    char         *text;
    size_t        i;
    jwt_t        *jwt;
    const char   *reason;

    static const struct {
        const char  *claims;
        jwt_alg_t    alg;
        const char  *reason;
    } t[] = {
        { "{\"sub\":\"1\",\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"typ\":\"access\",\"exp\":1900000000}", JWT_ALG_HS256, NULL },
        { "{\"sub\":\"1\",\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"typ\":\"access\",\"exp\":1900000000}", JWT_ALG_NONE, "" },
        { "{\"sub\":\"1\",\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"typ\":\"access\",\"exp\":1900000000}", JWT_ALG_HS512, "" },
        { "{\"sub\":\"1\",\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"exp\":1900000000}", JWT_ALG_HS256, "access token" },
        { "{\"sub\":\"1\",\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"typ\":\"refresh\",\"exp\":1900000000}", JWT_ALG_HS256,
          "access token" },
        { "{\"sub\":\"1\",\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"typ\":\"access\"}", JWT_ALG_HS256, "exp" },
        { "{\"sub\":\"1\",\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"typ\":\"access\",\"exp\":\"1900000000\"}", JWT_ALG_HS256,
          "exp" },
        { "{\"sub\":\"1\",\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"typ\":\"access\",\"exp\":-1}", JWT_ALG_HS256, "exp" },
        { "{\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"typ\":\"access\",\"exp\":1900000000}", JWT_ALG_HS256, "sub" },
        { "{\"sub\":\"0\",\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"typ\":\"access\",\"exp\":1900000000}", JWT_ALG_HS256, "sub" },
        { "{\"sub\":\"-1\",\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"typ\":\"access\",\"exp\":1900000000}", JWT_ALG_HS256, "sub" },
        { "{\"sub\":\"1x\",\"sid\":\"" SID "\",\"dev\":\"a\","
          "\"typ\":\"access\",\"exp\":1900000000}", JWT_ALG_HS256, "sub" },
        { "{\"sub\":\"9223372036854775808\",\"sid\":\"" SID "\","
          "\"dev\":\"a\",\"typ\":\"access\",\"exp\":1900000000}",
          JWT_ALG_HS256, "sub" },
        { "{\"sub\":\"1\",\"dev\":\"a\",\"typ\":\"access\","
          "\"exp\":1900000000}", JWT_ALG_HS256, "sid" },
        { "{\"sub\":\"1\",\"sid\":\"short\",\"dev\":\"a\","
          "\"typ\":\"access\",\"exp\":1900000000}", JWT_ALG_HS256, "sid" },
        { "{\"sub\":\"1\",\"sid\":\"abcdefghijklmnopqrstu}\",\"dev\":\"a\","
          "\"typ\":\"access\",\"exp\":1900000000}", JWT_ALG_HS256, "sid" },
        { "{\"sub\":\"1\",\"sid\":\"" SID "\",\"dev\":\"a b\","
          "\"typ\":\"access\",\"exp\":1900000000}", JWT_ALG_HS256, "dev" },
        { "{\"sub\":\"1\",\"sid\":\"" SID "\","
          "\"dev\":\"123456789012345678901234567890123\","
          "\"typ\":\"access\",\"exp\":1900000000}", JWT_ALG_HS256, "dev" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(t); i++) {
        assert_int_equal(jwt_new(&jwt), 0);
        assert_int_equal(jwt_add_grants_json(jwt, t[i].claims), 0);

        if (t[i].alg != JWT_ALG_NONE) {
            assert_int_equal(jwt_set_alg(jwt, t[i].alg, key.data,
                                         (int) key.len), 0);
        }

        text = jwt_encode_str(jwt);
        jwt_free(jwt);
        assert_non_null(text);

        rc = verify(text, NOW, &reason);
        free(text);

        if (t[i].reason == NULL) {
            assert_int_equal(rc, IM_OK);

        } else if (rc != IM_DECLINED || strstr(reason, t[i].reason) == NULL) {
            fail_msg("%s: %d, %s", t[i].claims, rc, reason);
        }
    }
}


static size_t
base64url(const void *data, size_t len, char *out)
{
    size_t                i, n;
    unsigned              v;
    const unsigned char  *p;

    static const char  set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789-_";

    p = data;
    n = 0;

    for (i = 0; i < len; i += 3) {
        v = (unsigned) p[i] << 16;
        v |= (i + 1 < len) ? (unsigned) p[i + 1] << 8 : 0;
        v |= (i + 2 < len) ? p[i + 2] : 0;

        out[n++] = set[v >> 18];
        out[n++] = set[v >> 12 & 63];

        if (i + 1 < len) {
            out[n++] = set[v >> 6 & 63];
        }

        if (i + 2 < len) {
            out[n++] = set[v & 63];
        }
    }

    return n;
}


/* Makes a token as somebody who has the key could: any bytes, signed. */
static char *
forge(const char *header, const void *claims, size_t len)
{
    char           *token, *p;
    unsigned        n;
    unsigned char   mac[32];

    token = malloc(2 * (strlen(header) + len) + 100);
    p = token + base64url(header, strlen(header), token);
    *p++ = '.';
    p += base64url(claims, len, p);

    assert_non_null(HMAC(EVP_sha256(), key.data, (int) key.len,
                         (unsigned char *) token, (size_t) (p - token), mac,
                         &n));
    *p++ = '.';
    p += base64url(mac, sizeof(mac), p);
    *p = '\0';

    return token;
}


/* RFC 7519, and RFC 8725: what is not understood for certain is refused. */
static void
a_signed_token_is_read_strictly(void **state)
{
    int           rc;
    char         *token, claims[600];
    size_t        i, len;
    const char   *reason;

#define HEAD  "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define BODY  "\"sub\":\"1\",\"sid\":\"" SID "\",\"dev\":\"a\"," \
              "\"typ\":\"access\",\"exp\":1900000000"

    static const struct {
        const char  *header;
        const char  *claims;
        const char  *reason;           /* NULL: taken */
    } t[] = {
        { HEAD, "{" BODY "}", NULL },
        { HEAD, " {" BODY "}\n", NULL },
        { "{\"alg\":\"HS256\"}", "{" BODY "}", NULL },
        { "{\"alg\":\"HS256\",\"typ\":\"jwt\"}", "{" BODY "}", NULL },
        { "{\"alg\":\"HS256\",\"kid\":\"1\"}", "{" BODY "}", NULL },

        /* the algorithm, to the letter */
        { "{\"alg\":\"hs256\"}", "{" BODY "}", "HS256" },
        { "{\"alg\":\"Hs256\",\"typ\":\"JWT\"}", "{" BODY "}", "HS256" },
        { "{\"alg\":\"HS256\",\"alg\":\"HS256\"}", "{" BODY "}", "twice" },
        { "{\"alg\":\"HS256\",\"typ\":\"dpop+jwt\"}", "{" BODY "}", "" },
        { "{\"alg\":\"HS256\",\"typ\":1}", "{" BODY "}", "" },
        { "{\"alg\":\"HS256\",\"crit\":[\"b64\"]}", "{" BODY "}", "crit" },
        { "{\"alg\":\"HS256\",\"crit\":null}", "{" BODY "}", "crit" },

        /* the time from which on it is valid */
        { HEAD, "{" BODY ",\"nbf\":1800000000}", NULL },
        { HEAD, "{" BODY ",\"nbf\":1800000001}", "yet" },
        { HEAD, "{" BODY ",\"nbf\":\"1\"}", "nbf" },
        { HEAD, "{" BODY ",\"nbf\":1.5}", "nbf" },
        { HEAD, "{" BODY ",\"nbf\":null}", "nbf" },
        { HEAD, "{" BODY ",\"iat\":1800000100}", NULL },
        { HEAD, "{" BODY ",\"iat\":\"now\"}", "iat" },

        /* a claim twice, and claims that are not JSON */
        { HEAD, "{" BODY ",\"sub\":\"2\"}", "twice" },
        { HEAD, "{" BODY ",\"exp\":1900000001}", "twice" },
        { HEAD, "{" BODY ",\"su\\u0062\":\"2\"}", "twice" },
        { HEAD, "{" BODY ",\"iss\":\"x\",\"aud\":[\"y\"]}", NULL },
        { HEAD, "{" BODY "}x", "" },
        { HEAD, "{" BODY ",}", "" },
        { HEAD, "{" BODY ",\"x\":\"\xff\"}", "" },
        { HEAD, "[{" BODY "}]", "" },
        { HEAD, "{\"sub\":1,\"sid\":\"" SID "\",\"dev\":\"a\","
                "\"typ\":\"access\",\"exp\":1900000000}", "" },
        { HEAD, "{\"sub\":\"1\\u0000\",\"sid\":\"" SID "\",\"dev\":\"a\","
                "\"typ\":\"access\",\"exp\":1900000000}", "" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(t); i++) {
        token = forge(t[i].header, t[i].claims, strlen(t[i].claims));
        rc = verify(token, NOW, &reason);
        free(token);

        if ((rc == IM_OK) != (t[i].reason == NULL)
            || (rc != IM_OK && strstr(reason, t[i].reason) == NULL))
        {
            fail_msg("%s %s: %d, %s", t[i].header, t[i].claims, rc, reason);
        }
    }

    /* what stands behind a NUL is signed, and read by others */

    len = sizeof("{" BODY "}");
    memcpy(claims, "{" BODY "}", len);
    memcpy(claims + len, "garbage", 7);

    for (i = len; i <= len + 7; i++) {
        token = forge(HEAD, claims, i);
        assert_int_equal(verify(token, NOW, &reason), IM_DECLINED);
        free(token);
    }
}


static void
what_has_not_the_form_of_a_token_is_refused(void **state)
{
    char               token[IM_JWT_TOKEN_MAX + 2];
    size_t             i;
    const char        *reason;
    static const char *bad[] = {
        "", ".", "..", "...", "a", "a.b", "a.b.", ".a.b", "a..b", "a.b.c.d",
        "a.b.c=", "a b.c.d", "a.b.c\n", "a.b/c.d", "a.b+.c", "\xc3.\xa9.a",
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        assert_int_equal(verify(bad[i], NOW, &reason), IM_DECLINED);
        assert_string_equal(reason, "malformed");
    }

    memset(token, 'a', sizeof(token) - 1);
    token[sizeof(token) - 1] = '\0';
    assert_int_equal(verify(token, NOW, &reason), IM_DECLINED);
    assert_non_null(strstr(reason, "4096"));
}


static void
a_key_file_must_hold_a_key(void **state)
{
    int            rc;
    char           path[] = "/tmp/im-test-key.XXXXXX";
    char           text[600];
    FILE          *f;
    size_t         i;
    const char    *reason;
    im_jwt_key_t   k;

    static const struct {
        size_t       len;
        const char  *after;
        size_t       result;       /* 0: refused */
    } files[] = {
        { 0, "", 0 },
        { 31, "", 0 },
        { 31, "\n\n\n", 0 },
        { 32, "", 32 },
        { 32, " \t\r\n", 32 },
        { 512, "\n", 512 },
        { 513, "", 0 },
    };

    (void) state;

    memset(text, 'x', sizeof(text));
    assert_int_not_equal(mkstemp(path), -1);

    for (i = 0; i < UNIT_N(files); i++) {
        f = fopen(path, "w");
        fwrite(text, 1, files[i].len, f);
        fputs(files[i].after, f);
        fclose(f);

        reason = "";
        rc = im_jwt_key_load(&k, path, &reason);

        if (files[i].result == 0) {
            assert_int_equal(rc, IM_ERROR);
            assert_non_null(strstr(reason, "than"));

        } else {
            assert_int_equal(rc, IM_OK);
            assert_int_equal(k.len, files[i].result);
        }
    }

    unlink(path);
    assert_int_equal(im_jwt_key_load(&k, path, &reason), IM_ERROR);
    assert_non_null(strstr(reason, "No such file"));
}


static void
what_was_signed_with_the_key_is_known_by_it(void **state)
{
    char              token[1024];
    im_str_t          s;
    im_jwt_key_t      other;
    im_jwt_claims_t   c;

    (void) state;

    c = make_claims();
    c.exp = 1;                         /* long ago: it is still ours */
    assert_int_equal(im_jwt_sign(&key, &c, NOW, token, sizeof(token)), IM_OK);

    s = unit_exact(token, strlen(token));
    other = key;
    other.data[0] ^= 1;

    assert_true(im_jwt_is_signed(&key, &s));
    assert_false(im_jwt_is_signed(&other, &s));

    s.len--;
    assert_false(im_jwt_is_signed(&key, &s));
    s.len = 0;
    assert_false(im_jwt_is_signed(&key, &s));

    free(s.data);
}


static void
keys_are_compared_by_an_id_that_does_not_show_them(void **state)
{
    char          id[IM_JWT_KEY_ID_LEN + 1], other[IM_JWT_KEY_ID_LEN + 1];
    im_jwt_key_t  k;

    (void) state;

    /* printf 'im key id\0kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk' | sha256sum */
    assert_int_equal(im_jwt_key_id(&key, id), IM_OK);
    assert_string_equal(id, "0407659b4e6d7419");

    k = key;
    k.data[31] ^= 1;
    assert_int_equal(im_jwt_key_id(&k, other), IM_OK);
    assert_string_not_equal(id, other);

    k = key;
    k.len++;
    k.data[32] = '\0';
    assert_int_equal(im_jwt_key_id(&k, other), IM_OK);
    assert_string_not_equal(id, other);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_signed_token_comes_back_as_it_was),
        cmocka_unit_test(a_token_ends_in_the_second_it_says),
        cmocka_unit_test(a_changed_byte_anywhere_is_refused),
        cmocka_unit_test(a_token_cut_anywhere_is_refused),
        cmocka_unit_test(a_token_of_another_key_is_refused),
        cmocka_unit_test(a_token_must_say_all_that_ours_say),
        cmocka_unit_test(a_signed_token_is_read_strictly),
        cmocka_unit_test(what_has_not_the_form_of_a_token_is_refused),
        cmocka_unit_test(a_key_file_must_hold_a_key),
        cmocka_unit_test(what_was_signed_with_the_key_is_known_by_it),
        cmocka_unit_test(keys_are_compared_by_an_id_that_does_not_show_them),
    };

    return cmocka_run_group_tests(tests, make_key, NULL);
}
