/*
 * logic_calls.h -- the RPCs that Logic serves, and the pools that do the work.
 */

#ifndef LOGIC_CALLS_H
#define LOGIC_CALLS_H

#include "im_rpc.h"

/* The pools: their memory, which the rpc thread needs until it ends. */
int logic_calls_create(void);
void logic_calls_destroy(void);
/* Their threads. */
int logic_calls_start(void);
/* Refuses what is queued, ends what runs; after the server was drained. */
void logic_calls_stop(void);
/* Listens at [rpc] listen; NULL if that cannot be. */
im_rpc_server_t *logic_calls_serve(im_rpc_t *rpc);

#endif
