/*
 * im_utf8.c -- UTF-8 validity (RFC 3629), eight ASCII bytes at a time.
 *
 * Room: core.
 */

#include <string.h>

#include "im_utf8.h"


int
im_utf8_check(const unsigned char *p, size_t len)
{
    uint64_t              w;
    unsigned              lo, hi, n;
    const unsigned char  *end;

    end = p + len;

    while (p < end) {

        if (*p < 0x80) {
            while (end - p >= 8) {
                memcpy(&w, p, 8);

                if (w & 0x8080808080808080ULL) {
                    break;
                }

                p += 8;
            }

            while (p < end && *p < 0x80) {
                p++;
            }

            continue;
        }

        lo = 0x80;
        hi = 0xbf;

        if (*p >= 0xc2 && *p <= 0xdf) {
            n = 1;

        } else if (*p >= 0xe0 && *p <= 0xef) {
            n = 2;
            lo = (*p == 0xe0) ? 0xa0 : 0x80;   /* overlong */
            hi = (*p == 0xed) ? 0x9f : 0xbf;   /* surrogates */

        } else if (*p >= 0xf0 && *p <= 0xf4) {
            n = 3;
            lo = (*p == 0xf0) ? 0x90 : 0x80;   /* overlong */
            hi = (*p == 0xf4) ? 0x8f : 0xbf;   /* above U+10FFFF */

        } else {
            return IM_ERROR;
        }

        if ((size_t) (end - p) <= n || p[1] < lo || p[1] > hi) {
            return IM_ERROR;
        }

        for (p += 2; --n > 0; p++) {
            if ((*p & 0xc0) != 0x80) {
                return IM_ERROR;
            }
        }
    }

    return IM_OK;
}
