/*
 * logic_phases.c -- see logic_phases.h.
 *
 * A thread that reads the number of the phase and is delayed before it counts
 * itself may count in a later phase of the same parity.  It has not asked for a
 * number yet, so it belongs there.
 */

#include "logic_phases.h"


void
logic_phases_enter(logic_phases_t *p, unsigned char *phase)
{
    unsigned  parity;

    if (*phase != 0) {
        return;
    }

    parity = (unsigned) (atomic_load(&p->now) & 1);

    atomic_fetch_add(&p->inside[parity], 1);
    *phase = (unsigned char) (1 + parity);
}


void
logic_phases_leave(logic_phases_t *p, unsigned char *phase)
{
    if (*phase == 0) {
        return;
    }

    atomic_fetch_sub(&p->inside[*phase - 1], 1);
    *phase = 0;
}


uint64_t
logic_phases_now(logic_phases_t *p)
{
    return atomic_load(&p->now);
}


int
logic_phases_ended(logic_phases_t *p, uint64_t until)
{
    uint64_t  now;

    now = atomic_load(&p->now);

    if (now <= until) {

        /* a thread of the phase before would count as one of the
         * next */

        if (atomic_load(&p->inside[(now + 1) & 1]) != 0) {
            return IM_AGAIN;
        }

        atomic_store(&p->now, ++now);
    }

    if (now > until + 1) {
        return IM_OK;                  /* a turn waits for it */
    }

    return (atomic_load(&p->inside[until & 1]) == 0) ? IM_OK : IM_AGAIN;
}
