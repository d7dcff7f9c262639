/*
 * im_rpc_tier.c -- see im_rpc_tier.h.
 *
 * Room: rpc.  Any thread.
 */

#include <stdio.h>
#include <string.h>

#include "im_rpc_tier.h"


static const char *const  tier_names[IM_RPC_ROLES] = {
    "nginx", "logic", "task"           /* by the bit of the role */
};


int
im_rpc_tiers_init(im_rpc_tiers_t *t, const char *name)
{
    unsigned  i;

    if (name == NULL || name[0] == '\0' || strlen(name) > IM_RPC_NAME_MAX) {
        return IM_ERROR;
    }

    for (i = 0; i < IM_RPC_ROLES; i++) {
        snprintf(t->names[i], sizeof(t->names[i]), "%s.%s", tier_names[i],
                 name);
    }

    return IM_OK;
}


const char *
im_rpc_tier_name(const im_rpc_tiers_t *t, im_rpc_role_t role)
{
    unsigned  i;

    for (i = 0; i < IM_RPC_ROLES; i++) {
        if (role == (im_rpc_role_t) (1u << i)) {
            return t->names[i];
        }
    }

    return NULL;
}


unsigned
im_rpc_tier_role(const im_rpc_tiers_t *t, const char *dns, size_t len)
{
    unsigned  i;

    for (i = 0; i < IM_RPC_ROLES; i++) {
        if (len > 0 && len == strlen(t->names[i])
            && memcmp(dns, t->names[i], len) == 0)
        {
            return 1u << i;
        }
    }

    return 0;
}


void
im_rpc_tier_wanted(const im_rpc_tiers_t *t, unsigned roles, char *text,
    size_t size)
{
    size_t    n;
    unsigned  i;

    n = 0;
    text[0] = '\0';

    for (i = 0; i < IM_RPC_ROLES && n < size - 1; i++) {
        if (roles & 1u << i) {
            n += (size_t) snprintf(text + n, size - n, "%s%s",
                                   n > 0 ? " or " : "", t->names[i]);
        }
    }
}
