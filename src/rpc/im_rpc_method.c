/*
 * im_rpc_method.c -- a method of a service, by its name.
 *
 * No gRPC is needed for that, so both implementations of im_rpc.h use this one.
 *
 * Room: rpc.  Any thread.
 */

#include <stdio.h>

#include "im_rpc.h"


int
im_rpc_method_find(im_rpc_method_t *m,
    const ProtobufCServiceDescriptor *service, const char *name)
{
    int                               n;
    const ProtobufCMethodDescriptor  *d;

    d = protobuf_c_service_descriptor_get_method_by_name(service, name);
    if (d == NULL) {
        return IM_DECLINED;
    }

    n = snprintf(m->path, sizeof(m->path), "/%s/%s", service->name, d->name);
    if (n < 0 || (size_t) n >= sizeof(m->path)) {
        return IM_DECLINED;
    }

    m->input = d->input;
    m->output = d->output;

    return IM_OK;
}
