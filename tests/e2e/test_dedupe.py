"""A repeat is a repeat, another message is another message, and a number that
was given is never given again."""

import asyncio
import subprocess
import time

import pytest

from conftest import refused, taken
from im_client import new_cmid
from im_wait import lasts

BODY_S = 1         # [dedupe] body_window_ms
TRIES = 5


def redis(stack, *args):
    r = subprocess.run(['redis-cli', '-s', stack.env['IM_REDIS'], *args],
                       stdout=subprocess.PIPE, text=True, timeout=10)
    assert r.returncode == 0, r.stdout
    return r.stdout.split()


async def test_the_same_cmid_with_another_body_is_a_conflict(api, people,
                                                             stack):
    alice, bob = await people(api, 'alice', 'bob')
    cmid = new_cmid()
    first = await alice.send(bob.uid, 'one', cmid)
    e = await refused(alice.send(bob.uid, 'two', cmid), 409, 'cmid_conflict')
    assert e.body['retryable'] is False
    s = await alice.connect()
    await s.write(type='send', to=str(bob.uid), cmid=cmid, body='two')
    e = await s.expect('error')
    assert (e['code'], e['cmid']) == ('cmid_conflict', cmid)
    assert 'retryable' not in e
    # The message itself is not touched by any of this.
    again = await alice.send(bob.uid, 'one', cmid)
    assert again['dup'] and again['seq'] == first['seq']
    assert len(await stack.stored(alice, bob, 1)) == 1


async def test_a_conflict_on_its_way_is_a_conflict(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    s = await alice.connect()
    cmid = new_cmid()
    await asyncio.gather(*[
        s.write(type='send', to=str(bob.uid), cmid=cmid, body=n)
        for n in range(10)])
    answers = []
    while len(answers) < 10:
        f = await s.receive()
        if f.get('cmid') == cmid:
            answers.append((f['type'], f.get('code')))
    assert sorted(answers) == [('ack', None)] + 9 * [
        ('error', 'cmid_conflict')]
    # The next one is stored after any of these would have been.
    assert (await s.send(bob.uid, 'next'))['seq'] == '2'
    assert len(await stack.stored(alice, bob, 2)) == 2


async def test_the_longest_cmid_and_a_longer_one(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    for cmid in (64 * 'x', 21 * '\u20ac' + 'y'):
        first = await alice.send(bob.uid, cmid, cmid)
        again = await alice.send(bob.uid, cmid, cmid)
        assert again['dup'] and again['msg_id'] == first['msg_id']
    await refused(alice.send(bob.uid, 'x', 65 * 'x'), 400, 'bad_field')
    await refused(alice.send(bob.uid, 'x', 22 * '\u20ac'), 400, 'bad_field')


async def without_cmid(api, user, to, body):
    return await api.call('POST', '/v1/messages', user.token,
                          json={'to': str(to), 'body': body})


async def within_a_second(say):
    """What say(n) returns, of the first n for which all of it took less than
    the time in which a body counts once: on a busy machine it may take more,
    and proves nothing then."""
    for n in range(TRIES):
        began = time.monotonic()
        answers = await say(n)
        if time.monotonic() - began < BODY_S:
            return n, answers
    raise AssertionError('never done within %g s' % BODY_S)


async def test_without_cmid_the_same_body_counts_once_within_a_second(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')

    async def at_once(n):
        return await asyncio.gather(*[
            without_cmid(api, alice, bob.uid, {'text': 'hi', 'n': n})
            for _ in range(8)])

    n, acks = await within_a_second(at_once)
    assert len({a['seq'] for a in acks}) == 1, acks
    assert sum(not a['dup'] for a in acks) == 1, acks
    seq = int(acks[0]['seq'])
    other = await without_cmid(api, alice, bob.uid, {'text': 'ho'})
    assert not other['dup'] and other['seq'] == str(seq + 1)
    # Somebody else says the same: not a repeat.
    answer = await without_cmid(api, bob, alice.uid, {'text': 'hi', 'n': n})
    assert not answer['dup'] and answer['seq'] == str(seq + 2)
    await lasts(BODY_S + 0.2)
    later = await without_cmid(api, alice, bob.uid, {'text': 'hi', 'n': n})
    assert not later['dup'] and later['seq'] == str(seq + 3)
    assert len(await stack.stored(alice, bob, seq + 3)) == seq + 3


async def test_without_cmid_a_repeat_on_a_socket_is_acked_and_not_pushed(
        api, people):
    alice, bob = await people(api, 'alice', 'bob')
    a, b = await alice.connect(), await bob.connect()

    async def twice(n):
        for _ in range(2):
            await a.write(type='send', to=str(bob.uid), body=n)
        return [await a.expect('ack') for _ in range(2)]

    n, acks = await within_a_second(twice)
    assert acks[0]['msg_id'] == acks[1]['msg_id'], acks
    assert [bool(k.get('dup')) for k in acks] == [False, True]
    while (await b.expect('push'))['body'] != n:
        pass
    assert await b.nothing('push')


async def test_ack_push_and_row_tell_the_time_that_is_in_the_id(api, people,
                                                                stack):
    alice, bob = await people(api, 'alice', 'bob')
    b = await bob.connect()
    cmid = new_cmid()
    ack = await alice.send(bob.uid, 'when?', cmid)
    at = (int(ack['msg_id']) >> 22) + 1735689600000
    again = await alice.send(bob.uid, 'when?', cmid)
    push = await b.expect('push')
    assert {int(x['time_ms']) for x in (ack, again, push)} == {at}
    await stack.stored(alice, bob, 1)
    page = await bob.history(alice.uid)
    assert int(page['messages'][0]['time_ms']) == at


@pytest.mark.parametrize('stored', [3, 0])
async def test_redis_loses_its_memory_and_no_number_comes_again(
        api, people, stack, stored):
    alice, bob = await people(api, 'alice', 'bob')
    for n in range(stored):
        await alice.send(bob.uid, n)
    assert len(await stack.stored(alice, bob, stored)) == stored
    redis(stack, 'FLUSHALL')
    s = await alice.connect()
    # Whether this Redis is a new one is asked of Kafka, which may be busy.
    cmids = [new_cmid() for _ in range(3)]
    acks = [await taken(s.send, bob.uid, 'after %d' % n, cmid)
            for n, cmid in enumerate(cmids)]
    seqs = [int(k['seq']) for k in acks]
    # With a jump, if a test before has left messages that may be on their way
    # (test_fate.py is about those that go on without one).
    assert seqs == [seqs[0], seqs[0] + 1, seqs[0] + 2]
    assert seqs[0] in (stored + 1, stored + 1 + 2 ** 20)
    rows = await stack.stored(alice, bob, stored + 3)
    assert [int(r[0]) for r in rows] == list(range(1, stored + 1)) + seqs
    # As after a long life, for the tests to come.
    assert redis(stack, 'SET', 'im:memory:{0}', '0') == ['OK']


async def test_a_redis_that_forgot_one_conversation_goes_on_where_it_was(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    redis(stack, 'SET', 'im:memory:{0}', '0')
    await alice.send(bob.uid, 'one')
    await stack.stored(alice, bob, 1)
    a, b = sorted((alice.uid, bob.uid))
    assert redis(stack, 'DEL', 'im:s:{0}:%d:%d' % (a, b)) == ['1']
    assert (await alice.send(bob.uid, 'two'))['seq'] == '2'
