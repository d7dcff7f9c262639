"""im_app -- one device of one user, which keeps the rules for clients.

(docs/protocol.md, Rules for clients.)  App stays connected, sends until there
is an ack (im_outbox.py), and shows each message once and in order
(im_inbox.py).  What it sees goes to a list of events (im_events.py) for the
checker.

    app = App(user, 'laptop').start()     # user: im_client.User, logged in
    ack = await app.send(to, body)        # returns only with an ack
    app.inbox[other]                      # what was shown, in order

A room is (0, id), also as a recipient.  Groups come by themselves; join()
enters a live room (with `history`, for gaps are filled by sync) on each
connection.

Frames to be written wait in a queue of the connection, so that nothing that
answers a frame has to wait for the network; it is bounded by the number of
messages without ack and of questions.
"""

import asyncio
import collections
import itertools
import json
import random

import websockets

from im_client import Problem, User
from im_events import Recorder, conversation
from im_inbox import Conversation, message
from im_outbox import RETRY_MAX_S, Outbox
from im_wait import pace

ANSWER_S = 10          # then a frame is sent, or a question asked, again
HOLD_S = 0.2           # above a gap, before we ask what is missing
PENDING_S = 1.0        # until we ask again for what is undecided
PAUSE_MAX_S = 30       # between two tries to connect, if nobody answers
QUIET_S = 20           # then we ask whether the server is still there
CURSORS_MAX = 50       # of one question
PAGE = 200             # messages of a conversation in one answer
NOT_IN = ('forbidden', 'not_member', 'no_such_room')


class Gone(Exception):
    """The connection ended before there was an answer."""


def verdict(code):
    """What a close code asks of a client: 'soon' or 'later' come back,
    'refresh' the token first, or 'stop'."""
    if code == 4004:
        return 'later'
    if code is not None and 4000 <= code < 4100:
        return 'soon'
    if code == 4100:
        return 'refresh'
    if code in (1002, 1003, 1007, 1009) or code and 4100 < code < 4200:
        return 'stop'
    return 'later'


def cursor(c):
    if isinstance(c.other, tuple):
        return {'room': str(c.other[1]), 'seq': str(c.have)}
    return {'with': str(c.other), 'seq': str(c.have)}


class App(Outbox):

    def __init__(self, user, device='default', events=None, rng=None,
                 on_message=None, address=None):
        super().__init__()
        self.user = user
        self.name = '%d/%s' % (user.uid, device)
        self.events = [] if events is None else events
        self.record = Recorder(self.name, self.events)
        self.random = rng or random.Random()
        self.on_message = on_message or self.keep
        self.address = address
        self.inbox = {}            # other -> Messages, in the order shown
        self.conversations = {}    # other -> Conversation
        self.closed = []           # codes of the connections that ended
        self.rooms = set()         # live ones that we want to be in
        self.there = asyncio.Event()
        self.wanted = asyncio.Event()
        self.wanted.set()
        self.socket = self.task = None
        self.connection = 0
        self.ids = itertools.count(1)
        self.tasks = set()         # the loop itself holds tasks weakly only
        self.stopped = None        # why it does not come back
        self.ending = False
        self.forget()

    def forget(self):
        """What belongs to one connection."""
        self.queue = collections.deque()
        self.queued = asyncio.Event()
        self.questions = {}        # id -> future
        self.timers = {}           # other -> handle, of a gap that is held
        self.asking = set()        # others that a question is under way for
        self.joined = set()        # of self.rooms
        self.syncing = self.sync_again = False
        self.heard = 0

    # Life.

    @classmethod
    async def log_in(cls, user, device, **args):
        """An App with a session of its own."""
        own = User(user.api, user.uid, user.name, user.password)
        await own.log_in(device)
        return cls(own, device, **args).start()

    def start(self):
        self.task = asyncio.create_task(self.run())
        return self

    def online(self):
        self.wanted.set()

    def offline(self):
        """Cut off, until online() is called."""
        self.wanted.clear()
        self.cut()

    def cut(self):
        """The network fails."""
        if self.socket is not None:
            self.socket.ws.transport.abort()

    async def close(self):
        self.ending = True
        self.wanted.set()
        self.cut()
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        self.give_up('closed')

    # Connection.

    async def run(self):
        pause, code = 0, None
        # Not "while True" and a cancel: see Socket.receive()'s wait_for().
        while not (self.ending or self.stopped or self.user.api.ended):
            await self.wanted.wait()
            try:
                self.socket = await self.user.connect(address=self.address)
            except Problem as e:
                what, code = ('refresh' if e.status == 401 else 'later'), None
                most = RETRY_MAX_S if e.status else PAUSE_MAX_S
            else:
                pause, most = 0, PAUSE_MAX_S
                if self.ending or not self.wanted.is_set():
                    self.cut()
                    continue
                code = await self.live()
                what = verdict(code)
                self.closed.append(code)
                if not self.wanted.is_set():
                    continue       # our own doing
            if what == 'refresh':
                what = await self.fresh_token()
            if what == 'stop':
                self.give_up('close code %s' % code)
                return
            if what == 'soon':
                await pace(self.random.uniform(0, 1))
                continue
            pause = min(max(2 * pause, 0.1), most)
            await pace(pause * self.random.uniform(0.5, 1))

    async def fresh_token(self):
        try:
            r = await self.user.api.call(
                'POST', '/v1/refresh',
                json={'refresh_token': self.user.refresh_token})
        except Problem as e:
            return 'stop' if e.status == 401 else 'later'
        self.user.token = r['access_token']
        self.user.refresh_token = r['refresh_token']
        return 'later'

    async def live(self):
        """One connection from its start to its end; the close code."""
        self.forget()
        self.connection += 1
        connection, s = self.connection, self.socket
        loop = asyncio.get_running_loop()
        self.heard = loop.time()
        self.record('connect', extra=(connection, s.instance))
        helpers = [asyncio.create_task(self.write()),
                   asyncio.create_task(self.watch())]
        for o in self.unacked.values():
            self.try_again(o)
        self.there.set()
        self.catch_up()
        try:
            for f in s.frames:
                self.take(f)
            s.frames = []
            while True:
                # watch() is the deadline of this.
                f = json.loads(await s.ws.recv())
                self.heard = loop.time()
                self.take(f)
        except websockets.ConnectionClosed:
            pass
        finally:
            self.there.clear()
            self.after_end()
            for h in helpers:
                h.cancel()
            self.record('disconnect', extra=(connection, s.ws.close_code))
            s.ws.transport.abort()
            if s in self.user.api.sockets:
                self.user.api.sockets.remove(s)
        return s.ws.close_code

    def after_end(self):
        for t in self.timers.values():
            t.cancel()
        for q in self.questions.values():
            if not q.done():
                q.set_exception(Gone())
                q.exception()
        for c in self.conversations.values():
            c.live = False
        for o in self.unacked.values():
            if o.timer is not None:
                o.timer.cancel()
                o.timer = None
        self.forget()

    def put(self, **frame):
        self.queue.append((frame, None))
        self.queued.set()

    async def write(self):
        s, queue, queued = self.socket, self.queue, self.queued
        try:
            while True:
                await queued.wait()
                while queue:
                    frame, out = queue.popleft()
                    if out is not None:
                        self.record('send', self.conv(out.to), self.user.uid,
                                    out.cmid, body=out.body_id,
                                    extra=(self.connection, out.tries))
                    async with asyncio.timeout(ANSWER_S):
                        await s.ws.send(json.dumps(frame))
                queued.clear()
        except (websockets.ConnectionClosed, TimeoutError):
            s.ws.transport.abort()

    async def watch(self):
        """Everything that has waited too long."""
        loop = asyncio.get_running_loop()
        while True:
            await pace(1)
            now = loop.time()
            for o in list(self.unacked.values()):
                if o.timer is None and now - o.written > ANSWER_S:
                    self.try_again(o)
            if now - self.heard > QUIET_S + ANSWER_S:
                self.cut()
            elif now - self.heard > QUIET_S:
                self.put(type='ping', id='1')

    # Receiving.

    def keep(self, other, m):
        self.inbox.setdefault(other, []).append(m)

    def take(self, f):
        kind = f['type']
        if kind == 'push':
            m = message(f)
            other = self.other(f, m.sender)
            self.record('push', self.conv(other), m.sender, m.cmid, m.seq,
                        m.msg_id, m.body_id)
            self.arrived(other, m, 'push')
        elif kind == 'ack':
            self.on_ack(f)
        elif kind == 'error':
            self.on_error(f)
        elif kind in ('sync_res', 'conversations_res', 'join_res',
                      'leave_res'):
            question = self.questions.get(int(f.get('id', 0)))
            if question is not None and not question.done():
                question.set_result(f)
        elif kind == 'sync_needed':
            self.catch_up()
        elif kind == 'room_ev' and f.get('uid') == str(self.user.uid):
            self.on_room_ev(f)

    def on_error(self, f):
        question = self.questions.get(int(f.get('id', 0)))
        if question is not None and not question.done():
            question.set_result(f)
        self.on_refusal(f)

    def conv(self, other):
        return conversation(self.user.uid, other)

    def other(self, f, sender):
        """Of whose conversation a push is."""
        if 'room' in f:
            return (0, int(f['room']))
        return int(f['to']) if sender == self.user.uid else sender

    def on_room_ev(self, f):
        """About ourselves."""
        other = (0, int(f['room']))
        if f.get('event') in ('removed', 'left'):
            self.lose(self.know(other))
        elif f.get('event') == 'joined':
            self.spawn(self.sync([self.back(other)]))

    def lose(self, c):
        if not c.gone:
            c.gone = True
            c.pending = False
            self.record('gone', c.name)

    def back(self, other):
        c = self.know(other)
        c.gone = c.live = False
        return c

    def know(self, other):
        c = self.conversations.get(other)
        if c is None:
            c = Conversation(self.user.uid, other, self.record,
                             self.on_message)
            # Its start is seen, unless the list is still to come.
            c.live = self.there.is_set() and not self.syncing
            self.conversations[other] = c
        return c

    def arrived(self, other, m, how):
        c = self.know(other)
        c.take(m, how)
        if c.gap():
            self.look_later(c, HOLD_S)

    # Asking.

    async def ask(self, kind, **args):
        """The answer to a question; Gone when the connection ends.

        After ANSWER_S it is asked again, and whichever answer comes first
        counts: who is slow himself would never have one otherwise."""
        connection, times, numbers = self.connection, 0, []
        q = asyncio.get_running_loop().create_future()
        try:
            while True:
                if connection != self.connection or not self.there.is_set():
                    raise Gone()
                numbers.append(next(self.ids))
                self.questions[numbers[-1]] = q
                self.put(type=kind, id=str(numbers[-1]), **args)
                done, _ = await asyncio.wait([q], timeout=ANSWER_S)
                if not done:
                    continue
                f = q.result()
                if connection != self.connection or not self.there.is_set():
                    raise Gone()   # the answer was the last that came
                if f['type'] != 'error':
                    return f
                if not f.get('retryable'):
                    raise Problem(kind, 0, f)
                q = asyncio.get_running_loop().create_future()
                await pace(self.pause(f, times))
                times += 1
        finally:
            for n in numbers:
                self.questions.pop(n, None)

    def catch_up(self):
        """Sync of all conversations: after connecting and sync_needed."""
        for c in self.conversations.values():
            c.live = False
        if self.syncing:
            self.sync_again = True
            return
        self.syncing = True
        self.spawn(self.sync_all())

    def spawn(self, coroutine):
        async def guarded():
            try:
                await coroutine
            except Gone:
                pass               # the next connection begins anew
            except Problem as e:
                self.give_up('a question was refused: %s %s' % (e, e.code))
                self.cut()
        task = asyncio.create_task(guarded())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def join(self, room):
        """Into a live room, and again after each reconnection."""
        self.rooms.add((0, room))
        if self.there.is_set():
            await self.enter((0, room))
            await self.sync([self.back((0, room))])

    async def leave(self, room):
        self.rooms.discard((0, room))
        await self.ask('leave', room=str(room))
        self.lose(self.know((0, room)))

    async def enter(self, other):
        if other in self.joined:
            return
        await self.ask('join', room=str(other[1]))
        self.joined.add(other)
        self.know(other)
        for o in self.unacked.values():
            if o.to == other and o.timer is None:
                self.try_again(o)

    async def sync_all(self):
        for other in list(self.rooms):
            await self.enter(other)
        while True:
            self.sync_again = False
            # All that are known now: what is live may be so by the answer to
            # a question that is older than the sync_needed.  They are asked
            # for at once: the list may wait for what is not stored yet.
            known = [c for c in self.conversations.values() if not c.gone]
            await asyncio.gather(self.sync_list(set(known)),
                                 self.sync_pages(known))
            if not self.sync_again and all(
                    c.live or c.gone for c in self.conversations.values()):
                break
        self.syncing = False

    async def sync_list(self, known):
        """What is in those that we learn of from the list."""
        page, found = {}, []
        while True:
            r = await self.ask('conversations', limit=100, **page)
            for f in r.get('conversations', []):
                c = self.know((0, int(f['room'])) if 'room' in f
                              else int(f['with']))
                c.gone = False
                if c not in known:
                    found.append(c)
            if not r.get('more'):
                break
            page = {'before': r['next']}
        await self.sync_pages(found)

    async def sync_pages(self, conversations):
        for n in range(0, len(conversations), CURSORS_MAX):
            await self.sync(conversations[n:n + CURSORS_MAX])

    async def sync(self, conversations):
        """Asks until there is no more of these."""
        self.asking.update(c.other for c in conversations)
        todo = conversations
        while todo:
            r = await self.ask('sync', limit=PAGE, cursors=[
                cursor(c) for c in todo])
            again = []
            for c, reply in zip(todo, r['conversations']):
                if reply.get('error') in NOT_IN and isinstance(c.other,
                                                               tuple):
                    self.lose(c)
                    continue
                if reply.get('error'):
                    self.record('error', c.name,
                                extra=(reply['error'], False))
                    raise Problem('sync of %s' % (c.name,), 0,
                                  {'code': reply['error']})
                if c.answer(reply):
                    again.append(c)
            todo = again
        self.asking.difference_update(c.other for c in conversations)
        for c in conversations:
            if c.pending or c.gap():
                self.look_later(c, PENDING_S)

    def look_later(self, c, seconds):
        if c.other in self.timers or c.other in self.asking:
            return
        self.timers[c.other] = asyncio.get_running_loop().call_later(
            seconds, self.look, c)

    def look(self, c):
        del self.timers[c.other]
        if c.pending or c.gap():
            self.spawn(self.sync([c]))

    # For tests.

    def settled(self):
        """Connected, nothing unsent, nothing known to be missing."""
        return (self.there.is_set() and not self.unacked
                and not self.syncing and not self.asking
                and self.rooms <= self.joined
                and not any(c.pending or not c.live or c.head > c.have
                            for c in self.conversations.values()
                            if not c.gone))

    async def settle(self, seconds=30):
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self.settled():
            if self.stopped:
                raise Problem('%s stopped: %s' % (self.name, self.stopped))
            if loop.time() > until:
                raise Problem('%s has not settled in %g s: %s' % (
                    self.name, seconds, self.state()))
            await pace(0.02)

    def state(self):
        """What settled() looks at, for people."""
        return {'there': self.there.is_set(), 'unacked': len(self.unacked),
                'syncing': self.syncing, 'asking': self.asking,
                'rooms': self.rooms - self.joined, 'behind': [
                    (c.other, c.have, c.head, c.pending, c.live)
                    for c in self.conversations.values() if not c.gone
                    and (c.pending or not c.live or c.head > c.have)]}

    def shown(self, other):
        return self.inbox.get(other, [])
