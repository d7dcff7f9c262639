/*
 * im_text.c -- what others wrote, made fit for a line of a log.
 *
 * Every log has one place where its lines are made (im_log.c, ngx_im_log.c),
 * and that place calls im_text_print(): a caller that forgets cannot exist.
 * Not chosen: to clean at each caller, or to refuse such text only at the
 * door; texts come from etcd, from tokens, from databases and from gRPC too.
 *
 * Besides C0 and DEL these are escaped: C1 (U+0080 to U+009F: some terminals
 * take U+009B for ESC [), line and paragraph separators, and what turns the
 * direction of writing, since a line must read as it is.
 *
 * Room: core.
 */

#include <string.h>

#include "im_text.h"
#include "im_utf8.h"


static size_t text_char(const unsigned char *p, size_t left);
static int text_is_control(const unsigned char *p, size_t n);
static size_t text_escape(char *out, const unsigned char *p, size_t n);


size_t
im_text_print(char *out, size_t size, const char *text, size_t len)
{
    char                  c[16];
    size_t                n, used, made;
    const unsigned char  *p, *end;

    p = (const unsigned char *) text;
    end = p + len;
    made = 0;

    while (p < end) {
        n = text_char(p, (size_t) (end - p));

        if (n == 0) {
            n = 1;
            used = text_escape(c, p, n);

        } else if (text_is_control(p, n)) {
            used = text_escape(c, p, n);

        } else {
            used = n;
            memcpy(c, p, n);
        }

        if (made + used >= size) {
            break;
        }

        memcpy(out + made, c, used);
        made += used;
        p += n;
    }

    out[made] = '\0';

    return made;
}


/* Bytes of the character at p, 0 if it is not UTF-8. */
static size_t
text_char(const unsigned char *p, size_t left)
{
    size_t  n;

    n = (*p < 0x80) ? 1 : (*p < 0xe0) ? 2 : (*p < 0xf0) ? 3 : 4;

    if (n == 1) {
        return 1;
    }

    return (n <= left && im_utf8_check(p, n) == IM_OK) ? n : 0;
}


static int
text_is_control(const unsigned char *p, size_t n)
{
    if (n == 1) {
        return *p < ' ' || *p == 0x7f;
    }

    if (n == 2) {
        return p[0] == 0xc2 && p[1] < 0xa0;                  /* C1 */
    }

    if (n != 3 || p[0] != 0xe2) {
        return 0;
    }

    return (p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae)    /* U+2028-202E */
           || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9); /* U+2066-2069 */
}


static size_t
text_escape(char *out, const unsigned char *p, size_t n)
{
    size_t             i;
    static const char  hex[] = "0123456789abcdef";

    for (i = 0; i < n; i++) {
        *out++ = '\\';
        *out++ = 'x';
        *out++ = hex[p[i] >> 4];
        *out++ = hex[p[i] & 15];
    }

    return 4 * n;
}


int
im_text_is_name(const char *s, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z')
              || (s[i] >= '0' && s[i] <= '9')
              || s[i] == '.' || s[i] == '_' || s[i] == '-'))
        {
            return 0;
        }
    }

    return len > 0 && len <= IM_NAME_MAX;
}
