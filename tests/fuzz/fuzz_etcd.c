/*
 * fuzz_etcd.c -- keys and values of instances in etcd, where anybody who
 * reaches it can write.
 *
 * An input is a key, a line feed, and a value.
 *
 * The parts of a key are names; a value that is read is in its bounds, and
 * reads the same when it is written again.
 */

#include "fuzz.h"
#include "im_disc_int.h"
#include "im_text.h"


static void etcd_key(const uint8_t *data, size_t size);
static void etcd_value(const uint8_t *data, size_t size);


void
fuzz_etcd(const uint8_t *data, size_t size)
{
    const uint8_t  *lf;

    lf = (size == 0) ? NULL : memchr(data, '\n', size);

    if (lf != NULL) {
        etcd_key(data, (size_t) (lf - data));
        etcd_value(lf + 1, size - (size_t) (lf + 1 - data));
    }
}


static void
etcd_key(const uint8_t *data, size_t size)
{
    char                 service[DISC_NAME_MAX], id[DISC_NAME_MAX];
    char                 whole[DISC_KEY_MAX];
    im_str_t             exact;
    im_disc_t           *d;
    ProtobufCBinaryData  key;

    d = calloc(1, sizeof(im_disc_t));
    FUZZ_CHECK(d != NULL);
    snprintf(d->root, sizeof(d->root), "/im/");

    exact = fuzz_exact(data, size);
    key.data = exact.data;
    key.len = exact.len;

    if (im_disc_key_split(d, &key, service, id) == IM_OK) {
        FUZZ_CHECK(im_text_is_name(service, strlen(service)));
        FUZZ_CHECK(im_text_is_name(id, strlen(id)));

        snprintf(whole, sizeof(whole), "%s%s/%s", d->root, service, id);
        FUZZ_CHECK(strlen(whole) == size && memcmp(whole, data, size) == 0);
    }

    free(exact.data);
    free(d);
}


static void
etcd_value(const uint8_t *data, size_t size)
{
    char                 text[DISC_VALUE_MAX];
    im_str_t             exact;
    const char          *why;
    Im__Instance         inst = IM__INSTANCE__INIT;
    disc_value_t         v, again;
    ProtobufCBinaryData  value;

    exact = fuzz_exact(data, size);
    value.data = exact.data;
    value.len = exact.len;
    why = NULL;

    if (im_disc_value_read(&v, &value, &why) != IM_OK) {
        FUZZ_CHECK(why != NULL && why[0] != '\0');
        free(exact.data);
        return;
    }

    FUZZ_CHECK(v.load <= 100 && v.draining <= 1);
    FUZZ_CHECK(strchr(v.address, ':') != NULL && v.boot[0] != '\0');

    inst.proto = IM_RPC_PROTOCOL;
    inst.address = v.address;
    inst.boot = v.boot;
    inst.has_draining = 1;
    inst.draining = v.draining;
    inst.has_cpu = 1;
    inst.cpu = v.load;

    im_disc_value_write(text, &inst);

    /* empty: one that is longer than ours ever is */

    if (text[0] != '\0') {
        value.data = (uint8_t *) text;
        value.len = strlen(text);
        FUZZ_CHECK(im_disc_value_read(&again, &value, &why) == IM_OK);
        FUZZ_CHECK(memcmp(&v, &again, sizeof(v)) == 0);
    }

    free(exact.data);
}
