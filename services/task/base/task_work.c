/*
 * task_work.c -- see task_work.h.
 */

#include "im_probe.h"
#include "task_work.h"


static im_probe_t  work_push = { .name = "pushing" };
static im_probe_t  work_store = { .name = "storing" };


int
task_work_start_push(void)
{
    return im_probe_start(&work_push);
}


int
task_work_start_store(void)
{
    return im_probe_start(&work_store);
}


void
task_work_push(const char *error)
{
    im_probe_report(&work_push, error);
}


void
task_work_store(const char *error)
{
    im_probe_report(&work_store, error);
}
