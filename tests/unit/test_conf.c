/*
 * test_conf.c -- a daemon's configuration: defaults, then the file, then the
 * environment; a mistake is told with file, line and reason.
 */

#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "im_conf.h"
#include "im_peers.h"


typedef struct {
    im_daemon_conf_t   common;
    char              *key_file;
    unsigned           threads;
} conf_t;


static const im_conf_key_t  own[] = {
    { "own", "key_file", IM_CONF_STR, offsetof(conf_t, key_file), NULL, 0, 0,
      "must be given" },
    { "own", "threads", IM_CONF_UINT, offsetof(conf_t, threads), "4", 1, 64,
      "a number" },
    { NULL, NULL, IM_CONF_STR, 0, NULL, 0, 0, NULL }
};

static const im_conf_key_t *const  tables[] = { im_conf_common, own, NULL };


static void
forget(conf_t *c)
{
    const im_conf_key_t  *k;

    for (k = im_conf_common; k->section != NULL; k++) {
        if (k->type != IM_CONF_UINT) {
            free(*(char **) ((char *) c + k->offset));
        }
    }

    free(c->key_file);
    memset(c, 0, sizeof(*c));
}


static char  folder[] = "/tmp/im-test-conf.XXXXXX";


static int
enter(void **state)
{
    (void) state;

    return mkdtemp(folder) == NULL || chdir(folder) != 0;
}


static int
leave(void **state)
{
    (void) state;

    return chdir("/") != 0 || rmdir(folder) != 0;
}


/* Loads a file with this text; NULL: no file. */
static int
load(conf_t *c, const char *text, char *error, size_t size)
{
    int    rc;
    FILE  *f;

    memset(c, 0, sizeof(*c));

    if (text != NULL) {
        f = fopen("t.conf", "w");
        assert_non_null(f);
        fputs(text, f);
        fclose(f);
    }

    rc = im_conf_load(c, tables, text ? "t.conf" : NULL, error,
                      size);

    if (text != NULL) {
        unlink("t.conf");
    }

    return rc;
}


static void
the_environment_beats_the_file_beats_the_default(void **state)
{
    char    error[256];
    conf_t  c;

    (void) state;

    setenv("IM_REDIS_TAGS", "7", 1);
    assert_int_equal(load(&c, "# ours\n[own]\nkey_file = /k ; here\n"
                              "threads = 8\n[redis]\ntags = 64\n"
                              "address = unix:/r\n", error, sizeof(error)),
                     IM_OK);
    unsetenv("IM_REDIS_TAGS");

    assert_string_equal(c.key_file, "/k");
    assert_int_equal(c.threads, 8);
    assert_string_equal(c.common.redis_address, "unix:/r");
    assert_int_equal(c.common.redis_tags, 7);
    assert_string_equal(c.common.log_level, "notice");
    assert_int_equal(c.common.etcd_lease_s, 3);
    forget(&c);
}


static void
the_environment_alone_is_enough(void **state)
{
    char    error[256];
    conf_t  c;

    (void) state;

    setenv("IM_OWN_KEY_FILE", "/k", 1);
    assert_int_equal(load(&c, NULL, error, sizeof(error)), IM_OK);
    unsetenv("IM_OWN_KEY_FILE");

    assert_string_equal(c.key_file, "/k");
    assert_int_equal(c.threads, 4);
    forget(&c);
}


static void
a_mistake_is_told_with_its_line_and_its_own_reason(void **state)
{
    char    error[256];
    size_t  i;
    conf_t  c;

    static const struct {
        const char  *text;
        const char  *error;
    } bad[] = {
        { "[own]\nkey_file=/k\nthreds = 4\n",
          "t.conf:3: [own] has no key \"threds\"" },
        { "[won]\nkey_file=/k\n",
          "t.conf:2: [won] has no key \"key_file\"" },
        { "key_file=/k\n", "t.conf:1: [] has no key \"key_file\"" },
        { "[own]\nthreads = 0\n",
          "t.conf:2: [own] threads: \"0\" is not in 1-64" },
        { "[own]\nthreads = 65\n",
          "t.conf:2: [own] threads: \"65\" is not in 1-64" },
        { "[own]\nthreads = -1\n",
          "t.conf:2: [own] threads: \"-1\" is not in 1-64" },
        { "[own]\nthreads = 4x\n",
          "t.conf:2: [own] threads: \"4x\" is not in 1-64" },
        { "[own]\nthreads =\n",
          "t.conf:2: [own] threads: \"\" is not in 1-64" },
        { "[own]\nthreads = 99999999999999999999999\n",
          "t.conf:2: [own] threads: \"99999999999999999999999\" is not in "
          "1-64" },
        { "[own\nthreads = 4\n",
          "t.conf:1: neither [section] nor key = value" },
        { "[own]\nthreads 4\nnonsense = 1\n",
          "t.conf:2: neither [section] nor key = value" },
        { "[own]\nkey_file = /k\n  threads = 0\n",
          "t.conf:3: [own] threads: \"0\" is not in 1-64" },
        { "", "t.conf: [own] key_file must be given" },
        { "[own]\nkey_file =\n",
          "t.conf: [own] key_file must be given" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        assert_int_equal(load(&c, bad[i].text, error, sizeof(error)),
                         IM_ERROR);
        assert_string_equal(error, bad[i].error);
        forget(&c);
    }
}


static void
a_mistake_in_the_environment_names_the_variable(void **state)
{
    char    error[256];
    conf_t  c;

    (void) state;

    setenv("IM_OWN_THREADS", "many", 1);
    assert_int_equal(load(&c, "[own]\nkey_file=/k\n", error, sizeof(error)),
                     IM_ERROR);
    unsetenv("IM_OWN_THREADS");

    assert_string_equal(error, "environment IM_OWN_THREADS: [own] threads: "
                               "\"many\" is not in 1-64");
    forget(&c);
}


static void
a_file_that_cannot_be_read_is_said_so(void **state)
{
    char    error[256];
    conf_t  c;

    (void) state;

    memset(&c, 0, sizeof(c));
    assert_int_equal(im_conf_load(&c, tables, "/nowhere/x", error,
                                  sizeof(error)), IM_ERROR);
    assert_string_equal(error, "/nowhere/x: cannot be read: No such file or "
                               "directory");
    forget(&c);

    assert_int_equal(im_conf_load(&c, tables, "/tmp", error, sizeof(error)),
                     IM_ERROR);
    assert_non_null(strstr(error, "/tmp: cannot be read"));
    forget(&c);
}


static int
load_redis(conf_t *c, const char *text, char *error, size_t size)
{
    int    rc;
    FILE  *f;

    memset(c, 0, sizeof(*c));

    f = fopen("t.conf", "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);

    rc = im_conf_load_section(&c->common, "redis", "t.conf", error, size);
    unlink("t.conf");

    return rc;
}


static void
a_tool_reads_its_section_and_leaves_others_to_the_daemon(void **state)
{
    char    error[256];
    conf_t  c;

    (void) state;

    setenv("IM_REDIS_PASSWORD", "p", 1);
    setenv("IM_ETCD_LEASE_S", "none", 1);
    assert_int_equal(load_redis(&c, "[own]\nthreads = 0\nx = y\n[redis]\n"
                                    "tags = 64\n[etcd]\nlease_s = 1\n",
                                error, sizeof(error)), IM_OK);
    unsetenv("IM_REDIS_PASSWORD");
    unsetenv("IM_ETCD_LEASE_S");

    assert_int_equal(c.common.redis_tags, 64);
    assert_string_equal(c.common.redis_password, "p");
    assert_string_equal(c.common.redis_address, "127.0.0.1:6379");
    forget(&c);

    assert_int_equal(load_redis(&c, "[own]\nx = y\n[redis]\ntags = 65\n",
                                error, sizeof(error)), IM_ERROR);
    assert_string_equal(error, "t.conf:4: [redis] tags: \"65\" is not in "
                               "1-64");
    forget(&c);

    assert_int_equal(load_redis(&c, "[redis]\nadress = x\n", error,
                                sizeof(error)), IM_ERROR);
    assert_string_equal(error, "t.conf:2: [redis] has no key \"adress\"");
    forget(&c);
}


static void
an_address_of_a_store_that_is_none_is_refused_at_the_start(void **state)
{
    char    error[256];
    conf_t  c;

    (void) state;

    assert_int_equal(load(&c, "[own]\nkey_file = /k\n[redis]\n"
                              "address = unix:/r\n[mysql]\n"
                              "address = [::1]:3306\n", error,
                          sizeof(error)), IM_OK);
    assert_int_equal(im_peers_check(&c.common, error, sizeof(error)), IM_OK);
    forget(&c);

    assert_int_equal(load(&c, "[own]\nkey_file = /k\n[redis]\n"
                              "address = 127.0.0.1:637x\n", error,
                          sizeof(error)), IM_OK);
    assert_int_equal(im_peers_check(&c.common, error, sizeof(error)),
                     IM_ERROR);
    assert_string_equal(error, "[redis] address: \"127.0.0.1:637x\": the port "
                               "is not in 1-65535");
    forget(&c);

    assert_int_equal(load(&c, "[own]\nkey_file = /k\n[mysql]\n"
                              "address = 127.0.0.1\n", error,
                          sizeof(error)), IM_OK);
    assert_int_equal(im_peers_check(&c.common, error, sizeof(error)),
                     IM_ERROR);
    assert_string_equal(error, "[mysql] address: \"127.0.0.1\" has no port");
    forget(&c);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(the_environment_beats_the_file_beats_the_default),
        cmocka_unit_test(the_environment_alone_is_enough),
        cmocka_unit_test(a_mistake_is_told_with_its_line_and_its_own_reason),
        cmocka_unit_test(a_mistake_in_the_environment_names_the_variable),
        cmocka_unit_test(a_file_that_cannot_be_read_is_said_so),
        cmocka_unit_test(
            a_tool_reads_its_section_and_leaves_others_to_the_daemon),
        cmocka_unit_test(
            an_address_of_a_store_that_is_none_is_refused_at_the_start),
    };

    return cmocka_run_group_tests(tests, enter, leave);
}
