"""im_fault_cast -- people who talk while something is done to the stack.

A cast is made for one fault: ten users with two or three devices each, spread
over the workers as the kernel does it, who write to each other, to two groups
and to a live room.  All of them keep the rules for clients (im_app.py), so
what is measured is what a user sees.  A third of the conversations begin only
while the fault lasts.

What everybody saw goes to im_checker.py afterwards, with the rows in MySQL: it
knows nothing of the servers and says whether each acked message was stored
once, and shown once, in one order, on each device that it was meant for, and
on no other.
"""

import asyncio
import collections
import itertools
import random
import time

from im_app import App
from im_checker import Report, check
from im_client import Api, Problem
from im_hunt import patiently
from im_wait import pace

PASSWORD = 'correct horse battery'
USERS = 10
RATE = 300             # messages a second, of all devices together
ON_THE_WAY_MAX = 60    # messages of a device that wait for their acks
GROUPS = ((0, 1, 2, 3), (2, 5, 7, 9))
LIVE = (1, 4, 6, 8)
SHARES = (('user', 70), ('group', 18), ('live', 12))
TICK_S = 0.01
SETTLE_S = 10          # after the fault, until every device has everything
JOIN_S = 20
TROUBLE_MAX = 300      # characters; what a device waits for can be long


class Talker:
    """One device: whom it writes to, and its clock."""

    def __init__(self, app, users, groups, live, rng):
        self.app = app
        self.others = {'user': users, 'group': groups, 'live': live}
        self.rng = rng
        self.serial = itertools.count(1)

    async def run(self, stop, devices):
        mean = devices / RATE
        due = time.monotonic() + self.rng.uniform(0, mean)
        while not stop.is_set():
            await pace(max(due - time.monotonic(), 0))
            # What could not be said in time is not made up for.
            due = max(due, time.monotonic() - mean) + mean
            if (len(self.app.unacked) < ON_THE_WAY_MAX
                    and not self.app.stopped and not stop.is_set()):
                self.say()

    def say(self):
        kinds = [(k, n) for k, n in SHARES if self.others[k]]
        kind = self.rng.choices(*zip(*kinds))[0]
        to = self.rng.choice(self.others[kind])
        o = self.app.post(to, {'n': next(self.serial), 'of': self.app.name})
        o.done.add_done_callback(lambda f: f.cancelled() or f.exception())


class Cast:

    def __init__(self, stack, seed):
        self.stack = stack
        self.rng = random.Random(seed)
        self.events = []
        self.talkers = []
        self.rooms = {}            # (0, room) -> uids of its members
        self.late = []             # (when, by how many seconds) we were
        self.later = []            # (talker, user): from the fault on
        self.stop = asyncio.Event()
        self.tasks = []

    async def start(self):
        self.api = Api(self.stack.address('http'))
        mark = 'f' + self.rng.randbytes(5).hex()
        self.users = await asyncio.gather(*(
            self.member('%s.%d' % (mark, n)) for n in range(USERS)))
        await self.make_rooms()
        await asyncio.gather(*(self.device(n, d) for n in range(USERS)
                               for d in range(2 + n % 2)))
        self.tasks = [asyncio.create_task(c) for c in
                      [self.clock()] + [t.run(self.stop, len(self.talkers))
                                        for t in self.talkers]]

    async def member(self, name):
        tries = itertools.count()

        async def named():
            # Another name each time: one that timed out may be taken, also
            # when it was a worker that tried again.
            while True:
                try:
                    return await self.api.register(
                        '%s.%d' % (name, next(tries)), PASSWORD)
                except Problem as e:
                    if e.code != 'name_taken':
                        raise

        user = await patiently(named)
        return await patiently(lambda: user.log_in('setup'))

    async def make_rooms(self):
        for kind, members in [('group', g) for g in GROUPS] + [('live', LIVE)]:
            more = {'history': True}
            if kind == 'group':
                more = {'members': [str(self.users[n].uid)
                                    for n in members[1:]]}
            r = await patiently(lambda: self.api.call(
                'POST', '/v1/rooms', self.users[members[0]].token,
                json={'kind': kind, 'name': 'fault', **more}))
            self.rooms[0, int(r['room'])] = {self.users[n].uid
                                             for n in members}
        *self.groups, self.live = self.rooms

    async def device(self, n, number):
        user = self.users[n]
        app = await patiently(lambda: App.log_in(
            user, 'd%d' % number, events=self.events,
            rng=random.Random(self.rng.getrandbits(64)),
            on_message=lambda *_: None))
        async with asyncio.timeout(JOIN_S):
            await app.there.wait()
            if n in LIVE:
                await app.join(self.live[1])
        near = [self.users[(n + d) % USERS].uid for d in (-2, -1, 1, 2)]
        t = Talker(app, near, [g for g in self.groups
                               if user.uid in self.rooms[g]],
                   [self.live] if n in LIVE else [],
                   random.Random(self.rng.getrandbits(64)))
        self.later += [(t, self.users[(n + d) % USERS].uid) for d in (3, 5)]
        self.talkers.append(t)

    def begin_new_talks(self):
        for t, uid in self.later:
            t.others['user'] = t.others['user'] + [uid]

    async def clock(self):
        while True:
            due = time.monotonic() + TICK_S
            await pace(TICK_S)
            self.late.append((due, time.monotonic() - due))

    def lateness(self, begin):
        """By how much this process itself was late at most."""
        return max((late for due, late in self.late if due >= begin),
                   default=0)

    async def finish(self):
        """Nobody begins a message any more, and everybody gets all.  Returns
        the sentences of those that did not."""
        self.stop.set()
        until = time.monotonic() + SETTLE_S
        troubles = []
        for t in self.talkers:
            try:
                await t.app.settle(max(until - time.monotonic(), 0.1))
            except Problem as e:
                troubles.append(str(e)[:TROUBLE_MAX])
        # Two tabs of a browser hear of a room's last message by a push; one
        # that was lost shows only when somebody asks.
        missing = self.behind()
        while missing and time.monotonic() < until:
            await pace(0.1)
            missing = self.behind()
        return troubles + ['%s: %s has %d of %d' % m for m in missing[:5]]

    def behind(self):
        """Devices that have less of a conversation than another one."""
        most = {}
        for t in self.talkers:
            for c in t.app.conversations.values():
                most[c.name] = max(most.get(c.name, 0), c.have)
        out = []
        for t in self.talkers:
            uid = t.app.user.uid
            have = {c.name: c.have for c in t.app.conversations.values()}
            out += [(t.app.name, name, have.get(name, 0), n)
                    for name, n in most.items()
                    if uid in self.rooms.get(name, name)
                    and have.get(name, 0) < n]
        return out

    def cut(self, begin):
        """Sentences about connections that have ended since then."""
        codes = collections.Counter(
            e.extra[1] for e in self.events
            if e.kind == 'disconnect' and e.time >= begin)
        return ['%d connections ended with code %s, and none should have'
                % (n, code) for code, n in codes.items()]

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.gather(*(t.app.close() for t in self.talkers))
        self.api.ended = True
        await self.api.session.close()

    # Afterwards.

    def acked(self):
        return {(e.conv, e.sender, e.cmid) for e in self.events
                if e.kind == 'ack'}

    async def rows(self):
        """Of all conversations of the cast, once every acked message is among
        them, or as they are when the time is over."""
        uids = ','.join(str(u.uid) for u in self.users)
        sql = ('SELECT conv_a, conv_b, seq, msg_id, sender, cmid FROM '
               'messages WHERE conv_a IN (%s) AND conv_b IN (%s) OR '
               'conv_a = 0 AND conv_b IN (%s)' % (
                   uids, uids, ','.join(str(r) for _, r in self.rooms)))
        want = len(self.acked())
        until = time.monotonic() + SETTLE_S
        while True:
            rows = await asyncio.to_thread(self.stack.ask_mysql, sql)
            if len(rows) >= want or time.monotonic() > until:
                return [((int(a), int(b)), int(seq), int(msg_id),
                         int(sender), cmid)
                        for a, b, seq, msg_id, sender, cmid in rows]
            await pace(0.1)

    async def report(self, troubles):
        if not self.talkers:
            r = Report()
        else:
            r = check(self.events, await self.rows(),
                      {t.app.name for t in self.talkers}, None, self.rooms)
        for text in troubles:
            r.add('trouble', text)
        return r
