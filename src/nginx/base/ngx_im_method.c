/*
 * ngx_im_method.c -- what the edge knows of a method of Logic.
 *
 * The fields are found in the descriptors that protoc-c makes; what they do
 * not tell is in the table of im_logic_rpcs.h.  HTTP endpoints and questions by
 * WebSocket share both, so that a method fails over alike however it was asked.
 */

#include "ngx_im_method.h"
#include "im_slot.h"

#include "logic.pb-c.h"


_Static_assert(IM_LOGIC_FAILS_N <= IM_DISC_CLASSES, "too many breakers");


static const ProtobufCFieldDescriptor *ngx_im_method_field(
    const ProtobufCMessageDescriptor *input, const char *name,
    ProtobufCType type);
static uint64_t ngx_im_method_number(const ProtobufCFieldDescriptor *f,
    const ProtobufCMessage *message);


ngx_int_t
ngx_im_method_find(ngx_im_method_t *method, const char *name)
{
    const im_logic_rpc_t              *row;
    const ProtobufCMessageDescriptor  *input;

    ngx_memzero(method, sizeof(ngx_im_method_t));

    if (im_rpc_method_find(&method->rpc, &im__logic__descriptor, name)
        != IM_OK)
    {
        return NGX_DECLINED;
    }

    row = im_logic_rpc_find(name);
    method->row = row;

    if (row != NULL) {                 /* else it is a stream: for nobody */
        method->class = row->breaker;
        method->policy = row->owner ? IM_DISC_SLOT : IM_DISC_LEAST_LOADED;
        method->idempotent = row->repeat;
        method->callers = row->callers;
        method->timeout_ms = row->deadline_ms;
    }

    input = method->rpc.input;

    method->caller = ngx_im_method_field(input, "caller",
                                         PROTOBUF_C_TYPE_MESSAGE);
    method->room = ngx_im_method_field(input, "room", PROTOBUF_C_TYPE_UINT64);
    method->peer = ngx_im_method_field(input, "to", PROTOBUF_C_TYPE_UINT64);

    if (method->peer == NULL) {
        method->peer = ngx_im_method_field(input, "with",
                                           PROTOBUF_C_TYPE_UINT64);
    }

    if (method->peer == NULL && method->policy == IM_DISC_SLOT) {
        method->peer = ngx_im_method_field(input, "uid",
                                           PROTOBUF_C_TYPE_UINT64);
    }

    method->cmid = ngx_im_method_field(input, "cmid", PROTOBUF_C_TYPE_STRING);
    method->instance = ngx_im_method_field(input, "instance",
                                           PROTOBUF_C_TYPE_STRING);
    method->conn = ngx_im_method_field(input, "conn", PROTOBUF_C_TYPE_UINT64);

    return NGX_OK;
}


static const ProtobufCFieldDescriptor *
ngx_im_method_field(const ProtobufCMessageDescriptor *input, const char *name,
    ProtobufCType type)
{
    const ProtobufCFieldDescriptor  *f;

    f = protobuf_c_message_descriptor_get_field_by_name(input, name);

    if (f == NULL || f->type != type
        || f->label == PROTOBUF_C_LABEL_REPEATED
        || (type == PROTOBUF_C_TYPE_MESSAGE
            && f->descriptor != &im__caller__descriptor))
    {
        return NULL;
    }

    return f;
}


unsigned
ngx_im_method_slot(const ngx_im_method_t *method,
    const ProtobufCMessage *message, uint64_t uid)
{
    uint64_t   room, peer;
    im_conv_t  conv;

    room = ngx_im_method_room(method, message);
    peer = ngx_im_method_number(method->peer, message);

    if (room != 0) {
        conv.a = 0;
        conv.b = room;

    } else if (peer != 0) {
        conv = im_conv_direct(uid, peer);

    } else {
        return im_slot_of_user(uid);
    }

    return im_slot_of_conv(&conv);
}


uint64_t
ngx_im_method_room(const ngx_im_method_t *method,
    const ProtobufCMessage *message)
{
    return ngx_im_method_number(method->room, message);
}


/* 0 if the method has no such field, or the message no value for it. */
static uint64_t
ngx_im_method_number(const ProtobufCFieldDescriptor *f,
    const ProtobufCMessage *message)
{
    uint64_t  value;

    if (f == NULL) {
        return 0;
    }

    ngx_memcpy(&value, (const u_char *) message + f->offset, sizeof(uint64_t));

    return value;
}


void
ngx_im_method_stamp(const ngx_im_method_t *method, ProtobufCMessage *message,
    const char *instance, uint64_t conn)
{
    u_char  *p = (u_char *) message;

    if (method->instance != NULL) {
        *(const char **) (p + method->instance->offset) = instance;
    }

    if (method->conn != NULL) {
        *(uint64_t *) (p + method->conn->offset) = conn;
        *(protobuf_c_boolean *) (p + method->conn->quantifier_offset)
            = instance != NULL;
    }
}


const im_error_t *
ngx_im_method_error(const im_rpc_status_t *status, im_str_t *text)
{
    int                code;
    const im_error_t  *error;

    /* the rpc runtime is stopping: as good as a Logic that went away */
    code = (status->code == IM_RPC_CANCELLED
            || status->code == IM_RPC_FAILED_PRECONDITION)
           ? IM_RPC_UNAVAILABLE : status->code;

    error = im_error_from_status(code, status->message, text);

    if (status->sent != IM_RPC_ANSWERED
        || error->http == NGX_HTTP_INTERNAL_SERVER_ERROR)
    {
        text->data = NULL;
        text->len = 0;
    }

    return error;
}
