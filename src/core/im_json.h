/*
 * im_json.h -- JSON <-> protobuf-c, through the descriptors, in one pass.
 *
 * The reader is a slice scanner: no tree, no allocation for what it skips.
 * It validates all of RFC 8259 (and UTF-8, lone surrogates, depth, duplicate
 * keys of the object that it fills) while it writes straight into a message.
 * Numbers are those that common parsers can read, too: in the range of a
 * double (RFC 7493 section 2.2), and of 40 characters at most.
 * Mapping: proto/client.proto.  A `bytes` field takes any JSON value as a raw
 * slice.  Unknown keys are validated and skipped.  A `repeated` field of
 * messages, uint64 or strings takes an array.  A message field that is not
 * repeated cannot be set from JSON (the edge sets it), only read.
 */

#ifndef IM_JSON_H
#define IM_JSON_H

#include <protobuf-c/protobuf-c.h>

#include "im_core.h"

#define IM_JSON_DEPTH_MAX  32       /* of a value in an object */
#define IM_JSON_NUMBER_MAX 40       /* characters */
#define IM_JSON_FIELDS_MAX 64
#define IM_JSON_ITEMS_MAX  1000     /* of one array of ours */

/*
 * Memory for decoded strings and arrays comes from the caller, bump style: a
 * JSON string is never longer decoded than written, plus its NUL;
 * im_json_mem_extra() is what lists and the rest need besides.  A value that
 * does not fit is refused as too_large.  Slices of `bytes` fields point into
 * the input.
 */
typedef struct {
    unsigned char *pos;
    unsigned char *end;
} im_json_mem_t;

typedef struct {
    const char    *code;        /* stable: bad_json, bad_field, ... */
    char           text[128];   /* for people: the error and its place */
} im_json_err_t;

/* Aligned memory, or NULL if it is used up. */
void *im_json_mem_take(im_json_mem_t *mem, size_t size);

/* Bytes that len bytes of JSON may need beyond len to fill a message of this
 * type; SIZE_MAX: of any length.  At most 256 KB. */
size_t im_json_mem_extra(const ProtobufCMessageDescriptor *d, size_t len);

/*
 * Decodes one JSON object into *msg, which must have been initialised by the
 * generated ..._init function.  A key may be present in the message already
 * (set by im_json_set): then it is a duplicate.  `seen` is a bit for each
 * field index of the descriptor that was set; may start non-zero.
 * IM_OK, or IM_ERROR with err filled.  Required fields are checked here only
 * for messages in arrays.
 *
 * The message must not be given to protobuf_c_message_free_unpacked: its
 * strings and bytes live in mem and in the input.
 */
int im_json_decode(ProtobufCMessage *msg, im_str_t *json, im_json_mem_t *mem,
    uint64_t *seen, im_json_err_t *err);

/* Sets one scalar field from text (query argument, capture).  IM_DECLINED:
 * there is no such field, or it is a message. */
int im_json_set(ProtobufCMessage *msg, const im_str_t *name,
    const im_str_t *value, im_json_mem_t *mem, uint64_t *seen,
    im_json_err_t *err);

/* IM_ERROR, and err names it, if a required field other than a message is not
 * in seen. */
int im_json_check_required(const ProtobufCMessage *msg, uint64_t seen,
    im_json_err_t *err);

/* Top-level string member `name` of a JSON object; validates nothing else.
 * IM_OK: *value is the raw slice between the quotes (unescaped only if it
 * contains no backslash, else IM_ERROR).  IM_DECLINED: not there. */
int im_json_peek(const im_str_t *json, const char *name, im_str_t *value);

/* The same for a whole number, with or without quotes.  IM_OK only if it is
 * one. */
int im_json_peek_number(const im_str_t *json, const char *name,
    uint64_t *value);

/* IM_OK if the slice is exactly one JSON value. */
int im_json_valid(const im_str_t *json, im_json_err_t *err);

/*
 * Encodes msg as a JSON object.  proto2 fields are written when set, proto3
 * fields when not default, repeated as arrays, messages as objects.  Returns
 * the length; writes nothing beyond cap, so a first call with cap 0 sizes the
 * buffer.  type: if not NULL, written first as "type":"<type>".
 */
size_t im_json_encode(const ProtobufCMessage *msg, const char *type,
    unsigned char *out, size_t cap);

/* Upper bound, cheap, of what im_json_encode will write. */
size_t im_json_encode_max(const ProtobufCMessage *msg, const char *type);

#endif
