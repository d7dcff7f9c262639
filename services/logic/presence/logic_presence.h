/*
 * logic_presence.h -- the connections of each user, in Redis, and notifications
 * when users come and go.
 */

#ifndef LOGIC_PRESENCE_H
#define LOGIC_PRESENCE_H

#include "logic_db.h"
#include "logic_reply.h"

/* IM_ERROR also when the policy of devices is unknown. */
int logic_presence_start(unsigned queue_max);
void logic_presence_stop(void);

/* Any thread; the answer comes when Redis has it.  Each takes the reply. */
void logic_presence_open(logic_reply_t *reply, const char *instance,
    const Im__Open *open);
void logic_presence_close(logic_reply_t *reply, uint64_t uid);
/* A worker has connected: it gets what it must know.  Takes the reply. */
void logic_presence_hello(logic_reply_t *reply);

#endif
