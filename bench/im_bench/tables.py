"""tables -- what bench/plots draws, as columns with tabs between them."""

PERCENTILES = ('p50', 'p90', 'p99', 'p999')


def tsv(comment, columns, rows):
    """The text of a file: a comment, a line of names, a line for each row."""
    lines = ['# ' + line for line in comment.split('\n')]
    lines.append('\t'.join(columns))
    lines += ['\t'.join('%.6g' % v if isinstance(v, float) else str(v)
                        for v in row) for row in rows]
    return '\n'.join(lines) + '\n'


def latency(series):
    """(columns, rows): percentiles of send to receive, by rate."""
    return (['messages/s'] + ['receive %s ms' % p for p in PERCENTILES]
            + ['ack %s ms' % p for p in ('p50', 'p99')],
            [[r['rate']] + [r['receive_%s_ms' % p] for p in PERCENTILES]
             + [r['ack_%s_ms' % p] for p in ('p50', 'p99')] for r in series])


def cpu(series):
    """(columns, rows): us of each process for a message, by rate; the one that
    takes most in all comes first, the generator last."""
    total = {}
    for r in series:
        for name, us in r['cpu_us_per_msg_by_process'].items():
            total[name] = total.get(name, 0) + us
    names = sorted(total, key=lambda n: (-total[n], n))
    return (['messages/s'] + names + ['generator'],
            [[r['rate']] + [r['cpu_us_per_msg_by_process'].get(n, 0)
                            for n in names] + [r['generator_us_per_msg']]
             for r in series])


def memory(idle):
    """(columns, rows): MB of all nginx workers, by connections."""
    return (['connections', 'resident MB', 'private MB'],
            [[step['connections'], step['rss'] / 1e6, step['private'] / 1e6]
             for step in idle['workers_rss']])
