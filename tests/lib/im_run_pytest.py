"""im_run_pytest -- how each test of a pytest run ended, even if pytest crashed.

A plugin (`-p im_run_pytest`) writes one line of JSON when something happens, to
the file that IM_TEST_RESULTS names; Results reads it.  pytest's own reports are
written when it ends: of a run that is killed they tell nothing.
"""

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


def pytest_collectreport(report):
    if report.failed:
        write(node=report.nodeid, outcome='failed', lines=reason(report))


def pytest_collection_finish(session):
    write(collected=[item.nodeid for item in session.items])


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
          outcome='failed' if bad else 'skipped' if skipped else 'passed')


class Results:
    """Of one run: its file and its exit code."""

    def __init__(self, path, code):
        self.code = code
        self.passed = self.skipped = 0
        self.failed = {}           # node -> what was wrong
        self.unfinished = None     # it ran when the run ended
        self.rest = []             # never started
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
            self.rest = event['collected']
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
