"""Many clients that ask at the same moment, and what each of them costs."""

import asyncio
import base64
import json
import time

import im_crowd
from im_client import new_cmid
from im_wait import until
from test_rooms_edge import acked, group
from test_conversations import conversations, listed
from test_sync import redis, settled_one, sync_one

CROWD = 600
FRIENDS = 5
ROUNDS = 30
FEW = 32                   # conversations that one statement lists
TOGETHER = 16              # users


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


def sid(token):
    """Of an access token."""
    body = token.split('.')[1]
    return json.loads(base64.urlsafe_b64decode(body + '=' * (-len(body) % 4))
                      )['sid']


async def test_answers_that_are_given_together_are_those_given_alone(
        api, people, stack):
    """A crowd of different clients: with no message, some, or more than one
    statement reads for many; with a long list, also one that takes the room of
    the others; with an ended session; all ask twice.  That answers were given
    together is seen by the statements."""
    host = await people(api, 'host')
    s = await host.connect()
    uids = im_crowd.users(stack.mysql, 128)
    behind = {u: 20 if n % 16 == 1 else 1 + n % 3 for n, u in enumerate(uids)}
    crowd = await im_crowd.open_all(stack.env, uids)

    async def ask(m):
        sync = {'limit': 50, 'cursors': [
            {'with': str(host.uid), 'seq': '0' if m.uid % 2 else '1'}]}
        return await asyncio.gather(
            m.ask(1, 'conversations', limit=5), m.ask(2, 'sync', **sync),
            m.ask(3, 'conversations', limit=5), m.ask(4, 'sync', **sync))

    try:
        for uid in uids:
            for _ in range(behind[uid]):
                await s.write(type='send', to=str(uid), cmid=new_cmid(),
                              body=str(uid))
        for _ in range(sum(behind.values())):
            await s.expect('ack', 20)
        for n, uid in enumerate(uids[::32]):
            stack.mysql('INSERT INTO conversations (uid, conv_a, conv_b, '
                        'last_id) SELECT %d, s.seq, %d, 1 FROM seq_1_to_%d s'
                        % (uid, uid, (FEW, TOGETHER * FEW)[n % 2]))
        for m in crowd[5::16]:
            redis(stack, 'SET', 'im:rev:' + sid(m.token), '1')
        for m in crowd:                # until all is stored, and known to be
            await ask(m)
        before = statements(stack)
        alone = [await ask(m) for m in crowd]
        between = statements(stack)
        together = await asyncio.gather(*map(ask, crowd))
        after = statements(stack)
    finally:
        for m in crowd:
            m.transport.abort()

    assert together == alone
    for m, answers in zip(crowd, alone):
        kinds = [kind for kind, _ in answers]
        frames = [json.loads(frame) for _, frame in answers]
        if m in crowd[5::16]:
            assert [f['code'] for f in frames] == ['session_revoked'] * 4
            continue
        assert kinds == ['conversations_res', 'sync_res'] * 2
        n = behind[m.uid]
        for f in frames[::2]:
            assert [int(c['with']) for c in f['conversations']] \
                == [host.uid]
        for f in frames[1::2]:
            c, = f['conversations']
            assert [x['body'] for x in c['messages']] \
                == [str(m.uid)] * (n - (m.uid % 2 == 0))
    assert after - between < 0.9 * (between - before)


async def test_a_broken_key_of_one_user_fails_no_list_of_another(
        api, people, stack):
    """Lists that are asked for at once share a round trip to Redis."""
    uids = im_crowd.users(stack.mysql, 64)
    redis(stack, 'SET', 'im:fresh:{%d}' % uids[0], 'not a sorted set')
    crowd = await im_crowd.open_all(stack.env, uids)
    try:
        for n in range(ROUNDS):
            answers = await asyncio.gather(
                *(m.ask(n, 'conversations') for m in crowd))
            assert [kind for kind, _ in answers] \
                == ['error'] + ['conversations_res'] * (len(crowd) - 1)
            assert json.loads(answers[0][1])['code'] == 'unavailable'
    finally:
        redis(stack, 'DEL', 'im:fresh:{%d}' % uids[0])
        for m in crowd:
            m.transport.abort()


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
