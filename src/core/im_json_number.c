/*
 * im_json_number.c -- numbers in JSON: well formed, and of a size that common
 * parsers can read.
 *
 * RFC 8259 section 6 lets a receiver set limits, and receivers do: a number
 * that overflows a double is an error or Infinity (which cannot be written
 * again), and some refuse an integer of thousands of digits.  A message with
 * such a number would stop its reader each time that it is fetched.  So a
 * number has at most IM_JSON_NUMBER_MAX characters and does not round to
 * infinity.  One that rounds to zero is read by everybody, and is taken.
 *
 * Without an exponent no number of that length is near the limit, so nearly all
 * are judged by their length alone, and most others by their exponent.  Then
 * the place of the first digit decides, and only next to the limit the digits
 * do: strtod() would ask the locale, and take its time.
 *
 * Room: core.
 */

#include <string.h>

#include "im_json.h"
#include "im_json_scan.h"


#define JSON_EXPONENT_MAX  308
#define JSON_EXPONENT_END  10000       /* as good as any larger one */


static int json_digits(im_json_scan_t *s);
static int json_number_fits(const im_json_scan_t *s,
    const unsigned char *start, const unsigned char *e);
static int json_exponent(const unsigned char *p, const unsigned char *end);


/* 2^1024 - 2^970, the first 40 of its 309 digits: from there on all rounds to
 * infinity (IEEE 754, to nearest, ties to even). */
static const char  json_infinity[] =
    "1797693134862315807937289714053034150799";

_Static_assert(sizeof(json_infinity) - 1 >= IM_JSON_NUMBER_MAX,
               "a number may have more digits than it is compared with");


int
im_json_skip_number(im_json_scan_t *s)
{
    const unsigned char  *start, *digits, *e;

    start = s->p;

    if (s->p < s->end && *s->p == '-') {
        s->p++;
    }

    digits = s->p;

    if (json_digits(s) != IM_OK || (*digits == '0' && s->p - digits > 1)) {
        s->p = digits;
        return im_json_syntax(s, "a value");
    }

    if (s->p < s->end && *s->p == '.') {
        s->p++;

        if (json_digits(s) != IM_OK) {
            return im_json_syntax(s, "a digit");
        }
    }

    e = s->p;

    if (s->p < s->end && (*s->p | 0x20) == 'e') {
        s->p++;

        if (s->p < s->end && (*s->p == '+' || *s->p == '-')) {
            s->p++;
        }

        if (json_digits(s) != IM_OK) {
            return im_json_syntax(s, "a digit");
        }
    }

    if (s->any_number) {
        return IM_OK;
    }

    if (s->p - start > IM_JSON_NUMBER_MAX) {
        return im_json_fail(s->err, "bad_field", "the number at byte %zu is "
                            "longer than %d characters",
                            (size_t) (start - s->start), IM_JSON_NUMBER_MAX);
    }

    if (e != s->p && !json_number_fits(s, start, e)) {
        return im_json_fail(s->err, "bad_field", "the number at byte %zu is "
                            "beyond the range of a double",
                            (size_t) (start - s->start));
    }

    return IM_OK;
}


/* IM_ERROR: there is none. */
static int
json_digits(im_json_scan_t *s)
{
    const unsigned char  *start;

    start = s->p;

    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        s->p++;
    }

    return (s->p != start) ? IM_OK : IM_ERROR;
}


/*
 * 1: it does not round to infinity.  The number ends where the scan stands, e
 * is its exponent, the rest is read as d.ddd * 10^place.
 */
static int
json_number_fits(const im_json_scan_t *s, const unsigned char *start,
    const unsigned char *e)
{
    int                   n, place, step, exponent;
    char                  digits[IM_JSON_NUMBER_MAX];
    const unsigned char  *p;

    exponent = json_exponent(e + 1, s->p);

    if (exponent < JSON_EXPONENT_MAX - IM_JSON_NUMBER_MAX) {
        return 1;
    }

    n = 0;
    place = exponent - 1;
    step = 1;                          /* before the point: one more */

    for (p = start; p < e; p++) {

        if (*p == '.') {
            step = (n == 0) ? -1 : 0;  /* behind it: less, until a digit */

        } else if (*p != '-' && (n != 0 || *p != '0')) {
            if (n == 0 && step < 0) {
                step = 0;
            }

            digits[n++] = (char) *p;
            place += step;

        } else if (n == 0 && step < 0) {
            place--;
        }
    }

    if (n == 0) {
        return 1;                      /* zero */
    }

    if (place != JSON_EXPONENT_MAX) {
        return place < JSON_EXPONENT_MAX;
    }

    /* equal so far, it is less: the limit has more digits */

    return memcmp(digits, json_infinity, (size_t) n) <= 0;
}


static int
json_exponent(const unsigned char *p, const unsigned char *end)
{
    int  value, sign;

    sign = (*p == '-') ? -1 : 1;

    if (*p == '-' || *p == '+') {
        p++;
    }

    for (value = 0; p < end && value < JSON_EXPONENT_END; p++) {
        value = value * 10 + (*p - '0');
    }

    return sign * value;
}
