/*
 * im_h2.h -- im_rpc.h on an event loop, by libnghttp2: what the loop gives.
 *
 * All functions of im_rpc.h are then called on the loop's thread, and all
 * callbacks run there.  im_rpc_create(), _fd() and _dispatch() are not there:
 * a runtime is made by im_h2_create(), and the loop calls it.
 */

#ifndef IM_H2_H
#define IM_H2_H

#ifndef IM_RPC_H2
#error "src/h2 is compiled with IM_RPC_H2"
#endif

#include "im_rpc.h"

typedef void (*im_h2_fn_pt)(void *data);

/* What a watch and a timer are is known to the loop only. */
typedef struct {
    void   *ctx;
    /*
     * Watches a descriptor, for reading always; on_read may also be called for
     * nothing.  One call for each change is enough: a reader goes on until
     * nothing is left.  NULL: there is no room.
     */
    void *(*watch)(void *ctx, int fd, im_h2_fn_pt on_read,
                   im_h2_fn_pt on_write, void *data);
    /* on_write is wanted from here on, or is not any more. */
    void  (*want_write)(void *watch, int want);
    /* Whether the peer has, or may have, closed it: then a reader that was
     * called once for data and the end together must look for the end, too. */
    int   (*has_ended)(void *watch);
    /* Closes the descriptor, too; neither function is called from here on. */
    void  (*close)(void *watch);

    /* One-shot; not set yet.  NULL: out of memory. */
    void *(*timer)(void *ctx, im_h2_fn_pt fn, void *data);
    void  (*timer_set)(void *timer, unsigned ms);        /* or anew */
    void  (*timer_stop)(void *timer);
    void  (*timer_free)(void *timer);

    /* fn runs once when all events of this turn of the loop have been handled;
     * asked once until it does, always for the same fn and data. */
    void  (*post)(void *ctx, im_h2_fn_pt fn, void *data);
    void  (*unpost)(void *ctx);
} im_h2_loop_t;

/* conf->home does not matter.  loop is copied.  NULL: as im_rpc_create(). */
im_rpc_t *im_h2_create(const im_rpc_conf_t *conf, const im_h2_loop_t *loop);

#endif
