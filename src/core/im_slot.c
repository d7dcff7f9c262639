/*
 * im_slot.c -- conversations, slots and the weight of an instance.
 *
 * The hash is over little-endian bytes, so that machines of either order
 * agree on the home of a conversation.
 *
 * Room: core.
 */

#include <string.h>

#include <murmurhash.h>

#include "im_slot.h"


static void slot_put64(unsigned char *p, uint64_t v);
static uint64_t slot_get64(const unsigned char *p);


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
    unsigned char  key[16], hash[16];

    slot_put64(key, conv->a);
    slot_put64(key + 8, conv->b);
    im_hash128(key, 16, hash);

    return (unsigned) (slot_get64(hash) % IM_SLOTS);
}


unsigned
im_slot_of_user(uint64_t uid)
{
    unsigned char  key[8], hash[16];

    slot_put64(key, uid);
    im_hash128(key, 8, hash);

    return (unsigned) (slot_get64(hash) % IM_SLOTS);
}


uint64_t
im_slot_weight(unsigned slot, const char *instance, size_t len)
{
    unsigned char  key[4 + 128], hash[16];

    if (len > 128) {
        len = 128;
    }

    key[0] = (unsigned char) slot;
    key[1] = (unsigned char) (slot >> 8);
    key[2] = 0;
    key[3] = 0;
    memcpy(key + 4, instance, len);
    im_hash128(key, 4 + len, hash);

    return slot_get64(hash);
}


void
im_hash128(const void *data, size_t len, unsigned char out[16])
{
    uint64_t  h[2];

    lmmh_x64_128(data, (uint32_t) len, 0, h);

    slot_put64(out, h[0]);
    slot_put64(out + 8, h[1]);
}


static void
slot_put64(unsigned char *p, uint64_t v)
{
    int  i;

    for (i = 0; i < 8; i++) {
        p[i] = (unsigned char) (v >> (8 * i));
    }
}


static uint64_t
slot_get64(const unsigned char *p)
{
    int       i;
    uint64_t  v;

    v = 0;

    for (i = 7; i >= 0; i--) {
        v = v << 8 | p[i];
    }

    return v;
}
