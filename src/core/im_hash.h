/*
 * im_hash.h -- uthash, without its exit(): the only place that includes it.
 *
 * When memory is short, uthash ends the process by default.  Here an add that
 * gets no memory leaves the element out, and the caller must check that.
 */

#ifndef IM_HASH_H
#define IM_HASH_H

#define HASH_NONFATAL_OOM  1

#include <uthash.h>

/* After HASH_ADD...(hh, ...): 0 if there was no memory; then the element is in
 * no table and still its owner's. */
#define im_hash_is_added(element)  ((element)->hh.tbl != NULL)

#endif
