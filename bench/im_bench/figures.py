"""figures -- what bench/vs decides by, of what was measured.

A measurement belongs to a side ('this' or 'base'), a kind and a size, so
('this', 'load', 1000) is this tree at 1,000 messages a second.  There is one
for each pair: a dict of numbers, or a text that says why there is none.
Numbers that say nothing have the reason as 'unusable', and are kept for people.

A figure is one number of one measurement, or the ratio of two of the same pair,
and the median over the pairs.  If a single pair has none, the figure is null: a
median of fewer would look like one of all.
"""

import collections
import statistics

from .load import faults

Figure = collections.namedtuple('Figure', 'name over under at_most at_least')

THIS, BASE = 'this', 'base'


def of(side, kind, size, key):
    return (side, kind, size), key


def ratio(name, kind, size, key, at_most=None, at_least=None):
    return Figure(name, of(THIS, kind, size, key), of(BASE, kind, size, key),
                  at_most, at_least)


def rooms(size):
    return Figure('fanout_nchan_ratio_%d' % size,
                  of(THIS, 'rooms', size, 'cpu_us_per_delivery'),
                  of(THIS, 'nchan', size, 'cpu_us_per_delivery'), 1.0, None)


FIGURES = [
    Figure('p50_1k_ms', of(THIS, 'load', 1000, 'receive_p50_ms'), None, 1.8,
           None),
    Figure('p99_1k_ms', of(THIS, 'load', 1000, 'receive_p99_ms'), None, None,
           None),
    ratio('cpu_ratio_1k', 'load', 1000, 'cpu_us_per_msg', 0.55),
    ratio('cpu_ratio_10k', 'load', 10000, 'cpu_us_per_msg', 0.60),
    ratio('cpu_ratio_20k', 'load', 20000, 'cpu_us_per_msg', 0.70),
    ratio('p99_ratio_10k', 'load', 10000, 'receive_p99_ms', 0.5),
    ratio('rate_ratio_200', 'rate', 200, 'rate', at_least=2.0),
    ratio('rate_ratio_2000', 'rate', 2000, 'rate', at_least=2.5),
    Figure('edge_floor_ratio', of(THIS, 'load', 20000, 'nginx_us_per_msg'),
           of(THIS, 'floor', 20000, 'cpu_us_per_msg'), 1.3, None),
    rooms(100),
    rooms(1000),
]


def chosen(text):
    """Those of a list of names, all for an empty one."""
    names = [n.strip() for n in text.split(',') if n.strip()]
    unknown = set(names) - {f.name for f in FIGURES}
    if unknown:
        raise ValueError('no figure is named %s; there are %s' % (
            ', '.join(sorted(unknown)), ', '.join(f.name for f in FIGURES)))
    return [f for f in FIGURES if not names or f.name in names]


def needed(figures):
    """The measurements that they are made of."""
    return {part[0] for f in figures for part in (f.over, f.under) if part}


def number(measured, part, pair):
    """(number, '') or (None, why)."""
    at, key = part
    got = measured.get((at, pair), 'was not measured')
    if isinstance(got, str):
        return None, '%s %s %d: %s' % (*at, got)
    if got.get('unusable'):
        return None, '%s %s %d: %s' % (*at, got['unusable'])
    if got.get(key) is None:
        return None, '%s %s %d: no %s' % (*at, key)
    return got[key], ''


def of_pair(figure, measured, pair):
    """What one pair says, with the numbers that it is made of."""
    over, why = number(measured, figure.over, pair)
    raw = {'pair': pair, 'value': over}
    if figure.under:
        under, why_under = number(measured, figure.under, pair)
        why = why or why_under
        raw.update({'over': over, 'under': under, 'value': None})
        if not why and not under:
            why = '%s %s %d: %s is 0' % (*figure.under[0], figure.under[1])
        if not why:
            raw['value'] = over / under
    if why:
        raw['reason'] = why
    return raw


def evaluate(figure, measured, pairs):
    """{'value', 'raw', 'must', 'holds', and 'reason' if value is None}"""
    raw = [of_pair(figure, measured, pair) for pair in range(pairs)]
    reasons = [r['reason'] for r in raw if 'reason' in r]
    result = {'value': None, 'raw': raw, 'must': must(figure), 'holds': None}
    if reasons:
        result['reason'] = '%d of %d pairs: %s' % (len(reasons), pairs,
                                                   reasons[0])
        result['holds'] = False if result['must'] else None
        return result
    value = statistics.median(r['value'] for r in raw)
    result['value'] = float('%.4g' % value)
    if figure.at_most is not None:
        result['holds'] = value <= figure.at_most
    if figure.at_least is not None:
        result['holds'] = value >= figure.at_least
    return result


def must(figure):
    if figure.at_most is not None:
        return '<= %g' % figure.at_most
    if figure.at_least is not None:
        return '>= %g' % figure.at_least
    return ''


def report(figures, measured, pairs):
    """For JSON: a number or null by each name, and beside these where it comes
    from."""
    out = {f.name: None for f in FIGURES}
    details = {}
    for f in FIGURES:
        if f not in figures:
            details[f.name] = {'reason': 'was not asked for'}
            continue
        details[f.name] = evaluate(f, measured, pairs)
        out[f.name] = details[f.name]['value']
    out['figures'] = details
    out['holds'] = all(d.get('holds') is not False for d in details.values())
    return out


def table(figures, report_of_all):
    """Lines for people."""
    lines = ['%-24s %10s %-8s %-5s %s' % ('', 'median', 'must', '', 'pairs')]
    for f in figures:
        d = report_of_all['figures'][f.name]
        if d['value'] is None:
            lines.append('%-24s %10s %-8s %-5s %s' % (
                f.name, 'null', d['must'] or '-',
                '-' if d['holds'] is None else 'NO', d['reason']))
            continue
        pairs = []
        for r in d['raw']:
            text = '%.3g' % r['value']
            if f.under:
                text += ' (%.4g / %.4g)' % (r['over'], r['under'])
            pairs.append(text)
        lines.append('%-24s %10.3g %-8s %-5s %s' % (
            f.name, d['value'], d['must'] or '-',
            {None: '-', True: 'yes', False: 'NO'}[d['holds']],
            '  '.join(pairs)))
    return lines


def unusable(r):
    """Why a load says nothing about its rate, or ''."""
    wrong = faults(r)
    if wrong:
        return ', '.join(wrong)
    acks = r['window_acked'] / r['seconds']
    if acks < 0.95 * r['rate']:
        return 'only %.0f of %g messages a second were acked' % (acks,
                                                                 r['rate'])
    return ''
