/*
 * im_peers.c -- see im_peers.h.
 *
 * SIGHUP: the TLS files are read again, and checked as a whole before any is
 * used.  A wrong one is an error in the log, and those of before stay.  The
 * rest of the configuration is read at the start only.
 */

#include <stdio.h>
#include <string.h>

#include "im_daemon.h"
#include "im_log.h"
#include "im_peers.h"


static void peers_reload(void);
static void peers_tls(im_rpc_tls_t *tls, const im_pem_t *pem,
    const char *name);


/* Main thread: what SIGHUP is for. */
static const im_daemon_conf_t  *peers_conf;
static im_rpc_t                *peers_rpc;
static im_disc_t               *peers_disc;


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

    peers_tls(&rc.tls, &pem, conf->rpc_tls_name);

    rpc = im_rpc_create(&rc);
    im_pem_free(&pem);

    peers_conf = conf;
    peers_rpc = rpc;
    peers_disc = NULL;
    im_daemon_on_reload(peers_reload);

    return rpc;
}


static void
peers_tls(im_rpc_tls_t *tls, const im_pem_t *pem, const char *name)
{
    memset(tls, 0, sizeof(im_rpc_tls_t));

    if (pem->ca != NULL) {
        tls->ca = pem->ca;
        tls->cert = pem->cert;
        tls->key = pem->key;
        tls->name = name;
    }
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

    peers_tls(&tls, &pem, NULL);

    memset(&dc, 0, sizeof(dc));
    dc.endpoints = conf->etcd_endpoints;
    dc.prefix = conf->etcd_prefix;
    dc.tls = &tls;
    dc.lease_s = conf->etcd_lease_s;
    dc.log = im_log_lower;

    disc = im_disc_create(rpc, &dc);
    im_pem_free(&pem);

    peers_disc = disc;

    return disc;
}


static void
peers_reload(void)
{
    int           rc;
    char          reason[IM_PEM_REASON_MAX];
    im_pem_t      rpc, etcd;
    im_rpc_tls_t  tls;

    if (im_peers_rpc_pem(peers_conf, &rpc, reason, sizeof(reason)) != IM_OK) {
        im_log(IM_LOG_ERR, "SIGHUP: %s; the certificates of before stay",
               reason);
        return;
    }

    if (im_peers_etcd_pem(peers_conf, &etcd, reason, sizeof(reason)) != IM_OK)
    {
        im_log(IM_LOG_ERR, "SIGHUP: %s; the certificates of before stay",
               reason);
        im_pem_free(&rpc);
        return;
    }

    rc = IM_OK;

    if (rpc.ca != NULL && peers_rpc != NULL) {
        peers_tls(&tls, &rpc, peers_conf->rpc_tls_name);
        rc = im_rpc_set_tls(peers_rpc, &tls);
    }

    if (etcd.ca != NULL && peers_disc != NULL && rc == IM_OK) {
        peers_tls(&tls, &etcd, NULL);
        rc = im_disc_set_tls(peers_disc, &tls);
    }

    if (rc == IM_OK) {
        im_log(IM_LOG_NOTICE, "SIGHUP: %s", (rpc.ca || etcd.ca)
               ? "the TLS files were read again, new connections use them"
               : "there are no TLS files to read again");
    }

    im_pem_free(&rpc);
    im_pem_free(&etcd);
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
