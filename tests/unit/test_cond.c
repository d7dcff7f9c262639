/*
 * test_cond.c -- a wait with a deadline ends in time, however the time of day
 * is set meanwhile.
 *
 * The time of day that this process sees is an hour ahead of the kernel's: a
 * wait that takes its deadline from it lasts an hour, and alarm() ends us.
 */

#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

#include "im_cond.h"
#include "task_peer_int.h"


#define AHEAD_S    3600
#define TOO_LONG_S 20


int
clock_gettime(clockid_t clock, struct timespec *ts)
{
    int  rc;

    rc = (int) syscall(SYS_clock_gettime, clock, ts);

    if (clock == CLOCK_REALTIME) {
        ts->tv_sec += AHEAD_S;
    }

    return rc;
}


static void
test_a_wait_ends_in_time_whatever_the_time_of_day(void **state)
{
    uint64_t         before;
    pthread_cond_t   cond = PTHREAD_COND_INITIALIZER;
    pthread_mutex_t  lock = PTHREAD_MUTEX_INITIALIZER;

    (void) state;

    before = im_cond_now_us();

    pthread_mutex_lock(&lock);

    while (im_cond_wait(&cond, &lock, 30) == IM_OK) {
        /* woken for nothing */
    }

    while (im_cond_wait_until(&cond, &lock, before + 60000) == IM_OK) {
        /* the same */
    }

    pthread_mutex_unlock(&lock);

    assert_true(im_cond_now_us() >= before + 60000);
}


static void *
wake(void *arg)
{
    int  *ready = arg;

    pthread_mutex_lock(&task_peer_lock);
    *ready = 1;
    pthread_cond_broadcast(&task_peer_wake);
    pthread_mutex_unlock(&task_peer_lock);

    return NULL;
}


static void
test_a_wait_ends_when_it_is_woken(void **state)
{
    int        ready;
    pthread_t  id;

    (void) state;

    ready = 0;

    pthread_mutex_lock(&task_peer_lock);

    assert_int_equal(pthread_create(&id, NULL, wake, &ready), 0);

    while (!ready) {
        assert_int_equal(im_cond_wait(&task_peer_wake, &task_peer_lock,
                                      TOO_LONG_S * 1000), IM_OK);
    }

    pthread_mutex_unlock(&task_peer_lock);
    pthread_join(id, NULL);
}


/* As the threads of a daemon wait. */
static void
test_task_waits_for_its_peers_and_no_longer(void **state)
{
    uint64_t  before;

    (void) state;

    before = im_cond_now_us();
    task_peer_wait(20);

    assert_true(im_cond_now_us() < before + TOO_LONG_S * 1000000ull);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_a_wait_ends_in_time_whatever_the_time_of_day),
        cmocka_unit_test(test_a_wait_ends_when_it_is_woken),
        cmocka_unit_test(test_task_waits_for_its_peers_and_no_longer),
    };

    alarm(TOO_LONG_S);

    return cmocka_run_group_tests(tests, NULL, NULL);
}
