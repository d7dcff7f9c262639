/*
 * logic_partitions.c -- see logic_partitions.h.
 */

#include <stdatomic.h>

#include "logic_partitions.h"


static atomic_uint  partitions;


unsigned
logic_partitions(void)
{
    return atomic_load_explicit(&partitions, memory_order_relaxed);
}


void
logic_partitions_set(unsigned n)
{
    atomic_store(&partitions, n);
}
