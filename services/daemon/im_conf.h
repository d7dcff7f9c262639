/*
 * im_conf.h -- configuration by table: file (INI), then environment.
 *
 * A daemon describes its keys in one table; the table reads the file and the
 * environment, checks the values, and writes --help.
 */

#ifndef IM_CONF_H
#define IM_CONF_H

#include "im_core.h"

typedef enum {
    IM_CONF_STR = 0,           /* char *, never NULL */
    IM_CONF_PEM,               /* the same: a file that SIGHUP reads again */
    IM_CONF_UINT               /* unsigned, min to max */
} im_conf_type_t;

typedef struct {
    const char      *section;
    const char      *key;
    im_conf_type_t   type;
    size_t           offset;   /* in the daemon's struct */
    const char      *value;    /* default; NULL: must be given */
    unsigned         min;
    unsigned         max;
    const char      *doc;      /* meaning, without unit and range */
} im_conf_key_t;

/* Keys that every daemon has; first member of its own struct. */
typedef struct {
    const char      *tier;     /* im_daemon_t's */
    const char      *file;     /* it was read from; NULL: none */
    char            *etcd_endpoints;
    char            *etcd_prefix;
    unsigned         etcd_lease_s;
    char            *etcd_tls_ca;
    char            *etcd_tls_cert;
    char            *etcd_tls_key;
    char            *rpc_tls_ca;
    char            *rpc_tls_cert;
    char            *rpc_tls_key;
    char            *rpc_tls_name;
    char            *redis_address;
    char            *redis_password;
    unsigned         redis_timeout_ms;
    unsigned         redis_tags;
    char            *mysql_address;
    char            *mysql_user;
    char            *mysql_password;
    char            *mysql_database;
    unsigned         mysql_timeout_ms;
    char            *kafka_brokers;
    char            *kafka_topic;
    char            *log_level;
    char            *health_listen;
    char            *health_port_file;
} im_daemon_conf_t;

/*
 * Fills conf from defaults, the file (NULL: none) and the environment
 * IM_<SECTION>_<KEY>.  tables: NULL-terminated list of key tables.  IM_ERROR:
 * error holds one sentence with file and line.
 */
int im_conf_load(void *conf, const im_conf_key_t *const *tables,
    const char *file, char *error, size_t size);

/*
 * The same for a tool that needs one section of im_conf_common, of the file of
 * any daemon: other sections are not looked at.
 */
int im_conf_load_section(im_daemon_conf_t *conf, const char *section,
    const char *file, char *error, size_t size);

/* All keys with default, range and doc, as --help prints them. */
void im_conf_print(const im_conf_key_t *const *tables);

extern const im_conf_key_t  im_conf_common[];

#endif
