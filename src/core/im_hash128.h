/*
 * im_hash128.h -- MurmurHash3_x64_128 (A. Appleby, 2011), with seed 0.
 *
 * For places in tables and for equality of what nobody forges: it is no
 * cryptographic hash.
 */

#ifndef IM_HASH128_H
#define IM_HASH128_H

#include "im_core.h"

/* 16 bytes to out, the same on machines of either byte order. */
void im_hash128(const void *data, size_t len, unsigned char out[16]);
/* The first half of it, as a number. */
uint64_t im_hash64(const void *data, size_t len);

#endif
