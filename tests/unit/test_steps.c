/*
 * test_steps.c -- a daemon stops in the order of its start, backwards, however
 * far it had come, and a stop that hangs ends all the same.
 */

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#include "im_cond.h"
#include "im_daemon.h"
#include "im_steps.h"


#define LIMIT_MS  5000


static char  trace[64];
static int   answer;               /* of the start of "b" */


/* im_daemon.c's, which stays out: a signal comes at once. */
void
im_daemon_wait(void)
{
    strcat(trace, "|");
}


uint64_t
im_mono_us(void)
{
    return im_cond_now_us();
}


static int
start_a(void)
{
    strcat(trace, "a");
    return IM_OK;
}


static int
start_b(void)
{
    strcat(trace, "b");
    return answer;
}


static int
start_c(void)
{
    strcat(trace, "c");
    return IM_OK;
}


static void
stop_a(void)
{
    strcat(trace, "A");
}


static void
stop_b(void)
{
    strcat(trace, "B");
}


static void
stop_d(void)
{
    strcat(trace, "D");
}


static void
stop_never(void)
{
    for ( ;; ) {
        pause();
    }
}


static void
stop_gives_up(void)
{
    im_steps_give_up("test");
}


/* c needs no stop, d no start. */
static const im_step_t  steps[] = {
    { "a", start_a, stop_a },
    { "b", start_b, stop_b },
    { "c", start_c, NULL },
    { "d", NULL, stop_d },
    { NULL, NULL, NULL }
};


static int
life(int b)
{
    trace[0] = '\0';
    answer = b;

    return im_steps_run(steps, "im-test", LIMIT_MS);
}


static void
test_a_stop_is_the_start_backwards(void **state)
{
    (void) state;

    assert_int_equal(life(IM_OK), 0);
    assert_string_equal(trace, "abc|DBA");
}


static void
test_a_start_that_fails_stops_what_was_started_and_itself(void **state)
{
    (void) state;

    assert_int_equal(life(IM_ERROR), 1);
    assert_string_equal(trace, "abBA");
}


static void
test_a_signal_during_the_start_is_no_failure(void **state)
{
    (void) state;

    assert_int_equal(life(IM_DONE), 0);
    assert_string_equal(trace, "abBA");
}


static int
exit_code(void (*stop)(void), unsigned limit_ms)
{
    int        status;
    pid_t      pid;
    im_step_t  table[] = { { "hangs", NULL, stop }, { NULL, NULL, NULL } };

    pid = fork();

    if (pid == 0) {
        (void) im_steps_run(table, "im-test", limit_ms);
        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));

    return WEXITSTATUS(status);
}


static void
test_a_stop_that_hangs_ends_with_1(void **state)
{
    (void) state;

    assert_int_equal(exit_code(stop_never, 100), 1);
    assert_int_equal(exit_code(stop_gives_up, LIMIT_MS), 1);
    assert_int_equal(exit_code(stop_d, LIMIT_MS), 0);
}


static void *
run(void *arg)
{
    *(int *) arg = 1;

    return NULL;
}


static void
test_a_thread_that_was_not_started_is_not_joined(void **state)
{
    int          ran;
    im_thread_t  t;

    (void) state;

    ran = 0;
    memset(&t, 0, sizeof(t));

    im_thread_join(&t);

    assert_int_equal(im_thread_start(&t, run, &ran), IM_OK);
    im_thread_join(&t);
    im_thread_join(&t);
    assert_int_equal(ran, 1);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_a_stop_is_the_start_backwards),
        cmocka_unit_test(
            test_a_start_that_fails_stops_what_was_started_and_itself),
        cmocka_unit_test(test_a_signal_during_the_start_is_no_failure),
        cmocka_unit_test(test_a_stop_that_hangs_ends_with_1),
        cmocka_unit_test(test_a_thread_that_was_not_started_is_not_joined),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
