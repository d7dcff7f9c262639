/*
 * ngx_im_link_stream.h -- the stream to one Logic, for the two files of this
 * folder.
 */

#ifndef NGX_IM_LINK_STREAM_H
#define NGX_IM_LINK_STREAM_H

#include "ngx_im_link.h"
#include "im_disc.h"
#include "im_outbox.h"
#include "im_rpc.h"


typedef struct ngx_im_link_s  ngx_im_link_t;

struct ngx_im_link_s {
    im_outbox_peer_t     peer;       /* first: the outbox knows us by it */
    im_disc_instance_t  *instance;   /* NULL once it is gone */
    im_rpc_stream_t     *stream;     /* NULL while broken */
    im_rpc_timer_t      *retry;
    ngx_im_link_t       *dirty_next;
    ngx_queue_t          queue;      /* of all links */
    ngx_msec_t           key_since;
    uint32_t             no;         /* of this stream, from 1 */
    unsigned             retry_ms;
    unsigned             open:1;     /* the Logic has answered */
    unsigned             takes:1;    /* and does not leave */
    unsigned             leaving:1;  /* the stream is being closed */
    unsigned             dirty:1;
    unsigned             told:1;     /* that it is broken: once */
    unsigned             missed:1;   /* its reports */
    unsigned             key_differs:1;  /* of the tokens */
};


/* ngx_im_link.c */
extern const ngx_im_link_handler_t  *ngx_im_link_handler;
extern im_outbox_t                  *ngx_im_link_outbox;  /* NULL at the end */

/* It is not a WELCOME. */
void ngx_im_link_take(const Im__DownItem *item);
/* What it has not answered goes elsewhere. */
void ngx_im_link_lost(ngx_im_link_t *link);

/* ngx_im_link_stream.c */
ngx_int_t ngx_im_link_stream_init(ngx_im_main_conf_t *mcf);
/* From now on there are links. */
int ngx_im_link_stream_start(void);

#endif
