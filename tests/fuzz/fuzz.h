/*
 * fuzz.h -- what the fuzz targets share.
 *
 * A target is a function that is given any bytes and checks what must hold for
 * them.  What does not hold ends the process, so that libFuzzer keeps the
 * input; the unit tests give the same functions the files of corpus/.
 * A target keeps nothing from one input to the next.
 */

#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "im_core.h"

#define FUZZ_CHECK(what)                                                      \
    do {                                                                      \
        if (!(what)) {                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
                    #what);                                                   \
            abort();                                                          \
        }                                                                     \
    } while (0)

typedef struct {
    const char  *name;                 /* of its folder in corpus/ */
    void       (*run)(const uint8_t *data, size_t size);
} fuzz_target_t;

/* The last one has no name. */
extern const fuzz_target_t  fuzz_targets[];

void fuzz_ws(const uint8_t *data, size_t size);
void fuzz_json(const uint8_t *data, size_t size);
void fuzz_proto(const uint8_t *data, size_t size);
void fuzz_jwt(const uint8_t *data, size_t size);
void fuzz_body(const uint8_t *data, size_t size);
void fuzz_stream(const uint8_t *data, size_t size);
void fuzz_record(const uint8_t *data, size_t size);
void fuzz_etcd(const uint8_t *data, size_t size);
void fuzz_ini(const uint8_t *data, size_t size);

/* malloc() that ends the process when memory is short; never NULL. */
void *fuzz_alloc(size_t size);

/* Memory that ends where the data ends, so that a sanitizer sees each byte that
 * is read beyond it.  The caller frees data, which is never NULL. */
im_str_t fuzz_exact(const void *data, size_t size);

/* The message packed, to be freed like that. */
im_str_t fuzz_pack(const ProtobufCMessage *m);

/* 1: there are fields in it, or in a message of it, that have no name. */
int fuzz_has_unknown(const ProtobufCMessage *m);

/* Packed, unpacked and packed again it is the same bytes; unless it has unknown
 * fields, which no tier hands on, and protobuf-c packs even with number 0. */
void fuzz_check_packs(const ProtobufCMessage *m);

#endif
