/*
 * ngx_im_ws.c -- what a worker knows of all its connections: how one is found
 * by its id, and what they share.
 */

#include "ngx_im_ws.h"
#include "ngx_im_users.h"
#include "ngx_im_worker.h"
#include "im_conn_id.h"


const ngx_im_ws_talk_t  *ngx_im_ws_talk;

static im_conn_id_t  ngx_im_ws_ids;


ngx_int_t
ngx_im_ws_init(const ngx_im_ws_talk_t *talk, ngx_cycle_t *cycle)
{
    ngx_im_ws_talk = talk;

    return ngx_im_ws_read_init(cycle);
}


void
ngx_im_ws_exit(void)
{
    ngx_im_users_free();
    ngx_im_ws_buf_free_kept();
}


uint64_t
ngx_im_ws_next_id(ngx_connection_t *c)
{
    ngx_uint_t         n;
    ngx_connection_t  *first;

    first = ngx_im_worker_connections(&n);

    if (ngx_im_ws_ids.process == 0) {
        im_conn_id_init(&ngx_im_ws_ids,
                        (uint64_t) ngx_random() ^ ((uint64_t) ngx_pid << 8)
                        ^ (uint64_t) ngx_time(),
                        n);
    }

    return im_conn_id_next(&ngx_im_ws_ids, c - first);
}


ngx_im_ws_t *
ngx_im_ws_by_id(uint64_t id)
{
    size_t             place;
    ngx_uint_t         n;
    ngx_im_ws_t       *ws;
    ngx_connection_t  *c;

    c = ngx_im_worker_connections(&n);
    place = im_conn_id_place(&ngx_im_ws_ids, id);

    if (place >= n) {
        return NULL;
    }

    c += place;

    if (c->fd == (ngx_socket_t) -1
        || c->read->handler != ngx_im_ws_read_handler)
    {
        return NULL;
    }

    ws = c->data;

    return (ws != NULL && ws->id == id && !ws->dead) ? ws : NULL;
}


void
ngx_im_ws_set_state(ngx_im_ws_t *ws, ngx_im_ws_state_e state)
{
#if (NGX_DEBUG)
    static const char  *names[] = { "auth", "login", "open", "closing" };
#endif

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ws->connection->log, 0,
                   "ws %uL %s -> %s", ws->id, names[ws->state], names[state]);

    ws->state = state;
}
