/*
 * logic_presence.h -- which connection of a user is where, in Redis.
 */

#ifndef LOGIC_PRESENCE_H
#define LOGIC_PRESENCE_H

#include "logic_reply.h"

int logic_presence_start(unsigned queue_max);
void logic_presence_stop(void);

/* Any thread; the answer comes when Redis has it.  Each takes the reply. */
void logic_presence_open(logic_reply_t *reply, const char *instance,
    const Im__Open *open);
void logic_presence_close(logic_reply_t *reply, uint64_t uid);

/* 1 if Redis answered the last time. */
int logic_presence_healthy(void);

#endif
