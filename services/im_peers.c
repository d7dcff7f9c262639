/*
 * im_peers.c -- see im_peers.h.
 */

#include <stdio.h>
#include <string.h>

#include "im_peers.h"


im_rpc_t *
im_peers_rpc(const im_daemon_conf_t *conf)
{
    char            reason[IM_PEM_REASON_MAX];
    im_pem_t        pem;
    im_rpc_t       *rpc;
    im_rpc_conf_t   rc;

    if (im_peers_rpc_pem(conf, &pem, reason, sizeof(reason)) != IM_OK) {
        im_log(IM_LOG_ERR, "%s", reason);
        return NULL;
    }

    memset(&rc, 0, sizeof(rc));
    rc.home = IM_RPC_HOME_THREAD;
    rc.log = im_log_lower;

    if (pem.ca != NULL) {
        rc.tls.ca = pem.ca;
        rc.tls.cert = pem.cert;
        rc.tls.key = pem.key;
        rc.tls.name = conf->rpc_tls_name;
    }

    rpc = im_rpc_create(&rc);
    im_pem_free(&pem);

    return rpc;
}


im_disc_t *
im_peers_disc(const im_daemon_conf_t *conf, im_rpc_t *rpc)
{
    char             reason[IM_PEM_REASON_MAX];
    im_pem_t         pem;
    im_disc_t       *disc;
    im_rpc_tls_t     tls;
    im_disc_conf_t   dc;

    if (im_peers_etcd_pem(conf, &pem, reason, sizeof(reason)) != IM_OK) {
        im_log(IM_LOG_ERR, "%s", reason);
        return NULL;
    }

    memset(&tls, 0, sizeof(tls));
    tls.ca = pem.ca;
    tls.cert = pem.cert;
    tls.key = pem.key;

    memset(&dc, 0, sizeof(dc));
    dc.endpoints = conf->etcd_endpoints;
    dc.prefix = conf->etcd_prefix;
    dc.tls = &tls;
    dc.lease_s = conf->etcd_lease_s;
    dc.log = im_log_lower;

    disc = im_disc_create(rpc, &dc);
    im_pem_free(&pem);

    return disc;
}


void
im_peers_health(im_disc_t *disc, char *json, size_t size)
{
    im_disc_stats_t   s;
    im_rpc_refused_t  refused;

    json[0] = '\0';

    if (disc == NULL) {
        return;
    }

    im_disc_stats(disc, &s);
    im_rpc_refused(&refused);

    snprintf(json, size, ",\"discovery\":{\"instances\":%llu,"
             "\"changes\":%llu,\"listings\":%llu,\"breaks\":%llu,"
             "\"garbage\":%llu},\"rpc\":{\"not_meant\":%llu,"
             "\"forbidden\":%llu}",
             (unsigned long long) s.instances,
             (unsigned long long) s.changes,
             (unsigned long long) s.listings,
             (unsigned long long) s.breaks,
             (unsigned long long) s.garbage,
             (unsigned long long) refused.not_meant,
             (unsigned long long) refused.forbidden);
}
