/*
 * logic_ids.c -- one snowflake for all shards: its clock is read once for a
 * batch.
 */

#include <pthread.h>

#include "im_clock.h"
#include "im_snowflake.h"
#include "logic_ids.h"


static pthread_mutex_t  ids_lock = PTHREAD_MUTEX_INITIALIZER;
static im_snowflake_t   ids_state;
static int              ids_node = -1;


void
logic_ids_set_node(int node, uint64_t floor_ms, uint64_t limit_ms)
{
    pthread_mutex_lock(&ids_lock);

    if (node >= 0) {
        im_snowflake_start(&ids_state, (unsigned) node, floor_ms,
                           limit_ms);
    }

    ids_node = node;

    pthread_mutex_unlock(&ids_lock);
}


void
logic_ids_set_limit(uint64_t limit_ms)
{
    pthread_mutex_lock(&ids_lock);
    im_snowflake_extend(&ids_state, limit_ms);
    pthread_mutex_unlock(&ids_lock);
}


uint64_t
logic_ids_minted_ms(void)
{
    uint64_t  ms;

    pthread_mutex_lock(&ids_lock);
    ms = im_snowflake_minted_ms(&ids_state);
    pthread_mutex_unlock(&ids_lock);

    return ms;
}


int
logic_ids_mint(logic_message_t **messages, size_t n)
{
    int               rc;
    size_t            i;
    uint64_t          now;
    logic_message_t  *m;

    now = im_now_ms();

    pthread_mutex_lock(&ids_lock);

    rc = (ids_node >= 0) ? IM_OK : IM_ERROR;

    for (i = 0; i < n && rc == IM_OK; i++) {
        m = messages[i];
        rc = im_snowflake_next(&ids_state, now, &m->seq.msg_id);
        m->time_ms = im_snowflake_time_ms(m->seq.msg_id);
    }

    pthread_mutex_unlock(&ids_lock);

    return rc;
}
