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

from im_app import App
from im_checker import check
from im_client import Api, Problem, new_cmid
from test_recover import kill, pushed
from test_rooms_edge import ask, group, live, refused, say
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
                while b.there.is_set():
                    await asyncio.sleep(0.01)
                await asyncio.wait_for(b.there.wait(), 10)
                await b.settle()

    async def say(self, app, count=1, pause=0.0):
        for _ in range(count):
            await app.send(self.to, {'n': next(self.serial)})
            await asyncio.sleep(pause)

    async def all_say(self, count, pause=0.0):
        async with asyncio.timeout(50):
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
        end = time.monotonic() + 30
        while True:
            rows = self.stack.room_rows(self.room)
            if len(rows) >= len(acked) or time.monotonic() > end:
                break
            await asyncio.sleep(0.1)
        if pushes:
            want = {a.name: {m for m, sender in acked.items()
                             if sender != a.name} for a in self.apps}
            while (any(not want[a.name] <= pushed(a) for a in self.apps)
                   and time.monotonic() < end):
                await asyncio.sleep(0.1)
            missing = {a.name: len(want[a.name] - pushed(a))
                       for a in self.apps if want[a.name] - pushed(a)}
            assert not missing, 'not pushed: %s' % missing
        for a in self.apps:
            await a.settle()
            while a.conversations[self.to].have < len(rows):
                assert time.monotonic() < end, '%s has %d of %d' % (
                    a.name, a.conversations[self.to].have, len(rows))
                await asyncio.sleep(0.05)
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
    users = await ready(api, people, members + 1)
    return Talk(stack, users[0], users[1:], await group(*users))


async def talk_in_live_room(api, people, stack, members=3):
    users = await ready(api, people, members + 1)
    return Talk(stack, users[0], users[1:],
                await live(users[0], history=True))


async def ready(api, people, count):
    """Users; what the test before has damaged may still be coming back."""
    for n in range(100):
        try:
            return await people(api, *('u%d' % i for i in range(count)))
        except Problem as e:
            if not e.body.get('retryable') or n == 99:
                raise
            await asyncio.sleep(0.1)


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
                stack.workers())
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
    told = []                          # (when, online)

    async def listen():
        while True:
            f = await a.receive(60)
            if f['type'] == 'room_ev' and 'online' in f:
                told.append((time.monotonic(), f['online']))

    async def wander(s, n):
        for k in range(5):
            await ask(s, 'join', 'join_res', room=room)
            await asyncio.sleep(0.11 * (n % 4) + 0.3)
            if k < 4 or n % 2:
                await ask(s, 'leave', 'leave_res', room=room)

    listener = asyncio.create_task(listen())
    await asyncio.gather(*(wander(s, n) for n, s in enumerate(sockets)))
    await asyncio.sleep(2)
    listener.cancel()
    assert told[-1][1] == 5            # alice and every second one
    assert len(told) >= 3
    times = [when for when, _ in told]
    # Two instances of Logic or a slow loop may shift one by a little.
    assert min(b - a for a, b in zip(times, times[1:])) > 0.7, told


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
        assert (await say(s, room, 'in time'))['type'] == 'ack'
        # It is the connection that has joined, not the user.
        other = await user.connect()
        assert await say(other, room, 'elsewhere') == 'not_member'
        await ask(s, 'leave', 'leave_res', room=room)
        assert await say(s, room, 'too late') == 'not_member'
    for user in (alice, bob):
        r = await api.call('POST', '/v1/messages', user.token, json={
            'room': room, 'body': 'by HTTP'})
        assert int(r['seq']) > 3


async def attempts(s, room):
    """Everything that a frame can try; the answers, each an error."""
    forged = {'joined': True, 'instance': s.instance, 'conn': '1',
              'caller': {'uid': '1', 'sid': 'x', 'device': 'y'}}
    codes = []
    for fields in ({}, forged):
        codes.append(await say_forged(s, room, fields))
        for kind, answer in (('history', 'history_res'), ('read', 'read_res'),
                             ('leave', 'leave_res')):
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


async def by_http(user, room):
    codes = []
    path = '/v1/rooms/' + room
    for method, where, more in (
            ('POST', '/v1/messages', {'json': {
                'room': room, 'cmid': new_cmid(), 'body': 1}}),
            ('GET', '/v1/messages', {'params': {'room': room}}),
            ('GET', path, {}), ('GET', path + '/members', {}),
            ('POST', path + '/members', {'json': {
                'uids': [str(user.uid)]}}),
            ('POST', path + '/join', {}), ('POST', path + '/leave', {}),
            ('POST', '/v1/read', {'json': {'room': room, 'seq': '0'}}),
            ('DELETE', path, {})):
        with pytest.raises(Problem) as e:
            await user.api.call(method, where, user.token, **more)
        assert e.value.status in (403, 415), (where, e.value)
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
    if kind == 'group':
        # One who was in it, and left: by HTTP and by a frame.
        cs = [await carl.connect() for _ in range(2)]
        await say(a, room, 'for carl, too')
        for s in [b] + cs:
            assert (await s.expect('push'))['body'] == 'for carl, too'
        await ask(cs[0], 'leave', 'leave_res', room=room)
        es += cs
    stop = asyncio.Event()

    async def chatter():
        n = 0
        while not stop.is_set():
            n += 1
            assert (await say(a, room, 'secret %d' % n))['type'] == 'ack'
            assert (await b.expect('push'))['body'] == 'secret %d' % n
            await asyncio.sleep(0.02)

    talk = asyncio.create_task(chatter())
    try:
        for user in (eve, carl):
            for s in es:
                codes = await attempts(s, room)
                assert set(codes) <= {'not_member', 'forbidden'}, codes
                assert await refused(s, 'join', room=room) == 'forbidden'
            codes = await by_http(user, room)
            assert set(codes) <= {'not_member', 'forbidden', 'unsupported'}
    finally:
        stop.set()
        await talk
    await asyncio.sleep(0.5)
    for s in es:
        with contextlib.suppress(Problem):
            while True:
                s.frames.append(await s.receive(0.1))
        seen = [f for f in s.frames
                if f['type'] == 'push' or f.get('room') == room
                and f['type'] != 'room_ev']
        assert not seen, seen
        # Of those who left: their own leaving was the last.
        told = [f for f in s.frames if f['type'] == 'room_ev']
        assert not told or s in es[2:], told
        assert not any('online' in f for f in told[1:]), told
    # Nothing of what they tried is there.
    await asyncio.sleep(0.3)
    assert stack.mysql('SELECT DISTINCT sender FROM messages WHERE '
                       'conv_a = 0 AND conv_b = %s' % room) == [
        [str(alice.uid)]]


async def test_nobody_gets_what_was_said_after_he_was_removed(api, people):
    """Removed and added again while somebody talks: between the answer to the
    one and the request of the other nothing is for him."""
    alice, bob = await people(api, 'alice', 'bob')
    room = await group(alice, bob)
    a = await alice.connect()
    bs = [await bob.connect()]
    bs.append(await bob.connect(other_than=[bs[0].instance]))
    path = '/v1/rooms/%s/members' % room
    state = 'in'                       # None: nobody can say
    sent = {'in': set(), 'out': set()}
    stop = asyncio.Event()

    async def chatter():
        for n in itertools.count():
            if stop.is_set():
                break
            before = state
            await say(a, room, n)
            # What begins and ends in one state is of that state.
            if before and state == before:
                sent[state].add(n)
            await asyncio.sleep(0.002)

    talk = asyncio.create_task(chatter())
    for turn in range(10):
        await asyncio.sleep(0.15)
        state = None
        await api.call('DELETE', '%s/%d' % (path, bob.uid), alice.token)
        state = 'out'
        await asyncio.sleep(0.15)
        state = None
        await asyncio.sleep(0.2)       # until what was said is pushed
        await api.call('POST', path, alice.token,
                       json={'uids': [str(bob.uid)]})
        await asyncio.sleep(0.1)
        state = 'in'
    stop.set()
    await talk
    await asyncio.sleep(1)
    assert min(map(len, sent.values())) > 20, sent
    for s in bs:
        with contextlib.suppress(Problem):
            while True:
                s.frames.append(await s.receive(0.1))
        got = {f['body'] for f in s.frames if f['type'] == 'push'}
        assert not got & sent['out'], sorted(got & sent['out'])
        assert sent['in'] <= got, sorted(sent['in'] - got)


async def together(*users):
    """A connection of each, all on one worker."""
    sockets = [await users[0].connect()]
    for u in users[1:]:
        s = await u.connect()
        while s.instance != sockets[0].instance:
            await s.close()
            s = await u.connect()
        sockets.append(s)
    return sockets


async def all_frames(s):
    with contextlib.suppress(Problem):
        while True:
            s.frames.append(await s.receive(0.1))
    return s.frames


def bodies(frames):
    return [f['body'] for f in frames if f['type'] == 'push']


async def restart_logics(stack):
    was = {p: n for n, p in stack.pids().items() if n.startswith('logic')}
    for pid in was:
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        while any(pid in was or name not in stack.pids()
                  for name, pid in list(stack.pids().items())
                  if name.startswith('logic')):
            await asyncio.sleep(0.1)


@pytest.mark.parametrize('kind', ['group', 'live'])
@pytest.mark.parametrize('how', ['for a moment', 'past its lease',
                                 'and all Logics restart'])
async def test_who_is_removed_while_his_worker_stands_still_gets_no_more(
        api, people, stack, how, kind):
    """From the answer to the removal on: whatever the worker reads first when
    it goes on, and whatever it was not told.  A member who stays is on it, too;
    he misses nothing unknowingly."""
    alice, bob, carl = await people(api, 'alice', 'bob', 'carl')
    b, c = await together(bob, carl)
    a = await alice.connect(other_than=[b.instance])
    if kind == 'group':
        room = await group(alice, bob, carl)
    else:
        room = await live(alice, open=False)
        await api.call('POST', '/v1/rooms/%s/members' % room, alice.token,
                       json={'uids': [str(bob.uid), str(carl.uid)]})
        for s in (a, b, c):
            await ask(s, 'join', 'join_res', room=room)
    await say(a, room, 'before')
    for s in (b, c):
        assert (await s.expect('push'))['body'] == 'before'
    sent, pid = [], int(b.instance.rsplit('-', 2)[1])
    os.kill(pid, signal.SIGSTOP)
    try:
        if how == 'past its lease':
            await asyncio.sleep(4.5)   # its streams have ended, too
        elif how != 'for a moment':
            await asyncio.sleep(1)
            await restart_logics(stack)
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(Problem, OSError):
                    async with Api(stack.http) as fresh:
                        await fresh.call('DELETE', '/v1/rooms/%s/members/%d' % (
                            room, bob.uid), alice.token)
                        break
                await asyncio.sleep(0.1)
        for n in range(5):
            if isinstance(await say(a, room, n), dict):
                sent.append(n)
        await asyncio.sleep(0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    end = time.monotonic() + 4
    while time.monotonic() < end:
        n += 1
        if isinstance(await say(a, room, n), dict):
            sent.append(n)
        await asyncio.sleep(0.01)
    got = bodies(await all_frames(b))
    assert got in ([], ['before']), 'removed, and still gets %s' % got
    frames = await all_frames(c)
    got = [n for n in bodies(frames) if n != 'before']
    assert got == sorted(got) and got[-1] == sent[-1]
    # A gap is seen by the client; a break of links alone makes none, unless
    # the removal above had to wait for this worker and it lost its lease.
    missed = sorted(set(sent) - set(got))
    assert not missed or how != 'for a moment' or any(
        f['type'] == 'sync_needed' for f in frames), missed
    if kind == 'group':
        assert await refused(b, 'history', room=room) == 'forbidden'


async def test_who_is_added_while_his_worker_stands_still_is_told_to_sync(
        api, people, stack):
    """Nothing shows him that there were messages: he had none before."""
    alice, carl = await people(api, 'alice', 'carl')
    c = await carl.connect()
    a = await alice.connect(other_than=[c.instance])
    room = await group(alice)
    pid = int(c.instance.rsplit('-', 2)[1])
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(4.5)
        async with Api(stack.http) as fresh:
            await fresh.call('POST', '/v1/rooms/%s/members' % room,
                             alice.token, json={'uids': [str(carl.uid)]})
        await say(a, room, 'meanwhile')
    finally:
        os.kill(pid, signal.SIGCONT)
    await c.expect('sync_needed', 10)
    await say(a, room, 'after')
    assert (await c.expect('push'))['body'] == 'after'


@pytest.mark.parametrize('kind,others', [('group', 0), ('live', 0),
                                         ('group', 9000)])
async def test_a_removal_that_nobody_was_told_counts_for_the_next_message(
        api, people, stack, kind, others):
    """As if Logic had died between MySQL and the workers, and nobody had
    noticed; also when more have left than one answer names."""
    alice, bob, carl = await people(api, 'alice', 'bob', 'carl')
    b, c = await together(bob, carl)
    a = await alice.connect(other_than=[b.instance])
    if kind == 'group':
        room = await group(alice, bob, carl)
    else:
        room = await live(alice, open=False)
        await api.call('POST', '/v1/rooms/%s/members' % room, alice.token,
                       json={'uids': [str(bob.uid), str(carl.uid)]})
        for s in (a, b, c):
            await ask(s, 'join', 'join_res', room=room)
    await say(a, room, 'before')
    for s in (b, c):
        assert (await s.expect('push'))['body'] == 'before'
    stack.mysql('DELETE FROM members WHERE room = {0} AND uid = {1};'
                'INSERT INTO removals SELECT {0}, seq + 1000000000, seq '
                'FROM seq_1_to_9000 WHERE seq <= {2};'
                'INSERT INTO removals VALUES ({0}, {1}, {2} + 1)'
                .format(room, bob.uid, others))
    await asyncio.sleep(5.2)           # Logic remembers for 5 s
    for n in range(20):
        assert (await say(a, room, n))['type'] == 'ack'
    for n in range(20):
        assert (await c.expect('push'))['body'] == n
    frames = await all_frames(b)
    assert bodies(frames) == []
    told = [f for f in frames if f['type'] == 'room_ev'
            and f.get('event') == 'removed']
    assert [f['uid'] for f in told] == [str(bob.uid)]


# Things die.


async def while_talking(t, damage, count=60):
    talk = asyncio.gather(*(t.say(a, count, 0.02) for a in t.apps))
    await asyncio.sleep(0.6)
    await damage()
    await asyncio.wait_for(talk, 50)


@pytest.mark.parametrize('kind', ['group', 'live'])
@pytest.mark.parametrize('what', ['worker', 'reload', 'task', 'second'])
async def test_nobody_misses_anything_when_something_dies(
        api, people, stack, tmp_path, kind, what):
    """kill -9 of a worker or of an im-task, alone or one of two; a reload."""
    t = await (talk_in_group if kind == 'group' else talk_in_live_room)(
        api, people, stack, 2)
    with contextlib.ExitStack() as more:
        if what == 'second':
            second = more.enter_context(Task(stack, tmp_path, 'second'))
            await second.joins()
        await t.start(join=kind == 'live')
        await t.on_two_workers()

        async def damage():
            if what == 'worker':
                os.kill(int(t.apps[0].socket.instance.rsplit('-', 2)[1]),
                        signal.SIGKILL)
            elif what == 'reload':
                os.kill(stack.pids()['nginx'], signal.SIGHUP)
            elif what == 'task':
                await kill(stack, 'task-1', signal.SIGKILL)()
            else:
                second.process.kill()

        await while_talking(t, damage)
        await t.prove(pushes=what in ('task', 'second'))
        codes = {c for a in t.apps for c in a.closed}
        if what in ('task', 'second'):
            assert {None, 1006} >= codes
        elif what == 'reload':
            assert 4001 in codes
        await t.close()


async def test_a_message_waits_for_a_redis_that_answers_with_errors(
        api, people, stack):
    """As it does while it loads its file, or is busy with a script: that is
    not an answer about where anybody is."""
    t = await (await talk_in_group(api, people, stack, 1)).start()
    alice, bob = t.users
    await t.say(t.apps[0])
    await t.prove(pushes=True)
    redis = ['redis-cli', '-s', stack.env['IM_REDIS']]

    async def command(*words):
        p = await asyncio.create_subprocess_exec(
            *redis, *words, stdout=asyncio.subprocess.PIPE)
        return (await p.communicate())[0]

    task = stack.pids()['task-1']
    await command('CONFIG', 'SET', 'busy-reply-threshold', '10')
    os.kill(task, signal.SIGSTOP)
    try:
        await t.say(t.apps[0])
        await t.apps[0].send(bob.uid, 'and for him alone')
        busy = asyncio.create_task(command(
            'EVAL', 'while true do end', '0'))
        await asyncio.sleep(0.2)
        os.kill(task, signal.SIGCONT)
        await asyncio.sleep(1)
        await command('SCRIPT', 'KILL')
        await busy
    finally:
        os.kill(task, signal.SIGCONT)
        await command('CONFIG', 'SET', 'busy-reply-threshold', '5000')
    await t.prove(pushes=True)
    b = t.apps[2]
    end = time.monotonic() + 10
    while len([e for e in t.events if e.kind == 'push'
               and e.device == b.name and e.conv != t.to]) < 1:
        assert time.monotonic() < end, 'not pushed'
        await asyncio.sleep(0.1)
    await t.close()
