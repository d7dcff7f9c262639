/*
 * im_member.c -- see im_member.h.
 *
 * What is to be done on the rpc thread is posted to it.  The view of etcd is
 * destroyed there, and the stop waits for that: the leases are given back by
 * then, or end by themselves.
 */

#include <stddef.h>
#include <time.h>

#include "im_health.h"
#include "im_instance.h"
#include "im_log.h"
#include "im_member.h"
#include "im_peers.h"
#include "im_steps.h"
#include "im_timeouts.h"


static void member_on_leave(void *ctx);
static void member_on_forget(void *ctx);


static const im_daemon_conf_t  *member_conf;
static const char              *member_service;
static char                     member_name[160];
static im_rpc_t                *member_rpc;
static im_disc_t               *member_disc;
static void                   (*member_forget)(void);
static atomic_int               member_forgotten;


void
im_member_init(const im_daemon_conf_t *conf, const char *service)
{
    member_conf = conf;
    member_service = service;
    im_instance_name(member_name, sizeof(member_name));
}


int
im_member_take_port(void)
{
    return im_health_start(member_conf, member_name);
}


int
im_member_start_rpc(void)
{
    member_rpc = im_peers_rpc(member_conf);

    return (member_rpc != NULL) ? IM_OK : IM_ERROR;
}


void
im_member_stop_rpc(void)
{
    if (im_rpc_destroy(member_rpc) != IM_OK) {
        im_steps_give_up("the rpc thread still runs");
    }

    member_rpc = NULL;
}


int
im_member_start_etcd(void)
{
    member_disc = im_peers_disc(member_conf, member_rpc);

    return (member_disc != NULL) ? IM_OK : IM_ERROR;
}


int
im_member_register(const char *address, unsigned (*queue)(void *ctx))
{
    im_disc_self_t  self = {
        .service = member_service,
        .id = member_name,
        .address = address,
        .queue = queue
    };

    return im_disc_register(member_disc, &self);
}


int
im_member_leave(void)
{
    return (member_disc != NULL)
           ? im_rpc_post(member_rpc, member_on_leave, NULL) : IM_ERROR;
}


/* rpc thread */
static void
member_on_leave(void *ctx)
{
    (void) ctx;

    im_disc_drain(member_disc, member_service);
}


void
im_member_stop_etcd(void (*forget)(void))
{
    member_forget = forget;

    if (member_disc != NULL
        && im_rpc_post(member_rpc, member_on_forget, NULL) == IM_OK
        && im_member_until(&member_forgotten, IM_STOP_ETCD_MS) != IM_OK)
    {
        im_log(IM_LOG_WARN, "etcd: the rpc thread is busy, the instance is "
               "forgotten when its lease ends");
    }
}


/* rpc thread */
static void
member_on_forget(void *ctx)
{
    (void) ctx;

    if (member_forget != NULL) {
        member_forget();
    }

    im_disc_destroy(member_disc);
    atomic_store(&member_forgotten, 1);
}


int
im_member_until(atomic_int *flag, int ms)
{
    struct timespec  ts = { 0, 10000000 };

    for (; ms > 0 && !atomic_load(flag); ms -= 10) {
        nanosleep(&ts, NULL);
    }

    return atomic_load(flag) ? IM_OK : IM_AGAIN;
}


const char *
im_member_name(void)
{
    return member_name;
}


im_rpc_t *
im_member_rpc(void)
{
    return member_rpc;
}


im_disc_t *
im_member_disc(void)
{
    return member_disc;
}
