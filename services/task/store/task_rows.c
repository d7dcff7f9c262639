/*
 * task_rows.c -- records to rows: parsed, in the order of the primary key, one
 * for each place.
 *
 * The order keeps two members from waiting for each other's locks in a circle,
 * and touches each page once.  A batch may hold a place twice: a record that
 * was produced again, or, which must not be, a number given twice.  The first
 * in the order of the log has it, as it would had the two come in two batches.
 */

#include <stdlib.h>
#include <string.h>

#include "im_slot.h"
#include "task_dead.h"
#include "task_rows.h"


static int rows_parse(im_record_t *m, const im_kafka_record_t *kafka);
static int rows_compare(const void *a, const void *b);
static void rows_fold(task_rows_t *r, task_row_t *rows);
static int rows_same_place(const im_record_t *a, const im_record_t *b);


void
task_rows_init(task_rows_t *r, task_row_t *rows,
    const im_kafka_record_t *kafka, size_t n)
{
    size_t  i;

    r->all = 0;

    for (i = 0; i < n; i++) {
        memset(&rows[r->all], 0, sizeof(task_row_t));
        rows[r->all].kafka = &kafka[i];

        if (rows_parse(&rows[r->all].message, &kafka[i]) == IM_OK) {
            r->all++;
        }
    }

    qsort(rows, r->all, sizeof(task_row_t), rows_compare);
    rows_fold(r, rows);
}


/* IM_DECLINED: it is no row. */
static int
rows_parse(im_record_t *m, const im_kafka_record_t *kafka)
{
    if (im_record_read(m, kafka->value.data, kafka->value.len) != IM_OK) {
        task_dead_add(kafka, "not a message");
        return IM_DECLINED;
    }

    if (im_conv_is_fence(m->conv_a, m->conv_b)) {
        return IM_DECLINED;
    }

    if (m->conv_b == 0 || m->conv_a > m->conv_b || m->seq == 0
        || m->msg_id == 0)
    {
        task_dead_add(kafka, "a message without a place");
        return IM_DECLINED;
    }

    return IM_OK;
}


/* By primary key; one place's records in the order of the log. */
static int
rows_compare(const void *a, const void *b)
{
    const task_row_t  *x = a, *y = b;

    if (x->message.conv_a != y->message.conv_a) {
        return (x->message.conv_a < y->message.conv_a) ? -1 : 1;
    }

    if (x->message.conv_b != y->message.conv_b) {
        return (x->message.conv_b < y->message.conv_b) ? -1 : 1;
    }

    if (x->message.seq != y->message.seq) {
        return (x->message.seq < y->message.seq) ? -1 : 1;
    }

    /* the same key means the same partition */

    return (x->kafka->offset < y->kafka->offset) ? -1
           : (x->kafka->offset > y->kafka->offset);
}


/* The first of each place stays in front, repeats go behind; the order of
 * the first is kept. */
static void
rows_fold(task_rows_t *r, task_row_t *rows)
{
    size_t      i;
    task_row_t  row, *last;

    r->n = 0;
    r->known = 0;

    for (i = 0; i < r->all; i++) {
        last = (r->n > 0) ? &rows[r->n - 1] : NULL;

        if (last != NULL
            && rows_same_place(&last->message, &rows[i].message))
        {
            if (last->message.msg_id != rows[i].message.msg_id) {
                task_dead_reused(rows[i].kafka, &rows[i].message,
                                 last->message.msg_id);
            } else {
                r->known++;
            }

            continue;
        }

        row = rows[r->n];
        rows[r->n++] = rows[i];
        rows[i] = row;
    }
}


static int
rows_same_place(const im_record_t *a, const im_record_t *b)
{
    return a->conv_a == b->conv_a && a->conv_b == b->conv_b
           && a->seq == b->seq;
}


void
task_rows_values(const task_row_t *row, im_mysql_value_t *v)
{
    const im_record_t  *m;

    m = &row->message;
    memset(v, 0, TASK_ROWS_N_COLUMNS * sizeof(im_mysql_value_t));

    v[0].u64 = m->conv_a;
    v[1].u64 = m->conv_b;
    v[2].u64 = m->seq;
    v[3].u64 = m->msg_id;
    v[4].u64 = m->from;
    v[5].u64 = m->time_ms;
    v[6].u64 = row->run_seq;
    v[7].u64 = row->nth;
    v[8].u64 = row->nth_a;
    v[9].type = IM_MYSQL_STR;
    v[9].str = m->cmid;
    v[10].type = IM_MYSQL_STR;
    v[10].str = m->body;
}
