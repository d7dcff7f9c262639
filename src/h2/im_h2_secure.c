/*
 * im_h2_secure.c -- TLS on a connection: handshake, bytes in and out.
 *
 * The socket is read and written by a BIO of our own, since OpenSSL's would
 * raise SIGPIPE.
 *
 * Room: h2.  Runs on: the loop.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "im_h2_int.h"


static int secure_expect(SSL *ssl, const char *name, int peer);
static BIO *secure_bio(int fd);
static void secure_reason(SSL *ssl, int error, char why[IM_H2_WHY]);
static ssize_t secure_result(SSL *ssl, int rc);


SSL *
im_h2_secure_create(SSL_CTX *ctx, int fd, int server, const char *name,
    int peer)
{
    BIO  *bio;
    SSL  *ssl;

    ssl = SSL_new(ctx);
    bio = (ssl != NULL) ? secure_bio(fd) : NULL;

    if (bio == NULL) {
        ERR_clear_error();
        SSL_free(ssl);
        return NULL;
    }

    SSL_set_bio(ssl, bio, bio);

    if (server) {
        SSL_set_accept_state(ssl);
        return ssl;
    }

    SSL_set_connect_state(ssl);

    if (secure_expect(ssl, name, peer) != IM_OK) {
        ERR_clear_error();
        SSL_free(ssl);
        return NULL;
    }

    return ssl;
}


/* What the certificate of the server must carry. */
static int
secure_expect(SSL *ssl, const char *name, int peer)
{
    struct in6_addr     addr;
    X509_VERIFY_PARAM  *param;

    param = SSL_get0_param(ssl);

    if (inet_pton(AF_INET, name, &addr) == 1
        || inet_pton(AF_INET6, name, &addr) == 1)
    {
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1 ? IM_OK
                                                               : IM_ERROR;
    }

    X509_VERIFY_PARAM_set_hostflags(param,
        peer ? (X509_CHECK_FLAG_NO_WILDCARDS
                | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)
             : X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);

    if (X509_VERIFY_PARAM_set1_host(param, name, 0) != 1
        || SSL_set_tlsext_host_name(ssl, name) != 1)
    {
        return IM_ERROR;
    }

    return IM_OK;
}


/* OpenSSL's own BIO of a socket would raise SIGPIPE. */
static int
secure_bio_write(BIO *bio, const char *data, int len)
{
    ssize_t  n;

    BIO_clear_retry_flags(bio);

    do {
        n = send((int) (intptr_t) BIO_get_data(bio), data, (size_t) len,
                 MSG_NOSIGNAL);
    } while (n == -1 && errno == EINTR);

    if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        BIO_set_retry_write(bio);
    }

    return (int) n;
}


static int
secure_bio_read(BIO *bio, char *data, int len)
{
    ssize_t  n;

    BIO_clear_retry_flags(bio);

    do {
        n = recv((int) (intptr_t) BIO_get_data(bio), data, (size_t) len, 0);
    } while (n == -1 && errno == EINTR);

    if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        BIO_set_retry_read(bio);
    }

    return (int) n;
}


static long
secure_bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void) bio;
    (void) num;
    (void) ptr;

    return (cmd == BIO_CTRL_FLUSH) ? 1 : 0;
}


static BIO *
secure_bio(int fd)
{
    BIO                *bio;
    static BIO_METHOD  *method;        /* for good, as OpenSSL's own are */

    if (method == NULL) {
        method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(),
                              "im socket");
        if (method == NULL) {
            return NULL;
        }

        (void) BIO_meth_set_write(method, secure_bio_write);
        (void) BIO_meth_set_read(method, secure_bio_read);
        (void) BIO_meth_set_ctrl(method, secure_bio_ctrl);
    }

    bio = BIO_new(method);

    if (bio != NULL) {
        BIO_set_data(bio, (void *) (intptr_t) fd);
        BIO_set_init(bio, 1);
    }

    return bio;
}


void
im_h2_secure_close(SSL *ssl)
{
    SSL_free(ssl);
    ERR_clear_error();
}


int
im_h2_secure_handshake(SSL *ssl, int *write, char why[IM_H2_WHY])
{
    int                   rc, error;
    unsigned              len;
    const unsigned char  *alpn;

    ERR_clear_error();
    errno = 0;
    rc = SSL_do_handshake(ssl);

    if (rc != 1) {
        error = SSL_get_error(ssl, rc);

        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
            *write = (error == SSL_ERROR_WANT_WRITE);
            return IM_AGAIN;
        }

        secure_reason(ssl, error, why);
        ERR_clear_error();
        return IM_ERROR;
    }

    SSL_get0_alpn_selected(ssl, &alpn, &len);

    if (len != 2 || memcmp(alpn, "h2", 2) != 0) {
        snprintf(why, IM_H2_WHY, "TLS: the peer does not speak HTTP/2");
        return IM_ERROR;
    }

    return IM_OK;
}


static void
secure_reason(SSL *ssl, int error, char why[IM_H2_WHY])
{
    long         verify;
    const char  *text;

    verify = SSL_get_verify_result(ssl);

    if (verify != X509_V_OK) {
        snprintf(why, IM_H2_WHY, "TLS: the certificate: %s",
                 X509_verify_cert_error_string(verify));
        return;
    }

    text = ERR_reason_error_string(ERR_peek_error());

    if (text == NULL) {
        text = (error == SSL_ERROR_SYSCALL && errno != 0)
               ? strerror(errno) : "the peer has closed it";
    }

    snprintf(why, IM_H2_WHY, "TLS: %s", text);
}


ssize_t
im_h2_secure_read(SSL *ssl, uint8_t *data, size_t len)
{
    ERR_clear_error();
    errno = 0;

    return secure_result(ssl, SSL_read(ssl, data, (int) len));
}


ssize_t
im_h2_secure_write(SSL *ssl, const uint8_t *data, size_t len)
{
    ssize_t  n;

    ERR_clear_error();
    errno = 0;
    n = secure_result(ssl, SSL_write(ssl, data, (int) len));

    return (n == 0) ? IM_ERROR : n;
}


/* Bytes, 0: the end, IM_AGAIN, IM_ERROR: errno. */
static ssize_t
secure_result(SSL *ssl, int rc)
{
    int  error;

    if (rc > 0) {
        return rc;
    }

    error = SSL_get_error(ssl, rc);
    ERR_clear_error();

    switch (error) {

    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return IM_AGAIN;

    case SSL_ERROR_ZERO_RETURN:
        return 0;

    case SSL_ERROR_SYSCALL:
        return (errno == 0) ? 0 : IM_ERROR;

    default:
        errno = EPROTO;
        return IM_ERROR;
    }
}
