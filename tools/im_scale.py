"""im_scale -- steady traffic whose every message is accounted for.

Pairs of users talk all the time, by WebSocket, and callers ask by HTTP.  What
happened to each message and to each call is kept with its times, so that it
can be said afterwards how long anybody had to wait, and that nothing was lost.
So is by how much this process itself was late: what a busy machine did to it,
it may have done to the others, too.
"""

import asyncio
import time

from im_client import Problem, new_cmid

PAUSE = 0.04       # seconds between two messages of one sender
LATE = 20          # seconds until a message counts as lost
TICK = 0.01


class Message:

    __slots__ = ('sent', 'acked', 'pushed', 'seq', 'msg_id', 'error')

    def __init__(self):
        self.sent = time.monotonic()
        self.acked = self.pushed = None
        self.seq = self.msg_id = self.error = None


class Talk:
    """One sender and one receiver, each on a socket of its own."""

    def __init__(self, sender, receiver):
        self.sender = sender
        self.receiver = receiver
        self.messages = {}         # by cmid, in the order of sending
        self.doubled = 0           # pushed again under a seq that was seen
        self.unordered = 0         # first seen after a higher seq
        self.seen = set()
        self.synced = set()        # of these, what a sync has brought
        self.highest = 0

    async def connect(self):
        self.out = await self.sender.connect()
        self.into = await self.receiver.connect()

    async def write(self, stop):
        n = 0
        while not stop.is_set():
            cmid = new_cmid()
            self.messages[cmid] = Message()
            await self.out.write(type='send', to=str(self.receiver.uid),
                                 cmid=cmid, body={'n': n})
            n += 1
            await asyncio.sleep(PAUSE)

    async def acks(self):
        while True:
            f = await self.out.receive(3600)
            if f['type'] == 'ack':
                m = self.messages[f['cmid']]
                m.acked = time.monotonic()
                m.seq, m.msg_id = int(f['seq']), f['msg_id']
            elif f['type'] == 'error':
                self.messages[f['cmid']].error = f['code']
            elif f['type'] not in ('push', 'sync_needed'):
                raise Problem('a frame that nobody asked for: %s' % f)

    async def pushes(self):
        while True:
            f = await self.into.expect(('push', 'sync_needed'), 3600)
            if f['type'] == 'push':
                self.take(f)
                continue
            # Pushes were dropped.  Some of these may still come as pushes.
            for m in await self.into.missed(self.sender.uid):
                if int(m['seq']) not in self.seen:
                    self.take(m)
                    self.synced.add(int(m['seq']))

    def take(self, f):
        seq = int(f['seq'])
        if seq in self.synced:
            return
        if seq in self.seen:
            self.doubled += 1
            return
        self.seen.add(seq)
        self.unordered += seq < self.highest
        self.highest = max(self.highest, seq)
        self.into.have[self.sender.uid] = self.highest
        self.messages[f['cmid']].pushed = time.monotonic()

    def waiting(self):
        return sum(m.error is None and (m.acked is None or m.pushed is None)
                   for m in self.messages.values())

    async def stored(self):
        """seq -> msg_id of all that the history holds."""
        rows, before = {}, None
        while True:
            args = {'limit': 200}
            if before:
                args['before_seq'] = before
            page = await self.sender.history(self.receiver.uid, **args)
            for m in page['messages']:
                rows[int(m['seq'])] = m['msg_id']
                before = m['seq']
            if not page['more']:
                return rows


class Call:

    __slots__ = ('began', 'ended', 'error')

    def __init__(self):
        self.began = time.monotonic()
        self.ended = self.error = None


class Traffic:

    def __init__(self, api, pairs):
        self.api = api
        self.pairs = pairs
        self.talks = []
        self.calls = []
        self.stop = asyncio.Event()
        self.tasks = []
        self.broken = None         # a connection that ended, or the like
        self.late = []             # (when, by how many seconds) we were

    async def start(self, mark):
        users = []
        for n in range(2 * self.pairs):
            u = await self.api.register('%s.%d' % (mark, n),
                                        'correct horse battery')
            users.append(await u.log_in('scale'))
        self.talks = [Talk(a, b) for a, b in zip(users[::2], users[1::2])]
        for t in self.talks:
            await t.connect()
            # Task may still be joining its groups: the first one waits.
            await t.out.send(t.receiver.uid, 'first')
            await t.into.message(t.sender.uid, 30)
        for t in self.talks:
            self.run(t.acks())
            self.run(t.pushes())
        self.run(self.clock())
        self.writers = [self.run(t.write(self.stop)) for t in self.talks]
        self.callers = [self.run(self.call(t)) for t in self.talks[:4]]

    def run(self, coroutine):
        task = asyncio.create_task(coroutine)
        task.add_done_callback(self.ended)
        self.tasks.append(task)
        return task

    def ended(self, task):
        if not task.cancelled() and task.exception() and not self.broken:
            self.broken = task.exception()

    async def clock(self):
        while True:
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            self.late.append((due, time.monotonic() - due))

    async def call(self, talk):
        """Idempotent calls, of every kind that the API tier has."""
        me, other = talk.sender, talk.receiver
        n = 0
        while not self.stop.is_set():
            c = Call()
            self.calls.append(c)
            try:
                if n % 2:
                    await me.history(other.uid, limit=5)
                else:
                    await self.api.call('GET', '/v1/auth', me.token)
            except Problem as e:
                c.error = str(e)
            c.ended = time.monotonic()
            n += 1
            await asyncio.sleep(0.05)

    async def finish(self):
        """Stops sending, waits for what is under way, ends."""
        self.stop.set()
        await asyncio.wait(self.writers + self.callers, timeout=LATE)
        until = time.monotonic() + LATE
        while (time.monotonic() < until and not self.broken
               and any(t.waiting() for t in self.talks)):
            await asyncio.sleep(0.05)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def gaps(self, begin, end):
        """Longest waits, in seconds, of what began between the two times:
        ack, push, call.  What is still waiting has waited until now."""
        now = time.monotonic()
        ack = push = call = 0
        for t in self.talks:
            for m in t.messages.values():
                if begin <= m.sent < end and m.error is None:
                    ack = max(ack, (m.acked or now) - m.sent)
                    push = max(push, (m.pushed or now) - m.sent)
        for c in self.calls:
            if begin <= c.began < end:
                call = max(call, (c.ended or now) - c.began)
        return ack, push, call

    def lateness(self, begin, end):
        """By how much this process was late at most between the two times."""
        return max((late for due, late in self.late if begin <= due < end),
                   default=0)

    def failures(self):
        """What a client was told: refused messages and failed calls."""
        return ([m.error for t in self.talks for m in t.messages.values()
                 if m.error]
                + [c.error for c in self.calls if c.error])
