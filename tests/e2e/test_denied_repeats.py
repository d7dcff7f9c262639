"""What was acked stays acked: a repeat of it is, too, when its sender may not
speak there any more.  What was not accepted stays refused."""

import asyncio
import time

from conftest import taken
from im_client import Problem, new_cmid
from im_wait import tries, until
from test_blocks import block
from test_logic_steps import (DELIVERY_MS, VOID_S, Logic, answer, kafka_dies,
                              stopped)
from test_room_rules import call, create
from test_rooms_edge import ask


async def said(socket, body, cmid, **to):
    """The ack or the error of a message by frame."""
    await socket.write(type='send', cmid=cmid, body=body, **to)
    while True:
        f = await socket.receive()
        if f.get('cmid', '') == cmid and f['type'] in ('ack', 'error'):
            return f


async def sent(user, body, cmid, **to):
    """The same by HTTP."""
    try:
        return dict(await call(user, 'POST', 'messages', dict(
            to, cmid=cmid, body=body)), type='ack')
    except Problem as e:
        return dict(e.body, type='error')


async def decided(ask, *args, seconds=30, **to):
    """The answer to said() or sent(), once it is known whether the first try
    was stored: until then a client is told to come again."""
    async for _ in tries(lambda: f, seconds, 0.3):
        f = await ask(*args, **to)
        if f.get('code') != 'unavailable':
            break
    return f


async def places(alice, bob):
    """(what forbids it to bob, the code then, where) for each reason."""
    muted = await create(alice, members=[bob])
    left = await create(alice, members=[bob])
    gone = await create(alice, members=[bob])
    live = await create(alice, 'live')
    s = await bob.connect()
    await ask(s, 'join', 'join_res', room=str(live.id))
    return s, [
        (lambda: block(alice, bob.uid), 'blocked', {'to': str(alice.uid)}),
        (lambda: muted.set(alice, bob, mute_s=600), 'muted',
         {'room': str(muted.id)}),
        (lambda: left.remove(alice, bob), 'no_such_room',
         {'room': str(left.id)}),
        (lambda: gone.dismiss(alice), 'room_dismissed',
         {'room': str(gone.id)}),
        (lambda: ask(s, 'leave', 'leave_res', room=str(live.id)),
         'not_member', {'room': str(live.id)})]


async def kept(stack, acks, seconds=20):
    """They are in MySQL."""
    sql = 'SELECT COUNT(*) FROM messages WHERE msg_id IN (%s)' % ', '.join(
        a['msg_id'] for a in acks)
    await until(lambda: stack.mysql(sql) == [[str(len(acks))]],
                'not all of %s are stored' % acks, seconds)


async def test_a_repeat_of_what_was_acked_is_acked_though_it_is_forbidden_now(
        api, people, stack, tmp_path):
    alice, bob = await people(api, 'alice', 'bob')
    s, all_places = await places(alice, bob)
    acks = []
    for n, (forbid, _, to) in enumerate(all_places):
        acks.append(await decided(said, s, n, 'c', **to))
        assert acks[-1]['type'] == 'ack', acks[-1]
        await forbid()
    await kept(stack, acks)
    # Another Logic, which has to look it up.
    with stopped(stack, 'logic-1'), Logic(stack, tmp_path) as logic:
        await asyncio.to_thread(logic.takes_part)
        for n, ((_, code, to), ack) in enumerate(zip(all_places, acks)):
            for again in (await decided(sent, bob, n, 'c', **to),
                          await decided(said, s, n, 'c', **to)):
                assert again['type'] == 'ack' and again['dup'], (again, code)
                assert [again[k] for k in ('msg_id', 'seq', 'time_ms')] \
                    == [ack[k] for k in ('msg_id', 'seq', 'time_ms')]
            # What is new is refused, again and again, and takes no number.
            cmid = new_cmid()
            for _ in range(2):
                f = await decided(said, s, n, cmid, **to)
                assert (f['type'], f.get('code')) == ('error', code)
                f = await decided(sent, bob, n, cmid, **to)
                assert (f['type'], f.get('code')) == ('error', code)
            f = await decided(said, s, 'another body', 'c', **to)
            assert (f['type'], f.get('code')) == ('error', 'cmid_conflict')
            f = await decided(said, s, 'no cmid', '', **to)
            assert (f['type'], f.get('code')) == ('error', code)


async def test_a_forbidden_repeat_waits_for_the_store_to_know(
        api, people, stack, tmp_path):
    alice, bob = await people(api, 'alice', 'bob')
    with stopped(stack, 'task-1'):
        s = await bob.connect()
        ack = await decided(said, s, 'hello', 'c', to=str(alice.uid))
        assert ack['type'] == 'ack', ack
        await block(alice, bob.uid)
        with stopped(stack, 'logic-1'), Logic(stack, tmp_path) as logic:
            await asyncio.to_thread(logic.takes_part)
            f = await said(s, 'hello', 'c', to=str(alice.uid))
            assert (f.get('code'), f.get('retryable')) == (
                'unavailable', True), f
    # The store is back, and has its partitions in a moment.
    f = await decided(said, s, 'hello', 'c', to=str(alice.uid))
    assert f['type'] == 'ack' and f['msg_id'] == ack['msg_id'], f
    assert len(await stack.stored(alice, bob, 1)) == 1


async def test_a_number_that_was_not_confirmed_does_not_let_it_pass(
        api, people, stack, tmp_path):
    alice, bob = await people(api, 'alice', 'bob')
    cmid = new_cmid()
    with stopped(stack, 'logic-1'), Logic(
            stack, tmp_path, IM_KAFKA_DELIVERY_MS=str(DELIVERY_MS)) as logic:
        await asyncio.to_thread(logic.takes_part)
        s = await bob.connect()
        assert (await s.send(alice.uid, 'first'))['seq'] == '1'
        began = time.monotonic()
        async with kafka_dies(stack, answer(s, alice.uid, 'once', cmid)) as f:
            assert f.get('code') == 'unavailable', f
            await block(alice, bob.uid)
        f = await decided(answer, s, alice.uid, 'once', cmid)
        assert f.get('code') == 'blocked', f
        assert time.monotonic() >= began + VOID_S - 1
    assert [seq for seq, _ in await stack.stored(alice, bob, 1)] == ['1']
    # Kafka was away: the next test finds it in use again.
    t = await alice.connect()
    await taken(alice.send, alice.uid, 'a note')
    await t.expect('push', 30)
    assert len(await stack.stored(alice, alice, 1)) == 1
