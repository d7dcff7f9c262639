/*
 * ngx_im_method.c -- what the edge knows of a method of Logic.
 *
 * The fields are found in the descriptors that protoc-c makes; what they do
 * not tell is in a table here.  HTTP endpoints and questions by WebSocket
 * share both, so that a method fails over alike however it was asked.
 */

#include "ngx_im_method.h"

#include "logic.pb-c.h"


typedef struct {
    const char          *name;
    unsigned             class;
    im_disc_policy_t     policy;
    unsigned             idempotent;
} ngx_im_method_trait_t;


/*
 * What the runtime must know of a method (protoc-c drops the schema's options).
 * Idempotent: a second run does no harm, so a call whose instance died on it
 * is sent to another one.  A second Login makes a session that nobody uses; a
 * second Refresh would end the session as stolen.  Send is, if it has a cmid.
 */
static const ngx_im_method_trait_t  ngx_im_method_traits[] = {
    { "CreateUser", NGX_IM_METHOD_PASSWORD, IM_DISC_LEAST_LOADED, 0 },
    { "Login", NGX_IM_METHOD_PASSWORD, IM_DISC_LEAST_LOADED, 1 },
    { "Refresh", NGX_IM_METHOD_STORED, IM_DISC_LEAST_LOADED, 0 },
    { "Logout", NGX_IM_METHOD_STORED, IM_DISC_LEAST_LOADED, 1 },
    { "Auth", NGX_IM_METHOD_LIVE, IM_DISC_LEAST_LOADED, 1 },
    { "FindUser", NGX_IM_METHOD_STORED, IM_DISC_LEAST_LOADED, 1 },
    { "Send", NGX_IM_METHOD_LIVE, IM_DISC_SLOT, 0 },
    { "History", NGX_IM_METHOD_STORED, IM_DISC_LEAST_LOADED, 1 },
    { "Sync", NGX_IM_METHOD_STORED, IM_DISC_LEAST_LOADED, 1 },
    { "Conversations", NGX_IM_METHOD_STORED, IM_DISC_LEAST_LOADED, 1 },
    { "Read", NGX_IM_METHOD_STORED, IM_DISC_LEAST_LOADED, 1 },
    { NULL, 0, IM_DISC_LEAST_LOADED, 0 }
};


ngx_int_t
ngx_im_method_find(ngx_im_method_t *method, const char *name)
{
    const ngx_im_method_trait_t       *t;
    const ProtobufCFieldDescriptor    *f;
    const ProtobufCMessageDescriptor  *input;

    ngx_memzero(method, sizeof(ngx_im_method_t));

    if (im_rpc_method_find(&method->rpc, &im__logic__descriptor, name)
        != IM_OK)
    {
        return NGX_DECLINED;
    }

    input = method->rpc.input;

    f = protobuf_c_message_descriptor_get_field_by_name(input, "caller");

    if (f != NULL && f->type == PROTOBUF_C_TYPE_MESSAGE
        && f->descriptor == &im__caller__descriptor)
    {
        method->caller = f;
    }

    f = protobuf_c_message_descriptor_get_field_by_name(input, "to");

    if (f == NULL) {
        f = protobuf_c_message_descriptor_get_field_by_name(input, "with");
    }

    if (f != NULL && f->type == PROTOBUF_C_TYPE_UINT64
        && f->label != PROTOBUF_C_LABEL_REPEATED)
    {
        method->peer = f;
    }

    f = protobuf_c_message_descriptor_get_field_by_name(input, "cmid");

    if (f != NULL && f->type == PROTOBUF_C_TYPE_STRING) {
        method->cmid = f;
    }

    for (t = ngx_im_method_traits; t->name != NULL; t++) {
        if (ngx_strcmp(t->name, name) == 0) {
            method->class = t->class;
            method->policy = t->policy;
            method->idempotent = t->idempotent;
        }
    }

    return NGX_OK;
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
