/*
 * logic_owner.c -- see logic_owner.h.
 *
 * Only the rpc thread may pick an owner (im_disc.h), and other threads ask for
 * it, so the answers for all slots are copied four times a second: 1024
 * look-ups in a table, some microseconds.
 *
 * Runs on: rpc thread; logic_is_owner on any.
 */

#include <stdatomic.h>
#include <string.h>

#include "im_hash128.h"
#include "im_slot.h"
#include "logic_owner.h"


#define OWNER_TICK_MS  250


static void owner_on_tick(void *ctx);


static im_rpc_t         *owner_rpc;
static im_disc_t        *owner_disc;
static im_rpc_timer_t   *owner_timer;
static const char       *owner_instance;
static _Atomic uint8_t   owner_slots[IM_SLOTS];


int
logic_owner_start(im_rpc_t *rpc, im_disc_t *disc, const char *instance)
{
    owner_rpc = rpc;
    owner_disc = disc;
    owner_instance = instance;
    owner_timer = im_rpc_timer(rpc, OWNER_TICK_MS, owner_on_tick, NULL);

    return (owner_timer != NULL) ? IM_OK : IM_ERROR;
}


static void
owner_on_tick(void *ctx)
{
    unsigned             slot;
    im_disc_instance_t  *inst;

    (void) ctx;

    for (slot = 0; slot < IM_SLOTS; slot++) {
        inst = im_disc_pick(owner_disc, "logic", slot);

        atomic_store_explicit(&owner_slots[slot],
                              inst != NULL
                              && strcmp(inst->id, owner_instance) == 0,
                              memory_order_relaxed);
    }

    owner_timer = im_rpc_timer(owner_rpc, OWNER_TICK_MS, owner_on_tick, NULL);
}


int
logic_is_owner(unsigned slot)
{
    return atomic_load_explicit(&owner_slots[slot % IM_SLOTS],
                                memory_order_relaxed);
}


unsigned
logic_owner_slot_of(const char *name)
{
    unsigned char  hash[16];

    im_hash128(name, strlen(name), hash);

    return (hash[0] | (unsigned) hash[1] << 8) % IM_SLOTS;
}


void
logic_owner_stop(void)
{
    if (owner_timer != NULL) {
        im_rpc_timer_cancel(owner_timer);
        owner_timer = NULL;
    }
}
