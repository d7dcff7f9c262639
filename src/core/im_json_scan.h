/*
 * im_json_scan.h -- the scanner, and the fields (im_json_field.c), for
 * im_json_decode.c.
 *
 * A scan is at s->p.  Each function moves it over the thing that it names.  On
 * an error it leaves it at the place of the error, fills s->err and returns
 * IM_ERROR.
 */

#ifndef IM_JSON_SCAN_H
#define IM_JSON_SCAN_H

#include "im_json.h"

typedef struct {
    const unsigned char  *start;
    const unsigned char  *p;
    const unsigned char  *end;
    im_json_err_t        *err;
    unsigned              any_number;  /* also out of a double's range */
    unsigned              types;       /* how often "type" was given */
} im_json_scan_t;

void im_json_scan_init(im_json_scan_t *s, const im_str_t *json,
    im_json_err_t *err);

/* Over blanks. */
void im_json_space(im_json_scan_t *s);
/* Over any value; depth: objects and arrays around it. */
int im_json_skip_value(im_json_scan_t *s, unsigned depth);
/* Over a number; bad_field if common parsers could not read it. */
int im_json_skip_number(im_json_scan_t *s);
/* Over a string; raw: what is between the quotes, as written. */
int im_json_skip_string(im_json_scan_t *s, im_str_t *raw, int *escaped);
/*
 * The text of a raw string that im_json_skip_string() found, with a NUL, in
 * mem.  IM_ERROR if mem is too small.
 */
int im_json_unescape(const im_str_t *raw, im_json_mem_t *mem, char **out,
    size_t *len);
/* Fills s->err: what was expected at the place of the scan.  IM_ERROR. */
int im_json_syntax(im_json_scan_t *s, const char *what);
/* Fills err.  IM_ERROR. */
int im_json_fail(im_json_err_t *err, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Decimal digits, all of text; *value is left alone on IM_ERROR. */
int im_json_number(const im_str_t *text, uint64_t max, uint64_t *value);
/* IM_DECLINED: a client may set no field of this name. */
int im_json_find(const ProtobufCMessage *msg, const char *name, size_t len,
    unsigned *index);
/* Marks it as seen; IM_ERROR if it was. */
int im_json_mark(const ProtobufCMessage *msg, unsigned index, uint64_t *seen,
    im_json_err_t *err);
/* A value as written (a string: between the quotes) to a field's place, or to
 * that of an item of it. */
int im_json_store(const ProtobufCFieldDescriptor *f, void *at,
    const im_str_t *raw, int is_string, im_json_mem_t *mem,
    im_json_err_t *err);
void im_json_set_has(ProtobufCMessage *msg,
    const ProtobufCFieldDescriptor *f);
/* Of an array's item, in the array. */
size_t im_json_item_size(const ProtobufCFieldDescriptor *f);

#endif
