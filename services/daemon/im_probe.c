/*
 * im_probe.c -- see im_probe.h.
 *
 *   probe threads   begin - look - end, then pause
 *   watch thread    every 250 ms: which look takes too long?
 *
 * The watch does not trust the libraries' time-outs: while a look hangs, the
 * verdict falls after the deadline all the same.  When the watch itself comes
 * late by a second, the whole process was stopped or starved, and a look that
 * seems to take long proves nothing.
 */

#include <stdio.h>
#include <string.h>

#include "im_clock.h"
#include "im_cond.h"
#include "im_daemon.h"
#include "im_log.h"
#include "im_probe.h"
#include "im_timeouts.h"


#define PROBE_MAX       12
#define PROBE_WATCH_MS  250
#define PROBE_AGAIN_MS  10000      /* another error, while it is away */


static int probe_is_up(void *ctx);
static void *probe_thread(void *arg);
static int probe_pause(im_probe_t *p);
static void *probe_watch_thread(void *arg);
static void probe_watch(uint64_t now, int held);
static void probe_changed(im_probe_t *p, im_probe_change_t change,
    uint64_t now);
static void probe_init(im_probe_t *p);
static int probe_watch_start(void);
static uint64_t probe_since_s(const im_probe_state_t *s, uint64_t now);
static size_t probe_escape(char *out, size_t size, const char *text);
static uint64_t probe_now_ms(void);


static pthread_mutex_t  probe_lock = PTHREAD_MUTEX_INITIALIZER;   /* the list */
static im_probe_t      *probe_list[PROBE_MAX];
static unsigned         probe_n;
static pthread_t        probe_watch_id;
static pthread_cond_t   probe_watch_wake = PTHREAD_COND_INITIALIZER;
static int              probe_watching;
static int              probe_watch_stop;


int
im_probe_start(im_probe_t *p)
{
    int  rc;

    probe_init(p);

    pthread_mutex_lock(&probe_lock);

    rc = (probe_n < PROBE_MAX) ? probe_watch_start() : IM_ERROR;

    if (rc == IM_OK) {
        probe_list[probe_n++] = p;
    }

    pthread_mutex_unlock(&probe_lock);

    if (rc != IM_OK || p->look == NULL) {
        return rc;
    }

    if (pthread_create(&p->id, NULL, probe_thread, p) != 0) {
        im_log(IM_LOG_ERR, "%s: no thread for its probe", p->name);
        return IM_ERROR;
    }

    p->running = 1;

    return IM_OK;
}


static void
probe_init(im_probe_t *p)
{
    pthread_cond_init(&p->wake, NULL);
    pthread_mutex_init(&p->lock, NULL);

    im_probe_state_init(&p->state, probe_now_ms());

    if (p->look != NULL) {
        return;
    }

    if (p->starting != NULL) {
        snprintf(p->state.error, sizeof(p->state.error), "%s", p->starting);
        return;
    }

    (void) im_probe_state_end(&p->state, probe_now_ms(), NULL);
    atomic_store(&p->up, 1);
}


/* With the first probe. */
static int
probe_watch_start(void)
{
    if (probe_watching) {
        return IM_OK;
    }

    if (pthread_create(&probe_watch_id, NULL, probe_watch_thread, NULL) != 0)
    {
        im_log(IM_LOG_ERR, "probes: no thread to watch them");
        return IM_ERROR;
    }

    probe_watching = 1;

    return IM_OK;
}


static void *
probe_thread(void *arg)
{
    int          rc;
    char         error[IM_PROBE_ERROR_MAX];
    uint64_t     begun_us, now;
    im_probe_t  *p = arg;

    do {
        begun_us = im_mono_us();

        pthread_mutex_lock(&p->lock);
        im_probe_state_begin(&p->state, begun_us / 1000);
        pthread_mutex_unlock(&p->lock);

        error[0] = '\0';
        rc = p->look(p->ctx, error, sizeof(error));
        now = probe_now_ms();

        pthread_mutex_lock(&p->lock);

        probe_changed(p, im_probe_state_end(&p->state, now,
                                            rc == IM_OK ? NULL : error), now);

        if (p->state.verdict == IM_PROBE_UP) {
            atomic_store(&p->seen_us, begun_us);
            atomic_store(&p->bad_n, 0);

        } else {
            atomic_fetch_add(&p->bad_n, 1);
        }

        pthread_mutex_unlock(&p->lock);

    } while (probe_pause(p) == IM_OK);

    return NULL;
}


/* IM_DONE: stopping. */
static int
probe_pause(im_probe_t *p)
{
    int  rc;

    pthread_mutex_lock(&p->lock);

    if (!p->stopping && !p->kicked) {
        (void) im_cond_wait(&p->wake, &p->lock,
                            im_probe_state_pause_ms(&p->state));
    }

    p->kicked = 0;
    rc = p->stopping ? IM_DONE : IM_OK;

    pthread_mutex_unlock(&p->lock);

    return rc;
}


static void *
probe_watch_thread(void *arg)
{
    uint64_t  now, last;

    (void) arg;

    last = probe_now_ms();

    pthread_mutex_lock(&probe_lock);

    while (!probe_watch_stop) {
        (void) im_cond_wait(&probe_watch_wake, &probe_lock, PROBE_WATCH_MS);

        now = probe_now_ms();
        probe_watch(now, now - last > IM_PROBE_DEADLINE_MS);
        last = now;
    }

    pthread_mutex_unlock(&probe_lock);

    return NULL;
}


/* Under the list's lock. */
static void
probe_watch(uint64_t now, int held)
{
    unsigned     i;
    im_probe_t  *p;

    for (i = 0; i < probe_n; i++) {
        p = probe_list[i];

        pthread_mutex_lock(&p->lock);

        if (held) {
            im_probe_state_held(&p->state, now);
        }

        probe_changed(p, im_probe_state_wait(&p->state, now), now);

        pthread_mutex_unlock(&p->lock);
    }
}


/* Under the probe's lock. */
static void
probe_changed(im_probe_t *p, im_probe_change_t change, uint64_t now)
{
    im_probe_state_t  *s = &p->state;

    atomic_store(&p->up, s->verdict == IM_PROBE_UP);
    atomic_store(&p->bad_us, (s->verdict == IM_PROBE_UP)
                             ? 0 : s->begun_ms * 1000);

    switch (change) {

    case IM_PROBE_WENT:
        im_log(IM_LOG_WARN, (p->look != NULL) ? "%s is away: %s" : "%s: %s",
               p->name, s->error);
        break;

    case IM_PROBE_OTHER:

        if (now - p->said_ms < PROBE_AGAIN_MS) {
            return;
        }

        im_log(IM_LOG_WARN, "%s, still: %s", p->name, s->error);
        break;

    case IM_PROBE_CAME:
        im_log(IM_LOG_NOTICE, (p->look != NULL) ? "%s is back after %llu ms"
               : "%s: goes on after %llu ms", p->name,
               (unsigned long long) s->was_ms);
        break;

    default:
        return;
    }

    p->said_ms = now;
}


void
im_probe_stop_all(void)
{
    unsigned  i, n;

    pthread_mutex_lock(&probe_lock);
    n = probe_n;
    probe_watch_stop = 1;

    pthread_cond_signal(&probe_watch_wake);
    pthread_mutex_unlock(&probe_lock);

    for (i = 0; i < n; i++) {
        pthread_mutex_lock(&probe_list[i]->lock);
        probe_list[i]->stopping = 1;
        pthread_cond_signal(&probe_list[i]->wake);
        pthread_mutex_unlock(&probe_list[i]->lock);
    }

    for (i = 0; i < n; i++) {
        if (probe_list[i]->running) {
            pthread_join(probe_list[i]->id, NULL);
            probe_list[i]->running = 0;
        }
    }

    if (probe_watching) {
        pthread_join(probe_watch_id, NULL);
        probe_watching = 0;
    }
}


int
im_probe_wait(im_probe_t *p)
{
    return im_daemon_until(probe_is_up, p, 0);
}


static int
probe_is_up(void *ctx)
{
    return im_probe_is_up(ctx);
}


int
im_probe_is_up(im_probe_t *p)
{
    return atomic_load(&p->up);
}


void
im_probe_kick(im_probe_t *p)
{
    pthread_mutex_lock(&p->lock);
    p->kicked = 1;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
}


void
im_probe_report(im_probe_t *p, const char *error)
{
    uint64_t  now;

    now = probe_now_ms();

    pthread_mutex_lock(&p->lock);
    probe_changed(p, im_probe_state_end(&p->state, now, error), now);
    pthread_mutex_unlock(&p->lock);
}


unsigned
im_probe_missing(char *json, size_t size)
{
    char          text[IM_PROBE_ERROR_MAX * 2];
    size_t        len;
    unsigned      i, missing;
    uint64_t      now;
    im_probe_t   *p;

    now = probe_now_ms();
    missing = 0;
    len = (size_t) snprintf(json, size, "[");

    pthread_mutex_lock(&probe_lock);

    for (i = 0; i < probe_n; i++) {
        p = probe_list[i];

        pthread_mutex_lock(&p->lock);

        if (p->state.verdict != IM_PROBE_UP) {
            (void) probe_escape(text, sizeof(text), p->state.error);

            /* 64: for the rest of it, and the end */

            if (len + strlen(text) + strlen(p->name) + 64 < size) {
                len += (size_t) snprintf(json + len, size - len,
                           "%s{\"name\":\"%s\",\"since_s\":%llu,"
                           "\"error\":\"%s\"}", (len > 1) ? "," : "",
                           p->name, (unsigned long long)
                           probe_since_s(&p->state, now), text);
            }

            missing++;
        }

        pthread_mutex_unlock(&p->lock);
    }

    pthread_mutex_unlock(&probe_lock);

    snprintf(json + len, size - len, "]");

    return missing;
}


static uint64_t
probe_since_s(const im_probe_state_t *s, uint64_t now)
{
    return (now > s->since_ms) ? (now - s->since_ms) / 1000 : 0;
}


/* Into a JSON string; what is neither ASCII nor printable becomes '?'. */
static size_t
probe_escape(char *out, size_t size, const char *text)
{
    size_t         n;
    unsigned char  ch;

    for (n = 0; *text != '\0' && n + 3 < size; text++) {
        ch = (unsigned char) *text;

        if (ch == '"' || ch == '\\') {
            out[n++] = '\\';
        }

        out[n++] = (char) ((ch < 0x20 || ch >= 0x7f) ? '?' : ch);
    }

    out[n] = '\0';

    return n;
}


static uint64_t
probe_now_ms(void)
{
    return im_mono_us() / 1000;
}
