/*
 * im_health.c -- GET /healthz on a port of its own, by libmicrohttpd.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "im_daemon.h"


#define HEALTH_TEXT_MAX  2048


static enum MHD_Result health_on_request(void *cls, struct MHD_Connection *c,
    const char *url, const char *method, const char *version,
    const char *data, size_t *size, void **state);
static unsigned health_status(char *text, size_t size);
static int health_address(const char *listen, struct sockaddr_in *sin);
static int health_write_port(const char *file, unsigned port);


static struct MHD_Daemon      *health_daemon;
static char                    health_address_text[64];
static _Atomic(im_health_pt)   health_report;    /* NULL: still starting */


int
im_health_start(const im_daemon_conf_t *conf)
{
    unsigned                      port;
    struct sockaddr_in            sin;
    const union MHD_DaemonInfo   *info;

    if (health_address(conf->health_listen, &sin) != IM_OK) {
        im_log(IM_LOG_ERR, "[health] listen: \"%s\" is not an address and a "
               "port", conf->health_listen);
        return IM_ERROR;
    }

    health_daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD,
                        ntohs(sin.sin_port), NULL, NULL, health_on_request,
                        NULL,
                        MHD_OPTION_SOCK_ADDR, &sin,
                        MHD_OPTION_CONNECTION_LIMIT, 64u,
                        MHD_OPTION_CONNECTION_TIMEOUT, 5u,
                        MHD_OPTION_END);
    if (health_daemon == NULL) {
        im_log(IM_LOG_ERR, "health: cannot listen on %s",
               conf->health_listen);
        return IM_ERROR;
    }

    info = MHD_get_daemon_info(health_daemon, MHD_DAEMON_INFO_BIND_PORT);
    port = (info != NULL) ? info->port : 0;
    snprintf(health_address_text, sizeof(health_address_text), "%s:%u",
             inet_ntoa(sin.sin_addr), port);

    im_log(IM_LOG_NOTICE, "health: http://%s:%u/healthz",
           inet_ntoa(sin.sin_addr), port);

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


static int
health_write_port(const char *file, unsigned port)
{
    FILE  *f;

    f = fopen(file, "w");
    if (f == NULL) {
        im_log(IM_LOG_ERR, "[health] port_file: cannot write %s", file);
        return IM_ERROR;
    }

    fprintf(f, "%u\n", port);
    fclose(f);

    return IM_OK;
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
        snprintf(text, sizeof(text), "{\"error\":\"GET only\"}");

    } else if (strcmp(url, "/healthz") != 0) {
        status = MHD_HTTP_NOT_FOUND;
        snprintf(text, sizeof(text), "{\"error\":\"see /healthz\"}");

    } else {
        status = health_status(text, sizeof(text));
    }

    r = MHD_create_response_from_buffer(strlen(text), text,
                                        MHD_RESPMEM_MUST_COPY);
    MHD_add_response_header(r, "Content-Type", "application/json");
    rc = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);

    return rc;
}


static unsigned
health_status(char *text, size_t size)
{
    im_health_pt  report;

    report = atomic_load(&health_report);

    if (report == NULL) {
        snprintf(text, size, "{\"starting\":true}\n");
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    }

    return report(text, size) ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}


const char *
im_health_address(void)
{
    return health_address_text;
}


void
im_health_report(im_health_pt report)
{
    atomic_store(&health_report, report);
}


void
im_health_stop(void)
{
    if (health_daemon != NULL) {
        MHD_stop_daemon(health_daemon);
        health_daemon = NULL;
    }
}
