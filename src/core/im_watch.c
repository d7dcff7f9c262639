/*
 * im_watch.c -- see im_watch.h.
 *
 * Room: core.
 */

#include "im_watch.h"


int
im_watch_event(im_watch_t *w, uint64_t version, uint32_t value)
{
    if (version != 0) {

        if (version < w->version) {
            return IM_DECLINED;
        }

        w->version = version;
    }

    if (w->known && !w->differs && w->value == value) {
        return IM_DONE;
    }

    w->value = value;
    w->known = 1;
    w->differs = 0;

    return IM_OK;
}


void
im_watch_missed(im_watch_t *w)
{
    w->differs = 1;
}


/* The first value is not sent to the others: each that has subscribed while
 * nothing was known still gets an answer of its own. */
int
im_watch_answer(im_watch_t *w, uint64_t version, uint32_t *value)
{
    int  rc, first;

    first = !w->known;
    rc = im_watch_event(w, version, *value);

    if (rc == IM_DECLINED) {
        *value = w->value;
        return IM_DECLINED;
    }

    return first ? IM_DONE : rc;
}


int
im_watch_given(im_watch_t *w, uint32_t value)
{
    if (w->known && w->value == value) {
        return w->differs ? IM_AGAIN : IM_DONE;
    }

    w->differs = 1;

    return IM_AGAIN;
}


void
im_watch_reset(im_watch_t *w)
{
    w->version = 0;
}
