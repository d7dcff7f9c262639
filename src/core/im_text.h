/*
 * im_text.h -- escapes text of others for logs; checks names of instances.
 */

#ifndef IM_TEXT_H
#define IM_TEXT_H

#include "im_core.h"

#define IM_NAME_MAX  128           /* bytes of a name of an instance */

/*
 * Writes text so that it fits on one line of a log and cannot act on a
 * terminal: bytes of control characters and invalid UTF-8 become \xNN.  Writes
 * at most size - 1 bytes and a NUL; a longer text is cut between characters.
 * Returns the length.  size > 0.
 */
size_t im_text_print(char *out, size_t size, const char *text, size_t len);

/* 1: 1 to IM_NAME_MAX bytes of A-Z a-z 0-9 . _ - */
int im_text_is_name(const char *s, size_t len);

#endif
