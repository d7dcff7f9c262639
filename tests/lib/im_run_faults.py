"""im_run_faults -- the part `faults` of tests/run: the selection of
tests/fault/campaign on a stack of its own, beside what else is run.

Each fault counts as one test.  One that is above a limit, or broke a promise,
is run once more, alone on a fresh stack, when nothing else runs.
"""

import json
import os
import threading

from im_run_report import read

SECONDS = 420
AGAIN_S = 150
SLACK_S = 2            # three heaps of other tests run meanwhile


class FaultsRun:

    def __init__(self, run):
        self.run = run
        self.code = None
        self.thread = threading.Thread(target=self.campaign, daemon=True)
        self.thread.start()

    def campaign(self):
        self.code = self.once('faults', SECONDS, '--selection', '--slack',
                              str(SLACK_S * self.run.slow))

    def once(self, name, limit, *args):
        run = self.run
        return run.command(
            [os.environ.get('PYTHON', '/usr/bin/python3'), 'tools/stack',
             'exec', run.faults, '--restart', '--fresh', '--logic', '2',
             '--task', '2',
             *(['--' + run.sanitizer] if run.sanitizer else []), '--',
             'tests/fault/campaign', '--json', self.file(name), *args],
            run.log(name), limit * run.slow)

    def file(self, name):
        return os.path.join(self.run.out, name + '.json')

    def results(self, name):
        try:
            with open(self.file(name)) as f:
                return json.load(f)
        except (OSError, ValueError):
            return []

    def end(self):
        """Waits for it, counts, and remembers what is to be run again."""
        self.thread.join()
        report, rows = self.run.report, self.results('faults')
        bad = [r for r in rows if not r['good']]
        skipped = sum('skipped' in r for r in rows)
        failed = len(bad) or int(self.code != 0 or not rows)
        report.count('faults', len(rows) - len(bad) - skipped, failed, skipped)
        if not failed:
            return
        report.show(self.run.log('faults'))
        if not bad:
            report.blame('faults', read(self.run.log('faults'))[-8:])
        for r in bad:
            name = 'fault ' + r['fault']
            self.run.suspect(name, [(name, lines(r))], 1,
                             lambda left, r=r: self.again(r['fault'], left))

    def again(self, fault, left):
        name = 'faults.again.' + fault
        return self.once(name, min(left, AGAIN_S), '--only', fault,
                         '--short', '--slack', str(self.run.slow)) == 0


def lines(r):
    if 'broken' in r:
        return [r['broken']]
    return ['%s %s, limits %s, %d violations' % (
        r['fault'], r['figures'], r['limits'], r['violations'])] \
        + r['report'].splitlines()[-5:]
