"""im_faults -- what happens to a stack while people talk.

    kill     kill -9 of a Logic, a Task or an nginx worker
    freeze   SIGSTOP of a Logic or a Task for some seconds
    reload   nginx -s reload
    redis    kill -9, and it starts again;  kafka, mysql, etcd: likewise

Each is over before the next one begins: everything runs again.  What is chosen
and when follows from the seed.
"""

import contextlib
import os
import random
import signal
import threading
import time

from im_stack.stack import Stack

from im_wait import pause

KINDS = ('kill', 'freeze', 'reload', 'redis', 'kafka', 'mysql', 'etcd')
PAUSE_S = (1.0, 4.0)       # between one and the next
BACK_S = 40                # until what was killed runs again


class Faults:
    """A thread that does damage between start() and stop()."""

    def __init__(self, name, kinds, seed, pause=PAUSE_S):
        self.stack = Stack(name)
        self.stack.need()
        self.kinds = kinds
        self.pause = pause
        self.rng = random.Random(seed)
        self.order = []            # each kind once, then again
        self.done = []             # (seconds since the start, what)
        self.problem = None
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.began = time.monotonic()

    def start(self):
        self.thread.start()

    def stop(self):
        self.ending.set()
        self.thread.join(BACK_S + 10)

    def run(self):
        try:
            while not self.ending.wait(self.rng.uniform(*self.pause)):
                self.order = self.order or self.targets()
                kind, target = self.order.pop()
                self.done.append((time.monotonic() - self.began,
                                  '%s %s' % (kind, target)))
                getattr(self, kind)(target)
        except Exception as e:     # told by whoever called stop()
            self.problem = e

    def targets(self):
        """Everything that can be hit, in an order by chance."""
        daemons = [n for n in self.stack.processes()
                   if n.startswith(('logic', 'task'))]
        out = []
        for kind in self.kinds:
            if kind == 'kill':
                out += [('kill', n) for n in daemons + ['worker']]
            elif kind == 'freeze':
                out += [('freeze', n) for n in daemons]
            elif kind == 'reload':
                out.append(('reload', 'nginx'))
            else:
                out.append(('kill', kind))
        self.rng.shuffle(out)
        return out

    def pid(self, name):
        return self.stack.processes()[name]['pid']

    def workers(self):
        master = self.pid('nginx')
        with open('/proc/%d/task/%d/children' % (master, master)) as f:
            return [int(p) for p in f.read().split()]

    def kill(self, name):
        if name == 'worker':
            workers = self.workers()
            if workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.rng.choice(workers), signal.SIGKILL)
            return
        pid = self.pid(name)
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + BACK_S
        while self.pid(name) in (0, pid):
            if time.monotonic() > until:
                raise RuntimeError('%s has not come back' % name)
            pause(0.1)

    def freeze(self, name):
        pid = self.pid(name)
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        try:
            self.ending.wait(self.rng.uniform(0.5, 4))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def reload(self, name):
        os.kill(self.pid(name), signal.SIGHUP)
