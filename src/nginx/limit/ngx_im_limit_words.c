/*
 * ngx_im_limit_words.c -- the words of an `im_limit`, and which of them make no
 * sense.
 *
 * The rate belongs to the rule, not to the zone: rules that share a zone have a
 * bucket each for every key.
 */

#include "ngx_im_limit_zone.h"


#define NGX_IM_LIMIT_DELAY_MAX  30       /* seconds */
#define NGX_IM_LIMIT_UNSET      ((ngx_uint_t) -1)

#define NGX_IM_LIMIT_RPC(method, ...)  NGX_IM_LIMIT_RPC_##method,

enum {
    IM_LOGIC_RPCS(NGX_IM_LIMIT_RPC)
    NGX_IM_LIMIT_RPCS_N
};

_Static_assert(NGX_IM_LIMIT_RPCS_N <= 64, "a rule has a bit for each RPC");


/* The words of one `im_limit`. */
typedef struct {
    ngx_str_t                 zone;
    ngx_str_t                 rate;
    ngx_uint_t                count;
    ngx_uint_t                period_s;
    ngx_uint_t                burst;
    ngx_uint_t                delay;
    ngx_uint_t                nodelay;
    uint64_t                  rpcs;
    uint64_t                  frames;
    ngx_uint_t                dry_run;
} ngx_im_limit_words_t;

typedef char *(*ngx_im_limit_word_pt)(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w);


static char *ngx_im_limit_word(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w);
static char *ngx_im_limit_word_zone(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w);
static char *ngx_im_limit_word_rate(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w);
static char *ngx_im_limit_word_burst(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w);
static char *ngx_im_limit_word_delay(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w);
static char *ngx_im_limit_word_method(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w);
static char *ngx_im_limit_word_frame(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w);
static ngx_int_t ngx_im_limit_next(ngx_str_t *list, ngx_str_t *name);
static char *ngx_im_limit_rule(ngx_conf_t *cf, ngx_im_limit_words_t *w,
    ngx_im_limit_rule_t *rule);
static char *ngx_im_limit_insert(ngx_conf_t *cf, ngx_im_limit_conf_t *lcf,
    const ngx_im_limit_rule_t *rule);


static const struct {
    ngx_str_t             name;
    ngx_im_limit_word_pt  take;
} ngx_im_limit_word_table[] = {
    { ngx_string("zone="), ngx_im_limit_word_zone },
    { ngx_string("rate="), ngx_im_limit_word_rate },
    { ngx_string("burst="), ngx_im_limit_word_burst },
    { ngx_string("delay="), ngx_im_limit_word_delay },
    { ngx_string("method="), ngx_im_limit_word_method },
    { ngx_string("frame="), ngx_im_limit_word_frame }
};

#define NGX_IM_LIMIT_WORDS                                                    \
    (sizeof(ngx_im_limit_word_table) / sizeof(ngx_im_limit_word_table[0]))


static const struct {
    ngx_str_t   suffix;
    ngx_uint_t  seconds;
} ngx_im_limit_periods[] = {
    { ngx_string("r/s"), 1 },
    { ngx_string("r/m"), 60 },
    { ngx_string("r/h"), 3600 }
};

#define NGX_IM_LIMIT_PERIODS                                                  \
    (sizeof(ngx_im_limit_periods) / sizeof(ngx_im_limit_periods[0]))


/* im_limit zone=... rate=... [burst=...] ...; */
char *
ngx_im_limit_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                  *rv;
    ngx_str_t             *value;
    ngx_uint_t             i;
    ngx_im_limit_conf_t   *lcf = conf;
    ngx_im_limit_rule_t    rule;
    ngx_im_limit_words_t   w;

    ngx_memzero(&w, sizeof(ngx_im_limit_words_t));
    w.burst = NGX_IM_LIMIT_UNSET;
    w.delay = NGX_IM_LIMIT_UNSET;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_im_limit_word(cf, &value[i], &w);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    rv = ngx_im_limit_rule(cf, &w, &rule);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_im_limit_insert(cf, lcf, &rule);
}


static char *
ngx_im_limit_word(ngx_conf_t *cf, ngx_str_t *value, ngx_im_limit_words_t *w)
{
    ngx_str_t   rest;
    ngx_uint_t  i, len;

    if (ngx_strcmp(value->data, "nodelay") == 0) {
        w->nodelay = 1;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value->data, "dry_run") == 0) {
        w->dry_run = 1;
        return NGX_CONF_OK;
    }

    for (i = 0; i < NGX_IM_LIMIT_WORDS; i++) {
        len = ngx_im_limit_word_table[i].name.len;

        if (value->len > len
            && ngx_strncmp(value->data, ngx_im_limit_word_table[i].name.data,
                           len)
               == 0)
        {
            rest.data = value->data + len;
            rest.len = value->len - len;

            return ngx_im_limit_word_table[i].take(cf, &rest, w);
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "im_limit: \"%V\" is not zone=, rate=, burst=, delay=, "
                       "nodelay, method=, frame= or dry_run", value);

    return NGX_CONF_ERROR;
}


static char *
ngx_im_limit_word_zone(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w)
{
    if (w->zone.len != 0) {
        return "has zone= twice";
    }

    w->zone = *value;

    return NGX_CONF_OK;
}


static char *
ngx_im_limit_word_rate(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w)
{
    ngx_int_t         n;
    ngx_uint_t        i;
    const ngx_str_t  *suffix;

    if (w->rate.len != 0) {
        return "has rate= twice";
    }

    w->rate = *value;

    for (i = 0; i < NGX_IM_LIMIT_PERIODS; i++) {
        suffix = &ngx_im_limit_periods[i].suffix;

        if (value->len > suffix->len
            && ngx_strncmp(value->data + value->len - suffix->len,
                           suffix->data, suffix->len)
               == 0)
        {
            n = ngx_atoi(value->data, value->len - suffix->len);

            if (n < 1 || n > IM_BUCKET_COUNT_MAX) {
                break;
            }

            w->count = n;
            w->period_s = ngx_im_limit_periods[i].seconds;

            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "im_limit: rate=%V is not 1 to %d of r/s, r/m or r/h",
                       value, IM_BUCKET_COUNT_MAX);

    return NGX_CONF_ERROR;
}


static char *
ngx_im_limit_word_burst(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w)
{
    ngx_int_t  n;

    if (w->burst != NGX_IM_LIMIT_UNSET) {
        return "has burst= twice";
    }

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR || n > IM_BUCKET_BURST_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_limit: burst=%V is not in 0-%d", value,
                           IM_BUCKET_BURST_MAX);
        return NGX_CONF_ERROR;
    }

    w->burst = n;

    return NGX_CONF_OK;
}


static char *
ngx_im_limit_word_delay(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w)
{
    ngx_int_t  n;

    if (w->delay != NGX_IM_LIMIT_UNSET) {
        return "has delay= twice";
    }

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_limit: delay=%V is not a number", value);
        return NGX_CONF_ERROR;
    }

    w->delay = n;

    return NGX_CONF_OK;
}


static char *
ngx_im_limit_word_method(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w)
{
    ngx_str_t              name, list;
    const im_logic_rpc_t  *rpc;

    list = *value;

    while (ngx_im_limit_next(&list, &name) == NGX_OK) {

        for (rpc = im_logic_rpcs; rpc->name != NULL; rpc++) {
            if (ngx_strlen(rpc->name) == name.len
                && ngx_strncmp(rpc->name, name.data, name.len) == 0)
            {
                break;
            }
        }

        if (rpc->name == NULL || !(rpc->callers & IM_LOGIC_API)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "im_limit: method \"%V\" is none that im_api "
                               "can serve", &name);
            return NGX_CONF_ERROR;
        }

        w->rpcs |= UINT64_C(1) << (rpc - im_logic_rpcs);
    }

    return NGX_CONF_OK;
}


static char *
ngx_im_limit_word_frame(ngx_conf_t *cf, ngx_str_t *value,
    ngx_im_limit_words_t *w)
{
    unsigned   frame;
    ngx_str_t  name, list;

    list = *value;

    while (ngx_im_limit_next(&list, &name) == NGX_OK) {
        frame = ngx_im_limit_frame(&name);

        if (frame == 0 || frame >= 64) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "im_limit: frame \"%V\" is none that a client "
                               "sends and that can be refused", &name);
            return NGX_CONF_ERROR;
        }

        w->frames |= UINT64_C(1) << frame;
    }

    return NGX_CONF_OK;
}


/* The next one of a list with commas, maybe empty; list becomes the rest. */
static ngx_int_t
ngx_im_limit_next(ngx_str_t *list, ngx_str_t *name)
{
    u_char  *comma;

    if (list->data == NULL) {
        return NGX_DONE;
    }

    *name = *list;
    comma = ngx_strlchr(list->data, list->data + list->len, ',');

    if (comma == NULL) {
        list->data = NULL;
        return NGX_OK;
    }

    name->len = comma - list->data;
    list->len -= name->len + 1;
    list->data = comma + 1;

    return NGX_OK;
}


static char *
ngx_im_limit_rule(ngx_conf_t *cf, ngx_im_limit_words_t *w,
    ngx_im_limit_rule_t *rule)
{
    uint64_t                   seconds;
    uint64_t                   id[3];
    ngx_im_limit_main_conf_t  *lmcf;

    if (w->zone.len == 0 || w->rate.len == 0) {
        return "needs zone= and rate=";
    }

    if (w->nodelay && w->delay != NGX_IM_LIMIT_UNSET) {
        return "has both nodelay and delay=";
    }

    if (w->rpcs != 0 && w->frames != 0) {
        return "has both method= and frame=: give a rule for each";
    }

    if (w->burst == NGX_IM_LIMIT_UNSET) {
        w->burst = 0;
    }

    if (w->delay == NGX_IM_LIMIT_UNSET) {
        w->delay = w->nodelay ? w->burst : 0;

    } else if (w->delay > w->burst) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_limit: delay=%ui is more than burst=%ui",
                           w->delay, w->burst);
        return NGX_CONF_ERROR;
    }

    ngx_memzero(rule, sizeof(ngx_im_limit_rule_t));

    if (im_bucket_rate(&rule->rate, w->count, w->period_s, w->burst, w->delay)
        != IM_OK)
    {
        return "has a rate that cannot be counted";
    }

    /* whoever waits is neither answered nor read */

    seconds = (rule->rate.burst_ns - rule->rate.delay_ns + 999999999)
              / 1000000000;

    if (seconds > NGX_IM_LIMIT_DELAY_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_limit: burst=%ui at rate=%V delays up to %uL s,"
                           " %d at most: give nodelay, delay= or a smaller "
                           "burst", w->burst, &w->rate, seconds,
                           NGX_IM_LIMIT_DELAY_MAX);
        return NGX_CONF_ERROR;
    }

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_im_limit_module);
    rule->zone = ngx_im_limit_zone_find(lmcf, &w->zone);

    if (rule->zone == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_limit: no im_limit_zone above has made zone "
                           "\"%V\"", &w->zone);
        return NGX_CONF_ERROR;
    }

    rule->rpcs = w->rpcs;
    rule->frames = w->frames;
    rule->dry_run = w->dry_run;

    /* the same rule in two locations, or after a reload, is one */

    id[0] = w->rpcs;
    id[1] = w->frames;
    id[2] = rule->rate.interval_ns;
    rule->id = ngx_murmur_hash2((u_char *) id, sizeof(id));

    return NGX_CONF_OK;
}


/* In the order of the names of their zones, which is that of locking. */
static char *
ngx_im_limit_insert(ngx_conf_t *cf, ngx_im_limit_conf_t *lcf,
    const ngx_im_limit_rule_t *rule)
{
    ngx_uint_t            i;
    const ngx_str_t      *name;
    ngx_im_limit_rule_t  *r;

    if (lcf->rules == NULL) {
        lcf->rules = ngx_array_create(cf->pool, 4,
                                      sizeof(ngx_im_limit_rule_t));
        if (lcf->rules == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (lcf->rules->nelts == NGX_IM_LIMIT_RULES) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "im_limit: there are more than %d here",
                           NGX_IM_LIMIT_RULES);
        return NGX_CONF_ERROR;
    }

    r = lcf->rules->elts;

    for (i = 0; i < lcf->rules->nelts; i++) {
        if (r[i].zone == rule->zone && r[i].id == rule->id) {
            return "is duplicate";
        }
    }

    if (ngx_array_push(lcf->rules) == NULL) {
        return NGX_CONF_ERROR;
    }

    r = lcf->rules->elts;

    for (i = lcf->rules->nelts - 1; i > 0; i--) {

        name = &r[i - 1].zone->name;

        if (ngx_memn2cmp(name->data, rule->zone->name.data, name->len,
                         rule->zone->name.len)
            <= 0)
        {
            break;
        }

        r[i] = r[i - 1];
    }

    r[i] = *rule;

    return NGX_CONF_OK;
}
