"""Who was removed, where the worker was not told of all removals: as if a Logic
had died between MySQL and the workers.  A removal nobody is told of is a row
that this test writes; another one by the API makes Logic forget the number."""

import asyncio
import contextlib
import itertools
import os
import signal
import time

from im_client import Api, Problem
from test_rooms import all_frames, bodies, restart_logics, together
from test_rooms_edge import group, say

ghosts = itertools.count(1 << 40)


async def till_it_is_done(stack, method, path, token, **more):
    """By whichever Logic there is."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(Problem, OSError):
                async with Api(stack.http) as fresh:
                    return await fresh.call(method, path, token, **more)
            await asyncio.sleep(0.05)


def members(room, uid=None):
    return '/v1/rooms/%s/members%s' % (room, '' if uid is None
                                       else '/%d' % uid)


def remove_untold(stack, room, uid=None):
    """A ghost, who was never there: only the number counts."""
    sql = ('INSERT INTO removals SELECT {0}, {1}, COALESCE(MAX(no), 0) + 1 '
           'FROM removals WHERE room = {0};')
    if uid is not None:
        sql = 'DELETE FROM members WHERE room = {0} AND uid = {1};' + sql
    stack.mysql('START TRANSACTION;' + sql.format(room, uid or next(ghosts))
                + 'COMMIT')


async def test_opening_again_lets_in_nobody_who_was_removed_since_he_was_added(
        api, people, stack):
    """The worker was told that he was added, a moment ago, but not that he was
    removed again, which it found out by asking."""
    alice, bob, carl, dave = await people(api, 'alice', 'bob', 'carl', 'dave')
    b, c = await together(bob, carl)
    a = await alice.connect(other_than=[b.instance])
    room = await group(alice, carl, dave)
    await say(a, room, 'before')
    # All connections are opened again 1 s after this, and after the return.
    await restart_logics(stack)
    begin = time.monotonic()
    await till_it_is_done(stack, 'POST', members(room), alice.token,
                          json={'uids': [str(bob.uid)]})
    remove_untold(stack, room, bob.uid)
    await till_it_is_done(stack, 'DELETE', members(room, dave.uid),
                          alice.token)
    n = 0
    while time.monotonic() < begin + 4:
        if isinstance(await say(a, room, n), dict):
            last = n
        n += 1
        await asyncio.sleep(0.02)
    got = bodies(await all_frames(b))
    assert got in ([], ['before']), 'removed, and still gets %s' % got
    got = bodies(await all_frames(c))
    assert got[-1] == last


async def test_a_message_does_not_wait_for_what_only_a_later_one_needs(
        api, people, stack):
    """And what MySQL does not know (it was restored from a backup, say) is
    waited for some seconds, not for ever; then members are told to sync."""
    alice, carl, dave, erin = await people(api, 'alice', 'carl', 'dave', 'erin')
    c = await carl.connect()
    a = await alice.connect(other_than=[c.instance])
    room = await group(alice, carl, dave, erin)
    await say(a, room, 'before')
    assert (await c.expect('push'))['body'] == 'before'
    pid = int(c.instance.rsplit('-', 2)[1])
    os.kill(pid, signal.SIGSTOP)
    try:
        for who, body in ((dave, 'first'), (erin, 'second')):
            remove_untold(stack, room)
            await till_it_is_done(stack, 'DELETE', members(room, who.uid),
                                  alice.token)
            assert (await say(a, room, body))['type'] == 'ack'
        stack.mysql('DELETE FROM removals WHERE room = %s AND no > 2' % room)
        await asyncio.sleep(0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    thawed = time.monotonic()
    assert (await c.expect('push', 4))['body'] == 'first'
    assert (await c.expect('push', 15))['body'] == 'second'
    assert time.monotonic() - thawed > 3, 'it is to be asked for some time'
    await c.expect('sync_needed', 5)
    # From now on MySQL's numbers are those that count.
    remove_untold(stack, room, carl.uid)
    await asyncio.sleep(5.2)           # Logic remembers for 5 s
    await say(a, room, 'after')
    frames = await all_frames(c)
    assert bodies(frames) == []
    assert [f['uid'] for f in frames if f['type'] == 'room_ev'
            and f.get('event') == 'removed'][-1] == str(carl.uid)


async def test_a_room_goes_on_while_many_leave_it_and_some_are_not_told(
        api, people, stack):
    """All messages come, in their order, however the numbers come."""
    alice, carl, *others = await people(api, 'alice', 'carl', *(
        'u%d' % i for i in range(12)))
    c = await carl.connect()
    a = await alice.connect(other_than=[c.instance])
    room = await group(alice, carl, *others)

    async def leave():
        for i, u in enumerate(others):
            if i % 2:
                remove_untold(stack, room)
            await till_it_is_done(stack, 'DELETE', members(room, u.uid),
                                  alice.token)

    leaving = asyncio.create_task(leave())
    n = 0
    while not leaving.done() or n < 50:
        assert (await say(a, room, n))['type'] == 'ack'
        n += 1
    await leaving
    for k in range(n):
        assert (await c.expect('push', 5))['body'] == k
    assert not [f for f in await all_frames(c) if f['type'] == 'sync_needed']
