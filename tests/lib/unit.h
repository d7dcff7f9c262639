/*
 * unit.h -- what every test program needs of cmocka, and exact copies.
 *
 * A parser is given its input in memory that ends where the input ends, so
 * that the sanitizer build sees each byte that is read beyond it.
 */

#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "im_core.h"

#define UNIT_N(array)  (sizeof(array) / sizeof((array)[0]))


/* The caller frees data, which is a valid pointer for len 0, too. */
static inline im_str_t
unit_exact(const void *data, size_t len)
{
    im_str_t  s;

    s.len = len;
    s.data = malloc(len ? len : 1);
    assert_non_null(s.data);

    if (len != 0) {
        memcpy(s.data, data, len);
    }

    return s;
}


static inline im_str_t
unit_str(const char *text)
{
    im_str_t  s;

    s.data = (unsigned char *) text;
    s.len = strlen(text);

    return s;
}

#endif
