/*
 * logic_conf_check.c -- what is wrong with the keys of logic.conf: each is
 * judged where it is used, so this stands above all of them.
 */

#include <stdio.h>
#include <string.h>

#include "logic_conf.h"
#include "logic_devices.h"
#include "logic_rooms_trim.h"


const char *
logic_conf_check(void *conf)
{
    const char              *reason;
    static char              text[400];
    const logic_conf_t      *c = conf;
    logic_devices_policy_t   policy;

    if (strrchr(c->rpc_listen, ':') == NULL) {
        return "[rpc] listen: it is host:port";
    }

    if (strncmp(c->rpc_listen, "0.0.0.0:", 8) == 0
        && c->rpc_advertise[0] == '\0')
    {
        return "[rpc] listen on 0.0.0.0 needs [rpc] advertise";
    }

    if (logic_devices_policy(c->devices_policy, &policy) != IM_OK) {
        return "[devices] policy: it is all, one_per_class or one";
    }

    reason = logic_rooms_trim_check(c);
    if (reason != NULL) {
        return reason;
    }

    if (im_jwt_key_load(&logic_jwt_key, c->jwt_key_file, &reason) != IM_OK) {
        snprintf(text, sizeof(text), "[auth] jwt_key_file \"%.200s\": %s",
                 c->jwt_key_file, reason);
        return text;
    }

    return NULL;
}
