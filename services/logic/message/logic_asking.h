/*
 * logic_asking.h -- the threads that wait for MySQL so that shards need not.
 */

#ifndef LOGIC_ASKING_H
#define LOGIC_ASKING_H

#include "logic_park.h"

int logic_asking_start(void);
/* After the shards have ended: what waits is not asked any more. */
void logic_asking_stop(void);

/* The rest: any thread; none waits. */

/* Has q asked, which was added to a park. */
void logic_asking_add(logic_question_t *q);

/* The reason, of the last failure; at most size bytes with the NUL. */
void logic_asking_error(char *text, size_t size);

#endif
