"""Messages of rooms, end to end: all members get all of them in order, on all
workers and whatever dies meanwhile; and nobody else gets anything.

The clients are tests/lib/im_app.py, which keeps the rules for clients; what
they saw and the rows in MySQL go to the checker.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import time

import pytest

import test_recover
from im_app import App
from im_checker import check
from im_client import Problem, new_cmid
from im_wait import lasts, pace, tries, until
from test_recover import kill
from test_rooms_edge import LATE, acked, ask, event, frames_now, group, \
    live, pushed, refused, say
from test_store import Task


class Talk:
    """Apps of all members of a room, two devices each."""

    def __init__(self, stack, owner, members, room, history=()):
        self.stack = stack
        self.room = int(room)
        self.to = (0, self.room)
        self.users = [owner, *members]
        self.uids = {u.uid for u in self.users} | set(history)
        self.events = []
        self.apps = []
        self.serial = itertools.count(1)

    async def start(self, devices=('a', 'b'), join=False):
        self.apps = [App(u, d, events=self.events).start()
                     for u in self.users for d in devices]
        async with asyncio.timeout(20):
            for app in self.apps:
                await app.there.wait()
                if join:
                    await app.join(self.room)
        for app in self.apps:
            await app.settle()
        return self

    async def on_two_workers(self):
        """Each user has a device on either."""
        for a, b in zip(self.apps[::2], self.apps[1::2]):
            while a.socket.instance == b.socket.instance:
                b.cut()
                await until(lambda: not b.there.is_set(), 'it is not cut',
                            10, 0.01)
                await asyncio.wait_for(b.there.wait(), 10)
                await b.settle()

    async def say(self, app, count=1, pause=0.0):
        for _ in range(count):
            await app.send(self.to, {'n': next(self.serial)})
            await pace(pause)

    async def all_say(self, count, pause=0.0):
        async with asyncio.timeout(60):
            await asyncio.gather(*(self.say(a, count, pause)
                                   for a in self.apps))

    def acked(self):
        """msg_id -> name of the device that sent it."""
        return {int(k['msg_id']): a.name for a in self.apps
                for cmid, k in a.acks.items() if a.sent[cmid] == self.to}

    async def prove(self, pushes=False):
        """Every promise was kept.  pushes: all came by push, without asking,
        to each connection but the sender's."""
        acked = self.acked()
        end = time.monotonic() + 60
        async for _ in tries(lambda: '%d of %d are stored' % (
                len(rows), len(acked)), 60):
            rows = self.stack.room_rows(self.room)
            if len(rows) >= len(acked):
                break
        if pushes:
            want = {a.name: {m for m, sender in acked.items()
                             if sender != a.name} for a in self.apps}
            got = test_recover.pushed
            while (any(not want[a.name] <= got(a) for a in self.apps)
                   and time.monotonic() < end):
                await pace(0.1)
            missing = {a.name: len(want[a.name] - got(a))
                       for a in self.apps if want[a.name] - got(a)}
            assert not missing, 'not pushed: %s' % missing
        for a in self.apps:
            await a.settle()
            await until(lambda: a.conversations[self.to].have >= len(rows),
                        lambda: '%s has %d of %d' % (
                            a.name, a.conversations[self.to].have, len(rows)),
                        end - time.monotonic())
        report = check([e for e in self.events if e.conv in (None, self.to)],
                       rows, {a.name for a in self.apps},
                       rooms={self.to: self.uids})
        assert report.good(), report.text()
        assert report.counts['rows'] == len(acked)
        return report

    async def close(self):
        for a in self.apps:
            await a.close()


async def talk_in_group(api, people, stack, members=3):
    users = await crowd(api, people, members + 1)
    return Talk(stack, users[0], users[1:], await group(*users))


async def talk_in_live_room(api, people, stack, members=3):
    users = await crowd(api, people, members + 1)
    return Talk(stack, users[0], users[1:],
                await live(users[0], history=True))


async def crowd(api, people, count):
    return await people(api, *('u%d' % i for i in range(count)))


# Who is in it gets everything.


@pytest.mark.parametrize('kind', ['group', 'live'])
async def test_all_devices_of_all_get_all_messages_in_order(
        api, people, stack, tmp_path, kind):
    """Two workers, and two im-task."""
    t = await (talk_in_group if kind == 'group' else talk_in_live_room)(
        api, people, stack)
    with Task(stack, tmp_path, 'second') as second:
        await second.joins()
        await t.start(join=kind == 'live')
        await t.on_two_workers()
        await t.all_say(25)
        await t.prove(pushes=True)
        await t.close()


async def test_a_member_who_was_away_catches_up(api, people, stack):
    t = await (await talk_in_group(api, people, stack)).start()
    away = t.apps[2:4]
    await t.say(t.apps[0], 3)
    for a in away:
        a.offline()
    await asyncio.gather(*(t.say(a, 30) for a in t.apps[:2]))
    for a in away:
        a.online()
    await t.prove()
    assert [m.seq for m in away[0].inbox[t.to]] == list(range(1, 64))
    await t.close()


async def test_who_joins_later_reads_what_was_said_before(api, people, stack):
    t = await (await talk_in_group(api, people, stack, 1)).start()
    await t.say(t.apps[0], 5)
    late = await people(api, 'late')
    t.users.append(late)
    t.uids.add(late.uid)
    app = App(late, 'a', events=t.events).start()
    t.apps.append(app)
    await asyncio.wait_for(app.there.wait(), 10)
    await api.call('POST', '/v1/rooms/%d/members' % t.room,
                   t.users[0].token, json={'uids': [str(late.uid)]})
    await t.all_say(5)
    await t.prove()
    assert len(app.inbox[t.to]) == 30
    await t.close()


async def test_a_message_goes_to_each_instance_once(api, people, stack,
                                                    tmp_path):
    """However many members are connected there."""
    stack.tool('ctl', stack.name, 'stop', 'task-1')
    try:
        t = await (await talk_in_group(api, people, stack, 5)).start()
        await t.on_two_workers()
        with Task(stack, tmp_path, 'only') as task:
            await task.joins()
            await t.say(t.apps[0])
            await t.prove(pushes=True)
            before = (await task.idle())['pushed']
            await t.say(t.apps[0], 10)
            await t.prove(pushes=True)
            assert (await task.idle())['pushed'] - before == 10 * len(
                {a.socket.instance for a in t.apps})
        await t.close()
    finally:
        stack.tool('ctl', stack.name, 'start', 'task-1')


async def test_online_is_right_within_2_s_and_at_most_once_a_second(
        api, people):
    alice, *crowd = await people(api, *('u%d' % n for n in range(9)))
    room = await live(alice)
    a = await alice.connect()
    await ask(a, 'join', 'join_res', room=room)
    sockets = [await u.connect() for u in crowd]
    told = []                          # online
    began = time.monotonic()

    async def listen():
        while True:
            f = await a.receive(60)
            if f['type'] == 'room_ev' and 'online' in f:
                told.append(f['online'])

    async def wander(s, n):
        for k in range(5):
            await ask(s, 'join', 'join_res', room=room)
            await pace(0.11 * (n % 4) + 0.3)
            if k < 4 or n % 2:
                await ask(s, 'leave', 'leave_res', room=room)

    listener = asyncio.create_task(listen())
    await asyncio.gather(*(wander(s, n) for n, s in enumerate(sockets)))
    end = time.monotonic() + 2
    while time.monotonic() < end or (told[-1:] != [5]
                                     and time.monotonic() < end + LATE):
        assert not listener.done(), listener.exception()
        await pace(0.05)
    took = time.monotonic() - began
    listener.cancel()
    assert told[-1] == 5, told         # alice and every second one
    assert len(told) >= 3
    # They may come late, even two at once; so not each pause is looked at.
    assert len(told) <= took + 2, 'in %.1f s: %s' % (took, told)


# And nobody else.


async def test_by_frame_only_who_has_joined_speaks_in_a_live_room(api, people):
    """Its owner and admins, too: who has not joined would not hear answers."""
    alice, bob, carl = await people(api, 'alice', 'bob', 'carl')
    room = await live(alice)
    await api.call('PATCH', '/v1/rooms/%s/members/%d' % (room, bob.uid),
                   alice.token, json={'role': 'admin'})
    for user in (alice, bob, carl):
        s = await user.connect()
        assert await say(s, room, 'too early') == 'not_member'
        await ask(s, 'join', 'join_res', room=room)
        await acked(s, room, 'in time')
        # It is the connection that has joined, not the user.
        other = await user.connect()
        assert await say(other, room, 'elsewhere') == 'not_member'
        await ask(s, 'leave', 'leave_res', room=room)
        assert await say(s, room, 'too late') == 'not_member'
    for user in (alice, bob):
        r = await api.call('POST', '/v1/messages', user.token, json={
            'room': room, 'body': 'by HTTP'})
        assert int(r['seq']) > 3


async def attempts(s, room, outside):
    """Everything that a frame can try; the answers, each an error.  Who has
    left (not outside) may leave again."""
    forged = {'joined': True, 'instance': s.instance, 'conn': '1',
              'caller': {'uid': '1', 'sid': 'x', 'device': 'y'}}
    codes = []
    for fields in ({}, forged):
        codes.append(await say_forged(s, room, fields))
        for kind in ['history', 'read'] + ['leave'] * outside:
            more = {'seq': '0'} if kind == 'read' else {}
            codes.append(await refused(s, kind, room=room, **more, **fields))
        f = await ask(s, 'sync', 'sync_res', cursors=[
            dict({'room': room, 'seq': '0'}, **fields)])
        c = f['conversations'][0]
        assert not c.get('messages') and c['head'] == '0', c
        codes.append(c['error'])
        f = await ask(s, 'conversations', 'conversations_res')
        assert all(c.get('room') != room for c in f['conversations'])
    return codes


async def say_forged(s, room, fields):
    cmid = new_cmid()
    await s.write(type='send', room=room, cmid=cmid, body='forged', **fields)
    f = await s.expect('error')
    assert f['cmid'] == cmid
    return f['code']


async def by_http(user, room, outside):
    codes = []
    path = '/v1/rooms/' + room
    for method, where, more in (
            ('POST', '/v1/messages', {'json': {
                'room': room, 'cmid': new_cmid(), 'body': 1}}),
            ('GET', '/v1/messages', {'params': {'room': room}}),
            ('GET', path, {}), ('GET', path + '/members', {}),
            ('POST', path + '/members', {'json': {
                'uids': [str(user.uid)]}}),
            ('POST', path + '/join', {}), ('DELETE', path, {}),
            ('POST', '/v1/read', {'json': {'room': room, 'seq': '0'}}),
            *[('POST', path + '/leave', {})] * outside):
        with pytest.raises(Problem) as e:
            await user.api.call(method, where, user.token, **more)
        assert e.value.status == 404, (where, e.value)
        codes.append(e.value.code)
    r = await user.api.call('POST', '/v1/sync', user.token, json={
        'cursors': [{'room': room, 'seq': '0'}]})
    assert not r['conversations'][0].get('messages')
    return codes


@pytest.mark.parametrize('kind', ['group', 'live'])
async def test_an_outsider_gets_nothing_whatever_he_tries(api, people, stack,
                                                          kind):
    alice, bob, eve, carl = await people(api, 'alice', 'bob', 'eve', 'carl')
    room = (await group(alice, bob, carl) if kind == 'group'
            else await live(alice, open=False))
    a, b = await alice.connect(), await bob.connect()
    if kind == 'live':
        await api.call('POST', '/v1/rooms/%s/members' % room, alice.token,
                       json={'uids': [str(bob.uid)]})
        for s in (a, b):
            await ask(s, 'join', 'join_res', room=room)
    es = [await eve.connect()]
    es.append(await eve.connect(other_than=[es[0].instance]))
    left = []
    if kind == 'group':
        # One who was in it, and left: by HTTP and by a frame.
        left = [await carl.connect() for _ in range(2)]
        await acked(a, room, 'for carl, too')
        for s in [b] + left:
            await pushed(s, 'for carl, too')
        await ask(left[0], 'leave', 'leave_res', room=room)
        es += left
    stop = asyncio.Event()
    said = []

    async def chatter():
        while not stop.is_set():
            said.append('secret %d' % len(said))
            await acked(a, room, said[-1])
            await pushed(b, said[-1])
            await pace(0.02)

    talk = asyncio.create_task(chatter())
    try:
        for s in left:
            await is_out(s, carl, left[0])
        for s in es:
            codes = await attempts(s, room, s not in left)
            assert set(codes) == {'no_such_room'}, codes
            assert await refused(s, 'join', room=room) == 'no_such_room'
        for user in [eve] + [carl] * (kind == 'group'):
            codes = await by_http(user, room, user == eve)
            assert set(codes) == {'no_such_room'}, codes
    finally:
        stop.set()
        await talk
    await lasts(0.5)
    for s in es:
        seen = [f for f in await frames_now(s)
                if f['type'] == 'push' or f.get('room') == room]
        assert not seen, seen
    # Nothing of what they tried is there, but all that alice has said since.
    where = 'FROM messages WHERE conv_a = 0 AND conv_b = %s' % room
    await until(lambda: int(stack.mysql('SELECT COUNT(*) ' + where)[0][0])
                >= len(said), 'not stored')
    assert stack.mysql('SELECT DISTINCT sender ' + where) == [[str(alice.uid)]]


async def is_out(s, user, asked):
    """Of a group that he has left by the connection `asked`.  The events until
    then are taken away: his own leaving is the last one."""
    if s.instance == asked.instance:
        await frames_now(s)
    else:
        await event(s, 'left', user)
    s.frames = [f for f in s.frames if f['type'] != 'room_ev']


# Things die.


async def while_talking(talks, damage, count=60):
    talk = asyncio.gather(*(t.say(a, count, 0.02)
                            for t in talks for a in t.apps))
    await lasts(0.6)
    await damage()
    await asyncio.wait_for(talk, 60)


@pytest.mark.parametrize('what', [
    *(pytest.param(w, marks=pytest.mark.full)
      for w in ('worker', 'reload', 'task')), 'second'])
async def test_nobody_misses_anything_when_something_dies(
        api, people, stack, tmp_path, what):
    """kill -9 of a worker or of an im-task, alone or one of two; a reload.  In
    a group and in a live room.  In `make test` the campaign has both kinds of
    rooms, and does the first three (kill-worker, reload, kill-task)."""
    talks = [await talk_in_group(api, people, stack, 2),
             await talk_in_live_room(api, people, stack, 2)]

    def codes():
        return {c for t in talks for a in t.apps for c in a.closed}

    with contextlib.ExitStack() as more:
        if what == 'second':
            second = more.enter_context(Task(stack, tmp_path, 'second'))
            await second.joins()
        for t in talks:
            await t.start(join=t is talks[1])
            await t.on_two_workers()

        async def damage():
            if what == 'worker':
                os.kill(int(talks[0].apps[0].socket.instance.rsplit('-', 2)
                            [1]), signal.SIGKILL)
            elif what == 'reload':
                os.kill(stack.pids()['nginx'], signal.SIGHUP)
                await until(lambda: 4001 in codes(), codes, 20)
            elif what == 'task':
                await kill(stack, 'task-1', signal.SIGKILL)()
            else:
                second.process.kill()

        await while_talking(talks, damage)
        for t in talks:
            await t.prove(pushes=what in ('task', 'second'))
        if what in ('task', 'second'):
            assert codes() <= {None, 1006}, codes()
        for t in talks:
            await t.close()


async def redis(stack, *words):
    p = await asyncio.create_subprocess_exec(
        'redis-cli', '-s', stack.env['IM_REDIS'], *words,
        stdout=asyncio.subprocess.PIPE)
    return (await p.communicate())[0].decode()


@contextlib.asynccontextmanager
async def busy(stack):
    """Redis runs a script, and says so to everybody."""
    script = asyncio.create_task(redis(stack, 'EVAL', 'while true do end',
                                       '0'))
    try:
        async for _ in tries('the script does not run', 10, 0.02):
            if 'BUSY' in await redis(stack, 'GET', 'x'):
                break
        yield
    finally:
        # Also one that begins only now: all that follows would wait for it.
        while not script.done():
            await redis(stack, 'SCRIPT', 'KILL')
            await pace(0.05)


async def test_a_message_waits_for_a_redis_that_answers_with_errors(
        api, people, stack):
    """As it does while it loads its file, or is busy with a script: that is
    not an answer about where anybody is."""
    t = await (await talk_in_group(api, people, stack, 1)).start()
    alice, bob = t.users
    await t.say(t.apps[0])
    await t.prove(pushes=True)
    task = stack.pids()['task-1']
    await redis(stack, 'CONFIG', 'SET', 'busy-reply-threshold', '10')
    os.kill(task, signal.SIGSTOP)
    try:
        await t.say(t.apps[0])
        await t.apps[0].send(bob.uid, 'and for him alone')
        async with busy(stack):
            os.kill(task, signal.SIGCONT)
            await lasts(1)
    finally:
        os.kill(task, signal.SIGCONT)
        await redis(stack, 'CONFIG', 'SET', 'busy-reply-threshold', '5000')
    await t.prove(pushes=True)
    b = t.apps[2]
    await until(lambda: any(e.kind == 'push' and e.device == b.name
                            and e.conv != t.to for e in t.events),
                'not pushed', 10)
    await t.close()
