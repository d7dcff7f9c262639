"""load -- one rate of one-to-one messages, measured.

CPU is user and system time of each process, its threads and its children, over
the measured window, divided by the messages that were acked in it.  The
generator's own stands beside the sum, not in it.
"""

import json
import os

from .machine import TOP, Problem, Sample, machine, say
from .stack import Generator, Stack

P99_MS = 50              # send to receive, to call a rate passed

# Of any of these a single one is a failure.
FAULTS = ('lost', 'unacked', 'doubled', 'double_acked', 'misordered',
          'mismatched', 'damaged', 'unstored', 'disconnects')


def faults(r):
    return ['%s %d' % (name, r[name]) for name in FAULTS if r.get(name)]


class Bench:
    """o: connections, seconds, body, tick, proto, stack, workers, build,
    running, keep."""

    def __init__(self, o, stack=None):
        self.o = o
        self.stack = stack or Stack(o)
        self.out = os.path.join(TOP, 'build', 'bench')
        os.makedirs(self.out, exist_ok=True)

    def save(self, name, figures):
        path = os.path.join(self.out, name)
        with open(path + '.new', 'w') as f:
            json.dump(figures, f, indent=1)
            f.write('\n')
        os.rename(path + '.new', path)
        say('written to %s' % os.path.relpath(path, TOP))

    def generator(self, uids, *args):
        return Generator(self, uids, self.stack.server(),
                         *(['--proto'] if self.o.proto else []), *args)

    def load(self, rate, warmup, connections=None, seconds=None, watch=None):
        """The figures of one rate.  watch.begin(roots) and watch.end() are
        called as the measured window begins and ends; watch.stop() always."""
        o = self.o
        connections = connections or o.connections
        seconds = seconds or o.seconds
        uids = self.stack.users(connections)
        say('\n%d connections, %g messages a second: warm-up %g s, '
            'measured %g s' % (connections, rate, warmup, seconds))
        g = self.generator(uids, '--connections', str(connections),
                           '--rate', '%.10g' % rate, '--warmup', '%g' % warmup,
                           '--seconds', '%g' % seconds, '--body', str(o.body),
                           *(['--tick', str(o.tick)] if o.tick is not None
                             else []))
        try:
            g.expect('opened', 90)
            roots = self.stack.programs()
            g.expect('measure', warmup + 30)
            begin = Sample(roots)
            if watch:
                watch.begin(roots)
            g.expect('measured', seconds + 30)
            end = Sample(roots)
            if watch:
                watch.end()
            r = json.loads(g.line(60))
        finally:
            g.end()
            if watch:
                watch.stop()
        # Asked only now: the tool is Python, and would have cost CPU before.
        if self.stack.programs() != roots:
            raise Problem('a program has died and was started again; see '
                          'build/stack/%s/log' % o.stack)
        rows, measured, ids, waited = self.stack.stored(uids, r['total_acked'])
        r.update(machine())
        r['stored'] = measured
        r['total_stored'] = rows
        r['unstored'] = max(0, r['total_acked'] - rows)
        r['stored_twice'] = rows - ids
        r['doubled'] += r['stored_twice']
        r['stored_after_s'] = round(waited, 1)
        self.cpu(r, begin, end)
        r['passed'] = r['receive_p99_ms'] < P99_MS and not r['skipped'] \
            and r['received'] > 0 and not faults(r)
        return r

    def cpu(self, r, begin, end):
        messages = max(1, r['window_acked'])
        spent = begin.until(end)
        by = {name: round(us / messages, 2) for name, us in spent.items()}
        r['cpu_us_per_msg_by_process'] = dict(sorted(
            by.items(), key=lambda kv: -kv[1]))
        r['cpu_us_per_msg'] = round(sum(spent.values()) / messages, 2)
        r['generator_us_per_msg'] = round(
            r['generator_cpu_s'] * 1e6 / messages, 2)
        busy = begin.cores_busy(end)
        r['cores_busy'] = round(busy, 2)
        # Whatever else runs on the machine; it should be next to nothing.
        r['cores_of_others'] = round(
            busy - sum(spent.values()) / 1e6 / (end.time - begin.time)
            - r['generator_cpu_s'] / r['seconds'], 2)

    def show(self, r):
        say('%-10s sent %d  acked %d  received %d  stored %d  (%.0f acks/s)'
            % ('measured', r['sent'], r['acked'], r['received'], r['stored'],
               r['window_acked'] / r['seconds']))
        say('%-10s lost %d  doubled %d  misordered %d  not stored %d  '
            'without ack %d' % ('all', r['lost'], r['doubled'],
                                r['misordered'], r['unstored'], r['unacked']))
        say('%-10s errors %d  retried %d  refused %d  skipped %d  '
            'disconnects %d' % ('', r['errors'], r['retried'], r['refused'],
                                r['total_skipped'], r['disconnects']))
        say('%-18s %8s %8s %8s %8s %8s' % ('ms', 'p50', 'p90', 'p99',
                                           'p99.9', 'max'))
        for name, key in (('send -> ack', 'ack'),
                          ('send -> receive', 'receive'),
                          ('generator late', 'late')):
            say('%-18s' % name + ''.join(
                ' %8.2f' % r['%s_%s_ms' % (key, q)]
                for q in ('p50', 'p90', 'p99', 'p999', 'max')))
        say('CPU, us a message  %s' % '  '.join(
            '%s %.1f' % kv for kv in r['cpu_us_per_msg_by_process'].items()))
        say('%18s sum %.1f, generator %.1f; %.2f of %d cores busy'
            % ('', r['cpu_us_per_msg'], r['generator_us_per_msg'],
               r['cores_busy'], r['cores']))
        say('%18s %d of %d pairs on two workers, connections of each: %s' % (
            '', r['pairs_crossing'], r['connections'] // 2,
            ' '.join(str(n) for n in r['workers'].values())))
        bad = faults(r)
        say('-> %s' % ('passed' if r['passed'] else 'wrong: ' + ', '.join(bad)
                       if bad else 'not passed: receive p99 %.1f ms, '
                       'skipped %d' % (r['receive_p99_ms'], r['skipped'])))
