"""Who was removed from a room gets nothing more of it: while people talk, while
his worker stands still, and where the worker was not told of all removals.

A removal nobody is told of, as if a Logic had died between MySQL and the
workers, is a row that this test writes; another one by the API makes Logic
forget the number."""

import asyncio
import itertools
import os
import signal
import time

import pytest

from conftest import beside
from im_client import Api, Problem
from im_frozen import frozen, pid_of
from im_wait import lasts, pace
from test_dedupe import redis
from test_presence import links_opened
from test_rooms_edge import acked, ask, event, frames_now, \
    frames_until, group, is_event, is_push, live, pushed, refused, say

ghosts = itertools.count(1 << 40)


async def test_nobody_gets_what_was_said_after_he_was_removed(api, people):
    """Removed and added again while somebody talks: between the answer to the
    one and the request of the other nothing is for him."""
    alice, bob, carl = await people(api, 'alice', 'bob', 'carl')
    room = await group(alice, bob, carl)
    a = await alice.connect()
    bs = [await bob.connect()]
    bs.append(await bob.connect(other_than=[bs[0].instance]))
    # Carl stays: what he is pushed has been pushed to all on that worker.
    cs = [await beside(b, carl) for b in bs]
    path = '/v1/rooms/%s/members' % room
    state = 'in'                       # None: nobody can say
    sent = {'in': [], 'out': []}
    last = 0
    stop = asyncio.Event()

    async def chatter():
        nonlocal last
        for n in itertools.count():
            if stop.is_set():
                break
            before = state
            await acked(a, room, n)
            last = n
            # What begins and ends in one state is of that state.
            if before and state == before:
                sent[state].append(n)
            await pace(0.002)

    talk = asyncio.create_task(chatter())

    async def some_are_said():
        end, count = time.monotonic() + 20, len(sent[state]) + 4
        while len(sent[state]) < count:
            if talk.done():
                await talk
            assert time.monotonic() < end, 'nothing is said any more'
            await pace(0.005)

    async def all_is_pushed(last):
        for c in cs:
            await frames_until(c, is_push(last), '%d is not pushed' % last)

    for turn in range(15):
        await some_are_said()
        state = None
        await all_is_pushed(sent['in'][-1])
        await api.call('DELETE', '%s/%d' % (path, bob.uid), alice.token)
        state = 'out'
        await some_are_said()
        state = None
        await all_is_pushed(sent['out'][-1])
        marks = [len(await frames_now(b)) for b in bs]
        await api.call('POST', path, alice.token,
                       json={'uids': [str(bob.uid)]})
        for b, mark in zip(bs, marks):
            await frames_until(b, is_event('joined', bob), 'is not let in',
                               since=mark)
        state = 'in'
    await some_are_said()
    stop.set()
    await talk
    await all_is_pushed(last)
    for b in bs:
        got = {f['body'] for f in await frames_now(b) if f['type'] == 'push'}
        shown = sorted(got.intersection(sent['out']))
        assert not shown, shown
        missed = sorted(set(sent['in']) - got)
        assert not missed, missed


async def together(*users):
    """A connection of each, all on one worker."""
    first = await users[0].connect()
    return [first] + [await beside(first, u) for u in users[1:]]


def bodies(frames, room=None):
    return [f['body'] for f in frames
            if f['type'] == 'push' and room in (None, f.get('room'))]


async def restart_logics(stack):
    was = {n: p for n, p in stack.pids().items() if n.startswith('logic')}
    for pid in was.values():
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        while True:
            now = stack.pids()
            if all(now.get(n, pid) != pid for n, pid in was.items()):
                break
            await pace(0.1)


async def is_forgotten(stack, instance):
    """etcd does not name this worker any more, and its streams have ended: they
    take 3 s of silence."""
    await lasts(3.5)
    await stack.lease_ends(instance)


async def both_kinds(owner, *members):
    """A group and a live room by invitation, and their members in them.  Takes
    (user, connection) pairs."""
    users, sockets = zip(owner, *members)
    stage = await live(users[0], open=False)
    await users[0].api.call(
        'POST', '/v1/rooms/%s/members' % stage, users[0].token,
        json={'uids': [str(u.uid) for u in users[1:]]})
    for s in sockets:
        await ask(s, 'join', 'join_res', room=stage)
    tea = await group(*users)
    for s, u in zip(sockets[1:], users[1:]):
        await event(s, 'joined', u)
    return tea, stage


async def surely(stack, method, path, token, **more):
    """By whichever worker and Logic there is."""
    end = time.monotonic() + 30
    while True:
        try:
            async with Api(stack.http) as fresh:
                return await fresh.call(method, path, token, **more)
        except Problem as e:
            # 0: no answer at all
            if (e.status and not e.body.get('retryable')
                    or time.monotonic() > end):
                raise
        await pace(0.05)


async def until_all_hear(s, rooms, sent, speak):
    """Speaks on until it is pushed in all rooms: routes may be late."""
    end = time.monotonic() + 20
    while True:
        await speak()
        try:
            for room in rooms:
                await frames_until(s, is_push(sent[room][-1], room),
                                   'a member is pushed nothing', 1)
            return
        except AssertionError:
            if time.monotonic() > end:
                raise


@pytest.mark.parametrize('how', ['for a moment', 'past its lease',
                                 'and all Logics restart'])
async def test_who_is_removed_while_his_worker_stands_still_gets_no_more(
        api, people, stack, how):
    """From the answer to the removal on: whatever the worker reads first when
    it goes on, and whatever it was not told.  A member who stays is on it, too;
    he misses nothing unknowingly."""
    alice, bob, carl = await people(api, 'alice', 'bob', 'carl')
    b, c = await together(bob, carl)
    a = await alice.connect(other_than=[b.instance])
    rooms = await both_kinds((alice, a), (bob, b), (carl, c))
    for room in rooms:
        await acked(a, room, 'before')
        for s in (b, c):
            await pushed(s, 'before')
    sent, numbers = {room: [] for room in rooms}, itertools.count()

    async def speak():
        n = next(numbers)
        for room in rooms:
            if isinstance(await say(a, room, n), dict):
                sent[room].append(n)

    with frozen(pid_of(b.instance)):
        if how == 'past its lease':
            await is_forgotten(stack, b.instance)
        elif how != 'for a moment':
            await lasts(1)
            await restart_logics(stack)
        for room in rooms:
            await surely(stack, 'DELETE', '/v1/rooms/%s/members/%d' % (
                room, bob.uid), alice.token)
        for _ in range(5):
            await speak()
        await lasts(0.5)
    # It opens all again 1 s after its links broke, and 1 s after their return.
    end = time.monotonic() + (2.5 if how == 'for a moment' else 4)
    while time.monotonic() < end:
        await speak()
        await pace(0.01)
    await until_all_hear(c, rooms, sent, speak)
    got = bodies(await frames_now(b))
    assert set(got) <= {'before'}, 'removed, and still gets %s' % got
    for room in rooms:
        got = [n for n in bodies(c.frames, room) if n != 'before']
        assert got == sorted(got)
        # A gap is seen by the client; a break of links alone makes none,
        # unless the removal had to wait for this worker and it lost its lease.
        missed = sorted(set(sent[room]) - set(got))
        if missed and how == 'for a moment':
            await frames_until(c, lambda f: f['type'] == 'sync_needed',
                               'missed %s unknowingly' % missed)
    assert await refused(b, 'history', room=rooms[0]) == 'no_such_room'


async def test_who_is_added_while_his_worker_stands_still_is_told_to_sync(
        api, people, stack):
    """Nothing shows him that there were messages: he had none before."""
    alice, carl = await people(api, 'alice', 'carl')
    c = await carl.connect()
    a = await alice.connect(other_than=[c.instance])
    room = await group(alice)
    with frozen(pid_of(c.instance)):
        await is_forgotten(stack, c.instance)
        await surely(stack, 'POST', '/v1/rooms/%s/members' % room,
                     alice.token, json={'uids': [str(carl.uid)]})
        await acked(a, room, 'meanwhile')
    await c.expect('sync_needed', 20)
    await acked(a, room, 'after')
    # 'meanwhile' may be pushed as well.
    await frames_until(c, is_push('after'), 'he is not in it')


async def an_untold_one_counts(api, people, stack, kind, others):
    """As if Logic had died between MySQL and the workers.  Then others, so
    many, were removed before him."""
    alice, bob, carl = await people(api, 'alice', 'bob', 'carl')
    b, c = await together(bob, carl)
    a = await alice.connect(other_than=[b.instance])
    for _ in range(3):
        links = links_opened(stack)
        rooms = await both_kinds((alice, a), (bob, b), (carl, c))
        room = rooms[kind == 'live']
        await acked(a, room, 'before')
        for s in (b, c):
            await pushed(s, 'before')
        stack.mysql('DELETE FROM members WHERE room = {0} AND uid = {1};'
                    'INSERT INTO removals SELECT {0}, seq + 1000000000, seq '
                    'FROM seq_1_to_9000 WHERE seq <= {2};'
                    'INSERT INTO removals VALUES ({0}, {1}, {2} + 1)'
                    .format(room, bob.uid, others))
        await lasts(5.2)               # Logic remembers for 5 s
        for n in range(20):
            await acked(a, room, n)
        await pushed(c, *range(20))
        frames = await frames_now(b)
        assert bodies(frames) == []
        told = [f['uid'] for f in frames if f['type'] == 'room_ev'
                and f.get('event') == 'removed']
        if told or (links == links_opened(stack) and not any(
                f['type'] == 'sync_needed' for f in frames)):
            break
        # Meanwhile the worker has asked for all lists, because of what a test
        # before has done: so it knew.
        b.frames.clear()
    assert told == [str(bob.uid)], frames


async def test_a_removal_that_nobody_was_told_counts_for_the_next_message(
        api, people, stack):
    """In a group, in a live room, and when more have left than one answer
    names; side by side, for each has to wait."""
    await asyncio.gather(*(
        an_untold_one_counts(api, people, stack, kind, others)
        for kind, others in (('group', 0), ('live', 0), ('group', 9000))))


# The worker finds out by asking.


def members(room, uid=None):
    return '/v1/rooms/%s/members%s' % (room, '' if uid is None
                                       else '/%d' % uid)


def remove_untold(stack, room, uid=None):
    """A ghost, who was never there: only the number counts.  What Redis
    remembers is marked before the commit, as by any Logic."""
    for key in ['im:rm:{%s}' % room] + (['im:g:{%d}' % uid] if uid else []):
        redis(stack, 'SET', key, 'x0', 'EX', '30')
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
    await acked(a, room, 'before')
    # All connections are opened again 1 s after this, and after the return.
    await restart_logics(stack)
    await surely(stack, 'POST', members(room), alice.token,
                 json={'uids': [str(bob.uid)]})
    remove_untold(stack, room, bob.uid)
    await surely(stack, 'DELETE', members(room, dave.uid), alice.token)
    begin = time.monotonic()
    for n in itertools.count():
        await acked(a, room, n)
        if time.monotonic() > begin + 3.5:
            break
        await pace(0.02)
    await frames_until(c, is_push(n), 'a member is not pushed the last one')
    got = bodies(await frames_now(b))
    assert got in ([], ['before']), 'removed, and still gets %s' % got


async def test_a_message_does_not_wait_for_what_only_a_later_one_needs(
        api, people, stack):
    """And what MySQL does not know (it was restored from a backup, say) is
    waited for some seconds, not for ever; then members are told to sync."""
    alice, carl, dave, erin = await people(api, 'alice', 'carl', 'dave', 'erin')
    c = await carl.connect()
    a = await alice.connect(other_than=[c.instance])
    for _ in range(3):
        room = await group(alice, carl, dave, erin)
        await acked(a, room, 'before')
        await pushed(c, 'before')
        remove_untold(stack, room)
        began = time.monotonic()
        with frozen(pid_of(c.instance)):
            await surely(stack, 'DELETE', members(room, dave.uid), alice.token)
            await acked(a, room, 'first')
            remove_untold(stack, room)
            await surely(stack, 'DELETE', members(room, erin.uid), alice.token)
            await acked(a, room, 'second')
            stack.mysql('DELETE FROM removals WHERE room = %s AND no > 2'
                        % room)
            await lasts(0.3)
        stood = time.monotonic() - began
        if stood < 1.8:
            break
        # So long that Task may have given the worker up (2 s): it is told to
        # sync, and there is nothing to be seen.
        await lasts(8)
        c.frames = [f for f in await frames_now(c) if f['type'] == 'room_ev']
    assert stood < 1.8, 'two removals take %.1f s here' % stood
    first = await c.expect('push', 15)
    came = time.monotonic()
    await pushed(c, 'second')
    waited = time.monotonic() - came
    assert first['body'] == 'first', first
    # It is asked for some time, 5 s, who else was removed.
    assert waited > 2, 'the first came only %.1f s before' % waited
    await c.expect('sync_needed')
    # From now on MySQL's numbers are those that count.
    remove_untold(stack, room, carl.uid)
    await lasts(5.2)                   # Logic remembers for 5 s
    await acked(a, room, 'after')
    await event(c, 'removed', carl)
    assert bodies(await frames_now(c)) == []


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
            await surely(stack, 'DELETE', members(room, u.uid), alice.token)

    leaving = asyncio.create_task(leave())
    n = 0
    while not leaving.done() or n < 50:
        await acked(a, room, n)
        n += 1
    await leaving
    await pushed(c, *range(n))
    assert not [f for f in await frames_now(c) if f['type'] == 'sync_needed']
