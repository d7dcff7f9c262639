/*
 * test_arena.c -- what is unpacked into an arena is whole, and its memory is
 * used again.
 */

#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "im_arena.h"
#include "stream.pb-c.h"


static void
test_pieces_are_apart_and_aligned(void **state)
{
    size_t         i, k, size;
    im_arena_t     a;
    unsigned char *pieces[200];

    (void) state;

    im_arena_init(&a);

    for (i = 0; i < 200; i++) {
        size = 1 + i * 37 % 4000;
        pieces[i] = im_arena_alloc(&a, size);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t) pieces[i] % 16, 0);
        memset(pieces[i], (int) i, size);
    }

    for (i = 0; i < 200; i++) {
        size = 1 + i * 37 % 4000;

        for (k = 0; k < size; k++) {
            assert_int_equal(pieces[i][k], i);
        }
    }

    im_arena_destroy(&a);
}


static void
test_the_next_batch_gets_the_same_memory(void **state)
{
    void        *first;
    unsigned     i;
    im_arena_t   a;

    (void) state;

    im_arena_init(&a);
    im_arena_reset(&a);                /* of nothing */
    first = im_arena_alloc(&a, 100);

    for (i = 0; i < 10; i++) {
        im_arena_reset(&a);
        assert_ptr_equal(im_arena_alloc(&a, 100), first);
        assert_non_null(im_arena_alloc(&a, 10000));
    }

    im_arena_destroy(&a);
}


static void
test_a_rare_large_batch_is_given_back(void **state)
{
    unsigned char  *p;
    im_arena_t      a;

    (void) state;

    im_arena_init(&a);
    assert_non_null(im_arena_alloc(&a, 100));
    p = im_arena_alloc(&a, 4 * IM_ARENA_KEEP);
    assert_non_null(p);
    memset(p, 1, 4 * IM_ARENA_KEEP);

    im_arena_reset(&a);
    assert_null(a.chunks);
    assert_non_null(im_arena_alloc(&a, 100));
    im_arena_destroy(&a);
    assert_null(a.chunks);
}


static void
test_a_size_that_cannot_be_is_refused(void **state)
{
    im_arena_t  a;

    (void) state;

    im_arena_init(&a);
    assert_null(im_arena_alloc(&a, SIZE_MAX));
    assert_null(im_arena_alloc(&a, SIZE_MAX / 2));
    im_arena_destroy(&a);
}


static void
test_a_batch_is_unpacked_as_without_an_arena(void **state)
{
    size_t          i, len;
    uint8_t        *data;
    Im__UpBatch    *got, batch = IM__UP_BATCH__INIT;
    Im__UpItem     *items[50], item[50];
    Im__Deliver     sends[50];
    im_arena_t      a;
    unsigned char   body[300];

    (void) state;

    memset(body, 'x', sizeof(body));

    for (i = 0; i < 50; i++) {
        im__deliver__init(&sends[i]);
        sends[i].from = i + 1;
        sends[i].to = 2;
        sends[i].cmid = "c";
        sends[i].body.data = body;
        sends[i].body.len = i * 6;

        im__up_item__init(&item[i]);
        item[i].conn = i;
        item[i].item_case = IM__UP_ITEM__ITEM_SEND;
        item[i].send = &sends[i];
        items[i] = &item[i];
    }

    batch.items = items;
    batch.n_items = 50;
    len = im__up_batch__get_packed_size(&batch);
    data = malloc(len);
    assert_non_null(data);
    im__up_batch__pack(&batch, data);

    im_arena_init(&a);
    got = im__up_batch__unpack(&a.allocator, len, data);
    assert_non_null(got);
    assert_int_equal(got->n_items, 50);

    for (i = 0; i < 50; i++) {
        assert_int_equal(got->items[i]->send->from, i + 1);
        assert_string_equal(got->items[i]->send->cmid, "c");
        assert_int_equal(got->items[i]->send->body.len, i * 6);
        assert_memory_equal(got->items[i]->send->body.data, body, i * 6);
    }

    im_arena_reset(&a);

    /* one that is cut off leaves nothing behind that is not reset */

    for (i = 0; i < len; i++) {
        (void) im__up_batch__unpack(&a.allocator, i, data);
        im_arena_reset(&a);
    }

    im_arena_destroy(&a);
    free(data);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_pieces_are_apart_and_aligned),
        cmocka_unit_test(test_the_next_batch_gets_the_same_memory),
        cmocka_unit_test(test_a_rare_large_batch_is_given_back),
        cmocka_unit_test(test_a_size_that_cannot_be_is_refused),
        cmocka_unit_test(test_a_batch_is_unpacked_as_without_an_arena),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
