/*
 * im_health.h -- /healthz and /readyz of a daemon.
 */

#ifndef IM_HEALTH_H
#define IM_HEALTH_H

#include "im_conf.h"

/*
 * Start it first: an address that is taken must be found before peers or
 * consumer groups know of us.  instance: static memory.
 * /readyz is 503, and both say "starting", until report is given; it writes
 * the daemon's counters, each as ,"name":value, in at most size bytes.  It
 * runs on a thread of its own.
 * _stop_report takes it away ("stopping"), and returns when no report runs:
 * what it reads may be freed then.
 */
typedef void (*im_health_pt)(char *json, size_t size);
int im_health_start(const im_daemon_conf_t *conf, const char *instance);
void im_health_report(im_health_pt report);
void im_health_stop_report(void);
/* Where it listens, "host:port", once started. */
const char *im_health_address(void);
void im_health_stop(void);

#endif
