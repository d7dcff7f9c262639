/*
 * test_logic_rpcs.c -- the table of RPCs and the schema say the same.
 */

#include "unit.h"

#include "im_check.h"
#include "im_client.h"
#include "im_logic_rpcs.h"
#include "logic.pb-c.h"


static const ProtobufCMethodDescriptor *
rpc_of(const char *name)
{
    return protobuf_c_service_descriptor_get_method_by_name(
               &im__logic__descriptor, name);
}


static void
every_rpc_of_the_schema_has_a_row_of_its_name(void **state)
{
    unsigned               i;
    const char            *name;
    const im_logic_rpc_t  *row;

    (void) state;

    for (i = 0; i < im__logic__descriptor.n_methods; i++) {
        name = im__logic__descriptor.methods[i].name;

        if (strcmp(name, IM_LOGIC_STREAM) == 0) {
            assert_null(im_logic_rpc_find(name));
            continue;
        }

        row = im_logic_rpc_find(name);
        assert_non_null(row);
        assert_string_equal(row->name, name);
    }

    assert_null(im_logic_rpc_find("Nothing"));

    for (row = im_logic_rpcs; row->name != NULL; row++) {
        assert_non_null(rpc_of(row->name));
    }
}


/* Whoever is asked to check a session must get one, and the other way round. */
static void
a_row_says_whether_the_request_has_a_session(void **state)
{
    const im_logic_rpc_t            *row;
    const ProtobufCFieldDescriptor  *f;

    (void) state;

    for (row = im_logic_rpcs; row->name != NULL; row++) {
        f = protobuf_c_message_descriptor_get_field_by_name(
                rpc_of(row->name)->input, "caller");

        assert_int_equal(f != NULL, row->session);
    }
}


static void
a_client_may_ask_by_frame_what_has_a_frame(void **state)
{
    size_t                 i, n;
    const im_logic_rpc_t  *row;

    (void) state;

    n = 0;

    for (row = im_logic_rpcs; row->name != NULL; row++) {
        n += (row->callers & IM_LOGIC_FRAME) != 0;
        assert_int_not_equal(row->callers, 0);
    }

    assert_int_equal(n, IM_CLIENT_QUESTIONS);

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        row = im_logic_rpc_find(im_client_questions[i].method);
        assert_non_null(row);
        assert_true(row->callers & IM_LOGIC_FRAME);
    }
}


static void
a_call_has_a_deadline_unless_only_a_worker_makes_it(void **state)
{
    const im_logic_rpc_t  *row;

    (void) state;

    for (row = im_logic_rpcs; row->name != NULL; row++) {
        assert_true(row->deadline_ms != 0
                    || row->callers == IM_LOGIC_WORKER);
    }
}


static size_t
room_left(const char *name, const ProtobufCMessage *request)
{
    size_t                 len;
    const im_logic_rpc_t  *row;

    row = im_logic_rpc_find(name);
    assert_non_null(row);
    assert_ptr_equal(rpc_of(name)->input, request->descriptor);

    len = protobuf_c_message_get_packed_size(request);

    return (row->request_max > len) ? row->request_max - len : 0;
}


static void
the_largest_request_that_is_allowed_is_not_too_long(void **state)
{
    size_t                i;
    static char           body[IM_BODY_MAX];
    char                  sid[IM_SID_LEN + 1], device[IM_DEVICE_MAX + 1];
    char                  cmid[IM_CMID_MAX + 1];
    uint64_t              uids[IM_UIDS_MAX];
    Im__Caller            caller = IM__CALLER__INIT;
    Im__Cursor            cursors[IM_CURSORS_MAX], *list[IM_CURSORS_MAX];
    Im__SendRequest       send = IM__SEND_REQUEST__INIT;
    Im__SyncRequest       sync = IM__SYNC_REQUEST__INIT;
    Im__PresenceRequest   presence = IM__PRESENCE_REQUEST__INIT;

    (void) state;

    memset(sid, 's', IM_SID_LEN);
    sid[IM_SID_LEN] = '\0';
    memset(device, 'd', IM_DEVICE_MAX);
    device[IM_DEVICE_MAX] = '\0';
    memset(cmid, 'c', IM_CMID_MAX);
    cmid[IM_CMID_MAX] = '\0';

    caller.uid = INT64_MAX;
    caller.sid = sid;
    caller.device = device;

    send.has_room = 1;
    send.room = INT64_MAX;
    send.cmid = cmid;
    send.body.data = (uint8_t *) body;
    send.body.len = sizeof(body);
    send.caller = &caller;
    assert_true(room_left("Send", &send.base) > 0);

    for (i = 0; i < IM_CURSORS_MAX; i++) {
        im__cursor__init(&cursors[i]);
        cursors[i].has_with = 1;
        cursors[i].with = INT64_MAX;
        cursors[i].has_room = 1;
        cursors[i].room = INT64_MAX;
        cursors[i].seq = INT64_MAX;
        list[i] = &cursors[i];
    }

    sync.n_cursors = IM_CURSORS_MAX;
    sync.cursors = list;
    sync.caller = &caller;
    assert_true(room_left("Sync", &sync.base) > 0);

    for (i = 0; i < IM_UIDS_MAX; i++) {
        uids[i] = INT64_MAX;
    }

    presence.n_uids = IM_UIDS_MAX;
    presence.uids = uids;
    presence.caller = &caller;
    assert_true(room_left("Presence", &presence.base) > 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(every_rpc_of_the_schema_has_a_row_of_its_name),
        cmocka_unit_test(a_row_says_whether_the_request_has_a_session),
        cmocka_unit_test(a_client_may_ask_by_frame_what_has_a_frame),
        cmocka_unit_test(a_call_has_a_deadline_unless_only_a_worker_makes_it),
        cmocka_unit_test(the_largest_request_that_is_allowed_is_not_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
