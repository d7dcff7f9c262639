/*
 * im_daemon.h -- the frame of both daemons: command line, signals.
 */

#ifndef IM_DAEMON_H
#define IM_DAEMON_H

#include "im_conf.h"

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
/* 1 once a signal has asked to stop. */
int im_daemon_stopping(void);
/*
 * Waits for a dependency: asks every 20 ms until `is` says 1, which is IM_OK.
 * IM_DONE: a signal asks to stop; IM_AGAIN: limit_ms has passed (0: no limit).
 * Main thread.
 */
int im_daemon_until(int (*is)(void *ctx), void *ctx, unsigned limit_ms);

#endif
