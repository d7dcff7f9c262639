/*
 * bench.h -- im-bench, a load generator that can be held to its figures.
 *
 *     bench_main.c   the loop
 *     bench_options.c, bench_report.c   what goes in, what comes out
 *     bench_load.c   what is sent when; what came back, and was it right
 *     bench_rooms.c  ... the same for rooms (--rooms)
 *     bench_nchan.c  ... whose other end is nchan (--nchan)
 *     bench_floor.c  pairs whose other end is the floor (--floor)
 *     bench_conn.c   one WebSocket connection: open, read, write, end
 *     bench_shake.c  ... its handshake
 *     bench_wire.c   frames of proto/client.proto, both encodings: written
 *     bench_read.c   ... and read
 *     bench_hist.c   latencies
 *
 * One thread, one epoll.  The schedule is open-loop: message i is due at a
 * time that does not depend on any answer, and its latency counts from that
 * time, not from the moment of the write.  A server that stalls is charged for
 * every message that was due meanwhile (no "coordinated omission").
 *
 * Connections talk in pairs, 2k with 2k+1, both ways.  Message n of a
 * direction lives in slot n mod window of its sender until it was acked and
 * received; so every loss, double and swap is seen, and memory is bounded.
 */

#ifndef BENCH_H
#define BENCH_H

#include "im_client.h"
#include "im_core.h"
#include "im_frame.h"
#include "im_jwt.h"

#define BENCH_HIST_SIZE   2560      /* 1.6 % steps up to 2^40 us */
#define BENCH_BODY_MIN    128       /* bytes, quotes included */
#define BENCH_BODY_MAX    8192
#define BENCH_CMID_LEN    16        /* 8 hex of the run, 8 hex of n */
#define BENCH_INSTANCES   64        /* workers that are told apart */
#define BENCH_INSTANCE    80        /* bytes of a worker's name */
#define BENCH_FRAME_MAX   (BENCH_BODY_MAX + 256)
#define BENCH_PUBLISHERS  16        /* connections that publish to nchan */
#define BENCH_DUES        65536     /* messages in rooms without ack, at most */

/* Flags of a slot. */
#define BENCH_SENT        0x01
#define BENCH_ACKED       0x02
#define BENCH_RECEIVED    0x04
#define BENCH_REFUSED     0x08      /* by an error that says: do not retry */
#define BENCH_RETRIED     0x10      /* its place in the order is open */
#define BENCH_WAITING     0x20      /* for its retry */
#define BENCH_MEASURED    0x40      /* due inside the measured window */

typedef struct {
    uint64_t  count;
    uint64_t  max_us;
    double    sum_us;
    uint64_t  slot[BENCH_HIST_SIZE];
} bench_hist_t;

typedef struct {
    uint64_t       due_ns;          /* of the schedule */
    uint64_t       msg_id;          /* by ack or push, whichever was first */
    unsigned char  flags;
} bench_slot_t;

typedef enum {
    BENCH_NEW = 0,
    BENCH_CONNECT,                  /* TCP */
    BENCH_UPGRADE,                  /* awaits the 101 */
    BENCH_LOGIN,                    /* awaits auth_ok */
    BENCH_JOIN,                     /* awaits join_res */
    BENCH_OPEN,
    BENCH_PUBLISH,                  /* open, speaks HTTP */
    BENCH_GONE
} bench_state_t;

typedef struct {
    int             fd;
    bench_state_t   state;
    uint32_t        index;          /* the peer is index ^ 1 */
    int             instance;       /* in bench_t.instances, or -1 */
    uint64_t        uid;
    char           *token;          /* until it is sent */
    unsigned char  *in;             /* start of a frame, NULL as a rule */
    unsigned char  *out;            /* what the socket did not take */
    uint32_t        in_len;
    uint32_t        out_pos;
    uint32_t        out_len;
    uint32_t        out_cap;
    bench_slot_t   *slots;          /* of messages that we send */
    uint32_t        base;           /* oldest n that is not settled */
    uint32_t        next;           /* next n */
    uint32_t        recv_next;      /* highest n received of the peer, + 1 */
    uint64_t        recv_seq;       /* highest seq received */
    uint64_t        received;       /* in rooms: messages of others, */
    uint64_t        own_acked;      /* and of ours */
} bench_conn_t;

/* Connection i is in room i mod n_rooms. */
typedef struct {
    uint64_t  id;
    uint64_t  acked;
    uint32_t  next;                 /* number of the next message */
    uint32_t  turn;                 /* the member who sends it */
} bench_room_t;

/* Where a message waits for its retry; a binary heap by due_ns. */
typedef struct {
    uint64_t  due_ns;
    uint32_t  conn;
    uint32_t  n;
} bench_retry_t;

/* One phase's counters; [1] is the measured window, [0] all the rest. */
typedef struct {
    uint64_t  scheduled;
    uint64_t  skipped;              /* due, but too many in flight */
    uint64_t  sent;
    uint64_t  acked;
    uint64_t  received;
} bench_count_t;

typedef struct {
    uint64_t  errors;               /* error frames */
    uint64_t  retried;
    uint64_t  refused;
    uint64_t  doubled;              /* received again */
    uint64_t  double_acked;
    uint64_t  misordered;
    uint64_t  mismatched;           /* ack and push differ in msg_id */
    uint64_t  damaged;              /* body is not what was sent */
    uint64_t  foreign;              /* frame that nobody asked for */
    uint64_t  disconnects;
    uint64_t  window_acked;         /* acks that came inside the window, */
    uint64_t  window_received;      /* whenever they were due */
} bench_faults_t;

typedef struct {
    /* options */
    const char     *host;
    const char     *port;
    im_encoding_t   encoding;
    uint32_t        connections;
    double          rate;           /* messages a second, all together */
    double          warmup_s;
    double          seconds;
    double          drain_s;
    uint32_t        window;         /* power of two */
    uint32_t        body;
    uint32_t        tick_us;
    int             idle;
    double          o_connections;  /* as given; the ones above are used */
    double          o_window;
    double          o_body;
    double          o_tick;
    double          o_opening;      /* handshakes at a time */
    uint32_t        publishers;     /* of nchan; behind the connections */
    uint32_t        n_rooms;
    bench_room_t   *rooms;          /* NULL: pairs */
    int             nchan;
    int             floor;

    int             epoll;
    uint32_t        opening;
    uint32_t        opened;
    uint32_t        started;        /* connections ever begun */
    uint32_t        users;
    bench_conn_t   *conns;
    im_jwt_key_t    key;
    uint32_t        mark;           /* of this run, in each cmid */
    uint64_t        random;         /* of the masks */

    int             input;          /* idle: standard input can be read */

    char            instances[BENCH_INSTANCES][BENCH_INSTANCE];
    int             n_instances;

    /* load */
    double          next_ns;        /* when the next message is due */
    uint64_t        begin_ns;
    uint64_t        ramp_ns;        /* the rate grows until then */
    uint64_t        from_ns;        /* the measured window */
    uint64_t        until_ns;
    uint32_t        turn;           /* whose turn it is */
    uint64_t        in_flight;
    bench_retry_t  *retries;
    size_t          n_retries;
    size_t          cap_retries;

    bench_count_t   count[2];
    bench_faults_t  faults;
    bench_hist_t    ack;
    bench_hist_t    receive;
    bench_hist_t    late;           /* ours: written after it was due */
    double          cpu_s;          /* ours, in the window */

    /* rooms */
    uint64_t       *dues;           /* of message n mod BENCH_DUES */
    uint32_t        next;           /* number of the next message of all */
    uint64_t        wanted;         /* deliveries that acks promise */
    uint64_t        delivered;      /* those that came */
    uint64_t        events;         /* room_ev */
} bench_t;

typedef enum {
    BENCH_FRAME_OTHER = 0,
    BENCH_FRAME_AUTH_OK,
    BENCH_FRAME_ACK,
    BENCH_FRAME_PUSH,
    BENCH_FRAME_ERROR,
    BENCH_FRAME_KICK,
    BENCH_FRAME_JOIN_RES,
    BENCH_FRAME_ROOM_EV
} bench_type_t;

/* What a server's frame says; slices of the caller's buffer. */
typedef struct {
    bench_type_t  type;
    uint64_t      msg_id;
    uint64_t      seq;
    uint64_t      from;
    uint64_t      room;
    uint64_t      retry_after_ms;
    int           retryable;
    im_str_t      cmid;
    im_str_t      code;
    im_str_t      body;
} bench_frame_t;

/* What a body says. */
typedef struct {
    int           measured;
    uint64_t      due_ns;
    uint32_t      n;
} bench_body_t;


/* bench_hist.c */
void bench_hist_add(bench_hist_t *h, uint64_t ns);
double bench_hist_ms(const bench_hist_t *h, double quantile);

/* bench_wire.c */
uint64_t bench_random(bench_t *b);
/* A masked send frame, at most BENCH_FRAME_MAX bytes; returns its length. */
size_t bench_wire_send(bench_t *b, unsigned char *out, uint64_t to, uint32_t n,
    const bench_body_t *body);
/* The same for a room; in JSON only. */
size_t bench_wire_send_room(bench_t *b, unsigned char *out, uint64_t room,
    uint32_t n, const bench_body_t *body);
/* BENCH_CMID_LEN bytes. */
void bench_wire_cmid(const bench_t *b, unsigned char *out, uint32_t n);
/* The body alone, of b->body bytes. */
void bench_wire_body(bench_t *b, unsigned char *out, const bench_body_t *body);
/* A masked frame of at most 125 bytes; returns its length. */
size_t bench_wire_control(bench_t *b, unsigned char *out, unsigned opcode,
    const unsigned char *data, size_t len);
/* IM_ERROR: it is none of ours, or was changed on its way. */
int bench_wire_read_body(uint32_t size, const im_str_t *text,
    bench_body_t *body);
/* n of a cmid of this run, or IM_ERROR. */
int bench_wire_read_cmid(uint32_t mark, const im_str_t *cmid, uint32_t *n);

/* bench_read.c */
int bench_wire_read(im_encoding_t encoding, const im_str_t *msg,
    bench_frame_t *f);

/* bench_conn.c */

/* Begins connections up to target, a bounded number at a time. */
int bench_conn_open_some(bench_t *b, uint32_t target);
/* The server has answered all that it was asked on the way. */
void bench_conn_opened(bench_t *b, bench_conn_t *c);
void bench_conn_event(bench_t *b, bench_conn_t *c, uint32_t events);
/* IM_BUSY: too much is unwritten; nothing of data was taken. */
int bench_conn_write(bench_t *b, bench_conn_t *c, const unsigned char *data,
    size_t len);
void bench_conn_watch(bench_t *b, bench_conn_t *c, uint32_t events);
/* The server or the network ended it; counted. */
void bench_conn_end(bench_t *b, bench_conn_t *c, const char *why);
void bench_conn_close(bench_t *b, bench_conn_t *c);

/* bench_shake.c */

/* Signs the tokens of the connections that are begun next, up to target. */
int bench_shake_prepare(bench_t *b, uint32_t target);
/* TCP is there: asks for the upgrade. */
void bench_shake_begin(bench_t *b, bench_conn_t *c);
/* Length of the reply's head, or 0 while it is not complete.  p has room for
 * one byte more than len. */
size_t bench_shake_reply(bench_t *b, bench_conn_t *c, unsigned char *p,
    size_t len);

/* bench_load.c */
int bench_load_init(bench_t *b, uint64_t now);
/* Sets the times of the phases: for rooms, too. */
void bench_load_plan(bench_t *b, uint64_t now);
/* Between the message that is due at that time and the next one. */
double bench_load_step_ns(const bench_t *b, uint64_t now);
/* Tells bench/run when the measured window begins and ends. */
void bench_load_mark(bench_t *b, uint64_t now);
/* Sends what is due; returns when it wants to be called again. */
uint64_t bench_load_turn(bench_t *b, uint64_t now);
void bench_load_on_frame(bench_t *b, bench_conn_t *c, const bench_frame_t *f,
    uint64_t now);
void bench_load_totals(const bench_t *b, uint64_t *lost, uint64_t *unacked);

/* bench_rooms.c */
int bench_rooms_init(bench_t *b, uint64_t now);
uint64_t bench_rooms_turn(bench_t *b, uint64_t now);
/* All that was sent was acked, and all that acks promise has come. */
int bench_rooms_done(const bench_t *b);
/* auth_ok has come. */
void bench_rooms_join(bench_t *b, bench_conn_t *c);
void bench_rooms_on_frame(bench_t *b, bench_conn_t *c, const bench_frame_t *f,
    uint64_t now);
void bench_rooms_report(const bench_t *b);

/* bench_nchan.c */

/* The request that subscribes; returns its length. */
int bench_nchan_subscribe(bench_t *b, bench_conn_t *c, char *out, size_t cap);
/* Publishes a body; IM_BUSY: too much is unwritten. */
int bench_nchan_publish(bench_t *b, bench_room_t *room,
    const bench_body_t *body);
/* The answers in p; returns how much of it was complete. */
size_t bench_nchan_answers(bench_t *b, bench_conn_t *c, unsigned char *p,
    size_t len);

/* bench_floor.c */

/* TCP is there: tells the relay which connection this is. */
void bench_floor_begin(bench_t *b, bench_conn_t *c);
/* Writes a message of at most BENCH_FRAME_MAX bytes; returns its length. */
size_t bench_floor_message(bench_t *b, unsigned char *out, uint32_t n,
    const bench_body_t *body);
/* All complete frames in p; returns their length. */
size_t bench_floor_frames(bench_t *b, bench_conn_t *c, unsigned char *p,
    size_t len);

/* bench_options.c */

/* IM_DONE: help was asked for and given. */
int bench_options(bench_t *b, int argc, char **argv);

/* bench_report.c */
void bench_report(const bench_t *b);
void bench_report_latency(const char *name, const bench_hist_t *h);

/* bench_main.c */
uint64_t bench_now_ns(void);
void bench_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
