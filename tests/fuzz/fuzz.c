/*
 * fuzz.c -- the table of targets, and what they share.
 *
 * The log of the daemons is replaced: a line is made, because text of others is
 * in it, and dropped, because millions of them are.
 */

#include <stdarg.h>

#include "fuzz.h"
#include "im_log.h"


static void fuzz_line(const char *fmt, va_list args);


const fuzz_target_t  fuzz_targets[] = {
    { "ws", fuzz_ws },
    { "json", fuzz_json },
    { "proto", fuzz_proto },
    { "jwt", fuzz_jwt },
    { "body", fuzz_body },
    { "stream", fuzz_stream },
    { "record", fuzz_record },
    { "etcd", fuzz_etcd },
    { "ini", fuzz_ini },
    { NULL, NULL }
};


void *
fuzz_alloc(size_t size)
{
    void  *p;

    p = malloc(size ? size : 1);
    FUZZ_CHECK(p != NULL);

    return p;
}


im_str_t
fuzz_exact(const void *data, size_t size)
{
    im_str_t  s;

    s.len = size;
    s.data = fuzz_alloc(size);

    if (size != 0) {
        memcpy(s.data, data, size);
    }

    return s;
}


im_str_t
fuzz_pack(const ProtobufCMessage *m)
{
    im_str_t  s;

    s.len = protobuf_c_message_get_packed_size(m);
    s.data = fuzz_alloc(s.len);
    FUZZ_CHECK(protobuf_c_message_pack(m, s.data) == s.len);

    return s;
}


void
fuzz_check_packs(const ProtobufCMessage *m)
{
    im_str_t           first, second;
    ProtobufCMessage  *copy;

    if (fuzz_has_unknown(m)) {
        return;
    }

    first = fuzz_pack(m);
    copy = protobuf_c_message_unpack(m->descriptor, NULL, first.len,
                                     first.data);
    FUZZ_CHECK(copy != NULL);

    second = fuzz_pack(copy);
    FUZZ_CHECK(first.len == second.len
               && memcmp(first.data, second.data, first.len) == 0);

    protobuf_c_message_free_unpacked(copy, NULL);
    free(first.data);
    free(second.data);
}


int
fuzz_has_unknown(const ProtobufCMessage *m)
{
    size_t                           k, n;
    unsigned                         i;
    const char                      *p;
    ProtobufCMessage *const         *items;
    const ProtobufCFieldDescriptor  *f;

    if (m->n_unknown_fields > 0) {
        return 1;
    }

    for (i = 0; i < m->descriptor->n_fields; i++) {
        f = &m->descriptor->fields[i];
        p = (const char *) m;

        if (f->type != PROTOBUF_C_TYPE_MESSAGE) {
            continue;
        }

        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            n = *(const size_t *) (p + f->quantifier_offset);
            items = *(ProtobufCMessage *const *const *) (p + f->offset);

        } else {
            n = !(f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
                || *(const uint32_t *) (p + f->quantifier_offset) == f->id;
            items = (ProtobufCMessage *const *) (p + f->offset);
        }

        for (k = 0; k < n; k++) {
            if (items[k] != NULL && fuzz_has_unknown(items[k])) {
                return 1;
            }
        }
    }

    return 0;
}


static void
fuzz_line(const char *fmt, va_list args)
{
    char  line[1024];

    vsnprintf(line, sizeof(line), fmt, args);
}


int
im_log_set_level(const char *name)
{
    (void) name;

    return IM_OK;
}


void
im_log(int level, const char *fmt, ...)
{
    va_list  args;

    (void) level;

    va_start(args, fmt);
    fuzz_line(fmt, args);
    va_end(args);
}


void
im_log_seldom(im_log_seldom_t *s, int level, const char *fmt, ...)
{
    va_list  args;

    (void) s;
    (void) level;

    va_start(args, fmt);
    fuzz_line(fmt, args);
    va_end(args);
}


void
im_log_lower(void *ctx, int level, const char *msg)
{
    (void) ctx;
    (void) level;
    (void) msg;
}
