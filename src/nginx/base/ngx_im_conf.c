/*
 * ngx_im_conf.c -- what the directives of http{} are checked for.
 *
 * All of it runs in the master, before any worker is replaced: a configuration
 * that cannot work is refused by `nginx -t` and `nginx -s reload`, with file
 * and reason, and the old workers go on.  So files are read and parsed here, as
 * the user who starts nginx, and an address is bound and let go: what a worker
 * could find out only after its start would leave the site without workers.
 */

#include "ngx_im.h"

#include "im_address.h"
#include "im_etcd.h"
#include "im_timeouts.h"


#define NGX_IM_PREFIX_MAX  100


static void ngx_im_conf_tls_cleanup(void *data);
static char *ngx_im_conf_tls_name(ngx_conf_t *cf, ngx_im_tls_conf_t *tls,
    ngx_str_t *directive, const char *file);
static char *ngx_im_conf_numbers(ngx_conf_t *cf, ngx_im_main_conf_t *mcf);
static char *ngx_im_conf_etcd(ngx_conf_t *cf, ngx_im_main_conf_t *mcf);
static char *ngx_im_conf_listen(ngx_conf_t *cf, ngx_im_main_conf_t *mcf);
static char *ngx_im_conf_advertise(ngx_conf_t *cf, ngx_im_main_conf_t *mcf);
static char *ngx_im_conf_jwt_key(ngx_conf_t *cf, ngx_im_main_conf_t *mcf);


ngx_module_t  *ngx_im_conf_module;


void *
ngx_im_conf_create_main(ngx_conf_t *cf, ngx_module_t *module)
{
    ngx_im_main_conf_t  *mcf;

    ngx_im_conf_module = module;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_im_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    mcf->etcd_lease = NGX_CONF_UNSET;
    mcf->fanout_queue = NGX_CONF_UNSET_SIZE;

    return mcf;
}


char *
ngx_im_conf_init_main(ngx_conf_t *cf, void *conf)
{
    ngx_uint_t           i;
    ngx_im_main_conf_t  *mcf = conf;

    static char *(*const  checks[])(ngx_conf_t *, ngx_im_main_conf_t *) = {
        ngx_im_conf_numbers, ngx_im_conf_etcd, ngx_im_conf_listen,
        ngx_im_conf_advertise, ngx_im_conf_jwt_key
    };

    for (i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        if (checks[i](cf, mcf) != NGX_CONF_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_im_conf_numbers(ngx_conf_t *cf, ngx_im_main_conf_t *mcf)
{
    ngx_conf_init_value(mcf->etcd_lease, IM_ETCD_LEASE_S);

    if (mcf->etcd_lease < 2 || mcf->etcd_lease > 60) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_etcd_lease: %T s is not in 2-60 s",
                           mcf->etcd_lease);
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_size_value(mcf->fanout_queue, 16 * 1024 * 1024);

    if (mcf->fanout_queue < 256 * 1024
        || mcf->fanout_queue > (size_t) 1024 * 1024 * 1024)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_ws_fanout_queue: %uz is not in 256k-1g",
                           mcf->fanout_queue);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_im_conf_etcd(ngx_conf_t *cf, ngx_im_main_conf_t *mcf)
{
    char  reason[IM_ADDRESS_REASON_MAX];

    if (mcf->etcd_prefix.len == 0) {
        ngx_str_set(&mcf->etcd_prefix, "/im");
    }

    if (mcf->etcd_prefix.data[0] != '/'
        || mcf->etcd_prefix.data[mcf->etcd_prefix.len - 1] == '/'
        || mcf->etcd_prefix.len > NGX_IM_PREFIX_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_etcd_prefix: \"%V\" must begin with a slash, "
                           "not end with one, and have %d bytes at most",
                           &mcf->etcd_prefix, NGX_IM_PREFIX_MAX);
        return NGX_CONF_ERROR;
    }

    if (mcf->etcd.data == NULL) {
        return NGX_CONF_OK;            /* no backend */
    }

    /* a configuration's words are NUL-terminated */

    if (im_address_check_list((char *) mcf->etcd.data, IM_ETCD_ENDPOINTS_MAX,
                              reason, sizeof(reason))
        != IM_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "im_etcd: %s", reason);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* An address of this machine: a port of it is taken and given back, which fails
 * as it would in a worker. */
static char *
ngx_im_conf_listen(ngx_conf_t *cf, ngx_im_main_conf_t *mcf)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    if (mcf->rpc_listen.len == 0) {
        ngx_str_set(&mcf->rpc_listen, "127.0.0.1");
    }

    text = mcf->rpc_listen;

    if (text.data[0] == '[' && text.data[text.len - 1] == ']') {
        text.data++;
        text.len -= 2;
    }

    rc = ngx_parse_addr(cf->pool, &mcf->rpc_addr, text.data, text.len);

    if (rc == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    if (rc != NGX_OK
        || (mcf->rpc_addr.sockaddr->sa_family == AF_INET)
           != (text.len == mcf->rpc_listen.len))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_rpc_listen: \"%V\" is not an IPv4 address or "
                           "an [IPv6 address], without a port",
                           &mcf->rpc_listen);
        return NGX_CONF_ERROR;
    }

    if (mcf->etcd.len == 0 || !mcf->ws) {
        return NGX_CONF_OK;            /* nothing will listen */
    }

    if (ngx_im_conf_try_bind(&mcf->rpc_addr) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_socket_errno,
                           "im_rpc_listen: \"%V\" cannot be bound",
                           &mcf->rpc_listen);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_im_conf_try_bind(const ngx_addr_t *addr)
{
    ngx_int_t     rc;
    ngx_err_t     err;
    ngx_socket_t  s;

    s = ngx_socket(addr->sockaddr->sa_family, SOCK_STREAM, 0);
    if (s == (ngx_socket_t) -1) {
        return NGX_ERROR;
    }

    /* the port is 0: the kernel chooses */

    rc = (bind(s, addr->sockaddr, addr->socklen) == 0) ? NGX_OK : NGX_ERROR;

    err = ngx_socket_errno;
    (void) ngx_close_socket(s);
    ngx_set_socket_errno(err);

    return rc;
}


static char *
ngx_im_conf_advertise(ngx_conf_t *cf, ngx_im_main_conf_t *mcf)
{
    char  reason[IM_ADDRESS_REASON_MAX];

    if (mcf->rpc_advertise.len == 0) {
        mcf->rpc_advertise = mcf->rpc_listen;
    }

    if (im_address_check_host((char *) mcf->rpc_advertise.data, reason,
                              sizeof(reason))
        != IM_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "im_rpc_advertise: %s",
                           reason);
        return NGX_CONF_ERROR;
    }

    if (ngx_strcmp(mcf->rpc_advertise.data, "0.0.0.0") == 0
        || ngx_strcmp(mcf->rpc_advertise.data, "[::]") == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_rpc_listen %V needs im_rpc_advertise: "
                           "the address that Task can reach",
                           &mcf->rpc_advertise);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_im_conf_jwt_key(ngx_conf_t *cf, ngx_im_main_conf_t *mcf)
{
    const char  *reason;

    if (mcf->jwt_key_file.len == 0) {
        return NGX_CONF_OK;
    }

    if (ngx_conf_full_name(cf->cycle, &mcf->jwt_key_file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    mcf->jwt_key = ngx_pcalloc(cf->pool, sizeof(im_jwt_key_t));
    if (mcf->jwt_key == NULL) {
        return NGX_CONF_ERROR;
    }

    if (im_jwt_key_load(mcf->jwt_key, (char *) mcf->jwt_key_file.data, &reason)
        != IM_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "im_jwt_key_file \"%V\": %s",
                           &mcf->jwt_key_file, reason);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void
ngx_im_conf_tls_cleanup(void *data)
{
    im_pem_free(data);                 /* the key is overwritten */
}


/*
 * im_rpc_tls ca cert key [name];  im_etcd_tls ca [cert key];
 *
 * Read and checked here, as the user who starts nginx: the workers need not be
 * able to read a key, and a wrong file is refused before any worker ends.
 */
char *
ngx_im_conf_tls(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                reason[IM_PEM_REASON_MAX];
    ngx_str_t          *value;
    const char         *files[3] = { NULL, NULL, NULL };
    ngx_uint_t          i;
    ngx_im_tls_conf_t  *tls;
    ngx_pool_cleanup_t *cln;

    tls = (ngx_im_tls_conf_t *) ((char *) conf + cmd->offset);

    if (tls->pem.ca != NULL) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts && i < 4; i++) {

        if (ngx_conf_full_name(cf->cycle, &value[i], 1) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        files[i - 1] = (char *) value[i].data;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_im_conf_tls_cleanup;
    cln->data = &tls->pem;

    if (im_pem_load(&tls->pem, files[0], files[1], files[2], reason,
                    sizeof(reason))
        != IM_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V: %s", &value[0], reason);
        return NGX_CONF_ERROR;
    }

    if (cmd->offset == offsetof(ngx_im_main_conf_t, rpc_tls)) {
        tls->name = (cf->args->nelts > 4) ? (char *) value[4].data : "im";
        return ngx_im_conf_tls_name(cf, tls, &value[0], files[1]);
    }

    return NGX_CONF_OK;
}


/* The other tiers would refuse each call of a certificate without it. */
static char *
ngx_im_conf_tls_name(ngx_conf_t *cf, ngx_im_tls_conf_t *tls,
    ngx_str_t *directive, const char *file)
{
    u_char  *p;
    char     reason[IM_PEM_REASON_MAX];
    u_char   name[IM_RPC_NAME_MAX + 16];

    if (ngx_strlen(tls->name) == 0 || ngx_strlen(tls->name) > IM_RPC_NAME_MAX)
    {
        return "has a name that is not 1 to 100 bytes";
    }

    p = ngx_sprintf(name, "nginx.%s", tls->name);
    *p = '\0';

    if (im_pem_check_name(&tls->pem, file, (char *) name, reason,
                          sizeof(reason))
        != IM_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V: %s", directive, reason);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


void *
ngx_im_conf_create_loc(ngx_conf_t *cf)
{
    ngx_im_loc_conf_t  *lcf;

    lcf = ngx_pcalloc(cf->pool, sizeof(ngx_im_loc_conf_t));
    if (lcf == NULL) {
        return NULL;
    }

    lcf->jwt = NGX_CONF_UNSET_UINT;

    return lcf;
}


char *
ngx_im_conf_merge_loc(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_im_loc_conf_t         *prev = parent;
    ngx_im_loc_conf_t         *conf = child;
    ngx_im_main_conf_t        *mcf;
    ngx_http_core_loc_conf_t  *clcf;

    ngx_conf_merge_uint_value(conf->jwt, prev->jwt, NGX_IM_JWT_OFF);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && prev->ws != NULL) {
        conf->ws = prev->ws;           /* `if` and limit_except */
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, NGX_IM_MODULE);

    if (conf->jwt != NGX_IM_JWT_OFF && mcf->jwt_key == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_jwt needs im_jwt_key_file in http{}");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
