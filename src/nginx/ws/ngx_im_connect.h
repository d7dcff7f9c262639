/*
 * ngx_im_connect.h -- what Logic and Task say to this worker, and the steps of
 * its start that belong to the Connect tier.
 */

#ifndef NGX_IM_CONNECT_H
#define NGX_IM_CONNECT_H

#include "ngx_im.h"
#include "ngx_im_link.h"
#include "stream.pb-c.h"


/* ngx_im_answers.c: takes what comes by a link. */
extern const ngx_im_link_handler_t  ngx_im_answers;

/* ngx_im_notified.c: what Logic reports by itself. */
void ngx_im_notified(const Im__DownItem *item);

/* ngx_im_push.c: the Connect service. */
ngx_int_t ngx_im_push_memory(void);
void ngx_im_push_forget(void);
ngx_int_t ngx_im_push_listen(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle);
ngx_int_t ngx_im_push_init(ngx_im_main_conf_t *mcf, ngx_cycle_t *cycle);
void ngx_im_push_exit(void);

#endif
