/*
 * logic_links.h -- the Exchange streams from all Connect instances.
 */

#ifndef LOGIC_LINKS_H
#define LOGIC_LINKS_H

#include "im_rpc.h"


extern const im_rpc_stream_handler_t  logic_links_handler;

/* rpc thread. */
void *logic_links_accept(void *ctx, im_rpc_stream_t *s);

#endif
