/*
 * ngx_im_ws_buf.h -- counted buffers of encoded frames.
 */

#ifndef NGX_IM_WS_BUF_H
#define NGX_IM_WS_BUF_H

#include "ngx_im.h"
#include "im_client.h"
#include "stream.pb-c.h"


/* Bytes shared by all connections that they are queued on. */
typedef struct ngx_im_ws_buf_s  ngx_im_ws_buf_t;

struct ngx_im_ws_buf_s {
    ngx_im_ws_buf_t  *next;          /* in the worker's free list */
    uint32_t          refs;
    uint32_t          len;
    uint32_t          cap;
    unsigned          own:1;         /* may be appended to while refs == 1 */
    u_char            data[];
};


/* One reference is the caller's.  NULL if out of memory. */
ngx_im_ws_buf_t *ngx_im_ws_buf_create(size_t cap);
void ngx_im_ws_buf_release(ngx_im_ws_buf_t *b);
/* Encodes for one encoding, to be shared. */
ngx_im_ws_buf_t *ngx_im_ws_encode(const Im__Frame *frame,
    im_encoding_t encoding);
/* The same of a message, as a push. */
ngx_im_ws_buf_t *ngx_im_ws_encode_push(const Im__Record *record,
    im_encoding_t encoding);
/* At the worker's exit. */
void ngx_im_ws_buf_free_kept(void);

#endif
