/*
 * bench_options.c -- the command line, and the files that it names.
 *
 * A number has one line in a table: its bounds, and where it goes.
 */

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"


#define OPTIONS_TICK_US    200
#define OPTIONS_TICK_RATE  2000     /* below, each event is served at once */


static int options_number(bench_t *b, int ch, const char *text);
static int options_finish(bench_t *b, const char *key, const char *users);
static int options_key(bench_t *b, const char *path);
static int options_users(bench_t *b, const char *path);
static int options_rooms(bench_t *b, const char *path);
static void options_usage(FILE *f);


static const struct option  options_long[] = {
    { "address",     required_argument, NULL, 'a' },
    { "key",         required_argument, NULL, 'k' },
    { "users",       required_argument, NULL, 'u' },
    { "connections", required_argument, NULL, 'c' },
    { "rate",        required_argument, NULL, 'r' },
    { "warmup",      required_argument, NULL, 'w' },
    { "seconds",     required_argument, NULL, 's' },
    { "drain",       required_argument, NULL, 'd' },
    { "body",        required_argument, NULL, 'b' },
    { "window",      required_argument, NULL, 'n' },
    { "tick",        required_argument, NULL, 't' },
    { "opening",     required_argument, NULL, 'o' },
    { "rooms",       required_argument, NULL, 'm' },
    { "nchan",       no_argument,       NULL, 'x' },
    { "floor",       no_argument,       NULL, 'f' },
    { "proto",       no_argument,       NULL, 'p' },
    { "idle",        no_argument,       NULL, 'i' },
    { "help",        no_argument,       NULL, 'h' },
    { NULL, 0, NULL, 0 }
};

static const struct {
    int          ch;
    const char  *name;
    double       value;             /* if it is not given */
    double       min;
    double       max;
    size_t       offset;            /* of a double in bench_t */
} options_numbers[] = {
    { 'c', "connections", 200, 2, 60000, offsetof(bench_t, o_connections) },
    { 'r', "rate", 1000, 0.1, 1e6, offsetof(bench_t, rate) },
    { 'w', "warmup", 5, 0, 600, offsetof(bench_t, warmup_s) },
    { 's', "seconds", 10, 1, 3600, offsetof(bench_t, seconds) },
    { 'd', "drain", 5, 0, 60, offsetof(bench_t, drain_s) },
    { 'b', "body", 200, BENCH_BODY_MIN, BENCH_BODY_MAX,
      offsetof(bench_t, o_body) },
    { 'n', "window", 1024, 1, 65536, offsetof(bench_t, o_window) },
    { 't', "tick", -1, 0, 10000, offsetof(bench_t, o_tick) },
    { 'o', "opening", 64, 1, 4000, offsetof(bench_t, o_opening) }
};

#define OPTIONS_NUMBERS  (sizeof(options_numbers) / sizeof(options_numbers[0]))


int
bench_options(bench_t *b, int argc, char **argv)
{
    int          ch;
    char        *colon;
    size_t       i;
    const char  *users, *key, *rooms;

    users = key = rooms = NULL;

    for (i = 0; i < OPTIONS_NUMBERS; i++) {
        *(double *) ((char *) b + options_numbers[i].offset) =
            options_numbers[i].value;
    }

    while ((ch = getopt_long(argc, argv, "", options_long, NULL)) != -1) {

        switch (ch) {

        case 'a':
            colon = strrchr(optarg, ':');
            if (colon == NULL) {
                bench_say("--address is host:port");
                return IM_ERROR;
            }

            *colon = '\0';
            b->host = optarg;
            b->port = colon + 1;
            break;

        case 'k':
            key = optarg;
            break;

        case 'u':
            users = optarg;
            break;

        case 'm':
            rooms = optarg;
            break;

        case 'x':
            b->nchan = 1;
            break;

        case 'f':
            b->floor = 1;
            break;

        case 'p':
            b->encoding = IM_ENCODING_PROTO;
            break;

        case 'i':
            b->idle = 1;
            break;

        case 'h':
            options_usage(stdout);
            return IM_DONE;

        case '?':
            options_usage(stderr);
            return IM_ERROR;

        default:
            if (options_number(b, ch, optarg) != IM_OK) {
                return IM_ERROR;
            }

            break;
        }
    }

    if (b->host == NULL || users == NULL || (key == NULL && !b->floor)
        || optind < argc)
    {
        options_usage(stderr);
        return IM_ERROR;
    }

    if (rooms != NULL && options_rooms(b, rooms) != IM_OK) {
        return IM_ERROR;
    }

    if ((b->nchan && rooms == NULL)
        || (rooms != NULL && b->encoding != IM_ENCODING_JSON))
    {
        bench_say("--nchan needs --rooms, which speak JSON");
        return IM_ERROR;
    }

    if (b->floor && (rooms != NULL || b->idle)) {
        bench_say("--floor knows neither --rooms nor --idle");
        return IM_ERROR;
    }

    return options_finish(b, key, users);
}


static int
options_number(bench_t *b, int ch, const char *text)
{
    char    *end;
    size_t   i;
    double   value;

    for (i = 0; options_numbers[i].ch != ch; i++) { /* void */ }

    errno = 0;
    value = strtod(text, &end);

    if (errno != 0 || end == text || *end != '\0'
        || !(value >= options_numbers[i].min)
        || !(value <= options_numbers[i].max))
    {
        bench_say("--%s is %g to %g", options_numbers[i].name,
                  options_numbers[i].min, options_numbers[i].max);
        return IM_ERROR;
    }

    *(double *) ((char *) b + options_numbers[i].offset) = value;

    return IM_OK;
}


static int
options_finish(bench_t *b, const char *key, const char *users)
{
    b->connections = (uint32_t) b->o_connections & ~1U;
    b->body = (uint32_t) b->o_body;
    b->tick_us = (uint32_t) b->o_tick;

    if (b->o_tick < 0) {
        b->tick_us = (b->rate < OPTIONS_TICK_RATE) ? 0 : OPTIONS_TICK_US;
    }

    /* a power of two, so that slots survive the wrap of n */

    for (b->window = 1; b->window < b->o_window; b->window *= 2) { /* void */ }

    if (!b->floor && options_key(b, key) != IM_OK) {
        return IM_ERROR;
    }

    return options_users(b, users);
}


static int
options_key(bench_t *b, const char *path)
{
    const char  *reason;

    if (im_jwt_key_load(&b->key, path, &reason) != IM_OK) {
        bench_say("%s: %s", path, reason);
        return IM_ERROR;
    }

    return IM_OK;
}


/* Users 2k and 2k + 1 of the file will talk. */
static int
options_users(bench_t *b, const char *path)
{
    FILE                *f;
    uint32_t             cap;
    bench_conn_t        *c;
    unsigned long long   uid;

    f = fopen(path, "r");
    if (f == NULL) {
        bench_say("%s: %s", path, strerror(errno));
        return IM_ERROR;
    }

    cap = 0;

    while (fscanf(f, "%llu", &uid) == 1) {

        if (b->users == cap) {
            cap = cap ? 2 * cap : 1024;

            c = realloc(b->conns, cap * sizeof(bench_conn_t));
            if (c == NULL) {
                break;
            }

            b->conns = c;
        }

        c = &b->conns[b->users];
        memset(c, 0, sizeof(bench_conn_t));
        c->fd = -1;
        c->index = b->users++;
        c->uid = uid;
    }

    fclose(f);

    if (b->users < b->connections + b->publishers) {
        bench_say("%s: %u users for %u connections", path, b->users,
                  b->connections);
        return IM_ERROR;
    }

    return IM_OK;
}


static int
options_rooms(bench_t *b, const char *path)
{
    FILE                *f;
    bench_room_t        *room;
    unsigned long long   id;

    f = fopen(path, "r");
    if (f == NULL) {
        bench_say("%s: %s", path, strerror(errno));
        return IM_ERROR;
    }

    while (fscanf(f, "%llu", &id) == 1) {
        room = realloc(b->rooms, (b->n_rooms + 1) * sizeof(bench_room_t));
        if (room == NULL) {
            break;
        }

        b->rooms = room;
        room += b->n_rooms++;
        memset(room, 0, sizeof(bench_room_t));
        room->id = id;
    }

    fclose(f);

    if (b->n_rooms == 0 || b->n_rooms > (uint32_t) b->o_connections / 2) {
        bench_say("%s: %u rooms for %.0f connections", path, b->n_rooms,
                  b->o_connections);
        return IM_ERROR;
    }

    if (b->nchan) {
        b->publishers = (b->n_rooms < BENCH_PUBLISHERS) ? b->n_rooms
                                                        : BENCH_PUBLISHERS;
    }

    return IM_OK;
}


static void
options_usage(FILE *f)
{
    fprintf(f,
        "usage: im-bench --address HOST:PORT --key FILE --users FILE "
        "[options]\n"
        "  --key FILE         the server's key of access tokens\n"
        "  --users FILE       a uid a line; 2k talks with 2k + 1\n"
        "  --connections N    200\n"
        "  --rate N           messages a second, all together; 1000\n"
        "  --warmup S         not counted; the first third is a ramp; 5\n"
        "  --seconds S        measured; 10\n"
        "  --drain S          longest wait for the last answers; 5\n"
        "  --body BYTES       of a message; 200\n"
        "  --window N         messages under way for each connection; 1024\n"
        "  --tick US          0: serve each event at once; 200 from 2000/s\n"
        "  --opening N        handshakes at a time; 64\n"
        "  --rooms FILE       a live room a line; connection i is in room i "
        "modulo\n"
        "                     their number, and they take turns to speak\n"
        "  --nchan            the server is nchan: /sub/ROOM and /pub/ROOM\n"
        "  --floor            the server is im-bench-floor, which needs no "
        "--key\n"
        "  --proto            im.v1.proto instead of im.v1.json\n"
        "  --idle             send nothing, open more as standard input says\n"
    );
}
