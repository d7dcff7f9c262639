/*
 * bench_rooms.c -- rooms: what is sent when, and did everybody get it.
 *
 * Message n of the run goes to room n mod n_rooms, from the member whose turn
 * it is.  Connection i is in room i mod n_rooms.  The schedule and the phases
 * are those of bench_load.c; a delivery is one message at one member.
 *
 * A delivery has no slot of its own, there are too many of them.  Numbers tell
 * as much: within a room each connection must see seq rise, so a double and a
 * swap are seen at once, and in the end it must have got as many as were acked
 * to the others of its room.  What is less is lost.
 *
 * With nchan the publisher is a connection apart, so all members get all; the
 * number within the room is in the body, as nchan gives none.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"


#define ROOMS_BEAT_NS       50000000    /* the longest sleep */
#define ROOMS_ERRORS_SHOWN  5
#define ROOMS_CATCH_UP      4096        /* messages in one turn */


static void rooms_next(bench_t *b, uint64_t now);
static int rooms_send(bench_t *b, bench_room_t *room, bench_conn_t *c,
    bench_body_t *body);
static void rooms_on_ack(bench_t *b, bench_conn_t *c, const bench_frame_t *f,
    uint64_t now);
static void rooms_on_push(bench_t *b, bench_conn_t *c, const bench_frame_t *f,
    uint64_t now);
static bench_room_t *rooms_of(const bench_t *b, const bench_conn_t *c);
static uint32_t rooms_members(const bench_t *b, const bench_room_t *room);
static uint64_t rooms_unacked(const bench_t *b);
static uint64_t rooms_lost(const bench_t *b);


int
bench_rooms_init(bench_t *b, uint64_t now)
{
    b->dues = calloc(BENCH_DUES, sizeof(uint64_t));
    if (b->dues == NULL) {
        return IM_ERROR;
    }

    bench_load_plan(b, now);

    return IM_OK;
}


/* The reply ends the opening of a connection. */
void
bench_rooms_join(bench_t *b, bench_conn_t *c)
{
    int            n;
    size_t         len;
    char           text[96];
    unsigned char  out[6 + 125];

    n = snprintf(text, sizeof(text),
                 "{\"type\":\"join\",\"id\":\"1\",\"room\":\"%llu\"}",
                 (unsigned long long) rooms_of(b, c)->id);

    len = bench_wire_control(b, out, IM_FRAME_TEXT, (unsigned char *) text,
                             (size_t) n);

    c->state = BENCH_JOIN;

    if (bench_conn_write(b, c, out, len) != IM_OK) {
        bench_conn_end(b, c, "the join cannot be written");
    }
}


uint64_t
bench_rooms_turn(bench_t *b, uint64_t now)
{
    uint64_t  wake;
    unsigned  n;

    bench_load_mark(b, now);

    for (n = 0; b->next_ns <= (double) now && b->next_ns < (double) b->until_ns
                && n < ROOMS_CATCH_UP; n++)
    {
        rooms_next(b, now);
        b->next_ns += bench_load_step_ns(b, (uint64_t) b->next_ns);
    }

    wake = now + ROOMS_BEAT_NS;

    if (b->next_ns < (double) b->until_ns && b->next_ns < (double) wake) {
        wake = (uint64_t) b->next_ns + 1;
    }

    return wake;
}


/* The message that is due at next_ns. */
static void
rooms_next(bench_t *b, uint64_t now)
{
    int             measured;
    bench_body_t    body;
    bench_room_t   *room;
    bench_conn_t   *c;
    bench_count_t  *count;

    body.due_ns = (uint64_t) b->next_ns;
    measured = (body.due_ns >= b->from_ns);
    body.measured = measured;
    count = &b->count[measured];

    room = &b->rooms[b->turn];
    b->turn = (b->turn + 1) % b->n_rooms;

    c = &b->conns[(size_t) (room - b->rooms) + b->n_rooms * room->turn];
    room->turn = (room->turn + 1) % rooms_members(b, room);

    count->scheduled++;

    if (c->state != BENCH_OPEN || rooms_unacked(b) >= BENCH_DUES
        || rooms_send(b, room, c, &body) != IM_OK)
    {
        count->skipped++;
        return;
    }

    if (measured) {
        bench_hist_add(&b->late, now - body.due_ns);
    }

    b->dues[b->next & (BENCH_DUES - 1)] = body.due_ns;
    b->next++;
    room->next++;
    count->sent++;
}


static int
rooms_send(bench_t *b, bench_room_t *room, bench_conn_t *c,
    bench_body_t *body)
{
    size_t         len;
    unsigned char  out[BENCH_FRAME_MAX];

    if (b->nchan) {
        body->n = room->next;
        return bench_nchan_publish(b, room, body);
    }

    body->n = b->next;
    len = bench_wire_send_room(b, out, room->id, b->next, body);

    return bench_conn_write(b, c, out, len);
}


void
bench_rooms_on_frame(bench_t *b, bench_conn_t *c, const bench_frame_t *f,
    uint64_t now)
{
    switch (f->type) {

    case BENCH_FRAME_JOIN_RES:
        if (c->state == BENCH_JOIN) {
            bench_conn_opened(b, c);
        }

        break;

    case BENCH_FRAME_ACK:
        rooms_on_ack(b, c, f, now);
        break;

    case BENCH_FRAME_PUSH:
        rooms_on_push(b, c, f, now);
        break;

    case BENCH_FRAME_ROOM_EV:
        b->events++;
        break;

    case BENCH_FRAME_ERROR:
        if (b->faults.errors++ < ROOMS_ERRORS_SHOWN) {
            bench_say("connection %u: error %.*s", c->index,
                      (int) f->code.len,
                      f->code.len ? (char *) f->code.data : "");
        }

        if (c->state == BENCH_JOIN) {
            bench_conn_end(b, c, "it may not join");
        }

        break;

    default:
        b->faults.foreign++;
        break;
    }
}


static void
rooms_on_ack(bench_t *b, bench_conn_t *c, const bench_frame_t *f, uint64_t now)
{
    uint32_t       n;
    uint64_t       due;
    bench_room_t  *room;

    if (bench_wire_read_cmid(b->mark, &f->cmid, &n) != IM_OK
        || b->next - n > BENCH_DUES || (int32_t) (b->next - n) <= 0)
    {
        b->faults.foreign++;
        return;
    }

    due = b->dues[n & (BENCH_DUES - 1)];

    if (due == 0) {
        b->faults.double_acked++;
        return;
    }

    b->dues[n & (BENCH_DUES - 1)] = 0;

    room = rooms_of(b, c);
    room->acked++;
    c->own_acked++;
    b->wanted += rooms_members(b, room) - 1;

    if (due >= b->from_ns) {
        b->count[1].acked++;
        bench_hist_add(&b->ack, now - due);

    } else {
        b->count[0].acked++;
    }

    if (now >= b->from_ns && now < b->until_ns) {
        b->faults.window_acked++;
    }
}


static void
rooms_on_push(bench_t *b, bench_conn_t *c, const bench_frame_t *f,
    uint64_t now)
{
    uint64_t      seq;
    bench_body_t  body;

    if (!b->nchan && f->room != rooms_of(b, c)->id) {
        b->faults.foreign++;
        return;
    }

    if (bench_wire_read_body(b->body, &f->body, &body) != IM_OK) {
        b->faults.damaged++;
        return;
    }

    seq = b->nchan ? (uint64_t) body.n + 1 : f->seq;

    if (seq <= c->recv_seq) {
        b->faults.doubled += (seq == c->recv_seq);
        b->faults.misordered += (seq != c->recv_seq);
        return;
    }

    c->recv_seq = seq;
    c->received++;
    b->delivered++;

    if (body.measured) {
        b->count[1].received++;
        bench_hist_add(&b->receive, now - body.due_ns);

    } else {
        b->count[0].received++;
    }

    if (now >= b->from_ns && now < b->until_ns) {
        b->faults.window_received++;
    }
}


static bench_room_t *
rooms_of(const bench_t *b, const bench_conn_t *c)
{
    return &b->rooms[c->index % b->n_rooms];
}


static uint32_t
rooms_members(const bench_t *b, const bench_room_t *room)
{
    return b->connections / b->n_rooms
           + ((uint32_t) (room - b->rooms) < b->connections % b->n_rooms);
}


static uint64_t
rooms_unacked(const bench_t *b)
{
    return b->count[0].sent + b->count[1].sent - b->count[0].acked
           - b->count[1].acked;
}


int
bench_rooms_done(const bench_t *b)
{
    return rooms_unacked(b) == 0 && b->delivered >= b->wanted;
}


static uint64_t
rooms_lost(const bench_t *b)
{
    uint32_t             i;
    uint64_t             lost, want;
    const bench_room_t  *room;
    const bench_conn_t  *c;

    for (lost = 0, i = 0; i < b->connections; i++) {
        c = &b->conns[i];
        room = rooms_of(b, c);
        want = b->nchan ? room->next : room->acked - c->own_acked;

        if (c->received < want) {
            lost += want - c->received;
        }
    }

    return lost;
}


void
bench_rooms_report(const bench_t *b)
{
    int                    i;
    uint32_t               k;
    uint32_t               on[BENCH_INSTANCES];
    const bench_count_t   *m, *w;
    const bench_faults_t  *f;

    m = &b->count[1];
    w = &b->count[0];
    f = &b->faults;

    memset(on, 0, sizeof(on));

    for (k = 0; k < b->connections; k++) {
        if (b->conns[k].instance >= 0) {
            on[b->conns[k].instance]++;
        }
    }

#define N(v)  ((unsigned long long) (v))

    printf("{\"connections\":%u,\"rooms\":%u,\"rate\":%.10g,"
           "\"seconds\":%g,\"warmup\":%g,\"body\":%u,", b->connections,
           b->n_rooms, b->rate, b->seconds, b->warmup_s, b->body);

    printf("\"scheduled\":%llu,\"skipped\":%llu,\"sent\":%llu,"
           "\"acked\":%llu,\"received\":%llu,\"total_sent\":%llu,"
           "\"total_acked\":%llu,\"total_received\":%llu,",
           N(m->scheduled), N(m->skipped), N(m->sent), N(m->acked),
           N(m->received), N(m->sent + w->sent), N(m->acked + w->acked),
           N(m->received + w->received));

    printf("\"window_acked\":%llu,\"window_received\":%llu,\"lost\":%llu,"
           "\"unacked\":%llu,\"doubled\":%llu,\"misordered\":%llu,"
           "\"damaged\":%llu,\"foreign\":%llu,\"errors\":%llu,"
           "\"room_events\":%llu,\"disconnects\":%llu,", N(f->window_acked),
           N(f->window_received), N(rooms_lost(b)), N(rooms_unacked(b)),
           N(f->doubled), N(f->misordered), N(f->damaged), N(f->foreign),
           N(f->errors), N(b->events), N(f->disconnects));

    bench_report_latency("ack", &b->ack);
    bench_report_latency("receive", &b->receive);
    bench_report_latency("late", &b->late);

    printf("\"generator_cpu_s\":%.3f,\"workers\":{", b->cpu_s);

    for (i = 0; i < b->n_instances; i++) {
        printf("%s\"%s\":%u", i ? "," : "", b->instances[i], on[i]);
    }

    puts("}}");
    fflush(stdout);
}
