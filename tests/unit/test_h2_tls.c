/*
 * test_h2_tls.c -- what test_rpc_tls.c promises, kept by src/h2.
 */

#define IM_RPC_H2

#include "test_rpc_tls.c"
