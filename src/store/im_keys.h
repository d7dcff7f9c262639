/*
 * im_keys.h -- every key in Redis: its name, and the form of its value.
 *
 * im-logic and im-task share Redis, and so do their versions while one is
 * replaced by the next: a name or a form that changes loses data, or delivers
 * messages to nobody.  So each of them is spelled here and nowhere else
 * (tools/lint), and `make docs` makes docs/internals/keys.md of the comments.
 * Scripts get the names by KEYS.
 *
 * A name in braces is a hash tag: keys of one user, room or tag belong
 * together.  {tag} is slot mod [redis] tags.
 *
 * Room: store.  Computes only; any thread.
 */

#ifndef IM_KEYS_H
#define IM_KEYS_H

#include <inttypes.h>

#include "im_core.h"


#define IM_KEY_MAX       64        /* bytes of a key with numbers, a session */
#define IM_KEY_NAME_MAX  240       /* and of one with an instance's name */


/* --- who is connected (docs/internals/presence.md) --- */

/*
 * Key: im:u:{uid}
 * Type: hash
 * Value: connection, 16 hex digits -> "instance sid device since_ms"
 *        (im_keys_route_read())
 * Life: until the connection ends, or its instance died
 * Writer: im-logic; im-task removes entries of dead instances
 */
#define IM_KEY_USER  "im:u:{%" PRIu64 "}"
#define IM_KEY_USER_ANY  "im:u:*"      /* a pattern of SCAN */
#define IM_KEY_CONN  "%016" PRIx64     /* a field of it */

/*
 * Key: im:off
 * Type: sorted set
 * Value: uid; score: until when the user is "going", in ms of Redis's clock. 0:
 *        an entry of a dead instance was met
 * Life: until the user is back, or offline
 * Writer: im-logic; im-task adds with 0
 */
#define IM_KEY_OFF  "im:off"

/*
 * Key: im:news
 * Type: sorted set
 * Value: uid; score: the version of a change that may have missed a subscriber
 * Life: until all subscribers were notified
 * Writer: im-logic
 */
#define IM_KEY_NEWS  "im:news"

/*
 * Key: im:pv
 * Type: string
 * Value: the version of the last change or count
 * Life: that of Redis's memory
 * Writer: im-logic
 */
#define IM_KEY_VERSION  "im:pv"

/*
 * Key: im:ps:{uid}
 * Type: set
 * Value: instances with a subscriber of this user
 * Life: an hour after it was renewed
 * Writer: im-logic, for a worker
 */
#define IM_KEY_SUBSCRIBERS  "im:ps:{%" PRIu64 "}"

/*
 * Key: im:re:<connection>
 * Type: string
 * Value: 1: this connection was replaced by another device
 * Life: an hour
 * Writer: im-logic
 */
#define IM_KEY_REPLACED  "im:re:%s"

/*
 * Key: im:presence
 * Type: string
 * Value: a random number: this memory of Redis
 * Life: that of Redis's memory
 * Writer: the first im-logic that reads it
 */
#define IM_KEY_PRESENCE  "im:presence"

/*
 * Key: im:swept:<instance>
 * Type: string
 * Value: 1: entries of this dead instance were removed
 * Life: 15 s
 * Writer: im-logic
 */
#define IM_KEY_SWEPT  "im:swept:%s"


/* --- sessions --- */

/*
 * Key: im:rev:<sid>
 * Type: string
 * Value: 1: this session was ended
 * Life: [auth] refresh_ttl_s
 * Writer: im-logic
 */
#define IM_KEY_REVOKED  "im:rev:%.40s"

/*
 * Key: im:revs
 * Type: sorted set
 * Value: sid; score: when it was ended, in s
 * Life: [auth] access_ttl_s and a minute; 100,000 entries
 * Writer: im-logic
 */
#define IM_KEY_REVOKED_LAST  "im:revs"

/*
 * Key: im:tkt:<hash>
 * Type: string
 * Value: "uid sid device" (im_keys_ticket_read()). The name ends in the SHA-256
 *        of the ticket
 * Life: [auth] ticket_ttl_s, or until it is used
 * Writer: im-logic
 */
#define IM_KEY_TICKET  "im:tkt:%s"

/*
 * Key: im:blocks
 * Type: stream
 * Value: p = "uid uid" (im_keys_pair_read()): the first takes messages of the
 *        second no longer, or again
 * Life: 10,000 entries
 * Writer: im-logic
 */
#define IM_KEY_BLOCKS  "im:blocks"


/* --- rooms (docs/internals/rooms.md) --- */

/*
 * Key: im:g:{uid}
 * Type: string
 * Value: the user's groups, "12 345"; "0": none; "x...": being changed
 *        (im_keys_groups_read())
 * Life: an hour; 30 s while it is being changed
 * Writer: im-logic
 */
#define IM_KEY_GROUPS  "im:g:{%" PRIu64 "}"

/*
 * Key: im:rm:{room}
 * Type: string
 * Value: the number of the last removal and who was removed, "7 123 456";
 *        "x...": being changed (im_keys_removals_read())
 * Life: a day; 30 s while it is being changed
 * Writer: im-logic
 */
#define IM_KEY_REMOVED  "im:rm:{%" PRIu64 "}"
#define IM_KEY_MARK  "x%016" PRIx64    /* "x..." in these two */

/*
 * Key: im:r:{room}
 * Type: hash
 * Value: instance -> users of the room there, a number
 * Life: an hour after it was renewed
 * Writer: im-logic, for a worker; im-task removes dead instances
 */
#define IM_KEY_ROOM  "im:r:{%" PRIu64 "}"

/*
 * Key: im:rl:{room}:<instance>
 * Type: sorted set
 * Value: uid; score: the uid. The users of the room on this instance
 * Life: an hour after it was renewed
 * Writer: im-logic, for a worker; im-task removes dead instances
 */
#define IM_KEY_ROOM_USERS  "im:rl:{%" PRIu64 "}:%.*s"

/*
 * Key: im:rk:{room}
 * Type: string
 * Value: "seq ms": a number of the room and when it was seen
 *        (im_keys_pair_read())
 * Life: three times [rooms] live_keep_s
 * Writer: im-logic
 */
#define IM_KEY_KEPT  "im:rk:{%" PRIu64 "}"


/* --- numbers of messages (docs/internals/guarantees.md) --- */

/*
 * Key: im:s:{tag}:<a>:<b>
 * Type: string
 * Value: the last number that was given in a conversation
 * Life: that of Redis's memory
 * Writer: im-logic
 */
#define IM_KEY_SEQ  "im:s:{%u}:%" PRIu64 ":%" PRIu64

/*
 * Key: im:d:{tag}:<bucket>
 * Type: hash
 * Value: client message ids of this time and the numbers they got, who holds
 *        them, what is void (logic_sequence.c, logic_holds.c). The script adds
 *        the number of the bucket, [dedupe] window_s long, to the name
 * Life: two buckets and a minute
 * Writer: im-logic
 */
#define IM_KEY_DEDUPE  "im:d:{%u}:"

/*
 * Key: im:memory:{tag}
 * Type: string
 * Value: since when Redis remembers, in ms; 0: always
 * Life: that of Redis's memory
 * Writer: im-logic
 */
#define IM_KEY_MEMORY  "im:memory:{%u}"

/*
 * Key: im:decided:{tag}
 * Type: hash
 * Value: instance of im-logic -> "mark ms": the memory for which all its
 *        numbers are decided ("-": none yet), and when it wrote that
 * Life: a minute after an instance wrote last
 * Writer: im-logic
 */
#define IM_KEY_DECIDED  "im:decided:{%u}"

/*
 * Key: im:fresh:{uid}
 * Type: sorted set
 * Value: partition; score: when a conversation of the user began there, in ms
 * Life: until the store has them; an hour
 * Writer: im-logic
 */
#define IM_KEY_FRESH  "im:fresh:{%" PRIu64 "}"


/* --- health --- */

/*
 * Key: im:probe
 * Type: string
 * Value: 1: Redis accepts writes
 * Life: 10 s
 * Writer: im-logic, im-task
 */
#define IM_KEY_PROBE  "im:probe"


/* A value of IM_KEY_USER. */
typedef struct {
    im_str_t  instance;
    im_str_t  sid;
    im_str_t  device;
    uint64_t  since_ms;                /* 0: not told */
} im_keys_route_t;

/* IM_DECLINED: it is none.  The parts point into the value. */
int im_keys_route_read(im_keys_route_t *r, const char *value, size_t len);
/* Length, as snprintf(). */
int im_keys_route_write(char *value, size_t size, const im_keys_route_t *r);

/* A value of IM_KEY_TICKET. */
typedef struct {
    uint64_t  uid;
    char      sid[IM_SID_LEN + 1];
    char      device[IM_DEVICE_MAX + 1];
} im_keys_ticket_t;

#define IM_KEYS_TICKET_MAX  (20 + 1 + IM_SID_LEN + 1 + IM_DEVICE_MAX + 1)

/* IM_DECLINED: it is none. */
int im_keys_ticket_read(im_keys_ticket_t *t, const char *value, size_t len);
void im_keys_ticket_write(char value[IM_KEYS_TICKET_MAX],
    const im_keys_ticket_t *t);

/* Two numbers: IM_KEY_KEPT, and the field of IM_KEY_BLOCKS. */
#define IM_KEYS_PAIR_MAX  48

/* IM_DECLINED: they are not there. */
int im_keys_pair_read(const char *value, uint64_t *one, uint64_t *other);
void im_keys_pair_write(char value[IM_KEYS_PAIR_MAX], uint64_t one,
    uint64_t other);

/*
 * IM_KEY_GROUPS and IM_KEY_REMOVED are lists of numbers.  Writing: each number
 * follows the one before it, the first at the start of the buffer; returns the
 * end.
 */
#define IM_KEYS_NUMBER_MAX  21         /* of one, with a blank or NUL */

char *im_keys_number_write(char *start, char *p, uint64_t n);
/*
 * on_group is called for each group, or not at all for a user who is in none.
 * IM_DECLINED, and nothing is called: it is being changed, ask MySQL.
 */
int im_keys_groups_read(const char *value, size_t len,
    void (*on_group)(void *ctx, uint64_t room), void *ctx);
/* *n: in, how many uids fit.  IM_DECLINED, and *n is 0: it is being changed. */
int im_keys_removals_read(const char *value, uint64_t *last, uint64_t *uids,
    size_t *n);

#endif
