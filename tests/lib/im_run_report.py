"""im_run_report -- what the parts of tests/run have found: counted, shown where
it happens, and named again at the end.

A test that fails is a Suspect first: im_run_again.py runs it once more, and
only then it is a failure or flaky.
"""

import os
import re
import sys
import threading

NAMED = 30                         # failures, or lines, at the end
FLAKY_MAX = 2                      # more of them are a failure
LINE_MAX = 300


class Suspect:
    """A test that failed, and how to run it again."""

    def __init__(self, name, bad, failed, again):
        self.name = name
        self.bad = bad             # [(test, lines of what was wrong)]
        self.failed = failed       # failures that it was counted as
        self.again = again         # (seconds that it may take) -> has passed

    def reason(self):
        # Without the marks of pytest and of TAP.
        lines = [re.sub(r'^(E|#)\s+', '', line.strip())
                 for _, lines in self.bad for line in lines]
        return next((line for line in lines if line), 'no reason known')


class Report:

    def __init__(self, top, out):
        self.top = top
        self.out = out             # folder of logs
        self.passed = self.failed = 0
        self.bad = []              # (test, lines of what was wrong)
        self.flaky = []            # (test, reason)
        self.suspects = []
        self.lock = threading.Lock()       # parts run beside each other

    def say(self, text):
        print(text, flush=True)

    def count(self, part, passed, failed, skipped=0):
        with self.lock:
            self.passed += passed
            self.failed += failed
        self.say('%s: %d passed, %d failed%s' % (
            part, passed, failed,
            ', %d skipped' % skipped if skipped else ''))

    def blame(self, test, lines):
        self.bad.append((test, lines))

    def flake(self, test, reason):
        self.flaky.append((test, reason))
        self.say('flaky: %s (%s)' % (test, reason[:LINE_MAX]))

    def show(self, log, lines=60):
        """Of a log, what failed in it, else its end."""
        text = read(log)
        bad = [n for n, line in enumerate(text)
               if line.startswith('not ok') or 'ERROR:' in line]
        self.say('---- %s' % os.path.relpath(log, self.top))
        for n in bad[:10]:
            sys.stdout.write(''.join(text[n:n + 6]))
        sys.stdout.write(''.join(text[-12:] if bad else text[-lines:]))
        self.say('----')

    def close(self):
        """All that failed, for who sees the end only; the exit code."""
        if len(self.flaky) > FLAKY_MAX:
            self.failed += len(self.flaky)
            self.blame('%d tests were flaky, at most %d may be'
                       % (len(self.flaky), FLAKY_MAX),
                       ['%s (%s)' % f for f in self.flaky])
        text = ''
        each = max(1, NAMED // max(1, len(self.bad)) - 1)
        for test, lines in self.bad[:NAMED]:
            text += '\n    '.join(['FAILED %s' % test, *(
                line.rstrip()[:LINE_MAX] for line in lines[:each])]) + '\n'
        if len(self.bad) > NAMED:
            text += 'FAILED and %d more\n' % (len(self.bad) - NAMED)
        with open(os.path.join(self.out, 'failed'), 'w') as f:
            f.write(text)
        for test, reason in self.flaky:
            text += 'flaky: %s (%s)\n' % (test, reason[:LINE_MAX])
        if self.flaky:
            text += 'flaky: %d\n' % len(self.flaky)
        if text:
            self.say(text.rstrip())
        self.say('%d passed, %d failed' % (self.passed, self.failed))
        return 0 if self.passed and not self.failed else 1


def read(log):
    try:
        with open(log, errors='replace') as f:
            return f.readlines()
    except OSError as e:
        return [str(e) + '\n']


def tap(log):
    """(ok, not ok, skipped) in a log; a TODO that fails is no failure."""
    ok = bad = skipped = 0
    for line in read(log):
        m = re.match(r'(not )?ok \d+(.*)', line)
        if m is None:
            continue
        if re.search(r'#\s*skip', m.group(2), re.I):
            skipped += 1
        elif m.group(1) and not re.search(r'#\s*TODO', m.group(2)):
            bad += 1
        else:
            ok += 1
    return ok, bad, skipped


def tap_failures(part, log):
    """[(test, lines)] of a log in TAP, or its end if it names none."""
    found, said = [], None
    lines = read(log)
    for line in lines:
        m = re.match(r'not ok \d+ (?:- )?(.*)', line)
        if m and not re.search(r'#\s*(TODO|skip)', line, re.I):
            said = []
            found.append(('%s: %s' % (part, m.group(1)), said))
        elif line.strip() and not line.startswith('#'):
            said = None
        elif said is not None and line.strip() and len(said) < 8:
            said.append(line)
    return found or [(part, lines[-8:])]
