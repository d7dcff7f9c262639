/*
 * tsan_threads.c -- C11 threads by pthread_create(), for ThreadSanitizer.
 *
 * librdkafka starts its threads with thrd_create(), which this sanitizer does
 * not know: it crashes in the first one.  Linked into builds with SAN=thread
 * only, where these definitions come before libc's.
 */

#if (__SANITIZE_THREAD__)

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>


typedef struct {
    thrd_start_t   fn;
    void          *arg;
} start_t;


static void *
thread(void *arg)
{
    start_t  s = *(start_t *) arg;

    free(arg);

    return (void *) (intptr_t) s.fn(s.arg);
}


int
thrd_create(thrd_t *thr, thrd_start_t fn, void *arg)
{
    start_t  *s;

    s = malloc(sizeof(start_t));
    if (s == NULL) {
        return thrd_nomem;
    }

    s->fn = fn;
    s->arg = arg;

    if (pthread_create(thr, NULL, thread, s) != 0) {
        free(s);
        return thrd_error;
    }

    return thrd_success;
}


int
thrd_join(thrd_t thr, int *res)
{
    void  *value;

    if (pthread_join(thr, &value) != 0) {
        return thrd_error;
    }

    if (res != NULL) {
        *res = (int) (intptr_t) value;
    }

    return thrd_success;
}

#else

typedef int  tsan_threads_empty_t;

#endif
