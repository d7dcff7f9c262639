"""im_run_pytest -- how each test of pytest ended, by its JUnit file."""

import os
import xml.etree.ElementTree

TESTS_FAILED, NOTHING_CHOSEN = 1, 5     # exit codes of pytest


class Results:

    def __init__(self, path, code):
        self.passed = self.skipped = 0
        self.failed = {}           # node -> what was wrong
        self.crashed = {}          # likewise, if its process ended
        if os.path.exists(path):
            for case in xml.etree.ElementTree.parse(path).iter('testcase'):
                self.take(case)
        # Not ended by itself: killed, crashed, not even begun.
        self.broken = code not in (0, TESTS_FAILED, NOTHING_CHOSEN)

    def take(self, case):
        # A file that cannot be imported is a case without a class.
        node = case.get('file') + ('::' + case.get('name')
                                   if case.get('classname') else '')
        bad = [b for b in case if b.tag in ('failure', 'error')]
        if bad:
            said = bad[0].text or bad[0].get('message')
            # xdist's words, where a process ended in the middle of a test.
            crashed = said.startswith("worker '") and ' crashed ' in said
            (self.crashed if crashed else self.failed)[node] = reason(said)
        elif case.find('skipped') is not None:
            self.skipped += 1
        else:
            self.passed += 1


def reason(said):
    """The lines that say what was wrong."""
    lines = said.rstrip().split('\n')
    return [line for line in lines if line[:2] == 'E '][:8] + lines[-1:]
