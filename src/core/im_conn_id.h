/*
 * im_conn_id.h -- the number of a client's connection.
 *
 *     | 24 bits: random, of the process | turn | place |
 *
 * The place is the index in the process's table of connections, so that a
 * look-up needs no other table.  The turn distinguishes connections that had
 * the same place one after the other; the random part distinguishes processes.
 * Turn and place share 40 bits: 20 each, unless the table has more than 2^20
 * places.
 *
 * Caller's memory, no locks.
 */

#ifndef IM_CONN_ID_H
#define IM_CONN_ID_H

#include "im_core.h"

#define IM_CONN_ID_PLACES_MAX  ((size_t) 1 << 32)

typedef struct {
    uint64_t  process;
    uint64_t  turn;
    unsigned  place_bits;
} im_conn_id_t;

/* random: any number; places: size of the table, at most ..PLACES_MAX. */
void im_conn_id_init(im_conn_id_t *g, uint64_t random, size_t places);
/* Never 0.  place: below places. */
uint64_t im_conn_id_next(im_conn_id_t *g, size_t place);
/* id may be any number: the result may be outside of the table. */
size_t im_conn_id_place(const im_conn_id_t *g, uint64_t id);

#endif
