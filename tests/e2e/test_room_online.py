"""Who of a room is there: counted over all workers, and kept right when
connections and workers come and go."""

import asyncio
import json
import os
import signal
import time

import pytest

from conftest import beside, drawn, refused
from im_client import Problem
from im_wait import lasts, pace, tries
from test_room_rules import create, redis
from test_rooms_edge import counts, online


async def ask(s, kind, **fields):
    """The answer to a frame; Problem if it is an error."""
    fields['id'] = str(time.monotonic_ns())
    await s.ws.send(json.dumps(dict(fields, type=kind)))
    while True:
        f = await s.receive()
        if f.get('id') == fields['id']:
            if f['type'] == 'error':
                raise Problem(kind, 1, f)
            return f
        s.frames.append(f)


async def online_is(room, user, n, seconds=8):
    """Within a second, and what a busy machine adds; a report that was lost
    would take 9 s at least."""
    async for _ in tries(lambda: 'online is %d, not %d' % (is_now, n),
                         seconds):
        is_now = (await room.get(user))['online']
        if is_now == n:
            return


async def there(room, user):
    page = await room.members(user, online='true')
    return [int(m['uid']) for m in page['members']]


async def two_workers(user):
    a = await user.connect()
    return a, await user.connect(other_than=[a.instance])


async def test_a_user_on_two_workers_is_one_of_a_group(api, people):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    room = await create(alice, members=[bob, carol])
    a, b = await two_workers(alice)
    await online_is(room, bob, 1)
    c = await bob.connect()
    await online_is(room, bob, 2)
    assert await there(room, carol) == sorted([alice.uid, bob.uid])
    assert {int(m['uid']): m['online'] for m in
            (await room.members(carol))['members']} == {
        alice.uid: True, bob.uid: True, carol.uid: False}
    await a.close()
    await lasts(1.5)
    assert (await room.get(bob))['online'] == 2
    await b.close()
    await online_is(room, bob, 1)
    assert await there(room, alice) == [bob.uid]
    await c.close()
    await online_is(room, bob, 0)


async def test_a_new_group_says_who_of_it_is_there(api, people):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    sockets = await two_workers(bob)
    room = await create(alice, members=[bob, carol])
    assert room.answer['online'] == 1
    a = await alice.connect()
    room = await create(alice, members=[bob, carol])
    assert room.answer['online'] == 2
    for s in (a, *sockets):
        await counts(s, str(room.id), 2)


async def test_who_is_added_while_connected_is_there(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice)
    s = await bob.connect()
    await room.add(alice, bob)
    ev = await s.expect('room_ev')
    assert (ev['room'], ev['event'], ev['uid']) == (
        str(room.id), 'joined', str(bob.uid))
    await room.send(alice, 'welcome')
    assert (await s.expect('push'))['body'] == 'welcome'
    await online_is(room, alice, 1)
    await room.remove(alice, bob)
    await online_is(room, alice, 0)
    await room.send(alice, 'he has gone')
    assert await s.nothing('push')


async def test_a_live_room_is_entered_and_left_by_frames(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, 'live', open=False)
    s = await bob.connect()
    with pytest.raises(Problem) as e:
        await ask(s, 'join', room=str(room.id))
    assert e.value.code == 'no_such_room'
    await room.add(alice, bob)
    await room.send(alice, 'not for him yet')
    assert await s.nothing('push')
    r = await ask(s, 'join', room=str(room.id))
    assert r['room']['role'] == 'member'
    await online_is(room, alice, 1)
    assert await there(room, alice) == [bob.uid]
    await room.send(alice, 'hello')
    assert (await s.expect('push'))['body'] == 'hello'
    await ask(s, 'leave', room=str(room.id))
    await online_is(room, alice, 0)
    await room.dismiss(alice)
    with pytest.raises(Problem) as e:
        await ask(s, 'join', room=str(room.id))
    assert e.value.code == 'room_dismissed'


async def test_somebody_is_sent_away_from_a_live_room(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, 'live')
    s, t = await two_workers(bob)
    for each in (s, t):
        await ask(each, 'join', room=str(room.id))
    await room.remove(alice, bob)
    await online_is(room, alice, 0)
    await room.send(alice, 'he has gone')
    assert await s.nothing('push') and await t.nothing('push', 0.1)
    with pytest.raises(Problem) as e:
        await ask(s, 'leave', room=str(room.id))
    assert e.value.code == 'not_member'
    await ask(s, 'join', room=str(room.id))
    await online_is(room, alice, 1)


async def test_a_full_live_room_takes_nobody_until_one_leaves(
        api, people, stack):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    room = await create(alice, 'live')
    a, b = await bob.connect(), await carol.connect()
    await ask(a, 'join', room=str(room.id))
    await online_is(room, alice, 1)
    # The instance says that it has 99,999 more.
    key = 'im:r:{%d}' % room.id
    (name, _), = [redis(stack, 'HGETALL', key).split()]
    redis(stack, 'HSET', key, name, '100000')
    with pytest.raises(Problem) as e:
        await ask(b, 'join', room=str(room.id))
    assert e.value.code == 'room_full'
    # Who is in it may say so again.
    await ask(a, 'join', room=str(room.id))
    redis(stack, 'HSET', key, name, '99999')
    await ask(b, 'join', room=str(room.id))


async def test_a_count_in_an_answer_to_join_is_corrected(api, people, stack):
    """It says something else than the others know: who is right is found out,
    though nobody has come or gone."""
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, 'live')
    first = await bob.connect()
    second = await beside(first, bob)
    await ask(first, 'join', room=str(room.id))
    await counts(first, str(room.id), 1)
    # Somebody is counted who is not there.
    key = 'im:r:{%d}' % room.id
    name, _ = redis(stack, 'HGETALL', key).split()
    redis(stack, 'HSET', key, name, '5')
    r = await ask(second, 'join', room=str(room.id))
    assert r['room']['online'] == 5
    await counts(second, str(room.id), 1, 5)


async def test_counts_of_a_crowd_are_right_2_s_after_the_last_one(
        api, people):
    alice, *some = await people(api, 'alice', *12 * ['member'])
    room = await create(alice, 'live')
    sockets = [await u.connect() for u in some]

    async def come(s, after):
        await pace(after)
        r = await ask(s, 'join', room=str(room.id))
        return r['room'].get('online', 0)

    last = await asyncio.gather(*[come(s, 0.1 * n)
                                  for n, s in enumerate(sockets)])
    await asyncio.gather(*[counts(s, str(room.id), len(some), n)
                           for s, n in zip(sockets, last)])


async def test_users_of_a_worker_that_died_are_not_there(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, members=[bob])
    s = await alice.connect()
    t = await bob.connect(other_than=[s.instance])
    await online_is(room, bob, 2)
    name = [n for n in redis(stack, 'HKEYS', 'im:r:{%d}' % room.id).split()
            if s.instance in n]
    pid = int(name[0].split('-')[-2])
    assert pid in stack.workers()
    # What is told after that is told because of the death.
    await online(t, str(room.id), 2)
    os.kill(pid, signal.SIGKILL)
    # The lease of an instance is 3 s.
    await online(t, str(room.id), 1, 15)
    await online_is(room, bob, 1)
    assert await there(room, bob) == [bob.uid]


def forget(stack):
    """Redis forgets who is where, but not the numbers of conversations: they
    would skip ahead for the tests that follow.  By the last key Logic sees
    that it has."""
    for pattern in ('im:u:*', 'im:r:*', 'im:rl:*', 'im:g:*', 'im:presence'):
        keys = redis(stack, '--scan', '--pattern', pattern).split()
        if keys:
            redis(stack, 'DEL', *keys)


async def test_a_redis_that_forgot_who_is_where_learns_it_again(api, people,
                                                                stack):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, members=[bob])
    live = await create(alice, 'live')
    s = await bob.connect()
    await ask(s, 'join', room=str(live.id))
    await online_is(room, alice, 1)
    await online_is(live, alice, 1)
    forget(stack)
    await online_is(room, alice, 1, 6)
    await online_is(live, alice, 1, 6)
    await room.send(alice, 'still there')
    assert (await s.expect('push'))['body'] == 'still there'


async def test_members_who_are_there_come_in_pages(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, 'live')
    s = await bob.connect()
    await ask(s, 'join', room=str(room.id))
    await online_is(room, alice, 1)
    name = redis(stack, 'HKEYS', 'im:r:{%d}' % room.id).split()[0]
    # Users of an earlier version, neighbours and others.
    uids = [*range(7, 107), *range(bob.uid + 1, bob.uid + 6), *drawn(195)]
    redis(stack, 'ZADD', 'im:rl:{%d}:%s' % (room.id, name),
          *(w for uid in uids for w in (str(uid), str(uid))))
    want = sorted(uids + [bob.uid])
    got, after, pages = [], 0, 0
    while True:
        page = await room.members(alice, limit=100, after=after)
        assert all(m['online'] and 'role' not in m for m in page['members'])
        got += [int(m['uid']) for m in page['members']]
        pages += 1
        if not page['more']:
            break
        after = got[-1]
    assert got == want and pages == 4
    # Neighbours share a score: none is lost between two pages.
    first = want.index(bob.uid)
    for n in range(first, first + 6):
        page = await room.members(alice, limit=1, after=want[n - 1])
        assert [int(m['uid']) for m in page['members']] == [want[n]]
    await refused(room.members(alice, limit=0), 400, 'bad_field')
