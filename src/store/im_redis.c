/*
 * im_redis.c -- a blocking connection that pipelines, over hiredis.
 *
 * After any error the context is thrown away: hiredis cannot say which of the
 * commands in flight were run, and a reply that arrives late would be taken
 * for another one's.  What we send is safe to repeat.
 *
 * Room: store.  One thread for each connection.
 */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <hiredis.h>

#include "im_address.h"
#include "im_redis.h"


#define REDIS_ARGS_MAX  4096

_Static_assert(IM_REDIS_STR == 1u << REDIS_REPLY_STRING
               && IM_REDIS_ARRAY == 1u << REDIS_REPLY_ARRAY
               && IM_REDIS_INT == 1u << REDIS_REPLY_INTEGER
               && IM_REDIS_NIL == 1u << REDIS_REPLY_NIL
               && IM_REDIS_OK == 1u << REDIS_REPLY_STATUS
               && IM_REDIS_ERROR == 1u << REDIS_REPLY_ERROR, "types differ");


struct im_redis_s {
    char          *address;
    char          *password;
    unsigned       timeout_ms;
    redisContext  *c;
    size_t         expected;           /* replies that are still to come */
    char           error[160];
};


static int redis_connect(im_redis_t *r);
static int redis_is_stale(im_redis_t *r);
static int redis_login(im_redis_t *r);
static int redis_failed(im_redis_t *r, const char *what);
static int redis_load(im_redis_t *r, im_redis_script_t *script);
static int redis_int_str(char *buf, size_t size, int v);


im_redis_t *
im_redis_create(const im_redis_conf_t *conf)
{
    int          secret;
    im_redis_t  *r;

    r = calloc(1, sizeof(im_redis_t));
    if (r == NULL) {
        return NULL;
    }

    secret = (conf->password != NULL && conf->password[0] != '\0');

    r->timeout_ms = conf->timeout_ms;
    r->address = strdup(conf->address);
    r->password = secret ? strdup(conf->password) : NULL;

    if (r->address == NULL || (secret && r->password == NULL)) {
        im_redis_destroy(r);
        return NULL;
    }

    return r;
}


void
im_redis_destroy(im_redis_t *r)
{
    if (r == NULL) {
        return;
    }

    if (r->c != NULL) {
        redisFree(r->c);
    }

    free(r->address);
    free(r->password);
    free(r);
}


const char *
im_redis_error(im_redis_t *r)
{
    return r->error;
}


static int
redis_connect(im_redis_t *r)
{
    char            host[IM_ADDRESS_HOST_MAX + 1];
    unsigned        port;
    struct timeval  tv;

    if (r->c != NULL && redis_is_stale(r)) {
        redisFree(r->c);
        r->c = NULL;
    }

    if (r->c != NULL) {
        return IM_OK;
    }

    r->expected = 0;

    tv.tv_sec = r->timeout_ms / 1000;
    tv.tv_usec = (r->timeout_ms % 1000) * 1000;

    if (strncmp(r->address, "unix:", 5) == 0) {
        r->c = redisConnectUnixWithTimeout(r->address + 5, tv);

    } else {
        if (im_address_split(r->address, host, &port, r->error,
                             sizeof(r->error)) != IM_OK)
        {
            return IM_ERROR;
        }

        r->c = redisConnectWithTimeout(host, (int) port, tv);
    }

    if (r->c == NULL || r->c->err) {
        return redis_failed(r, "connect");
    }

    if (redisSetTimeout(r->c, tv) != REDIS_OK) {
        return redis_failed(r, "set timeout");
    }

    return redis_login(r);
}


/*
 * Whether a server that ended since the last use is at the other end: then
 * there is something to read (the end) though no reply is expected.  Found
 * before a command is sent, it costs the caller nothing.
 */
static int
redis_is_stale(im_redis_t *r)
{
    struct pollfd  p;

    if (r->expected != 0) {
        return 0;
    }

    p.fd = r->c->fd;
    p.events = POLLIN;

    return poll(&p, 1, 0) != 0;
}


static int
redis_login(im_redis_t *r)
{
    redisReply  *reply;

    if (r->password == NULL) {
        return IM_OK;
    }

    reply = redisCommand(r->c, "AUTH %s", r->password);

    if (reply == NULL) {
        return redis_failed(r, "auth");
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(r->error, sizeof(r->error), "%.150s", reply->str);
        freeReplyObject(reply);
        redisFree(r->c);
        r->c = NULL;
        return IM_ERROR;
    }

    freeReplyObject(reply);

    return IM_OK;
}


static int
redis_failed(im_redis_t *r, const char *what)
{
    snprintf(r->error, sizeof(r->error), "%s: %s", what,
             (r->c != NULL) ? r->c->errstr : "out of memory");

    if (r->c != NULL) {
        redisFree(r->c);
        r->c = NULL;
    }

    return IM_ERROR;
}


int
im_redis_ping(im_redis_t *r)
{
    int          rc;
    im_str_t     argv[1] = { im_str("PING") };
    redisReply  *reply;

    if (im_redis_append(r, 1, argv) != IM_OK) {
        return IM_ERROR;
    }

    reply = im_redis_reply(r);
    if (reply == NULL) {
        return IM_ERROR;
    }

    /* while it loads its file it answers with an error */

    rc = IM_OK;

    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(r->error, sizeof(r->error), "%.150s", reply->str);
        rc = IM_ERROR;
    }

    freeReplyObject(reply);

    return rc;
}


int
im_redis_append(im_redis_t *r, int argc, const im_str_t *argv)
{
    int          i;
    size_t       lens[REDIS_ARGS_MAX];
    const char  *args[REDIS_ARGS_MAX];

    if (argc > REDIS_ARGS_MAX) {
        snprintf(r->error, sizeof(r->error), "%d arguments > %d", argc,
                 REDIS_ARGS_MAX);
        return IM_ERROR;
    }

    if (redis_connect(r) != IM_OK) {
        return IM_ERROR;
    }

    for (i = 0; i < argc; i++) {
        args[i] = (const char *) argv[i].data;
        lens[i] = argv[i].len;
    }

    if (redisAppendCommandArgv(r->c, argc, args, lens) != REDIS_OK) {
        return redis_failed(r, "append");
    }

    r->expected++;

    return IM_OK;
}


redisReply *
im_redis_reply(im_redis_t *r)
{
    void  *reply;

    if (r->c == NULL) {
        return NULL;                   /* the error has been told */
    }

    reply = NULL;

    if (redisGetReply(r->c, &reply) != REDIS_OK || reply == NULL) {
        redis_failed(r, "reply");
        return NULL;
    }

    r->expected--;

    return reply;
}


redisReply *
im_redis_expect(im_redis_t *r, unsigned types)
{
    redisReply  *reply;

    reply = im_redis_reply(r);

    if (reply == NULL || im_redis_is(r, reply, types)) {
        return reply;
    }

    freeReplyObject(reply);

    if (r->expected > 0) {
        im_redis_drop(r);
    }

    return NULL;
}


int
im_redis_expect_int(im_redis_t *r, long long *n)
{
    redisReply  *reply;

    reply = im_redis_expect(r, IM_REDIS_INT);
    if (reply == NULL) {
        return IM_ERROR;
    }

    *n = reply->integer;
    freeReplyObject(reply);

    return IM_OK;
}


int
im_redis_is(im_redis_t *r, const redisReply *reply, unsigned types)
{
    if ((1u << reply->type) & types) {
        return 1;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(r->error, sizeof(r->error), "%.150s", reply->str);

    } else {
        snprintf(r->error, sizeof(r->error), "a reply of type %d was not "
                 "expected", reply->type);
    }

    return 0;
}


void
im_redis_drop(im_redis_t *r)
{
    if (r->c != NULL) {
        redisFree(r->c);
        r->c = NULL;
    }

    r->expected = 0;
}


void
im_redis_free(redisReply *reply)
{
    if (reply != NULL) {
        freeReplyObject(reply);
    }
}


int
im_redis_skip(im_redis_t *r, size_t n)
{
    int          rc;
    redisReply  *reply;

    for (rc = IM_OK; n > 0; n--) {
        reply = im_redis_reply(r);
        if (reply == NULL) {
            return IM_ERROR;
        }

        if (reply->type == REDIS_REPLY_ERROR) {
            snprintf(r->error, sizeof(r->error), "%.150s", reply->str);
            rc = IM_ERROR;
        }

        freeReplyObject(reply);
    }

    return rc;
}


redisReply *
im_redis_eval(im_redis_t *r, im_redis_script_t *script, int keys, int argc,
    const im_str_t *argv)
{
    int          tries;
    redisReply  *reply;

    reply = NULL;

    for (tries = 0; tries < 2; tries++) {

        if (im_redis_eval_append(r, script, keys, argc, argv) != IM_OK) {
            return NULL;
        }

        reply = im_redis_eval_reply(r, script);

        if (reply == NULL || reply->type != REDIS_REPLY_ERROR) {
            return reply;
        }

        freeReplyObject(reply);

        if (script->sha[0] != '\0') {
            break;
        }
    }

    return NULL;
}


int
im_redis_eval_append(im_redis_t *r, im_redis_script_t *script, int keys,
    int argc, const im_str_t *argv)
{
    char       n[16];
    im_str_t   all[REDIS_ARGS_MAX];

    if (argc + 3 > REDIS_ARGS_MAX) {
        snprintf(r->error, sizeof(r->error), "%d arguments > %d", argc,
                 REDIS_ARGS_MAX - 3);
        return IM_ERROR;
    }

    if (script->sha[0] == '\0' && redis_load(r, script) != IM_OK) {
        return IM_ERROR;
    }

    all[0] = (im_str_t) im_str("EVALSHA");
    all[1].data = (unsigned char *) script->sha;
    all[1].len = 40;
    all[2].data = (unsigned char *) n;
    all[2].len = (size_t) redis_int_str(n, sizeof(n), keys);

    memcpy(&all[3], argv, (size_t) argc * sizeof(im_str_t));

    return im_redis_append(r, argc + 3, all);
}


redisReply *
im_redis_eval_reply(im_redis_t *r, im_redis_script_t *script)
{
    redisReply  *reply;

    reply = im_redis_reply(r);

    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        snprintf(r->error, sizeof(r->error), "script: %.150s", reply->str);

        if (strncmp(reply->str, "NOSCRIPT", 8) == 0) {
            script->sha[0] = '\0';     /* Redis was restarted, or forgot it */
        }
    }

    return reply;
}


static int
redis_load(im_redis_t *r, im_redis_script_t *script)
{
    im_str_t     argv[3] = { im_str("SCRIPT"), im_str("LOAD"), { 0, NULL } };
    redisReply  *reply;

    argv[2].data = (unsigned char *) script->text;
    argv[2].len = strlen(script->text);

    if (im_redis_append(r, 3, argv) != IM_OK) {
        return IM_ERROR;
    }

    reply = im_redis_reply(r);
    if (reply == NULL) {
        return IM_ERROR;
    }

    if (reply->type != REDIS_REPLY_STRING || reply->len != 40) {
        snprintf(r->error, sizeof(r->error), "script load: %.130s",
                 (reply->type == REDIS_REPLY_ERROR) ? reply->str : "?");
        freeReplyObject(reply);
        return IM_ERROR;
    }

    memcpy(script->sha, reply->str, 41);
    freeReplyObject(reply);

    return IM_OK;
}


static int
redis_int_str(char *buf, size_t size, int v)
{
    return snprintf(buf, size, "%d", v);
}
