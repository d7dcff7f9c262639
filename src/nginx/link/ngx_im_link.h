/*
 * ngx_im_link.h -- what this worker asks of Logic, and what Logic reports.
 *
 * An item goes to the Logic that owns its slot, and is kept until it is
 * answered.  The recipient of an answer is not known here: the handler that is
 * given at the start takes answers, and what Logic reports by itself.
 */

#ifndef NGX_IM_LINK_H
#define NGX_IM_LINK_H

#include "ngx_im.h"
#include "im_outbox.h"
#include "stream.pb-c.h"


/* Called by the event loop; all are needed. */
typedef struct {
    /* What was sent for info->conn (a report: for the room) has this answer. */
    void  (*answered)(const im_outbox_info_t *info, const Im__DownItem *item);
    /* It will have none; cmid: of a message. */
    void  (*refused)(const im_outbox_info_t *info, const char *cmid,
                     const char *code);
    /* Unasked. */
    void  (*notified)(const Im__DownItem *item);
    /* While a link was broken, a report may have been lost. */
    void  (*missed)(void);
    /* A link has opened or ended: reports of that Logic come from now on, or
     * come no more, and slots have another owner. */
    void  (*moved)(void);
} ngx_im_link_handler_t;

/* For health; times are ngx_current_msec's. */
typedef struct {
    unsigned      open:1;            /* to one Logic at least */
    unsigned      key_differs:1;     /* of one Logic at least */
    ngx_msec_t    since;             /* not open */
    ngx_msec_t    key_since;
    const char   *error;             /* the last one */
} ngx_im_link_state_t;


/* A step of a worker's start, but for the handler, which is kept. */
ngx_int_t ngx_im_link_init(ngx_im_main_conf_t *mcf,
    const ngx_im_link_handler_t *handler);
void ngx_im_link_exit(void);

/* As im_outbox_add and im_outbox_waits. */
int ngx_im_link_send(unsigned slot, Im__UpItem *item, uint64_t *ref);
int ngx_im_link_waits(uint64_t ref);
/* Number of the stream to the owner of a slot, which no other stream of this
 * worker has had; 0: there is none. */
uint32_t ngx_im_link_no(unsigned slot);

void ngx_im_link_state(ngx_im_link_state_t *state);

#endif
