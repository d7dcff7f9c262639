/*
 * ngx_im_presence.c -- connections that want to know who comes and goes.
 *
 *     presence_sub --> topic (presence, uid) --> Presence, with our instance
 *     presence     <-- topic                 <-- PresenceEvent, by a link
 *
 * A connection subscribes here before Logic is asked, so that no change falls
 * between the answer and the first event.  If it is refused, what it added is
 * taken back, but for what another question of this connection has added, too,
 * and is not refused: each user that was added belongs to all questions under
 * way that name him, until one is answered.
 *
 * Events and answers come by different ways, and from several Logics.  Each
 * carries a version, and what subscribers know of a user stands in the topic
 * (core/im_watch.h): an older event is dropped, an older answer is replaced by
 * what is known, and an answer that is newer than the last event is an event
 * for the others.
 *
 * Logic notifies this worker of a user for an hour after it was last asked; so
 * all subscriptions are asked for again every 15 minutes.  They are asked for
 * at once when a link to a Logic broke or opened, when Redis has lost its
 * memory, and when an event could not be sent for lack of memory: whatever was
 * lost, the answers make it good.  After Redis has lost its memory everybody is
 * offline there for a moment, so for a second such an answer is no news; then
 * all are asked for once more.
 *
 * A walk through the topics that is under way comes to its end, whatever
 * happens meanwhile, and then another one follows.  If it began anew, the last
 * topics would never be asked for while a link flaps or memory is short.  Only
 * when Redis has lost its memory it begins anew: no answer from before counts.
 *
 * What is not wanted any more is not taken back: events for nobody are dropped
 * here until the hour is over.
 */

#include "ngx_im_presence.h"
#include "ngx_im_fanout.h"
#include "ngx_im_rooms.h"
#include "ngx_im_worker.h"
#include "im_check.h"
#include "ngx_im_method.h"
#include "im_timeouts.h"


#define NGX_IM_PRESENCE_UIDS     IM_UIDS_MAX   /* in one question */
#define NGX_IM_PRESENCE_ASKS     8     /* over what a connection may ask */
#define NGX_IM_PRESENCE_LOOK     2000  /* topics looked at for one */
#define NGX_IM_PRESENCE_PAUSE    20    /* ms between two questions */
#define NGX_IM_PRESENCE_LATER    1000  /* no Logic could take it */
#define NGX_IM_PRESENCE_YOUNG    1000  /* Redis learns who is online */
#define NGX_IM_PRESENCE_REFRESH  (15 * 60 * 1000)


struct ngx_im_presence_ask_s {
    ngx_queue_t   queue;
    uint64_t      conn;
    size_t        n;
    uint64_t      uids[];              /* who goes if this is refused */
};


static int ngx_im_presence_add(ngx_im_ws_t *ws,
    const Im__PresenceSubscribe *sub, ngx_im_presence_ask_t **ask);
static void ngx_im_presence_drop(ngx_im_ws_t *ws, uint64_t uid);
static ngx_uint_t ngx_im_presence_others(ngx_im_ws_t *ws,
    ngx_im_presence_ask_t **asks);
static ngx_uint_t ngx_im_presence_asked(ngx_im_presence_ask_t **asks,
    ngx_uint_t n, uint64_t uid, ngx_uint_t forget);
static void ngx_im_presence_news(im_topic_t *topic, uint64_t uid,
    ngx_uint_t online);
static void ngx_im_presence_soon(ngx_msec_t ms);
static void ngx_im_presence_in(ngx_msec_t ms);
static void ngx_im_presence_on_refresh(ngx_event_t *ev);
static void ngx_im_presence_asked_all(void);
static int ngx_im_presence_ask(uint64_t *uids, size_t n);
static void ngx_im_presence_on_reply(void *data,
    const im_rpc_status_t *status, const ProtobufCMessage *reply);


static ngx_im_method_t   ngx_im_presence_method;
static ngx_queue_t       ngx_im_presence_asks;     /* under way */
static uint32_t          ngx_im_presence_at;       /* number of a topic */
static ngx_msec_t        ngx_im_presence_again;    /* after this walk; 0: no */
static ngx_uint_t        ngx_im_presence_is_young; /* Redis has lost all */
static ngx_msec_t        ngx_im_presence_old_at;   /* until then */
static ngx_event_t       ngx_im_presence_event;
static ngx_connection_t  ngx_im_presence_nobody;   /* for debug lines */


ngx_int_t
ngx_im_presence_init(void)
{
    if (ngx_im_method_find(&ngx_im_presence_method, "Presence") != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_queue_init(&ngx_im_presence_asks);

    ngx_im_presence_nobody.fd = (ngx_socket_t) -1;
    ngx_im_presence_event.data = &ngx_im_presence_nobody;
    ngx_im_presence_event.handler = ngx_im_presence_on_refresh;
    ngx_im_presence_event.log = ngx_cycle->log;
    ngx_im_presence_event.cancelable = 1;

    return NGX_OK;
}


int
ngx_im_presence_subscribe(ngx_im_ws_t *ws, const Im__PresenceSubscribe *sub,
    Im__PresenceRequest *request, ngx_im_presence_ask_t **ask,
    const char **code, const char **text)
{
    size_t                  i;
    ngx_uint_t              n;
    ngx_im_presence_ask_t  *asks[NGX_IM_PRESENCE_ASKS];

    n = (sub->n_remove > 0) ? ngx_im_presence_others(ws, asks) : 0;

    for (i = 0; i < sub->n_remove; i++) {
        (void) ngx_im_presence_asked(asks, n, sub->remove[i], 1);
        ngx_im_presence_drop(ws, sub->remove[i]);
    }

    if (ws->sub.n[IM_TOPIC_PRESENCE] + sub->n_add
        > (size_t) ws->conf->presence_subs)
    {
        *code = "limit_reached";
        *text = "too many users are subscribed to";
        return IM_DECLINED;
    }

    if (sub->n_add == 0) {
        return IM_DONE;
    }

    if (ngx_im_presence_add(ws, sub, ask) != IM_OK) {
        *code = "busy";
        *text = "out of memory";
        return IM_DECLINED;
    }

    im__presence_request__init(request);
    request->n_uids = sub->n_add;
    request->uids = sub->add;

    if (!ngx_im_presence_event.timer_set) {
        ngx_im_presence_in(NGX_IM_PRESENCE_REFRESH);
    }

    return IM_OK;
}


static int
ngx_im_presence_add(ngx_im_ws_t *ws, const Im__PresenceSubscribe *sub,
    ngx_im_presence_ask_t **ask)
{
    int                     rc;
    size_t                  i;
    im_topic_t             *topic;
    ngx_uint_t              n;
    ngx_im_presence_ask_t  *a, *asks[NGX_IM_PRESENCE_ASKS];

    a = ngx_alloc(sizeof(ngx_im_presence_ask_t)
                  + sub->n_add * sizeof(uint64_t), ws->connection->log);
    if (a == NULL) {
        return IM_ERROR;
    }

    a->conn = ws->id;
    a->n = 0;
    rc = IM_OK;
    n = ngx_im_presence_others(ws, asks);

    for (i = 0; i < sub->n_add && rc != IM_ERROR; i++) {
        rc = im_topics_join(ngx_im_topics, IM_TOPIC_PRESENCE, sub->add[i],
                            &ws->sub, &topic);

        if (rc == IM_OK
            || (rc == IM_DONE
                && ngx_im_presence_asked(asks, n, sub->add[i], 0)))
        {
            a->uids[a->n++] = sub->add[i];
        }
    }

    ngx_queue_insert_tail(&ngx_im_presence_asks, &a->queue);

    if (rc == IM_ERROR) {
        ngx_im_presence_answered(ws, a, 0);
        return IM_ERROR;
    }

    *ask = a;

    return IM_OK;
}


static void
ngx_im_presence_drop(ngx_im_ws_t *ws, uint64_t uid)
{
    im_topic_t  *topic;

    topic = im_topics_find(ngx_im_topics, IM_TOPIC_PRESENCE, uid);

    if (topic != NULL) {
        (void) im_topics_leave(ngx_im_topics, topic, &ws->sub);
    }
}


/* The questions under way of this connection.  Most have no other one, and then
 * those of the worker need not be looked at. */
static ngx_uint_t
ngx_im_presence_others(ngx_im_ws_t *ws, ngx_im_presence_ask_t **asks)
{
    ngx_uint_t              n;
    ngx_queue_t            *q;
    ngx_im_presence_ask_t  *a;

    n = 0;

    if (ws->questions == 0) {
        return 0;
    }

    for (q = ngx_queue_head(&ngx_im_presence_asks);
         q != ngx_queue_sentinel(&ngx_im_presence_asks)
         && n < NGX_IM_PRESENCE_ASKS;
         q = ngx_queue_next(q))
    {
        a = ngx_queue_data(q, ngx_im_presence_ask_t, queue);

        if (a->conn == ws->id) {
            asks[n++] = a;
        }
    }

    return n;
}


/* Whether this user belongs to one of these questions.  forget: takes the user
 * out of them. */
static ngx_uint_t
ngx_im_presence_asked(ngx_im_presence_ask_t **asks, ngx_uint_t n, uint64_t uid,
    ngx_uint_t forget)
{
    size_t                  i;
    ngx_uint_t              k, found;
    ngx_im_presence_ask_t  *a;

    found = 0;

    for (k = 0; k < n; k++) {
        a = asks[k];

        for (i = a->n; i > 0; i--) {
            if (a->uids[i - 1] != uid) {
                continue;
            }

            found = 1;

            if (forget) {
                a->uids[i - 1] = a->uids[--a->n];
            }
        }
    }

    return found;
}


void
ngx_im_presence_answered(ngx_im_ws_t *ws, ngx_im_presence_ask_t *ask,
    ngx_uint_t ok)
{
    size_t                  i;
    ngx_uint_t              n;
    ngx_im_presence_ask_t  *asks[NGX_IM_PRESENCE_ASKS];

    if (ask == NULL) {
        return;
    }

    ngx_queue_remove(&ask->queue);

    n = (ws != NULL) ? ngx_im_presence_others(ws, asks) : 0;

    for (i = 0; ws != NULL && i < ask->n; i++) {

        if (!ngx_im_presence_asked(asks, n, ask->uids[i], ok) && !ok) {
            ngx_im_presence_drop(ws, ask->uids[i]);
        }
    }

    ngx_free(ask);
}


void
ngx_im_presence_on_event(const Im__PresenceEvent *event)
{
    size_t               i;
    im_topic_t          *topic;
    const Im__Presence  *user;

    if (ngx_im_topics == NULL) {
        return;                        /* a worker without im_ws */
    }

    for (i = 0; i < event->n_users; i++) {
        user = event->users[i];
        topic = im_topics_find(ngx_im_topics, IM_TOPIC_PRESENCE, user->uid);

        if (topic != NULL
            && im_watch_event(&topic->watch, user->version, user->online)
               == IM_OK)
        {
            ngx_im_presence_news(topic, user->uid, user->online);
        }
    }
}


/* An event names no devices: only an answer does. */
static void
ngx_im_presence_news(im_topic_t *topic, uint64_t uid, ngx_uint_t online)
{
    Im__Frame          frame = IM__FRAME__INIT;
    Im__Presence       user = IM__PRESENCE__INIT, *users;
    Im__PresenceEvent  event = IM__PRESENCE_EVENT__INIT;

    user.uid = uid;
    user.online = (online != 0);
    users = &user;
    event.n_users = 1;
    event.users = &users;
    frame.frame_case = IM__FRAME__FRAME_PRESENCE;
    frame.presence = &event;

    if (ngx_im_fanout_event(topic, &frame) != IM_OK) {
        im_watch_missed(&topic->watch);
        ngx_im_presence_soon(NGX_IM_PRESENCE_LATER);
    }
}


void
ngx_im_presence_on_answer(Im__PresenceReply *reply)
{
    int            rc;
    size_t         i;
    uint32_t       online;
    im_topic_t    *topic;
    Im__Presence  *user;

    for (i = 0; i < reply->n_users; i++) {
        user = reply->users[i];
        topic = im_topics_find(ngx_im_topics, IM_TOPIC_PRESENCE, user->uid);

        if (topic != NULL) {
            online = user->online;
            rc = im_watch_answer(&topic->watch, user->version, &online);
            user->online = (online != 0);

            if (rc == IM_OK) {
                ngx_im_presence_news(topic, user->uid, online);
            }
        }

        user->has_version = 0;
    }
}


void
ngx_im_presence_refresh(ngx_msec_t in_ms)
{
    if (ngx_im_topics != NULL) {
        ngx_im_presence_soon(in_ms);
    }
}


void
ngx_im_presence_lost(void)
{
    uint32_t     no;
    im_topic_t  *topic;

    if (ngx_im_topics == NULL) {
        return;
    }

    for (no = 0; (topic = im_topics_each(ngx_im_topics, &no)) != NULL; ) {
        im_watch_reset(&topic->watch);
    }

    ngx_im_presence_is_young = 1;
    ngx_im_presence_old_at = ngx_current_msec + NGX_IM_PRESENCE_YOUNG;
    ngx_im_presence_at = 0;
    ngx_im_presence_in(1);
}


/* A walk, after the one under way if there is one; the sooner of two times
 * holds. */
static void
ngx_im_presence_soon(ngx_msec_t ms)
{
    if (ngx_im_presence_at != 0
        && (ngx_im_presence_again == 0 || ms < ngx_im_presence_again))
    {
        ngx_im_presence_again = ms;
    }

    ngx_im_presence_in(ms);
}


/* Begins the walk or goes on with it. */
static void
ngx_im_presence_in(ngx_msec_t ms)
{
    if (ngx_im_presence_event.timer_set
        && (ngx_msec_int_t) (ngx_im_presence_event.timer.key
                             - ngx_current_msec)
           <= (ngx_msec_int_t) ms)
    {
        return;
    }

    ngx_add_timer(&ngx_im_presence_event, ms);
}


static void
ngx_im_presence_on_refresh(ngx_event_t *ev)
{
    size_t       n;
    uint32_t     before;
    uint64_t     uids[NGX_IM_PRESENCE_UIDS];
    im_topic_t  *topic;
    ngx_uint_t   looked;

    if (ngx_im_topics == NULL) {
        return;
    }

    n = 0;
    before = ngx_im_presence_at;
    topic = NULL;

    for (looked = 0;
         looked < NGX_IM_PRESENCE_LOOK && n < NGX_IM_PRESENCE_UIDS;
         looked++)
    {
        topic = im_topics_each(ngx_im_topics, &ngx_im_presence_at);

        if (topic == NULL) {
            break;
        }

        if (topic->kind == IM_TOPIC_PRESENCE && topic->members > 0) {
            uids[n++] = topic->id;
        }
    }

    if (n > 0 && ngx_im_presence_ask(uids, n) != IM_OK) {
        ngx_im_presence_at = before;
        ngx_add_timer(ev, NGX_IM_PRESENCE_LATER);
        return;
    }

    if (topic != NULL) {
        ngx_add_timer(ev, NGX_IM_PRESENCE_PAUSE);
        return;
    }

    ngx_im_presence_asked_all();
}


/* When to begin anew. */
static void
ngx_im_presence_asked_all(void)
{
    ngx_msec_t      ms;
    ngx_msec_int_t  wait;

    ms = (ngx_im_presence_again != 0) ? ngx_im_presence_again
                                      : NGX_IM_PRESENCE_REFRESH;

    if (ngx_im_presence_is_young) {
        wait = (ngx_msec_int_t) (ngx_im_presence_old_at - ngx_current_msec);

        if (wait <= (ngx_msec_int_t) ms) {
            ngx_im_presence_is_young = 0;
            ms = (ngx_msec_t) ngx_max(wait, 1);
        }
    }

    ngx_im_presence_again = 0;
    ngx_im_presence_at = 0;
    ngx_im_presence_in(ms);
}


static int
ngx_im_presence_ask(uint64_t *uids, size_t n)
{
    im_disc_call_t       *call;
    im_disc_call_conf_t   conf;
    Im__PresenceRequest   request = IM__PRESENCE_REQUEST__INIT;

    if (ngx_im_disc() == NULL) {
        return IM_DECLINED;
    }

    request.n_uids = n;
    request.uids = uids;

    ngx_im_method_stamp(&ngx_im_presence_method, &request.base,
                        (char *) ngx_im_instance()->data, 0);

    ngx_memzero(&conf, sizeof(im_disc_call_conf_t));
    conf.policy = ngx_im_presence_method.policy;
    conf.class = ngx_im_presence_method.class;
    conf.timeout_ms = ngx_im_presence_method.timeout_ms;
    conf.idempotent = 1;
    conf.trace = "presence";

    return im_disc_call(ngx_im_disc(), "logic", &ngx_im_presence_method.rpc,
                        &request.base, &conf, ngx_im_presence_on_reply,
                        ngx_im_presence_is_young ? &ngx_im_presence_is_young
                                                 : NULL, &call);
}


/* data: not NULL if Redis had just lost its memory.  One that failed is asked
 * once more soon. */
static void
ngx_im_presence_on_reply(void *data, const im_rpc_status_t *status,
    const ProtobufCMessage *reply)
{
    size_t                    i;
    Im__PresenceEvent         event = IM__PRESENCE_EVENT__INIT;
    const Im__PresenceReply  *answer;

    if (ngx_im_topics == NULL || ngx_exiting) {
        return;
    }

    if (reply == NULL) {
        ngx_im_log_error(NGX_LOG_WARN, ngx_cycle->log,
                         "im: subscriptions to presence could not be renewed: "
                         "%s", status->message);

        ngx_im_presence_soon(NGX_IM_PRESENCE_LATER);
        return;
    }

    answer = (const Im__PresenceReply *) reply;
    event.n_users = 1;

    for (i = 0; i < answer->n_users; i++) {
        if (data == NULL || answer->users[i]->online) {
            event.users = &answer->users[i];
            ngx_im_presence_on_event(&event);
        }
    }
}
