/*
 * im_utf8.h -- is it UTF-8?
 */

#ifndef IM_UTF8_H
#define IM_UTF8_H

#include "im_core.h"

/* IM_OK if the whole slice is valid UTF-8 (RFC 3629), else IM_ERROR. */
int im_utf8_check(const unsigned char *p, size_t len);

#endif
