/*
 * logic_rooms_trim.h -- rows of live rooms without history are deleted when
 * nobody can ask for them any more.
 */

#ifndef LOGIC_ROOMS_TRIM_H
#define LOGIC_ROOMS_TRIM_H

#include "logic_conf.h"

/* After logic_owner_start, or soon before. */
int logic_rooms_trim_start(void);
void logic_rooms_trim_stop(void);

/* NULL, or what is wrong with [rooms] live_keep_s. */
const char *logic_rooms_trim_check(const logic_conf_t *conf);

#endif
