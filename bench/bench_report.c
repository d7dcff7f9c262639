/*
 * bench_report.c -- the figures, as one line of JSON.
 *
 * sent, acked, received and the latencies are of the messages that were due in
 * the measured window.  Whatever went wrong counts for the whole run: a
 * message may not be lost while warming up either.
 */

#include <stdio.h>
#include <string.h>

#include "bench.h"


void
bench_report(const bench_t *b)
{
    int                    i;
    uint32_t               k, crossing;
    uint64_t               lost, unacked;
    uint32_t               on[BENCH_INSTANCES];
    const bench_count_t   *m, *w;
    const bench_faults_t  *f;

    m = &b->count[1];
    w = &b->count[0];
    f = &b->faults;

    bench_load_totals(b, &lost, &unacked);

    memset(on, 0, sizeof(on));
    crossing = 0;

    for (k = 0; k < b->connections; k++) {
        i = b->conns[k].instance;

        if (i >= 0) {
            on[i]++;
        }

        crossing += (k & 1) && i != b->conns[k ^ 1].instance;
    }

#define N(v)  ((unsigned long long) (v))

    printf("{\"connections\":%u,\"rate\":%.10g,\"seconds\":%g,\"warmup\":%g,"
           "\"protocol\":\"%s\",\"body\":%u,",
           b->connections, b->rate, b->seconds, b->warmup_s,
           b->encoding == IM_ENCODING_JSON ? IM_CLIENT_JSON : IM_CLIENT_PROTO,
           b->body);

    printf("\"scheduled\":%llu,\"skipped\":%llu,\"sent\":%llu,"
           "\"acked\":%llu,\"received\":%llu,", N(m->scheduled),
           N(m->skipped), N(m->sent), N(m->acked), N(m->received));

    printf("\"total_sent\":%llu,\"total_skipped\":%llu,\"total_acked\":%llu,"
           "\"total_received\":%llu,", N(m->sent + w->sent),
           N(m->skipped + w->skipped), N(m->acked + w->acked),
           N(m->received + w->received));

    printf("\"window_acked\":%llu,\"window_received\":%llu,",
           N(f->window_acked), N(f->window_received));

    printf("\"lost\":%llu,\"unacked\":%llu,\"doubled\":%llu,"
           "\"double_acked\":%llu,\"misordered\":%llu,\"mismatched\":%llu,"
           "\"damaged\":%llu,\"foreign\":%llu,", N(lost), N(unacked),
           N(f->doubled), N(f->double_acked), N(f->misordered),
           N(f->mismatched), N(f->damaged), N(f->foreign));

    printf("\"errors\":%llu,\"retried\":%llu,\"refused\":%llu,"
           "\"disconnects\":%llu,", N(f->errors), N(f->retried),
           N(f->refused), N(f->disconnects));

    bench_report_latency("ack", &b->ack);
    bench_report_latency("receive", &b->receive);
    bench_report_latency("late", &b->late);

    printf("\"generator_cpu_s\":%.3f,\"pairs_crossing\":%u,\"workers\":{",
           b->cpu_s, crossing);

    for (i = 0; i < b->n_instances; i++) {
        printf("%s\"%s\":%u", i ? "," : "", b->instances[i], on[i]);
    }

    puts("}}");
    fflush(stdout);
}


void
bench_report_latency(const char *name, const bench_hist_t *h)
{
    printf("\"%s_p50_ms\":%.3f,\"%s_p90_ms\":%.3f,\"%s_p99_ms\":%.3f,"
           "\"%s_p999_ms\":%.3f,\"%s_max_ms\":%.3f,\"%s_mean_ms\":%.3f,",
           name, bench_hist_ms(h, 0.5), name, bench_hist_ms(h, 0.9),
           name, bench_hist_ms(h, 0.99), name, bench_hist_ms(h, 0.999),
           name, (double) h->max_us / 1000,
           name, h->count ? h->sum_us / 1000 / (double) h->count : 0.0);
}
