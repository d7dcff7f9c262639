/*
 * bench_load.c -- what is sent when, and whether what came back is right.
 *
 *     begin      ramp          from                until
 *       |---------|--------------|-------------------|-------| drain
 *        rate grows   warm-up          measured
 *
 * A slot follows one message:  sent -> acked and received (any order) -> free.
 * An error frame sends it to the heap of retries when it says so, and it is
 * sent again with the same cmid after the time that the server asked for.
 *
 * Order is judged twice: numbers of the sender must rise, unless a retry has
 * put a message behind its successors, and seq of the server must always rise.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench.h"


#define LOAD_RAMP_FROM     0.1          /* of the rate */
#define LOAD_BEAT_NS       50000000     /* the longest sleep */
#define LOAD_ERRORS_SHOWN  5
#define LOAD_CATCH_UP      4096         /* messages in one turn */


static double load_cpu_s(void);
static void load_next(bench_t *b, uint64_t now);
static int load_send(bench_t *b, bench_conn_t *c, uint32_t n);
static void load_on_ack(bench_t *b, bench_conn_t *c, const bench_frame_t *f,
    uint64_t now);
static void load_on_push(bench_t *b, bench_conn_t *c, const bench_frame_t *f,
    uint64_t now);
static void load_on_error(bench_t *b, bench_conn_t *c, const bench_frame_t *f,
    uint64_t now);
static bench_slot_t *load_slot(const bench_t *b, const bench_conn_t *c,
    uint32_t n);
static void load_check_id(bench_t *b, bench_slot_t *s, uint64_t msg_id);
static void load_settle(bench_t *b, bench_conn_t *c);
static void load_retry_push(bench_t *b, uint64_t due_ns, uint32_t conn,
    uint32_t n);
static void load_retry_pop(bench_t *b);
static void load_retry_due(bench_t *b, uint64_t now);


int
bench_load_init(bench_t *b, uint64_t now)
{
    uint32_t  i;

    for (i = 0; i < b->connections; i++) {
        b->conns[i].slots = calloc(b->window, sizeof(bench_slot_t));
        if (b->conns[i].slots == NULL) {
            return IM_ERROR;
        }
    }

    bench_load_plan(b, now);

    return IM_OK;
}


void
bench_load_plan(bench_t *b, uint64_t now)
{
    /* the cold server is not hit by the full rate at once */

    b->begin_ns = now;
    b->ramp_ns = now + (uint64_t) (b->warmup_s * 1e9 / 3);
    b->from_ns = now + (uint64_t) (b->warmup_s * 1e9);
    b->until_ns = b->from_ns + (uint64_t) (b->seconds * 1e9);
    b->next_ns = (double) now;
}


uint64_t
bench_load_turn(bench_t *b, uint64_t now)
{
    uint64_t  wake;
    unsigned  n;

    bench_load_mark(b, now);
    load_retry_due(b, now);

    for (n = 0; b->next_ns <= (double) now && b->next_ns < (double) b->until_ns
                && n < LOAD_CATCH_UP; n++)
    {
        load_next(b, now);
        b->next_ns += bench_load_step_ns(b, (uint64_t) b->next_ns);
    }

    wake = now + LOAD_BEAT_NS;

    if (b->next_ns < (double) b->until_ns && b->next_ns < (double) wake) {
        wake = (uint64_t) b->next_ns + 1;
    }

    if (b->n_retries > 0 && b->retries[0].due_ns < wake) {
        wake = b->retries[0].due_ns;
    }

    return wake;
}


double
bench_load_step_ns(const bench_t *b, uint64_t now)
{
    double  part, step, left;

    step = 1e9 / b->rate;

    if (now >= b->ramp_ns) {
        return step;
    }

    part = LOAD_RAMP_FROM + (1 - LOAD_RAMP_FROM)
           * (double) (now - b->begin_ns)
           / (double) (b->ramp_ns - b->begin_ns);

    /* a slow ramp must not reach into what is measured */

    left = (double) (b->ramp_ns - now);

    return (step / part < left) ? step / part
                                : (step > left) ? step : left;
}


void
bench_load_mark(bench_t *b, uint64_t now)
{
    static int  said;

    if (said == 0 && now >= b->from_ns) {
        said = 1;
        puts("measure");
        fflush(stdout);
        b->cpu_s = -load_cpu_s();
    }

    if (said == 1 && now >= b->until_ns) {
        said = 2;
        puts("measured");
        fflush(stdout);
        b->cpu_s += load_cpu_s();
    }
}


static double
load_cpu_s(void)
{
    struct rusage  r;

    getrusage(RUSAGE_SELF, &r);

    return (double) (r.ru_utime.tv_sec + r.ru_stime.tv_sec)
           + (double) (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}


/* The message that is due at next_ns. */
static void
load_next(bench_t *b, uint64_t now)
{
    int             measured;
    uint64_t        due;
    bench_slot_t   *s;
    bench_conn_t   *c;
    bench_count_t  *count;

    due = (uint64_t) b->next_ns;
    measured = (due >= b->from_ns);
    count = &b->count[measured];

    c = &b->conns[b->turn];
    b->turn = (b->turn + 1) % b->connections;
    count->scheduled++;

    if (c->state != BENCH_OPEN || c->next - c->base == b->window) {
        count->skipped++;
        return;
    }

    s = &c->slots[c->next & (b->window - 1)];
    s->due_ns = due;
    s->msg_id = 0;
    s->flags = BENCH_SENT | (measured ? BENCH_MEASURED : 0);

    if (load_send(b, c, c->next) != IM_OK) {
        count->skipped++;
        return;
    }

    if (measured) {
        bench_hist_add(&b->late, now - due);
    }

    count->sent++;
    b->in_flight++;
    c->next++;
}


static int
load_send(bench_t *b, bench_conn_t *c, uint32_t n)
{
    size_t         len;
    bench_body_t   body;
    bench_slot_t  *s;
    unsigned char  out[BENCH_FRAME_MAX];

    s = &c->slots[n & (b->window - 1)];

    body.measured = (s->flags & BENCH_MEASURED) != 0;
    body.due_ns = s->due_ns;
    body.n = n;

    len = b->floor ? bench_floor_message(b, out, n, &body)
                   : bench_wire_send(b, out, b->conns[c->index ^ 1].uid, n,
                                     &body);

    return bench_conn_write(b, c, out, len);
}


void
bench_load_on_frame(bench_t *b, bench_conn_t *c, const bench_frame_t *f,
    uint64_t now)
{
    switch (f->type) {

    case BENCH_FRAME_ACK:
        load_on_ack(b, c, f, now);
        break;

    case BENCH_FRAME_PUSH:
        load_on_push(b, c, f, now);
        break;

    case BENCH_FRAME_ERROR:
        load_on_error(b, c, f, now);
        break;

    default:
        b->faults.foreign++;
        break;
    }
}


static void
load_on_ack(bench_t *b, bench_conn_t *c, const bench_frame_t *f, uint64_t now)
{
    uint32_t       n;
    bench_slot_t  *s;

    if (c->slots == NULL
        || bench_wire_read_cmid(b->mark, &f->cmid, &n) != IM_OK
        || (int32_t) (c->next - n) <= 0)
    {
        b->faults.foreign++;
        return;
    }

    s = load_slot(b, c, n);

    if (s == NULL || (s->flags & BENCH_ACKED)) {
        b->faults.double_acked++;
        return;
    }

    s->flags |= BENCH_ACKED;
    load_check_id(b, s, f->msg_id);

    if (s->flags & BENCH_MEASURED) {
        b->count[1].acked++;
        bench_hist_add(&b->ack, now - s->due_ns);

    } else {
        b->count[0].acked++;
    }

    if (now >= b->from_ns && now < b->until_ns) {
        b->faults.window_acked++;
    }

    load_settle(b, c);
}


/* c is the recipient; the slot is the peer's. */
static void
load_on_push(bench_t *b, bench_conn_t *c, const bench_frame_t *f, uint64_t now)
{
    int            swapped;
    bench_body_t   body;
    bench_conn_t  *peer;
    bench_slot_t  *s;

    peer = &b->conns[c->index ^ 1];

    if (peer->slots == NULL || f->from != peer->uid) {
        b->faults.foreign++;
        return;
    }

    if (bench_wire_read_body(b->body, &f->body, &body) != IM_OK
        || (int32_t) (peer->next - body.n) <= 0)
    {
        b->faults.damaged++;
        return;
    }

    s = load_slot(b, peer, body.n);

    if (s == NULL || (s->flags & BENCH_RECEIVED)) {
        b->faults.doubled++;
        return;
    }

    if (s->due_ns != body.due_ns) {
        b->faults.damaged++;
    }

    s->flags |= BENCH_RECEIVED;
    load_check_id(b, s, f->msg_id);

    swapped = (f->seq <= c->recv_seq);

    if (!swapped) {
        c->recv_seq = f->seq;
    }

    if ((int32_t) (body.n - c->recv_next) >= 0) {
        c->recv_next = body.n + 1;

    } else if (!(s->flags & BENCH_RETRIED)) {
        swapped = 1;
    }

    b->faults.misordered += (uint64_t) swapped;

    if (s->flags & BENCH_MEASURED) {
        b->count[1].received++;
        bench_hist_add(&b->receive, now - s->due_ns);

    } else {
        b->count[0].received++;
    }

    if (now >= b->from_ns && now < b->until_ns) {
        b->faults.window_received++;
    }

    load_settle(b, peer);
}


static void
load_on_error(bench_t *b, bench_conn_t *c, const bench_frame_t *f,
    uint64_t now)
{
    uint32_t       n;
    bench_slot_t  *s;

    if (b->faults.errors++ < LOAD_ERRORS_SHOWN) {
        bench_say("connection %u: error %.*s", c->index, (int) f->code.len,
                  f->code.len ? (char *) f->code.data : "");
    }

    if (c->slots == NULL
        || bench_wire_read_cmid(b->mark, &f->cmid, &n) != IM_OK
        || (int32_t) (c->next - n) <= 0)
    {
        return;
    }

    s = load_slot(b, c, n);

    if (s == NULL || (s->flags & (BENCH_ACKED|BENCH_WAITING))) {
        return;
    }

    if (!f->retryable) {
        b->faults.refused++;
        s->flags |= BENCH_REFUSED;
        load_settle(b, c);
        return;
    }

    s->flags |= BENCH_WAITING | BENCH_RETRIED;
    load_retry_push(b, now + f->retry_after_ms * 1000000, c->index, n);
}


/* NULL: settled already. */
static bench_slot_t *
load_slot(const bench_t *b, const bench_conn_t *c, uint32_t n)
{
    if ((int32_t) (n - c->base) < 0) {
        return NULL;
    }

    return &c->slots[n & (b->window - 1)];
}


static void
load_check_id(bench_t *b, bench_slot_t *s, uint64_t msg_id)
{
    if (s->msg_id == 0) {
        s->msg_id = msg_id;

    } else if (s->msg_id != msg_id) {
        b->faults.mismatched++;
    }
}


/* Frees what is settled, oldest first. */
static void
load_settle(bench_t *b, bench_conn_t *c)
{
    bench_slot_t  *s;

    while (c->base != c->next) {
        s = &c->slots[c->base & (b->window - 1)];

        if (!(s->flags & BENCH_REFUSED)
            && (s->flags & (BENCH_ACKED|BENCH_RECEIVED))
               != (BENCH_ACKED|BENCH_RECEIVED))
        {
            break;
        }

        c->base++;
        b->in_flight--;
    }
}


/* The heap; it holds a message once, so the windows bound it. */
static void
load_retry_push(bench_t *b, uint64_t due_ns, uint32_t conn, uint32_t n)
{
    size_t          i, up, cap;
    bench_retry_t  *p;

    if (b->n_retries == b->cap_retries) {
        cap = b->cap_retries ? 2 * b->cap_retries : 1024;

        p = realloc(b->retries, cap * sizeof(bench_retry_t));
        if (p == NULL) {
            return;                    /* it will be counted as lost */
        }

        b->retries = p;
        b->cap_retries = cap;
    }

    for (i = b->n_retries++; i > 0; i = up) {
        up = (i - 1) / 2;

        if (b->retries[up].due_ns <= due_ns) {
            break;
        }

        b->retries[i] = b->retries[up];
    }

    b->retries[i].due_ns = due_ns;
    b->retries[i].conn = conn;
    b->retries[i].n = n;
}


static void
load_retry_pop(bench_t *b)
{
    size_t          i, down;
    bench_retry_t   last;

    last = b->retries[--b->n_retries];

    for (i = 0; ; i = down) {
        down = 2 * i + 1;

        if (down + 1 < b->n_retries
            && b->retries[down + 1].due_ns < b->retries[down].due_ns)
        {
            down++;
        }

        if (down >= b->n_retries || last.due_ns <= b->retries[down].due_ns) {
            break;
        }

        b->retries[i] = b->retries[down];
    }

    b->retries[i] = last;
}


static void
load_retry_due(bench_t *b, uint64_t now)
{
    bench_slot_t   *s;
    bench_conn_t   *c;
    bench_retry_t   r;

    while (b->n_retries > 0 && b->retries[0].due_ns <= now) {
        r = b->retries[0];
        load_retry_pop(b);

        c = &b->conns[r.conn];
        s = load_slot(b, c, r.n);

        if (s == NULL || c->state != BENCH_OPEN || (s->flags & BENCH_ACKED)) {
            continue;
        }

        if (load_send(b, c, r.n) == IM_BUSY) {
            load_retry_push(b, now + LOAD_BEAT_NS, r.conn, r.n);
            continue;
        }

        s->flags &= (unsigned char) ~BENCH_WAITING;
        b->faults.retried++;
    }
}


/*
 * What is still open at the end.  A message that was not received is lost,
 * acked or not: nothing says that it would still have come.
 */
void
bench_load_totals(const bench_t *b, uint64_t *lost, uint64_t *unacked)
{
    uint32_t             i, n;
    const bench_slot_t  *s;
    const bench_conn_t  *c;

    *lost = 0;
    *unacked = 0;

    for (i = 0; i < b->connections; i++) {
        c = &b->conns[i];

        for (n = c->base; n != c->next; n++) {
            s = &c->slots[n & (b->window - 1)];

            if (s->flags & BENCH_REFUSED) {
                continue;
            }

            *lost += !(s->flags & BENCH_RECEIVED);
            *unacked += !(s->flags & BENCH_ACKED);
        }
    }
}
