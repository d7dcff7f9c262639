/*
 * logic_probes.h -- what im-logic needs, and whether it is there.
 */

#ifndef LOGIC_PROBES_H
#define LOGIC_PROBES_H

#include "im_disc.h"

/* Redis, MySQL, Kafka: from the start on. */
int logic_probes_start(void);
/* Once there is discovery; node: "no node number" until there is one. */
int logic_probes_start_etcd(im_rpc_t *rpc, im_disc_t *disc);
/* Before what they look at is destroyed; NULL-safe, once. */
void logic_probes_stop(void);

/* Until it is up; IM_DONE: a signal asks to stop.  Main thread. */
int logic_probes_wait_stores(void);
int logic_probes_wait_kafka(void);

/* The rest: any thread. */

/* has: 1, the node number is there. */
void logic_probes_node(int has);

/*
 * Whether Kafka is known to take nothing: two looks in a row were bad, or
 * messages were not confirmed and no look since has been good.  A message that
 * was confirmed since that look began proves the contrary.
 */
int logic_probes_kafka_away(void);
/* What delivery reports say of Kafka, once for a batch of them. */
void logic_probes_kafka_confirmed(void);
void logic_probes_kafka_failed(void);

/* For how long Redis, Kafka or MySQL has not answered; 0: all of them do. */
uint64_t logic_probes_away_ms(void);

/*
 * Whether MySQL is known not to answer, so that to ask is only to wait: a
 * question failed, or two looks in a row were bad, and no question was answered
 * and no look good since; or a question of the threads below takes longer than
 * IM_ASK_MS.  The probe goes on looking, so nobody else has to.
 */
int logic_probes_mysql_away(void);
/* Whether it has not answered for 5 s: a look is not just slow. */
int logic_probes_mysql_gone(void);
/* Threads that ask for others, each with a number below LOGIC_PROBES_ASKERS: a
 * question begins, and ends. */
#define LOGIC_PROBES_ASKERS  2
void logic_probes_mysql_asks(unsigned asker);
void logic_probes_mysql_asked(unsigned asker);
/* What became of questions. */
void logic_probes_mysql_answered(void);
void logic_probes_mysql_failed(void);

#endif
