/*
 * im_slot.h -- conversations, and the slot that decides their owner.
 *
 * slot = MurmurHash3_x64_128(conv_a, conv_b) mod 1024.  From the slot follow
 * the Logic instance (rendezvous hashing, Thaler and Ravishankar 1998), the
 * shard thread, the Redis hash tag and the Kafka partition.
 */

#ifndef IM_SLOT_H
#define IM_SLOT_H

#include "im_core.h"

#define IM_SLOTS  1024

typedef struct {
    uint64_t       a;          /* lower uid; 0 for a room */
    uint64_t       b;          /* higher uid; room id */
} im_conv_t;

/* Of records that are no messages, which consumers skip: once one is confirmed,
 * an earlier failed record cannot be appended any more
 * (logic_fence.h).  No room ever gets this id. */
#define IM_CONV_FENCE         { 0, UINT64_MAX }
#define im_conv_is_fence(x, y)  ((x) == 0 && (y) == UINT64_MAX)

im_conv_t im_conv_direct(uint64_t uid, uint64_t other);
/* The other user of a direct conversation; uid, if it is one with oneself. */
uint64_t im_conv_other(const im_conv_t *conv, uint64_t uid);

unsigned im_slot_of_conv(const im_conv_t *conv);
unsigned im_slot_of_user(uint64_t uid);

/* Weight of an instance for a slot: the highest wins. */
uint64_t im_slot_weight(unsigned slot, const char *instance, size_t len);

#endif
