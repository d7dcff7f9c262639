/*
 * logic_alive.c -- see logic_alive.h.
 *
 * An instance that Redis names and etcd does not is either dead, or so young
 * that our watch has not reported it yet.  So a name that is missing counts as
 * dead only when it was asked for ALIVE_YOUNG_MS ago, too.
 *
 * Runs on: rpc thread; logic_alive on any.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "im_clock.h"
#include "im_hash.h"
#include "logic_alive.h"


#define ALIVE_YOUNG_MS     2000
#define ALIVE_MISSING_MAX  1024    /* names remembered, the latest */


typedef struct {
    UT_hash_handle   hh;
    uint64_t         since_us;     /* of a missing one */
    char             id[];
} alive_name_t;


static void alive_on_up(void *ctx, im_disc_instance_t *inst);
static void alive_on_down(void *ctx, im_disc_instance_t *inst);
static alive_name_t *alive_add(alive_name_t **table, const char *id,
    size_t len);
static void alive_remove(alive_name_t **table, const char *id, size_t len);
static void alive_free(alive_name_t **table, alive_name_t *name);
static void alive_clear(alive_name_t **table);


static const im_disc_handler_t  alive_handler = {
    .up = alive_on_up,
    .down = alive_on_down
};

static pthread_mutex_t    alive_lock = PTHREAD_MUTEX_INITIALIZER;
static alive_name_t      *alive_names;
static alive_name_t      *alive_missing;
static void             (*alive_watches[LOGIC_ALIVE_WATCHES])(const char *id);
static unsigned           alive_n;


int
logic_alive_start(im_disc_t *disc)
{
    return im_disc_subscribe(disc, "connect", &alive_handler, NULL);
}


void
logic_alive_watch(void (*gone)(const char *id))
{
    if (alive_n < LOGIC_ALIVE_WATCHES) {
        alive_watches[alive_n++] = gone;
    }
}


static void
alive_on_up(void *ctx, im_disc_instance_t *inst)
{
    size_t  len;

    (void) ctx;

    len = strlen(inst->id);

    pthread_mutex_lock(&alive_lock);
    alive_remove(&alive_missing, inst->id, len);
    (void) alive_add(&alive_names, inst->id, len);
    pthread_mutex_unlock(&alive_lock);
}


/* Known to be gone: dead at once, not only after ALIVE_YOUNG_MS. */
static void
alive_on_down(void *ctx, im_disc_instance_t *inst)
{
    size_t         len;
    unsigned       i;
    alive_name_t  *name;

    (void) ctx;

    len = strlen(inst->id);

    pthread_mutex_lock(&alive_lock);

    alive_remove(&alive_names, inst->id, len);
    alive_remove(&alive_missing, inst->id, len);

    name = alive_add(&alive_missing, inst->id, len);
    if (name != NULL) {
        name->since_us = 0;
    }

    pthread_mutex_unlock(&alive_lock);

    for (i = 0; i < alive_n; i++) {
        alive_watches[i](inst->id);
    }
}


int
logic_alive(const char *id, size_t len)
{
    int            rc;
    uint64_t       now;
    alive_name_t  *name;

    now = im_mono_us();

    pthread_mutex_lock(&alive_lock);

    HASH_FIND(hh, alive_names, id, len, name);

    if (name != NULL) {
        rc = IM_OK;

    } else {
        HASH_FIND(hh, alive_missing, id, len, name);

        if (name == NULL) {
            name = alive_add(&alive_missing, id, len);
        }

        rc = (name != NULL && now > name->since_us + ALIVE_YOUNG_MS * 1000)
             ? IM_DECLINED : IM_AGAIN;
    }

    pthread_mutex_unlock(&alive_lock);

    return rc;
}


/* Under the lock, as the next three.  The first of a table is the oldest. */
static alive_name_t *
alive_add(alive_name_t **table, const char *id, size_t len)
{
    alive_name_t  *name;

    if (HASH_COUNT(*table) >= ALIVE_MISSING_MAX && table == &alive_missing) {
        alive_free(table, *table);
    }

    name = calloc(1, sizeof(alive_name_t) + len + 1);
    if (name == NULL) {
        return NULL;
    }

    memcpy(name->id, id, len);
    name->since_us = im_mono_us();
    HASH_ADD_KEYPTR(hh, *table, name->id, len, name);

    if (!im_hash_is_added(name)) {
        free(name);
        return NULL;
    }

    return name;
}


static void
alive_remove(alive_name_t **table, const char *id, size_t len)
{
    alive_name_t  *name;

    HASH_FIND(hh, *table, id, len, name);

    if (name != NULL) {
        alive_free(table, name);
    }
}


static void
alive_free(alive_name_t **table, alive_name_t *name)
{
    HASH_DEL(*table, name);
    free(name);
}


static void
alive_clear(alive_name_t **table)
{
    alive_name_t  *name, *next;

    HASH_ITER(hh, *table, name, next) {
        alive_free(table, name);
    }
}


void
logic_alive_stop(void)
{
    pthread_mutex_lock(&alive_lock);
    alive_clear(&alive_names);
    alive_clear(&alive_missing);
    pthread_mutex_unlock(&alive_lock);
}
