"""machine -- processes, their CPU and memory, as /proc has them."""

import contextlib
import os
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
PYTHON = '/usr/bin/python3'
TICKS = os.sysconf('SC_CLK_TCK')


class Problem(Exception):
    """The benchmark cannot be run; the text is for people."""


def say(text=''):
    print(text, flush=True)


def stat(pid):
    """(parent, CPU in ticks with that of its dead children) of a process."""
    with open('/proc/%s/stat' % pid) as f:
        w = f.read().rsplit(')', 1)[1].split()
    return int(w[1]), sum(int(n) for n in w[11:15])


def family(roots):
    """name -> {pid: ticks}, of the named processes and all below them."""
    everyone = {}
    for pid in filter(str.isdigit, os.listdir('/proc')):
        with contextlib.suppress(OSError):
            everyone[int(pid)] = stat(pid)
    names = {pid: name for name, pids in roots.items() for pid in pids}
    found = {name: {} for name in roots}
    for pid, (_, ticks) in everyone.items():
        p = pid
        while p not in names and p in everyone:
            p = everyone[p][0]
        if p in names:
            found[names[p]][pid] = ticks
    return found


def machine_busy():
    """(busy, all) ticks of all cores."""
    with open('/proc/stat') as f:
        w = [int(n) for n in f.readline().split()[1:9]]
    return sum(w) - w[3] - w[4], sum(w)


def machine():
    model = ''
    with open('/proc/cpuinfo') as f:
        for line in f:
            if line.startswith('model name'):
                model = line.split(':', 1)[1].strip()
                break
    with open('/proc/meminfo') as f:
        memory_kb = int(f.readline().split()[1])
    return {'cores': os.cpu_count(), 'cpu': model,
            'kernel': os.uname().release, 'memory_mb': memory_kb // 1024,
            'time': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}


def memory(pids):
    """Sums of Rss, Pss and private memory, in bytes."""
    total = {'rss': 0, 'pss': 0, 'private': 0}
    for pid in pids:
        with open('/proc/%d/smaps_rollup' % pid) as f:
            for line in f:
                w = line.split()
                key = {'Rss:': 'rss', 'Pss:': 'pss', 'Private_Clean:':
                       'private', 'Private_Dirty:': 'private'}.get(w[0])
                if key:
                    total[key] += int(w[1]) * 1024
    return total


class Sample:
    """CPU of everything at one moment."""

    def __init__(self, roots):
        self.time = time.monotonic()
        self.cpu = family(roots)
        self.busy, self.all = machine_busy()

    def until(self, end):
        """us of CPU by name, between this sample and a later one.

        A child that has ended meanwhile is in its parent's ticks then."""
        return {name: (sum(end.cpu[name].values())
                       - sum(ticks.values())) * 1e6 / TICKS
                for name, ticks in self.cpu.items()}

    def cores_busy(self, end):
        """Of the whole machine, whoever it was."""
        return (end.busy - self.busy) / TICKS / (end.time - self.time)
