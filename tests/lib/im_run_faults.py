"""im_run_faults -- the part `faults` of tests/run: the selection of
tests/fault/campaign on a stack of its own, when nothing else runs: its limits
are of seconds, and a machine that is busy with other stacks passes them.  It
has three im-logic of two shards each, as no other stack of the tests has.

Each fault counts as one test.  One that is above a limit, broke a promise, or
has no result because the campaign ended too early, is run once more on a fresh
stack when nothing else runs, all of them in one go: the campaign itself gives
each fault a stack that the one before has not spoiled.
"""

import json
import os
import re

from im_fault_figures import cells
from im_fault_kinds import SELECTION
from im_run_report import read

SECONDS = 280          # for the campaign
STACK_S = 150          # more, to start and to stop the stack
SLACK_S = 1            # the machine may be a guest of a busy one
STATES = 3             # faults of which is shown what they left behind


class FaultsRun:

    def __init__(self, run):
        self.run = run
        self.code = None
        self.bad = []              # names
        self.second = None         # name -> result, of the second try

    def all(self):
        self.campaign()
        self.count()

    def campaign(self):
        # Without any result: as a rule the stack has not started.
        for _ in range(2):
            self.code = self.once(
                'faults', SECONDS * self.run.slow, STACK_S, '--selection',
                '--slack', str(SLACK_S * self.run.slow))
            if self.results('faults'):
                break

    def once(self, name, seconds, more, *args):
        run = self.run
        return run.command(
            [os.environ.get('PYTHON', '/usr/bin/python3'), 'tools/stack',
             'exec', run.faults, '--restart', '--fresh', '--logic', '3',
             '--task', '2',
             *(['--' + run.sanitizer] if run.sanitizer else []), '--',
             'tests/fault/campaign', '--json', self.file(name),
             '--seconds', str(seconds), *args],
            run.log(name), seconds + more, {'IM_LOGIC_SHARDS': '2'})

    def file(self, name):
        return os.path.join(self.run.out, name + '.json')

    def results(self, name):
        try:
            with open(self.file(name)) as f:
                return {r['fault']: r for r in json.load(f)}
        except (OSError, ValueError):
            return {}

    def count(self):
        """And remembers what is to be run again."""
        report, results = self.run.report, self.results('faults')
        why = (read(self.run.log('faults')) or ['no reason known'])[-1]
        for name in SELECTION:
            results.setdefault(name, {
                'fault': name, 'good': False, 'broken':
                'no result, exit code %d: %s' % (self.code, why.strip())})
        rows = list(results.values())
        bad = [r for r in rows if not r['good']]
        skipped = sum('skipped' in r for r in rows)
        report.count('faults', len(rows) - len(bad) - skipped, len(bad),
                     skipped)
        self.bad = [r['fault'] for r in bad]
        for n, r in enumerate(bad):
            self.show(r, r.get('state', []) if n < STATES else [])
            self.run.suspect('fault ' + r['fault'],
                             [('fault ' + r['fault'], lines(r))], 1,
                             lambda left, r=r: self.again(r['fault'], left))

    def show(self, r, state):
        say = self.run.report.say
        say('---- fault ' + r['fault'])
        for line in [*lines(r), *state]:
            say(line)
        say('----')

    def again(self, fault, left):
        if self.second is None:
            self.once('faults.again', left, 0, '--only',
                      ','.join(self.bad), '--short', '--slack',
                      str(self.run.slow))
            self.second = self.results('faults.again')
        r = self.second.get(fault, {
            'fault': fault, 'good': False, 'broken': 'no result'})
        if not r['good']:
            self.show(r, r.get('state', []))
        return r['good'] and 'skipped' not in r


def lines(r):
    """What was wrong, in a few lines, and what was not ready then."""
    out = [r['broken']] if 'broken' in r else [
        'silence %s, push %s, send %s, show %s, %d violations' % (
            *cells(r), r['violations'])]
    report = r.get('report', '').splitlines()
    # What comes before are counts and times.
    while report and not re.match(r'\d+ violations', report[0]):
        del report[0]
    return out + report[1:7] + [line for line in r.get('state', [])
                  if ': GET /readyz: ' in line and 'readyz: 200 ' not in line]
