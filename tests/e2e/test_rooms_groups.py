"""Redis remembers in which groups a user is, and is never behind MySQL: who
logs in is in his groups, all of them and no others."""

import asyncio
import os
import time

from conftest import drawn
from im_client import Socket
from test_accounts import signed
from test_dedupe import redis
from test_rooms_edge import acked, group
from test_rooms_recover import heard

CROWD = 200                  # more than one query asks for


def known(stack, uid):
    return ' '.join(redis(stack, 'GET', 'im:g:{%d}' % uid))


async def test_groups_are_remembered_at_the_first_log_in(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    await (await alice.connect()).close()
    assert known(stack, alice.uid) == '0'
    rooms = [await group(bob), await group(bob)]
    redis(stack, 'DEL', 'im:g:{%d}' % bob.uid)
    await (await bob.connect()).close()
    assert sorted(known(stack, bob.uid).split()) == sorted(rooms)
    assert 3500 < int(redis(stack, 'TTL', 'im:g:{%d}' % bob.uid)[0]) <= 3600


async def test_groups_are_remembered_again_right_after_a_change(
        api, people, stack):
    """So that nobody needs MySQL who connects again."""
    alice, bob = await people(api, 'alice', 'bob')
    room = await group(alice, bob)
    assert known(stack, bob.uid) == room
    await api.call('DELETE', '/v1/rooms/%s/members/%d' % (room, bob.uid),
                   alice.token)
    assert known(stack, bob.uid) == '0'
    assert known(stack, alice.uid) == room
    assert redis(stack, 'GET', 'im:rm:{%s}' % room) == ['1', str(bob.uid)]
    await api.call('POST', '/v1/rooms/%s/members' % room, alice.token,
                   json={'uids': [str(bob.uid)]})
    assert known(stack, bob.uid) == room
    assert redis(stack, 'GET', 'im:rm:{%s}' % room) == ['1']


async def test_groups_that_were_read_before_a_change_are_not_remembered(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    room = await group(alice, bob)
    a, b = await alice.connect(), await bob.connect()
    await acked(a, room, 'before')
    assert await heard(b, 'before')
    await api.call('DELETE', '/v1/rooms/%s/members/%d' % (room, bob.uid),
                   alice.token)
    # The mark of a change that is being made.
    redis(stack, 'SET', 'im:g:{%d}' % bob.uid, 'x1', 'EX', '30')
    # What any Logic would write that had asked MySQL too early.
    assert redis(stack, 'SET', 'im:g:{%d}' % bob.uid, room, 'NX') == []
    await b.close()
    b = await bob.connect()
    assert known(stack, bob.uid) == 'x1'
    await acked(a, room, 'after')
    assert not await heard(b, 'after', 1)
    # The change is over: from now on Redis is believed again.
    redis(stack, 'DEL', 'im:g:{%d}' % bob.uid)
    await b.close()
    b = await bob.connect()
    assert known(stack, bob.uid) == '0'
    await acked(a, room, 'later')
    assert not await heard(b, 'later', 1)


async def test_memory_in_another_form_is_replaced_by_what_mysql_says(
        api, people, stack):
    """As a Logic of an older version has left it."""
    alice, bob = await people(api, 'alice', 'bob')
    room = await group(alice, bob)
    redis(stack, 'DEL', 'im:g:{%d}' % bob.uid)
    redis(stack, 'SADD', 'im:g:{%d}' % bob.uid, '0')
    a, b = await alice.connect(), await bob.connect()
    await acked(a, room, 'hello')
    assert await heard(b, 'hello')


async def test_of_many_who_log_in_at_once_each_is_in_his_own_groups(
        api, people, stack):
    alice = await people(api, 'alice')
    rooms = [await group(alice) for _ in range(3)]
    now = int(time.time() * 1000)
    mark = 'crowd.%s.' % os.urandom(4).hex()
    uids = drawn(CROWD)
    stack.mysql('INSERT INTO users (uid, name, password, created_ms) VALUES '
                + ','.join("(%d, '%s%d', '*', %d)" % (uid, mark, n, now)
                           for n, uid in enumerate(uids)))
    # Every fourth is in none, one of two groups' members is in both.
    where = {}
    for n, uid in enumerate(uids):
        where[uid] = [[], rooms[:1], rooms[1:2], rooms[1:]][n % 4]
    pairs = [(uid, room) for uid, there in where.items() for room in there]
    stack.mysql('INSERT INTO members VALUES %s;'
                'INSERT INTO conversations (uid, conv_a, conv_b) VALUES %s;'
                % (','.join('(%s, %d, 1, 0, %d)' % (room, uid, now)
                            for uid, room in pairs),
                   ','.join('(%d, 0, %s)' % pair for pair in pairs)))
    with open(stack.env['IM_JWT_KEY_FILE'], 'rb') as f:
        key = f.read().strip()
    at = int(time.time())

    async def connect(uid):
        return await Socket.open(api.address, signed(
            key, sub=str(uid), sid=os.urandom(11).hex(), dev='crowd',
            typ='access', iat=at, exp=at + 900))

    sockets = await asyncio.gather(*map(connect, where))
    a = await alice.connect()
    for room in rooms:
        await acked(a, room, 'to ' + room)
    try:
        for s, (uid, there) in zip(sockets, where.items()):
            heard_here = [await s.expect('push') for _ in there]
            assert sorted(f['room'] for f in heard_here) == sorted(there)
            assert sorted(known(stack, uid).split()) \
                == sorted(there or ['0'])
        for s in sockets[::10]:
            assert await s.nothing('push', 0.1)
    finally:
        await asyncio.gather(*(s.close() for s in sockets))
