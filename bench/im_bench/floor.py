"""floor -- a relay that parses nothing (bench/floor), under the same load.

The same generator, schedule, sizes, pairs and number of processes as of a load
on the stack: what remains of nginx's CPU above it is what the edge adds to
moving the bytes.
"""

import contextlib
import json
import os
import select
import subprocess

from .machine import TOP, Problem, Sample
from .stack import Generator

START_S = 10
END_S = 5
WARMUP_S = 2
# What may not happen to a relay either.
FAULTS = ('lost', 'unacked', 'doubled', 'double_acked', 'misordered',
          'damaged', 'foreign', 'disconnects')


class Floor:

    def __init__(self, build, workers):
        self.command = [os.path.join(TOP, build, 'im-bench-floor'),
                        str(workers)]
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL)
        try:
            if not select.select([self.process.stdout], [], [], START_S)[0]:
                raise Problem('im-bench-floor does not start')
            port = self.process.stdout.readline().decode().strip()
            if not port.isdigit():
                raise Problem('im-bench-floor has ended')
        except BaseException:        # a signal, too: see end_in_order()
            self.__exit__()
            raise
        self.address = '127.0.0.1:' + port
        return self

    def __exit__(self, *error):
        with contextlib.suppress(OSError):
            self.process.terminate()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()      # its workers end with it
            self.process.wait()
        self.process.stdout.close()


def measure(bench, rate, connections, seconds):
    """A dict of its figures."""
    o = bench.o
    with Floor(o.build, o.workers) as floor:
        g = Generator(bench, range(2, connections + 2),
                      ['--floor', '--address', floor.address],
                      '--connections', str(connections),
                      '--rate', '%.10g' % rate, '--warmup', str(WARMUP_S),
                      '--seconds', '%g' % seconds, '--body', str(o.body),
                      *(['--tick', str(o.tick)] if o.tick is not None else []))
        try:
            g.expect('opened', 90)
            roots = {'floor': [floor.process.pid]}
            g.expect('measure', WARMUP_S + 30)
            begin = Sample(roots)
            g.expect('measured', seconds + 30)
            end = Sample(roots)
            r = json.loads(g.line(60))
        finally:
            g.end()
    wrong = ['%s %d' % (k, r[k]) for k in FAULTS if r[k]]
    if wrong:
        raise Problem('the floor is wrong: ' + ', '.join(wrong))
    n = max(1, r['window_acked'])
    return {'rate': r['rate'], 'acks_per_s': n / r['seconds'],
            'cpu_us_per_msg': round(begin.until(end)['floor'] / n, 2),
            'generator_us_per_msg': round(r['generator_cpu_s'] * 1e6 / n, 2),
            'receive_p50_ms': r['receive_p50_ms'],
            'receive_p99_ms': r['receive_p99_ms']}
