/*
 * im_check.c -- one validator for all ways into the messenger.
 *
 *     frame   im_client_decode() --+
 *     HTTP    ngx_im_api_fill()  --+--> im_check() --> Logic --> im_check()
 *
 * The decoders find values of the wrong type and required fields that are
 * missing (im_json_decode.c, im_client_query.c).  Here is what the schema
 * cannot say: bounds, lengths, and that one of two fields names a conversation.
 * Logic checks again, because a worker may be of another version.  What only
 * Logic can know (does the user exist, how may a name look) is left to it.
 *
 * A rule is a row.  A send comes too often for the table, and has two messages
 * of different shape; it has a function.  tests/unit/test_check.c goes through
 * the schema and finds a field without a rule.
 *
 * Room: core.
 */

#include <string.h>

#include "im_check.h"
#include "im_json_scan.h"
#include "client.pb-c.h"
#include "logic.pb-c.h"


typedef enum {
    CHECK_PEER,                        /* a user; this or `room` */
    CHECK_NUMBER,                      /* 0 to 2^63-1 */
    CHECK_RANGE,
    CHECK_ENTRIES                      /* min to max of them */
} check_kind_t;

typedef struct {
    const ProtobufCMessageDescriptor  *message;
    const char                        *field;
    check_kind_t                       kind;
    unsigned                           min;
    unsigned                           max;
} check_rule_t;


static const check_rule_t *check_rule(const ProtobufCMessageDescriptor *d,
    const char *field);
static int check_field(ProtobufCMessage *msg, const check_rule_t *r,
    im_json_err_t *err);
static int check_pair(ProtobufCMessage *msg, const char *peer,
    im_json_err_t *err);
static int check_id(const char *name, uint64_t value, im_json_err_t *err);
static uint64_t *check_optional_id(ProtobufCMessage *msg, const char *name);
static int check_send(uint64_t to, uint64_t room, const char *cmid,
    size_t body, im_json_err_t *err);
static int check_send_request(Im__SendRequest *r, im_json_err_t *err);
static void check_cursors(Im__SyncRequest *r);


static const check_rule_t  check_rules[] = {
    { &im__sync_request__descriptor, "cursors", CHECK_ENTRIES, 1,
      IM_CURSORS_MAX },
    { &im__sync_request__descriptor, "limit", CHECK_RANGE, 1, IM_PAGE_MAX },

    { &im__history_request__descriptor, "with", CHECK_PEER, 0, 0 },
    { &im__history_request__descriptor, "before_seq", CHECK_NUMBER, 0, 0 },
    { &im__history_request__descriptor, "after_seq", CHECK_NUMBER, 0, 0 },
    { &im__history_request__descriptor, "limit", CHECK_RANGE, 1, IM_PAGE_MAX },

    { &im__conversations_request__descriptor, "before", CHECK_NUMBER, 0, 0 },
    { &im__conversations_request__descriptor, "limit", CHECK_RANGE, 1,
      IM_CONVERSATIONS_MAX },

    { &im__conversation_set_request__descriptor, "with", CHECK_PEER, 0, 0 },

    { &im__read_request__descriptor, "with", CHECK_PEER, 0, 0 },

    { &im__presence_request__descriptor, "uids", CHECK_ENTRIES, 1,
      IM_UIDS_MAX },
    { &im__presence_subscribe__descriptor, "add", CHECK_ENTRIES, 0,
      IM_UIDS_MAX },
    { &im__presence_subscribe__descriptor, "remove", CHECK_ENTRIES, 0,
      IM_UIDS_MAX },

    { &im__room_create_request__descriptor, "members", CHECK_ENTRIES, 0,
      IM_UIDS_MAX },
    { &im__room_members_request__descriptor, "after", CHECK_NUMBER, 0, 0 },
    { &im__room_members_request__descriptor, "limit", CHECK_RANGE, 1,
      IM_PAGE_MAX },
    { &im__rooms_request__descriptor, "after", CHECK_NUMBER, 0, 0 },
    { &im__rooms_request__descriptor, "limit", CHECK_RANGE, 1,
      IM_ROOMS_MAX },
    { &im__room_add_request__descriptor, "uids", CHECK_ENTRIES, 1,
      IM_UIDS_MAX },

    { NULL, NULL, CHECK_NUMBER, 0, 0 }
};


int
im_check(ProtobufCMessage *msg, im_json_err_t *err)
{
    Im__Send            *send;
    const check_rule_t  *r;

    if (msg->descriptor == &im__send__descriptor) {
        send = (Im__Send *) msg;

        return check_send(send->to, send->room, send->cmid, send->body.len,
                          err);
    }

    if (msg->descriptor == &im__send_request__descriptor) {
        return check_send_request((Im__SendRequest *) msg, err);
    }

    for (r = check_rules; r->message != NULL; r++) {
        if (r->message == msg->descriptor
            && check_field(msg, r, err) != IM_OK)
        {
            return IM_ERROR;
        }
    }

    if (msg->descriptor == &im__sync_request__descriptor) {
        check_cursors((Im__SyncRequest *) msg);
    }

    return IM_OK;
}


int
im_check_has_rule(const ProtobufCMessageDescriptor *d, unsigned index)
{
    const char  *name;

    name = d->fields[index].name;

    return d == &im__send__descriptor || d == &im__send_request__descriptor
           || check_rule(d, name) != NULL
           || (strcmp(name, "room") == 0 && check_rule(d, "with") != NULL);
}


static const check_rule_t *
check_rule(const ProtobufCMessageDescriptor *d, const char *field)
{
    const check_rule_t  *r;

    for (r = check_rules; r->message != NULL; r++) {
        if (r->message == d && strcmp(r->field, field) == 0) {
            return r;
        }
    }

    return NULL;
}


static int
check_field(ProtobufCMessage *msg, const check_rule_t *r, im_json_err_t *err)
{
    char                            *p;
    size_t                           n;
    const ProtobufCFieldDescriptor  *f;

    if (r->kind == CHECK_PEER) {
        return check_pair(msg, r->field, err);
    }

    f = protobuf_c_message_descriptor_get_field_by_name(msg->descriptor,
                                                        r->field);
    p = (char *) msg;

    if (r->kind == CHECK_ENTRIES) {
        n = *(size_t *) (p + f->quantifier_offset);

        return (n >= r->min && n <= r->max)
               ? IM_OK : im_json_fail(err, "bad_field", "field '%s' must have "
                                      "%u to %u entries", r->field, r->min,
                                      r->max);
    }

    if (!*(protobuf_c_boolean *) (p + f->quantifier_offset)) {
        return IM_OK;
    }

    if (r->kind == CHECK_NUMBER) {
        return (*(uint64_t *) (p + f->offset) <= INT64_MAX)
               ? IM_OK : im_json_fail(err, "bad_field", "field '%s' is above "
                                      "2^63-1", r->field);
    }

    n = *(uint32_t *) (p + f->offset);

    return (n >= r->min && n <= r->max)
           ? IM_OK : im_json_fail(err, "bad_field", "field '%s' is not in "
                                  "%u-%u", r->field, r->min, r->max);
}


/* Just one of the two: this one, or `room`. */
static int
check_pair(ProtobufCMessage *msg, const char *peer, im_json_err_t *err)
{
    uint64_t  *with, *room;

    with = check_optional_id(msg, peer);
    room = check_optional_id(msg, "room");

    if (with == NULL && room == NULL) {
        return im_json_fail(err, "missing_field", "field '%s' or 'room' is "
                            "required", peer);
    }

    if (with != NULL && room != NULL) {
        return im_json_fail(err, "bad_field", "fields '%s' and 'room' exclude "
                            "each other", peer);
    }

    return (with != NULL) ? check_id(peer, *with, err)
                          : check_id("room", *room, err);
}


static int
check_id(const char *name, uint64_t value, im_json_err_t *err)
{
    return (value <= INT64_MAX)
           ? IM_OK : im_json_fail(err, "bad_field", "field '%s' is not in "
                                  "1 to 2^63-1", name);
}


/* NULL: it is not given, or 0. */
static uint64_t *
check_optional_id(ProtobufCMessage *msg, const char *name)
{
    uint64_t                        *value;
    protobuf_c_boolean              *has;
    const ProtobufCFieldDescriptor  *f;

    f = protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, name);

    value = (uint64_t *) ((char *) msg + f->offset);
    has = (protobuf_c_boolean *) ((char *) msg + f->quantifier_offset);

    *has = *has && *value != 0;

    return *has ? value : NULL;
}


/* body: its length. */
static int
check_send(uint64_t to, uint64_t room, const char *cmid, size_t body,
    im_json_err_t *err)
{
    if (body == 0) {
        return im_json_fail(err, "missing_field", "field 'body' is required");
    }

    if (to == 0 && room == 0) {
        return im_json_fail(err, "missing_field", "field 'to' or 'room' is "
                            "required");
    }

    if (to != 0 && room != 0) {
        return im_json_fail(err, "bad_field", "fields 'to' and 'room' exclude "
                            "each other");
    }

    if (check_id("to", to, err) != IM_OK
        || check_id("room", room, err) != IM_OK)
    {
        return IM_ERROR;
    }

    if (strlen(cmid) > IM_CMID_MAX) {
        return im_json_fail(err, "bad_field", "field 'cmid' is longer than %d "
                            "bytes", IM_CMID_MAX);
    }

    if (body > IM_BODY_MAX) {
        return im_json_fail(err, "too_large", "field 'body' is longer than %d "
                            "bytes", IM_BODY_MAX);
    }

    return IM_OK;
}


static int
check_send_request(Im__SendRequest *r, im_json_err_t *err)
{
    r->has_to = r->has_to && r->to != 0;
    r->has_room = r->has_room && r->room != 0;

    return check_send(r->has_to ? r->to : 0, r->has_room ? r->room : 0,
                      (r->cmid != NULL) ? r->cmid : "", r->body.len, err);
}


/* One that is wrong is refused in the answer, which has an entry for each. */
static void
check_cursors(Im__SyncRequest *r)
{
    size_t       i;
    Im__Cursor  *c;

    for (i = 0; i < r->n_cursors; i++) {
        c = r->cursors[i];
        c->has_with = c->has_with && c->with != 0;
        c->has_room = c->has_room && c->room != 0;
    }
}
