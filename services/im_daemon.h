/*
 * im_daemon.h -- the frame of both daemons: configuration, log, signals,
 * health.
 *
 * A daemon describes its keys in one table; the table reads the file and the
 * environment, checks the values, and writes --help.
 */

#ifndef IM_DAEMON_H
#define IM_DAEMON_H

#include <stdatomic.h>

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

typedef struct {
    const char           *name;       /* "im-logic" */
    const char           *tier;       /* "logic": first part of the name in
                                         its certificate; NULL: any */
    const char           *about;      /* one line for --help */
    const im_conf_key_t  *keys;       /* own keys, ends with section NULL */
    void                 *conf;       /* starts with im_daemon_conf_t */
    /* Checks what a table cannot; NULL or a sentence. */
    const char         *(*check)(void *conf);
    /* --role of im-task: NULL if the daemon has none. */
    const char          **role;
} im_daemon_t;

/*
 * Parses the command line, loads and checks the configuration, blocks
 * signals.  IM_OK: go on.  IM_DONE: --help, --version or --check have been
 * answered, exit with *status.  IM_ERROR: refused with a message, exit 1.
 */
int im_daemon_init(im_daemon_t *d, int argc, char **argv, int *status);

/* What SIGHUP means: runs on the main thread while it waits, never once a
 * signal has asked to stop.  NULL: nothing, as before the first call. */
void im_daemon_on_reload(void (*reload)(void));
/* Waits for SIGTERM or SIGINT. */
void im_daemon_wait(void);
/* 1 once a signal has asked to stop; for loops that wait for a dependency. */
int im_daemon_stopping(void);
/* Waits ms, returns 1 at once when a signal asks to stop.  Main thread. */
int im_daemon_sleep(unsigned ms);

/*
 * /healthz and /readyz.  Start it first: an address that is taken must be
 * found before peers or consumer groups know of us.  instance: static memory.
 * /readyz is 503, and both say "starting", until report is given; it writes
 * the daemon's counters, each as ,"name":value, in at most size bytes.  It
 * runs on a thread of its own.
 * im_health_report(NULL) takes it away ("stopping"), and returns when no
 * report runs: what it reads may be freed then.
 */
typedef void (*im_health_pt)(char *json, size_t size);
int im_health_start(const im_daemon_conf_t *conf, const char *instance);
void im_health_report(im_health_pt report);
/* Where it listens, "host:port", once started. */
const char *im_health_address(void);
void im_health_stop(void);

/* Log: one line for an event, to stderr. */
void im_log(int level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void im_log_lower(void *ctx, int level, const char *msg);   /* im_log_pt */

/* For lines that traffic repeats: one in ten seconds for each place, with the
 * number of those that were left out.  Zero at first; any thread. */
typedef struct {
    _Atomic uint64_t  next_us;
    atomic_uint       left_out;
} im_log_seldom_t;

void im_log_seldom(im_log_seldom_t *s, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define im_warn_seldom(...)                                                   \
    do {                                                                      \
        static im_log_seldom_t  im_seldom;                                    \
        im_log_seldom(&im_seldom, IM_LOG_WARN, __VA_ARGS__);                  \
    } while (0)

uint64_t im_now_ms(void);        /* since 1970 */
uint64_t im_mono_us(void);       /* monotonic */

/* "<host>-<pid>-<8 hex>", unique for each start; NUL-terminated. */
void im_instance_name(char *out, size_t size);

#endif
