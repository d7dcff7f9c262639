/*
 * im_core.h -- the vocabulary that every room shares: result codes, a string
 * slice, and nothing that waits.
 *
 * The values equal nginx's (NGX_OK ...), so that no border runs through the
 * trip of a message; src/nginx asserts it.
 */

#ifndef IM_CORE_H
#define IM_CORE_H

#include <stddef.h>
#include <stdint.h>

#define IM_OK         0
#define IM_ERROR     -1
#define IM_AGAIN     -2
#define IM_BUSY      -3
#define IM_DONE      -4
#define IM_DECLINED  -5

/* A slice of somebody else's bytes; layout of ngx_str_t. */
typedef struct {
    size_t         len;
    unsigned char *data;
} im_str_t;

#define im_str(s)  { sizeof(s) - 1, (unsigned char *) (s) }

/* How a lower room logs: level as syslog's, msg is one sentence. */
#define IM_LOG_ERR      3
#define IM_LOG_WARN     4
#define IM_LOG_NOTICE   5
#define IM_LOG_INFO     6
#define IM_LOG_DEBUG    7

typedef void (*im_log_pt)(void *ctx, int level, const char *msg);

/* The eight bytes of v, the lowest first on every machine. */
static inline void
im_put64(unsigned char *p, uint64_t v)
{
    int  i;

    for (i = 0; i < 8; i++) {
        p[i] = (unsigned char) (v >> (8 * i));
    }
}

#define IM_CMID_MAX       64        /* bytes of a client's message id */
#define IM_DEVICE_MAX     32        /* bytes of a device name */
#define IM_SID_LEN        22        /* base64url of 16 random bytes */
#define IM_BODY_MAX       65536     /* bytes of a message body, hard limit */

#endif
