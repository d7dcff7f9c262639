/*
 * test_route.c -- where the users and rooms of a batch are, when Redis says
 * something else than where.
 *
 * The Redis is a thread with the answers ready, one for each command.
 */

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "unit_wait.h"

#include "task_route.h"

#define USER  5
#define ROOM  7


static const char  *answers[12];
static char         asked[4096];       /* all commands, as they came */
static char         path[64];
static int          listener;
static pthread_t    server;


static void *
serve(void *arg)
{
    int      fd;
    size_t   n, len, answered;
    ssize_t  got;

    (void) arg;

    fd = accept(listener, NULL, NULL);
    len = 0;
    answered = 0;

    while ((got = read(fd, asked + len, sizeof(asked) - len - 1)) > 0) {

        /* a command begins with '*', which nothing else in them does */

        for (n = 0; n < (size_t) got; n++) {
            if (asked[len + n] == '*' && answered < UNIT_N(answers)) {
                assert_true(write(fd, answers[answered],
                                  strlen(answers[answered])) > 0);
                answered++;
            }
        }

        len += (size_t) got;
    }

    close(fd);

    return NULL;
}


/* Routes of a batch with one user and one room. */
static void
setup(task_routes_t *r)
{
    im_redis_conf_t            conf = { path, NULL, 3000 };
    static struct sockaddr_un  sun;

    sun.sun_family = AF_UNIX;
    snprintf(path, sizeof(path), "unix:/tmp/im-test-route.%d", (int) getpid());
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path + 5);
    unlink(sun.sun_path);

    memset(asked, 0, sizeof(asked));
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *) &sun, sizeof(sun)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(pthread_create(&server, NULL, serve, NULL), 0);

    memset(r, 0, sizeof(task_routes_t));
    r->redis = im_redis_create(&conf);
    assert_non_null(r->redis);
    assert_int_equal(task_route_add(r, USER), IM_OK);
    assert_int_equal(task_route_add_room(r, ROOM), IM_OK);
}


static void
teardown(task_routes_t *r)
{
    task_route_clear(r);
    task_peer_stop();
    im_redis_destroy(r->redis);
    pthread_join(server, NULL);
    close(listener);
    unlink(path + 5);
}


static void
test_an_error_of_redis_is_no_answer(void **state)
{
    task_routes_t  r;

    (void) state;

    answers[0] = "-LOADING Redis is loading the dataset in memory\r\n";
    answers[1] = "-LOADING Redis is loading the dataset in memory\r\n";
    answers[2] = "*0\r\n";
    answers[3] = "-BUSY Redis is busy running a script\r\n";
    answers[4] = "*0\r\n";
    answers[5] = "*0\r\n";
    answers[6] = answers[7] = "-ERR too many\r\n";

    setup(&r);
    assert_int_equal(task_route_resolve(&r), IM_ERROR);
    assert_non_null(strstr(r.error, "LOADING"));
    assert_int_equal(task_route_resolve(&r), IM_ERROR);
    assert_non_null(strstr(r.error, "BUSY"));
    assert_int_equal(task_route_resolve(&r), IM_OK);
    assert_int_equal(task_route_find(&r, USER)->n, 0);
    assert_int_equal(task_route_find_room(&r, ROOM)->n, 0);
    teardown(&r);
}


/* Or the queue would stand still for ever. */
static void
test_a_key_of_another_kind_is_nobody(void **state)
{
    task_routes_t  r;

    (void) state;

    answers[0] = "*0\r\n";
    answers[1] = "-WRONGTYPE Operation against a key\r\n";

    setup(&r);
    assert_int_equal(task_route_resolve(&r), IM_OK);
    assert_int_equal(task_route_find_room(&r, ROOM)->n, 0);
    teardown(&r);
}


/* Etcd may name them any moment. */
static void
test_what_dead_instances_left_in_a_room_is_removed_after_a_second(
    void **state)
{
    unsigned       n;
    task_routes_t  r;

    (void) state;

    answers[0] = answers[2] = "*0\r\n";
    answers[1] = "*4\r\n$4\r\ndead\r\n$1\r\n3\r\n$4\r\ngone\r\n$1\r\n0\r\n";
    answers[3] = answers[1];

    for (n = 4; n < 8; n++) {
        answers[n] = ":1\r\n";
        answers[n + 4] = "*0\r\n";
    }

    setup(&r);
    assert_int_equal(task_route_resolve(&r), IM_OK);
    assert_int_equal(task_route_find_room(&r, ROOM)->n, 2);
    assert_null(strstr(asked, "DEL"));

    unit_pause(1100);
    assert_int_equal(task_route_resolve(&r), IM_OK);
    assert_int_equal(task_route_find_room(&r, ROOM)->n, 0);
    assert_non_null(strstr(asked, "HDEL\r\n$8\r\nim:r:{7}\r\n$4\r\ndead\r\n"));
    assert_non_null(strstr(asked, "DEL\r\n$14\r\nim:rl:{7}:dead\r\n"));
    assert_non_null(strstr(asked, "HDEL\r\n$8\r\nim:r:{7}\r\n$4\r\ngone\r\n"));

    /* and the replies to that are not taken for the next batch's */

    assert_int_equal(task_route_resolve(&r), IM_OK);
    teardown(&r);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_an_error_of_redis_is_no_answer),
        cmocka_unit_test(test_a_key_of_another_kind_is_nobody),
        cmocka_unit_test(
            test_what_dead_instances_left_in_a_room_is_removed_after_a_second),
    };

    return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
