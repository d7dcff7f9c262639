/*
 * logic_message.c -- one allocation a message, and the table of those whose
 * outcome is not known yet.
 *
 * A repeat that arrives while the first try is still on its way must neither
 * be produced again nor be acked early: it waits for the first's outcome.  It
 * is in no queue meanwhile, so each message has a few of them at most.
 *
 * Who gives no cmid is known by the body, for [dedupe] body_window_ms only: the
 * same words a little later are a message of their own.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "im_hash128.h"
#include "logic_conf.h"
#include "logic_decided.h"
#include "logic_message.h"


static void message_field(logic_message_t *m);
static int message_within(const logic_message_t *first,
    const logic_message_t *m);


static pthread_mutex_t    message_lock = PTHREAD_MUTEX_INITIALIZER;
static logic_message_t   *message_flying;


logic_message_t *
logic_message_create(const Im__Deliver *d)
{
    size_t            cmid_len;
    logic_message_t  *m;

    cmid_len = strlen(d->cmid);

    m = calloc(1, sizeof(logic_message_t) + cmid_len + 1 + d->body.len);
    if (m == NULL) {
        return NULL;
    }

    m->from = d->from;
    m->to = d->to;
    m->cmid = (char *) (m + 1);
    m->body = (unsigned char *) m->cmid + cmid_len + 1;
    m->body_len = d->body.len;

    memcpy(m->cmid, d->cmid, cmid_len + 1);
    memcpy(m->body, d->body.data, d->body.len);

    if (d->room != 0) {
        m->seq.conv.b = d->room;
        m->joined = d->joined;

    } else {
        m->seq.conv = im_conv_direct(d->from, d->to);
    }

    m->seq.slot = im_slot_of_conv(&m->seq.conv);

    im_put64(m->key, m->seq.conv.a);
    im_put64(m->key + 8, m->seq.conv.b);

    message_field(m);

    return m;
}


/* Sender, conversation and cmid: nobody can take another's number.  0xff is in
 * no cmid, which is UTF-8, so a body is never taken for one. */
static void
message_field(logic_message_t *m)
{
    size_t         len;
    unsigned char  data[24 + IM_CMID_MAX], body[16];

    im_hash128(m->body, m->body_len, body);
    memcpy(m->seq.digest, body, sizeof(m->seq.digest));

    im_put64(data, m->from);
    memcpy(data + 8, m->key, 16);

    len = strlen(m->cmid);

    if (len != 0) {
        m->seq.by = LOGIC_BY_CMID;
        memcpy(data + 24, m->cmid, len);

    } else if (logic_conf.body_window_ms != 0) {
        m->seq.by = LOGIC_BY_BODY;
        data[24] = 0xff;
        memcpy(data + 25, body, sizeof(body));
        len = 1 + sizeof(body);

    } else {
        return;
    }

    im_hash128(data, 24 + len, m->seq.field);
}


void
logic_message_free(logic_message_t *m)
{
    logic_decided_leave(&m->phase);

    if (m->reply.stream != NULL) {
        im_rpc_stream_unref(m->reply.stream);
    }

    free(m);
}


int
logic_message_pack(const logic_message_t *m, im_str_t *out)
{
    Im__Record  r = IM__RECORD__INIT;

    r.conv_a = m->seq.conv.a;
    r.conv_b = m->seq.conv.b;
    r.seq = m->seq.seq;
    r.msg_id = m->seq.msg_id;
    r.from = m->from;
    r.time_ms = m->time_ms;
    r.from_conn = m->reply.conn;
    r.removals = m->removals;
    r.cmid = m->cmid;
    r.body.data = m->body;
    r.body.len = m->body_len;

    out->len = im__record__get_packed_size(&r);
    out->data = malloc(out->len);

    if (out->data == NULL) {
        return IM_ERROR;
    }

    im__record__pack(&r, out->data);

    return IM_OK;
}


int
logic_message_track(logic_message_t *m)
{
    int               rc;
    logic_message_t  *first;

    if (m->tracked) {
        return IM_OK;                  /* it comes a second time */
    }

    rc = IM_OK;

    pthread_mutex_lock(&message_lock);

    HASH_FIND(hh, message_flying, m->seq.field, 16, first);

    if (first == NULL) {
        /* out of memory: a repeat goes the long way, by Redis */

        HASH_ADD(hh, message_flying, seq.field, 16, m);
        m->tracked = im_hash_is_added(m);

    } else if (memcmp(first->seq.digest, m->seq.digest, 8) != 0) {
        rc = IM_DECLINED;

    } else if (message_within(first, m)) {
        rc = IM_ERROR;

        if (first->repeats_n < LOGIC_MESSAGE_REPEATS) {
            m->next = first->repeats;
            first->repeats = m;
            first->repeats_n++;
            rc = IM_BUSY;
        }
    }

    pthread_mutex_unlock(&message_lock);

    return rc;
}


static int
message_within(const logic_message_t *first, const logic_message_t *m)
{
    return m->seq.by == LOGIC_BY_CMID
           || m->queued_us - first->queued_us
              <= (uint64_t) logic_conf.body_window_ms * 1000;
}


logic_message_t *
logic_message_untrack(logic_message_t *m)
{
    logic_message_t  *repeats;

    if (!m->tracked) {
        return NULL;
    }

    pthread_mutex_lock(&message_lock);

    HASH_DELETE(hh, message_flying, m);
    m->tracked = 0;
    repeats = m->repeats;
    m->repeats = NULL;
    m->repeats_n = 0;

    pthread_mutex_unlock(&message_lock);

    return repeats;
}
