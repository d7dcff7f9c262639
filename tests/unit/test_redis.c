/*
 * test_redis.c -- a reply that is not of the expected type is an error, and no
 * command gets the reply of an earlier one.
 *
 * Redis is a thread that answers each connection with a text of the test's,
 * whatever it is asked.
 */

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <hiredis.h>

#include "unit.h"

#include "im_probe_stores.h"
#include "im_redis.h"


#define ANSWERS_MAX  4


typedef struct {
    int           fd;
    char          path[64];
    char          address[80];
    pthread_t     thread;
    const char   *answers[ANSWERS_MAX];    /* by connection; NULL: the end */
    int           held[ANSWERS_MAX];
    unsigned      n;
    im_redis_t   *redis;
} fake_t;


static void *
serve(void *arg)
{
    char     buf[4096];
    fake_t  *f = arg;

    while (f->answers[f->n] != NULL) {
        f->held[f->n] = accept(f->fd, NULL, NULL);

        if (f->held[f->n] == -1
            || read(f->held[f->n], buf, sizeof(buf)) <= 0
            || write(f->held[f->n], f->answers[f->n],
                     strlen(f->answers[f->n])) <= 0)
        {
            return NULL;
        }

        f->n++;
    }

    return NULL;
}


static void
start(fake_t *f, const char *first, const char *second)
{
    im_redis_conf_t     conf;
    struct sockaddr_un  sun;

    memset(f, 0, sizeof(*f));
    f->answers[0] = first;
    f->answers[1] = second;
    snprintf(f->path, sizeof(f->path), "/tmp/im-test-redis-%d", (int) getpid());
    snprintf(f->address, sizeof(f->address), "unix:%s", f->path);
    (void) unlink(f->path);

    memset(&sun, 0, sizeof(sun));
    sun.sun_family = AF_UNIX;
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", f->path);

    f->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(f->fd != -1);
    assert_int_equal(bind(f->fd, (struct sockaddr *) &sun, sizeof(sun)), 0);
    assert_int_equal(listen(f->fd, 8), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);

    conf.address = f->address;
    conf.password = NULL;
    conf.timeout_ms = 10000;

    f->redis = im_redis_create(&conf);
    assert_non_null(f->redis);
}


static void
end(fake_t *f)
{
    unsigned  i;

    im_redis_destroy(f->redis);
    pthread_join(f->thread, NULL);

    for (i = 0; i < f->n; i++) {
        close(f->held[i]);
    }

    close(f->fd);
    (void) unlink(f->path);
}


static void
ask(fake_t *f, unsigned n)
{
    im_str_t  argv[1] = { im_str("PING") };

    while (n-- > 0) {
        assert_int_equal(im_redis_append(f->redis, 1, argv), IM_OK);
    }
}


static void
test_an_error_is_no_empty_answer(void **state)
{
    fake_t      f;
    long long   n;

    (void) state;

    start(&f, "-LOADING Redis is loading\r\n$1\r\nx\r\n:7\r\n", NULL);

    n = 5;
    ask(&f, 1);
    assert_null(im_redis_expect(f.redis, IM_REDIS_ARRAY | IM_REDIS_NIL));
    assert_string_equal(im_redis_error(f.redis), "LOADING Redis is loading");

    end(&f);

    start(&f, "$1\r\nx\r\n", NULL);

    ask(&f, 1);
    assert_int_equal(im_redis_expect_int(f.redis, &n), IM_ERROR);
    assert_int_equal(n, 5);

    end(&f);
}


static void
test_what_is_expected_is_given(void **state)
{
    fake_t       f;
    long long    n;
    redisReply  *reply;

    (void) state;

    start(&f, "*2\r\n:1\r\n:2\r\n$-1\r\n:42\r\n+OK\r\n-ERR\r\n", NULL);
    ask(&f, 5);

    reply = im_redis_expect(f.redis, IM_REDIS_ARRAY);
    assert_non_null(reply);
    assert_int_equal(reply->elements, 2);
    im_redis_free(reply);

    reply = im_redis_expect(f.redis, IM_REDIS_STR | IM_REDIS_NIL);
    assert_non_null(reply);
    im_redis_free(reply);

    assert_int_equal(im_redis_expect_int(f.redis, &n), IM_OK);
    assert_int_equal(n, 42);

    reply = im_redis_expect(f.redis, IM_REDIS_OK);
    assert_non_null(reply);
    im_redis_free(reply);

    reply = im_redis_reply(f.redis);
    assert_non_null(reply);
    assert_int_equal(im_redis_is(f.redis, reply, IM_REDIS_ERROR), 1);
    assert_int_equal(im_redis_is(f.redis, reply, IM_REDIS_INT), 0);
    im_redis_free(reply);

    end(&f);
}


/* MOVED is followed by nobody here: found at the start, not by each send. */
static void
test_a_redis_cluster_is_refused_by_name(void **state)
{
    fake_t            f;
    char              error[300];
    im_probe_redis_t  r;
    im_daemon_conf_t  conf;

    (void) state;

    memset(&conf, 0, sizeof(conf));
    memset(&r, 0, sizeof(r));
    r.conf = &conf;

    start(&f, "$30\r\n# Cluster\r\ncluster_enabled:1\r\n\r\n"
          "-MOVED 1234 127.0.0.1:7001\r\n", NULL);
    conf.redis_address = f.address;
    r.redis = f.redis;
    assert_int_equal(im_probe_redis_look(&r, error, sizeof(error)), IM_ERROR);
    assert_non_null(strstr(error, f.address));
    assert_non_null(strstr(error, "Redis Cluster, which is not supported"));
    end(&f);

    start(&f, "$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n+OK\r\n", NULL);
    r.redis = f.redis;
    assert_int_equal(im_probe_redis_look(&r, error, sizeof(error)), IM_OK);
    end(&f);

    /* an account that may not ask */

    start(&f, "-NOPERM no permission\r\n+OK\r\n", NULL);
    r.redis = f.redis;
    assert_int_equal(im_probe_redis_look(&r, error, sizeof(error)), IM_OK);
    end(&f);

    start(&f, "$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n"
          "-READONLY a replica\r\n", NULL);
    r.redis = f.redis;
    assert_int_equal(im_probe_redis_look(&r, error, sizeof(error)), IM_ERROR);
    assert_non_null(strstr(error, "READONLY"));
    end(&f);
}


static void
test_no_command_gets_the_reply_of_an_earlier_one(void **state)
{
    fake_t     f;
    long long  n;

    (void) state;

    /* after the error in the middle, two replies are left that nobody reads */

    start(&f, ":1\r\n-NOPERM no\r\n:2\r\n:3\r\n", ":4\r\n");
    ask(&f, 4);

    assert_int_equal(im_redis_expect_int(f.redis, &n), IM_OK);
    assert_int_equal(im_redis_expect_int(f.redis, &n), IM_ERROR);
    assert_null(im_redis_reply(f.redis));

    ask(&f, 1);
    assert_int_equal(im_redis_expect_int(f.redis, &n), IM_OK);
    assert_int_equal(n, 4);

    end(&f);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_an_error_is_no_empty_answer),
        cmocka_unit_test(test_what_is_expected_is_given),
        cmocka_unit_test(test_a_redis_cluster_is_refused_by_name),
        cmocka_unit_test(test_no_command_gets_the_reply_of_an_earlier_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
