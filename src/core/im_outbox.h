/*
 * im_outbox.h -- items that a worker has sent to Logic and that have no answer.
 *
 *   add ---> slot's queue:  [in flight ... | held ...] ---> peer (a stream)
 *                                ^                            |
 *                answered -------+            lost: in flight becomes held
 *
 * A peer is the stream to one instance, and a slot has one peer at a time.  It
 * gets another one only when nothing is in flight to the old one, or when the
 * old one is lost; then the items that were in flight are sent again first.  So
 * the order within a slot is kept, and a client that sends two messages without
 * waiting never sees them swapped by an instance that came, left or died in
 * between.
 *
 * An item that may not run twice (a message without the client's own id) is
 * refused when its peer is lost; all others are sent again, the same bytes.
 *
 * One thread.  The clock is an argument, in milliseconds.
 */

#ifndef IM_OUTBOX_H
#define IM_OUTBOX_H

#include "im_core.h"
#include "stream.pb-c.h"

typedef struct im_outbox_s  im_outbox_t;

/* A stream to one instance; part of the owner's struct, zeroed. */
typedef struct {
    unsigned       in_flight;      /* items without an answer */
} im_outbox_peer_t;

/* What is known of an item that waits. */
typedef struct {
    uint64_t               conn;
    uint64_t               added_ms;
    Im__UpItem__ItemCase   kind;
    uint32_t               body;   /* bytes, of a message; else 0 */
} im_outbox_info_t;

typedef struct {
    /* Of the slot; NULL: no instance accepts items. */
    im_outbox_peer_t *(*owner)(void *ctx, unsigned slot);
    /* Appends to the stream: IM_OK, IM_BUSY (full), IM_ERROR (broken;
     * im_outbox_lost follows). */
    int              (*write)(void *ctx, im_outbox_peer_t *peer,
                              const im_str_t *item);
    /* Dropped: code is "unavailable" or "timeout".  cmid: of a message. */
    void             (*refuse)(void *ctx, const im_outbox_info_t *info,
                               const char *cmid, const char *code);
} im_outbox_handler_t;

typedef struct {
    size_t         items_max;
    size_t         bytes_max;      /* of all items, packed */
    unsigned       wait_ms;        /* for an answer, then "timeout" */
} im_outbox_conf_t;

im_outbox_t *im_outbox_create(const im_outbox_conf_t *conf,
    const im_outbox_handler_t *handler, void *ctx);
/* Frees all items without a refusal. */
void im_outbox_destroy(im_outbox_t *box);

/*
 * Takes an item; sets item->ref, which its answer carries, and *ref if not
 * NULL.  IM_OK: an answer or refuse follows.  IM_BUSY: a limit, or the peer's
 * queue, is full.  IM_DECLINED: the slot has no owner.  IM_ERROR: out of
 * memory.
 */
int im_outbox_add(im_outbox_t *box, unsigned slot, Im__UpItem *item,
    uint64_t now_ms, uint64_t *ref);
/* IM_OK and what it was, or IM_DECLINED: no such item waits (any more). */
int im_outbox_answered(im_outbox_t *box, uint64_t ref,
    im_outbox_info_t *info);
/* 1 while an item waits for its answer. */
int im_outbox_waits(im_outbox_t *box, uint64_t ref);

/* The stream has ended; owner() must not return this peer any more. */
void im_outbox_lost(im_outbox_t *box, im_outbox_peer_t *peer);
/* Owners may have changed, or a full peer may accept more. */
void im_outbox_move(im_outbox_t *box);
/* Refuses items that have waited too long. */
void im_outbox_expire(im_outbox_t *box, uint64_t now_ms);

size_t im_outbox_items(const im_outbox_t *box);

#endif
