"""Lists of conversations, what is unread in them, and read marks:
GET /v1/conversations, POST /v1/read."""

import asyncio
import os

import pytest

from conftest import refused, taken
from im_wait import until
from test_sync import burst, counter, redis, sync_one


async def conversations(user, **args):
    return await taken(user.api.call, 'GET', '/v1/conversations', user.token,
                       params={k: str(v) for k, v in args.items()})


async def read(user, other, seq, **args):
    r = await user.api.call('POST', '/v1/read', user.token, json=dict(
        {'with': str(other.uid), 'seq': str(seq)}, **args))
    return r['read_seq']


async def listed(stack, *users):
    """Waits until each of users has a row with the first of them."""
    for u in users[1:]:
        a, b = sorted((users[0].uid, u.uid))
        sql = ('SELECT uid FROM conversations WHERE conv_a = %d AND conv_b = %d'
               % (a, b))
        await until(lambda: len(stack.mysql(sql)) >= 2,
                    '%d and %d: no rows' % (a, b))


async def test_latest_conversation_is_first_with_its_last_message(
        api, people, stack):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    await bob.send(alice.uid, 'one', cmid='b1')
    await carol.send(alice.uid, 'two')
    last = await bob.send(alice.uid, 'three', cmid='b2')
    await stack.stored(alice, bob, 2)
    await stack.stored(alice, carol, 1)
    await listed(stack, alice, bob, carol)
    r = await conversations(alice, id=5)
    assert r['id'] == '5' and r['more'] is False
    assert [c['with'] for c in r['conversations']] == \
        [str(bob.uid), str(carol.uid)]
    c = r['conversations'][0]
    assert (c['head'], c['read_seq'], c['unread']) == ('2', '0', 2)
    assert c['last'] == {'seq': '2', 'msg_id': last['msg_id'], 'cmid': 'b2',
                         'from': str(bob.uid), 'to': str(alice.uid),
                         'time_ms': last['time_ms'], 'body': 'three'}
    r = await conversations(bob)
    assert [c['with'] for c in r['conversations']] == [str(alice.uid)]
    assert r['conversations'][0]['unread'] == 0         # all of it is bob's


async def test_unread_counts_others_above_the_read_cursor(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    for sender, to in ((bob, alice), (alice, bob), (bob, alice), (bob, alice)):
        await sender.send(to.uid, 'x')
    await stack.stored(alice, bob, 4)
    await listed(stack, alice, bob)

    assert await unread(alice) == 3
    assert await read(alice, bob, 1) == '1' and await unread(alice) == 2
    assert await read(alice, bob, 3) == '3' and await unread(alice) == 1
    assert await read(alice, bob, 2) == '3' and await unread(alice) == 1
    assert await read(alice, bob, 4) == '4' and await unread(alice) == 0
    c = (await conversations(bob))['conversations'][0]
    assert (c['read_seq'], c['unread']) == ('0', 1)     # bob's own cursor


async def unread(user, other=None):
    """Of the conversation with other, or of the only one."""
    c = {int(c['with']): c['unread']
         for c in (await conversations(user))['conversations']}
    return c[other.uid] if other else list(c.values())[0]


async def test_unread_is_exact_above_a_thousand(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    s = await bob.connect()
    await burst(s, alice, 1005)
    assert len(await stack.stored(alice, bob, 1005)) == 1005
    await listed(stack, alice, bob)
    assert await unread(alice) == 1005
    await read(alice, bob, 10)
    assert await unread(alice) == 995


async def test_unread_is_exact_where_a_million_numbers_are_nobodys(
        api, people, stack):
    """As after Redis lost its memory, at the worst."""
    alice, bob = await people(api, 'alice', 'bob')
    for n in range(5):
        await bob.send(alice.uid, n)
    await alice.send(bob.uid, 'own')
    await stack.stored(alice, bob, 6)
    redis(stack, 'set', counter(alice, bob), str(2 ** 20 + 6))
    ack = await bob.send(alice.uid, 5)
    assert int(ack['seq']) == 2 ** 20 + 7
    await stack.stored(alice, bob, 7)
    assert await unread(alice) == 6 and await unread(bob) == 1
    assert await read(alice, bob, 4) == '4' and await unread(alice) == 2
    await read(alice, bob, 2 ** 20)
    assert await unread(alice) == 1
    await read(alice, bob, int(ack['seq']))
    assert await unread(alice) == 0


OLD = ('INSERT INTO messages (conv_a, conv_b, seq, msg_id, sender, time_ms, '
       'cmid, body) SELECT %d, %d, s.seq, %d + s.seq, %d, 1, %s, %s '
       'FROM seq_%d_to_%d s')
OLD_ID = 4096 << 22            # of the year 2025


def old(stack, a, b, sender, first, last):
    """Messages of a version that counted nothing."""
    low, high = sorted((a.uid, b.uid))
    stack.mysql(OLD % (low, high, OLD_ID, sender.uid, "''", "'\"x\"'", first,
                       last))


async def test_unread_is_exact_under_ten_thousand_of_ones_own(
        api, people, stack):
    """Of an earlier version, and then of this one."""
    alice, bob = await people(api, 'alice', 'bob')
    old(stack, alice, bob, bob, 1, 3)
    old(stack, alice, bob, alice, 4, 10103)
    ack = await alice.send(bob.uid, 'one more')
    assert ack['seq'] == '10104'
    await stack.stored(alice, bob, 10104)
    await listed(stack, alice, bob)
    assert await unread(alice) == 3 and await unread(bob) == 10101
    await read(bob, alice, 10000)
    assert await unread(bob) == 104
    await read(bob, alice, 10103)
    await bob.send(alice.uid, 'and another one')
    await stack.stored(alice, bob, 10105)
    assert await unread(alice) == 4 and await unread(bob) == 1


async def test_a_list_of_an_earlier_version_is_in_order(api, people, stack):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    old(stack, alice, carol, carol, 1, 1)
    old(stack, alice, bob, bob, 1, 2)
    for other in (bob, carol):
        stack.mysql('INSERT INTO conversations (uid, conv_a, conv_b) '
                    'VALUES (%d, %d, %d)' % (
                        (alice.uid,) + tuple(sorted((alice.uid, other.uid)))))
    r = await conversations(alice)
    assert [(int(c['with']), c['unread']) for c in r['conversations']] == [
        (bob.uid, 2), (carol.uid, 1)]


async def test_a_list_counts_so_many_messages_of_an_earlier_version(
        api, people, stack):
    """What is above is left out, and no list costs more for it."""
    alice = await people(api, 'alice')
    friends = await people(api, 'bob', 'carol', 'dave')
    for f in friends:
        old(stack, alice, f, f, 1, 30000)
        stack.mysql('INSERT INTO conversations (uid, conv_a, conv_b) '
                    'VALUES (%d, %d, %d)' % (
                        (alice.uid,) + tuple(sorted((alice.uid, f.uid)))))

    async def counts():
        r = await conversations(alice)
        return sorted(c['unread'] for c in r['conversations'])

    await counts()                     # puts the list in order
    was = touched(stack)
    assert await counts() == [500, 500, 20000]
    assert touched(stack) - was < 3 * 21000
    for f in friends:
        await read(alice, f, 29000)
    assert await counts() == [1000, 1000, 1000]


def touched(stack):
    """Rows that MySQL has read so far."""
    return sum(int(n) for name, n in stack.mysql(
        "SHOW GLOBAL STATUS LIKE 'Handler_read%'")
        if name != 'Handler_read_rnd_deleted')


MANY = 100000


async def test_no_list_costs_more_than_its_page(api, people, stack):
    """A hundred thousand conversations, all within a minute; the rows that
    MySQL touches for a page are counted."""
    alice = await people(api, 'alice')
    first = 2 ** 62 + int.from_bytes(os.urandom(4), 'big') * MANY
    stack.mysql(
        'INSERT INTO messages (conv_a, conv_b, seq, msg_id, sender, time_ms, '
        'cmid, body, run_seq, nth) SELECT LEAST(%d, %d + s.seq), '
        'GREATEST(%d, %d + s.seq), 1, %d + (s.seq << 22), %d + s.seq, 1, %s, '
        '%s, 1, 1 FROM seq_1_to_%d s' % (
            alice.uid, first, alice.uid, first, OLD_ID, first, "''",
            "'\"x\"'", MANY))
    stack.mysql(
        'INSERT INTO conversations (uid, conv_a, conv_b) SELECT %d, '
        'LEAST(%d, %d + s.seq), GREATEST(%d, %d + s.seq) '
        'FROM seq_1_to_%d s' % (alice.uid, alice.uid, first, alice.uid, first,
                                MANY))
    stack.mysql('UPDATE conversations c SET last_id = (SELECT msg_id FROM '
                'messages m WHERE m.conv_a = c.conv_a AND m.conv_b = c.conv_b)'
                ' WHERE uid = %d' % alice.uid)

    before, got, costs = {}, [], []
    for _ in range(5):
        was = touched(stack)
        r = await conversations(alice, limit=20, **before)
        costs.append(touched(stack) - was)
        got += [int(c['with']) for c in r['conversations']]
        assert all(c['unread'] in (0, 1) for c in r['conversations'])
        before = {'before': r['next']}
    assert got == [first + MANY - n for n in range(100)]
    assert min(costs) < 20 * 20, costs


async def test_conversations_are_paged_by_the_last_message(
        api, people, stack):
    alice = await people(api, 'alice')
    friends = await people(api, *('f%d' % n for n in range(7)))
    for f in friends:
        await f.send(alice.uid, 'x' * 30000)
    for f in friends:
        await stack.stored(alice, f, 1)
    await listed(stack, alice, *friends)
    got, args = [], {}
    while True:
        r = await conversations(alice, limit=3, **args)
        assert len(r['conversations']) <= 3
        got += [int(c['with']) for c in r['conversations']]
        if not r['more']:
            break
        assert r['next'] == r['conversations'][-1]['last']['msg_id']
        args = {'before': r['next']}
    assert got == [f.uid for f in reversed(friends)]
    # more than the bytes of a reply: cut, and there is more
    r = await conversations(alice, limit=100)
    assert len(r['conversations']) == 4 and r['more'] is True


async def test_who_has_no_conversations_gets_an_empty_list(api, people):
    alice = await people(api, 'alice')
    r = await conversations(alice)
    assert r['conversations'] == [] and r['more'] is False


@pytest.mark.parametrize('args', [
    {'limit': 0}, {'limit': 101}, {'limit': 10 ** 9}, {'before': 2 ** 63},
    {'before': 'x'}])
async def test_bad_list_is_refused(api, people, args):
    alice = await people(api, 'alice')
    await refused(conversations(alice, **args), 400, 'bad_field')


async def test_who_was_pushed_a_message_may_read_it_at_once(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    s = await alice.connect()
    for n in range(1, 21):
        ack = await s.send(bob.uid, n)
        assert await read(bob, alice, ack['seq']) == ack['seq'] == str(n)


async def test_two_devices_read_and_the_higher_cursor_stays(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    s = await bob.connect()
    await burst(s, alice, 40)
    got = await asyncio.gather(*(read(alice, bob, n)
                                 for n in range(40, 0, -1)))
    assert all(int(g) >= n for g, n in zip(got, range(40, 0, -1)))
    assert await read(alice, bob, 0) == '40'


async def test_read_cursor_never_passes_the_head(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    assert await read(alice, bob, 0) == '0'            # and makes no row
    await refused(read(alice, bob, 1), 409, 'cursor_ahead')
    assert stack.mysql('SELECT * FROM conversations WHERE uid = %d'
                       % alice.uid) == []
    await bob.send(alice.uid, 'x')
    await refused(read(alice, bob, 2), 409, 'cursor_ahead')
    await refused(read(alice, bob, 2 ** 64 - 1), 409, 'cursor_ahead')
    assert await read(alice, bob, 1, id='3') == '1'


@pytest.fixture
def frozen_tasks(stack):
    """Nothing is stored."""
    stack.tool('ctl', stack.name, 'stop', 'task-1')
    yield lambda: stack.tool('ctl', stack.name, 'start', 'task-1')
    stack.tool('ctl', stack.name, 'start', 'task-1')


async def test_an_acked_number_is_never_ahead_though_redis_forgot_it(
        api, people, stack, frozen_tasks):
    alice, bob = await people(api, 'alice', 'bob')
    ack = await bob.send(alice.uid, 'shown and acked')
    redis(stack, 'del', counter(alice, bob))
    await refused(read(alice, bob, ack['seq']), 503, 'unavailable')
    await refused(alice.api.call(
        'PATCH', '/v1/conversations', alice.token,
        json={'with': str(bob.uid), 'pinned': True}), 503, 'unavailable')
    frozen_tasks()
    assert await taken(read, alice, bob, ack['seq']) == ack['seq']
    await refused(taken(read, alice, bob, int(ack['seq']) + 1), 409,
                  'cursor_ahead')


@pytest.mark.parametrize('body, status, code', [
    ({'seq': '1'}, 400, 'missing_field'),
    ({'with': '1'}, 400, 'missing_field'),
    ({'with': '1', 'room': '1', 'seq': '1'}, 400, 'bad_field'),
    ({'with': str(2 ** 63), 'seq': '1'}, 400, 'bad_field'),
    ({'with': '1', 'seq': '-1'}, 400, 'bad_field'),
    ({'with': str(2 ** 62), 'seq': '0'}, 404, 'no_such_user'),
    ({'with': '0', 'seq': '0'}, 400, 'missing_field'),
    ({'room': str(2 ** 62), 'seq': '1'}, 404, 'no_such_room')])
async def test_bad_read_is_refused(api, people, body, status, code):
    alice = await people(api, 'alice')
    await refused(api.call('POST', '/v1/read', alice.token, json=body),
                  status, code)


async def test_ended_session_asks_nothing(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    await api.call('POST', '/v1/logout', alice.token)
    await refused(sync_one(alice, bob), 401, 'session_revoked')
    await refused(conversations(alice), 401, 'session_revoked')
    await refused(read(alice, bob, 0), 401, 'session_revoked')
