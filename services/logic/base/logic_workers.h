/*
 * logic_workers.h -- the streams from all Connect instances, and what is sent
 * down them.
 *
 * A stream belongs to logic_links.c, which adds it when it is opened and
 * removes it before it ends.
 */

#ifndef LOGIC_WORKERS_H
#define LOGIC_WORKERS_H

#include "im_arena.h"
#include "im_rpc.h"
#include "logic.pb-c.h"

typedef struct logic_worker_s  logic_worker_t;

struct logic_worker_s {
    im_rpc_stream_t  *stream;
    logic_worker_t   *next;
    im_arena_t        arena;           /* of a batch that is being read */
    int               key_differs;     /* of the tokens */
    char              instance[160];
};

/* rpc thread; the worker is zeroed but for its stream and its arena. */
void logic_workers_add(logic_worker_t *w);
void logic_workers_name(logic_worker_t *w, const char *instance);
void logic_workers_key_differs(logic_worker_t *w);
/* It is the caller's again. */
void logic_workers_remove(logic_worker_t *w);

/* Any thread: has every Connect instance end a session's connections. */
void logic_workers_end(uint64_t uid, const char *sid, const char *code,
    const char *message);

/* Any thread: to every Connect instance; one whose queue is full must link
 * anew.  Or to one: IM_DECLINED if it has no link to us, IM_BUSY if its queue
 * is full. */
void logic_workers_send_all(const Im__DownItem *item);
int logic_workers_send(const char *instance, const Im__DownItem *item);

unsigned logic_workers_count(void);
/* Of them, those whose worker checks tokens with another key than ours. */
unsigned logic_workers_other_keys(void);

#endif
