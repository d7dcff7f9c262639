/*
 * bench_shake.c -- the WebSocket handshake, with an access token in it.
 *
 * Tokens are signed here with the server's own key: a log-in costs the server
 * 20 ms of argon2 on purpose, and is not what is measured.  To the server they
 * are tokens like any other; a session is good while nobody has revoked it.
 * They are signed before the clock starts: a client has its token.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "bench.h"


#define SHAKE_TOKEN_TTL_S  7200
#define SHAKE_TOKEN_MAX    1024

/* The key of every handshake, and the answer to it (RFC 6455 section 1.3). */
#define SHAKE_KEY          "dGhlIHNhbXBsZSBub25jZQ=="
#define SHAKE_ACCEPT       "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


static int shake_request(bench_t *b, bench_conn_t *c, char *out, size_t cap);
static int shake_sign(bench_t *b, const bench_conn_t *c, int64_t now,
    char *token, size_t cap);
static void shake_make_sid(bench_t *b, char *sid);
static int shake_instance(bench_t *b, const char *head);


void
bench_shake_begin(bench_t *b, bench_conn_t *c)
{
    int        n, error;
    char       request[2048];
    socklen_t  len;

    error = 0;
    len = sizeof(error);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0
        || error != 0)
    {
        bench_conn_end(b, c, strerror(error));
        return;
    }

    if (b->floor) {
        bench_floor_begin(b, c);
        return;
    }

    if (b->nchan && c->index >= b->connections) {
        /* a publisher: nothing is asked before there is something to say */

        bench_conn_opened(b, c);
        bench_conn_watch(b, c, EPOLLIN);
        c->state = BENCH_PUBLISH;
        return;
    }

    n = b->nchan ? bench_nchan_subscribe(b, c, request, sizeof(request))
                 : shake_request(b, c, request, sizeof(request));
    if (n < 0) {
        bench_conn_end(b, c, "there is no token");
        return;
    }

    c->state = BENCH_UPGRADE;
    bench_conn_watch(b, c, EPOLLIN);

    if (bench_conn_write(b, c, (unsigned char *) request, (size_t) n)
        != IM_OK)
    {
        bench_conn_end(b, c, "the handshake cannot be written");
    }
}


int
bench_shake_prepare(bench_t *b, uint32_t target)
{
    char      token[SHAKE_TOKEN_MAX];
    int64_t   now;
    uint32_t  i;

    now = (int64_t) time(NULL);

    for (i = b->started; i < target && !b->nchan && !b->floor; i++) {

        if (shake_sign(b, &b->conns[i], now, token, sizeof(token)) != IM_OK) {
            bench_say("cannot sign a token");
            return IM_ERROR;
        }

        free(b->conns[i].token);
        b->conns[i].token = strdup(token);

        if (b->conns[i].token == NULL) {
            bench_say("memory is short");
            return IM_ERROR;
        }
    }

    return IM_OK;
}


static int
shake_sign(bench_t *b, const bench_conn_t *c, int64_t now, char *token,
    size_t cap)
{
    im_jwt_claims_t  claims;

    memset(&claims, 0, sizeof(claims));
    claims.uid = c->uid;
    claims.exp = now + SHAKE_TOKEN_TTL_S;
    shake_make_sid(b, claims.sid);
    memcpy(claims.device, "bench", 6);

    return im_jwt_sign(&b->key, &claims, now, token, cap);
}


static int
shake_request(bench_t *b, bench_conn_t *c, char *out, size_t cap)
{
    int  n;

    if (c->token == NULL) {
        return IM_ERROR;
    }

    n = snprintf(out, cap,
                 "GET /ws HTTP/1.1\r\n"
                 "Host: %s:%s\r\n"
                 "Upgrade: websocket\r\n"
                 "Connection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: " SHAKE_KEY "\r\n"
                 "Sec-WebSocket-Protocol: %s\r\n"
                 "Authorization: Bearer %s\r\n\r\n",
                 b->host, b->port,
                 b->encoding == IM_ENCODING_JSON ? IM_CLIENT_JSON
                                                 : IM_CLIENT_PROTO,
                 c->token);

    free(c->token);
    c->token = NULL;

    return n;
}


/* A session that nobody has logged out of; Logic asks for no more. */
static void
shake_make_sid(bench_t *b, char *sid)
{
    int                i;
    static const char  letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz0123456789-_";

    for (i = 0; i < IM_SID_LEN; i++) {
        sid[i] = letters[(bench_random(b) >> 32) & 63];
    }

    sid[IM_SID_LEN] = '\0';
}


/* Length of the reply's head, or 0 while it is not complete. */
size_t
bench_shake_reply(bench_t *b, bench_conn_t *c, unsigned char *p, size_t len)
{
    char  *end, *head;

    head = (char *) p;
    p[len] = '\0';

    end = strstr(head, "\r\n\r\n");
    if (end == NULL) {
        return 0;
    }

    end[2] = '\0';

    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0) {
        *strchr(head, '\r') = '\0';
        bench_conn_end(b, c, head);
        return 0;
    }

    if (strstr(head, SHAKE_ACCEPT) == NULL) {
        bench_conn_end(b, c, "the key was not accepted");
        return 0;
    }

    c->instance = shake_instance(b, head);
    c->state = BENCH_LOGIN;

    if (b->nchan) {
        bench_conn_opened(b, c);
    }

    return (size_t) (end + 4 - head);
}


/* Which worker it is, by the header that each of them sends. */
static int
shake_instance(bench_t *b, const char *head)
{
    int          i;
    size_t       len;
    const char  *p;

    static const char  name[] = "\r\nX-IM-Instance: ";

    p = strstr(head, name);
    if (p == NULL) {
        return -1;
    }

    p += sizeof(name) - 1;
    len = strcspn(p, "\r");

    if (len >= BENCH_INSTANCE) {
        return -1;
    }

    for (i = 0; i < b->n_instances; i++) {
        if (strlen(b->instances[i]) == len
            && memcmp(b->instances[i], p, len) == 0)
        {
            return i;
        }
    }

    if (i == BENCH_INSTANCES) {
        return -1;
    }

    memcpy(b->instances[i], p, len);
    b->instances[i][len] = '\0';
    b->n_instances++;

    return i;
}
