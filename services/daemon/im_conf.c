/*
 * im_conf.c -- one table describes a key; tools/config-docs makes
 * docs/configuration.md from it.
 *
 * Order: defaults, file, environment.  A mistake in the file is refused with
 * file and line; a typo must not become a silent default.
 */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include "im_conf.h"
#include "im_timeouts.h"


#define COMMON(section, key, type, field, value, min, max, doc)               \
    { section, key, type, offsetof(im_daemon_conf_t, field), value, min, max, \
      doc }

const im_conf_key_t  im_conf_common[] = {
    COMMON("etcd", "endpoints", IM_CONF_STR, etcd_endpoints,
           "127.0.0.1:2379", 0, 0,
           "host:port of each member, separated by commas"),
    COMMON("etcd", "prefix", IM_CONF_STR, etcd_prefix, "/im", 0, 0,
           "first part of all keys; the same in nginx and in both daemons"),
    COMMON("etcd", "lease_s", IM_CONF_UINT, etcd_lease_s,
           IM_TIMEOUT_STR(IM_ETCD_LEASE_S), 2, 60,
           "an instance that died is forgotten after this long"),
    COMMON("etcd", "tls_ca", IM_CONF_PEM, etcd_tls_ca, "", 0, 0,
           "authority of etcd's certificate; empty: no TLS to etcd"),
    COMMON("etcd", "tls_cert", IM_CONF_PEM, etcd_tls_cert, "", 0, 0,
           "our certificate, for an etcd that asks for one"),
    COMMON("etcd", "tls_key", IM_CONF_PEM, etcd_tls_key, "", 0, 0,
           "key of tls_cert"),
    COMMON("rpc", "tls_ca", IM_CONF_PEM, rpc_tls_ca, "", 0, 0,
           "authority of all tiers' certificates; empty: no TLS between "
           "tiers"),
    COMMON("rpc", "tls_cert", IM_CONF_PEM, rpc_tls_cert, "", 0, 0,
           "our certificate, as server and as client; docs/certificates.md"),
    COMMON("rpc", "tls_key", IM_CONF_PEM, rpc_tls_key, "", 0, 0,
           "key of tls_cert"),
    COMMON("rpc", "tls_name", IM_CONF_STR, rpc_tls_name, "im", 0, 0,
           "last part of the names in the tiers' certificates"),
    COMMON("redis", "address", IM_CONF_STR, redis_address,
           "127.0.0.1:6379", 0, 0,
           "host:port or unix:/path"),
    COMMON("redis", "password", IM_CONF_STR, redis_password, "", 0, 0,
           "empty: none"),
    COMMON("redis", "timeout_ms", IM_CONF_UINT, redis_timeout_ms,
           IM_TIMEOUT_STR(IM_REDIS_MS), 10, 60000,
           "limit of connecting, and of each reply"),
    COMMON("redis", "tags", IM_CONF_UINT, redis_tags, "1", 1, 64,
           "hash tags of the keys, never changed later; Redis Cluster is not "
           "supported"),
    COMMON("mysql", "address", IM_CONF_STR, mysql_address,
           "127.0.0.1:3306", 0, 0,
           "host:port or unix:/path"),
    COMMON("mysql", "user", IM_CONF_STR, mysql_user, "im", 0, 0,
           "account"),
    COMMON("mysql", "password", IM_CONF_STR, mysql_password, "", 0, 0,
           "password of the account"),
    COMMON("mysql", "database", IM_CONF_STR, mysql_database, "im", 0, 0,
           "database whose tables im-schema makes (docs/upgrading.md)"),
    COMMON("mysql", "timeout_ms", IM_CONF_UINT, mysql_timeout_ms,
           IM_TIMEOUT_STR(IM_MYSQL_MS), 1000, 60000,
           "limit of connecting, of each read and of each write; whole "
           "seconds"),
    COMMON("kafka", "brokers", IM_CONF_STR, kafka_brokers,
           "127.0.0.1:9092", 0, 0,
           "host:port of each broker, separated by commas"),
    COMMON("kafka", "topic", IM_CONF_STR, kafka_topic, "im.msg", 0, 0,
           "topic of the messages; its number of partitions is a power of "
           "two"),
    COMMON("log", "level", IM_CONF_STR, log_level, "notice", 0, 0,
           "err, warn, notice, info or debug; the log goes to standard error"),
    COMMON("health", "listen", IM_CONF_STR, health_listen, "127.0.0.1:0", 0, 0,
           "address of /healthz and /readyz; port 0: the kernel chooses, see "
           "the log"),
    COMMON("health", "port_file", IM_CONF_STR, health_port_file, "", 0, 0,
           "file that the port is written to; empty: none"),
    { NULL, NULL, IM_CONF_STR, 0, NULL, 0, 0, NULL }
};


typedef struct {
    void                        *conf;
    const im_conf_key_t *const  *tables;
    const char                  *section;      /* only this one; NULL: all */
    const char                  *file;
    FILE                        *stream;
    unsigned                     line;         /* last one read */
    unsigned                     wrong;        /* line of the first mistake */
    char                        *error;
    size_t                       size;
} conf_load_t;


static int conf_load(conf_load_t *l);
static const im_conf_key_t *conf_find(const im_conf_key_t *const *tables,
    const char *section, const char *key);
static int conf_set(void *conf, const im_conf_key_t *k, const char *value,
    char *error, size_t size);
static int conf_file(conf_load_t *l);
static char *conf_next_line(char *buf, int size, void *user);
static int conf_on_line(void *user, const char *section, const char *name,
    const char *value);
static int conf_environment(conf_load_t *l);
static int conf_complete(conf_load_t *l);


int
im_conf_load(void *conf, const im_conf_key_t *const *tables,
    const char *file, char *error, size_t size)
{
    conf_load_t  l;

    memset(&l, 0, sizeof(l));
    l.conf = conf;
    l.tables = tables;
    l.file = file;
    l.error = error;
    l.size = size;

    return conf_load(&l);
}


int
im_conf_load_section(im_daemon_conf_t *conf, const char *section,
    const char *file, char *error, size_t size)
{
    conf_load_t  l;

    static const im_conf_key_t *const  tables[] = { im_conf_common, NULL };

    memset(&l, 0, sizeof(l));
    l.conf = conf;
    l.tables = tables;
    l.section = section;
    l.file = file;
    l.error = error;
    l.size = size;

    return conf_load(&l);
}


static int
conf_load(conf_load_t *l)
{
    const im_conf_key_t         *k;
    const im_conf_key_t *const  *t;

    l->error[0] = '\0';

    for (t = l->tables; *t != NULL; t++) {
        for (k = *t; k->section != NULL; k++) {
            if (k->value != NULL
                && conf_set(l->conf, k, k->value, l->error, l->size) != IM_OK)
            {
                return IM_ERROR;
            }
        }
    }

    if (l->file != NULL && conf_file(l) != IM_OK) {
        return IM_ERROR;
    }

    if (conf_environment(l) != IM_OK) {
        return IM_ERROR;
    }

    return conf_complete(l);
}


/*
 * inih reads on after a mistake and returns the number of the first line that
 * was wrong; the reason is ours only if it was found in that line.
 */
static int
conf_file(conf_load_t *l)
{
    int      rc;
    char    *error, text[256];
    size_t   size;

    l->stream = fopen(l->file, "r");

    if (l->stream == NULL) {
        snprintf(l->error, l->size, "%s: cannot be read: %s", l->file,
                 strerror(errno));
        return IM_ERROR;
    }

    error = l->error;
    size = l->size;
    l->error = text;
    l->size = sizeof(text);

    rc = ini_parse_stream(conf_next_line, l, conf_on_line, l);

    if (rc == 0 && ferror(l->stream)) {
        rc = -1;
    }

    fclose(l->stream);

    l->error = error;
    l->size = size;

    if (rc < 0) {
        snprintf(error, size, "%s: cannot be read", l->file);

    } else if (rc > 0) {
        snprintf(error, size, "%s:%d: %s", l->file, rc,
                 ((unsigned) rc == l->wrong)
                 ? text : "neither [section] nor key = value");
    }

    return (rc == 0) ? IM_OK : IM_ERROR;
}


/* As fgets(); without indents, which inih takes for the value going on. */
static char *
conf_next_line(char *buf, int size, void *user)
{
    char         *p;
    conf_load_t  *l = user;

    if (fgets(buf, size, l->stream) == NULL) {
        return NULL;
    }

    l->line++;

    for (p = buf; *p == ' ' || *p == '\t'; p++) { /* void */ }
    memmove(buf, p, strlen(p) + 1);

    return buf;
}


/* inih: 1 is right, 0 is a mistake in this line. */
static int
conf_on_line(void *user, const char *section, const char *name,
    const char *value)
{
    conf_load_t          *l = user;
    const im_conf_key_t  *k;

    if (l->wrong != 0) {
        return 0;                      /* only the first mistake is reported */
    }

    if (l->section != NULL && strcmp(section, l->section) != 0) {
        return 1;
    }

    k = conf_find(l->tables, section, name);

    if (k == NULL) {
        snprintf(l->error, l->size, "[%s] has no key \"%s\"", section, name);
        l->wrong = l->line;
        return 0;
    }

    if (conf_set(l->conf, k, value, l->error, l->size) != IM_OK) {
        l->wrong = l->line;
        return 0;
    }

    return 1;
}


static int
conf_environment(conf_load_t *l)
{
    char                         name[128], text[256], *p;
    const char                  *value;
    const im_conf_key_t         *k;
    const im_conf_key_t *const  *t;

    for (t = l->tables; *t != NULL; t++) {
        for (k = *t; k->section != NULL; k++) {

            if (l->section != NULL && strcmp(k->section, l->section) != 0) {
                continue;
            }

            snprintf(name, sizeof(name), "IM_%s_%s", k->section, k->key);

            for (p = name; *p; p++) {
                *p = (char) toupper((unsigned char) *p);
            }

            value = getenv(name);

            if (value != NULL
                && conf_set(l->conf, k, value, text, sizeof(text)) != IM_OK)
            {
                snprintf(l->error, l->size, "environment %s: %s", name, text);
                return IM_ERROR;
            }
        }
    }

    return IM_OK;
}


static int
conf_complete(conf_load_t *l)
{
    char                         *s;
    const im_conf_key_t          *k;
    const im_conf_key_t *const   *t;

    for (t = l->tables; *t != NULL; t++) {
        for (k = *t; k->section != NULL; k++) {

            if (k->value != NULL || k->type == IM_CONF_UINT) {
                continue;
            }

            s = *(char **) ((char *) l->conf + k->offset);

            if (s == NULL || *s == '\0') {
                snprintf(l->error, l->size, "%s: [%s] %s must be given",
                         l->file ? l->file : "no file", k->section, k->key);
                return IM_ERROR;
            }
        }
    }

    return IM_OK;
}


static const im_conf_key_t *
conf_find(const im_conf_key_t *const *tables, const char *section,
    const char *key)
{
    const im_conf_key_t  *k;

    for (; *tables != NULL; tables++) {
        for (k = *tables; k->section != NULL; k++) {
            if (strcmp(k->section, section) == 0 && strcmp(k->key, key) == 0)
            {
                return k;
            }
        }
    }

    return NULL;
}


static int
conf_set(void *conf, const im_conf_key_t *k, const char *value, char *error,
    size_t size)
{
    char                *end, **s;
    unsigned long long   v;

    if (k->type != IM_CONF_UINT) {
        s = (char **) ((char *) conf + k->offset);
        free(*s);
        *s = strdup(value);
        return (*s != NULL) ? IM_OK : IM_ERROR;
    }

    v = strtoull(value, &end, 10);

    if (!isdigit((unsigned char) value[0]) || *end != '\0' || v < k->min
        || v > k->max)
    {
        snprintf(error, size, "[%s] %s: \"%.60s\" is not in %u-%u",
                 k->section, k->key, value, k->min, k->max);
        return IM_ERROR;
    }

    *(unsigned *) ((char *) conf + k->offset) = (unsigned) v;

    return IM_OK;
}


void
im_conf_print(const im_conf_key_t *const *tables)
{
    const im_conf_key_t  *k;

    for (; *tables != NULL; tables++) {
        for (k = *tables; k->section != NULL; k++) {

            if (k->type == IM_CONF_UINT) {
                printf("  [%s] %s = %s  (%u-%u)  %s\n", k->section, k->key,
                       k->value, k->min, k->max, k->doc);

            } else {
                printf("  [%s] %s = %s  %s\n", k->section, k->key,
                       k->value ? k->value : "(must be given)", k->doc);
            }
        }
    }
}
