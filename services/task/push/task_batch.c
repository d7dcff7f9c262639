/*
 * task_batch.c -- see task_batch.h.
 *
 * What a batch has for an instance follows from its records and its routes,
 * which do not change any more.  So it is gone through again, for the one
 * instance, when that can take the rest: nothing is kept for each item.
 *
 * A batch takes as much memory as it has records; that of a few is kept for the
 * next ones.
 */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "im_record.h"
#include "im_slot.h"
#include "task_batch.h"


#define BATCH_SPARE_MAX  8


/* Recipients of one record on one instance. */
typedef struct {
    task_peer_t         *peer;
    uint64_t             uids[2];
    unsigned             n;
    uint64_t             room;     /* instead of uids: all who are in it */
} batch_group_t;


static int batch_grow(task_batch_t *b, size_t n);
static void batch_parse(task_record_t *r, const im_kafka_record_t *kafka);
static unsigned batch_groups(task_batch_t *b, const task_record_t *r,
    task_peer_t *only);
static void batch_group_add(task_peer_t *peer, uint64_t uid, uint64_t room,
    unsigned *n);
static int batch_item(task_mark_t *mark, const im_kafka_record_t *kafka,
    const batch_group_t *g);
static task_mark_t *batch_mark(task_batch_t *b, task_peer_t *peer);
static void batch_free(task_batch_t *b);


static task_batch_t   *batch_spare;
static unsigned        batch_spares;
static batch_group_t  *batch_group_list;
static unsigned        batch_group_size;

static atomic_ullong   batch_pushed, batch_repeated, batch_dropped;


task_batch_t *
task_batch_get(const im_kafka_record_t *records, size_t n)
{
    size_t         i;
    task_batch_t  *b;

    b = batch_spare;

    if (b != NULL) {
        batch_spare = b->next;
        batch_spares--;

    } else {
        b = calloc(1, sizeof(task_batch_t));
    }

    if (b == NULL || batch_grow(b, n) != IM_OK) {
        batch_free(b);
        return NULL;
    }

    b->next = NULL;
    b->n = n;
    b->bytes = 0;

    for (i = 0; i < n; i++) {
        b->kafka[i] = records[i];
        b->bytes += records[i].value.len;
        batch_parse(&b->records[i], &records[i]);
    }

    return b;
}


static int
batch_grow(task_batch_t *b, size_t n)
{
    void  *kafka, *records;

    if (n <= b->size) {
        return IM_OK;
    }

    kafka = malloc(n * sizeof(im_kafka_record_t));
    records = malloc(n * sizeof(task_record_t));

    if (kafka == NULL || records == NULL) {
        free(kafka);
        free(records);
        return IM_ERROR;
    }

    free(b->kafka);
    free(b->records);

    b->kafka = kafka;
    b->records = records;
    b->size = n;

    return IM_OK;
}


static void
batch_parse(task_record_t *r, const im_kafka_record_t *kafka)
{
    im_record_t  m;

    memset(r, 0, sizeof(task_record_t));

    if (im_record_read(&m, kafka->value.data, kafka->value.len) != IM_OK) {
        im_log(IM_LOG_ERR, "partition %d, offset %lld: not a message",
               kafka->partition, (long long) kafka->offset);
        return;
    }

    if (m.conv_a != 0) {
        r->users[0] = m.conv_a;
        r->users[1] = m.conv_b;
        r->n_users = (m.conv_a == m.conv_b) ? 1 : 2;

    } else if (!im_conv_is_fence(m.conv_a, m.conv_b)) {
        r->room = m.conv_b;
    }

    r->from_conn = m.from_conn;
}


void
task_batch_send(task_batch_t *b)
{
    size_t        i;
    unsigned      g, n;
    task_mark_t  *mark;

    for (i = 0; i < b->n; i++) {
        n = batch_groups(b, &b->records[i], NULL);

        for (g = 0; g < n; g++) {
            mark = batch_mark(b, batch_group_list[g].peer);

            if (mark == NULL) {
                atomic_fetch_add(&batch_dropped, 1);
                task_peer_missed(batch_group_list[g].peer);
                continue;
            }

            mark->due++;

            if (batch_item(mark, &b->kafka[i], &batch_group_list[g]) == IM_OK) {
                atomic_fetch_add(&batch_pushed, 1);
            }
        }
    }

    for (g = 0; g < b->n_marks; g++) {
        task_peer_flush(b->marks[g].peer);
    }
}


/* The recipients of a record, by instance: all connections of its users but the
 * one that sent it.  only: NULL, or the one peer that is looked at. */
static unsigned
batch_groups(task_batch_t *b, const task_record_t *r, task_peer_t *only)
{
    unsigned              u, i, n;
    const task_user_t    *user;
    const task_route_t   *route;

    n = 0;

    for (u = 0; u < r->n_users; u++) {
        user = task_route_find(&b->routes, r->users[u]);

        for (i = 0; user != NULL && i < user->n; i++) {
            route = &user->routes[i];

            if (route->conn != r->from_conn
                && (only == NULL || only == route->peer))
            {
                batch_group_add(route->peer, user->uid, 0, &n);
            }
        }
    }

    /* one item for each instance, however many are in the room there; the
     * instance leaves the sender's connection out */

    user = (r->room != 0) ? task_route_find_room(&b->routes, r->room) : NULL;

    for (i = 0; user != NULL && i < user->n; i++) {
        if (only == NULL || only == user->routes[i].peer) {
            batch_group_add(user->routes[i].peer, 0, r->room, &n);
        }
    }

    return n;
}


static void
batch_group_add(task_peer_t *peer, uint64_t uid, uint64_t room, unsigned *n)
{
    unsigned       i;
    batch_group_t  *g, *list;

    for (i = 0; i < *n; i++) {
        g = &batch_group_list[i];

        if (g->peer == peer) {
            if (g->uids[g->n - 1] != uid) {
                g->uids[g->n++] = uid;
            }

            return;
        }
    }

    if (*n == batch_group_size) {
        list = realloc(batch_group_list,
                       (batch_group_size + 16) * sizeof(batch_group_t));
        if (list == NULL) {
            atomic_fetch_add(&batch_dropped, 1);
            task_peer_missed(peer);
            return;
        }

        batch_group_list = list;
        batch_group_size += 16;
    }

    g = &batch_group_list[(*n)++];
    g->peer = peer;
    g->uids[0] = uid;
    g->n = (room == 0);
    g->room = room;
}


/* The mark of a peer in a batch; the first item sent fills it. */
static task_mark_t *
batch_mark(task_batch_t *b, task_peer_t *peer)
{
    unsigned      i;
    task_mark_t  *marks;

    for (i = 0; i < b->n_marks; i++) {
        if (b->marks[i].peer == peer) {
            return &b->marks[i];
        }
    }

    if (b->n_marks == b->marks_size) {
        marks = realloc(b->marks, (b->marks_size + 16) * sizeof(task_mark_t));
        if (marks == NULL) {
            return NULL;
        }

        b->marks = marks;
        b->marks_size += 16;
    }

    task_peer_hold(peer);

    memset(&b->marks[i], 0, sizeof(task_mark_t));
    b->marks[i].peer = peer;
    b->n_marks++;

    return &b->marks[i];
}


static int
batch_item(task_mark_t *mark, const im_kafka_record_t *kafka,
    const batch_group_t *g)
{
    Im__PushItem  item = IM__PUSH_ITEM__INIT;

    item.n_uids = g->n;
    item.uids = (uint64_t *) g->uids;
    item.room = g->room;
    item.record.data = kafka->value.data;
    item.record.len = kafka->value.len;

    return task_peer_send(mark, &item);
}


/* The rest of what a peer is due of a batch.  IM_AGAIN: later. */
int
task_batch_again(task_batch_t *b, task_mark_t *mark)
{
    int       rc;
    size_t    i;
    unsigned  at, repeats;

    repeats = task_peer_rewind(mark);
    at = 0;
    rc = IM_OK;

    for (i = 0; i < b->n && rc == IM_OK; i++) {

        if (batch_groups(b, &b->records[i], mark->peer) == 0
            || at++ < mark->handed)
        {
            continue;
        }

        rc = batch_item(mark, &b->kafka[i], &batch_group_list[0]);

        if (rc == IM_OK) {
            atomic_fetch_add((at <= repeats) ? &batch_repeated : &batch_pushed,
                             1);
        }
    }

    task_peer_flush(mark->peer);

    return rc;
}


/* Its records go, and its memory is for the next one. */
void
task_batch_put(task_batch_t *b)
{
    unsigned  m;

    for (m = 0; m < b->n_marks; m++) {
        task_peer_release(b->marks[m].peer);
    }

    b->n_marks = 0;
    task_route_clear(&b->routes);
    im_kafka_batch_free(b->kafka, b->n);

    if (batch_spares == BATCH_SPARE_MAX) {
        batch_free(b);
        return;
    }

    b->next = batch_spare;
    batch_spare = b;
    batch_spares++;
}


void
task_batch_give_up(task_mark_t *mark)
{
    atomic_fetch_add(&batch_dropped, mark->due - mark->handed);
    task_peer_missed(mark->peer);
}


void
task_batch_stats(uint64_t *pushed, uint64_t *repeated, uint64_t *dropped)
{
    *pushed = atomic_load(&batch_pushed);
    *repeated = atomic_load(&batch_repeated);
    *dropped = atomic_load(&batch_dropped);
}


void
task_batch_stop(void)
{
    task_batch_t  *b;

    while (batch_spare != NULL) {
        b = batch_spare;
        batch_spare = b->next;
        batch_free(b);
    }

    batch_spares = 0;

    free(batch_group_list);
    batch_group_list = NULL;
    batch_group_size = 0;
}


static void
batch_free(task_batch_t *b)
{
    if (b == NULL) {
        return;
    }

    free(b->kafka);
    free(b->records);
    free(b->marks);
    free(b);
}
