/*
 * im_rpc_tier.h -- the names that certificates carry for a tier: nginx.<name>,
 * logic.<name>, task.<name>.
 *
 * For both implementations of im_rpc.h.
 */

#ifndef IM_RPC_TIER_H
#define IM_RPC_TIER_H

#include "im_rpc.h"

#define IM_RPC_ROLES  3                /* bits of im_rpc_role_t */

typedef struct {
    char  names[IM_RPC_ROLES][IM_RPC_NAME_MAX + 8];
} im_rpc_tiers_t;

/* IM_ERROR: the name is none, or too long. */
int im_rpc_tiers_init(im_rpc_tiers_t *t, const char *name);
/* NULL: it is no role of one tier. */
const char *im_rpc_tier_name(const im_rpc_tiers_t *t, im_rpc_role_t role);
/* The role of a DNS name, compared as it is; 0: of none. */
unsigned im_rpc_tier_role(const im_rpc_tiers_t *t, const char *dns,
    size_t len);
/* "nginx.im or task.im" */
void im_rpc_tier_wanted(const im_rpc_tiers_t *t, unsigned roles, char *text,
    size_t size);

#endif
