"""Many clients that ask at the same moment, and what each of them costs."""

import time

import im_crowd
from im_client import new_cmid
from im_wait import until
from test_rooms_edge import acked, group
from test_sync import conversations, listed, settled_one, sync_one

CROWD = 600
FRIENDS = 5
ROUNDS = 30
FEW = 32                   # conversations that one statement lists


async def test_a_crowd_that_comes_back_together_is_answered(
        api, people, stack):
    """Each has a conversation that began just now, so it may not be stored."""
    host = await people(api, 'host')
    s = await host.connect()
    uids = im_crowd.users(stack.mysql, CROWD)
    crowd = await im_crowd.open_all(stack.env, uids)
    try:
        for uid in uids:
            await s.write(type='send', to=str(uid), cmid=new_cmid(), body=1)
        for _ in uids:
            await s.expect('ack', 20)
        answers = await im_crowd.come_back(crowd, host.uid)
    finally:
        for m in crowd:
            m.transport.abort()
    assert [r for _, refusals, _ in answers for r in refusals] == []
    assert all(complete for _, _, complete in answers)


def statements(stack):
    """That MySQL has run so far."""
    return int(stack.mysql(
        "SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'")[0][1])


async def test_a_client_that_comes_back_costs_mysql_two_statements(
        api, people, stack):
    """One for its list, one for what it has missed.  Other statements come in
    between, of threads that look at MySQL by themselves: fewer than ten a
    second."""
    alice = await people(api, 'alice')
    friends = await people(api, *('f%d' % n for n in range(FRIENDS)))
    for f in friends:
        await f.send(alice.uid, 'x')
        await stack.stored(alice, f, 1)
    await listed(stack, alice, *friends)
    await settled_one(alice, friends[0])
    before, begun = statements(stack), time.monotonic()
    for _ in range(ROUNDS):
        r = await conversations(alice)
        assert len(r['conversations']) == FRIENDS
        c = await sync_one(alice, friends[0])
        assert (c['next'], c['head'], c['pending']) == ('1', '1', False)
        assert [m['body'] for m in c['messages']] == ['x']
    more = statements(stack) - before
    assert more < 2.5 * ROUNDS + 10 * (time.monotonic() - begun)


async def test_a_short_and_a_long_list_show_the_same(api, people, stack):
    """A conversation without a message makes a list longer, and is not
    shown."""
    alice, bob = await people(api, 'alice', 'bob')
    friends = await people(api, *('f%d' % n for n in range(4)))
    spoken, silent = await group(bob, alice), await group(bob, alice)
    s = await alice.connect()
    for f in friends:
        for body in (1, 2, 'x' * 5000 if f is friends[3] else f.name):
            await f.send(alice.uid, body)
        await stack.stored(alice, f, 3)
    await acked(s, spoken, 'of a group')
    await listed(stack, alice, *friends)
    await until(lambda: stack.room_rows(int(spoken)), 'not stored')
    for what, f in zip(('read_seq = 1, pinned = 1', 'read_seq = 3, muted = 1',
                        'hidden_seq = 3'), friends):
        stack.mysql('UPDATE conversations SET %s WHERE uid = %d AND %s'
                    % (what, alice.uid, stack.conversation(alice, f)))
    stack.mysql('UPDATE messages SET run_seq = 0 WHERE %s'     # as they were
                % stack.conversation(alice, friends[0]))

    asked = ({}, {'limit': 3}, {'hidden': 'true'})
    short = [await conversations(alice, **args) for args in asked]
    stack.mysql('INSERT INTO conversations (uid, conv_a, conv_b, last_id) '
                'SELECT %d, LEAST(%d, s.seq), GREATEST(%d, s.seq), 1 FROM '
                'seq_1_to_%d s' % (alice.uid, alice.uid, alice.uid, FEW))
    long = [await conversations(alice, **args) for args in asked]

    assert short == long
    shown = {c.get('room') or c['with']: c for c in short[0]['conversations']}
    assert set(shown) == {str(spoken), str(silent), *(
        str(f.uid) for f in (friends[0], friends[1], friends[3]))}
    assert [shown[str(f.uid)]['unread'] for f in friends
            if f is not friends[2]] == [2, 0, 3]
    assert len(shown[str(friends[3].uid)]['last']['body']) == 5000
    assert short[1]['more'] is True and len(short[2]['conversations']) == 6
