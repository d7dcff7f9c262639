/*
 * test_h2_status.c -- what test_rpc_status.c promises, kept by src/h2.
 */

#define IM_RPC_H2

#include "test_rpc_status.c"
