/*
 * ngx_im_ws.h -- one WebSocket connection, and the verbs of its life.
 *
 * After the 101 the HTTP request is gone; what stays is nginx's connection and
 * this struct.  Input uses one buffer of the worker; only a partial frame or
 * an unfinished fragmented message has memory of its own.  Output goes to a
 * small array of shared buffers, which exists while something waits.
 *
 *     handshake -> login -> open -> closing -> (reaper)
 *
 * Nothing is freed under a caller's feet: ngx_im_ws_destroy() only marks, a
 * posted event at the end of the loop turn frees.
 */

#ifndef NGX_IM_WS_H
#define NGX_IM_WS_H

#include "ngx_im.h"
#include "im_client.h"
#include "im_frame.h"
#include "im_topics.h"
#include "stream.pb-c.h"

typedef enum {
    NGX_IM_WS_AUTH = 0,      /* waits for the auth frame */
    NGX_IM_WS_LOGIN,         /* token good; Logic has been asked */
    NGX_IM_WS_OPEN,
    NGX_IM_WS_CLOSING        /* Close sent; waits for the peer's FIN */
} ngx_im_ws_state_e;

typedef struct {
    ngx_flag_t        enable;
    size_t            max_message;
    ngx_msec_t        ping;
    ngx_msec_t        idle;
    ngx_msec_t        auth_timeout;
    size_t            send_queue;
    ngx_int_t         rooms;         /* of a connection */
    ngx_int_t         presence_subs;
    ngx_array_t      *origins;       /* of ngx_str_t; NULL: any */
} ngx_im_ws_loc_conf_t;

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

/* A partial frame, or the fragments of a message so far. */
typedef struct {
    u_char           *data;
    uint32_t          len;
    uint32_t          cap;
    uint32_t          need;          /* 0: not known yet */
    uint8_t           opcode;        /* of the first fragment */
} ngx_im_ws_part_t;

/* What only the login needs. */
typedef struct {
    ngx_msec_t        deadline;
    uint64_t          ref;           /* of the Open that Logic was asked */
} ngx_im_ws_login_t;

typedef struct ngx_im_ws_s  ngx_im_ws_t;

struct ngx_im_ws_s {
    ngx_connection_t      *connection;
    ngx_im_ws_loc_conf_t  *conf;
    uint64_t               id;
    im_subscriber_t        sub;          /* the user, and where it is in */
    ngx_im_ws_t           *user_next;    /* same user, this worker */
    ngx_im_ws_t           *work_next;    /* flush list */
    ngx_im_ws_t           *dead_next;
    ngx_im_ws_login_t     *login;
    ngx_im_ws_part_t      *frame;        /* partial frame */
    ngx_im_ws_part_t      *message;      /* fragments */
    ngx_im_ws_buf_t      **out;
    ngx_msec_t             opened_ms;    /* ngx_current_msec at its opening */
    uint32_t               out_size;     /* bytes waiting */
    uint16_t               out_n;
    uint16_t               out_cap;
    uint32_t               out_sent;     /* of out[0] */
    uint32_t               heard_s;      /* ngx_time() of the last byte */
    uint32_t               opened;       /* running number, of its opening */
    uint32_t               discarded;    /* bytes read after our Close */
    uint16_t               close_code;
    unsigned               state:3;
    unsigned               encoding:1;
    unsigned               announced:1;  /* Logic was told Open */
    unsigned               dirty:1;      /* on the flush list */
    unsigned               dead:1;       /* on the dead list */
    unsigned               draining:1;
    unsigned               fin_sent:1;
    unsigned               behind:1;     /* pushes are being left out */
    unsigned               sync:1;       /* to be told so once it is opened */
    unsigned               questions:3;  /* under way */
    char                   sid[IM_SID_LEN + 1];
    char                   device[IM_DEVICE_MAX + 1];
};


/*
 * Whether the connection speaks TLS.  Without SSL nginx's connection has no
 * such member.  With --with-compat it always has one, and it may be in use
 * although this build knows nothing of OpenSSL: the binary that loads the
 * module decides.
 */
static ngx_inline ngx_uint_t
ngx_im_ws_is_tls(const ngx_connection_t *c)
{
#if (NGX_SSL || NGX_COMPAT)
    return c->ssl != NULL;
#else
    return 0;
#endif
}


/* ngx_im_ws_module.c */
extern ngx_module_t  ngx_im_ws_module;

/* ngx_im_ws_handshake.c: the content handler of `im_ws;`. */
ngx_int_t ngx_im_ws_handler(ngx_http_request_t *r);

/* What the 101 will say. */
typedef struct {
    const char       *protocol;      /* sub-protocol, or NULL */
    im_encoding_t     encoding;
    u_char            accept[IM_FRAME_ACCEPT_LEN];
} ngx_im_ws_shake_t;

/* All is checked: 101 and take-over, or a refusal.  claims: NULL if no token
 * came yet.  What a content handler returns. */
ngx_int_t ngx_im_ws_accept(ngx_http_request_t *r,
    const im_jwt_claims_t *claims, const ngx_im_ws_shake_t *shake);

/* ngx_im_ws_ticket.c */
ngx_int_t ngx_im_ws_ticket_init(void);
/* Asks Logic whose ticket it is, then ngx_im_ws_accept().  shake lives as long
 * as r.  What a content handler returns. */
ngx_int_t ngx_im_ws_ticket_redeem(ngx_http_request_t *r,
    const ngx_str_t *ticket, const ngx_im_ws_shake_t *shake);

/* ngx_im_ws_takeover.c */
/*
 * After the 101: makes a WebSocket connection of the request's one, soon.
 * What the content handler returns.  claims: NULL if no token came yet.
 */
ngx_int_t ngx_im_ws_take_over(ngx_http_request_t *r,
    const im_jwt_claims_t *claims, im_encoding_t encoding);
/* The live connection with this id, or NULL. */
ngx_im_ws_t *ngx_im_ws_by_id(uint64_t id);

/* ngx_im_ws_read.c */
void ngx_im_ws_read_handler(ngx_event_t *rev);
/* Takes bytes that are already here, then reads the socket. */
void ngx_im_ws_resume(ngx_im_ws_t *ws);
void ngx_im_ws_part_free(ngx_im_ws_part_t **part);
int ngx_im_ws_part_keep(ngx_im_ws_part_t **part, const u_char *data,
    size_t len, size_t limit);

/* ngx_im_ws_buf.c */
/* One reference is the caller's.  NULL if out of memory. */
ngx_im_ws_buf_t *ngx_im_ws_buf_create(size_t cap);
void ngx_im_ws_buf_release(ngx_im_ws_buf_t *b);
/* Encodes for one encoding, to be shared. */
ngx_im_ws_buf_t *ngx_im_ws_encode(const Im__Frame *frame,
    im_encoding_t encoding);
/* At the worker's exit. */
void ngx_im_ws_buf_free_kept(void);

/* ngx_im_ws_write.c */
/* Queues a shared buffer, taking a reference of its own, or leaves it out: the
 * client is then told to sync once it reads again. */
void ngx_im_ws_send_push(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b);
/* The same for what is of the moment: left out without a word. */
void ngx_im_ws_send_event(ngx_im_ws_t *ws, ngx_im_ws_buf_t *b);
/* A push was left out elsewhere: the same as one that did not fit. */
void ngx_im_ws_fall_behind(ngx_im_ws_t *ws);
void ngx_im_ws_send_frame(ngx_im_ws_t *ws, const Im__Frame *frame);
/* Closes nothing: IM_BUSY if it does not fit now, IM_DECLINED if it never
 * will. */
int ngx_im_ws_send_answer(ngx_im_ws_t *ws, const Im__Frame *frame);
void ngx_im_ws_send_control(ngx_im_ws_t *ws, unsigned opcode,
    const u_char *data, size_t len);
void ngx_im_ws_send_error(ngx_im_ws_t *ws, const char *code,
    const char *message, const char *cmid);
/* The same with all that an error can have: code and message are given, and
 * cmid, id, retry_after_ms where known; the rest follows from the code. */
void ngx_im_ws_send_refusal(ngx_im_ws_t *ws, Im__Error *error);
/* Appends without a look at the limit: a Close. */
void ngx_im_ws_append(ngx_im_ws_t *ws, const u_char *data, size_t len);
/* Its socket may take more. */
void ngx_im_ws_catch_up(ngx_im_ws_t *ws);
/* Forget what waits; cut: but for what is half on its way. */
void ngx_im_ws_drop_out(ngx_im_ws_t *ws);
void ngx_im_ws_cut_out(ngx_im_ws_t *ws);

/* ngx_im_ws_flush.c */
/* Writes what the socket takes.  NGX_ERROR: the connection is being freed. */
ngx_int_t ngx_im_ws_flush(ngx_im_ws_t *ws);
/* At the end of this turn of the loop. */
void ngx_im_ws_flush_later(ngx_im_ws_t *ws);
/* Now, all that are to be later. */
void ngx_im_ws_flush_all(void);
void ngx_im_ws_write_handler(ngx_event_t *wev);

/* ngx_im_ws_end.c */
/* Sends Close and lingers for the peer's answer. */
void ngx_im_ws_close(ngx_im_ws_t *ws, unsigned code, const char *reason);
/* The Close has left. */
void ngx_im_ws_finish(ngx_im_ws_t *ws);
/* Ends without a word; frees at the end of the loop turn. */
void ngx_im_ws_destroy(ngx_im_ws_t *ws);

/* ngx_im_ws_query.c: questions to Logic. */
ngx_int_t ngx_im_ws_query_init(void);
void ngx_im_ws_query(ngx_im_ws_t *ws, const im_client_frame_t *f);

/* ngx_im_ws_session.c */
/* Begins: with a verified token, or waiting for the auth frame. */
void ngx_im_ws_session_start(ngx_im_ws_t *ws, const im_jwt_claims_t *claims);
void ngx_im_ws_session_frame(ngx_im_ws_t *ws, im_str_t *message);
void ngx_im_ws_session_timer(ngx_im_ws_t *ws);
void ngx_im_ws_session_end(ngx_im_ws_t *ws);
void ngx_im_ws_set_state(ngx_im_ws_t *ws, ngx_im_ws_state_e state);
/* Asks Logic to open it; ref: NULL, or to see whether the question waits. */
int ngx_im_ws_ask_open(ngx_im_ws_t *ws, uint64_t *ref);
/* Answers of Logic; asked: when. */
void ngx_im_ws_on_opened(ngx_im_ws_t *ws, const Im__Opened *opened,
    ngx_msec_t asked);
void ngx_im_ws_on_not_opened(ngx_im_ws_t *ws, const Im__Error *error);
void ngx_im_ws_on_error(ngx_im_ws_t *ws, const Im__Error *error);

/* ngx_im_ws_again.c */
/* Opens all connections again, with Logic only: presence may have lost them.
 * In portions, so that neither this worker nor Logic is held up. */
void ngx_im_ws_announce_all(ngx_msec_t in_ms);
/* The same now; pushes to them may be missing, so each is then told to sync:
 * what is said later finds it. */
void ngx_im_ws_sync_all(void);
/* The same, where nothing but pushes is missing: not while it is being done or
 * was begun just before, but once more after that. */
void ngx_im_ws_sync_later(void);
/* One of them.  IM_BUSY: no Logic takes it now. */
int ngx_im_ws_open_again(ngx_im_ws_t *ws);

/* ngx_im_link.c: as im_outbox_add and im_outbox_waits. */
int ngx_im_link_send(unsigned slot, Im__UpItem *item, uint64_t *ref);
int ngx_im_link_waits(uint64_t ref);
/* Number of the stream to the home of a slot, which no other stream of this
 * worker has had; 0: there is none. */
uint32_t ngx_im_link_no(unsigned slot);

/* For health; times are ngx_current_msec's. */
typedef struct {
    unsigned      open:1;            /* to one Logic at least */
    unsigned      key_differs:1;     /* of one Logic at least */
    ngx_msec_t    since;             /* not open */
    ngx_msec_t    key_since;
    const char   *error;             /* the last one */
} ngx_im_link_state_t;

void ngx_im_link_state(ngx_im_link_state_t *state);

/* ngx_im_told.c: what Logic says unasked. */
void ngx_im_told(const Im__DownItem *item);

/* ngx_im_push.c.  NULL: out of memory. */
ngx_im_ws_buf_t *ngx_im_push_encode(const Im__Record *record,
    im_encoding_t encoding);

/* ngx_im_users.c: uid -> connections of this worker. */
extern uint32_t  ngx_im_users_opened;  /* number of the last one */
int ngx_im_users_add(ngx_im_ws_t *ws);
void ngx_im_users_remove(ngx_im_ws_t *ws);
ngx_im_ws_t *ngx_im_users_find(uint64_t uid);
void ngx_im_users_free(void);

/* A walk over all connections, in portions; zeroed to begin.  What comes or
 * goes between two portions may be met twice or not, all else is met. */
typedef struct {
    size_t            left;          /* entries not yet visited */
    size_t            size;          /* of the table, when it began */
    ngx_uint_t        wraps;
} ngx_im_users_walk_t;

/* NGX_AGAIN after about max connections, or when fn returns IM_BUSY (that one
 * is met again); NGX_OK at the end. */
ngx_int_t ngx_im_users_walk(ngx_im_users_walk_t *w, ngx_uint_t max,
    int (*fn)(ngx_im_ws_t *ws));

#endif
