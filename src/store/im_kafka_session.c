/*
 * im_kafka_session.c -- how long a member of a consumer group may be silent.
 *
 * A short session replaces a dead member soon, and excludes one that was only
 * held up for as long: its process, its machine or the broker stood still.
 * Each time that costs a rebalance of all members.  So a member that was
 * excluded, and that a longer session would have kept, asks for that for some
 * minutes.  Who was away for longer than that, as after a broker was killed,
 * gains nothing by it, and would be waited for longer when it dies.
 *
 *     lost --> IM_KAFKA_SESSION_SAFE_MS --> assigned in time: for 3 minutes
 *                  |                              |
 *                  | not assigned in time         |
 *                  +-----------> the usual one <--+
 *
 * Pure: time comes as an argument.
 *
 * Room: store.
 */

#include "im_kafka_int.h"


unsigned
im_kafka_session_ms(const im_kafka_session_t *s, uint64_t now_ms)
{
    return (now_ms < s->long_until_ms && s->usual_ms < s->long_ms)
           ? s->long_ms : s->usual_ms;
}


/* A poll takes no longer than its caller waits, unless we stood still.  A
 * broker that does not answer is silent for a session when it is noticed. */
void
im_kafka_session_lost(im_kafka_session_t *s, uint64_t now_ms)
{
    uint64_t  silent_ms;

    silent_ms = now_ms - s->polled_ms;

    if (silent_ms < s->now_ms) {
        silent_ms = s->now_ms;
    }

    s->is_away = 1;
    s->long_until_ms = now_ms - silent_ms + s->long_ms;
}


/* Members that were lost together do not return together: some is of chance. */
void
im_kafka_session_assigned(im_kafka_session_t *s, uint64_t now_ms,
    unsigned some)
{
    if (s->is_away && now_ms < s->long_until_ms) {
        s->long_until_ms = now_ms + IM_KAFKA_SESSION_LONG_MS
                           + some % (IM_KAFKA_SESSION_LONG_MS / 3);
    }

    s->is_away = 0;
}
