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
 *
 * This folder moves bytes.  A handler, which is given at the start, takes the
 * messages of the client, and acts when a timer expires or a connection ends.
 *
 *   ngx_im_ws.c        ids, states        ngx_im_ws_read.c   bytes -> messages
 *   ngx_im_ws_end.c    how it ends        ngx_im_ws_out.h    frames -> bytes
 *   ngx_im_users.h     connections of a user
 *   ngx_im_ws_reannounce.h                Logic opens all of them once more
 *   ngx_im_ws_hold.c   not read for a while
 */

#ifndef NGX_IM_WS_H
#define NGX_IM_WS_H

#include "ngx_im_limit.h"
#include "ngx_im_ws_buf.h"
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

/* Why a connection is not read for a while. */
#define NGX_IM_WS_HELD_LIMIT   1     /* im_limit delays it */
#define NGX_IM_WS_HELD_WINDOW  2     /* im_ws_window is full */

typedef struct {
    ngx_flag_t        enable;
    size_t            max_message;
    ngx_msec_t        ping;
    ngx_msec_t        idle;
    ngx_msec_t        auth_timeout;
    size_t            send_queue;
    ngx_int_t         window;        /* messages without an answer */
    size_t            window_size;   /* their bodies */
    ngx_int_t         rooms;         /* of a connection */
    ngx_int_t         presence_subs;
    ngx_array_t      *origins;       /* of ngx_str_t; NULL: any */
} ngx_im_ws_loc_conf_t;

/* A partial frame, or the fragments of a message so far. */
typedef struct {
    u_char           *data;
    uint32_t          len;
    uint32_t          cap;
    uint32_t          need;          /* 0: not known yet */
    uint32_t          off;           /* bytes that were used already */
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
    ngx_im_limit_conf_t   *limits;
    ngx_im_limit_address_t  address;     /* of the client */
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
    uint32_t               unanswered;   /* messages */
    uint32_t               unanswered_size;  /* bytes of their bodies */
    uint16_t               close_code;
    unsigned               state:3;
    unsigned               encoding:1;
    unsigned               announced:1;  /* Open was sent to Logic */
    unsigned               dirty:1;      /* on the flush list */
    unsigned               dead:1;       /* on the dead list */
    unsigned               draining:1;
    unsigned               fin_sent:1;
    unsigned               behind:1;     /* pushes are being left out */
    unsigned               sync:1;       /* to be sent once it is opened */
    unsigned               questions:3;  /* under way */
    unsigned               held:2;       /* NGX_IM_WS_HELD_...: not read */
    unsigned               rest:1;       /* frame may hold whole frames */
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


/* What happens on a connection; called by the event loop. */
typedef struct {
    void  (*message)(ngx_im_ws_t *ws, im_str_t *message);
    /* The read timer, which the talk sets, has expired. */
    void  (*timer)(ngx_im_ws_t *ws);
    /* It is to end, now or after a Close: out of all tables. */
    void  (*end)(ngx_im_ws_t *ws);
} ngx_im_ws_talk_t;


/* ngx_im_ws.c */
extern const ngx_im_ws_talk_t  *ngx_im_ws_talk;

/* A step of a worker's start, but for the talk, which is kept; its connections
 * have ended when exit is called. */
ngx_int_t ngx_im_ws_init(const ngx_im_ws_talk_t *talk, ngx_cycle_t *cycle);
void ngx_im_ws_exit(void);
/* For a connection that is being made. */
uint64_t ngx_im_ws_next_id(ngx_connection_t *c);
/* The live connection with this id, or NULL. */
ngx_im_ws_t *ngx_im_ws_by_id(uint64_t id);
void ngx_im_ws_set_state(ngx_im_ws_t *ws, ngx_im_ws_state_e state);

/* ngx_im_ws_read.c */
ngx_int_t ngx_im_ws_read_init(ngx_cycle_t *cycle);
void ngx_im_ws_read_handler(ngx_event_t *rev);
/* Takes bytes that are already here, then reads the socket. */
void ngx_im_ws_resume(ngx_im_ws_t *ws);
void ngx_im_ws_part_free(ngx_im_ws_part_t **part);
int ngx_im_ws_part_keep(ngx_im_ws_part_t **part, const u_char *data,
    size_t len, size_t limit);

/* ngx_im_ws_hold.c */
/* Reads nothing more for so long; frames to the client and timers go on. */
void ngx_im_ws_hold_for(ngx_im_ws_t *ws, ngx_msec_t ms);
/* A message with a body of so many bytes waits for its answer; it has it. */
void ngx_im_ws_asked(ngx_im_ws_t *ws, size_t body);
void ngx_im_ws_answered(ngx_im_ws_t *ws, size_t body);
/* The timer of the write event. */
void ngx_im_ws_hold_timeout(ngx_im_ws_t *ws);

/* ngx_im_ws_end.c */
/* Sends Close and lingers for the peer's answer. */
void ngx_im_ws_close(ngx_im_ws_t *ws, unsigned code, const char *reason);
/* The Close has left. */
void ngx_im_ws_finish(ngx_im_ws_t *ws);
/* Ends without a word; frees at the end of the loop turn. */
void ngx_im_ws_destroy(ngx_im_ws_t *ws);
/* All of them, at the worker's exit. */
void ngx_im_ws_end_all(void);

#endif
