/*
 * logic_calls.h -- the RPCs that Logic serves, and the pools that do the work.
 */

#ifndef LOGIC_CALLS_H
#define LOGIC_CALLS_H

#include "logic.h"

/* The pools. */
int logic_calls_start(void);
/* Listens at [rpc] listen; NULL if that cannot be. */
im_rpc_server_t *logic_calls_serve(im_rpc_t *rpc);
/* Finishes what is queued; after the server was drained. */
void logic_calls_stop(void);

#endif
