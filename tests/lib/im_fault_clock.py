"""im_fault_clock -- one more im-logic in a stack, whose clock can be set.

It runs with Debian's libfaketime, as in tests/e2e/test_clock.py: the time of
day is what a file says, the monotonic clock is the machine's.  It is started
by the true time, because librdkafka waits by functions of the C library that
libfaketime does not know.
"""

import glob
import os
import signal
import subprocess
import tempfile
import time

from im_stack.base import free_port, http_get, not_ready
from im_stack.stack import ports_of_others

from im_wait import pause

LIBRARY = (glob.glob('/usr/lib/*/faketime/libfaketimeMT.so.1') or [''])[0]
READY_S = 30


class Clocked:

    def __init__(self, stack):
        self.dir = tempfile.mkdtemp(prefix='im-clock-')
        self.file = os.path.join(self.dir, 'clock')
        self.set(0)
        argv, env, _ = stack.programs()['logic-1']
        self.health = '127.0.0.1:%d' % free_port(ports_of_others())
        env = dict(os.environ, **env)
        env.update(IM_HEALTH_LISTEN=self.health, LD_PRELOAD=LIBRARY, TZ='UTC',
                   FAKETIME_NO_CACHE='1', FAKETIME_TIMESTAMP_FILE=self.file,
                   FAKETIME_DONT_FAKE_MONOTONIC='1', FAKETIME_DONT_RESET='1')
        with open(stack.log('logic-clock'), 'ab') as log:
            self.process = subprocess.Popen(argv, env=env, stdout=log,
                                            stderr=log,
                                            stdin=subprocess.DEVNULL)
        try:
            self.until(lambda: not not_ready(self.health), 'is not ready')
            self.until(lambda: '"links":0' not in http_get(
                self.health, '/healthz')[1], 'is not used')
        except RuntimeError:
            self.end()
            raise

    def until(self, true, text):
        until = time.monotonic() + READY_S
        while not true():
            if self.process.poll() is not None:
                raise RuntimeError('the im-logic with a clock has ended')
            if time.monotonic() > until:
                raise RuntimeError('the im-logic with a clock %s' % text)
            pause(0.05)

    def set(self, seconds):
        """This far ahead of the real one."""
        with open(self.file + '.new', 'w') as f:
            f.write('%+d\n' % seconds)
        os.rename(self.file + '.new', self.file)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for name in os.listdir(self.dir):
            os.unlink(os.path.join(self.dir, name))
        os.rmdir(self.dir)
