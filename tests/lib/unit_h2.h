/*
 * unit_h2.h -- an event loop by poll() for runtimes of src/h2, all of a test on
 * one loop, and how a test waits while it turns.
 */

#ifndef UNIT_H2_H
#define UNIT_H2_H

#include <poll.h>
#include <unistd.h>

#include "unit_wait.h"

#include "im_h2.h"

#define H2_WATCHES  2048
#define H2_POSTS    8


typedef struct {
    int           fd;                  /* -1: free */
    int           write;
    im_h2_fn_pt   on_read;
    im_h2_fn_pt   on_write;
    void         *data;
} h2_watch_t;

typedef struct h2_timer_s  h2_timer_t;

struct h2_timer_s {
    h2_timer_t   *next;
    uint64_t      due_us;              /* 0: not set */
    im_h2_fn_pt   fn;
    void         *data;
};

typedef struct {
    im_h2_fn_pt   fn;                  /* NULL: not posted */
    void         *data;
    int           used;
} h2_post_t;


static h2_watch_t   h2_watches[H2_WATCHES];
static unsigned     h2_watch_n;        /* used, or free again */
static h2_timer_t  *h2_timers;
static h2_post_t    h2_posts[H2_POSTS];


static inline uint64_t
h2_now_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


static inline void *
h2_watch(void *ctx, int fd, im_h2_fn_pt on_read, im_h2_fn_pt on_write,
    void *data)
{
    unsigned     i;
    h2_watch_t  *w;

    (void) ctx;

    for (i = 0; i < h2_watch_n && h2_watches[i].fd != -1; i++) { /* next */ }

    assert_true(i < H2_WATCHES);
    h2_watch_n += (i == h2_watch_n);

    w = &h2_watches[i];
    w->fd = fd;
    w->write = 0;
    w->on_read = on_read;
    w->on_write = on_write;
    w->data = data;

    return w;
}


static inline void
h2_want_write(void *watch, int want)
{
    ((h2_watch_t *) watch)->write = want;
}


/* poll() tells again what is not read. */
static inline int
h2_has_ended(void *watch)
{
    (void) watch;

    return 0;
}


static inline void
h2_close(void *watch)
{
    h2_watch_t  *w = watch;

    close(w->fd);
    w->fd = -1;
}


static inline void *
h2_timer(void *ctx, im_h2_fn_pt fn, void *data)
{
    h2_timer_t  *t;

    (void) ctx;

    t = calloc(1, sizeof(h2_timer_t));
    assert_non_null(t);
    t->fn = fn;
    t->data = data;
    t->next = h2_timers;
    h2_timers = t;

    return t;
}


static inline void
h2_timer_set(void *timer, unsigned ms)
{
    ((h2_timer_t *) timer)->due_us = h2_now_us() + (uint64_t) ms * 1000;
}


static inline void
h2_timer_stop(void *timer)
{
    ((h2_timer_t *) timer)->due_us = 0;
}


static inline void
h2_timer_free(void *timer)
{
    h2_timer_t  **p;

    for (p = &h2_timers; *p != timer; p = &(*p)->next) { /* next */ }

    *p = (*p)->next;
    free(timer);
}


static inline void
h2_post(void *ctx, im_h2_fn_pt fn, void *data)
{
    h2_post_t  *p = ctx;

    p->fn = fn;
    p->data = data;
}


static inline void
h2_unpost(void *ctx)
{
    memset(ctx, 0, sizeof(h2_post_t));
}


static inline int
h2_run_timers(uint64_t now)
{
    h2_timer_t  *t;

    for (t = h2_timers; t != NULL; t = t->next) {
        if (t->due_us != 0 && t->due_us <= now) {
            t->due_us = 0;
            t->fn(t->data);
            return 1;                  /* the list may be another one */
        }
    }

    return 0;
}


static inline int
h2_run_posts(void)
{
    unsigned     i, n;
    im_h2_fn_pt  fn;

    for (i = 0, n = 0; i < H2_POSTS; i++) {
        fn = h2_posts[i].fn;

        if (fn != NULL) {
            h2_posts[i].fn = NULL;
            fn(h2_posts[i].data);
            n++;
        }
    }

    return n > 0;
}


/* One turn of the loop, which waits at most so long. */
static inline void
h2_turn(int ms)
{
    unsigned              i, n;
    static unsigned       of[H2_WATCHES];
    static struct pollfd  fds[H2_WATCHES];
    h2_watch_t           *w;

    for (i = 0, n = 0; i < h2_watch_n; i++) {
        w = &h2_watches[i];

        if (w->fd != -1) {
            of[n] = i;
            fds[n].fd = w->fd;
            fds[n++].events = POLLIN | (w->write ? POLLOUT : 0);
        }
    }

    (void) poll(fds, n, h2_run_posts() ? 0 : ms);

    for (i = 0; i < n; i++) {
        w = &h2_watches[of[i]];

        if (w->fd == fds[i].fd && (fds[i].revents & ~POLLIN) && w->write) {
            w->on_write(w->data);
        }

        if (w->fd == fds[i].fd && (fds[i].revents & ~POLLOUT)) {
            w->on_read(w->data);
        }
    }

    while (h2_run_timers(h2_now_us())) { /* the next */ }

    (void) h2_run_posts();
}


static inline im_rpc_t *
h2_create(const im_rpc_conf_t *conf)
{
    unsigned      i;
    im_rpc_t     *rpc;
    im_h2_loop_t  loop = {
        .watch = h2_watch, .want_write = h2_want_write,
        .has_ended = h2_has_ended, .close = h2_close, .timer = h2_timer,
        .timer_set = h2_timer_set, .timer_stop = h2_timer_stop,
        .timer_free = h2_timer_free, .post = h2_post, .unpost = h2_unpost
    };

    for (i = 0; i < H2_POSTS && h2_posts[i].used; i++) { /* next */ }

    assert_true(i < H2_POSTS);
    loop.ctx = &h2_posts[i];
    h2_posts[i].used = 1;

    rpc = im_h2_create(conf, &loop);

    if (rpc == NULL) {
        h2_posts[i].used = 0;
    }

    return rpc;
}


/* As UNIT_WITHIN(), while the loop turns. */
#define H2_WITHIN(ms, condition)                                              \
    do {                                                                      \
        uint64_t  until_ = h2_now_us() + (uint64_t) (ms) * 1000;              \
        while (!(condition) && h2_now_us() < until_) {                        \
            h2_turn(5);                                                       \
        }                                                                     \
        assert_true(condition);                                               \
    } while (0)

#endif
