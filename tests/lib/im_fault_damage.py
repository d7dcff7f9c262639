"""im_fault_damage -- what is done to one program of a stack, and when it is
over: the program must have answered again.

Only processes of this stack are touched, each by the pid that its supervisor
(or its parent) names.  Everything here waits, so it runs in a thread.
"""

import contextlib
import math
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

from im_frozen import state
from im_wait import pause
from im_stack.base import not_ready, process_alive, run
from im_stack.stack import Stack

BACK_S = 60            # until a program answers again
FULL_MB = 24           # that a disk has left before it is filled
STALL_S = 3            # of a machine or a disk that was busy
CALM_S = 5             # between two of these


class Damage(Stack):

    def __init__(self, name):
        super().__init__(name)
        self.need()
        self.mounted = {}          # program -> its folder
        self.deadline = math.inf   # nothing is waited for any longer

    # How it is.

    def pid(self, name):
        return self.processes()[name]['pid']

    def workers(self):
        master = self.pid('nginx')
        try:
            with open('/proc/%d/task/%d/children' % (master, master)) as f:
                return [int(p) for p in f.read().split()]
        except OSError:
            return []

    def answers(self, name):
        if name in self.daemons('logic') + self.daemons('task'):
            return not not_ready(self.address(name))
        if name == 'kafka':
            return kafka_answers(self.port('kafka'))
        return getattr(self, name + '_ready')()

    def until_answers(self, *names, seconds=BACK_S):
        """When the last of them did."""
        until = time.monotonic() + seconds
        for name in names:
            while not self.answers(name):
                if time.monotonic() > min(until, self.deadline):
                    raise RuntimeError('%s does not answer' % name)
                pause(0.03)
        return time.monotonic()

    def everything(self):
        return self.selected()

    def ask_mysql(self, sql):
        """[] while it does not answer."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            r = subprocess.run(
                ['mariadb', '--no-defaults', '-N', '-B', '-S',
                 self.sock('mysql'), '-u', 'im', 'im', '-e', sql],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                timeout=30)
            if r.returncode == 0:
                return [s.split('\t') for s in r.stdout.splitlines()]
        return []

    # What is done.

    def signal(self, pid, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def kill(self, *names):
        """kill -9; the supervisor starts them again."""
        pids = {n: self.pid(n) for n in names}
        for pid in pids.values():
            self.signal(pid, signal.SIGKILL)
        self.gone(pids.values())
        return self.until_answers(*names)

    def gone(self, pids, seconds=10):
        until = time.monotonic() + seconds
        while any(map(process_alive, pids)):
            if time.monotonic() > until:
                raise RuntimeError('%s do not end' % list(pids))
            pause(0.01)

    def kill_worker(self, *which):
        """Of the nginx workers; the master starts others."""
        pids = self.workers()
        hit = [pids[n] for n in which or range(len(pids))]
        for pid in hit:
            self.signal(pid, signal.SIGKILL)
        self.gone(hit)
        return self.until_answers('nginx')

    def freeze(self, seconds, *names):
        return self.freeze_pids(seconds, [self.pid(n) for n in names])

    def freeze_worker(self, seconds, which=0):
        return self.freeze_pids(seconds, [self.workers()[which]])

    def freeze_pids(self, seconds, pids):
        try:
            for pid in pids:
                self.signal(pid, signal.SIGSTOP)
            for pid in pids:
                while process_alive(pid) and state(pid) != 'T':
                    pause(0.005)
            pause(seconds)
        finally:
            for pid in pids:
                self.signal(pid, signal.SIGCONT)
        return time.monotonic()

    def stall(self, *names):
        """Twice, with some time to recover in between."""
        self.freeze(STALL_S, *names)
        pause(CALM_S)
        return self.freeze(STALL_S, *names)

    def leave(self, name):
        """SIGTERM: it drains, and is started again."""
        self.switch_off(name, hard=False)
        return self.switch_on(name)

    def away(self, seconds, name):
        """kill -9, and nobody starts it."""
        self.switch_off(name)
        pause(seconds)
        return self.switch_on(name)

    def switch_off(self, name, hard=True):
        pid = self.pid(name)
        with contextlib.suppress(Exception):   # it may have given up
            self.supervisor().stopProcess(name, False)
        if pid:
            if hard:
                self.signal(pid, signal.SIGKILL)
            self.gone([pid], 20)
        until = time.monotonic() + 10
        while self.processes()[name]['statename'] not in (
                'STOPPED', 'EXITED', 'FATAL') and time.monotonic() < until:
            pause(0.02)

    def switch_on(self, name):
        with contextlib.suppress(Exception):   # it may have started already
            self.supervisor().startProcess(name, False)
        return self.until_answers(name)

    def reload(self, times=1, apart=2):
        for n in range(times):
            if n:
                pause(apart)
            self.signal(self.pid('nginx'), signal.SIGHUP)
        pause(0.2)
        return self.until_answers('nginx')

    def flush_redis(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(self.sock('redis'))
            s.sendall(b'FLUSHALL\r\n')
            if not s.recv(64).startswith(b'+OK'):
                raise RuntimeError('Redis does not forget')
        return time.monotonic()

    def wipe_etcd(self):
        """It comes back and knows nothing."""
        self.switch_off('etcd')
        shutil.rmtree(self.path('data', 'etcd'), ignore_errors=True)
        return self.switch_on('etcd')

    # Disks.

    def small_disk(self, name):
        """The data of this program on a tmpfs with little room.  A sentence
        if that is not possible here."""
        at = self.path('data', name)
        self.switch_off(name, hard=False)
        used = int(run(['du', '-sm', at], 30)[1].split()[0])
        copy = at + '.full'
        shutil.rmtree(copy, ignore_errors=True)
        os.rename(at, copy)
        os.mkdir(at, 0o700)
        code, out = run(['mount', '-t', 'tmpfs', '-o', 'size=%dm,mode=0700' % (
            used + FULL_MB), 'im-full', at], 10)
        if code != 0:
            os.rmdir(at)
            os.rename(copy, at)
            self.switch_on(name)
            return 'no tmpfs can be mounted: %s' % out.strip()
        self.mounted[name] = at
        shutil.copytree(copy, at, dirs_exist_ok=True)
        shutil.rmtree(copy)
        self.switch_on(name)
        return ''

    def fill_disk(self, name, seconds):
        filler = os.path.join(self.mounted[name], 'filler')
        with open(filler, 'wb') as f:
            with contextlib.suppress(OSError):
                while True:
                    f.write(bytes(65536))
                    f.flush()
        pause(seconds)
        os.unlink(filler)
        if self.processes()[name]['statename'] != 'RUNNING':
            self.switch_off(name)
            return self.switch_on(name)
        return self.until_answers(name)

    def large_disk(self, name):
        """Back to where its data was."""
        at = self.mounted.pop(name, None)
        if at is None:
            return
        self.switch_off(name, hard=False)
        copy = at + '.full'
        shutil.copytree(at, copy, dirs_exist_ok=True)
        code, out = run(['umount', at], 10)
        if code != 0:
            raise RuntimeError('umount %s: %s' % (at, out))
        os.rmdir(at)
        os.rename(copy, at)
        self.switch_on(name)


def kafka_answers(port):
    """ApiVersions, version 0: the broker answers it when it serves."""
    ask = struct.pack('>hhih', 18, 0, 1, -1)
    with socket.socket() as s:
        s.settimeout(1)
        try:
            s.connect(('127.0.0.1', port))
            s.sendall(struct.pack('>i', len(ask)) + ask)
            return len(s.recv(64)) > 8
        except OSError:
            return False
