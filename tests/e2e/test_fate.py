"""What became of a number is known at once: nobody waits above a gap.

A message that was refused leaves a number that is nobody's.  Whoever has a
message above it shows it as soon as the server says so.
"""

import asyncio
import contextlib
import os
import signal
import time

import pytest

from im_app import App
from im_checker import check
from im_client import new_cmid
from test_dedupe import redis
from test_room_rules import create
from conftest import taken
from im_wait import lasts, pace, until

# Nobody waits longer above a gap, however busy the machine is.  It takes 1 to
# 4 s: a broker that is back first waits for the former selves of the store's
# members, a session of 2 s.  The campaign of faults has the limits of time.
ABOVE_S = 15
# A new conversation, after Redis has lost its memory; and four times as long
# as before, for the machine may be busy.
SHOWN_S = 0.2
MANY = 200             # conversations
SLOW = 5 if 'asan' in os.environ.get('IM_TEST_BUILD', '') else 1


def waits(app):
    """How long each message that had come was not shown, in s, by seq."""
    came, out = {}, {}
    for e in app.events:
        if e.device != app.name:
            continue
        if e.kind in ('push', 'fetch', 'ack') and e.seq is not None:
            came.setdefault((e.conv, e.seq), e.time)
        elif e.kind == 'deliver':
            out[e.seq] = e.time - came.get((e.conv, e.seq), e.time)
    return out


def voids(app):
    return [(e.seq, e.extra) for e in app.events
            if e.kind == 'void' and e.device == app.name]


async def kafka_is_killed(stack, seconds):
    await asyncio.to_thread(stack.tool, 'ctl', stack.name, 'signal', 'KILL',
                            'kafka')
    await asyncio.to_thread(stack.tool, 'wait', stack.name)


async def kafka_is_frozen(stack, seconds):
    pid = stack.pids()['kafka']
    os.kill(pid, signal.SIGSTOP)
    try:
        await lasts(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


async def talk(app, to, until):
    n = 0
    while not until.is_set():
        app.post(to, {'n': n})
        n += 1
        await pace(0.02)


@pytest.mark.parametrize('away', [
    pytest.param(kafka_is_killed, marks=pytest.mark.full), kafka_is_frozen])
async def test_after_kafka_was_away_nobody_waits_above_a_gap(
        api, people, stack, away):
    """In `make test` the campaign kills Kafka (kill-kafka)."""
    events = []
    a, b = [App(u, events=events).start()
            for u in await people(api, 'alice', 'bob')]
    end = asyncio.Event()
    both = asyncio.gather(talk(a, b.user.uid, end), talk(b, a.user.uid, end))
    await lasts(0.5)
    await away(stack, 7)
    await lasts(3)
    end.set()
    await both
    for app in (a, b):
        await app.settle(40)
    worst = max(w for app in (a, b) for w in waits(app).values())
    print('above a gap: %.2f s, voids %s' % (worst, voids(a)))
    sent = {(e.sender, e.cmid) for e in events if e.kind == 'send'}
    await stack.stored(a.user, b.user, len(sent))
    report = check(events, stack.rows(a.user, b.user), {a.name, b.name})
    assert report.good(), report.text()
    assert worst < ABOVE_S * SLOW


async def first_contact(api, people, socket):
    """How long a message to somebody new is on its way, in s."""
    dave = await people(api, 'dave')
    d = await dave.connect()
    began = time.monotonic()
    ack = await socket.send(dave.uid, 'shown', new_cmid())
    push = await d.expect('push')
    assert push['seq'] == ack['seq'] == '1'
    return time.monotonic() - began


async def test_after_redis_lost_its_memory_conversations_go_on_without_a_gap(
        api, people, stack):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    for n in range(3):
        await alice.send(bob.uid, n)
    s, b, c = [await u.connect() for u in (alice, bob, carol)]
    before = await first_contact(api, people, s)
    redis(stack, 'FLUSHALL')
    acks = [await taken(s.send, bob.uid, 'after %d' % n, new_cmid())
            for n in range(3)]
    assert [int(k['seq']) for k in acks] == [4, 5, 6]
    ack = await taken(s.send, carol.uid, 'new', new_cmid())
    assert ack['seq'] == '1'
    # The workers have said again who is there.
    await b.expect('sync_needed')
    after = await first_contact(api, people, s)
    assert after < (SHOWN_S + 4 * before) * SLOW, (before, after)


async def test_losses_while_the_store_stands_still_give_no_number_twice(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    s = await alice.connect()
    seqs = [int((await s.send(bob.uid, 'before', new_cmid()))['seq'])]
    await stack.stored(alice, bob, 1)
    stack.tool('ctl', stack.name, 'stop', 'task-1')
    try:
        # At the first one the store still has all.
        for n in range(3):
            redis(stack, 'FLUSHALL')
            ack = await taken(s.send, bob.uid, 'after %d' % n, new_cmid())
            seqs.append(int(ack['seq']))
    finally:
        stack.tool('ctl', stack.name, 'start', 'task-1')
    rows = await stack.stored(alice, bob, 4)
    assert [int(seq) for seq, _ in rows] == seqs == sorted(set(seqs))


def counted(stack, table, rooms, where='1'):
    """How many of these rooms have such rows."""
    return int(stack.mysql(
        'SELECT COUNT(DISTINCT conv_b) FROM %s WHERE conv_a = 0 AND %s AND '
        'conv_b IN (%s)' % (table, where, ','.join(
            str(r.id) for r in rooms)))[0][0])


async def test_of_many_jumps_each_is_decided(api, people, stack):
    alice = await people(api, 'alice')
    rooms = [await create(alice) for _ in range(MANY)]
    await asyncio.gather(*(taken(r.send, alice, 'before') for r in rooms))
    await until(lambda: counted(stack, 'messages', rooms) == MANY,
                'not stored', 30 * SLOW)
    stack.tool('ctl', stack.name, 'stop', 'task-1')
    try:
        # At the first loss the store still has all, at the second one not.
        for body in ('between', 'after'):
            redis(stack, 'FLUSHALL')
            acks = await asyncio.gather(*(taken(r.send, alice, body)
                                          for r in rooms))
        assert all(int(a['seq']) > 1 << 20 for a in acks)
    finally:
        stack.tool('ctl', stack.name, 'start', 'task-1')
    await until(lambda: counted(stack, 'voids', rooms, 'from_seq <= to_seq')
                == MANY, 'jumps are not decided', 30 * SLOW)
    # None of them covers a message.
    assert stack.mysql(
        'SELECT COUNT(*) FROM voids v JOIN messages m ON m.conv_a = v.conv_a '
        'AND m.conv_b = v.conv_b AND m.seq BETWEEN v.from_seq AND v.to_seq '
        'WHERE v.conv_a = 0 AND v.conv_b IN (%s)' % ','.join(
            str(r.id) for r in rooms)) == [['0']]
