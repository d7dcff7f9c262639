/*
 * im_error.h -- every refusal a client can see, in one table.
 *
 * A code is stable, a text is not.  Logic fails an RPC with the gRPC status
 * and the message "code: text"; the API tier turns that into the HTTP status
 * and problem+json (RFC 9457), the Connect tier into an error frame.
 */

#ifndef IM_ERROR_H
#define IM_ERROR_H

#include "im_core.h"

typedef struct {
    const char    *code;
    unsigned       http;       /* HTTP status */
    int            grpc;       /* gRPC status code */
    unsigned       retryable:1;
    const char    *title;
} im_error_t;

/* The entry of a code, or that of "internal" if it is unknown. */
const im_error_t *im_error_find(const char *code, size_t len);

/*
 * Splits "code: text" as made by Logic.  A message without a known code, and
 * statuses made by the transport, are mapped by the gRPC status: 4 ->
 * timeout (504), 14 and 8 -> unavailable (503), else internal (500).  12 comes
 * from an older Logic without this method, and is always unsupported (415).
 */
const im_error_t *im_error_from_status(int grpc, const char *message,
    im_str_t *text);

/*
 * After how many ms a client is to try again; 0: never.  away_ms: for how long
 * the needed program has not answered, 0 if it does.  A program that has been
 * away for long will hardly be back at once, but once it is, all waiting
 * clients are to come back soon.
 */
unsigned im_error_retry_ms(const im_error_t *e, uint64_t away_ms);

/* For docs and tests: the i-th entry, NULL past the end. */
const im_error_t *im_error_at(size_t i);

#endif
