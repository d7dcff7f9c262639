/*
 * unit_client.h -- a frame of a client, decoded from memory of its own.
 */

#ifndef UNIT_CLIENT_H
#define UNIT_CLIENT_H

#include "unit.h"

#include "im_client.h"


typedef struct {
    im_client_frame_t   f;
    im_str_t            input;
    unsigned char      *memory;
} decode_t;


static inline int
decode(decode_t *d, im_encoding_t encoding, const void *data, size_t len)
{
    size_t         room;
    im_json_mem_t  mem;

    room = len + im_client_mem_extra();

    d->input = unit_exact(data, len);
    d->memory = malloc(room);
    mem.pos = d->memory;
    mem.end = d->memory + room;

    return im_client_decode(&d->f, encoding, &d->input, &mem);
}


static inline int
decode_json(decode_t *d, const char *json)
{
    return decode(d, IM_ENCODING_JSON, json, strlen(json));
}


static inline void
done(decode_t *d)
{
    free(d->input.data);
    free(d->memory);
}

#endif
