/*
 * logic_rooms.c -- stubs.
 */

#include "logic_rooms.h"

#define STUB(name)                                                            \
void                                                                          \
logic_rooms_##name(logic_db_t *db, im_rpc_req_t *req,                         \
    const ProtobufCMessage *in)                                               \
{                                                                             \
    (void) db;                                                                \
    (void) in;                                                                \
    logic_fail(req, "unsupported", "not yet");                                \
}

STUB(create)
STUB(get)
STUB(join)
STUB(leave)
STUB(members)
STUB(add)
STUB(remove)
STUB(set)
STUB(dismiss)
