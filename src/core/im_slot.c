/*
 * im_slot.c -- conversations, slots and the weight of an instance.
 *
 * The hash is over little-endian bytes, so that machines of either order
 * agree on the home of a conversation.
 *
 * Room: core.
 */

#include <string.h>

#include "im_hash128.h"
#include "im_slot.h"


im_conv_t
im_conv_direct(uint64_t uid, uint64_t other)
{
    im_conv_t  conv;

    conv.a = (uid < other) ? uid : other;
    conv.b = (uid < other) ? other : uid;

    return conv;
}


uint64_t
im_conv_other(const im_conv_t *conv, uint64_t uid)
{
    return (conv->a == uid) ? conv->b : conv->a;
}


unsigned
im_slot_of_conv(const im_conv_t *conv)
{
    unsigned char  key[16];

    im_put64(key, conv->a);
    im_put64(key + 8, conv->b);

    return (unsigned) (im_hash64(key, 16) % IM_SLOTS);
}


unsigned
im_slot_of_user(uint64_t uid)
{
    unsigned char  key[8];

    im_put64(key, uid);

    return (unsigned) (im_hash64(key, 8) % IM_SLOTS);
}


uint64_t
im_slot_weight(unsigned slot, const char *instance, size_t len)
{
    unsigned char  key[4 + 128];

    if (len > 128) {
        len = 128;
    }

    key[0] = (unsigned char) slot;
    key[1] = (unsigned char) (slot >> 8);
    key[2] = 0;
    key[3] = 0;
    memcpy(key + 4, instance, len);

    return im_hash64(key, 4 + len);
}
