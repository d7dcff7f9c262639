/*
 * unit_presence.h -- the presence of users in Redis, twice: a fake Redis that
 * is a table, and the script on a real one.
 *
 * The fake is the state machine in C, one function for each verb of the script
 * (logic_presence_state.c).  With a real Redis each call is made on both and
 * what they say is compared, so a run of a test on the two shows that the
 * script is that machine.  Time is the fake's: what is due there is made due in
 * the real one, too.
 */

#ifndef UNIT_PRESENCE_H
#define UNIT_PRESENCE_H

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <hiredis.h>

#include "unit_wait.h"

#include "logic_args.h"
#include "logic_presence_state.h"

#define FAKE_USERS    4
#define FAKE_CONNS    512          /* of all users, in a run */
#define FAKE_WORKERS  24

typedef struct {
    int            any;
    unsigned       online;
    uint64_t       version;
    uint32_t       to;             /* workers, a bit each */
} fake_news_t;

typedef struct {
    uint64_t       now_ms;
    uint64_t       version;        /* im:pv; 0: there is none */
    unsigned char  conns[FAKE_USERS][FAKE_CONNS];  /* 1 + its worker */
    uint64_t       off[FAKE_USERS];                /* 1 + due; 0: none */
    uint32_t       subscribers[FAKE_USERS];
    uint64_t       news[FAKE_USERS];               /* 0: none */
} fake_t;


static fake_t       fake;
static im_redis_t  *real;                  /* NULL: the fake alone */
static pid_t        real_pid;
static char         real_path[64];
static uint64_t     real_version;
static uint64_t     real_news[FAKE_USERS];


static uint64_t
fake_raise(void)
{
    uint64_t  now;

    now = fake.now_ms * 1000;
    fake.version = (fake.version + 1 > now) ? fake.version + 1 : now;

    return fake.version;
}


static size_t
fake_count(unsigned u)
{
    size_t  i, n;

    for (i = 0, n = 0; i < FAKE_CONNS; i++) {
        n += (fake.conns[u][i] != 0);
    }

    return n;
}


static fake_news_t
fake_change(unsigned u, unsigned online)
{
    fake_news_t  news = { 0, online, 0, 0 };

    news.version = fake_raise();
    news.to = fake.subscribers[u];
    news.any = (news.to != 0);

    if (news.any) {
        fake.news[u] = news.version;
    }

    return news;
}


/* What the real one says is compared; the version is its own. */
static void
real_is(unsigned u, const fake_news_t *news, const redisReply *reply)
{
    size_t                  i;
    uint32_t                to;
    unsigned                w;
    logic_presence_news_t   n;

    if (!news->any) {
        assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
        assert_int_equal(reply->elements, 0);
        return;
    }

    assert_int_equal(logic_presence_news_read(&n, reply), IM_OK);
    assert_int_equal(n.online, news->online);
    assert_true(n.version > real_version);
    real_version = n.version;
    real_news[u] = n.version;

    to = 0;

    for (i = 0; i < n.n; i++) {
        assert_int_equal(sscanf(n.instances[i]->str, "w%u", &w), 1);
        to |= (uint32_t) 1 << w;
    }

    assert_int_equal(to, news->to);
}


static redisReply *
real_call(unsigned n, const char *a, const char *b, const char *c,
    const char *d, const char *e, const char *f)
{
    redisReply  *reply;

    assert_int_equal(logic_presence_call(real, n, a, b, c, d, e, f), IM_OK);
    reply = logic_presence_reply(real);
    assert_non_null(reply);

    if (reply->type == REDIS_REPLY_ERROR) {
        fail_msg("%s", reply->str);
    }

    return reply;
}


static void
real_do(unsigned n, const char *a, const char *b, const char *c,
    const char *d, const char *e)
{
    assert_int_equal(logic_args(real, n, a, b, c, d, e), IM_OK);
    assert_int_equal(logic_args_done(real, 1), IM_OK);
}


static const char *
text(char *buf, const char *form, uint64_t n)
{
    snprintf(buf, 40, form, n);

    return buf;
}


static fake_news_t
presence_open(unsigned u, unsigned conn, unsigned w)
{
    char          uid[40], id[40], value[40];
    unsigned      came;
    redisReply   *reply;
    fake_news_t   news = { 0, 0, 0, 0 };

    came = (fake_count(u) == 0 && fake.off[u] <= 1);

    if (fake.conns[u][conn] == 0) {
        fake.conns[u][conn] = (unsigned char) (1 + w);
    }

    fake.off[u] = 0;

    if (came) {
        news = fake_change(u, 1);
    }

    if (real != NULL) {
        reply = real_call(6, "open", text(uid, "%" PRIu64, u + 1),
                          text(id, "%016" PRIx64, conn),
                          text(value, "w%" PRIu64 " sid device 1", w), "sid",
                          "0");
        assert_int_equal(reply->elements, 5);
        real_is(u, &news, reply->element[4]);
        im_redis_free(reply);
    }

    return news;
}


static void
presence_close(unsigned u, unsigned conn)
{
    char         uid[40], id[40];
    size_t       left;
    unsigned     was;
    redisReply  *reply;

    was = fake.conns[u][conn];
    fake.conns[u][conn] = 0;
    left = fake_count(u);

    if (was && left == 0) {
        fake.off[u] = 1 + fake.now_ms + LOGIC_PRESENCE_LEAVE_MS;
    }

    if (real != NULL) {
        reply = real_call(4, "close", text(uid, "%" PRIu64, u + 1),
                          text(id, "%016" PRIx64, conn), "9000", NULL, NULL);
        assert_int_equal(reply->elements, left);
        im_redis_free(reply);
    }
}


static void
presence_suspect(unsigned u)
{
    if (fake.off[u] == 0) {
        fake.off[u] = 1;
    }

    if (real != NULL) {
        assert_int_equal(logic_presence_suspect(real, u + 1), IM_OK);
        assert_int_equal(logic_args_done(real, 1), IM_OK);
    }
}


/* An entry of a dead instance. */
static void
presence_sweep(unsigned u, unsigned conn)
{
    char  key[40], id[40];

    fake.conns[u][conn] = 0;

    if (real != NULL) {
        real_do(3, "HDEL", text(key, "im:u:{%" PRIu64 "}", u + 1),
                text(id, "%016" PRIx64, conn), NULL, NULL);
    }
}


static int
presence_is_due(unsigned u)
{
    return fake.off[u] != 0 && fake.off[u] - 1 <= fake.now_ms;
}


static fake_news_t
presence_expire(unsigned u)
{
    char          uid[40];
    redisReply   *reply;
    fake_news_t   news = { 0, 0, 0, 0 };

    text(uid, "%" PRIu64, u + 1);

    if (real != NULL && presence_is_due(u)) {
        real_do(5, "ZADD", "im:off", "XX", "0", uid);
    }

    if (presence_is_due(u)) {
        fake.off[u] = 0;

        if (fake_count(u) == 0) {
            news = fake_change(u, 0);
        }
    }

    if (real != NULL) {
        reply = real_call(2, "expire", uid, NULL, NULL, NULL, NULL);
        real_is(u, &news, reply);
        im_redis_free(reply);
    }

    return news;
}


static unsigned
fake_state(unsigned u, uint64_t *version)
{
    *version = (fake.version != 0) ? fake.version : fake_raise();

    return fake_count(u) > 0 || fake.off[u] != 0;
}


/* A snapshot's version is that of the last change; of one without subscribers
 * the real one's is not known here. */
static void
real_is_state(const redisReply *version)
{
    uint64_t  v;

    assert_int_equal(version->type, REDIS_REPLY_STRING);
    v = strtoull(version->str, NULL, 10);
    assert_true(v >= real_version);
    real_version = v;
}


static unsigned
presence_query(unsigned u, unsigned w, uint64_t *version)
{
    char         uid[40], id[40];
    unsigned     online;
    redisReply  *reply;

    fake.subscribers[u] |= (uint32_t) 1 << w;
    online = fake_state(u, version);

    if (real != NULL) {
        reply = real_call(4, "query", "", text(id, "w%" PRIu64, w),
                          text(uid, "%" PRIu64, u + 1), NULL, NULL);
        assert_int_equal(reply->elements, 2);
        real_is_state(reply->element[0]);
        assert_int_equal(reply->element[1]->element[0]->integer, online);
        assert_int_equal(reply->element[1]->element[1]->elements,
                         fake_count(u));
        im_redis_free(reply);
    }

    return online;
}


static fake_news_t
presence_again(unsigned u)
{
    char          uid[40];
    redisReply   *reply;
    fake_news_t   news = { 1, 0, 0, 0 };

    news.online = fake_state(u, &news.version);
    news.to = fake.subscribers[u];

    if (real != NULL) {
        reply = real_call(2, "again", text(uid, "%" PRIu64, u + 1), NULL,
                          NULL, NULL, NULL);
        assert_int_equal(reply->elements, 2 + __builtin_popcount(news.to));
        assert_int_equal(reply->element[0]->str[0] - '0', news.online);
        real_is_state(reply->element[1]);
        im_redis_free(reply);
    }

    return news;
}


static void
presence_done(unsigned u, uint64_t noted)
{
    int          mine;
    char         uid[40], version[40];
    redisReply  *reply;

    mine = (noted != 0 && fake.news[u] == noted);

    if (mine) {
        fake.news[u] = 0;
    }

    if (real != NULL) {
        reply = real_call(3, "done", text(uid, "%" PRIu64, u + 1),
                          text(version, "%" PRIu64, mine ? real_news[u] : 1),
                          NULL, NULL, NULL);
        assert_int_equal(reply->integer, mine);
        im_redis_free(reply);
    }
}


/* Redis has lost its memory, or a test begins. */
static void
presence_lose(void)
{
    uint64_t  now;

    now = fake.now_ms;
    memset(&fake, 0, sizeof(fake));
    fake.now_ms = now;

    if (real != NULL) {
        real_do(1, "FLUSHALL", NULL, NULL, NULL, NULL);
    }
}


static void
real_start(void)
{
    unsigned         i;
    im_redis_conf_t  conf;
    char             address[80];

    snprintf(real_path, sizeof(real_path), "/tmp/im-test-presence-%d",
             (int) getpid());
    snprintf(address, sizeof(address), "unix:%s", real_path);

    real_pid = fork();
    assert_true(real_pid != -1);

    if (real_pid == 0) {
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) !freopen("/dev/null", "w", stdout);
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket",
               real_path, "--save", "", "--appendonly", "no", "--dir", "/tmp",
               (char *) NULL);
        _exit(127);
    }

    conf.address = address;
    conf.password = NULL;
    conf.timeout_ms = 10000;

    real = im_redis_create(&conf);
    assert_non_null(real);

    for (i = 0; i < 2000 && im_redis_ping(real) != IM_OK; i++) {
        unit_pause(10);
    }

    assert_true(i < 2000);             /* it is of this machine's packages */
}


static void
real_stop(void)
{
    im_redis_destroy(real);
    real = NULL;

    (void) kill(real_pid, SIGKILL);
    (void) waitpid(real_pid, NULL, 0);
    (void) unlink(real_path);
}

#endif
