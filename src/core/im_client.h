/*
 * im_client.h -- frames of proto/client.proto in either encoding.
 */

#ifndef IM_CLIENT_H
#define IM_CLIENT_H

#include "im_core.h"
#include "im_json.h"
#include "client.pb-c.h"

typedef enum {
    IM_ENCODING_JSON = 0,      /* im.v1.json, text messages */
    IM_ENCODING_PROTO = 1      /* im.v1.proto, binary messages */
} im_encoding_t;

#define IM_CLIENT_JSON   "im.v1.json"
#define IM_CLIENT_PROTO  "im.v1.proto"

/*
 * A question: the message of its frame is the request of a call to Logic, and
 * the reply of that call is sent as a frame.  For presence_sub the worker makes
 * the request itself.
 */
typedef struct {
    const char                        *type;
    unsigned                           frame;   /* IM__FRAME__FRAME_... */
    unsigned                           reply;   /* likewise */
    const char                        *method;  /* of im.Logic */
    const ProtobufCMessageDescriptor  *request;
} im_client_question_t;

#define IM_CLIENT_QUESTIONS  8

extern const im_client_question_t  im_client_questions[IM_CLIENT_QUESTIONS];

/* Room for one decoded client frame; lists and strings are in the memory that
 * the decoder was given. */
typedef struct {
    Im__Frame      frame;      /* frame_case says which of these is set */
    union {
        Im__Auth   auth;
        Im__Ping   ping;
        Im__Pong   pong;
        Im__Send   send;
    } u;
    const im_client_question_t  *question;  /* NULL: no question */
    ProtobufCMessage            *message;   /* the question; without caller */
    uint64_t       id;         /* of a question, also on IM_ERROR; 0: none */
    char           cmid[IM_CMID_MAX + 1];  /* for the error frame, if known */
    const char    *code;       /* on IM_ERROR: stable code (im_error.h) */
    im_json_err_t  err;        /* on IM_ERROR: text for people */
} im_client_frame_t;

/*
 * Decodes one message of a client.  mem must hold msg->len plus
 * im_client_mem_extra() bytes.  Accepts auth, ping, pong, send and the
 * questions; checks that the body is JSON and that required fields are there,
 * and calls im_check().  IM_ERROR: f->code and f->err hold the reason; the
 * connection may stay open.
 */
int im_client_decode(im_client_frame_t *f, im_encoding_t encoding,
    im_str_t *msg, im_json_mem_t *mem);

size_t im_client_mem_extra(void);

/* The frame that answers q: reply, which gets the question's id. */
void im_client_answer(Im__Frame *frame, const im_client_question_t *q,
    uint64_t id, ProtobufCMessage *reply);

/*
 * Encodes a server's frame, WebSocket header included.  Returns its length
 * (sizes only when cap is too small; nothing is written then).
 */
size_t im_client_encode(const Im__Frame *frame, im_encoding_t encoding,
    unsigned char *out, size_t cap);

#endif
