/*
 * logic_conf.h -- configuration, as im_daemon_init wants it.
 */

#ifndef LOGIC_CONF_H
#define LOGIC_CONF_H

#include "logic.h"

extern const im_conf_key_t  logic_conf_keys[];

/* NULL, or what is wrong; loads the key of the tokens. */
const char *logic_conf_check(void *conf);

#endif
