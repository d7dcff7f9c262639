"""im_traffic -- one process of users who behave as badly as users do.

They send to each other and to groups, in bursts, and pause, say again what was
acked and what was not, by WebSocket and by HTTP, lose their connection, go away
and come back, on one or two devices each.  im_hunt.py starts a few of these
processes, because one Python is too slow, and tells them what to do:

    argument  the file of its plan (JSON)
    stdin     the line "final" when everything is in MySQL; its end, also by
              the death of the checker, ends this process
    stdout    "ready" when all are connected, "sent N" when N messages have
              their acks, "done" when the history is in the plan's `out`
"""

import asyncio
import collections
import contextlib
import itertools
import json
import os
import pickle
import random
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(TOP, 'tools'), os.path.join(TOP, 'tests/lib')]

from im_app import App                                   # noqa: E402
from im_client import Api, Problem, User                 # noqa: E402
from im_events import Recorder, body_id, conversation    # noqa: E402
from im_hunt import patiently                            # noqa: E402
from im_wait import pace

LOGINS = 8             # at a time; each costs the server 20 ms of a core
WAIT_S = 120           # for acks, and for the last sync
BURST = 5              # messages, on average
KEPT = 20              # messages of each device that may be said again
MISCHIEF = (           # chance after each burst
    ('repeat', 0.06), ('again', 0.03), ('by_http', 0.04), ('cut', 0.01),
    ('away', 0.005))


class Talker:
    """A device and what it does."""

    def __init__(self, app, others, count, rate, rng, say):
        self.app = app
        self.others = others
        self.left = count
        self.rate = rate           # messages a second
        self.rng = rng
        self.said = collections.deque(maxlen=KEPT)
        self.side = set()          # tasks of calls by HTTP, of being away
        self.http = Recorder('%d/http' % app.user.uid, app.events)
        self.say = say
        self.serial = itertools.count(1)

    def body(self):
        rng = self.rng
        size = int(rng.choices((rng.uniform(0, 200), rng.uniform(0, 1000),
                                rng.uniform(0, 4000)), (75, 20, 5))[0])
        return {'n': next(self.serial), 'from': self.app.name,
                'text': 'x' * size}

    async def run(self):
        while self.left > 0:
            burst = min(self.left, 1 + int(self.rng.expovariate(
                1 / (BURST - 1))))
            await self.burst(self.rng.choice(self.others), burst)
            for what, chance in MISCHIEF:
                if self.rng.random() < chance:
                    getattr(self, what)()
            await pace(self.rng.expovariate(self.rate / burst))
        if self.side:
            await asyncio.wait(self.side, timeout=WAIT_S)
        self.app.online()

    async def burst(self, other, count):
        for _ in range(count):
            await self.app.room.acquire()
            self.left -= 1
            self.post(other, self.body())

    def post(self, other, body, cmid=None):
        o = self.app.post(other, body, cmid)
        o.done.add_done_callback(self.answered)
        self.said.append(o)

    def answered(self, future):
        self.app.room.release()
        if not future.cancelled() and future.exception():
            self.say('refused: %s' % future.exception())

    # Mischief.

    def repeat(self):
        """Once more what has its ack."""
        acked = [o for o in self.said if o.cmid not in self.app.unacked]
        if acked and not self.app.room.locked():
            o = self.rng.choice(acked)
            self.spawn(self.app.send(o.to, o.body, o.cmid))

    def again(self):
        """Impatience: what has no ack yet."""
        o = next((o for o in self.app.unacked.values()
                  if o.timer is None and o.tries), None)
        if o is not None and self.app.there.is_set():
            self.app.try_again(o)

    def by_http(self):
        """The same message, or a new one, by the other way."""
        if self.said and self.rng.random() < 0.7:
            o = self.rng.choice(self.said)
            self.spawn(self.call(o.to, o.body, o.cmid))
        elif self.left > 0:
            self.left -= 1
            self.spawn(self.call(self.rng.choice(self.others), self.body(),
                                 'h%s' % self.rng.getrandbits(96)))

    def cut(self):
        self.app.cut()

    def away(self):
        async def nap(seconds):
            self.app.offline()
            await pace(seconds)
            self.app.online()
        self.spawn(nap(self.rng.uniform(0.2, 4)))

    def spawn(self, coroutine):
        async def guarded():
            try:
                await coroutine
            except Problem as e:
                self.say('refused: %s' % e)
        task = asyncio.create_task(guarded())
        self.side.add(task)
        task.add_done_callback(self.side.discard)

    async def call(self, to, body, cmid):
        user = self.app.user
        conv, me = conversation(user.uid, to), user.uid
        for n in range(1000):
            self.http('send', conv, me, cmid, body=body_id(body))
            try:
                r = await user.send(to, body, cmid)
            except Problem as e:
                again = not e.status or bool(e.body.get('retryable')) \
                    or e.status in (502, 504)
                self.http('error', conv, me, cmid, extra=(
                    e.code or 'status %d' % e.status, again))
                if not again:
                    raise
                await pace(min(0.1 * 2 ** n, 2))
                continue
            self.http('ack', conv, me, cmid, int(r['seq']),
                      int(r['msg_id']), extra=(0, bool(r.get('dup'))))
            return


class Process:

    def __init__(self, plan):
        self.plan = plan
        self.rng = random.Random(plan['seed'])
        self.events = []
        self.talkers = []

    def say(self, text):
        print(text, flush=True)

    async def run(self):
        stdin = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
        word = asyncio.create_task(stdin.readline())
        work = asyncio.create_task(self.work(word))
        word.add_done_callback(lambda _: word.result() or work.cancel())
        with contextlib.suppress(asyncio.CancelledError):
            await work

    async def work(self, word):
        async with Api(self.plan['http']) as api:
            await self.log_in(api)
            self.say('ready')
            await self.all(t.run() for t in self.talkers)
            await self.all(self.acked(t) for t in self.talkers)
            self.say('sent %d' % len({(e.sender, e.conv, e.cmid)
                                      for e in self.events
                                      if e.kind == 'ack'}))
            if await word == b'final\n':
                await self.last_sync()
            self.write()
            for t in self.talkers:
                await t.app.close()
        self.say('done')

    async def all(self, coroutines):
        results = await asyncio.gather(*coroutines, return_exceptions=True)
        for r in results:
            if isinstance(r, Exception):
                self.say('problem: %r' % r)

    async def acked(self, t):
        async with asyncio.timeout(WAIT_S):
            while t.app.unacked and not t.app.stopped:
                await pace(0.05)

    async def log_in(self, api):
        at_once = asyncio.Semaphore(LOGINS)
        devices = sum(u['devices'] for u in self.plan['users'])

        async def one(u, n):
            user = User(api, u['uid'], u['name'], self.plan['password'])
            rng = random.Random(self.rng.getrandbits(64))
            async with at_once:
                app = await patiently(lambda: App.log_in(
                    user, 'd%d' % n, events=self.events, rng=rng,
                    on_message=lambda *_: None))
                async with asyncio.timeout(WAIT_S):
                    await app.there.wait()
            others = [tuple(o) if isinstance(o, list) else o
                      for o in u['others']]
            self.talkers.append(Talker(
                app, others, self.plan['count'] // devices,
                self.plan['rate'] / devices, rng, self.say))

        await asyncio.gather(*(one(u, n) for u in self.plan['users']
                               for n in range(u['devices'])))
        self.talkers[0].left += self.plan['count'] % devices

    async def last_sync(self):
        """Everybody comes back once more: now all is to be had."""
        async def again(app):
            before = app.connection
            app.record('final')
            app.online()
            app.cut()
            async with asyncio.timeout(WAIT_S):
                while app.connection == before and not app.stopped:
                    await pace(0.02)
            await app.settle(WAIT_S)

        await self.all(again(t.app) for t in self.talkers)

    def write(self):
        complete = [t.app.name for t in self.talkers]
        with open(self.plan['out'], 'wb') as f:
            pickle.dump((complete, [tuple(e) for e in self.events]), f, -1)


if __name__ == '__main__':
    with open(sys.argv[1]) as plan:
        process = Process(json.load(plan))
    asyncio.run(process.run())
