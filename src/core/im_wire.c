/*
 * im_wire.c -- the fields of a packed protobuf message (im_wire.h).
 *
 * Nothing is believed: lengths are compared with what is left of the message,
 * and a varint has at most 64 bits.  Groups, which proto3 does not have, are
 * malformed here.
 *
 * Room: core.
 */

#include <string.h>

#include "im_utf8.h"
#include "im_wire.h"


static int wire_varint(im_wire_t *w, uint64_t *value);


int
im_wire_next(im_wire_t *w, im_wire_field_t *field)
{
    uint64_t  tag, len;

    if (wire_varint(w, &tag) != IM_OK || tag >> 32 || tag >> 3 == 0) {
        return IM_ERROR;
    }

    field->field = (unsigned) (tag >> 3);
    field->type = (unsigned) (tag & 7);
    len = 0;

    switch (field->type) {

    case IM_WIRE_VARINT:
        return wire_varint(w, &field->varint);

    case IM_WIRE_64:
        len = 8;
        break;

    case IM_WIRE_32:
        len = 4;
        break;

    case IM_WIRE_LEN:
        if (wire_varint(w, &len) != IM_OK) {
            return IM_ERROR;
        }

        break;

    default:
        return IM_ERROR;
    }

    if (len > (uint64_t) (w->end - w->p)) {
        return IM_ERROR;
    }

    field->bytes.data = (unsigned char *) w->p;
    field->bytes.len = (size_t) len;
    w->p += len;

    return IM_OK;
}


static int
wire_varint(im_wire_t *w, uint64_t *value)
{
    unsigned       shift;
    unsigned char  b;

    *value = 0;

    for (shift = 0; shift < 70; shift += 7) {

        if (w->p == w->end) {
            return IM_ERROR;
        }

        b = *w->p++;

        if (shift == 63 && b > 1) {
            return IM_ERROR;
        }

        *value |= (uint64_t) (b & 0x7f) << shift;

        if (!(b & 0x80)) {
            return IM_OK;
        }
    }

    return IM_ERROR;
}


int
im_wire_text(const im_str_t *bytes, im_json_mem_t *mem, char **out)
{
    if ((size_t) (mem->end - mem->pos) < bytes->len + 1
        || im_utf8_check(bytes->data, bytes->len) != IM_OK
        || (bytes->len != 0 && memchr(bytes->data, 0, bytes->len) != NULL))
    {
        return IM_ERROR;
    }

    *out = (char *) mem->pos;

    if (bytes->len != 0) {
        memcpy(mem->pos, bytes->data, bytes->len);
    }

    mem->pos[bytes->len] = '\0';
    mem->pos += bytes->len + 1;

    return IM_OK;
}


int
im_wire_find(const im_str_t *bytes, unsigned field, uint64_t *value)
{
    int              rc;
    im_wire_t        w;
    im_wire_field_t  v;

    rc = IM_DECLINED;
    w.p = bytes->data;
    w.end = bytes->data + bytes->len;

    while (w.p < w.end && im_wire_next(&w, &v) == IM_OK) {
        if (v.field == field && v.type == IM_WIRE_VARINT) {
            *value = v.varint;
            rc = IM_OK;
        }
    }

    return rc;
}


const char *
im_wire_missing(const im_str_t *bytes, const ProtobufCMessageDescriptor *d)
{
    uint64_t                         value;
    unsigned                         i;
    const char                      *name;
    im_wire_t                        w;
    im_wire_field_t                  v;
    const ProtobufCFieldDescriptor  *f;

    name = NULL;
    w.p = bytes->data;
    w.end = bytes->data + bytes->len;

    while (w.p < w.end) {

        if (im_wire_next(&w, &v) != IM_OK) {
            return NULL;               /* worse than that */
        }

        f = protobuf_c_message_descriptor_get_field(d, v.field);

        if (name == NULL && f != NULL && v.type == IM_WIRE_LEN
            && f->label == PROTOBUF_C_LABEL_REPEATED
            && f->type == PROTOBUF_C_TYPE_MESSAGE)
        {
            name = im_wire_missing(&v.bytes, f->descriptor);
        }
    }

    for (i = 0; i < d->n_fields && name == NULL; i++) {
        f = &d->fields[i];

        if (f->label == PROTOBUF_C_LABEL_REQUIRED
            && im_wire_find(bytes, f->id, &value) != IM_OK)
        {
            name = f->name;            /* those of a client are all numbers */
        }
    }

    return name;
}
