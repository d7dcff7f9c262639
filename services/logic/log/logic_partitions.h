/*
 * logic_partitions.h -- how many partitions the topic of messages has.
 */

#ifndef LOGIC_PARTITIONS_H
#define LOGIC_PARTITIONS_H

/* 0 until the producer has started, which sets it once. */
unsigned logic_partitions(void);
void logic_partitions_set(unsigned n);

#endif
