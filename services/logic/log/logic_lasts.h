/*
 * logic_lasts.h -- where conversations end, as far as MySQL knows.
 */

#ifndef LOGIC_LASTS_H
#define LOGIC_LASTS_H

#include "logic_ask.h"

/* Keys: conversations, (a, b).  Each is found: values[0] is the seq of the last
 * message, values[1] the last number that is written down as void; 0: none.
 * The next number has to be above both.  IM_ERROR: MySQL does not answer. */
int logic_lasts(im_mysql_t *mysql, logic_ask_t *asks, size_t n);

#endif
