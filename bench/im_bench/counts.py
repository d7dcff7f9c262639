"""counts -- what a process does for a message: context switches, system calls,
allocations, and where its time goes.

A watch is begun and ended with the measured window of a load (load.py), and
stopped in any case.  System calls are counted in the kernel by perf; where it
may not, by strace, which slows what it looks at and so looks only for a
moment.
"""

import collections
import contextlib
import os
import re
import shutil
import signal
import struct
import subprocess
import time

from .machine import TOP, Problem, family

CALLS = ('read write readv writev pread64 pwrite64 recvfrom sendto recvmsg '
         'sendmsg epoll_wait epoll_pwait epoll_pwait2 epoll_ctl poll ppoll '
         'futex fsync fdatasync clock_nanosleep nanosleep accept4 close mmap '
         'munmap madvise mprotect sendfile64 sched_yield select').split()
ALL = 'raw_syscalls:sys_enter'
STRACE_S = 3
SLOTS, SLOT = 64, struct.Struct('<3Q40x')      # as count_alloc.c has them


def pids_of(roots):
    """name -> pids, children included."""
    return {name: sorted(pids) for name, pids in family(roots).items()}


def end(processes):
    for p in processes:
        with contextlib.suppress(OSError):
            p.send_signal(signal.SIGINT)
    for p in processes:
        try:
            p.wait(30)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


# Context switches.

def switches(pids):
    """(voluntary, involuntary) of all threads that live."""
    total = [0, 0]
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in os.listdir('/proc/%d/task' % pid):
                with contextlib.suppress(OSError), \
                        open('/proc/%d/task/%s/status' % (pid, thread)) as f:
                    for line in f:
                        if line.startswith('voluntary_ctxt'):
                            total[0] += int(line.split()[1])
                        elif line.startswith('nonvoluntary_ctxt'):
                            total[1] += int(line.split()[1])
    return tuple(total)


class Switches:

    def begin(self, roots):
        self.pids = pids_of(roots)
        self.before = {n: switches(p) for n, p in self.pids.items()}

    def end(self):
        self.result = {}
        for name, pids in self.pids.items():
            now = switches(pids)
            self.result[name] = {
                'voluntary': now[0] - self.before[name][0],
                'involuntary': now[1] - self.before[name][1]}

    def stop(self):
        pass


# System calls.

def perf_can(event):
    """'' or why perf cannot count it."""
    if not shutil.which('perf'):
        return 'perf is not installed (tools/deps profile)'
    try:
        r = subprocess.run(['perf', 'stat', '-x', ',', '-e', event, 'true'],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if r.returncode != 0 or not parse_stat(r.stdout.splitlines()):
        return 'perf may not: ' + ' '.join(r.stdout.split())[:200]
    return ''


def known_calls():
    """Those of CALLS that the kernel can count."""
    r = subprocess.run(['perf', 'list', 'syscalls:sys_enter_*'],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, text=True, timeout=60,
                       check=False)
    return [c for c in CALLS
            if re.search(r'syscalls:sys_enter_%s\b' % c, r.stdout)]


def parse_stat(lines):
    """{event: count} of `perf stat -x ,`."""
    found = {}
    for line in lines:
        w = line.split(',')
        if len(w) > 3 and re.fullmatch(r'[\d.]+', w[0]):
            found[w[2].replace('syscalls:sys_enter_', '')] = float(w[0])
    return found


def parse_strace(lines):
    """{call: count} of `strace -c`."""
    found = {}
    for line in lines:
        w = line.split()
        if len(w) >= 5 and re.fullmatch(r'[\d.]+', w[0]) and w[3].isdigit() \
                and w[-1] != 'total':
            found[w[-1]] = int(w[3])
    return found


def calls(counted):
    """{call: count} by number, with the rest as one."""
    found = {k: v for k, v in counted.items() if v and k != ALL}
    if ALL in counted:
        rest = counted[ALL] - sum(found.values())
        if rest > 0:
            found['others'] = rest
    return dict(sorted(found.items(), key=lambda kv: -kv[1]))


class PerfCalls:
    """By perf, for the whole window."""

    def __init__(self, out):
        self.out = out
        self.running = []
        self.events = ','.join([ALL] + ['syscalls:sys_enter_' + c
                                        for c in known_calls()])

    def begin(self, roots):
        self.files = {}
        for name, pids in pids_of(roots).items():
            if pids:
                path = os.path.join(self.out, 'calls.' + name)
                self.files[name] = path
                self.running.append(subprocess.Popen(
                    ['perf', 'stat', '-x', ',', '-o', path, '-e', self.events,
                     '-p', ','.join(map(str, pids))],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL))

    def end(self):
        self.stop()
        self.result = {}
        for name, path in self.files.items():
            with contextlib.suppress(OSError):
                with open(path) as f:
                    self.result[name] = calls(parse_stat(f))
                os.unlink(path)

    def stop(self):
        end(self.running)
        self.running = []


class StraceCalls:
    """By strace, for STRACE_S of the window; scaled to all of it."""

    def __init__(self, out):
        self.out = out
        self.running = []

    def begin(self, roots):
        self.files = {}
        self.began = time.monotonic()
        for name, pids in pids_of(roots).items():
            path = os.path.join(self.out, 'calls.' + name)
            self.files[name] = path
            self.running.append(subprocess.Popen(
                ['strace', '-c', '-f', '-q', '-o', path,
                 *(w for p in pids for w in ('-p', str(p)))],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL))
        time.sleep(STRACE_S)
        self.watched = time.monotonic() - self.began
        self.stop()

    def end(self):
        part = self.watched / (time.monotonic() - self.began)
        self.result = {}
        for name, path in self.files.items():
            with contextlib.suppress(OSError):
                with open(path) as f:
                    self.result[name] = {
                        k: round(v / part) for k, v in
                        calls(parse_strace(f)).items()}
                os.unlink(path)

    def stop(self):
        end(self.running)
        self.running = []


def watch_calls(out):
    """(watch or None, a sentence about how it counts)."""
    why = perf_can(ALL)
    if not why:
        return PerfCalls(out), 'system calls are counted by perf'
    if shutil.which('strace'):
        return StraceCalls(out), ('%s; system calls are counted by strace for '
                                  '%d s, which slows them' % (why, STRACE_S))
    return None, '%s; strace is not there either' % why


# Samples.

class Samples:
    """perf record, with the stacks of kernel and user."""

    def __init__(self, out, hertz, stack_bytes):
        self.data = os.path.join(out, 'perf.data')
        self.hertz, self.stack_bytes = hertz, stack_bytes
        self.process = None

    def begin(self, roots):
        self.pids = pids_of(roots)
        everyone = [str(p) for pids in self.pids.values() for p in pids]
        self.process = subprocess.Popen(
            ['perf', 'record', '-q', '-o', self.data, '-e', 'cpu-clock',
             '-F', str(self.hertz), '--call-graph',
             'dwarf,%d' % self.stack_bytes, '-p', ','.join(everyone)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)

    def end(self):
        self.stop()

    def stop(self):
        if self.process:
            end([self.process])
            self.process = None

    def script(self, seconds=600):
        """The samples as text, line by line."""
        path = self.data + '.txt'
        with open(path, 'w') as f:
            try:
                r = subprocess.run(
                    ['perf', 'script', '-i', self.data, '--no-inline',
                     '-F', 'comm,pid,tid,ip,sym,dso'],
                    stdin=subprocess.DEVNULL, stdout=f,
                    stderr=subprocess.PIPE, text=True, timeout=seconds)
            except subprocess.TimeoutExpired:
                raise Problem('perf script: no end') from None
        if r.returncode != 0:
            raise Problem('perf script: ' + r.stderr[-500:])
        with open(path, errors='replace') as f:
            yield from f
        os.unlink(path)


# Allocations.

def allocations(path):
    """(allocations, frees, bytes) of one process, or None."""
    try:
        with open(path, 'rb') as f:
            data = f.read(SLOTS * SLOT.size)
    except OSError:
        return None
    if len(data) < SLOTS * SLOT.size:
        return None
    return tuple(map(sum, zip(*SLOT.iter_unpack(data))))


class Allocations:
    """Of processes that have build/im-count-alloc.so in them."""

    def __init__(self, out, build):
        self.folder = os.path.join(out, 'alloc')
        library = os.path.join(TOP, build, 'im-count-alloc.so')
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.env = {'LD_PRELOAD': library, 'IM_COUNT_DIR': self.folder}

    def look(self):
        found = collections.defaultdict(list)
        for name, pids in self.pids.items():
            for pid in pids:
                a = allocations(os.path.join(self.folder, str(pid)))
                if a:
                    found[name].append(a)
        return {n: tuple(map(sum, zip(*a))) for n, a in found.items()}

    def begin(self, roots):
        self.pids = pids_of(roots)
        self.before = self.look()

    def end(self):
        # A program that asked for nothing at all has no malloc: Go's.
        self.result = {
            name: dict(zip(('allocations', 'frees', 'bytes'),
                           (b - a for a, b in zip(self.before[name], now))))
            for name, now in self.look().items()
            if name in self.before and now[0]}

    def stop(self):
        shutil.rmtree(self.folder, ignore_errors=True)
