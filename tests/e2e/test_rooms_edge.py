"""Rooms and presence as a worker does them: who is in gets what is said there,
and nobody else; Logic knows who is here."""

import asyncio
import time

import pytest

import test_existing_nginx
import test_slow
from im_client import Problem, new_cmid
from im_wait import pace
from test_dedupe import redis
from test_presence import change, unchanged

LATE = 4           # seconds that a busy machine may add to what is promised


async def live(user, **more):
    r = await user.api.call('POST', '/v1/rooms', user.token, json=dict(
        {'kind': 'live', 'name': 'stage'}, **more))
    assert r.status == 201
    return r['room']


async def group(user, *members, **more):
    r = await user.api.call('POST', '/v1/rooms', user.token, json=dict(
        {'kind': 'group', 'name': 'tea',
         'members': [str(m.uid) for m in members]}, **more))
    assert r.status == 201
    return r['room']


async def ask(s, kind, want, **fields):
    await s.write(type=kind, id='77', **fields)
    f = await s.expect(want)
    assert f['id'] == '77', f
    return f


async def refused(s, kind, **fields):
    return (await ask(s, kind, 'error', **fields))['code']


async def say(s, room, body, seconds=10):
    """An ack, or the code of the error.  What is refused as retryable is sent
    again under its cmid, as by any client."""
    cmid = new_cmid()
    end = time.monotonic() + seconds
    while True:
        await s.write(type='send', room=room, cmid=cmid, body=body)
        f = await s.receive()
        while f.get('cmid') != cmid or f['type'] not in ('ack', 'error'):
            s.frames.append(f)
            f = await s.receive()
        if f['type'] == 'ack':
            return f
        if not f.get('retryable') or time.monotonic() > end:
            return f['code']
        await pace(0.1)


async def acked(s, room, body):
    ack = await say(s, room, body, 20)
    assert isinstance(ack, dict), '%r in room %s: %s' % (body, room, ack)
    return ack


async def pushed(s, *bodies):
    """These are the next pushes."""
    for body in bodies:
        f = await s.expect('push')
        assert f['body'] == body, 'wanted %r, got %s' % (body, f)


async def frames_until(s, true, what, seconds=20, since=0):
    """All frames that have come, once there is such a one."""
    end = time.monotonic() + seconds
    if not any(map(true, s.frames[since:])):
        while True:
            try:
                f = await s.receive(max(0.01, end - time.monotonic()))
            except Problem as e:
                raise AssertionError('%s: %s; the last are %s' % (
                    what, e, s.frames[-5:])) from None
            s.frames.append(f)
            if true(f):
                break
    return s.frames


async def frames_now(s):
    """All frames that its worker has written to it until now."""
    await ask(s, 'ping', 'pong')
    return s.frames


def is_push(body, room=None):
    return lambda f: (f['type'] == 'push' and f['body'] == body
                      and room in (None, f.get('room')))


def is_event(name, user):
    return lambda f: (f['type'] == 'room_ev' and f.get('event') == name
                      and f['uid'] == str(user.uid))


async def event(s, name, user):
    """Waits for it; those before it are taken away."""
    while not is_event(name, user)(await s.expect('room_ev')):
        pass


async def online(s, room, want, seconds=2 + LATE):
    """The room_ev that says so many are there."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    last = None
    while loop.time() < until:
        try:
            f = await s.expect('room_ev', until - loop.time())
        except Problem:
            break
        last = f.get('online', last)
        if f['room'] == room and f.get('online') == want:
            return f
    raise AssertionError('%s: online %s, wanted %d' % (room, last, want))


async def counts(s, room, want, last=None, seconds=2 + LATE):
    """The last number that a member was given is this one, and stays it.
    last: by an answer."""
    end = time.monotonic() + seconds
    while True:
        wait = 1 if last == want else max(0.01, end - time.monotonic())
        try:
            f = await s.expect('room_ev', wait)
        except Problem:
            break
        if f['room'] == room and 'event' not in f:
            last = f.get('online', 0)
    assert last == want, 'the last count is %s' % last


async def test_who_joined_a_live_room_gets_what_is_said_there(api, people):
    alice, bob, eve = await people(api, 'alice', 'bob', 'eve')
    room = await live(alice)
    a = await alice.connect()
    b = await bob.connect(other_than=[a.instance])
    e = await eve.connect()
    for s in (a, b):
        f = await ask(s, 'join', 'join_res', room=room)
        assert f['room']['room'] == room and f['room']['kind'] == 'live'
        # once more is harmless
        await ask(s, 'join', 'join_res', room=room)
    for n in range(20):
        ack = await acked(a, room, n)
        assert ack['seq'] == str(n + 1)
    for n in range(20):
        f = await b.expect('push')
        assert (f['body'], f['room'], f['from']) == (n, room, str(alice.uid))
        assert 'to' not in f and f['seq'] == str(n + 1)
    assert await e.nothing('push', 0.3) and await a.nothing('push', 0.1)
    assert await say(e, room, 'let me in') == 'not_member'
    assert await refused(e, 'leave', room=room) == 'not_member'
    f = await ask(b, 'leave', 'leave_res', room=room)
    assert f['room'] == room
    assert await say(b, room, 'still here?') == 'not_member'
    await acked(a, room, 'gone?')
    assert await b.nothing('push', 0.5)
    for s in (a, b, e):
        await s.close()


async def test_the_other_connections_of_a_user_are_not_in_a_live_room(
        api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await live(alice)
    one, two = await bob.connect(), await bob.connect()
    await ask(one, 'join', 'join_res', room=room)
    assert await say(two, room, 1) == 'not_member'
    await acked(one, room, 1)
    assert await two.nothing('push', 0.3)


async def test_members_of_a_group_are_in_with_all_connections(api, people):
    alice, bob, eve = await people(api, 'alice', 'bob', 'eve')
    before = await bob.connect()
    room = await group(alice, bob)
    after = await bob.connect(other_than=[before.instance])
    a = await alice.connect()
    e = await eve.connect()
    await event(before, 'joined', bob)
    for n in range(5):
        await acked(a, room, n)
    for s in (before, after):
        await pushed(s, *range(5))
    assert await say(e, room, 1) == 'no_such_room'
    # removed: hears it, and then nothing more
    await api.call('DELETE', '/v1/rooms/%s/members/%d' % (room, bob.uid),
                   alice.token)
    for s in (before, after):
        await event(s, 'removed', bob)
    await acked(a, room, 'he is gone')
    assert await before.nothing('push', 0.4)
    assert await after.nothing('push', 0.1)
    assert await say(before, room, 1) == 'no_such_room'
    # and added again
    await api.call('POST', '/v1/rooms/%s/members' % room, alice.token,
                   json={'uids': [str(bob.uid)]})
    for s in (before, after):
        await event(s, 'joined', bob)
    await acked(a, room, 'welcome')
    for s in (before, after):
        await pushed(s, 'welcome')


async def test_a_room_hears_how_many_are_there(api, people):
    alice, bob, carl = await people(api, 'alice', 'bob', 'carl')
    room = await live(alice)
    a = await alice.connect()
    await ask(a, 'join', 'join_res', room=room)
    await online(a, room, 1)
    b = await bob.connect(other_than=[a.instance])
    again = await bob.connect()
    for s in (b, again):
        await ask(s, 'join', 'join_res', room=room)
    c = await carl.connect()
    await ask(c, 'join', 'join_res', room=room)
    await online(a, room, 3)           # users, not connections
    c.ws.transport.abort()
    await online(a, room, 2)
    await b.close()
    await ask(again, 'leave', 'leave_res', room=room)
    await online(a, room, 1)


async def test_nobody_speaks_for_the_edge(api, people, stack):
    """instance, conn and joined are not a client's to say."""
    alice, eve = await people(api, 'alice', 'eve')
    room = await live(alice)
    a, e = await alice.connect(), await eve.connect()
    await ask(a, 'join', 'join_res', room=room)
    forged = {'instance': a.instance, 'conn': '1', 'caller': {
        'uid': str(alice.uid), 'sid': 'x' * 22, 'device': 'd'}}
    with pytest.raises(Problem) as refusal:
        await api.call('POST', '/v1/rooms/%s/join' % room, eve.token,
                       json=forged)
    assert refusal.value.status in (400, 403, 409, 415)
    await e.write(type='send', room=room, cmid='f1', body=1, joined=True)
    f = await e.expect('error')
    assert (f['code'], f['cmid']) == ('not_member', 'f1')
    await api.call('POST', '/v1/presence', eve.token, json={
        'uids': [str(alice.uid)], 'instance': 'forged-1-2'})
    assert redis(stack, 'SISMEMBER', 'im:ps:{%d}' % alice.uid,
                 'forged-1-2') == ['0']
    # a frame may say so, but then this connection is in, not the named one
    await ask(e, 'join', 'join_res', room=room, **forged)
    await acked(a, room, 'hello')
    await pushed(e, 'hello')


async def test_presence_is_told_to_who_asked(api, people):
    alice, bob, eve = await people(api, 'alice', 'bob', 'eve')
    a, e = await alice.connect(), await eve.connect()
    f = await ask(a, 'presence_sub', 'presence_res',
                  add=[str(bob.uid), str(eve.uid)])
    assert [(u['uid'], u['online']) for u in f['users']] == [
        (str(bob.uid), False), (str(eve.uid), True)]
    known = {bob.uid: False, eve.uid: True}
    b = await bob.connect()
    assert await change(a, known=known) == {bob.uid: True}
    await b.close()
    assert await change(a, known=known) == {bob.uid: False}
    f = await ask(a, 'presence_sub', 'presence_res', remove=[str(bob.uid)])
    assert f['users'] == []
    b = await bob.connect()
    await unchanged(a, known, 1)
    assert await e.nothing('presence', 0.1)
    assert await refused(a, 'presence_sub', add=[
        str(n) for n in range(1, 202)]) == 'bad_field'


async def test_what_is_said_in_a_busy_room_keeps_its_order(api, people):
    users = await people(api, *('u%d' % n for n in range(12)))
    room = await live(users[0])
    sockets = [await u.connect() for u in users]
    await asyncio.gather(*(ask(s, 'join', 'join_res', room=room)
                           for s in sockets))
    async def talk(s, n):
        for k in range(50):
            await s.write(type='send', room=room, cmid=new_cmid(),
                          body=[n, k])
    await asyncio.gather(*(talk(s, n) for n, s in enumerate(sockets[:4])))
    for n, s in enumerate(sockets):
        own = 50 if n < 4 else 0
        seqs, bodies = [], []
        while len(bodies) < 200 - own:
            f = await s.expect('push')
            seqs.append(int(f['seq']))
            bodies.append(f['body'])
        assert seqs == sorted(set(seqs))
        for who in range(4):
            mine = [b[1] for b in bodies if b[0] == who]
            assert mine == (sorted(mine) if who != n else [])


async def test_logged_out_is_logged_out_in_every_worker(api, people, stack):
    """Also for `im_jwt required` in front of anything."""
    alice = await people(api, 'alice')
    token = alice.token
    await api.call('GET', '/v1/presence', token, want=(405,))
    await api.call('POST', '/v1/logout', token)
    end = time.monotonic() + 1 + LATE
    row = 0
    while row < 20:                    # the kernel chooses the worker
        r = await api.call('GET', '/v1/presence', token, want=(401, 405),
                           headers={'Connection': 'close'})
        row = row + 1 if r.status == 401 else 0
        assert row or time.monotonic() < end, 'is still let in'
        assert not row or r['code'] == 'session_revoked'


@pytest.fixture
def small(stack, tmp_path, monkeypatch):
    """An nginx with small limits."""
    monkeypatch.setattr(test_existing_nginx, 'HTTP', test_existing_nginx.HTTP
                        + 'im_ws_rooms 2;\nim_ws_fanout_queue 256k;\n')
    n = test_existing_nginx.Nginx(stack, tmp_path, 9, True).start()
    yield n
    n.kill()


async def test_a_connection_is_in_so_many_rooms_at_most(api, people, small):
    alice = await people(api, 'alice')
    rooms = [await live(alice) for _ in range(3)]
    s = await alice.connect(address=small.address)
    for room in rooms[:2]:
        await ask(s, 'join', 'join_res', room=room)
    assert await refused(s, 'join', room=rooms[2]) == 'limit_reached'
    await ask(s, 'join', 'join_res', room=rooms[0])    # is in already
    await ask(s, 'leave', 'leave_res', room=rooms[0])
    await ask(s, 'join', 'join_res', room=rooms[2])
    await s.close()


async def test_what_does_not_fit_into_the_fan_out_is_told(api, people, small):
    """Many long messages at once: each is pushed, or the member is told to
    sync, and sync has them all."""
    alice, bob = await people(api, 'alice', 'bob')
    room = await live(alice, history=True)
    a = await alice.connect()
    await ask(a, 'join', 'join_res', room=room)
    b = await bob.connect(address=small.address)
    await ask(b, 'join', 'join_res', room=room)
    count = 60
    for n in range(count):
        await a.write(type='send', room=room, cmid=new_cmid(),
                      body='x' * 30000)
    got, told = [], False
    while not told and len(got) < count:
        f = await b.receive()
        if f['type'] == 'push':
            got.append(int(f['seq']))
        told = told or f['type'] == 'sync_needed'
    assert got == list(range(1, len(got) + 1))
    for _ in range(count):
        await a.expect('ack')
    cursor = len(got)
    while told and cursor < count:
        f = await ask(b, 'sync', 'sync_res', limit=5,
                      cursors=[{'room': room, 'seq': str(cursor)}])
        cursor = int(f['conversations'][0]['next'])
        await pace(0.05)
    assert cursor == count


async def test_who_does_not_read_hurts_nobody_else_in_a_room(api, people):
    alice, bob, carl = await people(api, 'alice', 'bob', 'carl')
    room = await group(alice, bob, carl)
    slow = await test_slow.SlowReader.open(api, bob.token)
    fast = await carl.connect()
    a = await alice.connect()
    count = 1500
    seqs = []

    async def read():
        while len(seqs) < count:
            seqs.append(int((await fast.expect('push'))['seq']))

    async def write():
        for n in range(count):
            while n - len(seqs) > 100:
                await pace(0.001)
            await a.write(type='send', room=room, cmid=new_cmid(),
                          body='x' * 8000)

    await asyncio.gather(read(), write())
    assert seqs == list(range(1, count + 1))
    got = []
    while True:
        f = await slow.receive()
        if f['type'] == 'push':
            got.append(int(f['seq']))
        elif f['type'] == 'sync_needed':
            break
    assert got == list(range(1, len(got) + 1)) and len(got) < count
