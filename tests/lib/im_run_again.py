"""im_run_again -- a test that failed gets one more try, alone.

A suite of thousands of tests that wait for real programs fails now and then
because the machine was slow for a moment.  Such a failure is not hidden: a
test that passes the second time is `flaky`, is named, and more than two of
them fail the run (im_run_report.FLAKY_MAX).  Rejected: to try until it passes,
or to try more than a few; if many tests fail, the change is wrong and trying
again only takes time.  What a sanitizer has reported is no matter of chance
and is never tried again.
"""

import time

MOST = 6                           # tests that are run again
SECONDS = 300                      # for all of them


def run_again(report, seconds=SECONDS, clock=time.monotonic):
    """Decides about all suspects of the report."""
    suspects, report.suspects = report.suspects, []
    if len(suspects) > MOST:
        report.say('%d tests failed: too many for chance, none runs again'
                   % len(suspects))
    until = clock() + seconds
    for s in suspects:
        if len(suspects) <= MOST and one_again(report, s, until - clock()):
            report.failed -= s.failed
            report.flake(s.name, s.reason())
        else:
            report.bad += s.bad


def one_again(report, suspect, left):
    if left <= 0:
        report.say('%s: no time is left to run it again' % suspect.name)
        return False
    report.say('%s: once more, alone' % suspect.name)
    if suspect.again(left):
        return True
    report.say('%s: failed again' % suspect.name)
    return False
