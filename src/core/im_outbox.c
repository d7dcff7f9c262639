/*
 * im_outbox.c -- see im_outbox.h.
 *
 * An item is packed once, into memory of its own; that copy is what a second
 * peer gets.  Items are found by their ref: place in a table and generation.
 *
 * Room: core.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "im_outbox.h"
#include "im_slot.h"


#define OUTBOX_TABLE_MIN  256


typedef struct outbox_item_s  outbox_item_t;
typedef struct outbox_slot_s  outbox_slot_t;

typedef TAILQ_HEAD(outbox_list_s, outbox_item_s)  outbox_list_t;

struct outbox_item_s {
    TAILQ_ENTRY(outbox_item_s)  link;  /* of the slot */
    TAILQ_ENTRY(outbox_item_s)  age;   /* of all */
    outbox_slot_t         *slot;
    uint64_t               ref;
    im_outbox_info_t       info;
    unsigned               sent:1;
    uint32_t               len;
    char                   cmid[IM_CMID_MAX + 1];
    unsigned char          data[];
};

struct outbox_slot_s {
    im_outbox_peer_t      *peer;       /* NULL: none yet */
    outbox_list_t          items;
    unsigned               in_flight;
    unsigned               held;
};

typedef struct {
    outbox_item_t         *item;       /* NULL: free */
    uint32_t               generation;
    uint32_t               next_free;
} outbox_place_t;

struct im_outbox_s {
    im_outbox_conf_t       conf;
    im_outbox_handler_t    handler;
    void                  *ctx;
    outbox_slot_t          slots[IM_SLOTS];
    outbox_list_t          all;        /* the oldest first */
    outbox_place_t        *table;
    uint32_t               cap;
    uint32_t               first_free; /* cap: none */
    size_t                 items;
    size_t                 bytes;
    size_t                 held;
};


static int outbox_place(im_outbox_t *box, uint64_t *ref);
static int outbox_grow(im_outbox_t *box);
static outbox_item_t *outbox_find(im_outbox_t *box, uint64_t ref);
static int outbox_pump(im_outbox_t *box, outbox_slot_t *s);
static int outbox_write(im_outbox_t *box, outbox_slot_t *s,
    outbox_item_t *item);
static void outbox_link(im_outbox_t *box, outbox_slot_t *s,
    outbox_item_t *item);
static void outbox_unlink(im_outbox_t *box, outbox_item_t *item);
static void outbox_drop(im_outbox_t *box, outbox_item_t *item);
static void outbox_refuse(im_outbox_t *box, outbox_item_t *item,
    const char *code);


im_outbox_t *
im_outbox_create(const im_outbox_conf_t *conf,
    const im_outbox_handler_t *handler, void *ctx)
{
    unsigned      i;
    im_outbox_t  *box;

    box = calloc(1, sizeof(im_outbox_t));
    if (box == NULL) {
        return NULL;
    }

    box->conf = *conf;
    box->handler = *handler;
    box->ctx = ctx;
    TAILQ_INIT(&box->all);

    for (i = 0; i < IM_SLOTS; i++) {
        TAILQ_INIT(&box->slots[i].items);
    }

    return box;
}


void
im_outbox_destroy(im_outbox_t *box)
{
    if (box == NULL) {
        return;
    }

    while (!TAILQ_EMPTY(&box->all)) {
        outbox_drop(box, TAILQ_FIRST(&box->all));
    }

    free(box->table);
    free(box);
}


int
im_outbox_add(im_outbox_t *box, unsigned slot, Im__UpItem *item,
    uint64_t now_ms, uint64_t *ref)
{
    int             rc;
    size_t          len;
    const char     *cmid;
    outbox_item_t  *it;
    outbox_slot_t  *s;

    s = &box->slots[slot % IM_SLOTS];

    if (TAILQ_EMPTY(&s->items)) {
        s->peer = box->handler.owner(box->ctx, slot % IM_SLOTS);
    }

    if (s->peer == NULL
        && box->handler.owner(box->ctx, slot % IM_SLOTS) == NULL)
    {
        return IM_DECLINED;
    }

    if (outbox_place(box, &item->ref) != IM_OK) {
        return (box->items >= box->conf.items_max) ? IM_BUSY : IM_ERROR;
    }

    len = im__up_item__get_packed_size(item);

    if (box->bytes + len > box->conf.bytes_max) {
        return IM_BUSY;
    }

    it = malloc(sizeof(outbox_item_t) + len);
    if (it == NULL) {
        return IM_ERROR;
    }

    it->ref = item->ref;
    it->info.conn = item->conn;
    it->info.kind = item->item_case;
    it->info.added_ms = now_ms;
    it->info.body = 0;
    it->sent = 0;
    it->len = (uint32_t) im__up_item__pack(item, it->data);
    it->cmid[0] = '\0';

    if (item->item_case == IM__UP_ITEM__ITEM_SEND) {
        cmid = item->send->cmid;
        len = strnlen(cmid, IM_CMID_MAX);
        memcpy(it->cmid, cmid, len);
        it->cmid[len] = '\0';
        it->info.body = (uint32_t) item->send->body.len;
    }

    outbox_link(box, s, it);

    if (ref != NULL) {
        *ref = it->ref;
    }

    rc = outbox_pump(box, s);

    if (rc == IM_BUSY && !it->sent) {
        outbox_drop(box, it);          /* the caller can say so at once */
        return IM_BUSY;
    }

    return IM_OK;
}


/* A free place's ref; nothing is taken until outbox_link(). */
static int
outbox_place(im_outbox_t *box, uint64_t *ref)
{
    if (box->items >= box->conf.items_max) {
        return IM_BUSY;
    }

    if (box->first_free == box->cap && outbox_grow(box) != IM_OK) {
        return IM_ERROR;
    }

    *ref = (uint64_t) (box->table[box->first_free].generation + 1) << 32
           | box->first_free;

    return IM_OK;
}


static int
outbox_grow(im_outbox_t *box)
{
    uint32_t         i, cap;
    outbox_place_t  *table;

    cap = (box->cap == 0) ? OUTBOX_TABLE_MIN : box->cap * 2;
    table = realloc(box->table, cap * sizeof(outbox_place_t));

    if (table == NULL) {
        return IM_ERROR;
    }

    for (i = box->cap; i < cap; i++) {
        table[i].item = NULL;
        table[i].generation = 0;
        table[i].next_free = i + 1;
    }

    box->first_free = box->cap;
    box->table = table;
    box->cap = cap;

    return IM_OK;
}


static outbox_item_t *
outbox_find(im_outbox_t *box, uint64_t ref)
{
    uint32_t         i;
    outbox_place_t  *place;

    i = (uint32_t) ref;

    if (i >= box->cap) {
        return NULL;
    }

    place = &box->table[i];

    return (place->item != NULL && place->generation == (uint32_t) (ref >> 32))
           ? place->item : NULL;
}


/* Sends what is held, if the slot may have a peer. */
static int
outbox_pump(im_outbox_t *box, outbox_slot_t *s)
{
    int                rc;
    outbox_item_t     *it, *prev;
    im_outbox_peer_t  *owner;

    if (s->held == 0) {
        return IM_OK;
    }

    owner = box->handler.owner(box->ctx, (unsigned) (s - box->slots));

    if (s->in_flight == 0) {
        s->peer = owner;

    } else if (s->peer != owner) {
        return IM_AGAIN;               /* moves when the last is answered */
    }

    if (s->peer == NULL) {
        return IM_AGAIN;
    }

    /* from the end: what is held is the end of the queue, mostly one item */

    it = TAILQ_LAST(&s->items, outbox_list_s);
    prev = TAILQ_PREV(it, outbox_list_s, link);

    while (prev != NULL && !prev->sent) {
        it = prev;
        prev = TAILQ_PREV(it, outbox_list_s, link);
    }

    for (; it != NULL; it = TAILQ_NEXT(it, link)) {
        rc = outbox_write(box, s, it);

        if (rc != IM_OK) {
            return rc;
        }
    }

    return IM_OK;
}


static int
outbox_write(im_outbox_t *box, outbox_slot_t *s, outbox_item_t *it)
{
    int       rc;
    im_str_t  bytes;

    bytes.data = it->data;
    bytes.len = it->len;

    rc = box->handler.write(box->ctx, s->peer, &bytes);

    if (rc == IM_OK) {
        it->sent = 1;
        s->in_flight++;
        s->peer->in_flight++;
        s->held--;
        box->held--;
    }

    return rc;
}


static void
outbox_link(im_outbox_t *box, outbox_slot_t *s, outbox_item_t *it)
{
    outbox_place_t  *place;

    place = &box->table[box->first_free];
    box->first_free = place->next_free;
    place->generation++;
    place->item = it;

    it->slot = s;
    TAILQ_INSERT_TAIL(&s->items, it, link);
    TAILQ_INSERT_TAIL(&box->all, it, age);

    s->held++;
    box->held++;
    box->items++;
    box->bytes += it->len;
}


static void
outbox_drop(im_outbox_t *box, outbox_item_t *it)
{
    outbox_unlink(box, it);
    free(it);
}


static void
outbox_unlink(im_outbox_t *box, outbox_item_t *it)
{
    outbox_slot_t   *s;
    outbox_place_t  *place;

    s = it->slot;

    if (it->sent) {
        s->in_flight--;
        s->peer->in_flight--;

    } else {
        s->held--;
        box->held--;
    }

    TAILQ_REMOVE(&s->items, it, link);
    TAILQ_REMOVE(&box->all, it, age);

    box->items--;
    box->bytes -= it->len;

    place = &box->table[(uint32_t) it->ref];
    place->item = NULL;
    place->next_free = box->first_free;
    box->first_free = (uint32_t) it->ref;
}


int
im_outbox_answered(im_outbox_t *box, uint64_t ref, im_outbox_info_t *info)
{
    outbox_item_t  *it;
    outbox_slot_t  *s;

    it = outbox_find(box, ref);

    if (it == NULL || !it->sent) {
        return IM_DECLINED;
    }

    *info = it->info;
    s = it->slot;
    outbox_drop(box, it);

    if (s->in_flight == 0) {
        (void) outbox_pump(box, s);    /* it may move now */
    }

    return IM_OK;
}


int
im_outbox_waits(im_outbox_t *box, uint64_t ref)
{
    return outbox_find(box, ref) != NULL;
}


void
im_outbox_lost(im_outbox_t *box, im_outbox_peer_t *peer)
{
    unsigned        i;
    outbox_item_t  *it, *next;
    outbox_slot_t  *s;
    outbox_list_t   refused;

    TAILQ_INIT(&refused);

    for (i = 0; i < IM_SLOTS; i++) {
        s = &box->slots[i];

        if (s->peer != peer) {
            continue;
        }

        for (it = TAILQ_FIRST(&s->items); it != NULL && it->sent; it = next) {
            next = TAILQ_NEXT(it, link);

            if (it->info.kind == IM__UP_ITEM__ITEM_SEND
                && it->cmid[0] == '\0')
            {
                outbox_unlink(box, it);
                TAILQ_INSERT_HEAD(&refused, it, link);
                continue;
            }

            it->sent = 0;
            s->in_flight--;
            s->held++;
            box->held++;
        }

        s->peer = NULL;
        (void) outbox_pump(box, s);
    }

    peer->in_flight = 0;

    /* last, since who is refused may ask again at once */

    while ((it = TAILQ_FIRST(&refused)) != NULL) {
        TAILQ_REMOVE(&refused, it, link);
        box->handler.refuse(box->ctx, &it->info, it->cmid, "unavailable");
        free(it);
    }
}


void
im_outbox_move(im_outbox_t *box)
{
    unsigned  i;

    if (box->held == 0) {
        return;
    }

    for (i = 0; i < IM_SLOTS; i++) {
        (void) outbox_pump(box, &box->slots[i]);
    }
}


void
im_outbox_expire(im_outbox_t *box, uint64_t now_ms)
{
    outbox_item_t  *it;
    outbox_slot_t  *s;

    while ((it = TAILQ_FIRST(&box->all)) != NULL
           && now_ms - it->info.added_ms >= box->conf.wait_ms)
    {
        s = it->slot;
        outbox_refuse(box, it, "timeout");

        if (s->in_flight == 0) {
            (void) outbox_pump(box, s);
        }
    }
}


static void
outbox_refuse(im_outbox_t *box, outbox_item_t *it, const char *code)
{
    char              cmid[IM_CMID_MAX + 1];
    im_outbox_info_t  info;

    info = it->info;
    memcpy(cmid, it->cmid, sizeof(cmid));

    outbox_drop(box, it);

    box->handler.refuse(box->ctx, &info, cmid, code);
}


size_t
im_outbox_items(const im_outbox_t *box)
{
    return box->items;
}
