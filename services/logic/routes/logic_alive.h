/*
 * logic_alive.h -- which Connect instances are there, as etcd says.
 */

#ifndef LOGIC_ALIVE_H
#define LOGIC_ALIVE_H

#include "im_disc.h"

/* rpc thread, once. */
int logic_alive_start(im_disc_t *disc);
/* When the rpc thread runs no more. */
void logic_alive_stop(void);
/* Before start: told on the rpc thread, without a lock, of each instance that
 * has gone.  At most LOGIC_ALIVE_WATCHES. */
void logic_alive_watch(void (*gone)(const char *id));

#define LOGIC_ALIVE_WATCHES  4

/*
 * Any thread.  IM_OK: it is there.  IM_DECLINED: it is dead, what Redis says of
 * it may be removed.  IM_AGAIN: unknown, but maybe only so young that the watch
 * has not told yet: it counts for nothing and is left alone.
 */
int logic_alive(const char *id, size_t len);

#endif
