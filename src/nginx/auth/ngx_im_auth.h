/*
 * ngx_im_auth.h -- the verified token of a request, and the sessions whose
 * tokens count no more.
 */

#ifndef NGX_IM_AUTH_H
#define NGX_IM_AUTH_H

#include "ngx_im.h"
#include "stream.pb-c.h"


/* ngx_im_jwt.c */
extern ngx_conf_enum_t  ngx_im_jwt_modes[];
ngx_int_t ngx_im_jwt_init(ngx_conf_t *cf);
ngx_int_t ngx_im_jwt_add_variables(ngx_conf_t *cf);
/*
 * The verified token of a request, checked at most once.  NGX_OK: *claims
 * lives as long as r.  NGX_DECLINED: the request carries none.  NGX_ERROR:
 * it carries one that is refused; *code and *reason say why.
 */
ngx_int_t ngx_im_auth_check(ngx_http_request_t *r, im_jwt_claims_t **claims,
    const char **code, const char **reason);

/* ngx_im_revoked.c: sessions that Logic has ended. */
void ngx_im_revoked_add(const Im__Revoked *revoked);
int ngx_im_revoked(const char *sid);
void ngx_im_revoked_free(void);

#endif
