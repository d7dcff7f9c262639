/*
 * unit_json.h -- JSON decoded into a message, in memory of its own.
 */

#ifndef UNIT_JSON_H
#define UNIT_JSON_H

#include "unit.h"

#include "im_json.h"


typedef struct {
    im_str_t        input;
    unsigned char  *memory;
    im_json_mem_t   mem;
    uint64_t        seen;
    im_json_err_t   err;
} decode_t;


static inline int
decode(decode_t *d, ProtobufCMessage *msg, const char *json, size_t len)
{
    size_t  room;

    room = len + im_json_mem_extra(msg->descriptor, len);

    d->input = unit_exact(json, len);
    d->memory = malloc(room);
    d->mem.pos = d->memory;
    d->mem.end = d->memory + room;
    d->seen = 0;
    d->err.code = "none";
    d->err.text[0] = '\0';

    return im_json_decode(msg, &d->input, &d->mem, &d->seen, &d->err);
}


static inline void
done(decode_t *d)
{
    free(d->input.data);
    free(d->memory);
}

#endif
