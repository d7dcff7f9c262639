/*
 * fuzz_ws.c -- bytes of a WebSocket connection, whole and in pieces.
 *
 * The reader of the worker is compiled in here; of nginx it gets the few
 * functions that it calls, and a connection whose recv() hands out the input.
 * The first byte of an input chooses the limit and the encoding, the second one
 * where the bytes are cut, the others are what the client sends.
 *
 * However they are cut, and whenever the connection is held, the same messages,
 * pongs and closes come of them, and the same bytes stay for later.  No message
 * is longer than the limit; memory follows what has arrived, not what was
 * announced.
 */

#include "ngx_im_ws_out.h"

#include "fuzz.h"

/* A file of nginx's, for its static functions and its buffer. */
#include "../../src/nginx/conn/ngx_im_ws_read.c"


#define WS_TRACE_MAX  65536

/* What one run made of the input. */
typedef struct {
    char      text[WS_TRACE_MAX];      /* what happened, in order */
    size_t    len;
    size_t    left;                    /* of a frame that is incomplete */
    unsigned  state;
    unsigned  dead;
} ws_trace_t;

/* Where recv() is in the input. */
typedef struct {
    const uint8_t  *p;
    const uint8_t  *end;
    unsigned        seed;              /* 0: whole */
} ws_source_t;


static void ws_run(ws_trace_t *t, const uint8_t *data, size_t size,
    unsigned seed);
static void ws_release(ngx_im_ws_t *ws);
static void ws_check_memory(const ngx_im_ws_part_t *part);
static ssize_t ws_recv(ngx_connection_t *c, u_char *buf, size_t size);
static void ws_note(const char *what, size_t n, const void *data, size_t len);
static void ws_on_message(ngx_im_ws_t *ws, im_str_t *message);
static void ws_on_timer(ngx_im_ws_t *ws);


static const ngx_im_ws_talk_t  ws_talk = {
    .message = ws_on_message, .timer = ws_on_timer, .end = ws_on_timer
};

static ngx_log_t    ws_log;            /* level 0: nothing is logged */
static ngx_time_t   ws_time;
static ngx_pool_t   ws_pool;
static ngx_cycle_t  ws_cycle;

static ws_trace_t  *ws_now;            /* of the run */
static ws_source_t  ws_source;
static size_t       ws_max;


/* What the reader calls. */

const ngx_im_ws_talk_t  *ngx_im_ws_talk = &ws_talk;
volatile ngx_cycle_t    *ngx_cycle = &ws_cycle;
volatile ngx_time_t     *ngx_cached_time = &ws_time;
volatile ngx_msec_t      ngx_current_msec;
ngx_queue_t              ngx_posted_next_events;
ngx_rbtree_t             ngx_event_timer_rbtree;


void
fuzz_ws(const uint8_t *data, size_t size)
{
    ws_trace_t  *whole, *cut;

    static const size_t  limits[] = { 16, 300, 4096, 200000 };

    if (size < 2) {
        return;
    }

    ws_log.log_level = 0;
    ws_cycle.log = &ws_log;
    ws_cycle.pool = &ws_pool;
    ws_max = limits[data[0] & 3];

    FUZZ_CHECK(ngx_im_ws_read_init(&ws_cycle) == NGX_OK);

    whole = fuzz_alloc(sizeof(ws_trace_t));
    cut = fuzz_alloc(sizeof(ws_trace_t));

    ws_run(whole, data, size, 0);
    ws_run(cut, data, size, data[1] + 1);

    FUZZ_CHECK(strcmp(whole->text, cut->text) == 0);
    FUZZ_CHECK(whole->state == cut->state && whole->dead == cut->dead);
    FUZZ_CHECK(whole->left == cut->left);

    free(whole);
    free(cut);
}


static void
ws_run(ws_trace_t *t, const uint8_t *data, size_t size, unsigned seed)
{
    ngx_im_ws_t            ws;
    ngx_event_t            rev;
    ngx_connection_t       c;
    ngx_im_ws_loc_conf_t   conf;

    ngx_memzero(&ws, sizeof(ws));
    ngx_memzero(&rev, sizeof(rev));
    ngx_memzero(&c, sizeof(c));
    ngx_memzero(&conf, sizeof(conf));

    t->text[0] = '\0';
    t->len = 0;
    ws_now = t;

    conf.max_message = ws_max;
    rev.data = &c;
    rev.log = &ws_log;
    c.data = &ws;
    c.read = &rev;
    c.log = &ws_log;
    c.recv = ws_recv;
    ws.connection = &c;
    ws.conf = &conf;
    ws.state = (data[0] & 8) ? NGX_IM_WS_AUTH : NGX_IM_WS_OPEN;
    ws.encoding = (data[0] & 4) ? IM_ENCODING_PROTO : IM_ENCODING_JSON;

    ws_source.p = data + 2;
    ws_source.end = data + size;
    ws_source.seed = seed;

    while (!ws.dead) {

        if (ws.state == NGX_IM_WS_LOGIN) {
            ngx_queue_init(&ngx_posted_next_events);
            rev.posted = 0;
            ngx_im_ws_set_state(&ws, NGX_IM_WS_OPEN);
            ngx_im_ws_resume(&ws);

        } else if (ws.held) {
            ws_release(&ws);

        } else if (ws_source.p == ws_source.end) {
            break;

        } else {
            ngx_queue_init(&ngx_posted_next_events);
            rev.posted = 0;
            rev.ready = 1;
            ngx_im_ws_read_handler(&rev);
        }

        ws_check_memory(ws.frame);
        ws_check_memory(ws.message);
    }

    /* after a Close it does not matter what is left */

    t->state = ws.state;
    t->dead = ws.dead;
    t->left = (ws.frame != NULL && ws.state != NGX_IM_WS_CLOSING)
              ? ws.frame->len : 0;

    ngx_im_ws_part_free(&ws.frame);
    ngx_im_ws_part_free(&ws.message);
}


/* While it is held nothing is read; then the posted event reads on. */
static void
ws_release(ngx_im_ws_t *ws)
{
    size_t          len;
    ngx_event_t    *rev;
    const uint8_t  *p;

    rev = ws->connection->read;

    ngx_queue_init(&ngx_posted_next_events);
    rev->posted = 0;

    if (ws->state != NGX_IM_WS_CLOSING) {
        p = ws_source.p;
        len = ws_now->len;
        rev->ready = 1;

        ngx_im_ws_read_handler(rev);

        FUZZ_CHECK(ws_source.p == p && ws_now->len == len && !rev->posted);
    }

    ws->held = 0;
    rev->ready = (ws_source.p < ws_source.end);

    ngx_im_ws_read_handler(rev);
}


static void
ws_check_memory(const ngx_im_ws_part_t *part)
{
    if (part == NULL) {
        return;
    }

    FUZZ_CHECK(part->len <= part->cap);
    FUZZ_CHECK(part->need <= ws_max + NGX_IM_WS_FRAME_HEAD);
    FUZZ_CHECK(part->cap <= ngx_max(2 * part->len, NGX_IM_WS_PART_MIN));
}


static ssize_t
ws_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    size_t  n, most;

    FUZZ_CHECK(size > 0);

    n = (size_t) (ws_source.end - ws_source.p);

    if (n == 0) {
        c->read->ready = 0;
        return NGX_AGAIN;
    }

    if (ws_source.seed != 0) {
        ws_source.seed = ws_source.seed * 1103515245 + 12345;
        most = (ws_source.seed & 0x700000) ? 7 : 3000;
        most = 1 + (ws_source.seed >> 8) % most;
        n = ngx_min(n, most);
    }

    n = ngx_min(n, size);
    ngx_memcpy(buf, ws_source.p, n);
    ws_source.p += n;

    c->read->ready = (ws_source.p < ws_source.end);

    return (ssize_t) n;
}


/* One thing that happened; long data by its length and its sum. */
static void
ws_note(const char *what, size_t n, const void *data, size_t len)
{
    size_t          i, room;
    unsigned        sum;
    const uint8_t  *p = data;

    sum = 0;

    for (i = 0; i < len; i++) {
        sum = sum * 31 + p[i];
    }

    room = WS_TRACE_MAX - ws_now->len;
    i = (size_t) snprintf(ws_now->text + ws_now->len, room, "%s %zu %zu %x\n",
                          what, n, len, sum);
    ws_now->len += ngx_min(i, room - 1);
}


/* The first one in the state `auth` is a login, which is waited for. */
static void
ws_on_message(ngx_im_ws_t *ws, im_str_t *message)
{
    FUZZ_CHECK(message->len <= ws_max);
    FUZZ_CHECK(ws->state == NGX_IM_WS_AUTH || ws->state == NGX_IM_WS_OPEN);

    ws_note("message", ws->state, message->data, message->len);

    if (ws->state == NGX_IM_WS_AUTH) {
        ngx_im_ws_set_state(ws, NGX_IM_WS_LOGIN);
    }

    if (ws_source.seed & 0x1000) {
        ws->held = NGX_IM_WS_HELD_LIMIT;
    }
}


static void
ws_on_timer(ngx_im_ws_t *ws)
{
    (void) ws;

    FUZZ_CHECK(0);
}


void
ngx_im_ws_set_state(ngx_im_ws_t *ws, ngx_im_ws_state_e state)
{
    ws->state = state;
}


void
ngx_im_ws_close(ngx_im_ws_t *ws, unsigned code, const char *reason)
{
    FUZZ_CHECK(ws->state != NGX_IM_WS_CLOSING);

    ws_note("close", code, reason, ngx_strlen(reason));
    ngx_im_ws_set_state(ws, NGX_IM_WS_CLOSING);
}


void
ngx_im_ws_destroy(ngx_im_ws_t *ws)
{
    ws_note("end", 0, NULL, 0);
    ws->dead = 1;
}


void
ngx_im_ws_send_control(ngx_im_ws_t *ws, unsigned opcode, const u_char *data,
    size_t len)
{
    (void) ws;

    FUZZ_CHECK(len <= 125);
    ws_note("control", opcode, data, len);
}


/* And of nginx. */

void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    (void) log;

    return fuzz_alloc(size);
}


void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    return memset(ngx_alloc(size, log), 0, size);
}


/* The buffer of the worker, once. */
void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    (void) pool;

    return fuzz_alloc(size);
}


ngx_int_t
ngx_handle_read_event(ngx_event_t *rev, ngx_uint_t flags)
{
    (void) rev;
    (void) flags;

    return NGX_OK;
}


/* The loop of ws_run() comes back anyway. */
void
ngx_rbtree_insert(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    (void) tree;
    (void) node;

    FUZZ_CHECK(0);                     /* nobody drains */
}


void
ngx_rbtree_delete(ngx_rbtree_t *tree, ngx_rbtree_node_t *node)
{
    (void) tree;
    (void) node;

    FUZZ_CHECK(0);
}


#if (NGX_HAVE_VARIADIC_MACROS)

void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    (void) level;
    (void) log;
    (void) err;
    (void) fmt;
}

#endif
