/*
 * logic_lasts.c -- see logic_lasts.h.
 *
 * The last void counts, too: clients have stepped over it, and would not show a
 * message that gets its number.
 *
 * MAX(seq) with GROUP BY reads whole conversations unless the optimizer finds
 * its best plan; this reads one row of each by any.  The parameters have no
 * type of their own, and a text would not be looked up in the index.
 */

#include "logic_lasts.h"


int
logic_lasts(im_mysql_t *mysql, logic_ask_t *asks, size_t n)
{
#define LASTS_CONV                                                            \
    "SELECT CAST(? AS UNSIGNED) AS a, CAST(? AS UNSIGNED) AS b"
#define LASTS_LAST(convs)                                                     \
    "SELECT k.a, k.b, COALESCE((SELECT m.seq FROM messages m "                \
    "WHERE m.conv_a = k.a AND m.conv_b = k.b "                                \
    "ORDER BY m.seq DESC LIMIT 1), 0), "                                      \
    "COALESCE((SELECT v.to_seq FROM voids v "                                 \
    "WHERE v.conv_a = k.a AND v.conv_b = k.b "                                \
    "ORDER BY v.to_seq DESC LIMIT 1), 0) FROM (" convs ") k"

    static const logic_ask_sql_t  sql = {
        LASTS_LAST(LOGIC_ASK_8(LASTS_CONV, " UNION ALL ")),
        LASTS_LAST(LOGIC_ASK_128(LASTS_CONV, " UNION ALL ")), 2, 2
    };

    return logic_ask(mysql, &sql, asks, n);
}
