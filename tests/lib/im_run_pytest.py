"""im_run_pytest -- how each test of a pytest run ended, even if pytest crashed.

A plugin (`-p im_run_pytest`) writes one line of JSON when something happens, to
the file that IM_TEST_RESULTS names; Results reads it.  pytest's own reports are
written when it ends: of a run that is killed they tell nothing.

Where IM_TEST_CLAIMS names a folder, several runs share the files that all of
them have collected: whoever has nothing to do claims the next one, by making a
file of its name there.
"""

import itertools
import json
import os

TESTS_FAILED, NOTHING_CHOSEN = 1, 5     # exit codes of pytest
_file = None
_phases = {}                       # node -> reports of the test that runs


def write(**event):
    global _file
    if _file is None:
        _file = open(os.environ['IM_TEST_RESULTS'], 'a', buffering=1)
    _file.write(json.dumps(event) + '\n')


def reason(report):
    """The lines that say what was wrong."""
    lines = report.longreprtext.rstrip().split('\n')
    return [line for line in lines if line[:2] == 'E '][:8] + lines[-1:]


def claim(path):
    """Whether this file is ours."""
    folder = os.environ.get('IM_TEST_CLAIMS')
    if folder is None:
        return True
    try:
        with open(os.path.join(folder, os.path.basename(path)), 'x'):
            return True
    except FileExistsError:
        return False


def pytest_collectreport(report):
    if report.failed and claim(report.nodeid):
        write(node=report.nodeid, outcome='failed', lines=reason(report))


def pytest_runtestloop(session):
    # As pytest's own, but for what it goes through.
    if session.testsfailed and not \
            session.config.option.continue_on_collection_errors:
        raise session.Interrupted('%d errors during collection'
                                  % session.testsfailed)
    if session.config.option.collectonly:
        return True
    for path, tests in itertools.groupby(session.items,
                                         lambda item: item.path):
        if claim(path):
            run_file(session, list(tests))
    return True


def run_file(session, tests):
    write(collected=[item.nodeid for item in tests])
    # Fixtures of the whole run end with each file: the next one is not known.
    for item, following in zip(tests, [*tests[1:], None]):
        item.config.hook.pytest_runtest_protocol(item=item,
                                                 nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)


def pytest_runtest_logstart(nodeid, location):
    _phases[nodeid] = []
    write(started=nodeid)


def pytest_runtest_logreport(report):
    _phases[report.nodeid].append(report)


def pytest_runtest_logfinish(nodeid, location):
    phases = _phases.pop(nodeid)
    bad = [r for r in phases if r.failed]
    skipped = any(r.skipped for r in phases)
    write(node=nodeid, lines=reason(bad[0]) if bad else [],
          outcome='failed' if bad else 'skipped' if skipped else 'passed',
          seconds=[round(r.duration, 2) for r in phases])


class Results:
    """Of one run: its file and its exit code."""

    def __init__(self, path, code):
        self.code = code
        self.passed = self.skipped = 0
        self.failed = {}           # node -> what was wrong
        self.unfinished = None     # it ran when the run ended
        self.taken = []            # all that this run was to do
        self.rest = []             # of these, never started
        events = []
        if os.path.exists(path):
            with open(path) as f:
                # The last line may be cut.
                events = [json.loads(line) for line in f
                          if line.endswith('\n')]
        for event in events:
            self.take(event)
        # Not ended by itself: killed, crashed, not even begun.
        self.broken = code not in (0, TESTS_FAILED, NOTHING_CHOSEN)

    def take(self, event):
        if 'collected' in event:
            self.taken += event['collected']
            self.rest += event['collected']
        elif 'started' in event:
            self.unfinished = event['started']
            self.rest = [n for n in self.rest if n != self.unfinished]
        else:
            if event['node'] == self.unfinished:
                self.unfinished = None
            if event['outcome'] == 'failed':
                self.failed[event['node']] = event['lines']
            elif event['outcome'] == 'skipped':
                self.skipped += 1
            else:
                self.passed += 1
