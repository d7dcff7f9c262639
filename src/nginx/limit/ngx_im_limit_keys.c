/*
 * ngx_im_limit_keys.c -- by what an event is counted, and its names.
 *
 * A key is a number or, of a session, the beginning of a hash: it always fits
 * into im_bucket_key_t, whatever a client sends.
 */

#include "ngx_im_limit_zone.h"
#include "im_client.h"
#include "im_hash128.h"


const ngx_str_t  ngx_im_limit_kinds[] = {
    ngx_string("user"),
    ngx_string("address"),
    ngx_string("connection"),
    ngx_string("room"),
    ngx_string("session"),
    ngx_null_string
};


/* A pong is never refused: nothing answers it. */
static const struct {
    ngx_str_t  name;
    unsigned   frame;
} ngx_im_limit_frames[] = {
    { ngx_string("auth"), IM__FRAME__FRAME_AUTH },
    { ngx_string("send"), IM__FRAME__FRAME_SEND },
    { ngx_string("ping"), IM__FRAME__FRAME_PING }
};

#define NGX_IM_LIMIT_FRAMES                                                   \
    (sizeof(ngx_im_limit_frames) / sizeof(ngx_im_limit_frames[0]))


static const char *ngx_im_limit_what(const ngx_im_limit_event_t *e);
static u_char *ngx_im_limit_print_address(u_char *p, u_char *last,
    const ngx_im_limit_address_t *address);


/* Of ::ffff:a.b.c.d the IPv4 part counts. */
void
ngx_im_limit_address(const struct sockaddr *sa,
    ngx_im_limit_address_t *address)
{
    ngx_uint_t                  i;
    const u_char               *p;
#if (NGX_HAVE_INET6)
    const struct sockaddr_in6  *sin6;
#endif

    address->value = 0;
    address->family = 0;

    switch (sa->sa_family) {

    case AF_INET:
        p = (const u_char *) &((const struct sockaddr_in *) sa)->sin_addr;
        address->family = 4;
        break;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (const struct sockaddr_in6 *) sa;
        p = sin6->sin6_addr.s6_addr;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            p += 12;
            address->family = 4;

        } else {
            address->family = 6;
        }

        break;
#endif

    default:
        return;
    }

    for (i = 0; i < (address->family == 4 ? 4 : 8); i++) {
        address->value = address->value << 8 | p[i];
    }
}


ngx_int_t
ngx_im_limit_key(const ngx_im_limit_rule_t *rule,
    const ngx_im_limit_event_t *e, im_bucket_key_t *key)
{
    u_char  hash[16];

    key->more = 0;
    key->rule = rule->id;

    switch (rule->zone->kind) {

    case NGX_IM_LIMIT_USER:
        key->value = e->uid;
        break;

    case NGX_IM_LIMIT_ADDRESS:
        key->value = e->address.value;
        key->more = e->address.family;

        return e->address.family ? NGX_OK : NGX_DECLINED;

    case NGX_IM_LIMIT_CONNECTION:
        key->value = e->connection;
        break;

    case NGX_IM_LIMIT_ROOM:
        key->value = e->room;
        break;

    default:
        if (e->sid == NULL) {
            return NGX_DECLINED;
        }

        im_hash128(e->sid, ngx_strlen(e->sid), hash);
        ngx_memcpy(&key->value, hash, 8);
        ngx_memcpy(&key->more, hash + 8, 4);

        return NGX_OK;
    }

    return key->value ? NGX_OK : NGX_DECLINED;
}


void
ngx_im_limit_text(const ngx_im_limit_rule_t *rule,
    const ngx_im_limit_event_t *e, char *text, size_t size)
{
    u_char  *p, *last;

    p = (u_char *) text;
    last = p + size - 1;

    p = ngx_slprintf(p, last, "%s of %V ", ngx_im_limit_what(e),
                     &ngx_im_limit_kinds[rule->zone->kind]);

    switch (rule->zone->kind) {

    case NGX_IM_LIMIT_USER:
        p = ngx_slprintf(p, last, "%uL", e->uid);
        break;

    case NGX_IM_LIMIT_ADDRESS:
        p = ngx_im_limit_print_address(p, last, &e->address);
        break;

    case NGX_IM_LIMIT_CONNECTION:
        p = ngx_slprintf(p, last, "*%uA", e->connection);
        break;

    case NGX_IM_LIMIT_ROOM:
        p = ngx_slprintf(p, last, "%uL", e->room);
        break;

    default:
        /* its id is a part of what a client logs in with */
        p = ngx_slprintf(p, last, "of user %uL", e->uid);
        break;
    }

    *p = '\0';
}


static const char *
ngx_im_limit_what(const ngx_im_limit_event_t *e)
{
    ngx_uint_t  i;

    if (e->rpc != NULL) {
        return e->rpc->name;
    }

    for (i = 0; i < NGX_IM_LIMIT_FRAMES; i++) {
        if (ngx_im_limit_frames[i].frame == e->frame) {
            return (char *) ngx_im_limit_frames[i].name.data;
        }
    }

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        if (im_client_questions[i].frame == e->frame) {
            return im_client_questions[i].type;
        }
    }

    return "a malformed frame";
}


static u_char *
ngx_im_limit_print_address(u_char *p, u_char *last,
    const ngx_im_limit_address_t *address)
{
    ngx_uint_t  i, n, bits;

    n = 4;
    bits = (address->family == 4) ? 8 : 16;

    for (i = 0; i < n; i++) {
        p = ngx_slprintf(p, last, bits == 8 ? "%s%uL" : "%s%xL",
                         i == 0 ? "" : bits == 8 ? "." : ":",
                         address->value >> (bits * (n - 1 - i))
                         & ((UINT64_C(1) << bits) - 1));
    }

    return (bits == 8) ? p : ngx_slprintf(p, last, "::/64");
}


unsigned
ngx_im_limit_frame(const ngx_str_t *name)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_IM_LIMIT_FRAMES; i++) {
        if (ngx_im_limit_frames[i].name.len == name->len
            && ngx_strncmp(ngx_im_limit_frames[i].name.data, name->data,
                           name->len)
               == 0)
        {
            return ngx_im_limit_frames[i].frame;
        }
    }

    for (i = 0; i < IM_CLIENT_QUESTIONS; i++) {
        if (ngx_strlen(im_client_questions[i].type) == name->len
            && ngx_strncmp(im_client_questions[i].type, name->data, name->len)
               == 0)
        {
            return im_client_questions[i].frame;
        }
    }

    return 0;
}
