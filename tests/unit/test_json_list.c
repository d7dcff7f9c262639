/*
 * test_json_list.c -- lists in JSON that clients send: their limits, and the
 * memory that they need.
 */

#include "unit_json.h"

#include <stdio.h>

#include "logic.pb-c.h"


static void
lists_of_objects_and_numbers_are_filled(void **state)
{
    decode_t           d;
    Im__PushItem       item;
    Im__SyncRequest    msg;

    static const char  json[] =
        "{\"limit\":7, \"cursors\" : [ {\"with\":\"2\",\"seq\":0} , "
        "{\"seq\":\"9\",\"x\":[{}],\"room\":3} ],\"id\":\"5\"}";
    static const char  uids[] = "{\"uids\":[1,\"18446744073709551615\",0]}";

    (void) state;

    im__sync_request__init(&msg);
    assert_int_equal(decode(&d, &msg.base, json, strlen(json)), IM_OK);
    assert_int_equal(msg.n_cursors, 2);
    assert_true(msg.cursors[0]->has_with && msg.cursors[0]->with == 2);
    assert_true(msg.cursors[0]->seq == 0 && !msg.cursors[0]->has_room);
    assert_true(!msg.cursors[1]->has_with && msg.cursors[1]->room == 3);
    assert_true(msg.cursors[1]->seq == 9);
    assert_true(msg.has_id && msg.id == 5 && msg.limit == 7);
    done(&d);

    im__push_item__init(&item);
    assert_int_equal(decode(&d, &item.base, uids, strlen(uids)), IM_OK);
    assert_int_equal(item.n_uids, 3);
    assert_true(item.uids[0] == 1 && item.uids[1] == UINT64_MAX
                && item.uids[2] == 0);
    done(&d);

    im__sync_request__init(&msg);
    assert_int_equal(decode(&d, &msg.base, "{\"cursors\":[ ]}", 15), IM_OK);
    assert_int_equal(msg.n_cursors, 0);
    done(&d);
}


static void
a_list_that_is_wrong_is_named(void **state)
{
    int              rc;
    size_t           i;
    decode_t         d;
    Im__SyncRequest  msg;

    static const struct {
        const char  *json;
        const char  *code;
        const char  *text;
    } bad[] = {
        { "{\"cursors\":1}", "bad_field", "'cursors' must be an array" },
        { "{\"cursors\":null}", "bad_field", "'cursors'" },
        { "{\"cursors\":\"[]\"}", "bad_field", "'cursors'" },
        { "{\"cursors\":{\"seq\":1}}", "bad_field", "'cursors'" },
        { "{\"cursors\":[1]}", "bad_field", "objects" },
        { "{\"cursors\":[null]}", "bad_field", "objects" },
        { "{\"cursors\":[[{\"seq\":1}]]}", "bad_field", "objects" },
        { "{\"cursors\":[{\"seq\":1},2]}", "bad_field", "objects" },
        { "{\"cursors\":[{}]}", "missing_field", "'seq'" },
        { "{\"cursors\":[{\"with\":1}]}", "missing_field", "'seq'" },
        { "{\"cursors\":[{\"seq\":-1}]}", "bad_field", "'seq'" },
        { "{\"cursors\":[{\"seq\":[1]}]}", "bad_field", "'seq'" },
        { "{\"cursors\":[{\"seq\":1,\"seq\":1}]}", "bad_field", "twice" },
        { "{\"cursors\":[],\"cursors\":[]}", "bad_field", "twice" },
        { "{\"cursors\":[,]}", "bad_json", "" },
        { "{\"cursors\":[{\"seq\":1},]}", "bad_json", "" },
        { "{\"cursors\":[{\"seq\":1} {\"seq\":1}]}", "bad_json", "comma" },
        { "{\"cursors\":[{\"seq\":1}", "bad_json", "" },
        { "{\"cursors\":[", "bad_json", "" },
        { "{\"cursors\":", "bad_json", "" },
        { "{\"cursors\":[{1:1}]}", "bad_json", "" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        im__sync_request__init(&msg);
        rc = decode(&d, &msg.base, bad[i].json, strlen(bad[i].json));

        if (rc != IM_ERROR || strcmp(d.err.code, bad[i].code) != 0
            || strstr(d.err.text, bad[i].text) == NULL)
        {
            fail_msg("%s: %d %s: %s", bad[i].json, rc, d.err.code,
                     d.err.text);
        }

        done(&d);
    }
}


/* "[" item "," item ... "]" with as many of them. */
static char *
list(const char *item, size_t n)
{
    char    *json, *p;
    size_t   i;

    json = malloc(n * (strlen(item) + 1) + 32);
    p = json + sprintf(json, "{\"cursors\":[");

    for (i = 0; i < n; i++) {
        p += sprintf(p, "%s%s", i ? "," : "", item);
    }

    sprintf(p, "]}");

    return json;
}


static void
a_list_has_a_limit_and_the_memory_for_it_is_known(void **state)
{
    char             *json;
    size_t            n;
    decode_t          d;
    Im__SyncRequest   msg;

    (void) state;

    /* every length, since memory is a function of the input's length */

    for (n = 0; n <= IM_JSON_ITEMS_MAX; n += (n < 50) ? 1 : 50) {
        json = list("{\"seq\":1}", n);
        im__sync_request__init(&msg);
        assert_int_equal(decode(&d, &msg.base, json, strlen(json)), IM_OK);
        assert_int_equal(msg.n_cursors, n);
        done(&d);
        free(json);
    }

    json = list("{\"seq\":1}", IM_JSON_ITEMS_MAX + 1);
    im__sync_request__init(&msg);
    assert_int_equal(decode(&d, &msg.base, json, strlen(json)), IM_ERROR);
    assert_string_equal(d.err.code, "bad_field");
    done(&d);
    free(json);

    assert_true(im_json_mem_extra(&im__ping__descriptor, SIZE_MAX) < 32);
    assert_true(im_json_mem_extra(&im__sync_request__descriptor, 20) < 2048);
    assert_true(im_json_mem_extra(&im__sync_request__descriptor, SIZE_MAX)
                < 128 * 1024);
    assert_true(im_json_mem_extra(&im__sync_reply__descriptor, SIZE_MAX)
                == 256 * 1024);
}


static void
a_deep_or_huge_list_is_refused_without_harm(void **state)
{
    int               depth;
    char             *json;
    size_t            n;
    decode_t          d;
    Im__SyncRequest   msg;
    char              item[4 * IM_JSON_DEPTH_MAX];

    (void) state;

    /* the object, the array and the cursor are three levels */

    for (depth = 1; depth <= IM_JSON_DEPTH_MAX; depth++) {
        sprintf(item, "{\"seq\":1,\"x\":%.*s%.*s}", depth,
                "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", depth,
                "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
        json = list(item, 1);
        im__sync_request__init(&msg);

        if ((decode(&d, &msg.base, json, strlen(json)) == IM_OK)
            != (depth + 3 <= IM_JSON_DEPTH_MAX + 1))
        {
            fail_msg("depth %d", depth);
        }

        done(&d);
        free(json);
    }

    for (n = 1000; n < 100000; n *= 10) {
        json = malloc(n + 64);
        sprintf(json, "{\"cursors\":%0*d", (int) n, 0);
        memset(json + 11, '[', n);
        im__sync_request__init(&msg);
        assert_int_equal(decode(&d, &msg.base, json, strlen(json)), IM_ERROR);
        assert_string_equal(d.err.code, "bad_json");
        done(&d);
        free(json);
    }
}


static void
memory_for_a_list_that_is_too_small_is_an_error(void **state)
{
    char              *json;
    size_t             n, need;
    im_str_t           input;
    uint64_t           seen;
    im_json_mem_t      mem;
    im_json_err_t      err;
    unsigned char     *memory;
    Im__SyncRequest    msg;

    (void) state;

    json = list("{\"seq\":1}", 3);
    input = unit_str(json);
    need = 3 * (sizeof(void *) + sizeof(Im__Cursor)) + 8;

    for (n = 0; n <= need; n++) {
        im__sync_request__init(&msg);
        memory = malloc(n + 1);
        mem.pos = memory;
        mem.end = memory + n;
        seen = 0;

        if (im_json_decode(&msg.base, &input, &mem, &seen, &err) != IM_OK) {
            assert_string_equal(err.code, "too_large");

        } else {
            assert_int_equal(msg.n_cursors, 3);
            assert_true(n + 8 >= need);
        }

        free(memory);
    }

    free(json);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(lists_of_objects_and_numbers_are_filled),
        cmocka_unit_test(a_list_that_is_wrong_is_named),
        cmocka_unit_test(a_list_has_a_limit_and_the_memory_for_it_is_known),
        cmocka_unit_test(a_deep_or_huge_list_is_refused_without_harm),
        cmocka_unit_test(memory_for_a_list_that_is_too_small_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
