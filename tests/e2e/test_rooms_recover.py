"""What a worker was told of rooms and presence is not the only copy: what is
lost with a Logic, with Redis or with a worker is made good within seconds."""

import asyncio
import contextlib
import itertools
import os
import signal
import time

from conftest import beside
from im_client import Problem
from im_wait import lasts, tries
from test_dedupe import redis
from test_rooms_edge import (acked, ask, counts, frames_now, group, live,
                             online)


async def until(seconds, fn):
    """What fn returns once it is true."""
    async for _ in tries('not within %g s' % seconds, seconds, 0.2):
        with contextlib.suppress(Problem):
            found = await fn()
            if found:
                return found


async def heard(s, body, seconds=20):
    """Whether this was pushed; older ones are taken away."""
    end = time.monotonic() + seconds
    while True:
        try:
            f = await s.expect('push', max(0.01, end - time.monotonic()))
        except Problem:
            return False
        if f['body'] == body:
            return True


async def test_changes_that_were_lost_with_a_logic_take_effect(
        api, people, stack):
    """Nobody was told: as if Logic had died between MySQL and the workers."""
    alice, bob, carl, dora = await people(api, 'alice', 'bob', 'carl', 'dora')
    room = await group(alice, bob, dora)
    a, b, c = [await u.connect() for u in (alice, bob, carl)]
    d = await beside(b, dora)
    await acked(a, room, 'before')
    assert await heard(b, 'before')
    now = int(time.time() * 1000)
    stack.mysql('DELETE FROM members WHERE room = %s AND uid = %d;'
                'DELETE FROM conversations WHERE uid = %d AND conv_a = 0 '
                'AND conv_b = %s;'
                'INSERT INTO members VALUES (%s, %d, 1, 0, %d);'
                'INSERT INTO conversations (uid, conv_a, conv_b) '
                'VALUES (%d, 0, %s);' % (room, bob.uid, bob.uid, room, room,
                                         carl.uid, now, carl.uid, room))
    for u in (bob, carl):
        redis(stack, 'DEL', 'im:g:{%d}' % u.uid)
    for name, pid in stack.pids().items():
        if name.startswith('logic'):
            os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(stack.tool, 'wait', stack.name)
    said = itertools.count()

    async def as_mysql_says(seconds=0.5):
        body = 'after %d' % next(said)
        await acked(a, room, body)
        # Dora is on bob's worker: what he is sent, he was sent with her.
        return (await heard(d, body) and await heard(c, body, seconds)
                and body not in [f.get('body') for f in await frames_now(b)])

    await until(15, as_mysql_says)
    await lasts(1)
    assert await as_mysql_says(20)     # and it stays so


async def test_redis_was_emptied_and_all_is_there_again_within_5_s(
        api, people, stack):
    alice, bob, carl = await people(api, 'alice', 'bob', 'carl')
    room, tea = await live(alice), await group(alice, bob)
    a, b = await alice.connect(), await bob.connect()
    for s in (a, b):
        await ask(s, 'join', 'join_res', room=room)
    await ask(a, 'presence_sub', 'presence_res', add=[str(carl.uid)])
    await online(a, room, 2)
    redis(stack, 'FLUSHALL')
    began = time.monotonic()
    try:
        async def counted():
            rs = [await api.call('GET', '/v1/rooms/' + r, alice.token)
                  for r in (room, tea)]
            p = await api.call('POST', '/v1/presence', alice.token,
                               json={'uids': [str(bob.uid)]})
            return ([r['online'] for r in rs] == [2, 2]
                    and p['users'][0]['online'])
        await until(5, counted)
        for r in (room, tea):
            await acked(a, r, 'hello ' + r)
            assert await heard(b, 'hello ' + r)
        await lasts(max(0, began + 5 - time.monotonic()))
        c = await carl.connect()
        while True:
            f = await a.expect('presence')
            if f['users'][0]['online']:
                break
        assert f['users'][0]['uid'] == str(carl.uid)
        await c.close()
    finally:
        # as after a long life, for the tests to come
        redis(stack, 'SET', 'im:memory:{0}', '0')


async def test_counts_are_right_after_redis_was_emptied(api, people, stack):
    """Those who join again are answered while nothing is known of the room; in
    the end each has the right number, and so has who did not join again."""
    users = await people(api, *6 * ['member'])
    room = await live(users[0])
    sockets = [await u.connect() for u in users]
    for s in sockets:
        await ask(s, 'join', 'join_res', room=room)
    for s in sockets:
        await online(s, room, len(users))
    last = dict.fromkeys(sockets, len(users))
    redis(stack, 'FLUSHALL')
    try:
        for s in sockets[:4]:
            f = await ask(s, 'join', 'join_res', room=room)
            s.frames.clear()           # it is newer than these
            last[s] = f['room']['online']
        await asyncio.gather(*[counts(s, room, len(users), last[s])
                               for s in sockets])
    finally:
        # as after a long life, for the tests to come
        redis(stack, 'SET', 'im:memory:{0}', '0')


async def test_what_is_said_after_redis_was_emptied_is_not_missed(
        api, people, stack):
    """Nobody is found until all have been announced again: they are told."""
    users = await people(api, 'alice', 'bob', 'carl', 'dora')
    sockets = [await users[0].connect()]
    for u in users[1:3]:
        sockets.append(await u.connect(other_than=[sockets[0].instance]))
    sockets.append(await beside(sockets[0], users[3]))
    a = sockets[0]
    redis(stack, 'FLUSHALL')
    began = time.monotonic()
    try:
        async def said():
            return await a.send(users[1].uid, 'hello')
        await until(20, said)
        for s in sockets:
            await s.expect('sync_needed',
                           max(0.01, began + 20 - time.monotonic()))
    finally:
        # as after a long life, for the tests to come
        redis(stack, 'SET', 'im:memory:{0}', '0')


async def test_a_worker_that_dies_takes_its_users_out_of_the_room(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    room = await live(alice)
    a = await alice.connect()
    b = await bob.connect(other_than=[a.instance])
    for s in (a, b):
        await ask(s, 'join', 'join_res', room=room)
    await ask(a, 'presence_sub', 'presence_res', add=[str(bob.uid)])
    await online(a, room, 2)
    os.kill(int(b.instance.split('-')[-2]), signal.SIGKILL)
    await online(a, room, 1, 15)
    while (await a.expect('presence', 15))['users'][0]['online']:
        pass
    b = await bob.connect()
    await ask(b, 'join', 'join_res', room=room)
    await acked(a, room, 'again')
    assert await heard(b, 'again')
