/*
 * logic_alive.h -- which Connect instances are alive, by etcd.
 */

#ifndef LOGIC_ALIVE_H
#define LOGIC_ALIVE_H

#include "im_disc.h"

/* rpc thread, once. */
int logic_alive_start(im_disc_t *disc);
/* When the rpc thread runs no more. */
void logic_alive_stop(void);
/* Before start: called on the rpc thread, without a lock, for each instance
 * that has gone.  At most LOGIC_ALIVE_WATCHES. */
void logic_alive_watch(void (*gone)(const char *id));

#define LOGIC_ALIVE_WATCHES  4

/*
 * Any thread.  IM_OK: it is alive.  IM_DECLINED: it is dead, its entries in
 * Redis may be removed.  IM_AGAIN: unknown, but maybe only so young that the
 * watch has not reported it yet: its entries are ignored, and stay.
 */
int logic_alive(const char *id, size_t len);

#endif
