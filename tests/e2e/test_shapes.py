"""A message looks the same wherever a client meets it, and an ack says where
its message went."""

import time

from im_client import new_cmid
from im_wait import pace
from test_room_rules import call, create

BODIES = ['text', {'a': [1, None]}, 0, '', False]


async def ask(s, kind, **fields):
    await s.write(type=kind, id='1', **fields)
    f = await s.expect(kind + '_res')
    assert f['id'] == '1'
    return f


async def stored(user, cursor, count):
    """The messages by POST /v1/sync, once all are there."""
    until = time.monotonic() + 20
    while True:
        answer = await call(user, 'POST', 'sync', {'cursors': [cursor]})
        messages = answer['conversations'][0]['messages']
        if len(messages) == count or time.monotonic() > until:
            return messages
        await pace(0.1)


async def by_every_way(user, s, name, count):
    """What each way to read a conversation answers, oldest first."""
    cursor = dict(name, seq='0')
    found = {'POST sync': await stored(user, cursor, count)}
    answer = await ask(s, 'sync', cursors=[cursor])
    found['sync'] = answer['conversations'][0]['messages']
    for args in ({'after_seq': '0'}, {'before_seq': str(count + 1)}):
        pages = [await call(user, 'GET', 'messages', params=dict(name, **args)),
                 await ask(s, 'history', **name, **args)]
        for way, page in zip(('GET messages', 'history'), pages):
            found[way, *args] = sorted(page['messages'],
                                       key=lambda m: int(m['seq']))
    for way, answer in (
            ('GET conversations', await call(user, 'GET', 'conversations')),
            ('conversations', await ask(s, 'conversations'))):
        found[way] = [c['last'] for c in answer['conversations']
                      if name.items() <= c.items()]
    return found


async def say_all(sender, where):
    """Sends BODIES, some without a cmid, and returns the answers."""
    return [await call(sender, 'POST', 'messages', dict(
        where, body=body, **({'cmid': new_cmid()} if n % 2 else {})))
        for n, body in enumerate(BODIES)]


async def test_a_message_is_the_same_in_push_history_sync_and_list(
        api, people):
    alice, bob = await people(api, 'alice', 'bob')
    group = await create(alice, members=[bob])
    live = await create(alice, kind='live', history=True)
    s = await bob.connect()
    await ask(s, 'join', room=str(live.id))
    for sender, where, name in [
            (alice, {'to': str(bob.uid)}, {'with': str(alice.uid)}),
            (bob, {'to': str(alice.uid)}, {'with': str(alice.uid)}),
            (bob, {'to': str(bob.uid)}, {'with': str(bob.uid)}),
            (alice, {'room': str(group.id)}, {'room': str(group.id)}),
            (alice, {'room': str(live.id)}, {'room': str(live.id)})]:
        acks = await say_all(sender, where)
        pushes = [await s.expect('push') for _ in BODIES]
        for n, (push, ack) in enumerate(zip(pushes, acks)):
            assert push.pop('type') == 'push'
            assert ('cmid' in push) == (n % 2 == 1)
            assert {k: push[k] for k in push if k != 'cmid'} == {
                'msg_id': ack['msg_id'], 'seq': ack['seq'],
                'time_ms': ack['time_ms'], 'from': str(sender.uid),
                'body': BODIES[n], **where}
        found = await by_every_way(bob, s, name, int(acks[-1]['seq']))
        for way, messages in found.items():
            if 'conversations' in way:
                # a live room is in nobody's list
                assert messages == ([] if where.get('room') == str(live.id)
                                    else pushes[-1:]), way
            else:
                assert messages[-len(BODIES):] == pushes, way


def test_rows_and_pushes_have_the_same_fields_in_im_v1_proto(proto):
    import query_pb2
    row, push = ({f.name: f.type for f in m.DESCRIPTOR.fields}
                 for m in (query_pb2.Message, proto.Push))
    assert row == push


async def test_an_ack_says_where_its_message_went(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    group = await create(alice, members=[bob])
    live = await create(alice, kind='live')
    s = await alice.connect()
    await ask(s, 'join', room=str(live.id))
    for where in ({'to': str(bob.uid)}, {'to': str(alice.uid)},
                  {'room': str(group.id)}, {'room': str(live.id)}):
        cmid = new_cmid()
        first = await call(alice, 'POST', 'messages',
                           dict(where, cmid=cmid, body=1))
        await s.write(type='send', cmid=cmid, body=1, **where)
        again = await s.expect('ack')
        await s.write(type='send', body=2, **where)
        second = await s.expect('ack')
        for answer in (first, again, second):
            assert {k: answer[k] for k in answer if k in ('to', 'room')
                    } == where, answer
        assert again['dup'] is True and again['msg_id'] == first['msg_id']
