/*
 * im_check.h -- what the fields of a request may hold, beyond their type.
 *
 * The same for a frame, for an HTTP endpoint and for Logic itself: a client
 * gets one refusal, however it asked.
 */

#ifndef IM_CHECK_H
#define IM_CHECK_H

#include "im_json.h"

#define IM_CURSORS_MAX        100      /* of one sync */
#define IM_PAGE_MAX           200      /* messages, members */
#define IM_CONVERSATIONS_MAX  100
#define IM_UIDS_MAX           200
#define IM_ROOMS_MAX          50       /* of one page of one's own */

/*
 * IM_OK, or IM_ERROR with err filled.  An optional id that is 0 counts as not
 * given, and is taken out of the message.  A message without rules is fine.
 */
int im_check(ProtobufCMessage *msg, im_json_err_t *err);

/* 1 if there is a rule for this field, by its index in the descriptor. */
int im_check_has_rule(const ProtobufCMessageDescriptor *d, unsigned index);

#endif
