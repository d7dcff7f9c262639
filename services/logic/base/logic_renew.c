/*
 * logic_renew.c -- see logic_renew.h.
 */

#include <stdatomic.h>
#include <stddef.h>

#include "logic_renew.h"


static _Atomic logic_renew_pt  renew_handler;


void
logic_renew_register(logic_renew_pt handler)
{
    atomic_store(&renew_handler, handler);
}


void
logic_renew(uint64_t from, uint64_t to, uint64_t room)
{
    logic_renew_pt  handler;

    handler = atomic_load(&renew_handler);

    if (handler != NULL) {
        handler(from, to, room);
    }
}
