/*
 * logic_links.h -- the Exchange streams from all Connect instances.
 */

#ifndef LOGIC_LINKS_H
#define LOGIC_LINKS_H

#include "logic.h"

extern const im_rpc_stream_handler_t  logic_links_handler;

/* rpc thread. */
void *logic_links_accept(void *ctx, im_rpc_stream_t *s);

/* Any thread: tells every Connect instance to end a session's connections. */
void logic_links_end(uint64_t uid, const char *sid, const char *code,
    const char *message);

/* Any thread: to every Connect instance; one whose queue is full must link
 * anew.  Or to one: IM_DECLINED if it has no link to us, IM_BUSY if its queue
 * is full. */
void logic_links_send_all(const Im__DownItem *item);
int logic_links_send(const char *instance, const Im__DownItem *item);

unsigned logic_links_count(void);
/* Of them, those whose worker checks tokens with another key than ours. */
unsigned logic_links_other_keys(void);

#endif
