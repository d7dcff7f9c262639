/*
 * fuzz_body.c -- requests of the API tier: query arguments and a JSON body.
 *
 * An input is the name of a method of Logic, maybe `?` and arguments, a line
 * feed, and the body.  It goes the way of ngx_im_api_fill(): arguments, body,
 * required fields, bounds; in memory as small as is reckoned there.
 *
 * What is accepted packs, and so does its JSON when that is read again; more
 * memory changes nothing; what is refused has a code and a text.
 */

#include "fuzz.h"
#include "im_check.h"
#include "im_error.h"
#include "im_utf8.h"
#include "logic.pb-c.h"


typedef struct {
    const ProtobufCMessageDescriptor  *input;
    const uint8_t                     *args;
    const uint8_t                     *args_end;
    const uint8_t                     *body;
    size_t                             body_len;
} body_request_t;

typedef struct {
    int                rc;
    ProtobufCMessage  *message;
    unsigned char     *memory;
    im_str_t           body;
    im_json_err_t      err;
} body_t;


static const ProtobufCMessageDescriptor *body_method(const uint8_t *name,
    size_t len);
static void body_fill(body_t *b, const body_request_t *r, size_t more);
static int body_args(body_t *b, const body_request_t *r, im_json_mem_t *mem,
    uint64_t *seen);
static void body_free(body_t *b);
static void body_accepted(body_t *b);
static void body_json(body_t *b);


void
fuzz_body(const uint8_t *data, size_t size)
{
    body_t           b, roomy;
    const uint8_t   *lf, *mark;
    body_request_t   r;

    lf = (size == 0) ? NULL : memchr(data, '\n', size);

    if (lf == NULL) {
        return;
    }

    mark = memchr(data, '?', (size_t) (lf - data));

    r.args = (mark == NULL) ? lf : mark + 1;
    r.args_end = lf;
    r.body = lf + 1;
    r.body_len = size - (size_t) (r.body - data);
    r.input = body_method(data, (size_t) ((mark == NULL ? lf : mark) - data));

    body_fill(&b, &r, 0);
    body_fill(&roomy, &r, 65536);

    FUZZ_CHECK(b.rc == roomy.rc);

    if (b.rc == IM_OK) {
        body_accepted(&b);

    } else {
        FUZZ_CHECK(b.err.code != NULL
                   && strcmp(b.err.code, roomy.err.code) == 0);
        FUZZ_CHECK(strcmp(im_error_find(b.err.code, strlen(b.err.code))->code,
                          b.err.code) == 0);
        FUZZ_CHECK(b.err.text[0] != '\0');
        FUZZ_CHECK(im_utf8_check((unsigned char *) b.err.text,
                                 strlen(b.err.text)) == IM_OK);
    }

    body_free(&b);
    body_free(&roomy);
}


/* The request of a method; of some method, if there is none of this name. */
static const ProtobufCMessageDescriptor *
body_method(const uint8_t *name, size_t len)
{
    size_t                             i;
    unsigned                           sum;
    const ProtobufCServiceDescriptor  *s;

    s = &im__logic__descriptor;
    sum = 0;

    for (i = 0; i < s->n_methods; i++) {
        if (strlen(s->methods[i].name) == len
            && memcmp(s->methods[i].name, name, len) == 0)
        {
            return s->methods[i].input;
        }
    }

    for (i = 0; i < len; i++) {
        sum += name[i];
    }

    return s->methods[sum % s->n_methods].input;
}


static void
body_fill(body_t *b, const body_request_t *r, size_t more)
{
    size_t         size;
    uint64_t       seen;
    im_json_mem_t  mem;

    size = r->body_len + (size_t) (r->args_end - r->args)
           + im_json_mem_extra(r->input, r->body_len) + more;

    memset(&b->err, 0, sizeof(b->err));
    b->body = fuzz_exact(r->body, r->body_len);
    b->message = fuzz_alloc(r->input->sizeof_message);
    b->memory = fuzz_alloc(size);
    mem.pos = b->memory;
    mem.end = b->memory + size;
    seen = 0;

    protobuf_c_message_init(r->input, b->message);

    b->rc = body_args(b, r, &mem, &seen);

    if (b->rc == IM_OK && b->body.len != 0) {
        b->rc = im_json_decode(b->message, &b->body, &mem, &seen, &b->err);
    }

    if (b->rc == IM_OK) {
        b->rc = im_json_check_required(b->message, seen, &b->err);

        if (b->rc != IM_OK) {
            b->err.code = "missing_field";
        }
    }

    if (b->rc == IM_OK) {
        b->rc = im_check(b->message, &b->err);
    }

    FUZZ_CHECK(mem.pos <= mem.end);
}


static int
body_args(body_t *b, const body_request_t *r, im_json_mem_t *mem,
    uint64_t *seen)
{
    im_str_t        name, value;
    const uint8_t  *p, *end, *eq;

    for (p = r->args; p < r->args_end; p = end + 1) {

        end = memchr(p, '&', (size_t) (r->args_end - p));
        end = (end == NULL) ? r->args_end : end;

        if (end == p) {
            continue;
        }

        eq = memchr(p, '=', (size_t) (end - p));
        eq = (eq == NULL) ? end : eq;

        name.data = (unsigned char *) p;
        name.len = (size_t) (eq - p);
        value.data = (unsigned char *) (eq == end ? end : eq + 1);
        value.len = (size_t) (end - value.data);

        if (memchr(name.data, '\0', name.len) != NULL) {
            continue;
        }

        if (im_json_set(b->message, &name, &value, mem, seen, &b->err)
            == IM_ERROR)
        {
            b->err.code = "bad_field";
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static void
body_free(body_t *b)
{
    free(b->body.data);
    free(b->message);
    free(b->memory);
}


static void
body_accepted(body_t *b)
{
    Im__Caller                       **field;
    Im__Caller                         caller = IM__CALLER__INIT;
    const ProtobufCFieldDescriptor    *f;

    f = protobuf_c_message_descriptor_get_field_by_name(
            b->message->descriptor, "caller");

    if (f == NULL) {
        fuzz_check_packs(b->message);
        body_json(b);
        return;
    }

    /* the edge sets it, never the client */

    field = (Im__Caller **) ((char *) b->message + f->offset);
    FUZZ_CHECK(*field == NULL);

    caller.uid = 1;
    caller.sid = "s";
    caller.device = "d";
    *field = &caller;

    fuzz_check_packs(b->message);

    *field = NULL;

    if (f->label != PROTOBUF_C_LABEL_REQUIRED) {
        body_json(b);
    }
}


/* As JSON it is JSON, and means the same. */
static void
body_json(body_t *b)
{
    size_t             room;
    im_str_t           json, first, second;
    uint64_t           seen;
    im_json_err_t      err;
    im_json_mem_t      mem;
    unsigned char     *memory;
    ProtobufCMessage  *m;

    json.len = im_json_encode_max(b->message, NULL);
    json.data = fuzz_alloc(json.len);
    FUZZ_CHECK(im_json_encode(b->message, NULL, json.data, json.len)
               == json.len);

    room = json.len + im_json_mem_extra(b->message->descriptor, json.len);
    memory = fuzz_alloc(room);
    mem.pos = memory;
    mem.end = memory + room;
    m = fuzz_alloc(b->message->descriptor->sizeof_message);
    protobuf_c_message_init(b->message->descriptor, m);
    seen = 0;

    FUZZ_CHECK(im_json_decode(m, &json, &mem, &seen, &err) == IM_OK);

    first = fuzz_pack(b->message);
    second = fuzz_pack(m);
    FUZZ_CHECK(first.len == second.len
               && memcmp(first.data, second.data, first.len) == 0);

    free(first.data);
    free(second.data);
    free(json.data);
    free(memory);
    free(m);
}
