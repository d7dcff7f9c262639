"""Catching up: POST /v1/sync."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time

import pytest

from conftest import refused
from im_client import new_cmid
from im_wait import lasts, tries, until

VOID_S = 2 * 5 + 2 + 5          # [kafka] delivery_ms twice, and 7 s
BYTES_MAX = 128 * 1024


async def sync(user, *cursors, **args):
    """The answers to cursors of (uid, seq)."""
    r = await user.api.call('POST', '/v1/sync', user.token, json=dict(
        {'cursors': [{'with': str(w), 'seq': str(s)} for w, s in cursors]},
        **args))
    assert len(r['conversations']) == len(cursors)
    for (w, s), c in zip(cursors, r['conversations']):
        assert c['with'] == str(w)
        check(int(s), c)
    return r['conversations']


async def sync_one(user, other, seq=0, **args):
    return (await sync(user, (other.uid, seq), **args))[0]


async def settled(user, *cursors, seconds=30, **args):
    """The answers once none is pending: where the store lags by more than a
    second, a client is told so and asks again."""
    async for _ in tries(lambda: answer, seconds):
        answer = await sync(user, *cursors, **args)
        if not any(c['pending'] for c in answer):
            return answer


async def settled_one(user, other, seq=0, **args):
    return (await settled(user, (other.uid, seq), **args))[0]


def check(seq, c):
    """Messages and voids of an answer fill cursor..next without a hole."""
    if 'error' in c:
        assert c['next'] == '0' and c['messages'] == c['voids'] == []
        return
    got = [int(m['seq']) for m in c['messages']]
    assert got == sorted(set(got))
    for v in c['voids']:
        assert int(v['from']) <= int(v['to'])
        got += range(int(v['from']), int(v['to']) + 1)
    assert sorted(got) == list(range(seq + 1, int(c['next']) + 1))


async def burst(socket, to, count):
    """Sends 0..count-1 without a pause and waits for the acks."""
    for n in range(count):
        await socket.write(type='send', to=str(to.uid), body=n,
                           cmid=new_cmid())
    for _ in range(count):
        await socket.expect('ack')


def redis(stack, *command):
    r = subprocess.run(['redis-cli', '-s', stack.env['IM_REDIS'], *command],
                       stdout=subprocess.PIPE, text=True, timeout=20)
    assert r.returncode == 0
    return r.stdout.strip()


def counter(a, b):
    return 'im:s:{0}:%d:%d' % (min(a.uid, b.uid), max(a.uid, b.uid))


def bodies(c):
    return [m['body'] for m in c['messages']]


async def test_a_message_that_was_missed_is_there(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    sent = await alice.send(bob.uid, {'text': 'hello'}, cmid='a1')
    c = await settled_one(bob, alice)
    assert len(c['messages']) == 1, c
    m = c['messages'][0]
    assert m == {'seq': '1', 'msg_id': sent['msg_id'], 'cmid': 'a1',
                 'from': str(alice.uid), 'to': str(bob.uid),
                 'time_ms': sent['time_ms'], 'body': {'text': 'hello'}}
    assert (c['head'], c['next'], c['more'], c['pending'], c['voids']) == \
        ('1', '1', False, False, [])


async def test_500_missed_messages_come_page_by_page(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    s = await alice.connect()
    await burst(s, bob, 500)
    assert len(await stack.stored(alice, bob, 500)) == 500
    got, at, pages = [], 0, 0
    while True:
        c = await sync_one(bob, alice, at, limit=70)
        assert len(c['messages']) <= 70
        got += c['messages']
        at = int(c['next'])
        pages += 1
        if not c['more']:
            break
    assert [int(m['seq']) for m in got] == list(range(1, 501))
    assert c['head'] == '500'
    assert [m['body'] for m in got] == list(range(500)) and pages == 8


async def test_who_has_all_gets_nothing(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    for n in range(3):
        await alice.send(bob.uid, n)
    c = await sync_one(bob, alice, 3)
    assert (c['head'], c['next'], c['messages']) == ('3', '3', [])
    assert c['more'] is c['pending'] is False


async def test_what_was_acked_before_the_question_is_in_the_answer(
        api, people):
    alice, bob = await people(api, 'alice', 'bob')
    s = await alice.connect()
    at = late = 0
    for n in range(150):
        ack = await s.send(bob.uid, n)
        c = await sync_one(bob, alice, at)
        if c['pending'] and not c['messages']:
            # The store needed more than the second that a sync waits.
            late += 1
            c = await settled_one(bob, alice, at)
        assert [m['seq'] for m in c['messages']] == [ack['seq']], c
        assert c['pending'] is False
        at = int(c['next'])
    # It does wait: when the question comes the row is hardly ever there.
    assert late < 50


async def test_acked_messages_of_many_conversations_are_in_one_answer(
        api, people):
    alice = await people(api, 'alice')
    friends = await people(api, *('f%d' % n for n in range(8)))
    sockets = [await f.connect() for f in friends]
    for turn in range(1, 11):
        await asyncio.gather(*(s.send(alice.uid, turn) for s in sockets))
        got = await settled(alice, *((f.uid, turn - 1) for f in friends))
        assert [bodies(c) for c in got] == [[turn]] * 8


async def test_a_reply_has_a_limit_in_bytes_and_loses_nothing(
        api, people, stack):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    want = {bob.uid: [], carol.uid: []}
    for u in (bob, carol):
        for n in range(6):
            want[u.uid].append('%d' % n + 'x' * 40000)
            await u.send(alice.uid, want[u.uid][-1])
        assert len(await stack.stored(alice, u, 6)) == 6
    at, got, rounds = {u: 0 for u in want}, {u: [] for u in want}, 0
    while True:
        answer = await sync(alice, *at.items(), limit=200)
        size = 0
        for c in answer:
            uid = int(c['with'])
            got[uid] += bodies(c)
            size += sum(len(b) for b in bodies(c))
            at[uid] = int(c['next'])
        assert 0 < size <= BYTES_MAX
        rounds += 1
        if not any(c['more'] for c in answer):
            break
    assert got == want and rounds == 4


async def test_many_small_messages_fit_a_connection_s_queue(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    s = await alice.connect()
    await burst(s, bob, 200)
    await settled_one(bob, alice)                  # all of it is stored
    answer = await sync(bob, *[(alice.uid, 0)] * 100, limit=200)
    assert len(str(answer)) < 200 * 1024
    assert all(c['more'] or len(c['messages']) == 200 for c in answer)


def old_messages(stack, a, b, seqs, size, age_s=60):
    """Rows that have been there for some time, and their counter."""
    low, high = sorted((a.uid, b.uid))
    at = int(time.time() * 1000) - age_s * 1000
    stack.mysql('INSERT INTO messages (conv_a, conv_b, seq, msg_id, sender, '
                'time_ms, cmid, body) VALUES %s' % ', '.join(
        "(%d, %d, %d, %d, %d, %d, '', CONCAT('\"', REPEAT('x', %d), '\"'))" % (
            low, high, n, (at << 22) + n, a.uid, at, size - 2)
        for n in seqs))
    redis(stack, 'SET', counter(a, b), str(max(seqs)))


async def all_of(user, *others, rounds, **args):
    """Asks until there is no more; each answer must move a cursor."""
    at = {o.uid: 0 for o in others}
    for _ in range(rounds):
        before = dict(at)
        answer = await settled(user, *at.items(), **args)
        for c in answer:
            at[int(c['with'])] = int(c['next'])
        if not any(c['more'] for c in answer):
            return at
        assert at != before, answer
    raise AssertionError('more in each of %d answers' % rounds)


async def test_each_answer_moves_a_cursor_also_above_void_numbers(
        api, people, stack):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    # 1 is nobody's.  Bob's two leave too little room for carol's first.
    old_messages(stack, alice, bob, (2, 3), 60000)
    old_messages(stack, alice, carol, (1, 2), 40000)
    assert await all_of(alice, bob, carol, rounds=4) == {
        bob.uid: 3, carol.uid: 2}


async def test_what_is_undecided_takes_no_room_from_others(
        api, people, stack):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    dave = await people(api, 'dave')
    for u in (bob, dave):
        old_messages(stack, alice, u, (2, 3), 60000, age_s=5)
    old_messages(stack, alice, carol, range(1, 5), 20000)
    young, other, carols = await sync(alice, (bob.uid, 0), (dave.uid, 0),
                                      (carol.uid, 0))
    for c in (young, other):
        assert (c['pending'], c['messages']) == (True, [])
    assert (carols['next'], carols['more']) == ('4', False)


async def test_messages_of_any_size_come_beside_a_large_conversation(
        api, people, stack):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    old_messages(stack, alice, bob, range(1, 101), 2000)
    old_messages(stack, alice, carol, (1, 2, 3), 65536)
    assert await all_of(alice, bob, carol, rounds=8, limit=200) == {
        bob.uid: 100, carol.uid: 3}


async def test_small_conversations_are_complete_beside_a_large_one(
        api, people, stack):
    alice, crowd = await people(api, 'alice', 'crowd')
    friends = await people(api, *('f%d' % n for n in range(5)))
    old_messages(stack, alice, crowd, range(1, 201), 2000)
    for f in friends:
        old_messages(stack, alice, f, range(1, 6), 1000)
    answer = await settled(alice, (crowd.uid, 0),
                           *((f.uid, 0) for f in friends), limit=200)
    assert [c['next'] for c in answer[1:]] == ['5'] * 5
    assert not any(c['more'] for c in answer[1:])
    # and what they did not need is the large one's
    assert answer[0]['more'] is True and int(answer[0]['next']) > 40


async def test_a_void_that_one_reader_found_is_known_to_the_next(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    old_messages(stack, alice, bob, (1, 2, 6, 7), 10)
    void = [{'from': '3', 'to': '5'}]
    c = await settled_one(bob, alice)
    assert (c['voids'], c['next']) == (void, '7')
    await written_down(stack, alice, bob, '3', '5')
    async with store_stands_still(stack):
        await alice.send(bob.uid, 8)       # the log cannot be settled
        c = await sync_one(alice, bob)
        assert (c['voids'], c['next'], c['pending']) == (void, '7', True)
        c = await sync_one(alice, bob, 3, limit=1)
        assert (c['voids'], c['next'], c['more']) == (
            [{'from': '4', 'to': '5'}], '6', True)


async def test_void_numbers_at_the_end_are_stepped_over_at_once(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    old_messages(stack, alice, bob, (1, 2), 10)
    low, high = sorted((alice.uid, bob.uid))
    stack.mysql('INSERT INTO voids VALUES (%d, %d, 3, 4), (%d, %d, 5, 5)'
                % (low, high, low, high))
    redis(stack, 'SET', counter(alice, bob), '5')
    async with store_stands_still(stack):
        c = await sync_one(bob, alice)
        assert (bodies(c), c['head'], c['next']) == (['x' * 8] * 2, '2',
                                                     '5')
        assert c['voids'] == [{'from': '3', 'to': '5'}]
        assert c['pending'] is False
    # A cursor there is not ahead, and its number is not given again, even if
    # Redis forgets.
    redis(stack, 'DEL', counter(alice, bob))
    c = await settled_one(bob, alice, 5)
    assert ('error' not in c, c['next']) == (True, '5')
    assert int((await alice.send(bob.uid, 'next'))['seq']) > 5


async def written_down(stack, a, b, first, last):
    sql = ('SELECT from_seq, to_seq FROM voids WHERE conv_a = %d AND '
           'conv_b = %d' % (min(a.uid, b.uid), max(a.uid, b.uid)))
    await until(lambda: [first, last] in stack.mysql(sql), 'not written', 10)


@contextlib.asynccontextmanager
async def store_stands_still(stack):
    task = stack.pids()['task-1']
    os.kill(task, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(task, signal.SIGCONT)


async def test_young_gap_is_pending_and_an_old_one_is_void(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    carol, dave = await people(api, 'carol', 'dave')

    # 2 to 4 and 6 are given to nobody; with dave, already 1 is
    first = time.monotonic()
    await alice.send(bob.uid, 1)
    redis(stack, 'INCRBY', counter(alice, bob), '3')
    await alice.send(bob.uid, 5)
    redis(stack, 'INCR', counter(alice, bob))
    await alice.send(bob.uid, 7)
    redis(stack, 'INCR', counter(carol, dave))
    await carol.send(dave.uid, 2)
    last = time.monotonic()
    assert len(await stack.stored(alice, bob, 3)) == 3
    assert len(await stack.stored(carol, dave, 1)) == 1

    # No gap is older than `first`, and none younger than `last`.
    c, other = await sync_one(bob, alice), await sync_one(dave, carol)
    assert time.monotonic() < first + VOID_S, 'too slow to be judged'
    assert bodies(c) == [1] and c['next'] == '1' and c['voids'] == []
    assert c['pending'] is True and c['more'] is False
    assert (bodies(other), other['next'], other['pending']) == ([], '0', True)

    await lasts(first + VOID_S - 4 - time.monotonic())
    c = await sync_one(bob, alice)
    assert c['pending'] is True or time.monotonic() > first + VOID_S

    await lasts(last + VOID_S + 1 - time.monotonic())
    c = await settled_one(bob, alice)
    assert bodies(c) == [1, 5, 7] and c['next'] == c['head'] == '7'
    assert c['voids'] == [{'from': '2', 'to': '4'}, {'from': '6', 'to': '6'}]
    assert c['pending'] is c['more'] is False
    c = await settled_one(bob, alice, 2, limit=1)
    assert bodies(c) == [5] and c['more'] is True
    assert c['voids'] == [{'from': '3', 'to': '4'}]
    c = await settled_one(dave, carol)
    assert c['voids'] == [{'from': '1', 'to': '1'}] and bodies(c) == [2]


async def test_number_that_nobody_got_is_not_announced(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    await alice.send(bob.uid, 1)
    redis(stack, 'INCR', counter(alice, bob))
    c = await settled_one(bob, alice)
    assert (bodies(c), c['head'], c['next']) == ([1], '1', '1')
    assert c['voids'] == [] and c['more'] is False


async def test_what_the_store_has_not_taken_yet_is_pending(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    await alice.send(bob.uid, 1)
    assert len(await stack.stored(alice, bob, 1)) == 1
    async with store_stands_still(stack):
        await alice.send(bob.uid, 2)
        c = await sync_one(bob, alice)
        assert bodies(c) == [1] and c['pending'] is True
    c = await settled_one(bob, alice, 1)
    assert (bodies(c), c['head']) == ([2], '2')


async def test_conversation_whose_counter_is_lost_is_complete(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    await alice.send(bob.uid, 1)
    await alice.send(bob.uid, 2)
    redis(stack, 'DEL', counter(alice, bob))
    c = await settled_one(bob, alice, 1)
    assert (bodies(c), c['head']) == ([2], '2')
    c = await settled_one(bob, alice, 2)
    assert (bodies(c), c['head']) == ([], '2')


async def test_cursor_ahead_of_the_server_is_told_the_head(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    await alice.send(bob.uid, 1)
    await stack.stored(alice, bob, 1)
    c = await settled_one(bob, alice, 7)
    assert (c['error'], c['head'], c['next']) == ('cursor_ahead', '1', '0')
    redis(stack, 'DEL', counter(alice, bob))
    c = await settled_one(bob, alice, 7)
    assert (c['error'], c['head']) == ('cursor_ahead', '1')
    carol = await people(api, 'carol')
    c = await settled_one(bob, carol, 1)
    assert (c['error'], c['head']) == ('cursor_ahead', '0')
    assert 'error' not in await sync_one(bob, carol, 0)


async def test_messages_to_oneself_are_synced(api, people):
    alice = await people(api, 'alice')
    c = await sync_one(alice, alice)
    assert 'error' not in c and c['head'] == '0'
    await alice.send(alice.uid, 'note')
    assert bodies(await settled_one(alice, alice)) == ['note']


async def test_nobody_syncs_another_conversation(api, people):
    alice, bob, eve = await people(api, 'alice', 'bob', 'eve')
    await alice.send(bob.uid, 'secret')
    for c in await sync(eve, (alice.uid, 0), (bob.uid, 0)):
        assert c['messages'] == [] and c['head'] == '0'


async def test_bad_cursor_does_not_spoil_the_others(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    await alice.send(bob.uid, 'hello')
    await settled_one(bob, alice)
    r = await api.call('POST', '/v1/sync', bob.token, json={
        'id': '12', 'cursors': [
            {'seq': '0'},
            {'with': str(alice.uid), 'room': '1', 'seq': '0'},
            {'with': str(2 ** 63), 'seq': '0'},
            {'with': '0', 'seq': '0'},
            {'with': str(2 ** 62), 'seq': '0'},
            {'room': str(2 ** 62), 'seq': '0'},
            {'with': str(alice.uid), 'seq': str(2 ** 63)},
            {'with': str(alice.uid), 'seq': '0'}]})
    assert r['id'] == '12'
    assert [c.get('error') for c in r['conversations']] == [
        'missing_field', 'bad_field', 'bad_field', 'missing_field',
        'no_such_user', 'no_such_room', 'bad_field', None]
    for c in r['conversations'][:-1]:
        assert (c['head'], c['next'], c['more'], c['pending']) == \
            ('0', '0', False, False)
    assert bodies(r['conversations'][-1]) == ['hello']


@pytest.mark.parametrize('body, field', [
    ({'cursors': []}, 'cursors'), ({}, 'cursors'),
    ({'cursors': [{'with': '1', 'seq': '0'}] * 101}, 'cursors'),
    ({'cursors': [{'with': '1', 'seq': '0'}], 'limit': 0}, 'limit'),
    ({'cursors': [{'with': '1', 'seq': '0'}], 'limit': 201}, 'limit'),
    ({'cursors': [{'with': '1', 'seq': '0'}], 'limit': 10 ** 9}, 'limit')])
async def test_bad_sync_is_refused_as_a_whole(api, people, body, field):
    alice = await people(api, 'alice')
    p = await refused(api.call('POST', '/v1/sync', alice.token, json=body),
                      400, 'bad_field')
    assert field in p.body['detail']
