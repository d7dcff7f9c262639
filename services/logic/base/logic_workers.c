/*
 * logic_workers.c -- see logic_workers.h.
 */

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "im_log.h"
#include "logic_workers.h"


static pthread_mutex_t   workers_lock = PTHREAD_MUTEX_INITIALIZER;
static logic_worker_t   *workers;
static unsigned          workers_n;


void
logic_workers_add(logic_worker_t *w)
{
    pthread_mutex_lock(&workers_lock);
    w->next = workers;
    workers = w;
    workers_n++;
    pthread_mutex_unlock(&workers_lock);
}


void
logic_workers_name(logic_worker_t *w, const char *instance)
{
    pthread_mutex_lock(&workers_lock);
    snprintf(w->instance, sizeof(w->instance), "%s", instance);
    pthread_mutex_unlock(&workers_lock);
}


void
logic_workers_key_differs(logic_worker_t *w)
{
    pthread_mutex_lock(&workers_lock);
    w->key_differs = 1;
    pthread_mutex_unlock(&workers_lock);
}


void
logic_workers_remove(logic_worker_t *w)
{
    logic_worker_t  **p;

    pthread_mutex_lock(&workers_lock);

    for (p = &workers; *p != NULL; p = &(*p)->next) {
        if (*p == w) {
            *p = w->next;
            workers_n--;
            break;
        }
    }

    pthread_mutex_unlock(&workers_lock);
}


void
logic_workers_end(uint64_t uid, const char *sid, const char *code,
    const char *message)
{
    Im__End        end = IM__END__INIT;
    Im__DownItem   item = IM__DOWN_ITEM__INIT;

    end.uid = uid;
    end.sid = (char *) sid;
    end.code = (char *) code;
    end.message = (char *) message;

    item.item_case = IM__DOWN_ITEM__ITEM_END;
    item.end = &end;

    logic_workers_send_all(&item);
}


/* A worker whose queue is full cannot be notified, and must not miss it: its
 * stream is ended.  When it reconnects, it gets the list of ended sessions, and
 * announces its connections. */
void
logic_workers_send_all(const Im__DownItem *item)
{
    logic_worker_t  *w;

    pthread_mutex_lock(&workers_lock);

    for (w = workers; w != NULL; w = w->next) {
        if (im_rpc_stream_add(w->stream, &item->base) == IM_BUSY) {
            im_log(IM_LOG_WARN, "connect %s: it does not read, its queue is "
                   "full: its stream is ended", w->instance);
            im_rpc_stream_cancel(w->stream);
            continue;
        }

        im_rpc_stream_flush(w->stream);
    }

    pthread_mutex_unlock(&workers_lock);
}


int
logic_workers_send(const char *instance, const Im__DownItem *item)
{
    int              rc;
    logic_worker_t  *w;

    rc = IM_DECLINED;

    pthread_mutex_lock(&workers_lock);

    for (w = workers; w != NULL; w = w->next) {
        if (strcmp(w->instance, instance) == 0) {
            rc = im_rpc_stream_add(w->stream, &item->base);
            rc = (rc == IM_OK || rc == IM_BUSY) ? rc : IM_DECLINED;
            im_rpc_stream_flush(w->stream);
        }
    }

    pthread_mutex_unlock(&workers_lock);

    return rc;
}


unsigned
logic_workers_count(void)
{
    unsigned  n;

    pthread_mutex_lock(&workers_lock);
    n = workers_n;
    pthread_mutex_unlock(&workers_lock);

    return n;
}


unsigned
logic_workers_other_keys(void)
{
    unsigned         n;
    logic_worker_t  *w;

    n = 0;

    pthread_mutex_lock(&workers_lock);

    for (w = workers; w != NULL; w = w->next) {
        n += (unsigned) w->key_differs;
    }

    pthread_mutex_unlock(&workers_lock);

    return n;
}
