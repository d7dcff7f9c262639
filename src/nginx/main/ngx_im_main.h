/*
 * ngx_im_main.h -- what nginx calls.
 */

#ifndef NGX_IM_MAIN_H
#define NGX_IM_MAIN_H

#include "ngx_im.h"


/* ngx_im_module.c */
extern ngx_module_t  ngx_im_module;

/* ngx_im_steps.c */
ngx_int_t ngx_im_steps_start(ngx_cycle_t *cycle);
void ngx_im_steps_stop(ngx_cycle_t *cycle);

/* ngx_im_health.c */
char *ngx_im_health(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

#endif
