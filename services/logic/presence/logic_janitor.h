/*
 * logic_janitor.h -- what Logic does about Redis that nobody asks for: is its
 * memory still there, what have dead workers left behind, what have other
 * Logics changed.
 */

#ifndef LOGIC_JANITOR_H
#define LOGIC_JANITOR_H

#include <stdint.h>

/* Before logic_alive_start. */
int logic_janitor_start(void);
void logic_janitor_stop(void);

/* Any thread: of the memory that Redis has now; 0: not known yet. */
uint64_t logic_janitor_epoch(void);

#endif
