/*
 * ngx_im_ws_buf.c -- counted buffers of encoded frames.
 *
 * A push is encoded once and queued by reference on every connection that it
 * goes to.  Small buffers are kept for the next one.
 */

#include "ngx_im_ws_buf.h"
#include "im_slot.h"


#define NGX_IM_WS_BUF_SIZE  2048       /* of those that are kept */
#define NGX_IM_WS_BUF_KEEP  256


static ngx_im_ws_buf_t  *ngx_im_ws_bufs;
static ngx_uint_t        ngx_im_ws_bufs_n;


ngx_im_ws_buf_t *
ngx_im_ws_buf_create(size_t cap)
{
    ngx_im_ws_buf_t  *b;

    if (cap <= NGX_IM_WS_BUF_SIZE) {
        cap = NGX_IM_WS_BUF_SIZE;

        if (ngx_im_ws_bufs != NULL) {
            b = ngx_im_ws_bufs;
            ngx_im_ws_bufs = b->next;
            ngx_im_ws_bufs_n--;
            goto done;
        }
    }

    b = ngx_alloc(sizeof(ngx_im_ws_buf_t) + cap, ngx_cycle->log);
    if (b == NULL) {
        return NULL;
    }

    b->cap = cap;

done:

    b->refs = 1;
    b->len = 0;
    b->own = 0;

    return b;
}


void
ngx_im_ws_buf_release(ngx_im_ws_buf_t *b)
{
    if (b == NULL || --b->refs > 0) {
        return;
    }

    if (b->cap == NGX_IM_WS_BUF_SIZE && ngx_im_ws_bufs_n < NGX_IM_WS_BUF_KEEP)
    {
        b->next = ngx_im_ws_bufs;
        ngx_im_ws_bufs = b;
        ngx_im_ws_bufs_n++;
        return;
    }

    ngx_free(b);
}


ngx_im_ws_buf_t *
ngx_im_ws_encode(const Im__Frame *frame, im_encoding_t encoding)
{
    size_t            len;
    ngx_im_ws_buf_t  *b;

    len = im_client_encode(frame, encoding, NULL, 0);

    b = ngx_im_ws_buf_create(len);
    if (b != NULL) {
        b->len = im_client_encode(frame, encoding, b->data, b->cap);
    }

    return b;
}


ngx_im_ws_buf_t *
ngx_im_ws_encode_push(const Im__Record *record, im_encoding_t encoding)
{
    Im__Push   push = IM__PUSH__INIT;
    Im__Frame  frame = IM__FRAME__INIT;
    im_conv_t  conv;

    push.msg_id = record->msg_id;
    push.seq = record->seq;
    push.from = record->from;
    push.time_ms = record->time_ms;
    push.cmid = record->cmid;
    push.body = record->body;

    conv.a = record->conv_a;
    conv.b = record->conv_b;

    if (conv.a == 0) {
        push.room = conv.b;

    } else {
        push.to = im_conv_other(&conv, record->from);
    }

    frame.frame_case = IM__FRAME__FRAME_PUSH;
    frame.push = &push;

    return ngx_im_ws_encode(&frame, encoding);
}


void
ngx_im_ws_buf_free_kept(void)
{
    ngx_im_ws_buf_t  *b;

    while (ngx_im_ws_bufs != NULL) {
        b = ngx_im_ws_bufs;
        ngx_im_ws_bufs = b->next;
        ngx_free(b);
    }

    ngx_im_ws_bufs_n = 0;
}
