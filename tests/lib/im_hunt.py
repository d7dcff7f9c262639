"""im_hunt -- many people talk, things may break, and the history is checked.

Makes users, starts processes of im_traffic.py, does damage if it is asked to
(im_faults.py), waits for the last row, collects what everybody saw and gives
it to im_checker.py.  All that is chosen by chance follows from the seed; what
the machine makes of it does not, so a seed repeats a plan, not a run.
"""

import asyncio
import collections
import itertools
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import time

from im_checker import Report, check
from im_client import Api, Problem, User
from im_events import Event
from im_wait import pace, pause

HERE = os.path.dirname(os.path.abspath(__file__))
PASSWORD = 'correct horse battery'
REGISTER_AT_ONCE = 8
STORE_WAIT_S = 60
PUSH_WAIT_S = 4        # of Kafka's session time-out, when a Task has died


class Plan:

    def __init__(self, messages, users, talks, seed, rate=4000, processes=2,
                 faults=(), limit_s=600, pause=None, groups=None):
        self.messages = messages
        self.users = users
        self.talks = talks
        self.seed = seed
        self.rate = rate
        self.processes = processes
        self.faults = faults
        self.limit_s = limit_s
        self.pause = pause
        self.groups = users // 10 if groups is None else groups
        self.rng = random.Random(seed)

    def others(self, uids):
        """uid -> whom it talks to: a ring, so that nobody is alone, one in
        twenty to himself, and pairs by chance up to the number of talks."""
        pairs = {tuple(sorted((a, b))) for a, b in
                 zip(uids, uids[1:] + uids[:1])}
        pairs |= {(u, u) for u in self.rng.sample(uids, len(uids) // 20)}
        most = len(uids) * (len(uids) - 1) // 2
        while len(pairs) < min(self.talks, most):
            pairs.add(tuple(sorted(self.rng.sample(uids, 2))))
        out = collections.defaultdict(list)
        for a, b in sorted(pairs):
            out[a].append(b)
            if a != b:
                out[b].append(a)
        return out


    def members(self, users):
        """Lists of (uid, name), the owner first: 3 to 30 of them, and one
        group of all, or of 200."""
        sizes = [self.rng.randint(3, min(30, len(users)))
                 for _ in range(self.groups - 1)]
        sizes += [min(200, len(users))] * (self.groups > 0)
        return [self.rng.sample(users, n) for n in sizes]


async def patiently(call, tries=100):
    """What was before us may still be coming back."""
    while True:
        tries -= 1
        try:
            return await call()
        except Problem as e:
            if not e.body.get('retryable') or not tries:
                raise
        await pace(0.1)


async def make_groups(http, plan, users, say):
    """(0, room) -> uids of its members."""
    groups = {}
    async with Api(http) as api:
        for members in plan.members(users):
            owner = await patiently(
                User(api, *members[0], PASSWORD).log_in)
            r = await patiently(lambda: api.call(
                'POST', '/v1/rooms', owner.token, json={
                    'kind': 'group', 'name': 'hunt', 'members': [
                        str(uid) for uid, _ in members[1:]]}))
            groups[0, int(r['room'])] = {uid for uid, _ in members}
    say('%d groups' % len(groups))
    return groups


async def register(http, plan, say):
    """[(uid, name)] of new users; each costs the server 20 ms of a core."""
    mark = 'c%s' % os.urandom(4).hex()
    at_once = asyncio.Semaphore(REGISTER_AT_ONCE)

    async def one(api, n):
        tries = itertools.count()

        async def named():
            # Another name each time: one that timed out may be taken.
            name = '%s.%d.%d' % (mark, n, next(tries))
            return (await api.register(name, PASSWORD)).uid, name

        async with at_once:
            return await patiently(named)

    async with Api(http) as api:
        users = await asyncio.gather(*(one(api, n)
                                       for n in range(plan.users)))
    say('%d users are registered' % len(users))
    return users


class Hunt:

    def __init__(self, env, plan, say=print):
        self.env = env
        self.plan = plan
        self.say = say
        self.troubles = []         # sentences of the traffic processes
        self.faults = None
        self.calm_at = None        # when the last fault was over

    def run(self):
        """The checker's Report."""
        users = asyncio.run(register(self.env['IM_HTTP'], self.plan,
                                     self.say))
        self.groups = asyncio.run(make_groups(self.env['IM_HTTP'], self.plan,
                                              users, self.say))
        self.until = time.monotonic() + self.plan.limit_s
        with tempfile.TemporaryDirectory(prefix='im-hunt-') as at:
            try:
                self.start(at, users)
                self.wait('ready')
                self.say('everybody is connected; %d messages, seed %s' % (
                    self.plan.messages, self.plan.seed))
                self.damage()
                acked = sum(map(int, self.wait('sent')))
                self.calm()
                self.say('%d messages have their acks' % acked)
                self.wait_for_store(acked)
                self.finish()
            finally:
                self.calm()
                self.stop()
            return self.judge()

    # Processes.

    def start(self, at, users):
        others = self.plan.others([uid for uid, _ in users])
        for group, members in self.groups.items():
            for uid in members:
                others[uid].append(group)
        two = set(self.plan.rng.sample([u for u, _ in users],
                                       max(len(users) // 10, 1)))
        self.uids = [uid for uid, _ in users]
        self.processes, self.outs = [], []
        n = self.plan.processes
        for i in range(n):
            mine = [{'uid': uid, 'name': name, 'others': others[uid],
                     'devices': 2 if uid in two else 1}
                    for uid, name in users[i::n]]
            out = os.path.join(at, 'history.%d' % i)
            plan = os.path.join(at, 'plan.%d' % i)
            with open(plan, 'w') as f:
                json.dump({'http': self.env['IM_HTTP'], 'users': mine,
                           'password': PASSWORD, 'out': out,
                           'seed': self.plan.rng.getrandbits(60),
                           'count': self.plan.messages * (i + 1) // n
                           - self.plan.messages * i // n,
                           'rate': self.plan.rate / n}, f)
            self.outs.append(out)
            self.processes.append(subprocess.Popen(
                [sys.executable, '-B', os.path.join(HERE, 'im_traffic.py'),
                 plan], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True))

    def wait(self, word):
        """What each process says after this word."""
        return [self.line(p, word) for p in self.processes]

    def line(self, p, word):
        # The processes have limits of their own for each of their steps;
        # this one is for a process that hangs.
        while time.monotonic() < self.until:
            text = p.stdout.readline()
            if not text:
                raise Problem('a process of the traffic has ended before '
                              'it was "%s"' % word)
            first, _, rest = text.strip().partition(' ')
            if first == word:
                return rest
            self.troubles.append(text.strip())
        raise Problem('not "%s" within %d s' % (word, self.plan.limit_s))

    def finish(self):
        for p in self.processes:
            p.stdin.write('final\n')
            p.stdin.flush()
        self.wait('done')
        self.complete, self.events = set(), []
        for out in self.outs:
            with open(out, 'rb') as f:
                complete, events = pickle.load(f)
            self.complete |= set(complete)
            self.events += map(Event._make, events)

    def stop(self):
        for p in self.processes:
            p.stdin.close()
            try:
                p.wait(5)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
            p.stdout.close()

    # Damage.

    def damage(self):
        if self.plan.faults:
            from im_faults import PAUSE_S, Faults
            self.faults = Faults(self.env['IM_STACK_NAME'],
                                 self.plan.faults, self.plan.seed,
                                 self.plan.pause or PAUSE_S)
            self.faults.start()

    def calm(self):
        if self.faults is None or self.faults.ending.is_set():
            return
        self.faults.stop()
        self.calm_at = time.monotonic()
        for at, what in self.faults.done:
            self.say('%6.1f s  %s' % (at, what))
        if self.faults.problem:
            raise Problem('damage: %s' % self.faults.problem)

    # MySQL.

    def mysql(self, sql):
        for n in range(100):
            r = subprocess.run(
                ['mariadb', '--no-defaults', '-N', '-B',
                 '-S', self.env['IM_MYSQL'], '-u', self.env['IM_MYSQL_USER'],
                 self.env['IM_MYSQL_DATABASE'], '-e', sql],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                timeout=60)
            if r.returncode == 0:
                return [s.split('\t') for s in r.stdout.splitlines()]
            pause(0.2)        # it may be starting
        raise Problem('MySQL: %s' % r.stderr)

    def where(self):
        return ('WHERE conv_a IN (%s) OR conv_a = 0 AND conv_b IN (0%s)' % (
            ', '.join(map(str, self.uids)),
            ''.join(', %d' % room for _, room in self.groups)))

    def wait_for_store(self, acked):
        until = time.monotonic() + STORE_WAIT_S
        count, since = -1, 0
        while time.monotonic() < until:
            now = int(self.mysql('SELECT COUNT(*) FROM messages '
                                 + self.where())[0][0])
            if now != count:
                count, since = now, time.monotonic()
            elif now >= acked and time.monotonic() - since > 1:
                break
            pause(0.2)
        self.say('%d rows are stored' % count)
        if self.faults is not None:
            pause(PUSH_WAIT_S)

    def judge(self):
        rows = [((int(a), int(b)), int(seq), int(msg_id), int(sender), cmid)
                for a, b, seq, msg_id, sender, cmid in self.mysql(
                    'SELECT conv_a, conv_b, seq, msg_id, sender, cmid '
                    'FROM messages ' + self.where())]
        report = check(self.events, rows, self.complete, self.plan.seed,
                       self.groups)
        if self.calm_at is not None:
            report.behind_s = max((e.time - self.calm_at for e in self.events
                                   if e.kind == 'deliver'), default=0)
        for t in self.troubles:
            report.add('trouble', t)
        if report.counts['sent'] < self.plan.messages:
            report.add('trouble', '%d messages were to be sent'
                       % self.plan.messages)
        return report


def hunt(env, plan, say=print):
    try:
        return Hunt(env, plan, say).run()
    except (Problem, OSError, subprocess.SubprocessError) as e:
        report = Report(plan.seed)
        report.add('trouble', str(e))
        return report
