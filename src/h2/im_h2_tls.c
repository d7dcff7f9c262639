/*
 * im_h2_tls.c -- certificates: who we are to others, and who others are to us
 * (im_h2_secure.c: TLS on a connection).
 *
 * The rules are those of src/rpc/im_rpc_tls.c: both sides show a certificate of
 * the authority that carries the name of their tier, the side that dials
 * compares it, the side that is dialled looks up the names of the caller, and
 * new certificates are for new connections.  A peer's name is compared as it
 * is; that of a stranger may be a wildcard, as with any client of TLS.
 *
 * OpenSSL's queue of errors is emptied after each call: nginx, whose thread
 * this is, would take what is left for its own.
 *
 * Room: h2.  Runs on: the loop.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "im_h2_int.h"


static const unsigned char  tls_alpn[] = "\x02h2";

static SSL_CTX *tls_context(const im_rpc_tls_t *tls, int server);
static int tls_use_ca(SSL_CTX *ctx, const char *pem, int server);
static int tls_use_cert(SSL_CTX *ctx, const char *pem);
static int tls_use_key(SSL_CTX *ctx, const char *pem);
static int tls_no_passphrase(char *buf, int size, int rwflag, void *data);
static int tls_on_alpn(SSL *ssl, const unsigned char **out,
    unsigned char *len, const unsigned char *in, unsigned in_len, void *arg);
static GENERAL_NAMES *tls_peer_names(SSL *ssl);
static int tls_dns(const GENERAL_NAME *name, const char **text, size_t *len);


int
im_h2_tls_init(im_rpc_t *rpc)
{
    const im_rpc_tls_t  *tls = &rpc->conf.tls;

    if (tls->ca != NULL
        && (tls->cert == NULL || tls->key == NULL
            || im_rpc_tiers_init(&rpc->tiers, tls->name) != IM_OK))
    {
        im_h2_log(rpc, IM_LOG_ERR, "rpc: TLS between the tiers needs a "
                  "certificate, its key and a name of 1 to %d bytes",
                  IM_RPC_NAME_MAX);
        return IM_ERROR;
    }

    rpc->creds = im_h2_creds_create(tls);

    if (rpc->creds != NULL && tls->ca != NULL) {
        rpc->server_ctx = tls_context(tls, 1);
    }

    if (rpc->creds == NULL || (tls->ca != NULL && rpc->server_ctx == NULL)) {
        im_h2_log(rpc, IM_LOG_ERR, "rpc: the TLS text is not usable");
        return IM_ERROR;
    }

    rpc->tls = (tls->ca != NULL);

    /* OpenSSL has what it needs; the caller may overwrite his */
    memset(&rpc->conf.tls, 0, sizeof(im_rpc_tls_t));

    return IM_OK;
}


void
im_h2_tls_free(im_rpc_t *rpc)
{
    im_h2_creds_unref(rpc->creds);
    SSL_CTX_free(rpc->server_ctx);
}


int
im_rpc_set_tls(im_rpc_t *rpc, const im_rpc_tls_t *tls)
{
    SSL_CTX  *ctx;

    if (!rpc->tls || tls->ca == NULL || tls->cert == NULL || tls->key == NULL)
    {
        im_h2_log(rpc, IM_LOG_ERR, "rpc: TLS cannot be switched on or off "
                  "while we run");
        return IM_ERROR;
    }

    ctx = tls_context(tls, 1);

    if (ctx == NULL || im_h2_creds_set(rpc->creds, tls) != IM_OK) {
        SSL_CTX_free(ctx);
        im_h2_log(rpc, IM_LOG_ERR, "rpc: the TLS text is not usable");
        return IM_ERROR;
    }

    SSL_CTX_free(rpc->server_ctx);     /* connections hold their own */
    rpc->server_ctx = ctx;

    return IM_OK;
}


im_h2_creds_t *
im_h2_creds_create(const im_rpc_tls_t *tls)
{
    im_h2_creds_t  *c;

    c = calloc(1, sizeof(im_h2_creds_t));
    if (c == NULL) {
        return NULL;
    }

    c->refs = 1;
    c->version = 1;

    if (tls != NULL && tls->ca != NULL) {
        c->ctx = tls_context(tls, 0);

        if (c->ctx == NULL) {
            free(c);
            return NULL;
        }
    }

    return c;
}


int
im_h2_creds_set(im_h2_creds_t *c, const im_rpc_tls_t *tls)
{
    SSL_CTX  *ctx;

    ctx = NULL;

    if (tls != NULL && tls->ca != NULL) {
        ctx = tls_context(tls, 0);

        if (ctx == NULL) {
            return IM_ERROR;
        }
    }

    SSL_CTX_free(c->ctx);
    c->ctx = ctx;
    c->version++;

    return IM_OK;
}


void
im_h2_creds_unref(im_h2_creds_t *c)
{
    if (c != NULL && --c->refs == 0) {
        SSL_CTX_free(c->ctx);
        free(c);
    }
}


/* A stranger may ask for no certificate: cert and key may be missing. */
static SSL_CTX *
tls_context(const im_rpc_tls_t *tls, int server)
{
    SSL_CTX  *ctx;

    ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (ctx == NULL) {
        ERR_clear_error();
        return NULL;
    }

    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION
                             | SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE
                          | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                          | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(ctx, tls_no_passphrase);

    if (server) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER
                                | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        SSL_CTX_set_alpn_select_cb(ctx, tls_on_alpn, NULL);

    } else {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        (void) SSL_CTX_set_alpn_protos(ctx, tls_alpn, sizeof(tls_alpn) - 1);
    }

    if (tls_use_ca(ctx, tls->ca, server) != IM_OK
        || (tls->cert != NULL
            && (tls_use_cert(ctx, tls->cert) != IM_OK
                || tls_use_key(ctx, tls->key) != IM_OK)))
    {
        ERR_clear_error();
        SSL_CTX_free(ctx);
        return NULL;
    }

    return ctx;
}


static int
tls_use_ca(SSL_CTX *ctx, const char *pem, int server)
{
    BIO         *bio;
    X509        *x;
    unsigned     n;
    X509_STORE  *store;

    bio = BIO_new_mem_buf(pem, -1);
    if (bio == NULL) {
        return IM_ERROR;
    }

    store = SSL_CTX_get_cert_store(ctx);
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN
                                | X509_V_FLAG_TRUSTED_FIRST);

    for (n = 0; ; n++) {
        x = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL);
        if (x == NULL) {
            break;
        }

        if (X509_STORE_add_cert(store, x) != 1
            || (server && SSL_CTX_add_client_CA(ctx, x) != 1))
        {
            X509_free(x);
            BIO_free(bio);
            return IM_ERROR;
        }

        X509_free(x);
    }

    ERR_clear_error();                 /* there are no more: that is one */
    BIO_free(bio);

    return (n > 0) ? IM_OK : IM_ERROR;
}


/* The first is ours, the others are its chain. */
static int
tls_use_cert(SSL_CTX *ctx, const char *pem)
{
    int    rc;
    BIO   *bio;
    X509  *x;

    bio = BIO_new_mem_buf(pem, -1);
    if (bio == NULL) {
        return IM_ERROR;
    }

    x = PEM_read_bio_X509_AUX(bio, NULL, tls_no_passphrase, NULL);
    rc = (x != NULL && SSL_CTX_use_certificate(ctx, x) == 1) ? IM_OK
                                                             : IM_ERROR;
    X509_free(x);

    while (rc == IM_OK) {
        x = PEM_read_bio_X509(bio, NULL, tls_no_passphrase, NULL);
        if (x == NULL) {
            break;
        }

        if (SSL_CTX_add0_chain_cert(ctx, x) != 1) {
            X509_free(x);
            rc = IM_ERROR;
        }
    }

    ERR_clear_error();
    BIO_free(bio);

    return rc;
}


static int
tls_use_key(SSL_CTX *ctx, const char *pem)
{
    int        rc;
    BIO       *bio;
    EVP_PKEY  *key;

    bio = BIO_new_mem_buf(pem, -1);
    if (bio == NULL) {
        return IM_ERROR;
    }

    key = PEM_read_bio_PrivateKey(bio, NULL, tls_no_passphrase, NULL);
    rc = (key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1
          && SSL_CTX_check_private_key(ctx) == 1) ? IM_OK : IM_ERROR;

    EVP_PKEY_free(key);
    BIO_free(bio);

    return rc;
}


/* A daemon has nobody to ask. */
static int
tls_no_passphrase(char *buf, int size, int rwflag, void *data)
{
    (void) buf;
    (void) size;
    (void) rwflag;
    (void) data;

    return 0;
}


static int
tls_on_alpn(SSL *ssl, const unsigned char **out, unsigned char *len,
    const unsigned char *in, unsigned in_len, void *arg)
{
    (void) ssl;
    (void) arg;

    if (SSL_select_next_proto((unsigned char **) out, len, tls_alpn,
                              sizeof(tls_alpn) - 1, in, in_len)
        != OPENSSL_NPN_NEGOTIATED)
    {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }

    return SSL_TLSEXT_ERR_OK;
}


static GENERAL_NAMES *
tls_peer_names(SSL *ssl)
{
    X509  *x;

    x = SSL_get0_peer_certificate(ssl);

    return (x != NULL)
           ? X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL) : NULL;
}


static int
tls_dns(const GENERAL_NAME *name, const char **text, size_t *len)
{
    if (name->type != GEN_DNS) {
        return 0;
    }

    *text = (const char *) ASN1_STRING_get0_data(name->d.dNSName);
    *len = (size_t) ASN1_STRING_length(name->d.dNSName);

    return 1;
}


unsigned
im_h2_tls_roles(im_rpc_t *rpc, SSL *ssl)
{
    int             i;
    size_t          len;
    unsigned        roles;
    const char     *text;
    GENERAL_NAMES  *names;

    roles = 0;
    names = tls_peer_names(ssl);

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        if (tls_dns(sk_GENERAL_NAME_value(names, i), &text, &len)) {
            roles |= im_rpc_tier_role(&rpc->tiers, text, len);
        }
    }

    GENERAL_NAMES_free(names);
    ERR_clear_error();

    return roles;
}


void
im_h2_tls_caller(SSL *ssl, char *out, size_t size)
{
    int             i;
    size_t          n, len;
    const char     *text;
    GENERAL_NAMES  *names;

    n = 0;
    out[0] = '\0';
    names = tls_peer_names(ssl);

    for (i = 0; i < sk_GENERAL_NAME_num(names) && n < size - 1; i++) {
        if (tls_dns(sk_GENERAL_NAME_value(names, i), &text, &len)) {
            n += (size_t) snprintf(out + n, size - n, "%s%.*s",
                                   n > 0 ? ", " : "", (int) len, text);
        }
    }

    if (out[0] == '\0') {
        snprintf(out, size, "no DNS name");
    }

    GENERAL_NAMES_free(names);
    ERR_clear_error();
}
