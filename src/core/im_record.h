/*
 * im_record.h -- reads an im.Record (proto/stream.proto) where it lies.
 *
 * A record in Kafka is read by everybody who takes it, and few need more than
 * its numbers: nothing is allocated or copied.
 */

#ifndef IM_RECORD_H
#define IM_RECORD_H

#include "im_core.h"

typedef struct {
    uint64_t    conv_a;
    uint64_t    conv_b;
    uint64_t    seq;
    uint64_t    msg_id;
    uint64_t    from;
    uint64_t    time_ms;
    uint64_t    from_conn;
    uint64_t    removals;
    im_str_t    cmid;          /* both lie in the bytes that were read; data
                                  is never NULL */
    im_str_t    body;
} im_record_t;

/* IM_ERROR: these bytes are no record, as the library for protobuf sees it. */
int im_record_read(im_record_t *r, const unsigned char *data, size_t len);

#endif
