/*
 * im_pem.c -- see im_pem.h.
 *
 * What gRPC does with wrong text is to fail each handshake later, with words
 * that name no file.  So all is parsed here first, by the library that gRPC
 * itself uses.  A file is read with read(): a key shall leave no copy in a
 * buffer of stdio.
 *
 * OpenSSL's queue of errors is one for each thread and nginx looks at it after
 * its own calls, so it is left empty.
 *
 * Room: core.  Waits for a disk only; called while a configuration is read.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "im_pem.h"


/* What is wrong is said here; all functions below share it. */
typedef struct {
    char        *text;
    size_t       size;
} pem_reason_t;


static int pem_given(const char *file);
static int pem_load_ca(im_pem_t *pem, const char *file, pem_reason_t *reason);
static int pem_load_pair(im_pem_t *pem, const char *cert, const char *key,
    pem_reason_t *reason);
static char *pem_read(const char *file, pem_reason_t *reason);
static char *pem_copy(const char *buf, size_t len, const char *file,
    pem_reason_t *reason);
static int pem_read_all(int fd, char *buf, size_t *len);
static X509 *pem_certificates(const char *text, const char *file,
    pem_reason_t *reason);
static X509 *pem_next(BIO *bio);
static int pem_check_key(const char *text, const char *file, X509 *cert,
    const char *cert_file, pem_reason_t *reason);
static int pem_has_name(X509 *cert, const char *name, char *others,
    size_t size);
static int pem_no_passphrase(char *buf, int size, int rwflag, void *asked);
static void pem_say(pem_reason_t *reason, const char *file, const char *what,
    const char *detail);
static const char *pem_ssl_error(void);


int
im_pem_load(im_pem_t *pem, const char *ca, const char *cert, const char *key,
    char *reason, size_t size)
{
    int           rc;
    pem_reason_t  r = { reason, size };

    memset(pem, 0, sizeof(im_pem_t));

    if (pem_given(cert) != pem_given(key)) {
        snprintf(reason, size, "certificate and key come together");
        return IM_ERROR;
    }

    if (!pem_given(ca)) {

        if (pem_given(cert)) {
            snprintf(reason, size, "a certificate needs an authority");
            return IM_ERROR;
        }

        return IM_OK;
    }

    ERR_clear_error();

    rc = pem_load_ca(pem, ca, &r);

    if (rc == IM_OK && pem_given(cert)) {
        rc = pem_load_pair(pem, cert, key, &r);
    }

    ERR_clear_error();

    if (rc != IM_OK) {
        im_pem_free(pem);
    }

    return rc;
}


static int
pem_given(const char *file)
{
    return file != NULL && file[0] != '\0';
}


static int
pem_load_ca(im_pem_t *pem, const char *file, pem_reason_t *reason)
{
    X509  *first;

    pem->ca = pem_read(file, reason);
    if (pem->ca == NULL) {
        return IM_ERROR;
    }

    first = pem_certificates(pem->ca, file, reason);
    X509_free(first);

    return (first != NULL) ? IM_OK : IM_ERROR;
}


static int
pem_load_pair(im_pem_t *pem, const char *cert, const char *key,
    pem_reason_t *reason)
{
    int    rc;
    X509  *first;

    pem->cert = pem_read(cert, reason);
    if (pem->cert == NULL) {
        return IM_ERROR;
    }

    first = pem_certificates(pem->cert, cert, reason);
    if (first == NULL) {
        return IM_ERROR;
    }

    rc = IM_ERROR;
    pem->key = pem_read(key, reason);

    if (pem->key != NULL) {
        rc = pem_check_key(pem->key, key, first, cert, reason);
    }

    X509_free(first);

    return rc;
}


void
im_pem_free(im_pem_t *pem)
{
    free(pem->ca);
    free(pem->cert);

    if (pem->key != NULL) {
        OPENSSL_cleanse(pem->key, strlen(pem->key));
        free(pem->key);
    }

    memset(pem, 0, sizeof(im_pem_t));
}


static char *
pem_read(const char *file, pem_reason_t *reason)
{
    int      fd;
    char    *buf, *text;
    size_t   len;

    fd = open(file, O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        pem_say(reason, file, "cannot be read", strerror(errno));
        return NULL;
    }

    text = NULL;
    buf = malloc(IM_PEM_MAX + 1);

    if (buf == NULL || pem_read_all(fd, buf, &len) != IM_OK) {
        pem_say(reason, file, "cannot be read", strerror(errno));

    } else if (len > IM_PEM_MAX) {
        pem_say(reason, file, "is larger than 256 KiB", NULL);

    } else {
        buf[len] = '\0';
        text = pem_copy(buf, len, file, reason);
    }

    if (buf != NULL) {
        OPENSSL_cleanse(buf, IM_PEM_MAX + 1);
        free(buf);
    }

    close(fd);

    return text;
}


static char *
pem_copy(const char *buf, size_t len, const char *file, pem_reason_t *reason)
{
    char  *text;

    if (strlen(buf) != len || strstr(buf, "-----BEGIN ") == NULL) {
        pem_say(reason, file, "is not PEM", NULL);
        return NULL;
    }

    text = strdup(buf);
    if (text == NULL) {
        pem_say(reason, file, "cannot be kept", strerror(errno));
    }

    return text;
}


/* One byte more than is allowed tells that it is too long. */
static int
pem_read_all(int fd, char *buf, size_t *len)
{
    ssize_t  n;

    *len = 0;

    while (*len <= IM_PEM_MAX) {
        n = read(fd, buf + *len, IM_PEM_MAX + 1 - *len);

        if (n == 0) {
            break;
        }

        if (n > 0) {
            *len += (size_t) n;

        } else if (errno != EINTR) {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


/* All must parse; the first is returned, the caller frees it. */
static X509 *
pem_certificates(const char *text, const char *file, pem_reason_t *reason)
{
    BIO            *bio;
    X509           *first, *x;
    unsigned long   error;

    first = NULL;
    bio = BIO_new_mem_buf(text, -1);

    for (x = pem_next(bio); x != NULL; x = pem_next(bio)) {
        if (first == NULL) {
            first = x;

        } else {
            X509_free(x);
        }
    }

    BIO_free(bio);

    error = ERR_peek_last_error();

    if (ERR_GET_LIB(error) != ERR_LIB_PEM
        || ERR_GET_REASON(error) != PEM_R_NO_START_LINE)
    {
        pem_say(reason, file, "has a certificate that does not parse",
                pem_ssl_error());
        X509_free(first);
        return NULL;
    }

    ERR_clear_error();                 /* the end of the text */

    if (first == NULL) {
        pem_say(reason, file, "has no certificate", NULL);
    }

    return first;
}


static X509 *
pem_next(BIO *bio)
{
    return (bio != NULL) ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
}


static int
pem_check_key(const char *text, const char *file, X509 *cert,
    const char *cert_file, pem_reason_t *reason)
{
    int        rc, asked;
    BIO       *bio;
    EVP_PKEY  *key;

    asked = 0;
    key = NULL;
    bio = BIO_new_mem_buf(text, -1);

    if (bio != NULL) {
        key = PEM_read_bio_PrivateKey(bio, NULL, pem_no_passphrase, &asked);
        BIO_free(bio);
    }

    if (key == NULL) {

        if (asked) {
            pem_say(reason, file, "is encrypted: a passphrase cannot be given",
                    NULL);

        } else {
            pem_say(reason, file, "has no private key that parses",
                    pem_ssl_error());
        }

        return IM_ERROR;
    }

    rc = IM_OK;

    if (X509_check_private_key(cert, key) != 1) {
        snprintf(reason->text, reason->size, "\"%.200s\" is not the key of "
                 "\"%.200s\"", file, cert_file);
        rc = IM_ERROR;
    }

    EVP_PKEY_free(key);

    return rc;
}


/* Without it OpenSSL would ask at the terminal. */
static int
pem_no_passphrase(char *buf, int size, int rwflag, void *asked)
{
    (void) buf;
    (void) size;
    (void) rwflag;

    *(int *) asked = 1;

    return -1;
}


int
im_pem_check_name(const im_pem_t *pem, const char *file, const char *name,
    char *reason, size_t size)
{
    int   rc;
    BIO  *bio;
    X509 *cert;
    char  others[200];

    bio = BIO_new_mem_buf(pem->cert, -1);
    cert = pem_next(bio);
    BIO_free(bio);

    if (cert == NULL) {
        snprintf(reason, size, "\"%.200s\" has no certificate", file);
        ERR_clear_error();
        return IM_ERROR;
    }

    rc = IM_OK;

    if (!pem_has_name(cert, name, others, sizeof(others))) {
        snprintf(reason, size, "\"%.200s\" is not for \"%s\", it carries %s",
                 file, name, others[0] ? others : "no DNS name");
        rc = IM_ERROR;
    }

    X509_free(cert);
    ERR_clear_error();

    return rc;
}


/* others: those that are not it, for people. */
static int
pem_has_name(X509 *cert, const char *name, char *others, size_t size)
{
    int                   i, found, len;
    size_t                n;
    GENERAL_NAME         *g;
    GENERAL_NAMES        *names;
    const unsigned char  *p;

    n = 0;
    found = 0;
    others[0] = '\0';
    names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        g = sk_GENERAL_NAME_value(names, i);

        if (g->type != GEN_DNS) {
            continue;
        }

        p = ASN1_STRING_get0_data(g->d.dNSName);
        len = ASN1_STRING_length(g->d.dNSName);

        if ((size_t) len == strlen(name) && memcmp(p, name, strlen(name)) == 0)
        {
            found = 1;

        } else if (n < size - 1) {
            n += (size_t) snprintf(others + n, size - n, "%s\"%.*s\"",
                                   n > 0 ? ", " : "", len, p);
        }
    }

    GENERAL_NAMES_free(names);

    return found;
}


static void
pem_say(pem_reason_t *reason, const char *file, const char *what,
    const char *detail)
{
    snprintf(reason->text, reason->size, "\"%.200s\" %s%s%.200s", file, what,
             detail ? ": " : "", detail ? detail : "");
}


static const char *
pem_ssl_error(void)
{
    const char  *s;

    s = ERR_reason_error_string(ERR_peek_error());

    return s ? s : "unknown error";
}
