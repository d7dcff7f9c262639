/*
 * logic_presence_groups.c -- the groups of those who open, and their rooms.
 *
 * Most sets of groups are in Redis; MySQL is asked for the others of a batch at
 * once.  What cannot be known is not answered: a list that is not whole would
 * take the user out of groups.
 *
 * Presence thread.
 */

#include <stdlib.h>

#include "im_clock.h"
#include "im_log.h"
#include "logic_presence_int.h"
#include "logic_probes.h"
#include "logic_rooms_groups.h"
#include "logic_rooms_routes.h"


#define GROUPS_ROUND     4000          /* commands before their replies */
#define GROUPS_MYSQL_US  1000000       /* after a failure: not asked */


static void groups_on_group(void *ctx, uint64_t uid, uint64_t room);


/* Users whose groups Redis does not know.  When MySQL is away, it is not waited
 * for by each batch: closes and other opens go on. */
void
logic_presence_groups(presence_t *p, presence_job_t *jobs)
{
    size_t           i, n;
    uint64_t         uids[PRESENCE_BATCH];
    presence_job_t  *job;

    n = 0;

    for (job = jobs; job != NULL; job = job->next) {

        if (job->kind != PRESENCE_OPEN || !job->missing
            || logic_presence_refused(job))
        {
            continue;
        }

        for (i = 0; i < n && uids[i] != job->uid; i++) {
            /* twice in this batch? */
        }

        if (i == n) {
            uids[n++] = job->uid;
        }
    }

    if (n == 0 || im_mono_us() < p->mysql_us || logic_probes_mysql_away()) {
        return;
    }

    if (logic_rooms_of_users(&p->db, uids, n, groups_on_group, jobs) != IM_OK) {
        im_log(IM_LOG_WARN, "groups of %zu users cannot be looked up: %s", n,
               im_mysql_error(p->db.mysql));
        logic_probes_mysql_failed();
        p->mysql_us = im_mono_us() + GROUPS_MYSQL_US;
        return;
    }

    for (job = jobs; job != NULL; job = job->next) {
        job->groups = 1;
    }
}


static void
groups_on_group(void *ctx, uint64_t uid, uint64_t room)
{
    presence_job_t  *job;

    for (job = ctx; job != NULL; job = job->next) {
        if (job->uid == uid && job->kind == PRESENCE_OPEN && job->missing) {
            logic_presence_room(job, room);
        }
    }
}


void
logic_presence_room(presence_job_t *job, uint64_t room)
{
    size_t     max;
    uint64_t  *rooms;

    if (room == 0) {
        return;
    }

    if (job->n_rooms == job->max_rooms) {
        max = job->max_rooms ? job->max_rooms * 2 : 16;

        rooms = realloc(job->rooms, max * sizeof(uint64_t));
        if (rooms == NULL) {
            job->missing = 1;          /* not the whole truth: not answered */
            job->groups = 0;
            return;
        }

        job->rooms = rooms;
        job->max_rooms = max;
    }

    job->rooms[job->n_rooms++] = room;
}


int
logic_presence_rooms(presence_t *p, presence_job_t *jobs)
{
    size_t           i, n;
    presence_job_t  *job;

    n = 0;

    for (job = jobs; job != NULL; job = job->next) {

        for (i = 0; i < job->n_rooms && !logic_presence_refused(job); i++) {

            if (logic_rooms_watch(p->db.redis, job->rooms[i], job->instance)
                != IM_OK)
            {
                return IM_ERROR;
            }

            n += LOGIC_ROOMS_WATCH;

            if (n >= GROUPS_ROUND) {
                if (logic_presence_skip(p->db.redis, n) != IM_OK) {
                    return IM_ERROR;
                }

                n = 0;
            }
        }
    }

    return logic_presence_skip(p->db.redis, n);
}
