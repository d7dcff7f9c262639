/*
 * unit_tls.h -- an authority and certificates, made by openssl in a folder of
 * the test's own: ca.pem, im.pem, im.key ...  Names: those of the tiers
 * (logic.pem carries logic.im), "im", "other", and both.pem has two tiers.
 */

#ifndef UNIT_TLS_H
#define UNIT_TLS_H

#include <stdio.h>
#include <unistd.h>

#include "unit.h"

#include "im_pem.h"


static char  tls_dir[] = "/tmp/im-tls-XXXXXX";


/* Group set-up and tear-down. */
static inline int
make_certificates(void **state)
{
    char  command[4000];

    (void) state;

    if (mkdtemp(tls_dir) == NULL) {
        return -1;
    }

    snprintf(command, sizeof(command),
        "exec 2>/dev/null; cd %s && "
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 "
        "-nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 2 && "
        "for n in nginx logic task im other both again; do "
        "case $n in im|other) san=DNS:$n;; both) "
        "san=DNS:nginx.im,DNS:task.im;; again) san=DNS:logic.im;; "
        "*) san=DNS:$n.im;; esac; "
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
        "-keyout $n.key -out $n.csr -subj /CN=$n && "
        "echo subjectAltName=$san > $n.ext && "
        "openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -days 2 "
        "-set_serial 0x$(openssl rand -hex 8) -extfile $n.ext -out $n.pem "
        "|| exit 1; done", tls_dir);

    return system(command);
}


static inline int
remove_certificates(void **state)
{
    char  command[64];

    (void) state;

    snprintf(command, sizeof(command), "rm -r %s", tls_dir);

    return system(command);
}


/* Path of a file in the folder; good until the fourth call after it. */
static inline const char *
tls_file(const char *name)
{
    static char      path[4][128];
    static unsigned  n;

    if (name == NULL) {
        return NULL;
    }

    n = (n + 1) % 4;
    snprintf(path[n], sizeof(path[n]), "%s/%s", tls_dir, name);

    return path[n];
}


static inline void
load(im_pem_t *pem, const char *ca, const char *cert, const char *key)
{
    char  reason[IM_PEM_REASON_MAX];

    assert_int_equal(im_pem_load(pem, tls_file(ca), tls_file(cert),
                                 tls_file(key), reason, sizeof(reason)),
                     IM_OK);
}

#endif
