/*
 * logic_voids_writer.c -- a thread that writes voids down.
 *
 *   shards, reports, pools --add--> queue --> this thread --> MySQL
 *
 * Who learns that a number is void must not wait for MySQL: it answers messages
 * or a client.  So the ranges are queued, and whatever is queued goes into one
 * statement.  While MySQL is away they stay in hand; the queue has a limit, and
 * what is dropped is no loss: the next sync that meets the gap proves it by its
 * age (logic_sync_answer.c) and adds it again.
 *
 * A thread of its own, with its own connection to MySQL.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "im_cond.h"
#include "im_log.h"
#include "im_steps.h"
#include "logic_stores.h"
#include "logic_voids.h"


#define VOIDS_QUEUE_MAX   65536    /* 2 MiB */
#define VOIDS_BATCH       1024
#define VOIDS_PAUSE_MS    50       /* after a failure; then doubled */
#define VOIDS_PAUSE_MAX_MS  1000


static void *voids_thread(void *arg);
static size_t voids_take(void);
static int voids_pause(unsigned ms);


static im_thread_t       voids_id;
static pthread_mutex_t   voids_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t    voids_wake = PTHREAD_COND_INITIALIZER;
static logic_void_t     *voids_queue;         /* a ring */
static size_t            voids_first;
static size_t            voids_n;
static int               voids_running;
static im_mysql_t       *voids_mysql;         /* the rest: our thread */
static logic_void_t      voids_batch[VOIDS_BATCH];


int
logic_voids_start(void)
{
    voids_queue = calloc(VOIDS_QUEUE_MAX, sizeof(logic_void_t));
    voids_mysql = logic_mysql_create();

    if (voids_queue == NULL || voids_mysql == NULL) {
        return IM_ERROR;
    }

    voids_running = 1;

    return im_thread_start(&voids_id, voids_thread, NULL);
}


void
logic_voids_add(const logic_void_t *voids, size_t n)
{
    size_t  i;

    pthread_mutex_lock(&voids_lock);

    for (i = 0; voids_running && i < n && voids_n < VOIDS_QUEUE_MAX; i++) {
        voids_queue[(voids_first + voids_n++) % VOIDS_QUEUE_MAX] = voids[i];
    }

    if (i > 0) {
        pthread_cond_signal(&voids_wake);
    }

    pthread_mutex_unlock(&voids_lock);

    if (i < n) {
        im_warn_seldom("void numbers are not written down, %zu ranges wait: "
                       "each is proved again when a client asks", voids_n);
    }
}


static void *
voids_thread(void *arg)
{
    size_t    n;
    unsigned  pause_ms;

    (void) arg;

    for (n = voids_take(); n > 0; n = voids_take()) {
        pause_ms = VOIDS_PAUSE_MS;

        while (logic_voids_write(voids_mysql, voids_batch, n) != IM_OK) {
            im_warn_seldom("void numbers are not written down yet: mysql: %s",
                           im_mysql_error(voids_mysql));

            if (voids_pause(pause_ms) != IM_OK) {
                return NULL;
            }

            pause_ms = (2 * pause_ms < VOIDS_PAUSE_MAX_MS)
                       ? 2 * pause_ms : VOIDS_PAUSE_MAX_MS;
        }
    }

    return NULL;
}


/* 0 when stopping and nothing is left. */
static size_t
voids_take(void)
{
    size_t  i;

    pthread_mutex_lock(&voids_lock);

    while (voids_n == 0 && voids_running) {
        pthread_cond_wait(&voids_wake, &voids_lock);
    }

    for (i = 0; i < VOIDS_BATCH && voids_n > 0; i++) {
        voids_batch[i] = voids_queue[voids_first];
        voids_first = (voids_first + 1) % VOIDS_QUEUE_MAX;
        voids_n--;
    }

    pthread_mutex_unlock(&voids_lock);

    return i;
}


/* IM_DONE: stopping. */
static int
voids_pause(unsigned ms)
{
    int       running;
    uint64_t  until_us;

    until_us = im_cond_now_us() + (uint64_t) ms * 1000;

    pthread_mutex_lock(&voids_lock);

    while (voids_running
           && im_cond_wait_until(&voids_wake, &voids_lock, until_us) == IM_OK)
    {
        /* woken by what was added: the pause goes on */
    }

    running = voids_running;

    pthread_mutex_unlock(&voids_lock);

    return running ? IM_OK : IM_DONE;
}


void
logic_voids_stop(void)
{
    pthread_mutex_lock(&voids_lock);
    voids_running = 0;
    pthread_cond_signal(&voids_wake);
    pthread_mutex_unlock(&voids_lock);

    im_thread_join(&voids_id);

    im_mysql_destroy(voids_mysql);
    voids_mysql = NULL;
    free(voids_queue);
    voids_queue = NULL;
    voids_n = 0;
}
