/*
 * im_peers_tls.c -- see im_peers.h: the TLS files of a daemon, and what else
 * is checked of its peers before it starts.
 *
 * Apart from im_peers.c: the check of a configuration needs no rpc runtime.
 */

#include <stdio.h>
#include <string.h>

#include "im_address.h"
#include "im_etcd.h"
#include "im_peers.h"


static int peers_check_store(const char *section, const char *address,
    char *reason, size_t size);


int
im_peers_check(const im_daemon_conf_t *conf, char *reason, size_t size)
{
    int       n;
    im_pem_t  pem;

    n = snprintf(reason, size, "[etcd] endpoints: ");

    if (im_address_check_list(conf->etcd_endpoints, IM_ETCD_ENDPOINTS_MAX,
                              reason + n, size - (size_t) n) != IM_OK)
    {
        return IM_ERROR;
    }

    if (peers_check_store("redis", conf->redis_address, reason, size) != IM_OK
        || peers_check_store("mysql", conf->mysql_address, reason, size)
           != IM_OK)
    {
        return IM_ERROR;
    }

    if (im_peers_rpc_pem(conf, &pem, reason, size) != IM_OK) {
        return IM_ERROR;
    }

    im_pem_free(&pem);

    if (im_peers_etcd_pem(conf, &pem, reason, size) != IM_OK) {
        return IM_ERROR;
    }

    im_pem_free(&pem);

    return IM_OK;
}


/* unix:/path, or one host:port */
static int
peers_check_store(const char *section, const char *address, char *reason,
    size_t size)
{
    int       n;
    char      host[IM_ADDRESS_HOST_MAX + 1];
    unsigned  port;

    n = snprintf(reason, size, "[%s] address: ", section);

    if (strncmp(address, "unix:", 5) == 0) {
        return IM_OK;
    }

    return im_address_split(address, host, &port, reason + n,
                            size - (size_t) n);
}


int
im_peers_rpc_pem(const im_daemon_conf_t *conf, im_pem_t *pem, char *reason,
    size_t size)
{
    int   n;
    char  name[IM_RPC_NAME_MAX + 16];

    if (conf->rpc_tls_ca[0] != '\0'
        && (conf->rpc_tls_cert[0] == '\0' || conf->rpc_tls_key[0] == '\0'
            || conf->rpc_tls_name[0] == '\0'))
    {
        snprintf(reason, size, "[rpc] tls_ca needs tls_cert, tls_key and "
                 "tls_name");
        return IM_ERROR;
    }

    if (strlen(conf->rpc_tls_name) > IM_RPC_NAME_MAX) {
        snprintf(reason, size, "[rpc] tls_name is longer than %d bytes",
                 IM_RPC_NAME_MAX);
        return IM_ERROR;
    }

    n = snprintf(reason, size, "[rpc] TLS: ");

    if (im_pem_load(pem, conf->rpc_tls_ca, conf->rpc_tls_cert,
                    conf->rpc_tls_key, reason + n, size - (size_t) n)
        != IM_OK)
    {
        return IM_ERROR;
    }

    if (pem->ca == NULL || conf->tier == NULL) {
        return IM_OK;
    }

    /* others would refuse it, call by call */

    snprintf(name, sizeof(name), "%s.%s", conf->tier, conf->rpc_tls_name);

    if (im_pem_check_name(pem, conf->rpc_tls_cert, name, reason + n,
                          size - (size_t) n)
        != IM_OK)
    {
        im_pem_free(pem);
        return IM_ERROR;
    }

    return IM_OK;
}


int
im_peers_etcd_pem(const im_daemon_conf_t *conf, im_pem_t *pem, char *reason,
    size_t size)
{
    int  n;

    n = snprintf(reason, size, "[etcd] TLS: ");

    return im_pem_load(pem, conf->etcd_tls_ca, conf->etcd_tls_cert,
                       conf->etcd_tls_key, reason + n, size - (size_t) n);
}
