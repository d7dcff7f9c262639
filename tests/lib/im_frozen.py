"""im_frozen -- a process that stands still for a while.

It does so only when it has next been given the processor: until then a worker
of nginx still waits for connections, and one that comes is left to it.
"""

import contextlib
import os
import signal

from im_wait import wait_until


@contextlib.contextmanager
def frozen(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: state(pid) == 'T', '%d does not stop' % pid, 10)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def state(pid):
    """R, S, D, T, ... as ps has it."""
    with open('/proc/%d/stat' % pid) as f:
        return f.read().rsplit(')', 1)[1].split()[0]


def pid_of(instance):
    """<host>-<pid>-<random>"""
    return int(instance.rsplit('-', 2)[1])
