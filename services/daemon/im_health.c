/*
 * im_health.c -- how the daemon is, on a port of its own, by libmicrohttpd.
 *
 *   GET /healthz   200 as long as the process works
 *   GET /readyz    200 if it can serve, 503 if something is missing
 *
 * Both answer the same object: "ready", "instance", "missing" (what is not
 * there, since when, and the last error), then the daemon's counters.  It says
 * nothing secret, yet more than strangers should read, and asks nobody for a
 * password: by default it listens on loopback only.
 *
 * The socket is made here and not by the library, which does not say why an
 * address cannot be used.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "im_daemon.h"
#include "im_health.h"
#include "im_log.h"
#include "im_probe.h"


#define HEALTH_TEXT_MAX     12288
#define HEALTH_MISSING_MAX  8192
#define HEALTH_BACKLOG      64


static enum MHD_Result health_on_request(void *cls, struct MHD_Connection *c,
    const char *url, const char *method, const char *version,
    const char *data, size_t *size, void **state);
static unsigned health_status(const char *url, char *text, size_t size);
static int health_report_text(char *text, size_t size);
static int health_address(const char *listen, struct sockaddr_in *sin);
static int health_socket(const char *text, const struct sockaddr_in *sin);
static int health_write_port(const char *file, unsigned port);


static struct MHD_Daemon      *health_daemon;
static char                    health_address_text[64];
static const char             *health_instance;
static pthread_mutex_t         health_lock = PTHREAD_MUTEX_INITIALIZER;
static im_health_pt            health_report;    /* NULL: starts, or stops */


int
im_health_start(const im_daemon_conf_t *conf, const char *instance)
{
    int                           fd;
    char                          host[INET_ADDRSTRLEN];
    unsigned                      port;
    socklen_t                     len;
    struct sockaddr_in            sin;

    health_instance = instance;

    if (health_address(conf->health_listen, &sin) != IM_OK) {
        im_log(IM_LOG_ERR, "[health] listen: \"%s\" is not an address and a "
               "port", conf->health_listen);
        return IM_ERROR;
    }

    fd = health_socket(conf->health_listen, &sin);
    if (fd == -1) {
        return IM_ERROR;
    }

    len = sizeof(sin);
    (void) getsockname(fd, (struct sockaddr *) &sin, &len);
    port = ntohs(sin.sin_port);

    health_daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0,
                        NULL, NULL, health_on_request, NULL,
                        MHD_OPTION_LISTEN_SOCKET, fd,
                        MHD_OPTION_CONNECTION_LIMIT, 64u,
                        MHD_OPTION_CONNECTION_TIMEOUT, 5u,
                        MHD_OPTION_END);
    if (health_daemon == NULL) {
        im_log(IM_LOG_ERR, "health: no thread for %s", conf->health_listen);
        close(fd);
        return IM_ERROR;
    }

    inet_ntop(AF_INET, &sin.sin_addr, host, sizeof(host));
    snprintf(health_address_text, sizeof(health_address_text), "%s:%u", host,
             port);

    im_log(IM_LOG_NOTICE, "health: http://%s/healthz and /readyz",
           health_address_text);

    if ((ntohl(sin.sin_addr.s_addr) >> 24) != IN_LOOPBACKNET) {
        im_log(IM_LOG_NOTICE, "health: %s is not loopback: all who reach it "
               "can read addresses, errors and counters", health_address_text);
    }

    if (conf->health_port_file[0] != '\0') {
        return health_write_port(conf->health_port_file, port);
    }

    return IM_OK;
}


static int
health_address(const char *listen, struct sockaddr_in *sin)
{
    char         host[64], *end;
    long         port;
    const char  *colon;

    colon = strrchr(listen, ':');

    if (colon == NULL || (size_t) (colon - listen) >= sizeof(host)) {
        return IM_ERROR;
    }

    memcpy(host, listen, (size_t) (colon - listen));
    host[colon - listen] = '\0';
    port = strtol(colon + 1, &end, 10);

    memset(sin, 0, sizeof(*sin));
    sin->sin_family = AF_INET;
    sin->sin_port = htons((uint16_t) port);

    if (*end != '\0' || end == colon + 1 || port < 0 || port > 65535
        || inet_pton(AF_INET, host, &sin->sin_addr) != 1)
    {
        return IM_ERROR;
    }

    return IM_OK;
}


/* -1: logged. */
static int
health_socket(const char *text, const struct sockaddr_in *sin)
{
    int  fd, on;

    on = 1;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd == -1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0
        || bind(fd, (const struct sockaddr *) sin, sizeof(*sin)) != 0
        || listen(fd, HEALTH_BACKLOG) != 0)
    {
        im_log(IM_LOG_ERR, "health: cannot listen on %s: %s; see [health] "
               "listen", text, strerror(errno));

        if (fd != -1) {
            close(fd);
        }

        return -1;
    }

    return fd;
}


/* Whoever waits for the file finds it with its line. */
static int
health_write_port(const char *file, unsigned port)
{
    int    n;
    char   fresh[PATH_MAX];
    FILE  *f;

    f = NULL;
    errno = ENAMETOOLONG;

    if (snprintf(fresh, sizeof(fresh), "%s.new", file) < (int) sizeof(fresh)) {
        f = fopen(fresh, "w");
    }

    if (f != NULL) {
        n = fprintf(f, "%u\n", port);

        if (fclose(f) == 0 && n > 0 && rename(fresh, file) == 0) {
            return IM_OK;
        }
    }

    im_log(IM_LOG_ERR, "[health] port_file: cannot write %s: %s", file,
           strerror(errno));

    return IM_ERROR;
}


static enum MHD_Result
health_on_request(void *cls, struct MHD_Connection *c, const char *url,
    const char *method, const char *version, const char *data, size_t *size,
    void **state)
{
    char                  text[HEALTH_TEXT_MAX];
    unsigned              status;
    enum MHD_Result       rc;
    struct MHD_Response  *r;

    (void) cls;
    (void) version;
    (void) data;
    (void) size;
    (void) state;

    if (strcmp(method, "GET") != 0) {
        status = MHD_HTTP_METHOD_NOT_ALLOWED;
        snprintf(text, sizeof(text), "{\"error\":\"GET only\"}\n");

    } else {
        status = health_status(url, text, sizeof(text));
    }

    r = MHD_create_response_from_buffer(strlen(text), text,
                                        MHD_RESPMEM_MUST_COPY);
    if (r == NULL) {
        return MHD_NO;                 /* out of memory: it is closed */
    }

    (void) MHD_add_response_header(r, "Content-Type", "application/json");
    (void) MHD_add_response_header(r, "Cache-Control", "no-store");
    (void) MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    rc = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);

    return rc;
}


static unsigned
health_status(const char *url, char *text, size_t size)
{
    int  ready;

    if (strcmp(url, "/healthz") != 0 && strcmp(url, "/readyz") != 0) {
        snprintf(text, size, "{\"error\":\"see /healthz, /readyz\"}\n");
        return MHD_HTTP_NOT_FOUND;
    }

    ready = health_report_text(text, size);

    return (ready || strcmp(url, "/healthz") == 0)
           ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}


/* 1: ready. */
static int
health_report_text(char *text, size_t size)
{
    int          ready;
    char         missing[HEALTH_MISSING_MAX], counters[2048];
    const char  *phase;

    counters[0] = '\0';
    phase = "";
    ready = im_probe_missing(missing, sizeof(missing)) == 0;

    pthread_mutex_lock(&health_lock);

    if (health_report != NULL) {
        health_report(counters, sizeof(counters));

    } else {
        ready = 0;
        phase = im_daemon_stopping() ? ",\"stopping\":true"
                                     : ",\"starting\":true";
    }

    pthread_mutex_unlock(&health_lock);

    snprintf(text, size, "{\"ready\":%s%s,\"instance\":\"%s\",\"missing\":%s"
             "%s}\n", ready ? "true" : "false", phase, health_instance,
             missing, counters);

    return ready;
}


const char *
im_health_address(void)
{
    return health_address_text;
}


void
im_health_report(im_health_pt report)
{
    pthread_mutex_lock(&health_lock);
    health_report = report;
    pthread_mutex_unlock(&health_lock);
}


void
im_health_stop_report(void)
{
    im_health_report(NULL);
}


void
im_health_stop(void)
{
    if (health_daemon != NULL) {
        MHD_stop_daemon(health_daemon);
        health_daemon = NULL;
    }
}
