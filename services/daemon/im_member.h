/*
 * im_member.h -- a daemon as one of the instances: its name, its rpc runtime
 * and its view of etcd, from the start to the stop.
 *
 * One in a process.  Main thread, where nothing else is said; start and stop
 * are made for a table of im_steps.h.
 */

#ifndef IM_MEMBER_H
#define IM_MEMBER_H

#include <stdatomic.h>

#include "im_conf.h"
#include "im_disc.h"
#include "im_rpc.h"

/* Before the steps; gives this process its name.  service: as in etcd. */
void im_member_init(const im_daemon_conf_t *conf, const char *service);

/* The health port: it answers "starting". */
int im_member_take_port(void);

int im_member_start_rpc(void);
/* The rpc thread ends here. */
void im_member_stop_rpc(void);

int im_member_start_etcd(void);
/* Leases and the key are given back.  NULL or what is called on the rpc thread
 * right before the view of etcd is destroyed. */
void im_member_stop_etcd(void (*forget)(void));

/* Puts us into etcd at this address; rpc thread.  queue: see im_disc_self_t.
 * IM_ERROR: no memory. */
int im_member_register(const char *address, unsigned (*queue)(void *ctx));
/* Marks our key as leaving: nobody picks us any more.  IM_ERROR: there is no
 * runtime. */
int im_member_leave(void);

/* For stops, which a signal does not shorten: waits until the flag is set, ms
 * at most and 10 more.  IM_OK, IM_AGAIN. */
int im_member_until(atomic_int *flag, int ms);

/* Any thread.  NULL before start, and where it was not started. */
const char *im_member_name(void);
im_rpc_t *im_member_rpc(void);
im_disc_t *im_member_disc(void);

#endif
