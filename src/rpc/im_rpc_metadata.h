/*
 * im_rpc_metadata.h -- what calls between our tiers carry beside messages.
 *
 * A call says which process it is meant for and which protocol it speaks, an
 * answer says whether a handler has made it (docs/internals/rpc.md).
 */

#ifndef IM_RPC_METADATA_H
#define IM_RPC_METADATA_H

#define IM_RPC_STR(value)    IM_RPC_STR2(value)
#define IM_RPC_STR2(value)   #value

#define IM_RPC_MD_PROTOCOL   "im-proto"
#define IM_RPC_MD_BOOT       "im-boot"
#define IM_RPC_MD_TRACE      "im-trace"
#define IM_RPC_MD_MARK       "im-h"    /* trailer; im_rpc_mark_t */
#define IM_RPC_MD_RETRY      "im-retry-ms"       /* trailer of a refusal */
#define IM_RPC_METADATA_MAX  3

/* Of etcd, which then ends a stream on a member that has lost its leader. */
#define IM_RPC_MD_LEADER     "hasleader"

typedef enum {
    IM_RPC_MARK_NONE = 0,      /* made by a transport, or by a stranger */
    IM_RPC_MARK_REFUSED,       /* "0": before any handler */
    IM_RPC_MARK_HANDLED        /* "1" */
} im_rpc_mark_t;

#endif
