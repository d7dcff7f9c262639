/*
 * im_probe_state.c -- see im_probe_state.h.
 */

#include <stdio.h>
#include <string.h>

#include "im_probe_state.h"
#include "im_timeouts.h"


static im_probe_change_t state_bad(im_probe_state_t *s, uint64_t now_ms,
    const char *error);
static void state_set(im_probe_state_t *s, im_probe_verdict_t verdict,
    uint64_t now_ms);


void
im_probe_state_init(im_probe_state_t *s, uint64_t now_ms)
{
    memset(s, 0, sizeof(*s));

    s->since_ms = now_ms;
    snprintf(s->error, sizeof(s->error), "not asked yet");
}


void
im_probe_state_begin(im_probe_state_t *s, uint64_t now_ms)
{
    s->looking = 1;
    s->late = 0;
    s->begun_ms = now_ms;
}


im_probe_change_t
im_probe_state_wait(im_probe_state_t *s, uint64_t now_ms)
{
    char  text[64];

    if (!s->looking || s->late
        || now_ms - s->begun_ms < IM_PROBE_DEADLINE_MS)
    {
        return IM_PROBE_SAME;
    }

    s->late = 1;

    snprintf(text, sizeof(text), "no answer in %d ms", IM_PROBE_DEADLINE_MS);

    /* when it was down already, the last error is more useful */

    return (s->verdict == IM_PROBE_DOWN) ? IM_PROBE_SAME
                                         : state_bad(s, now_ms, text);
}


void
im_probe_state_held(im_probe_state_t *s, uint64_t now_ms)
{
    if (s->looking && !s->late) {
        s->begun_ms = now_ms;
    }
}


im_probe_change_t
im_probe_state_end(im_probe_state_t *s, uint64_t now_ms, const char *error)
{
    char  text[64];

    s->looking = 0;

    if (error != NULL) {
        return state_bad(s, now_ms, error);
    }

    if (s->late) {
        snprintf(text, sizeof(text), "it answered after %llu ms",
                 (unsigned long long) (now_ms - s->begun_ms));
        return state_bad(s, now_ms, text);
    }

    s->error[0] = '\0';

    if (s->verdict == IM_PROBE_UP) {
        return IM_PROBE_SAME;
    }

    if (s->verdict == IM_PROBE_STARTING) {
        state_set(s, IM_PROBE_UP, now_ms);
        return IM_PROBE_SAME;          /* its absence was never logged */
    }

    state_set(s, IM_PROBE_UP, now_ms);

    return IM_PROBE_CAME;
}


static im_probe_change_t
state_bad(im_probe_state_t *s, uint64_t now_ms, const char *error)
{
    im_probe_change_t  change;

    if (s->verdict != IM_PROBE_DOWN) {
        change = IM_PROBE_WENT;
        state_set(s, IM_PROBE_DOWN, now_ms);

    } else {
        change = (strncmp(s->error, error, sizeof(s->error) - 1) != 0)
                 ? IM_PROBE_OTHER : IM_PROBE_SAME;
    }

    snprintf(s->error, sizeof(s->error), "%s", error);

    return change;
}


static void
state_set(im_probe_state_t *s, im_probe_verdict_t verdict, uint64_t now_ms)
{
    s->was_ms = now_ms - s->since_ms;
    s->since_ms = now_ms;
    s->verdict = verdict;
}


unsigned
im_probe_state_pause_ms(const im_probe_state_t *s)
{
    return (s->verdict == IM_PROBE_UP) ? IM_PROBE_EVERY_MS : IM_PROBE_AWAY_MS;
}
