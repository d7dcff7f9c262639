/*
 * logic_voids.h -- numbers of a conversation that are nobody's, for ever: the
 * table `voids`.
 *
 * Clients get what is written here, and step over it.  So a range is written
 * only when it is certain that no message was or will be produced under any of
 * its numbers (docs/internals/guarantees.md).
 *
 * A range may lie above all messages of its conversation.  Where the counter
 * of a conversation is lost, its next number is above the last message and
 * above the last void (logic_lasts.h).
 */

#ifndef LOGIC_VOIDS_H
#define LOGIC_VOIDS_H

#include "im_mysql.h"
#include "im_slot.h"

typedef struct {
    im_conv_t        conv;
    uint64_t         from;         /* both are void, and all in between */
    uint64_t         to;
} logic_void_t;

/*
 * Makes v a floor: when it has been written, a counter that is lost begins
 * above `last`.  No number is void by it: it is an empty range, from last + 1
 * to last, and becomes a real one when one that ends there is written.
 */
void logic_voids_floor(logic_void_t *v, const im_conv_t *conv, uint64_t last);

/* The thread that writes what was added. */
int logic_voids_start(void);
/* Writes what is left, once; what MySQL does not take then is dropped, and sync
 * proves it again. */
void logic_voids_stop(void);

/*
 * Has them written soon: within some ms, or when MySQL is back.  Never waits;
 * any thread, at any time.  A full queue and a stopped thread drop them: sync
 * proves them again, 17 s later.
 */
void logic_voids_add(const logic_void_t *voids, size_t n);

/*
 * Writes them now, merged (sorts voids).  May be repeated.  The thread of
 * mysql.  IM_OK, IM_ERROR.
 */
int logic_voids_write(im_mysql_t *mysql, logic_void_t *voids, size_t n);

/*
 * The ranges of a conversation that end above a cursor and at or below top,
 * lowest first, merged; a range that ends above top is left out.  *n: max at
 * most, then those above the last one are not known.  IM_OK, IM_ERROR.
 */
int logic_voids_read(im_mysql_t *mysql, const im_conv_t *conv,
    uint64_t cursor, uint64_t top, logic_void_t *voids, size_t max,
    size_t *n);

/* Sorts by conversation and number, joins what overlaps or touches.  How many
 * are left. */
size_t logic_voids_merge(logic_void_t *voids, size_t n);

/* The last number from `from` on that is void together with all before it, by
 * ranges that are merged and of one conversation; from - 1 if it is not. */
uint64_t logic_voids_reach(const logic_void_t *voids, size_t n, uint64_t from);

#endif
