/*
 * fuzz_client.c -- frames of a client, in both encodings.
 *
 * What is decoded is in its bounds, and means the same when it is packed and
 * decoded again; a frame in JSON means the same in protobuf.  What is refused
 * is refused with a known code and with a text that can be sent to the client.
 */

#include "fuzz.h"
#include "im_client.h"
#include "im_error.h"
#include "im_frame.h"
#include "im_utf8.h"


typedef struct {
    im_client_frame_t   f;
    im_str_t            input;
    unsigned char      *memory;
} client_t;


static int client_decode(client_t *c, im_encoding_t encoding,
    const void *data, size_t size);
static void client_free(client_t *c);
static void client_accepted(client_t *c);
static void client_refused(client_t *c);
static int client_is_text(const char *s, size_t max);


void
fuzz_json(const uint8_t *data, size_t size)
{
    client_t  c;

    if (size > 0 && im_utf8_check(data, size) != IM_OK) {
        return;                        /* the reader has closed with 1007 */
    }

    if (client_decode(&c, IM_ENCODING_JSON, data, size) == IM_OK) {
        client_accepted(&c);

    } else {
        client_refused(&c);
    }

    client_free(&c);
}


void
fuzz_proto(const uint8_t *data, size_t size)
{
    client_t  c;

    if (client_decode(&c, IM_ENCODING_PROTO, data, size) == IM_OK) {
        client_accepted(&c);

    } else {
        client_refused(&c);
    }

    client_free(&c);
}


static int
client_decode(client_t *c, im_encoding_t encoding, const void *data,
    size_t size)
{
    int            rc;
    size_t         room;
    im_json_mem_t  mem;

    room = size + im_client_mem_extra();

    c->input = fuzz_exact(data, size);
    c->memory = fuzz_alloc(room);
    mem.pos = c->memory;
    mem.end = c->memory + room;

    rc = im_client_decode(&c->f, encoding, &c->input, &mem);
    FUZZ_CHECK(rc == IM_OK || rc == IM_ERROR);
    FUZZ_CHECK(mem.pos <= mem.end);

    return rc;
}


static void
client_free(client_t *c)
{
    free(c->input.data);
    free(c->memory);
}


static void
client_accepted(client_t *c)
{
    im_str_t         first, second;
    client_t         again;
    const Im__Send  *send;

    switch (c->f.frame.frame_case) {

    case IM__FRAME__FRAME_AUTH:
        FUZZ_CHECK(client_is_text(c->f.u.auth.token, c->input.len));
        FUZZ_CHECK(c->f.u.auth.token[0] != '\0');
        break;

    case IM__FRAME__FRAME_SEND:
        send = &c->f.u.send;
        FUZZ_CHECK((send->to != 0) != (send->room != 0));
        FUZZ_CHECK(send->to <= INT64_MAX && send->room <= INT64_MAX);
        FUZZ_CHECK(client_is_text(send->cmid, IM_CMID_MAX));
        FUZZ_CHECK(strcmp(send->cmid, c->f.cmid) == 0
                   || strchr(send->cmid, '\\') != NULL);
        FUZZ_CHECK(send->body.len > 0 && send->body.len <= IM_BODY_MAX);
        FUZZ_CHECK(im_json_valid((const im_str_t *) &send->body, &c->f.err)
                   == IM_OK);
        break;

    case IM__FRAME__FRAME_PING:
    case IM__FRAME__FRAME_PONG:
        break;

    default:
        FUZZ_CHECK(c->f.question != NULL && c->f.message != NULL);
        FUZZ_CHECK(c->f.question->frame == c->f.frame.frame_case);
        FUZZ_CHECK(c->f.question->request == c->f.message->descriptor);
        break;
    }

    /* whatever it was written in, it is the same in protobuf */

    first = fuzz_pack(&c->f.frame.base);
    FUZZ_CHECK(client_decode(&again, IM_ENCODING_PROTO, first.data, first.len)
               == IM_OK);
    FUZZ_CHECK(again.f.id == c->f.id);

    second = fuzz_pack(&again.f.frame.base);
    FUZZ_CHECK(first.len == second.len
               && memcmp(first.data, second.data, first.len) == 0);

    free(first.data);
    free(second.data);
    client_free(&again);
}


/* The error frame reaches the client in both encodings. */
static void
client_refused(client_t *c)
{
    size_t          n, head;
    im_str_t        json;
    Im__Error       error = IM__ERROR__INIT;
    Im__Frame       frame = IM__FRAME__INIT;
    im_json_err_t   err;
    unsigned char   out[4096];

    FUZZ_CHECK(c->f.code != NULL);
    FUZZ_CHECK(strcmp(im_error_find(c->f.code, strlen(c->f.code))->code,
                      c->f.code) == 0);
    FUZZ_CHECK(c->f.err.text[0] != '\0');
    FUZZ_CHECK(client_is_text(c->f.err.text, sizeof(c->f.err.text) - 1));
    FUZZ_CHECK(client_is_text(c->f.cmid, IM_CMID_MAX));

    error.code = (char *) c->f.code;
    error.message = c->f.err.text;
    error.cmid = c->f.cmid;
    error.id = c->f.id;
    frame.frame_case = IM__FRAME__FRAME_ERROR;
    frame.error = &error;

    fuzz_check_packs(&frame.base);

    n = im_client_encode(&frame, IM_ENCODING_JSON, out, sizeof(out));
    FUZZ_CHECK(n <= sizeof(out));

    head = (out[1] < 126) ? 2 : 4;
    json = fuzz_exact(out + head, n - head);
    FUZZ_CHECK(im_json_valid(&json, &err) == IM_OK);
    free(json.data);
}


static int
client_is_text(const char *s, size_t max)
{
    size_t  len;

    len = strlen(s);

    return len <= max
           && im_utf8_check((const unsigned char *) s, len) == IM_OK;
}
