/*
 * im_daemon.c -- command line and signals: what a daemon is besides its work.
 *
 * Signals are blocked before any thread exists, so every thread inherits the
 * mask and only the main thread, which waits for them, sees one.
 */

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "im_conf.h"
#include "im_daemon.h"
#include "im_log.h"
#include "im_peers.h"
#include "im_pem.h"
#include "im_version.h"


static int daemon_options(im_daemon_t *d, int argc, char **argv,
    const char **file, int *check, int *status);
static void daemon_help(const im_daemon_t *d,
    const im_conf_key_t *const *tables);
static void daemon_block_signals(void);
static int daemon_sleep(unsigned ms);


static sigset_t    daemon_signals;
static atomic_int  daemon_stop;
static void      (*daemon_reload)(void);       /* main thread */


int
im_daemon_init(im_daemon_t *d, int argc, char **argv, int *status)
{
    int                   check;
    char                  error[IM_PEM_REASON_MAX + 32];
    const char           *file, *why;
    im_daemon_conf_t     *conf;
    const im_conf_key_t  *tables[3];

    tables[0] = im_conf_common;
    tables[1] = d->keys;
    tables[2] = NULL;

    check = 0;
    file = NULL;
    *status = 0;

    switch (daemon_options(d, argc, argv, &file, &check, status)) {

    case IM_OK:
        break;

    case IM_DECLINED:
        daemon_help(d, tables);
        return IM_DONE;

    case IM_DONE:
        return IM_DONE;

    default:
        *status = 1;
        return IM_ERROR;
    }

    if (im_conf_load(d->conf, tables, file, error, sizeof(error)) != IM_OK) {
        fprintf(stderr, "%s: %s\n", d->name, error);
        *status = 1;
        return IM_ERROR;
    }

    conf = d->conf;
    conf->tier = d->tier;
    conf->file = file;
    why = NULL;

    if (im_log_set_level(conf->log_level) != IM_OK) {
        why = "[log] level: it is one of err, warn, notice, info, debug";

    } else if (im_peers_check(conf, error, sizeof(error)) != IM_OK) {
        why = error;
    }

    if (why == NULL && d->check != NULL) {
        why = d->check(d->conf);
    }

    if (why != NULL) {
        fprintf(stderr, "%s: %s: %s\n", d->name, file ? file : "environment",
                why);
        *status = 1;
        return IM_ERROR;
    }

    if (check) {
        printf("%s: configuration ok\n", d->name);
        return IM_DONE;
    }

    daemon_block_signals();

    im_log(IM_LOG_NOTICE, "%s %s starts, pid %d", d->name, IM_VERSION,
           (int) getpid());

    return IM_OK;
}


static int
daemon_options(im_daemon_t *d, int argc, char **argv, const char **file,
    int *check, int *status)
{
    int  i;

    for (i = 1; i < argc; i++) {

        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            *file = argv[++i];

        } else if (strcmp(argv[i], "--check") == 0) {
            *check = 1;

        } else if (strcmp(argv[i], "--role") == 0 && i + 1 < argc
                   && d->role != NULL)
        {
            *d->role = argv[++i];

        } else if (strcmp(argv[i], "--version") == 0) {
            printf("%s %s\n", d->name, IM_VERSION);
            return IM_DONE;

        } else if (strcmp(argv[i], "--help") == 0) {
            return IM_DECLINED;

        } else {
            fprintf(stderr, "%s: unknown option \"%s\", see --help\n",
                    d->name, argv[i]);
            *status = 1;
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static void
daemon_help(const im_daemon_t *d, const im_conf_key_t *const *tables)
{
    printf("%s -- %s\n\n"
           "  --config FILE   INI file; without it, defaults and environment\n"
           "  --check         say what is wrong with the configuration, exit\n"
           "%s"
           "  --version\n  --help\n\n"
           "Keys, each also as IM_<SECTION>_<KEY> in the environment:\n",
           d->name, d->about,
           d->role ? "  --role ROLE     push, store or all\n" : "");

    im_conf_print(tables);
}


static void
daemon_block_signals(void)
{
    sigemptyset(&daemon_signals);
    sigaddset(&daemon_signals, SIGTERM);
    sigaddset(&daemon_signals, SIGINT);
    sigaddset(&daemon_signals, SIGHUP);
    sigaddset(&daemon_signals, SIGPIPE);

    pthread_sigmask(SIG_BLOCK, &daemon_signals, NULL);
}


int
im_daemon_stopping(void)
{
    return atomic_load(&daemon_stop);
}


int
im_daemon_until(int (*is)(void *ctx), void *ctx, unsigned limit_ms)
{
    unsigned  waited;

    for (waited = 0; limit_ms == 0 || waited < limit_ms; waited += 20) {

        if (is(ctx)) {
            return IM_OK;
        }

        if (daemon_sleep(20)) {
            return IM_DONE;
        }
    }

    return IM_AGAIN;
}


/* 1 at once when a signal asks to stop. */
static int
daemon_sleep(unsigned ms)
{
    int              sig;
    struct timespec  ts;

    ts.tv_sec = ms / 1000;
    ts.tv_nsec = (long) (ms % 1000) * 1000000;

    sig = sigtimedwait(&daemon_signals, NULL, &ts);

    if (sig == SIGTERM || sig == SIGINT) {
        im_log(IM_LOG_NOTICE, "signal %d: stopping", sig);
        atomic_store(&daemon_stop, 1);
    }

    if (sig == SIGHUP && daemon_reload != NULL && !im_daemon_stopping()) {
        daemon_reload();
    }

    return atomic_load(&daemon_stop);
}


void
im_daemon_on_reload(void (*reload)(void))
{
    daemon_reload = reload;
}


void
im_daemon_wait(void)
{
    while (!daemon_sleep(3600 * 1000)) {
        /* SIGPIPE means nothing here */
    }
}
