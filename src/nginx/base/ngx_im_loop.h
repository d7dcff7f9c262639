/*
 * ngx_im_loop.h -- nginx's event loop, as src/h2 wants it.
 */

#ifndef NGX_IM_LOOP_H
#define NGX_IM_LOOP_H

#include "ngx_im.h"
#include "im_h2.h"

void ngx_im_loop_init(im_h2_loop_t *loop);

#endif
