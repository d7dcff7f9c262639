"""waits -- a test waits for an event, not for a time.

No file of tests/ sleeps but two helpers, which have a deadline for each event
and a name for each other reason.  A pause that is hidden in a test makes it
slow on a good machine and flaky on a busy one.
"""

import os
import re

PYTHON, C = 'tests/lib/im_wait.py', 'tests/lib/unit_wait.h'
# time.sleep(1), asyncio.sleep(1), `from time import sleep`, usleep(1)
SLEEP = re.compile(r'\b(u|nano)?sleep\s*\('
                   r'|^\s*from (time|asyncio) import .*\bsleep\b')


def check(top):
    errors = []
    for folder, _, names in sorted(os.walk(os.path.join(top, 'tests'))):
        for name in sorted(names):
            path = os.path.join(folder, name)
            file = os.path.relpath(path, top)
            helper = C if path.endswith(('.c', '.h')) else PYTHON
            if file != helper and is_source(path):
                errors += ['%s:%d: a test sleeps; %s has what waits' % (
                    file, n, helper) for n in sleeps(path)]
    return errors


def is_source(path):
    if path.endswith(('.py', '.c', '.h')):
        return True
    with open(path, 'rb') as f:
        return f.readline().rstrip().endswith(b'/python3')


def sleeps(path):
    """Numbers of the lines that do."""
    with open(path, encoding='utf-8') as f:
        return [n for n, line in enumerate(f, 1) if SLEEP.search(line)]
