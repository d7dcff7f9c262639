"""im_fault_kinds -- the faults of the campaign, and their limits.

A limit is what is promised, not what was measured.  `silence` and `push` are
seconds (im_fault_figures.py); where a program that everything passes through
is away, they count on top of the time for which it was away, because nothing
can be acked, or shown, without it.  Recovery after the end of a fault is
limited to RECOVERY_S for each of them.

A connection ends only by what is done to nginx (`cuts`): whatever else fails,
each device stays connected.
"""

import random
import time

from im_fault_clock import LIBRARY, Clocked
from im_fault_damage import STALL_S
from im_wait import pause

RECOVERY_S = 5
FREEZE_S = 15
AWAY_S = 17
SHORT_S = 5            # of both, in the selection
MIX_S = 30
STOPS = ('kafka', 'redis')         # nothing passes without them


class Fault:

    def __init__(self, name, text, act, silence, push, outage=False,
                 before=None, after=None, cuts=False):
        self.name = name
        self.text = text
        self.act = act             # (damage, seconds) -> when it was over
        self.silence = silence
        self.push = push
        self.outage = outage
        self.before = before       # (damage) -> why it cannot be, or nothing
        self.after = after
        self.cuts = cuts           # may end connections

    def limits(self, outage):
        """Of the figures, in their order."""
        more = outage if self.outage else 0
        return (self.silence + more, self.push + more, RECOVERY_S,
                RECOVERY_S)


class Clock:
    """The steps of one more im-logic's clock."""

    def __init__(self, *steps):
        self.steps = steps

    def before(self, d):
        if not LIBRARY:
            return 'there is no libfaketime'
        self.logic = Clocked(d)
        return ''

    def act(self, d, _):
        for seconds in self.steps:
            self.logic.set(seconds)
            pause(4)
        self.logic.set(0)
        return time.monotonic()

    def after(self, d):
        if hasattr(self, 'logic'):
            self.logic.end()


def everything(d, _):
    d.kill_worker()
    return d.kill(*[n for n in d.everything() if n != 'nginx'])


class Mix:
    """One after another, or two at a time; what and when follows from the
    seed, which is printed."""

    def __init__(self, at_once):
        self.at_once = at_once

    def act(self, d, seed):
        rng = random.Random(seed)
        until = time.monotonic() + MIX_S
        end = 0
        while time.monotonic() < until:
            pause(rng.uniform(0.2, 2))
            for what in rng.sample(self.choices(d), self.at_once):
                end = max(end, self.one(d, rng, *what) or 0)
        return max(end, d.until_answers(*d.everything()))

    def choices(self, d):
        names = [n for n in d.everything() if n != 'nginx']
        return ([('kill', n) for n in names] + [('freeze', n) for n in names]
                + [('worker',), ('reload',), ('flush',)])

    def one(self, d, rng, kind, name=None):
        print('      %s %s' % (kind, name or ''), flush=True)
        if kind == 'kill' and self.at_once == 1:
            return d.kill(name)
        if kind == 'kill':
            d.signal(d.pid(name), 9)       # the next one comes meanwhile
        elif kind == 'freeze' and d.pid(name):
            return d.freeze(rng.uniform(0.5, 4), name)
        elif kind == 'worker':
            return d.kill_worker(0)
        elif kind == 'reload':
            return d.reload()
        elif kind == 'flush' and d.answers('redis'):
            return d.flush_redis()
        return None


def faults():
    """All, in the order in which they are run."""
    out = [Fault('calm', 'nothing happens',
                 lambda d, s: pause(2) or time.monotonic(), 1, 1)]

    def add(*args, **kw):
        out.append(Fault(*args, **kw))

    # One of two: the other one takes over.
    add('kill-logic', 'kill -9 of an im-logic',
        lambda d, s: d.kill('logic-1'), 2, 2)
    add('freeze-logic', 'SIGSTOP of an im-logic',
        lambda d, s: d.freeze(s, 'logic-1'), 3, 3)
    add('leave-logic', 'SIGTERM of an im-logic',
        lambda d, s: d.leave('logic-1'), 2, 2)
    add('kill-task', 'kill -9 of an im-task',
        lambda d, s: d.kill('task-1'), 1, 3)
    add('freeze-task', 'SIGSTOP of an im-task',
        lambda d, s: d.freeze(s, 'task-1'), 1, 3)
    add('leave-task', 'SIGTERM of an im-task',
        lambda d, s: d.leave('task-1'), 1, 2)
    add('kill-worker', 'kill -9 of an nginx worker',
        lambda d, s: d.kill_worker(0), 3, 3, cuts=True)
    # Who is connected to it notices nothing but the silence, and waits 30 s
    # for a pong: these devices wait as long as it is frozen.
    add('freeze-worker', 'SIGSTOP of an nginx worker',
        lambda d, s: d.freeze_worker(s), 3, 3, outage=True, cuts=True)
    add('reload', 'nginx -s reload, three times',
        lambda d, s: d.reload(3), 3, 3, cuts=True)

    # Sends and displays go on without these.
    for name, title in (('etcd', 'etcd'), ('mysql', 'MariaDB')):
        add('kill-' + name, 'kill -9 of ' + title,
            lambda d, s, n=name: d.kill(n), 2, 2)
        add('freeze-' + name, 'SIGSTOP of ' + title,
            lambda d, s, n=name: d.freeze(s, n), 2, 2)
        add('away-' + name, title + ' is away',
            lambda d, s, n=name: d.away(s + 2, n), 2, 2)
    add('wipe-etcd', 'etcd loses its data', lambda d, s: d.wipe_etcd(), 2, 2)

    # Nothing goes on without these.
    for name, title in (('kafka', 'Kafka'), ('redis', 'Redis')):
        add('kill-' + name, 'kill -9 of ' + title,
            lambda d, s, n=name: d.kill(n), 5, 5, outage=True)
        add('freeze-' + name, 'SIGSTOP of ' + title,
            lambda d, s, n=name: d.freeze(s, n), 5, 5, outage=True)
        add('away-' + name, title + ' is away',
            lambda d, s, n=name: d.away(s + 2, n), 5, 5, outage=True)

    for name in ('kafka', 'redis', 'mysql', 'etcd'):
        add('full-' + name, 'no room on the disk of ' + name,
            lambda d, s, n=name: d.fill_disk(n, min(s, 8)),
            *((5, 5) if name in STOPS else (2, 2)), outage=name in STOPS,
            before=lambda d, n=name: d.small_disk(n),
            after=lambda d, n=name: d.large_disk(n))

    for name, text, steps in (
            ('clock-back', "an im-logic's clock goes an hour back", (-3600,)),
            ('clock-ahead', "an im-logic's clock goes an hour ahead, and back",
             (3600,))):
        c = Clock(*steps)
        add(name, text, c.act, 4, 4, before=c.before, after=c.after)

    add('flush-redis', 'FLUSHALL', lambda d, s: d.flush_redis(), 2, 2)
    add('everything', 'kill -9 of everything at once', everything, 5, 5,
        outage=True, cuts=True)
    add('mix-1', 'kills, freezes, reloads and FLUSHALL by chance',
        Mix(1).act, 5, 5, outage=True, cuts=True)
    add('mix-2', 'the same, two at a time', Mix(2).act, 5, 5, outage=True,
        cuts=True)
    # Longer than a session of a consumer group: the second time must cost no
    # rebalance.  They come last, because sessions are longer for minutes then.
    add('stall-task', 'SIGSTOP of all im-task for 3 s, twice',
        lambda d, s: d.stall(*d.daemons('task')), 1, STALL_S + 3)
    add('stall-kafka', 'SIGSTOP of Kafka for 3 s, twice',
        lambda d, s: d.stall('kafka'), STALL_S + 3, STALL_S + 3)
    return out


# Of make test: what two minutes allow, each program and each kind once.
SELECTION = (
    'kill-logic', 'freeze-logic', 'leave-logic', 'kill-task', 'kill-worker',
    'reload', 'away-etcd', 'wipe-etcd', 'kill-kafka', 'freeze-redis',
    'flush-redis', 'freeze-mysql')
