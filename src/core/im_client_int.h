/*
 * im_client_int.h -- between the files of im_client.
 */

#ifndef IM_CLIENT_INT_H
#define IM_CLIENT_INT_H

#include "im_client.h"

/* Fills f->code and f->err.  IM_ERROR. */
int im_client_fail(im_client_frame_t *f, const char *code, const char *text);

/* The question whose frame this is, or NULL. */
const im_client_question_t *im_client_question_find(unsigned frame);
/* Decode a question into f.  IM_ERROR: f->err, and f->code or f->err.code. */
int im_client_question_json(im_client_frame_t *f,
    const im_client_question_t *q, im_str_t *json, im_json_mem_t *mem);
int im_client_question_proto(im_client_frame_t *f,
    const im_client_question_t *q, const im_str_t *bytes, im_json_mem_t *mem);

#endif
