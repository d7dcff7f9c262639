/*
 * im_check.h -- bounds of the fields of a request, beyond their type.
 *
 * The same rules hold for a frame, for an HTTP endpoint and in Logic itself: a
 * client gets the same refusal on every path.
 */

#ifndef IM_CHECK_H
#define IM_CHECK_H

#include "im_json.h"

#define IM_CURSORS_MAX        100      /* of one sync */
#define IM_PAGE_MAX           200      /* messages, members */
#define IM_CONVERSATIONS_MAX  100
#define IM_UIDS_MAX           200
#define IM_ROOMS_MAX          50       /* of one page of the caller's */

/*
 * IM_OK, or IM_ERROR with err filled.  An optional id that is 0 counts as not
 * given, and is removed from the message.  A message without rules passes.
 */
int im_check(ProtobufCMessage *msg, im_json_err_t *err);

/* 1 if there is a rule for this field, by its index in the descriptor. */
int im_check_has_rule(const ProtobufCMessageDescriptor *d, unsigned index);

#endif
