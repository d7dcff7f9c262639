/*
 * im_conn_id.c -- the number of a client's connection.
 *
 * Rejected: fixed 20 bits for the place.  nginx takes any worker_connections,
 * and the places above 2^20 changed the turn, so that an answer went to the
 * connection of another user.
 */

#include "im_conn_id.h"

#include <assert.h>


#define CONN_ID_PROCESS_BITS    24
#define CONN_ID_REST_BITS       40     /* turn and place */
#define CONN_ID_PLACE_BITS_MIN  20
#define CONN_ID_BITS(n)         (((uint64_t) 1 << (n)) - 1)


void
im_conn_id_init(im_conn_id_t *g, uint64_t random, size_t places)
{
    assert(places <= IM_CONN_ID_PLACES_MAX);

    g->process = random & CONN_ID_BITS(CONN_ID_PROCESS_BITS);
    g->turn = 0;
    g->place_bits = CONN_ID_PLACE_BITS_MIN;

    if (g->process == 0) {
        g->process = 1;                /* 0 is no connection */
    }

    while (((size_t) 1 << g->place_bits) < places) {
        g->place_bits++;
    }
}


uint64_t
im_conn_id_next(im_conn_id_t *g, size_t place)
{
    assert((uint64_t) place <= CONN_ID_BITS(g->place_bits));

    g->turn++;
    g->turn &= CONN_ID_BITS(CONN_ID_REST_BITS - g->place_bits);

    return g->process << CONN_ID_REST_BITS | g->turn << g->place_bits | place;
}


size_t
im_conn_id_place(const im_conn_id_t *g, uint64_t id)
{
    return id & CONN_ID_BITS(g->place_bits);
}
