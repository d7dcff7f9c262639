/*
 * im_disc_value.c -- keys under the prefix, "<service>/<id>", and their values,
 * JSON of an Instance.
 *
 * Anybody who can reach etcd can write there, so a value is checked like any
 * other input, and the reason is said in words for the log.
 *
 * Room: disc.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "im_disc_int.h"
#include "im_json.h"
#include "im_text.h"


#define VALUE_READ_MAX  4096
#define DISC_BAD_MAX  1024             /* remembered, to be logged once */


/* A key with a value that was refused, by the revision of its last change. */
struct disc_bad_s {
    char             key[DISC_KEY_MAX];
    int64_t          revision;
    UT_hash_handle   hh;
};


static int value_is_address(const char *s);


int
im_disc_value_read(disc_value_t *v, const ProtobufCBinaryData *data,
    const char **why)
{
    uint64_t              seen;
    im_str_t              json;
    Im__Instance          inst = IM__INSTANCE__INIT;
    im_json_mem_t         mem;
    unsigned char         in[VALUE_READ_MAX], strings[VALUE_READ_MAX + 64];
    static im_json_err_t  err;

    if (data->len == 0 || data->len > sizeof(in)) {
        *why = "its length is not 1 to 4096 bytes";
        return IM_ERROR;
    }

    memcpy(in, data->data, data->len);
    json.data = in;
    json.len = data->len;
    mem.pos = strings;
    mem.end = strings + sizeof(strings);
    seen = 0;

    if (im_json_decode(&inst.base, &json, &mem, &seen, &err) != IM_OK
        || im_json_check_required(&inst.base, seen, &err) != IM_OK)
    {
        *why = err.text;
        return IM_ERROR;
    }

    if (inst.proto != IM_RPC_PROTOCOL) {
        *why = "it speaks another protocol";
        return IM_ERROR;
    }

    if (strlen(inst.address) >= sizeof(v->address)
        || !value_is_address(inst.address))
    {
        *why = "its address is not host:port";
        return IM_ERROR;
    }

    if (inst.boot[0] == '\0' || strlen(inst.boot) >= sizeof(v->boot)) {
        *why = "its boot id is not 1 to 32 bytes";
        return IM_ERROR;
    }

    memset(v, 0, sizeof(disc_value_t));
    memcpy(v->address, inst.address, strlen(inst.address));
    memcpy(v->boot, inst.boot, strlen(inst.boot));

    v->draining = inst.has_draining && inst.draining;
    v->load = (inst.cpu > inst.queue) ? inst.cpu : inst.queue;
    v->load = (v->load > 100) ? 100 : v->load;

    return IM_OK;
}


static int
value_is_address(const char *s)
{
    unsigned     port;
    const char  *p, *colon;

    colon = strrchr(s, ':');

    if (colon == NULL || colon == s || colon[1] == '\0') {
        return 0;
    }

    for (p = s; p < colon; p++) {
        if (*p <= ' ' || *p > '~' || *p == '/' || *p == '%' || *p == ',') {
            return 0;
        }
    }

    port = 0;

    for (p = colon + 1; *p; p++) {
        if (*p < '0' || *p > '9' || port > 65535) {
            return 0;
        }

        port = port * 10 + (unsigned) (*p - '0');
    }

    return port > 0 && port <= 65535;
}


void
im_disc_value_write(char *out, const Im__Instance *value)
{
    size_t  n;

    n = im_json_encode(&value->base, NULL, (unsigned char *) out,
                       DISC_VALUE_MAX - 1);

    out[n < DISC_VALUE_MAX ? n : 0] = '\0';
}


/* "<root>service/id"; anything else under our prefix is not ours. */
int
im_disc_key_split(im_disc_t *d, const ProtobufCBinaryData *key, char *service,
    char *id)
{
    size_t       root, n;
    const char  *p, *slash, *end;

    root = strlen(d->root);

    if (key->len <= root || memcmp(key->data, d->root, root) != 0) {
        return IM_ERROR;
    }

    p = (const char *) key->data + root;
    end = (const char *) key->data + key->len;
    slash = memchr(p, '/', (size_t) (end - p));

    if (slash == NULL || memchr(slash + 1, '/', (size_t) (end - slash - 1))
        || slash == p || slash + 1 == end
        || slash - p >= DISC_NAME_MAX || end - slash > DISC_NAME_MAX)
    {
        return IM_ERROR;
    }

    n = (size_t) (slash - p);
    memcpy(service, p, n);
    service[n] = '\0';

    n = (size_t) (end - slash - 1);

    if (!im_text_is_name(p, (size_t) (slash - p))
        || !im_text_is_name(slash + 1, n))
    {
        return IM_ERROR;
    }

    memcpy(id, slash + 1, n);
    id[n] = '\0';

    return IM_OK;
}


void
im_disc_garbage(im_disc_t *d, const Etcdserverpb__KeyValue *kv, const char *why)
{
    char          key[DISC_KEY_MAX];
    size_t        i, len;
    disc_bad_t   *bad;

    len = (kv->key.len < sizeof(key)) ? kv->key.len : sizeof(key) - 1;
    memcpy(key, kv->key.data, len);
    key[len] = '\0';

    for (i = 0; i < len; i++) {
        if (key[i] < ' ' || key[i] > '~') {
            key[i] = '?';              /* it goes into the log */
        }
    }

    HASH_FIND_STR(d->bad, key, bad);

    if (bad != NULL && bad->revision == kv->mod_revision) {
        return;                        /* listed again */
    }

    atomic_fetch_add(&d->stats.garbage, 1);
    im_disc_log(d, IM_LOG_WARN, "etcd key %.200s is not used: %s", key, why);

    if (bad == NULL && HASH_COUNT(d->bad) < DISC_BAD_MAX) {
        bad = calloc(1, sizeof(disc_bad_t));

        if (bad != NULL) {
            memcpy(bad->key, key, sizeof(bad->key));
            HASH_ADD_STR(d->bad, key, bad);

            if (!im_hash_is_added(bad)) {
                free(bad);
                bad = NULL;            /* logged each time */
            }
        }
    }

    if (bad != NULL) {
        bad->revision = kv->mod_revision;
    }
}


void
im_disc_garbage_forget(im_disc_t *d)
{
    disc_bad_t  *bad, *tmp;

    HASH_ITER(hh, d->bad, bad, tmp) {
        HASH_DEL(d->bad, bad);
        free(bad);
    }
}
