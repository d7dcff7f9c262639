/*
 * im_wire.h -- the fields of a packed protobuf message, one after another.
 *
 * A reader without allocation, for what a client sends: bytes of a field point
 * into the message, and a string is copied to the caller's memory.  Fields come
 * in any order and number; of those with one number the last one counts, as in
 * protobuf.
 *
 * Room: core.
 */

#ifndef IM_WIRE_H
#define IM_WIRE_H

#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "im_core.h"
#include "im_json.h"

/* Wire types, developers.google.com/protocol-buffers/docs/encoding. */
#define IM_WIRE_VARINT  0
#define IM_WIRE_64      1
#define IM_WIRE_LEN     2
#define IM_WIRE_32      5

/* What is left of a message. */
typedef struct {
    const unsigned char  *p;
    const unsigned char  *end;
} im_wire_t;

typedef struct {
    unsigned   field;
    unsigned   type;
    uint64_t   varint;             /* of IM_WIRE_VARINT only */
    im_str_t   bytes;              /* of the other types */
} im_wire_field_t;

/* The next field; w->p < w->end.  IM_ERROR: malformed. */
int im_wire_next(im_wire_t *w, im_wire_field_t *field);
/* Copies a string, with a NUL at its end.  IM_ERROR: it is not UTF-8, has a NUL
 * in it, or mem is full. */
int im_wire_text(const im_str_t *bytes, im_json_mem_t *mem, char **out);
/* The last varint of this field in a packed message.  IM_DECLINED: none. */
int im_wire_find(const im_str_t *bytes, unsigned field, uint64_t *value);
/* Name of a required field that a packed message, or one in a list of it, does
 * not have; NULL: of none. */
const char *im_wire_missing(const im_str_t *bytes,
    const ProtobufCMessageDescriptor *d);

#endif
