/*
 * im_peers.c -- see im_peers.h.
 */

#include <stdio.h>
#include <string.h>

#include "im_peers.h"


static const char *peers_file(const char *s);


im_rpc_t *
im_peers_rpc(const im_daemon_conf_t *conf)
{
    im_rpc_conf_t  rc;

    memset(&rc, 0, sizeof(rc));
    rc.home = IM_RPC_HOME_THREAD;
    rc.log = im_log_lower;
    rc.tls.ca = peers_file(conf->rpc_tls_ca);

    if (rc.tls.ca != NULL) {
        rc.tls.cert = conf->rpc_tls_cert;
        rc.tls.key = conf->rpc_tls_key;
        rc.tls.name = conf->rpc_tls_name;
    }

    return im_rpc_create(&rc);
}


im_disc_t *
im_peers_disc(const im_daemon_conf_t *conf, im_rpc_t *rpc)
{
    im_rpc_tls_t    tls;
    im_disc_conf_t  dc;

    memset(&tls, 0, sizeof(tls));
    tls.ca = peers_file(conf->etcd_tls_ca);
    tls.cert = peers_file(conf->etcd_tls_cert);
    tls.key = peers_file(conf->etcd_tls_key);

    memset(&dc, 0, sizeof(dc));
    dc.endpoints = conf->etcd_endpoints;
    dc.prefix = conf->etcd_prefix;
    dc.tls = &tls;
    dc.lease_s = conf->etcd_lease_s;
    dc.log = im_log_lower;

    return im_disc_create(rpc, &dc);
}


void
im_peers_health(im_disc_t *disc, char *json, size_t size)
{
    im_disc_stats_t  s;

    json[0] = '\0';

    if (disc == NULL) {
        return;
    }

    im_disc_stats(disc, &s);

    snprintf(json, size, ",\"discovery\":{\"instances\":%llu,"
             "\"changes\":%llu,\"listings\":%llu,\"breaks\":%llu,"
             "\"garbage\":%llu}",
             (unsigned long long) s.instances,
             (unsigned long long) s.changes,
             (unsigned long long) s.listings,
             (unsigned long long) s.breaks,
             (unsigned long long) s.garbage);
}


/* NULL for an empty setting. */
static const char *
peers_file(const char *s)
{
    return (s[0] != '\0') ? s : NULL;
}
