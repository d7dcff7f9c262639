/*
 * im_keys.c -- see im_keys.h.
 *
 * Values are read as another version may have written them: a word that is
 * missing at the end is one of an older version, and what follows is ignored.
 *
 * Room: store.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_keys.h"


static int keys_word(im_str_t *word, const char **p, const char *end);


int
im_keys_route_read(im_keys_route_t *r, const char *value, size_t len)
{
    size_t       i;
    im_str_t     since;
    const char  *p, *end;

    p = value;
    end = value + len;

    memset(r, 0, sizeof(*r));

    if (keys_word(&r->instance, &p, end) != IM_OK
        || keys_word(&r->sid, &p, end) != IM_OK
        || keys_word(&r->device, &p, end) != IM_OK)
    {
        return IM_DECLINED;
    }

    if (keys_word(&since, &p, end) != IM_OK || since.len > 15) {
        return IM_OK;                  /* of an older Logic */
    }

    for (i = 0; i < since.len; i++) {
        if (since.data[i] < '0' || since.data[i] > '9') {
            r->since_ms = 0;
            return IM_OK;
        }

        r->since_ms = r->since_ms * 10 + (uint64_t) (since.data[i] - '0');
    }

    return IM_OK;
}


/* The next word; p moves behind the blank that ends it. */
static int
keys_word(im_str_t *word, const char **p, const char *end)
{
    const char  *blank;

    blank = memchr(*p, ' ', (size_t) (end - *p));
    if (blank == NULL) {
        blank = end;
    }

    if (blank == *p) {
        return IM_DECLINED;
    }

    word->data = (unsigned char *) *p;
    word->len = (size_t) (blank - *p);
    *p = (blank < end) ? blank + 1 : end;

    return IM_OK;
}


int
im_keys_route_write(char *value, size_t size, const im_keys_route_t *r)
{
    return snprintf(value, size, "%.*s %.*s %.*s %" PRIu64,
                    (int) r->instance.len, (char *) r->instance.data,
                    (int) r->sid.len, (char *) r->sid.data,
                    (int) r->device.len, (char *) r->device.data,
                    r->since_ms);
}


/* None of the three has a blank in it. */
int
im_keys_ticket_read(im_keys_ticket_t *t, const char *value, size_t len)
{
    int   n;
    char  copy[IM_KEYS_TICKET_MAX];

    _Static_assert(IM_SID_LEN == 22 && IM_DEVICE_MAX == 32,
                   "the widths below are others");

    if (len >= sizeof(copy)) {
        return IM_DECLINED;
    }

    memcpy(copy, value, len);
    copy[len] = '\0';
    n = 0;

    if (sscanf(copy, "%20" SCNu64 " %22s %32s%n", &t->uid, t->sid, t->device,
               &n) != 3
        || (size_t) n != len || strlen(t->sid) != IM_SID_LEN)
    {
        return IM_DECLINED;
    }

    return IM_OK;
}


void
im_keys_ticket_write(char value[IM_KEYS_TICKET_MAX],
    const im_keys_ticket_t *t)
{
    snprintf(value, IM_KEYS_TICKET_MAX, "%" PRIu64 " %s %s", t->uid, t->sid,
             t->device);
}


int
im_keys_pair_read(const char *value, uint64_t *one, uint64_t *other)
{
    return sscanf(value, "%" SCNu64 " %" SCNu64, one, other) == 2
           ? IM_OK : IM_DECLINED;
}


void
im_keys_pair_write(char value[IM_KEYS_PAIR_MAX], uint64_t one, uint64_t other)
{
    snprintf(value, IM_KEYS_PAIR_MAX, "%" PRIu64 " %" PRIu64, one, other);
}


char *
im_keys_number_write(char *start, char *p, uint64_t n)
{
    return p + snprintf(p, IM_KEYS_NUMBER_MAX + 1,
                        (p == start) ? "%" PRIu64 : " %" PRIu64, n);
}


int
im_keys_groups_read(const char *value, size_t len,
    void (*on_group)(void *ctx, uint64_t room), void *ctx)
{
    char      *end;
    uint64_t   room;

    if (strspn(value, "0123456789 ") != len || value[0] < '0') {
        return IM_DECLINED;
    }

    for ( ;; ) {
        room = strtoull(value, &end, 10);

        if (room != 0) {
            on_group(ctx, room);
        }

        if (end == value || *end == '\0') {
            return IM_OK;
        }

        value = end;
    }
}


int
im_keys_removals_read(const char *value, uint64_t *last, uint64_t *uids,
    size_t *n)
{
    char    *end;
    size_t   max;

    max = *n;
    *n = 0;

    if (value[0] < '0' || value[0] > '9') {
        return IM_DECLINED;
    }

    *last = strtoull(value, &end, 10);

    while (*end == ' ' && *n < max) {
        uids[(*n)++] = strtoull(end, &end, 10);
    }

    return IM_OK;
}
