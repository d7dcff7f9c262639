/*
 * ngx_im_module.c -- what a worker has one of: configuration, the rpc runtime
 * and the view of the other instances.
 *
 * The runtime is created in init_process, never before the fork: a child of a
 * process that has initialised gRPC hangs.  Its results reach the loop by an
 * eventfd that is an ngx_connection_t with read->channel = 1, so that neither
 * the shutdown timer nor the "open socket left" alert touches it.  ngx_notify()
 * is not used: it has a single handler slot, which nginx's thread pools own.
 *
 * Each worker is an instance of its own with a port of its own: nothing is
 * shared between workers, and during a reload old and new ones coexist.
 */

#include "ngx_im_request.h"
#include "im_timeouts.h"


typedef struct {
    im_rpc_t          *rpc;
    im_disc_t         *disc;
    ngx_connection_t  *notify;
    ngx_str_t          instance;
    u_char             instance_data[128];
    char              *endpoints;
    char              *prefix;
} ngx_im_worker_t;


static void *ngx_im_create_main_conf(ngx_conf_t *cf);
static char *ngx_im_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_im_create_loc_conf(ngx_conf_t *cf);
static char *ngx_im_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);
static ngx_int_t ngx_im_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_im_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_im_init_process(ngx_cycle_t *cycle);
static void ngx_im_exit_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_im_open_notify(ngx_cycle_t *cycle);
static void ngx_im_notify_handler(ngx_event_t *ev);
static void ngx_im_make_tls(im_rpc_tls_t *tls, const ngx_im_tls_conf_t *conf);
static void ngx_im_name_instance(ngx_cycle_t *cycle);
static void ngx_im_tls_cleanup(void *data);
static char *ngx_im_tls(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_im_c_str(ngx_pool_t *pool, const ngx_str_t *s);


static ngx_im_worker_t  ngx_im_worker;


static ngx_command_t  ngx_im_commands[] = {

    { ngx_string("im_etcd"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd),
      NULL },

    { ngx_string("im_etcd_prefix"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd_prefix),
      NULL },

    { ngx_string("im_etcd_lease"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_sec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd_lease),
      NULL },

    { ngx_string("im_jwt_key_file"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, jwt_key_file),
      NULL },

    { ngx_string("im_rpc_listen"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, rpc_listen),
      NULL },

    { ngx_string("im_rpc_advertise"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, rpc_advertise),
      NULL },

    { ngx_string("im_ws_fanout_queue"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, fanout_queue),
      NULL },

    { ngx_string("im_rpc_tls"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE3|NGX_CONF_TAKE4,
      ngx_im_tls,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, rpc_tls),
      NULL },

    { ngx_string("im_etcd_tls"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1|NGX_CONF_TAKE3,
      ngx_im_tls,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_im_main_conf_t, etcd_tls),
      NULL },

    { ngx_string("im_jwt"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_HTTP_LIF_CONF|NGX_HTTP_LMT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_im_loc_conf_t, jwt),
      &ngx_im_jwt_modes },

      ngx_null_command
};


static ngx_http_module_t  ngx_im_module_ctx = {
    ngx_im_preconfiguration,           /* preconfiguration */
    ngx_im_postconfiguration,          /* postconfiguration */
    ngx_im_create_main_conf,           /* create main configuration */
    ngx_im_init_main_conf,             /* init main configuration */
    NULL,                              /* create server configuration */
    NULL,                              /* merge server configuration */
    ngx_im_create_loc_conf,            /* create location configuration */
    ngx_im_merge_loc_conf              /* merge location configuration */
};


ngx_module_t  ngx_im_module = {
    NGX_MODULE_V1,
    &ngx_im_module_ctx,                /* module context */
    ngx_im_commands,                   /* module directives */
    NGX_HTTP_MODULE,                   /* module type */
    NULL,                              /* init master */
    NULL,                              /* init module */
    ngx_im_init_process,               /* init process */
    NULL,                              /* init thread */
    NULL,                              /* exit thread */
    ngx_im_exit_process,               /* exit process */
    NULL,                              /* exit master */
    NGX_MODULE_V1_PADDING
};


im_rpc_t *
ngx_im_rpc(void)
{
    return ngx_im_worker.rpc;
}


im_disc_t *
ngx_im_disc(void)
{
    return ngx_im_worker.disc;
}


const ngx_str_t *
ngx_im_instance(void)
{
    return &ngx_im_worker.instance;
}


static ngx_int_t
ngx_im_init_process(ngx_cycle_t *cycle)
{
    im_rpc_tls_t         etcd_tls;
    im_rpc_conf_t        rpc_conf;
    im_disc_conf_t       disc_conf;
    ngx_im_main_conf_t  *mcf;

    /* the cache manager and loader run init_process too */
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    if (ngx_get_conf(cycle->conf_ctx, ngx_http_module) == NULL) {
        return NGX_OK;                 /* no http{} block */
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_im_module);

    if (mcf == NULL) {
        return NGX_OK;
    }

    ngx_im_refusal_init_process();
    ngx_im_secret_init_process(cycle);

    if (mcf->etcd.len == 0) {
        return NGX_OK;
    }

    ngx_im_name_instance(cycle);

    ngx_memzero(&rpc_conf, sizeof(im_rpc_conf_t));
    rpc_conf.home = IM_RPC_HOME_LOOP;
    rpc_conf.log = ngx_im_log;

    ngx_im_make_tls(&rpc_conf.tls, &mcf->rpc_tls);
    ngx_im_make_tls(&etcd_tls, &mcf->etcd_tls);

    ngx_im_worker.rpc = im_rpc_create(&rpc_conf);
    if (ngx_im_worker.rpc == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "im: cannot start the rpc runtime");
        return NGX_ERROR;
    }

    if (ngx_im_open_notify(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_im_worker.endpoints = ngx_im_c_str(cycle->pool, &mcf->etcd);
    ngx_im_worker.prefix = ngx_im_c_str(cycle->pool, &mcf->etcd_prefix);

    if (ngx_im_worker.endpoints == NULL || ngx_im_worker.prefix == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&disc_conf, sizeof(im_disc_conf_t));
    disc_conf.endpoints = ngx_im_worker.endpoints;
    disc_conf.prefix = ngx_im_worker.prefix;
    disc_conf.tls = &etcd_tls;
    disc_conf.lease_s = mcf->etcd_lease;
    disc_conf.log = ngx_im_log;

    ngx_im_worker.disc = im_disc_create(ngx_im_worker.rpc, &disc_conf);
    if (ngx_im_worker.disc == NULL
        || ngx_im_link_init(ngx_im_worker.disc) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!mcf->ws) {
        return NGX_OK;                 /* API tier only: nobody calls us */
    }

    if (ngx_im_ws_init_worker(mcf, cycle) != NGX_OK
        || ngx_im_push_init(mcf, cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_im_open_notify(ngx_cycle_t *cycle)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(im_rpc_fd(ngx_im_worker.rpc), cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->log = cycle->log;
    c->read->handler = ngx_im_notify_handler;
    c->read->log = cycle->log;
    c->read->channel = 1;
    c->idle = 1;                       /* nginx tells us when it shuts down */
    c->write->log = cycle->log;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) != NGX_OK) {
        ngx_free_connection(c);
        return NGX_ERROR;
    }

    ngx_im_worker.notify = c;

    return NGX_OK;
}


static void
ngx_im_notify_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c = ev->data;

    if (c->close) {
        /* not ours to close: the worker drains, and says so */
        c->close = 0;
        c->idle = 0;

        if (ngx_im_worker.disc != NULL) {
            im_disc_drain(ngx_im_worker.disc, "connect");
        }
    }

    ev->ready = 0;
    im_rpc_dispatch(ngx_im_worker.rpc);
}


static void
ngx_im_make_tls(im_rpc_tls_t *tls, const ngx_im_tls_conf_t *conf)
{
    tls->ca = conf->pem.ca;
    tls->cert = conf->pem.cert;
    tls->key = conf->pem.key;
    tls->name = conf->name;
}


/* Host, pid and a random number: unique for each start of a worker. */
static void
ngx_im_name_instance(ngx_cycle_t *cycle)
{
    u_char      *p, ch;
    ngx_uint_t   i, n;

    p = ngx_im_worker.instance_data;
    n = ngx_min(cycle->hostname.len, 64);

    for (i = 0; i < n; i++) {
        ch = cycle->hostname.data[i];

        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
            || (ch >= '0' && ch <= '9') || ch == '.' || ch == '-')
        {
            *p++ = ch;
        }
    }

    p = ngx_sprintf(p, "-%P-%08xD", ngx_pid,
                    (uint32_t) ngx_random() ^ (uint32_t) ngx_time() << 8);

    ngx_im_worker.instance.data = ngx_im_worker.instance_data;
    ngx_im_worker.instance.len = p - ngx_im_worker.instance_data;
    *p = '\0';
}


static void
ngx_im_exit_process(ngx_cycle_t *cycle)
{
#if (__SANITIZE_ADDRESS__)
    /* nginx forgets its tables when it exits: only our leaks shall show */
    static void  *tables[3];

    tables[0] = cycle->connections;
    tables[1] = cycle->read_events;
    tables[2] = cycle->write_events;
    __asm__ volatile ("" : : "r" (tables) : "memory");
#endif

    if (ngx_im_worker.rpc == NULL) {
        return;
    }

    /* reverse order of init; destroy delivers all last callbacks */

    ngx_im_ws_exit_worker(cycle);
    ngx_im_link_exit();

    im_disc_destroy(ngx_im_worker.disc);
    ngx_im_worker.disc = NULL;

    if (ngx_im_worker.notify != NULL) {
        /* the descriptor is the runtime's: it closes it */
        if (ngx_del_event(ngx_im_worker.notify->read, NGX_READ_EVENT, 0)
            != NGX_OK)
        {
            ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno,
                          "im: cannot remove the eventfd from the loop");
        }

        ngx_im_worker.notify->fd = (ngx_socket_t) -1;
        ngx_free_connection(ngx_im_worker.notify);
        ngx_im_worker.notify = NULL;
    }

    im_rpc_destroy(ngx_im_worker.rpc);
    ngx_im_worker.rpc = NULL;

    ngx_im_revoked_free();
}


static char *
ngx_im_c_str(ngx_pool_t *pool, const ngx_str_t *s)
{
    char  *p;

    p = ngx_pnalloc(pool, s->len + 1);
    if (p == NULL) {
        return NULL;
    }

    ngx_memcpy(p, s->data, s->len);
    p[s->len] = '\0';

    return p;
}


static void
ngx_im_tls_cleanup(void *data)
{
    im_pem_free(data);                 /* the key is overwritten */
}


/*
 * im_rpc_tls ca cert key [name];  im_etcd_tls ca [cert key];
 *
 * Read and checked here, as the user who starts nginx: the workers need not be
 * able to read a key, and a wrong file is refused before any worker ends.
 */
static char *
ngx_im_tls(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
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

    cln->handler = ngx_im_tls_cleanup;
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
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_im_preconfiguration(ngx_conf_t *cf)
{
    return ngx_im_jwt_add_variables(cf);
}


static ngx_int_t
ngx_im_postconfiguration(ngx_conf_t *cf)
{
    return ngx_im_jwt_init(cf);
}


static void *
ngx_im_create_main_conf(ngx_conf_t *cf)
{
    ngx_im_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_im_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    mcf->etcd_lease = NGX_CONF_UNSET;
    mcf->fanout_queue = NGX_CONF_UNSET_SIZE;

    return mcf;
}


static char *
ngx_im_init_main_conf(ngx_conf_t *cf, void *conf)
{
    const char          *reason;
    ngx_im_main_conf_t  *mcf = conf;

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

    if (mcf->etcd_prefix.len == 0) {
        ngx_str_set(&mcf->etcd_prefix, "/im");
    }

    if (mcf->etcd_prefix.data[0] != '/'
        || mcf->etcd_prefix.data[mcf->etcd_prefix.len - 1] == '/')
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_etcd_prefix: \"%V\" must begin with a slash "
                           "and not end with one", &mcf->etcd_prefix);
        return NGX_CONF_ERROR;
    }

    if (mcf->rpc_listen.len == 0) {
        ngx_str_set(&mcf->rpc_listen, "127.0.0.1");
    }

    if (mcf->rpc_advertise.len == 0) {
        mcf->rpc_advertise = mcf->rpc_listen;
    }

    if (ngx_strncmp(mcf->rpc_advertise.data, "0.0.0.0",
                    ngx_min(mcf->rpc_advertise.len, 7)) == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_rpc_listen 0.0.0.0 needs im_rpc_advertise: "
                           "the address that Task can reach");
        return NGX_CONF_ERROR;
    }

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


static void *
ngx_im_create_loc_conf(ngx_conf_t *cf)
{
    ngx_im_loc_conf_t  *lcf;

    lcf = ngx_pcalloc(cf->pool, sizeof(ngx_im_loc_conf_t));
    if (lcf == NULL) {
        return NULL;
    }

    lcf->jwt = NGX_CONF_UNSET_UINT;

    return lcf;
}


static char *
ngx_im_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_im_loc_conf_t         *prev = parent;
    ngx_im_loc_conf_t         *conf = child;
    ngx_im_main_conf_t        *mcf;
    ngx_http_core_loc_conf_t  *clcf;

    ngx_conf_merge_uint_value(conf->jwt, prev->jwt, NGX_IM_JWT_OFF);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->noname && prev->ws) {
        conf->ws = 1;                  /* `if` and limit_except */
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_im_module);

    if (conf->jwt != NGX_IM_JWT_OFF && mcf->jwt_key == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_jwt needs im_jwt_key_file in http{}");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
