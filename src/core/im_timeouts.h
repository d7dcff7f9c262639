/*
 * im_timeouts.h -- every limit of time towards another process, in one place.
 *
 * The libraries' defaults (gRPC connects for 20 s and backs off for 120 s,
 * librdkafka delivers for 300 s, hiredis and libmysqlclient wait for ever)
 * break recovery in seconds, so each of them is set, and set from here.
 * docs/timeouts.md says what each one decides; a test compares the two.
 *
 * Unit: milliseconds, if the name does not end in _S.
 */

#ifndef IM_TIMEOUTS_H
#define IM_TIMEOUTS_H

#define IM_TIMEOUT_STR(value)    IM_TIMEOUT_STR2(value)
#define IM_TIMEOUT_STR2(value)   #value

/* gRPC, both sides. */
#define IM_RPC_CONNECT_MS            500    /* TCP, TLS and HTTP/2 settings */
#define IM_RPC_BACKOFF_MIN_MS        100    /* between two tries to connect */
#define IM_RPC_BACKOFF_MAX_MS        1000
#define IM_RPC_PING_MS               7000   /* etcd drops a ping each 5 s */
#define IM_RPC_PING_WAIT_MS          2000   /* then the connection is dead */
#define IM_RPC_SERVER_PING_MS        5000
#define IM_RPC_PING_ALLOWED_MS       500    /* a peer may ping this often */
#define IM_RPC_BEAT_MS               250    /* of a silent stream */
#define IM_RPC_DEAD_MS               750    /* a stream receives nothing */
#define IM_RPC_SERVER_DEAD_MS        3000   /* the same, of a server's side */
#define IM_RPC_STREAM_MS             1000   /* until a stream is connected */
#define IM_RPC_HELLO_MS              5000   /* of a caller: TLS and settings */
#define IM_RPC_LINGER_MS             1000   /* for a refused peer to read why */
#define IM_RPC_NAME_MS               2000   /* to look a name up */
#define IM_RPC_LEAVE_MS              500    /* to remove our keys at exit */
#define IM_RPC_STOP_MS               2000   /* for operations to end at exit */
#define IM_RPC_GONE_MS               500    /* for the core, then */
#define IM_RPC_LAST_MS               100    /* for its last thread, then */

/* Calls and instances, as the service view judges them. */
#define IM_DISC_EJECT_MIN_MS         1000   /* first ejection; then doubled */
#define IM_DISC_EJECT_MAX_MS         30000
#define IM_BREAKER_WINDOW_MS         10000
#define IM_BREAKER_OPEN_MIN_MS       1000   /* first pause; then doubled */
#define IM_BREAKER_OPEN_MAX_MS       10000
#define IM_DISC_LOAD_MS              2000   /* between two published loads */

/* A worker that could not start the messenger. */
#define IM_WORKER_RETRY_MIN_MS       1000   /* the first pause; then doubled */
#define IM_WORKER_RETRY_MAX_MS       30000

/* The message path of a worker. */
#define IM_LINK_RETRY_MIN_MS         100
#define IM_LINK_RETRY_MAX_MS         1000
#define IM_OUTBOX_WAIT_MS            8000   /* for Logic's answer to an item */
#define IM_LOGIC_CALL_MS             5000   /* and to a call */

/* etcd. */
#define IM_ETCD_CALL_MS              2000
#define IM_ETCD_RETRY_MS             500
#define IM_ETCD_REFRESH_MS           60000  /* the view is listed anew */
#define IM_ETCD_LEASE_S              3      /* of an instance */
#define IM_ETCD_NODE_LEASE_S         600    /* of a node number */
#define IM_ETCD_NODE_BEAT_MS         10000  /* its lease is renewed */
#define IM_ETCD_NODE_CHECK_MS        1000   /* its floor and our clock */
#define IM_ETCD_FLOOR_AHEAD_MS       900000 /* the floor runs ahead of ids */
#define IM_ETCD_FLOOR_RENEW_MS       240000 /* it is written this often */

/* Stopping. */
#define IM_DRAIN_SEEN_MS             200    /* for peers to see the mark */
#define IM_DRAIN_MS                  3000   /* for what is in flight */
#define IM_DRAIN_LAST_MS             300    /* for calls, if that was short */
#define IM_STOP_ETCD_MS              1000   /* to take the view of etcd down */
#define IM_STOP_MS                   5000   /* then a daemon ends in any case */

/* Ending a WebSocket connection. */
#define IM_WS_LINGER_MS              2000   /* for the client to read, answer */

/* Kafka: librdkafka. */
#define IM_KAFKA_DELIVERY_MS         5000   /* then the sender is refused */
#define IM_KAFKA_SESSION_MS          2000   /* a dead consumer is replaced */
#define IM_KAFKA_SESSION_SAFE_MS     6000   /* where a broker wants that */
#define IM_KAFKA_SESSION_LONG_MS     180000 /* after a loss: for so long */
#define IM_KAFKA_RENEW_MS            5000   /* until one that failed again */
#define IM_KAFKA_HEARTBEAT_MS        400
#define IM_KAFKA_POLL_MAX_MS         60000  /* a stuck consumer is replaced */
#define IM_KAFKA_COMMIT_MS           200
#define IM_KAFKA_COMMIT_MIN_MS       30     /* between two commits of rows */
#define IM_KAFKA_FETCH_WAIT_MS       100
#define IM_KAFKA_FETCH_BACKOFF_MS    50
#define IM_KAFKA_SOCKET_MS           5000   /* one request */
#define IM_KAFKA_CONNECT_MS          2000
#define IM_KAFKA_BACKOFF_MIN_MS      100
#define IM_KAFKA_BACKOFF_MAX_MS      500
#define IM_KAFKA_RETRY_MS            100
#define IM_KAFKA_METADATA_MS         30000
#define IM_KAFKA_OFFSETS_MS          1000   /* one question for an offset */

/* Calls that wait for a thread of Logic. */
#define IM_LOGIC_QUEUE_MS            2500   /* the first; then: busy */

/* Logic waits until the store has caught up with the log. */
#define IM_SETTLE_ASK_MS             500    /* one question to Kafka */
#define IM_SETTLE_POLL_MS            20     /* between two of them */
#define IM_SYNC_WAIT_MS              1000   /* a sync, for all it asks */
#define IM_SYNC_PART_MS              200    /* the same, if it has something */
#define IM_SYNC_LOOK_MAX_MS          160    /* between two looks at its rows */
#define IM_UNSTORED_WAIT_MS          2500   /* a list of conversations */
#define IM_REPEAT_SETTLE_MS          1000   /* old repeats, all of a batch */
#define IM_REPEAT_QUEUE_MS           5000   /* one is refused then, unasked */

/* Messages that wait for an answer of MySQL. */
#define IM_ASK_STALE_MS              500    /* an older answer is used then */
#define IM_ASK_MS                    1000   /* it is refused then */

/* Redis has lost its memory. */
#define IM_DECIDED_TICK_MS           50     /* Logic checks, and posts */
#define IM_DECIDED_WAIT_MS           500    /* a message, for the last number */

/* Log-ins. */
#define IM_REFRESH_REPEAT_MS         10000  /* for a lost answer to be asked */

/* When a client that was refused is to try again (retry_after_ms). */
#define IM_RETRY_MS                  1000   /* a queue was full, or the like */
#define IM_RETRY_AWAY_MIN_MS         500    /* what it needs is away: half as */
#define IM_RETRY_AWAY_MAX_MS         2500   /* long as it has been, in these */

/* Probes of a daemon's dependencies (/readyz). */
#define IM_PROBE_EVERY_MS            2000   /* between two probes of each */
#define IM_PROBE_AWAY_MS             250    /* the same while it is away */
#define IM_PROBE_DEADLINE_MS         1000   /* a longer probe is bad */
#define IM_PROBE_BACKOFF_MS          250    /* its connection to Kafka */

/* Redis: hiredis.  MySQL: libmysqlclient, whole seconds. */
#define IM_REDIS_MS                  1000   /* connect, and each reply */
#define IM_MYSQL_MS                  3000   /* connect, each read and write */

#endif
