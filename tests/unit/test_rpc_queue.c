/*
 * test_rpc_queue.c -- what is added to a stream leaves as one message that any
 * protobuf reader takes for a batch, in order; a full queue says so and keeps
 * what it has.
 */

#include "unit.h"

#include "im_rpc_int.h"
#include "stream.pb-c.h"


/* The caller frees. */
static Im__UpBatch *
take(im_rpc_queue_t *q)
{
    grpc_slice         slice;
    Im__UpBatch       *batch;
    grpc_byte_buffer  *bb;

    bb = im_rpc_queue_take(q);
    assert_int_equal(im_rpc_flatten(bb, &slice), IM_OK);
    batch = im__up_batch__unpack(NULL, GRPC_SLICE_LENGTH(slice),
                                 GRPC_SLICE_START_PTR(slice));
    assert_non_null(batch);

    grpc_slice_unref(slice);
    grpc_byte_buffer_destroy(bb);

    return batch;
}


static void
items_leave_as_one_batch_in_order(void **state)
{
    char             body[5001];
    size_t           i;
    Im__UpItem       item = IM__UP_ITEM__INIT;
    Im__Deliver      deliver = IM__DELIVER__INIT;
    Im__UpBatch     *batch;
    im_rpc_queue_t   q;

    (void) state;

    im_rpc_queue_init(&q, 1 << 20);
    memset(body, 'x', sizeof(body));
    deliver.body.data = (uint8_t *) body;
    item.item_case = IM__UP_ITEM__ITEM_SEND;
    item.send = &deliver;

    /* lengths of one and of two bytes, growth of the slice in between */

    for (i = 0; i < 100; i++) {
        item.conn = i + 1;
        deliver.body.len = i * 50;
        assert_int_equal(im_rpc_queue_add(&q, &item.base), IM_OK);
    }

    assert_true(q.bytes > 99 * 100 / 2 * 50);
    batch = take(&q);
    assert_int_equal(q.bytes, 0);
    assert_int_equal(batch->n_items, 100);

    for (i = 0; i < 100; i++) {
        assert_true(batch->items[i]->conn == i + 1);
        assert_int_equal(batch->items[i]->send->body.len, i * 50);
    }

    im__up_batch__free_unpacked(batch, NULL);

    item.conn = 7;
    assert_int_equal(im_rpc_queue_add(&q, &item.base), IM_OK);
    batch = take(&q);
    assert_int_equal(batch->n_items, 1);
    assert_true(batch->items[0]->conn == 7);
    im__up_batch__free_unpacked(batch, NULL);

    im_rpc_queue_free(&q);
}


static void
a_full_queue_says_so_and_loses_nothing(void **state)
{
    int              rc;
    size_t           n, added;
    Im__UpItem       item = IM__UP_ITEM__INIT;
    Im__UpBatch     *batch;
    im_rpc_queue_t   q;

    (void) state;

    im_rpc_queue_init(&q, 1000);
    item.conn = 1ULL << 60;

    for (added = 0; ; added++) {
        rc = im_rpc_queue_add(&q, &item.base);
        if (rc != IM_OK) {
            break;
        }

        assert_true(q.bytes <= 1000);
    }

    assert_int_equal(rc, IM_BUSY);
    assert_int_equal(im_rpc_queue_add(&q, &item.base), IM_BUSY);

    batch = take(&q);
    assert_int_equal(batch->n_items, added);
    im__up_batch__free_unpacked(batch, NULL);

    assert_int_equal(im_rpc_queue_add(&q, &item.base), IM_OK);

    for (n = 0; im_rpc_queue_push(&q, &item.base) == IM_OK; n++) {
        assert_true(q.bytes <= 1000);
    }

    assert_true(n > 10);
    im_rpc_queue_free(&q);
}


static void
whole_messages_leave_one_by_one(void **state)
{
    size_t           i;
    Im__UpItem       item = IM__UP_ITEM__INIT;
    Im__UpItem      *items[1] = { &item };
    Im__UpBatch      one = IM__UP_BATCH__INIT, *batch;
    im_rpc_queue_t   q;

    (void) state;

    im_rpc_queue_init(&q, 1000);
    one.items = items;
    one.n_items = 1;

    for (i = 1; i <= 3; i++) {
        item.conn = i;
        assert_int_equal(im_rpc_queue_push(&q, &one.base), IM_OK);
    }

    for (i = 1; i <= 3; i++) {
        batch = take(&q);
        assert_int_equal(batch->n_items, 1);
        assert_true(batch->items[0]->conn == i);
        im__up_batch__free_unpacked(batch, NULL);
    }

    assert_int_equal(q.bytes, 0);
    im_rpc_queue_free(&q);
}


int
main(void)
{
    int                      rc;
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(items_leave_as_one_batch_in_order),
        cmocka_unit_test(a_full_queue_says_so_and_loses_nothing),
        cmocka_unit_test(whole_messages_leave_one_by_one),
    };

    grpc_init();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    grpc_shutdown_blocking();

    return rc;
}
