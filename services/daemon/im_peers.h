/*
 * im_peers.h -- a daemon's rpc runtime and its view of the other instances,
 * as configured.
 */

#ifndef IM_PEERS_H
#define IM_PEERS_H

#include "im_conf.h"
#include "im_disc.h"
#include "im_pem.h"
#include "im_rpc.h"

/* Are etcd's addresses and the TLS files of all tiers and of etcd usable?
 * IM_ERROR: why. */
int im_peers_check(const im_daemon_conf_t *conf, char *reason, size_t size);
/* The files of one of them; the caller frees with im_pem_free. */
int im_peers_rpc_pem(const im_daemon_conf_t *conf, im_pem_t *pem,
    char *reason, size_t size);
int im_peers_etcd_pem(const im_daemon_conf_t *conf, im_pem_t *pem,
    char *reason, size_t size);

/* Callbacks run on the rpc thread.  NULL: see the log. */
im_rpc_t *im_peers_rpc(const im_daemon_conf_t *conf);
im_disc_t *im_peers_disc(const im_daemon_conf_t *conf, im_rpc_t *rpc);

/* For /healthz: ,"discovery":{...},"rpc":{...} of at most size bytes. */
void im_peers_health(im_disc_t *disc, char *json, size_t size);

#endif
