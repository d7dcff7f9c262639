/*
 * im_logic_rpcs.c -- see im_logic_rpcs.h.
 *
 * protoc-c makes a struct of one pointer to a function for each rpc of a
 * service.  Nobody calls through it here, but it is what the compiler knows of
 * the schema: names, messages, and how many there are.
 *
 * Room: core.
 */

#include <stddef.h>
#include <string.h>

#include "im_logic_rpcs.h"
#include "logic.pb-c.h"


typedef void (*rpcs_member_pt)(void);


/* The words of a row. */
enum { ANY_ONE, OWNER };
enum { ONCE, REPEAT };
enum { ANYBODY, SESSION };
enum { API = IM_LOGIC_API, FRAME = IM_LOGIC_FRAME, WORKER = IM_LOGIC_WORKER };

/* Of a pool; an enum, for a row is a constant. */
#define RPCS_BREAKER(pool, name, conf, breaker, stores)                       \
    RPCS_BREAKER_##pool = IM_LOGIC_FAILS_##breaker,

enum { IM_LOGIC_POOLS(RPCS_BREAKER) };

/* Two rows of one name do not compile. */
#define RPCS_ONCE(method, member, ...)  RPCS_##member,

enum {
    IM_LOGIC_RPCS(RPCS_ONCE)
    RPCS_N
};


#define RPCS_CALLER_ANYBODY(request)
#define RPCS_CALLER_SESSION(request)                                          \
    _Static_assert(offsetof(Im__##request, caller) != 0, "a caller");

#define RPCS_CHECK(method, member, request, reply, pool, at, again, session,  \
                   callers, ms, kib, function)                                \
    _Static_assert(__builtin_types_compatible_p(                              \
                       __typeof__(((Im__Logic_Service *) NULL)->member),      \
                       void (*)(Im__Logic_Service *, const Im__##request *,   \
                                Im__##reply##_Closure, void *)),              \
                   "the row of " #method " is not what logic.proto says");    \
    RPCS_CALLER_##session(request)

IM_LOGIC_RPCS(RPCS_CHECK)

/* The stream has none. */
_Static_assert(sizeof(Im__Logic_Service)
               == sizeof(ProtobufCService)
                  + (RPCS_N + 1) * sizeof(rpcs_member_pt),
               "an rpc of logic.proto has no row in im_logic_rpcs.h");


#define RPCS_ROW(method, member, request, reply, pool_, at, again,            \
                 session_, callers_, ms, kib, function)                       \
    { .name = #method, .pool = IM_LOGIC_##pool_,                              \
      .breaker = RPCS_BREAKER_##pool_, .callers = callers_,                   \
      .deadline_ms = ms, .request_max = kib * 1024, .owner = at == OWNER,     \
      .repeat = again == REPEAT, .session = session_ == SESSION },

const im_logic_rpc_t  im_logic_rpcs[] = {
    IM_LOGIC_RPCS(RPCS_ROW)
    { .name = NULL }
};


const im_logic_rpc_t *
im_logic_rpc_find(const char *name)
{
    const im_logic_rpc_t  *rpc;

    for (rpc = im_logic_rpcs; rpc->name != NULL; rpc++) {
        if (strcmp(rpc->name, name) == 0) {
            return rpc;
        }
    }

    return NULL;
}
