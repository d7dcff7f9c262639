/*
 * ngx_im_revoked.c -- sessions that were ended, as this worker knows them.
 *
 * An access token is valid until it expires, wherever it is only verified: in
 * any location with `im_jwt`, in front of any backend.  So Logic notifies all
 * workers when a session has ended, and a new worker of those of the last
 * minutes; from then on its tokens are refused here without a question to
 * Logic.
 */

#include "ngx_im_auth.h"
#include "im_revoked.h"


#define NGX_IM_REVOKED_MAX    100000
#define NGX_IM_REVOKED_TTL_S  86400    /* at most */


static im_revoked_t  *ngx_im_revoked_list;
static time_t         ngx_im_revoked_warned;


void
ngx_im_revoked_add(const Im__Revoked *revoked)
{
    size_t    i;
    uint64_t  until;

    if (ngx_im_revoked_list == NULL) {
        ngx_im_revoked_list = im_revoked_create(NGX_IM_REVOKED_MAX);
    }

    if (ngx_im_revoked_list == NULL) {
        return;
    }

    until = ngx_time() + ngx_min(revoked->ttl_s, NGX_IM_REVOKED_TTL_S);

    for (i = 0; i < revoked->n_sids; i++) {

        switch (im_revoked_add(ngx_im_revoked_list, revoked->sids[i], until,
                               ngx_time()))
        {
        case IM_BUSY:
        case IM_ERROR:
            if (ngx_time() - ngx_im_revoked_warned >= 60) {
                ngx_im_revoked_warned = ngx_time();
                ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                              "im: more than %d sessions were ended lately: "
                              "the oldest are not known here any more",
                              NGX_IM_REVOKED_MAX);
            }

            break;

        default:
            break;
        }
    }
}


int
ngx_im_revoked(const char *sid)
{
    return ngx_im_revoked_list != NULL
           && im_revoked_has(ngx_im_revoked_list, sid, ngx_time());
}


void
ngx_im_revoked_free(void)
{
    im_revoked_destroy(ngx_im_revoked_list);
    ngx_im_revoked_list = NULL;
}
