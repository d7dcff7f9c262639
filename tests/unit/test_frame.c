/*
 * test_frame.c -- WebSocket frames: what RFC 6455 permits is understood
 * however it is cut, what it forbids is refused with the code it asks for.
 */

#include "unit.h"

#include "im_frame.h"


static const unsigned char  mask[4] = { 0x37, 0xfa, 0x21, 0x3d };


/* A masked client frame with len bytes 0, 1, 2, ...; returns its size. */
static size_t
make_frame(unsigned char *out, unsigned opcode, int fin, size_t len)
{
    size_t         i, n;
    unsigned char  head[IM_FRAME_HEADER_MAX];

    n = im_frame_header(head, opcode, len);
    memcpy(out, head, n);
    out[0] = (unsigned char) ((fin ? 0x80 : 0) | opcode);
    out[1] |= 0x80;
    memcpy(out + n, mask, 4);
    n += 4;

    for (i = 0; i < len; i++) {
        out[n + i] = (unsigned char) i ^ mask[i & 3];
    }

    return n + len;
}


static void
a_frame_is_understood_one_byte_at_a_time(void **state)
{
    int                  rc;
    size_t               i, k, n, size;
    unsigned             code;
    im_str_t             part;
    im_frame_t           f;
    const char          *reason;
    unsigned char       *frame;
    static const size_t  sizes[] = { 0, 1, 7, 8, 9, 125, 126, 300 };

    (void) state;

    for (i = 0; i < UNIT_N(sizes); i++) {
        frame = malloc(sizes[i] + 14);
        size = make_frame(frame, IM_FRAME_TEXT, 1, sizes[i]);

        for (n = 0; n <= size; n++) {
            part = unit_exact(frame, n);
            rc = im_frame_parse(&f, part.data, n, 65536, &code, &reason);

            if (n < size) {
                assert_int_equal(rc, IM_AGAIN);
                assert_true(f.size == 0 || f.size == size);

            } else {
                assert_int_equal(rc, IM_OK);
                assert_int_equal(f.size, size);
                assert_int_equal(f.opcode, IM_FRAME_TEXT);
                assert_int_equal(f.fin, 1);
                assert_int_equal(f.payload.len, sizes[i]);

                for (k = 0; k < sizes[i]; k++) {
                    assert_int_equal(f.payload.data[k], (unsigned char) k);
                }
            }

            free(part.data);
        }

        free(frame);
    }
}


static void
the_three_length_forms_meet_without_a_gap(void **state)
{
    size_t               i, k, n;
    unsigned             code;
    im_frame_t           f;
    const char          *reason;
    unsigned char       *frame;
    static const size_t  sizes[] = { 125, 126, 127, 65535, 65536, 65537 };

    (void) state;

    for (i = 0; i < UNIT_N(sizes); i++) {
        frame = malloc(sizes[i] + 14);
        n = make_frame(frame, IM_FRAME_BINARY, 1, sizes[i]);

        assert_int_equal(n, im_frame_header_size(sizes[i]) + 4 + sizes[i]);
        assert_int_equal(im_frame_parse(&f, frame, n, 1 << 20, &code,
                                        &reason), IM_OK);
        assert_int_equal(f.payload.len, sizes[i]);

        for (k = 0; k < sizes[i]; k++) {
            assert_int_equal(f.payload.data[k], (unsigned char) k);
        }

        free(frame);
    }
}


static void
a_second_frame_in_the_buffer_is_left_alone(void **state)
{
    size_t         n;
    unsigned       code;
    im_frame_t     f;
    const char    *reason;
    unsigned char  buf[64];

    (void) state;

    n = make_frame(buf, IM_FRAME_TEXT, 0, 5);
    n += make_frame(buf + n, IM_FRAME_CONT, 1, 3);

    assert_int_equal(im_frame_parse(&f, buf, n, 100, &code, &reason), IM_OK);
    assert_int_equal(f.fin, 0);
    assert_int_equal(f.payload.len, 5);

    assert_int_equal(im_frame_parse(&f, buf + f.size, n - f.size, 100, &code,
                                    &reason), IM_OK);
    assert_int_equal(f.opcode, IM_FRAME_CONT);
    assert_int_equal(f.payload.len, 3);
}


/* The header alone is enough to be refused: nobody waits for the payload. */
static void
what_breaks_the_protocol_is_refused_by_its_header(void **state)
{
    size_t      i;
    unsigned    code;
    im_str_t    data;
    im_frame_t  f;
    const char *reason;

    static const struct {
        const char  *what;
        size_t       len;
        const char  *bytes;
        unsigned     code;
    } bad[] = {
        { "RSV1", 2, "\xc1\x80", 1002 },
        { "RSV2", 2, "\xa1\x80", 1002 },
        { "RSV3", 2, "\x91\x80", 1002 },
        { "opcode 3", 2, "\x83\x80", 1002 },
        { "opcode 7", 2, "\x87\x80", 1002 },
        { "opcode 11", 2, "\x8b\x80", 1002 },
        { "opcode 15", 2, "\x8f\x80", 1002 },
        { "not masked", 2, "\x81\x00", 1002 },
        { "ping in parts", 2, "\x09\x80", 1002 },
        { "close in parts", 2, "\x08\x80", 1002 },
        { "ping of 126", 2, "\x89\xfe", 1002 },
        { "close of 64k", 2, "\x88\xff", 1002 },
        { "16 bits for 125", 4, "\x81\xfe\x00\x7d", 1002 },
        { "64 bits for 65535", 10, "\x81\xff\0\0\0\0\0\0\xff\xff", 1002 },
        { "sign bit", 10, "\x81\xff\x80\0\0\0\0\1\0\0", 1002 },
        { "1001 of 1000", 4, "\x81\xfe\x03\xe9", 1009 },
        { "2^62", 10, "\x81\xff\x40\0\0\0\0\0\0\0", 1009 },
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        data = unit_exact(bad[i].bytes, bad[i].len);
        code = 0;
        reason = NULL;

        if (im_frame_parse(&f, data.data, data.len, 1000, &code, &reason)
            != IM_ERROR || code != bad[i].code || reason == NULL)
        {
            fail_msg("%s: code %u", bad[i].what, code);
        }

        free(data.data);
    }
}


static void
the_limit_itself_is_permitted(void **state)
{
    size_t         n;
    unsigned       code;
    im_frame_t     f;
    const char    *reason;
    unsigned char  buf[1100];

    (void) state;

    n = make_frame(buf, IM_FRAME_TEXT, 1, 1000);
    assert_int_equal(im_frame_parse(&f, buf, n, 1000, &code, &reason), IM_OK);
    assert_int_equal(f.payload.len, 1000);
}


static void
a_server_frame_has_the_shortest_header(void **state)
{
    size_t         i;
    unsigned char  p[IM_FRAME_HEADER_MAX];

    static const struct {
        uint64_t     len;
        size_t       size;
        const char  *bytes;
    } h[] = {
        { 0, 2, "\x81\x00" },
        { 125, 2, "\x81\x7d" },
        { 126, 4, "\x81\x7e\x00\x7e" },
        { 65535, 4, "\x81\x7e\xff\xff" },
        { 65536, 10, "\x81\x7f\0\0\0\0\0\1\0\0" },
    };

    (void) state;

    for (i = 0; i < UNIT_N(h); i++) {
        assert_int_equal(im_frame_header_size(h[i].len), h[i].size);
        assert_int_equal(im_frame_header(p, IM_FRAME_TEXT, h[i].len),
                         h[i].size);
        assert_memory_equal(p, h[i].bytes, h[i].size);
    }
}


static void
a_close_reason_is_cut_to_what_a_control_frame_holds(void **state)
{
    char           reason[201];
    unsigned char  p[125];

    (void) state;

    memset(reason, 'x', 200);
    reason[200] = '\0';

    assert_int_equal(im_frame_close_payload(p, IM_CLOSE_DRAIN, "bye"), 5);
    assert_memory_equal(p, "\x0f\xa1" "bye", 5);
    assert_int_equal(im_frame_close_payload(p, IM_CLOSE_IDLE, ""), 2);
    assert_int_equal(im_frame_close_payload(p, IM_CLOSE_IDLE, reason), 125);
}


static void
a_close_of_the_peer_is_checked(void **state)
{
    int         rc;
    size_t      i;
    unsigned    code;
    im_str_t    data;

    static const struct {
        const char  *bytes;
        size_t       len;
        int          rc;
        unsigned     code;
    } c[] = {
        { "", 0, IM_OK, 1005 },
        { "\x03", 1, IM_ERROR, 1002 },
        { "\x03\xe8", 2, IM_OK, 1000 },
        { "\x03\xe9" "bye", 5, IM_OK, 1001 },
        { "\x0f\xa1", 2, IM_OK, 4001 },
        { "\x13\x87", 2, IM_OK, 4999 },
        { "\x13\x88", 2, IM_ERROR, 1002 },         /* 5000 */
        { "\x00\x00", 2, IM_ERROR, 1002 },
        { "\x03\xe7", 2, IM_ERROR, 1002 },         /* 999 */
        { "\x03\xec", 2, IM_ERROR, 1002 },         /* 1004 */
        { "\x03\xed", 2, IM_ERROR, 1002 },         /* 1005 */
        { "\x03\xee", 2, IM_ERROR, 1002 },         /* 1006 */
        { "\x03\xf7", 2, IM_ERROR, 1002 },         /* 1015 */
        { "\x0b\xb7", 2, IM_ERROR, 1002 },         /* 2999 */
        { "\x03\xe8\xc3", 3, IM_ERROR, 1007 },
    };

    (void) state;

    for (i = 0; i < UNIT_N(c); i++) {
        data = unit_exact(c[i].bytes, c[i].len);
        code = 0;
        rc = im_frame_close_parse(&data, &code);
        free(data.data);

        if (rc != c[i].rc || code != c[i].code) {
            fail_msg("close %zu: %d, code %u", i, rc, code);
        }
    }
}


/* The key and its answer are those of RFC 6455 section 1.3. */
static void
the_handshake_key_is_answered_as_in_the_rfc(void **state)
{
    im_str_t       key;
    unsigned char  out[IM_FRAME_ACCEPT_LEN];

    (void) state;

    key = unit_str("dGhlIHNhbXBsZSBub25jZQ==");
    assert_int_equal(im_frame_accept_key(&key, out), IM_OK);
    assert_memory_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                        IM_FRAME_ACCEPT_LEN);
}


static void
what_is_not_16_bytes_of_base64_is_no_key(void **state)
{
    size_t             i;
    im_str_t           key;
    unsigned char      out[IM_FRAME_ACCEPT_LEN];
    static const char *bad[] = {
        "", "dGhl", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZTE=", "dGhlIHNhbXBsZSBub25jZTEy",
        "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25!ZQ==",
        "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
    };

    (void) state;

    for (i = 0; i < UNIT_N(bad); i++) {
        key = unit_exact(bad[i], strlen(bad[i]));

        if (im_frame_accept_key(&key, out) != IM_ERROR) {
            fail_msg("taken: %s", bad[i]);
        }

        free(key.data);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(a_frame_is_understood_one_byte_at_a_time),
        cmocka_unit_test(the_three_length_forms_meet_without_a_gap),
        cmocka_unit_test(a_second_frame_in_the_buffer_is_left_alone),
        cmocka_unit_test(what_breaks_the_protocol_is_refused_by_its_header),
        cmocka_unit_test(the_limit_itself_is_permitted),
        cmocka_unit_test(a_server_frame_has_the_shortest_header),
        cmocka_unit_test(a_close_reason_is_cut_to_what_a_control_frame_holds),
        cmocka_unit_test(a_close_of_the_peer_is_checked),
        cmocka_unit_test(the_handshake_key_is_answered_as_in_the_rfc),
        cmocka_unit_test(what_is_not_16_bytes_of_base64_is_no_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
