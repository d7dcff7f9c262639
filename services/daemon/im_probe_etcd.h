/*
 * im_probe_etcd.h -- the probe of etcd.
 */

#ifndef IM_PROBE_ETCD_H
#define IM_PROBE_ETCD_H

#include "im_conf.h"
#include "im_disc.h"
#include "im_probe.h"

typedef struct {
    im_probe_t               probe;
    const im_daemon_conf_t  *conf;
    im_rpc_t                *rpc;
    im_disc_t               *disc;
    pthread_mutex_t          lock;
    pthread_cond_t           wake;
    unsigned                 asked;        /* number of the last question */
    unsigned                 answered;     /* of the last one answered */
    int                      rc;
} im_probe_etcd_t;

/* Static memory; conf, rpc and disc are set.  Stopped before either of these
 * is destroyed. */
int im_probe_etcd_start(im_probe_etcd_t *e);

#endif
