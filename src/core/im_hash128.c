/*
 * im_hash128.c -- see im_hash128.h.
 *
 * Room: core.
 */

#include <murmurhash.h>

#include "im_hash128.h"


void
im_hash128(const void *data, size_t len, unsigned char out[16])
{
    int       i;
    uint64_t  h[2];

    lmmh_x64_128(data, (uint32_t) len, 0, h);

    for (i = 0; i < 16; i++) {
        out[i] = (unsigned char) (h[i / 8] >> (8 * (i % 8)));
    }
}


uint64_t
im_hash64(const void *data, size_t len)
{
    uint64_t  h[2];

    lmmh_x64_128(data, (uint32_t) len, 0, h);

    return h[0];
}
