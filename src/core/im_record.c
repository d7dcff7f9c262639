/*
 * im_record.c -- see im_record.h.
 *
 * A field that came twice counts the second time, one that is not known is
 * stepped over, and one of the wrong wire type spoils the record: all as
 * protobuf_c_message_unpack() does it, which this is tried against.
 *
 * Room: core.
 */

#include <string.h>

#include "im_record.h"


#define RECORD_VARINT     0            /* wire types */
#define RECORD_64         1
#define RECORD_BYTES      2
#define RECORD_32         5

#define RECORD_TAG_MAX    5            /* bytes of these varints */
#define RECORD_LEN_MAX    5
#define RECORD_NUM_MAX    10

#define RECORD_CMID       8            /* fields that are no numbers */
#define RECORD_BODY       9


typedef struct {
    const unsigned char  *p;
    const unsigned char  *end;
} record_in_t;


static int record_field(im_record_t *r, record_in_t *in, unsigned field,
    unsigned type);
static int record_number(record_in_t *in, uint64_t *value);
static int record_bytes(record_in_t *in, im_str_t *bytes);
static int record_string(record_in_t *in, im_str_t *text);
static int record_skip(record_in_t *in, size_t n);
static int record_varint(record_in_t *in, unsigned max, uint64_t *value);


int
im_record_read(im_record_t *r, const unsigned char *data, size_t len)
{
    uint64_t     tag;
    record_in_t  in = { data, data + len };

    memset(r, 0, sizeof(im_record_t));
    r->cmid.data = (unsigned char *) "";
    r->body.data = (unsigned char *) "";

    while (in.p < in.end) {

        if ((*in.p & 0xf8) == 0        /* no field has the number 0 */
            || record_varint(&in, RECORD_TAG_MAX, &tag) != IM_OK
            || record_field(r, &in, (unsigned) (tag >> 3),
                            (unsigned) (tag & 7)) != IM_OK)
        {
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
record_field(im_record_t *r, record_in_t *in, unsigned field, unsigned type)
{
    uint64_t  number, *value;
    im_str_t  bytes, *text;

    uint64_t *const  numbers[] = {
        NULL, &r->conv_a, &r->conv_b, &r->seq, &r->msg_id, &r->from,
        &r->time_ms, &r->from_conn, NULL, NULL, &r->removals
    };

    value = (field < sizeof(numbers) / sizeof(numbers[0])) ? numbers[field]
                                                           : NULL;
    text = (field == RECORD_CMID) ? &r->cmid
           : (field == RECORD_BODY) ? &r->body : NULL;

    switch (type) {

    case RECORD_VARINT:
        return (text != NULL) ? IM_ERROR
               : record_number(in, (value != NULL) ? value : &number);

    case RECORD_BYTES:
        return (value != NULL) ? IM_ERROR
               : (text == &r->cmid) ? record_string(in, text)
               : record_bytes(in, (text != NULL) ? text : &bytes);

    case RECORD_64:
    case RECORD_32:
        return (value != NULL || text != NULL) ? IM_ERROR
               : record_skip(in, (type == RECORD_64) ? 8 : 4);

    default:
        return IM_ERROR;               /* groups, and what is none */
    }
}


static int
record_number(record_in_t *in, uint64_t *value)
{
    return record_varint(in, RECORD_NUM_MAX, value);
}


static int
record_bytes(record_in_t *in, im_str_t *bytes)
{
    uint64_t  len;

    if (record_varint(in, RECORD_LEN_MAX, &len) != IM_OK
        || len > (uint64_t) (in->end - in->p))
    {
        return IM_ERROR;
    }

    bytes->data = (unsigned char *) in->p;
    bytes->len = (size_t) len;
    in->p += len;

    return IM_OK;
}


/* A string of C, as the library makes it: it ends at a zero. */
static int
record_string(record_in_t *in, im_str_t *text)
{
    if (record_bytes(in, text) != IM_OK) {
        return IM_ERROR;
    }

    text->len = strnlen((char *) text->data, text->len);

    return IM_OK;
}


static int
record_skip(record_in_t *in, size_t n)
{
    if ((size_t) (in->end - in->p) < n) {
        return IM_ERROR;
    }

    in->p += n;

    return IM_OK;
}


/* Of 10 bytes only the lowest 64 bits count. */
static int
record_varint(record_in_t *in, unsigned max, uint64_t *value)
{
    uint64_t  v;
    unsigned  i;

    v = 0;

    for (i = 0; i < max && in->p < in->end; i++) {
        v |= (uint64_t) (*in->p & 0x7f) << (7 * i);

        if ((*in->p++ & 0x80) == 0) {
            *value = v;
            return IM_OK;
        }
    }

    return IM_ERROR;
}
