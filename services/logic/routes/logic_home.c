/*
 * logic_home.c -- see logic_home.h.
 *
 * The pick is the rpc thread's (im_disc.h), and whoever wants to know is
 * another one, so the answers for all slots are copied four times a second:
 * 1024 look-ups in a table, some microseconds.
 *
 * Runs on: rpc thread; logic_home on any.
 */

#include <stdatomic.h>
#include <string.h>

#include "im_hash128.h"
#include "im_slot.h"
#include "logic_home.h"


#define HOME_TICK_MS  250


static void home_on_tick(void *ctx);


static im_rpc_t         *home_rpc;
static im_disc_t        *home_disc;
static im_rpc_timer_t   *home_timer;
static const char       *home_instance;
static _Atomic uint8_t   home_slots[IM_SLOTS];


int
logic_home_start(im_rpc_t *rpc, im_disc_t *disc, const char *instance)
{
    home_rpc = rpc;
    home_disc = disc;
    home_instance = instance;
    home_timer = im_rpc_timer(rpc, HOME_TICK_MS, home_on_tick, NULL);

    return (home_timer != NULL) ? IM_OK : IM_ERROR;
}


static void
home_on_tick(void *ctx)
{
    unsigned             slot;
    im_disc_instance_t  *inst;

    (void) ctx;

    for (slot = 0; slot < IM_SLOTS; slot++) {
        inst = im_disc_pick(home_disc, "logic", slot);

        atomic_store_explicit(&home_slots[slot],
                              inst != NULL
                              && strcmp(inst->id, home_instance) == 0,
                              memory_order_relaxed);
    }

    home_timer = im_rpc_timer(home_rpc, HOME_TICK_MS, home_on_tick, NULL);
}


int
logic_home(unsigned slot)
{
    return atomic_load_explicit(&home_slots[slot % IM_SLOTS],
                                memory_order_relaxed);
}


unsigned
logic_home_slot_of(const char *name)
{
    unsigned char  hash[16];

    im_hash128(name, strlen(name), hash);

    return (hash[0] | (unsigned) hash[1] << 8) % IM_SLOTS;
}


void
logic_home_stop(void)
{
    if (home_timer != NULL) {
        im_rpc_timer_cancel(home_timer);
        home_timer = NULL;
    }
}
