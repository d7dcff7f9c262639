/*
 * im_pem.h -- authority, certificate and key of one side of TLS: PEM files,
 * read and checked once, then text in memory.
 *
 * The process that reads the files need not be the one that uses them: nginx's
 * master reads a key as root, and its workers get the text.
 */

#ifndef IM_PEM_H
#define IM_PEM_H

#include "im_core.h"

#define IM_PEM_MAX         (256 * 1024)   /* bytes of one file */
#define IM_PEM_REASON_MAX  512            /* enough for any reason, with NUL */

/* NUL-terminated text; NULL: none. */
typedef struct {
    char  *ca;
    char  *cert;               /* and its chain */
    char  *key;                /* of cert */
} im_pem_t;

/*
 * Reads and checks: each file is PEM, every certificate parses, the key has no
 * passphrase and belongs to the first certificate of cert.  NULL or "" for a
 * file that is not given; cert and key come together, and never without ca.
 * No ca at all: IM_OK and an empty pem.  The handshake checks validity dates
 * and names.
 *
 * IM_ERROR: reason is a sentence that names the file, pem is empty.
 */
int im_pem_load(im_pem_t *pem, const char *ca, const char *cert,
    const char *key, char *reason, size_t size);

/*
 * Does the first certificate of pem->cert (from `file`) carry the DNS name?
 * Compared literally; a wildcard matches nothing.  IM_ERROR: reason is a
 * sentence with the file, the name and the names in the certificate.
 */
int im_pem_check_name(const im_pem_t *pem, const char *file, const char *name,
    char *reason, size_t size);

/* Overwrites the key, frees all, empties pem. */
void im_pem_free(im_pem_t *pem);

#endif
