/*
 * logic_presence_int.h -- what the files of presence share.
 */

#ifndef LOGIC_PRESENCE_INT_H
#define LOGIC_PRESENCE_INT_H

#include "logic_devices.h"
#include "logic_db.h"
#include "logic_presence.h"
#include "logic_presence_state.h"

#define PRESENCE_BATCH    256
#define PRESENCE_LOSERS   16       /* replaced by one open; more stay */
#define PRESENCE_CHANGES  512      /* notified at a time */

struct redisReply;

typedef struct presence_job_s  presence_job_t;

typedef enum {
    PRESENCE_OPEN = 0,
    PRESENCE_CLOSE,
    PRESENCE_HELLO                 /* a worker has linked */
} presence_kind_t;

/* Another connection of the user, that has to end. */
typedef struct {
    uint64_t          conn;
    char              instance[160];
} presence_loser_t;

struct presence_job_s {
    presence_job_t   *next;
    logic_reply_t     reply;
    presence_kind_t   kind;
    uint64_t          uid;
    uint64_t          conn;
    char              instance[160];
    char              sid[IM_SID_LEN + 1];
    char              device[IM_DEVICE_MAX + 1];
    uint64_t          age_ms;      /* announced again; 0: it is new */
    uint64_t          since_ms;

    /* What Redis has said. */
    unsigned          unknown:1;   /* a reply was an error */
    unsigned          revoked:1;   /* the session was ended */
    unsigned          replaced:1;  /* by a later connection */
    unsigned          crowded:1;   /* too many connections of the user */
    unsigned          written:1;
    unsigned          missing:1;   /* groups: MySQL knows */
    unsigned          groups:1;    /* are known */
    unsigned          left:1;      /* none is left on an instance that lives */
    unsigned          n_losers;
    presence_loser_t *losers;
    size_t            n_rooms;
    size_t            max_rooms;
    uint64_t         *rooms;
};

/* A user whose subscribers are to be notified. */
typedef struct {
    uint64_t                uid;
    uint64_t                version;
    uint64_t                noted;         /* the version in im:news */
    unsigned                online:1;
    unsigned                missed:1;      /* by an instance */
} presence_change_t;

typedef struct presence_target_s  presence_target_t;

/* The presence thread's own. */
typedef struct {
    logic_db_t              db;
    logic_devices_policy_t  policy;
    logic_touched_t         touched;
    uint64_t                mysql_us;      /* not asked again before */
    uint64_t                tick_us;
    uint64_t                repeat_us;     /* notifications */
    unsigned                pause;         /* before the next batch */
    unsigned                n_changes;
    unsigned                n_missed;      /* of those sent last */
    presence_change_t       changes[PRESENCE_CHANGES];
    presence_target_t      *targets;       /* instances; a hash */
} presence_t;

/* logic_presence.c */
void logic_presence_undo(const presence_job_t *job);
/* 1: the thread is to end, so no loop may go on. */
int logic_presence_stops(void);

/* logic_presence_batch.c: opens and closes; answers and frees them.  IM_ERROR:
 * Redis does not answer. */
int logic_presence_batch(presence_t *p, presence_job_t *jobs);
void logic_presence_free(presence_job_t *job);
/* 1 if it will not be open. */
int logic_presence_refused(const presence_job_t *job);

/* logic_presence_groups.c */
void logic_presence_room(presence_job_t *job, uint64_t room);
void logic_presence_groups(presence_t *p, presence_job_t *jobs);
/* Messages of these rooms go to the instance from now on. */
int logic_presence_rooms(presence_t *p, presence_job_t *jobs);

/* logic_presence_events.c */
/* Takes the notification in a reply, if there is one; noted: the version in
 * im:news, 0 if it is the same. */
void logic_presence_changed(presence_t *p, uint64_t uid, uint64_t noted,
    const struct redisReply *reply);
/* Sends what was taken. */
int logic_presence_tell(presence_t *p);
/* Those whose time is up, and notifications that did not reach all. */
int logic_presence_expire(presence_t *p);

/* Reads n replies that only matter if there are none. */
int logic_presence_skip(im_redis_t *redis, size_t n);

#endif
