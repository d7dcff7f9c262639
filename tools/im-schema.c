/*
 * im-schema.c -- brings the tables of a database to the schema of this version.
 *
 *   im-schema [--config FILE] status     what is done, what is to be done
 *   im-schema [--config FILE] up         do it
 *
 * FILE is that of im-logic or im-task: its section [mysql] is read, and the
 * environment (IM_MYSQL_USER, IM_MYSQL_PASSWORD: of an account that may change
 * tables).
 *
 * Nothing here may be done by halves and then be lost: MySQL commits each
 * statement that changes a table by itself.  So each step is written down in
 * schema_versions after it, and what a crash has left between the two is done
 * again: a column or an index that is there already is taken for done.  That is
 * exact because a migration adds or drops one thing with each statement.
 *
 * Only one im-schema works at a time.  The lock belongs to the connection that
 * runs the statements, which is therefore never made anew: the lock lasts as
 * long as a statement may be running, whatever became of this process.
 *
 * A statement that changes a table waits for the transactions that use it, and
 * whoever comes after it waits behind it.  It waits for 1 s at most, then lets
 * them pass, and tries again later.
 *
 * Exit code: 0, 1 (it failed), 2 (the command line), 3 (status: something is to
 * be done).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "im_clock.h"
#include "im_conf.h"
#include "im_crash.h"
#include "im_schema.h"
#include "im_text.h"
#include "im_version.h"


#define STATUS_TODO   3
#define STATEMENT_S   86400        /* an index of a large table takes long */
#define LOCK_TRIES    600          /* of 1 s each */
#define TABLE_TRIES   12
#define TABLE_PAUSE_S 5
#define LOCK_TIMEOUT  1205         /* of MySQL and MariaDB, as the others */
#define DEADLOCK      1213


typedef struct {
    unsigned  begun;               /* there is a row */
    uint64_t  steps;               /* statements that are done */
    uint64_t  done_ms;             /* since 1970; 0: not all */
} progress_t;


static int parse(int argc, char **argv, int *up, int *status);
static int usage(void);
static im_mysql_t *connect_to(unsigned timeout_s, int pinned);
static int status_run(im_mysql_t *m);
static int up_run(im_mysql_t *m);
static int up_lock(im_mysql_t *m);
static int up_migrate(im_mysql_t *m, const im_schema_t *s);
static int up_step(im_mysql_t *m, const im_schema_t *s, uint64_t nth);
static int up_is_there(unsigned err);
static int progress_read(im_mysql_t *m, const im_schema_t *s, progress_t *p);
static int progress_write(im_mysql_t *m, const im_schema_t *s,
    uint64_t steps, uint64_t done_ms);
static uint64_t statements(const im_schema_t *s);
static int on_number(void *ctx, const im_mysql_value_t *values);
static int on_progress(void *ctx, const im_mysql_value_t *values);
static int failed(im_mysql_t *m, const char *what);


static im_daemon_conf_t  conf;


int
main(int argc, char **argv)
{
    int          rc, status, up;
    char         error[512];
    im_mysql_t  *m;

    up = 0;
    status = 0;

    if (parse(argc, argv, &up, &status) != IM_OK) {
        return status;
    }

    if (im_conf_load_section(&conf, "mysql", conf.file, error, sizeof(error))
        != IM_OK)
    {
        fprintf(stderr, "im-schema: %s\n", error);
        return 1;
    }

    setvbuf(stdout, NULL, _IOLBF, 0);

    /* A server that hangs is found before the long limit begins. */

    m = connect_to(conf.mysql_timeout_ms / 1000, 0);

    if (m != NULL && up) {
        im_mysql_destroy(m);
        m = connect_to(STATEMENT_S, 1);
    }

    if (m == NULL) {
        return 1;
    }

    rc = up ? up_run(m) : status_run(m);
    im_mysql_destroy(m);

    return rc;
}


static int
parse(int argc, char **argv, int *up, int *status)
{
    int  i;

    for (i = 1; i < argc; i++) {

        if ((strcmp(argv[i], "--config") == 0 || strcmp(argv[i], "-c") == 0)
            && i + 1 < argc)
        {
            conf.file = argv[++i];

        } else if (strcmp(argv[i], "--version") == 0) {
            printf("im-schema %s, schema %u\n", IM_VERSION, im_schema_known());
            return IM_DONE;

        } else {
            break;
        }
    }

    if (i + 1 == argc && strcmp(argv[i], "up") == 0) {
        *up = 1;
        return IM_OK;
    }

    if (i + 1 == argc && strcmp(argv[i], "status") == 0) {
        return IM_OK;
    }

    *status = usage();

    return IM_ERROR;
}


static int
usage(void)
{
    fprintf(stderr,
            "usage: im-schema [--config FILE] status | up\n"
            "       im-schema --version\n"
            "FILE is logic.conf or task.conf, of which [mysql] is read; also\n"
            "IM_MYSQL_ADDRESS, _USER, _PASSWORD, _DATABASE in the "
            "environment\n");

    return 2;
}


static im_mysql_t *
connect_to(unsigned timeout_s, int pinned)
{
    im_mysql_t       *m;
    im_mysql_conf_t   mc;

    mc.address = conf.mysql_address;
    mc.user = conf.mysql_user;
    mc.password = conf.mysql_password;
    mc.database = conf.mysql_database;
    mc.timeout_ms = timeout_s * 1000;

    m = im_mysql_create(&mc);

    if (m == NULL) {
        fprintf(stderr, "im-schema: out of memory\n");
        return NULL;
    }

    if ((pinned ? im_mysql_pin(m) : im_mysql_ping(m)) != IM_OK) {
        (void) failed(m, "cannot connect");
        im_mysql_destroy(m);
        return NULL;
    }

    return m;
}


static int
status_run(im_mysql_t *m)
{
    int                 todo;
    char                when[32], error[256];
    time_t              t;
    struct tm           utc;
    progress_t          p;
    im_schema_state_t   state;
    const im_schema_t  *s;

    if (im_schema_read(m, &state) != IM_OK) {
        return failed(m, "schema_versions");
    }

    todo = 0;

    printf("%s at %s: schema %u, this program needs %u\n", conf.mysql_database,
           conf.mysql_address, state.version, im_schema_known());

    for (s = im_schema_all; s->version != 0; s++) {
        memset(&p, 0, sizeof(p));

        if ((state.version != 0 || state.min_program != 0)
            && progress_read(m, s, &p) != IM_OK)
        {
            return failed(m, "schema_versions");
        }

        if (p.done_ms != 0) {
            t = (time_t) (p.done_ms / 1000);
            (void) strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC",
                            gmtime_r(&t, &utc));
            printf("  %-24s done %s\n", s->name, when);
            continue;
        }

        todo = 1;
        printf("  %-24s %llu of %llu statements done\n", s->name,
               (unsigned long long) p.steps,
               (unsigned long long) statements(s));
    }

    if (im_schema_check(&state, im_schema_known(), &conf, error,
                        sizeof(error))
        == IM_ERROR)
    {
        fprintf(stderr, "im-schema: %s\n", error);
        return 1;
    }

    return todo ? STATUS_TODO : 0;
}


static int
up_run(im_mysql_t *m)
{
    char                error[256];
    im_schema_state_t   state;
    const im_schema_t  *s;

    if (up_lock(m) != IM_OK) {
        return 1;
    }

    if (im_mysql_say(m, "SET SESSION lock_wait_timeout = 1") != IM_OK
        || im_mysql_say(m,
               "CREATE TABLE IF NOT EXISTS schema_versions ("
               " version INT UNSIGNED NOT NULL,"
               " name VARCHAR(64) CHARACTER SET ascii NOT NULL,"
               " min_program INT UNSIGNED NOT NULL,"
               " steps INT UNSIGNED NOT NULL,"
               " done_ms BIGINT UNSIGNED NOT NULL,"
               " PRIMARY KEY (version)) ENGINE = InnoDB") != IM_OK
        || im_schema_read(m, &state) != IM_OK)
    {
        return failed(m, "schema_versions");
    }

    if (im_schema_check(&state, im_schema_known(), &conf, error,
                        sizeof(error))
        == IM_ERROR)
    {
        fprintf(stderr, "im-schema: %s\n", error);
        return 1;
    }

    for (s = im_schema_all; s->version != 0; s++) {
        if (up_migrate(m, s) != IM_OK) {
            return 1;
        }
    }

    printf("%s has schema %u\n", conf.mysql_database,
           (state.version > im_schema_known()) ? state.version
                                               : im_schema_known());

    return 0;
}


static int
up_lock(im_mysql_t *m)
{
    int       i;
    uint64_t  got;

    static const im_mysql_type_t  number = IM_MYSQL_U64;

    for (i = 0; i < LOCK_TRIES; i++) {
        got = 0;

        if (im_mysql_run(m, "SELECT COALESCE(GET_LOCK("
                         "CONCAT('im-schema ', MD5(DATABASE())), 1), 0)",
                         NULL, 0, &number, 1, on_number, &got, NULL, NULL)
            != IM_OK)
        {
            return failed(m, "GET_LOCK");
        }

        if (got == 1) {
            return IM_OK;
        }

        if (i == 0) {
            printf("another im-schema is at work here: waiting for it\n");
        }
    }

    fprintf(stderr, "im-schema: another one has been at work for %d s\n",
            LOCK_TRIES);

    return IM_ERROR;
}


static int
up_migrate(im_mysql_t *m, const im_schema_t *s)
{
    uint64_t    n, begin;
    progress_t  p;

    if (progress_read(m, s, &p) != IM_OK) {
        return failed(m, s->name);
    }

    if (p.done_ms != 0) {
        return IM_OK;
    }

    if (p.steps > statements(s)) {
        fprintf(stderr, "im-schema: %s has fewer statements than were done of "
                "it here: another build has begun it\n", s->name);
        return IM_ERROR;
    }

    /* min_program counts from here on: before anything is changed. */

    if (!p.begun && progress_write(m, s, 0, 0) != IM_OK) {
        return failed(m, s->name);
    }

    begin = im_mono_us();

    for (n = p.steps; s->statements[n] != NULL; n++) {
        if (up_step(m, s, n) != IM_OK) {
            return IM_ERROR;
        }

        IM_CRASH_POINT("schema.step");

        if (progress_write(m, s, n + 1, 0) != IM_OK) {
            return failed(m, s->name);
        }
    }

    if (progress_write(m, s, n, im_now_ms()) != IM_OK) {
        return failed(m, s->name);
    }

    printf("  %-24s done in %.1f s\n", s->name,
           (double) (im_mono_us() - begin) / 1000000);

    return IM_OK;
}


static int
up_step(im_mysql_t *m, const im_schema_t *s, uint64_t nth)
{
    int              tries;
    char             what[96];
    unsigned         err;
    struct timespec  pause = { TABLE_PAUSE_S, 0 };

    for (tries = 1; ; tries++) {

        if (im_mysql_say(m, s->statements[nth]) == IM_OK
            || up_is_there(im_mysql_errno(m)))
        {
            return IM_OK;
        }

        err = im_mysql_errno(m);

        if ((err != LOCK_TIMEOUT && err != DEADLOCK) || tries == TABLE_TRIES)
        {
            break;
        }

        if (tries == 1) {
            printf("  %-24s waits for a transaction that uses its table\n",
                   s->name);
        }

        nanosleep(&pause, NULL);
    }

    snprintf(what, sizeof(what), "%s, statement %llu", s->name,
             (unsigned long long) nth + 1);
    (void) failed(m, what);
    fprintf(stderr, "im-schema: what was done before is kept: type it again "
            "when this is mended\n");

    return IM_ERROR;
}


/* Of a statement that a crash has kept from being written down. */
static int
up_is_there(unsigned err)
{
    switch (err) {

    case 1050:                         /* table exists */
    case 1060:                         /* column exists */
    case 1061:                         /* index exists */
    case 1091:                         /* column or index to drop: gone */
        return 1;

    default:
        return 0;
    }
}


static int
progress_read(im_mysql_t *m, const im_schema_t *s, progress_t *p)
{
    im_mysql_value_t  version = { .type = IM_MYSQL_U64, .u64 = s->version };

    static const im_mysql_type_t  columns[] = { IM_MYSQL_U64, IM_MYSQL_U64 };

    memset(p, 0, sizeof(progress_t));

    return im_mysql_run(m, "SELECT steps, done_ms FROM schema_versions "
                        "WHERE version = ?", &version, 1, columns, 2,
                        on_progress, p, NULL, NULL);
}


static int
progress_write(im_mysql_t *m, const im_schema_t *s, uint64_t steps,
    uint64_t done_ms)
{
    im_mysql_value_t  v[] = {
        { .type = IM_MYSQL_U64, .u64 = s->version },
        { .type = IM_MYSQL_STR },
        { .type = IM_MYSQL_U64, .u64 = s->min_program },
        { .type = IM_MYSQL_U64, .u64 = steps },
        { .type = IM_MYSQL_U64, .u64 = done_ms }
    };

    v[1].str.data = (unsigned char *) s->name;
    v[1].str.len = strlen(s->name);

    return im_mysql_run(m, "REPLACE INTO schema_versions"
                        " (version, name, min_program, steps, done_ms)"
                        " VALUES (?, ?, ?, ?, ?)", v, 5, NULL, 0, NULL, NULL,
                        NULL, NULL);
}


static uint64_t
statements(const im_schema_t *s)
{
    uint64_t  n;

    for (n = 0; s->statements[n] != NULL; n++) { /* void */ }

    return n;
}


static int
on_number(void *ctx, const im_mysql_value_t *values)
{
    *(uint64_t *) ctx = values[0].u64;

    return IM_OK;
}


static int
on_progress(void *ctx, const im_mysql_value_t *values)
{
    progress_t  *p = ctx;

    p->begun = 1;
    p->steps = values[0].u64;
    p->done_ms = values[1].u64;

    return IM_OK;
}


static int
failed(im_mysql_t *m, const char *what)
{
    char         clean[512];
    const char  *error;

    error = im_mysql_error(m);
    (void) im_text_print(clean, sizeof(clean), error, strlen(error));

    fprintf(stderr, "im-schema: %s: %s: %s\n", conf.mysql_address, what,
            clean);

    return 1;
}
