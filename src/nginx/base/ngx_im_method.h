/*
 * ngx_im_method.h -- what the edge knows of a method of Logic.
 */

#ifndef NGX_IM_METHOD_H
#define NGX_IM_METHOD_H

#include "ngx_im.h"
#include "im_disc.h"
#include "im_error.h"
#include "im_logic_rpcs.h"
#include "im_rpc.h"


typedef struct {
    im_rpc_method_t                  rpc;
    const im_logic_rpc_t            *row;       /* NULL: a stream */
    const ProtobufCFieldDescriptor  *caller;    /* or NULL: for anybody */
    const ProtobufCFieldDescriptor  *peer;      /* `to` or `with`, or NULL */
    const ProtobufCFieldDescriptor  *room;      /* or NULL */
    const ProtobufCFieldDescriptor  *instance;  /* the edge's word, or NULL */
    const ProtobufCFieldDescriptor  *conn;      /* likewise */
    const ProtobufCFieldDescriptor  *cmid;      /* makes it idempotent */
    im_disc_policy_t                 policy;
    unsigned                         class;     /* IM_LOGIC_FAILS_... */
    unsigned                         callers;   /* IM_LOGIC_API | ... */
    unsigned                         timeout_ms;
    unsigned                         idempotent:1;
} ngx_im_method_t;


/* NGX_DECLINED: Logic's service has none of this name. */
ngx_int_t ngx_im_method_find(ngx_im_method_t *method, const char *name);

/* The slot of what is asked: a room, a direct conversation, or the user. */
unsigned ngx_im_method_slot(const ngx_im_method_t *method,
    const ProtobufCMessage *message, uint64_t uid);

/* The room that is asked about; 0: none. */
uint64_t ngx_im_method_room(const ngx_im_method_t *method,
    const ProtobufCMessage *message);

/*
 * Fills in what only the edge may say, whatever a client has written there.
 * instance NULL: the call comes from no connection of ours.
 */
void ngx_im_method_stamp(const ngx_im_method_t *method,
    ProtobufCMessage *message, const char *instance, uint64_t conn);

/*
 * Why a call was refused.  text: for people; empty if it is of the transport
 * or of our own mistakes, which is for the log and not for clients.
 */
const im_error_t *ngx_im_method_error(const im_rpc_status_t *status,
    im_str_t *text);

#endif
