"""Messages: acked, received, stored, once, in order."""

import asyncio
import json

import websockets

from conftest import refused
from im_client import WAIT, exchange, new_cmid


async def pair(api, people):
    """Two users on two different workers."""
    alice, bob = await people(api, 'alice', 'bob')
    a = await alice.connect()
    b = await bob.connect(other_than=[a.instance])
    return alice, bob, a, b


async def test_a_message_crosses_workers(api, people, stack):
    alice, bob, a, b = await pair(api, people)
    ack = await a.send(bob.uid, {'text': 'hello', 'n': [1, 2.5, None, True]})
    push = await b.expect('push')
    assert push['body'] == {'text': 'hello', 'n': [1, 2.5, None, True]}
    assert push['from'] == str(alice.uid) and push['to'] == str(bob.uid)
    for key in ('msg_id', 'seq', 'time_ms', 'cmid'):
        assert push[key] == ack[key]
    assert await stack.stored(alice, bob, 1) == [[ack['seq'], ack['msg_id']]]


async def test_a_thousand_each_way_in_order_and_stored(api, people, stack):
    alice, bob, a, b = await pair(api, people)
    (got_a, acks_a), (got_b, acks_b) = await exchange(
        a, b, alice.uid, bob.uid, 1000)
    for got, acks in ((got_a, acks_b), (got_b, acks_a)):
        assert [p['body']['n'] for p in got] == list(range(1000))
        assert [p['msg_id'] for p in got] == [k['msg_id'] for k in acks]
        seqs = [int(p['seq']) for p in got]
        assert seqs == sorted(seqs)
    rows = await stack.stored(alice, bob, 2000)
    assert [int(r[0]) for r in rows] == list(range(1, 2001))
    acked = {(k['seq'], k['msg_id']) for k in acks_a + acks_b}
    assert {tuple(r) for r in rows} == acked


async def test_a_message_by_http_reaches_a_socket(api, people):
    alice, bob, a, b = await pair(api, people)
    r = await alice.send(bob.uid, 'by HTTP')
    push = await b.expect('push')
    assert (push['msg_id'], push['body']) == (r['msg_id'], 'by HTTP')
    # The sender's socket is another device of the sender.
    assert (await a.expect('push'))['msg_id'] == r['msg_id']


async def test_all_devices_of_both_get_it_but_the_sending_one(api, people):
    alice, bob, a, b = await pair(api, people)
    a2 = await alice.connect()
    b2 = await bob.connect()
    ack = await a.send(bob.uid, 'to all of us')
    for s in (b, b2, a2):
        assert (await s.expect('push'))['msg_id'] == ack['msg_id']
    assert await a.nothing('push')


async def test_a_message_to_oneself(api, people, stack):
    alice = await people(api, 'alice')
    s = await alice.connect()
    other = await alice.connect(other_than=[s.instance])
    ack = await s.send(alice.uid, 'a note')
    assert (await other.expect('push'))['msg_id'] == ack['msg_id']
    assert await s.nothing('push')
    assert len(await stack.stored(alice, alice, 1)) == 1


async def test_a_repeat_is_acked_pushed_and_stored_once(api, people, stack):
    alice, bob, a, b = await pair(api, people)
    cmid = new_cmid()
    first = await a.send(bob.uid, 'once', cmid)
    await b.expect('push')
    for _ in range(3):
        again = await a.send(bob.uid, 'once', cmid)
        assert again['dup'] is True
        assert (again['msg_id'], again['seq']) == (first['msg_id'],
                                                   first['seq'])
    by_http = await alice.send(bob.uid, 'once', cmid)
    assert by_http['dup'] is True and by_http['msg_id'] == first['msg_id']
    assert await b.nothing('push')
    assert len(await stack.stored(alice, bob, 1)) == 1


async def test_repeats_at_the_same_time_count_once(api, people, stack):
    alice, bob, a, b = await pair(api, people)
    cmid = new_cmid()
    acks = await asyncio.gather(
        *[alice.send(bob.uid, 'at once', cmid) for _ in range(10)])
    assert len({k['msg_id'] for k in acks}) == 1
    assert sum(not k['dup'] for k in acks) == 1
    await b.expect('push')
    assert await b.nothing('push')
    assert len(await stack.stored(alice, bob, 1)) == 1


async def test_the_same_cmid_of_two_senders_is_two_messages(api, people,
                                                            stack):
    alice, bob, a, b = await pair(api, people)
    cmid = new_cmid()
    first = await a.send(bob.uid, 'mine', cmid)
    second = await b.send(alice.uid, 'yours', cmid)
    assert first['msg_id'] != second['msg_id']
    assert len(await stack.stored(alice, bob, 2)) == 2


async def test_bodies_arrive_byte_for_byte(api, people):
    alice, bob, a, b = await pair(api, people)
    for body in ('', 'ünïcödé \U0001f600 \u0000 \\ " /', {}, [], 0, -1.5e-7,
                 None, True, {'deep': [[[[{'x': 'y'}]]]]}, 'x' * 60000):
        await a.send(bob.uid, body)
        assert (await b.expect('push'))['body'] == body


async def test_an_unknown_recipient(api, people):
    alice = await people(api, 'alice')
    await refused(alice.send(2 ** 40, 'anybody?'), 404, 'no_such_user')
    s = await alice.connect()
    await s.write(type='send', to=str(2 ** 40), cmid='x1', body='anybody?')
    e = await s.expect('error')
    assert (e['code'], e['cmid']) == ('no_such_user', 'x1')
    assert (await s.send(alice.uid, 'still here'))['seq'] == '1'


async def test_ping_is_answered(api, people):
    s = await (await people(api, 'alice')).connect()
    await s.write(type='ping')
    assert (await s.expect('pong'))['type'] == 'pong'
    await asyncio.wait_for(await s.ws.ping(b'hello'), WAIT)


async def test_auth_by_first_frame_and_by_argument(api, people):
    alice = await people(api, 'alice')
    async with websockets.connect('ws://%s/ws' % api.address) as ws:
        await ws.send(json.dumps({'type': 'auth', 'token': alice.token}))
        ok = json.loads(await asyncio.wait_for(ws.recv(), WAIT))
        assert (ok['type'], ok['uid']) == ('auth_ok', str(alice.uid))
    async with websockets.connect('ws://%s/ws?access_token=%s' % (
            api.address, alice.token)) as ws:
        ok = json.loads(await asyncio.wait_for(ws.recv(), WAIT))
        assert (ok['type'], ok['uid']) == ('auth_ok', str(alice.uid))


async def test_both_subprotocols_understand_each_other(api, people, proto):
    alice, bob = await people(api, 'alice', 'bob')
    a = await alice.connect(protocol='im.v1.proto')
    assert a.ws.subprotocol == 'im.v1.proto'
    b = await bob.connect()

    async def receive(kind):
        f = proto.Frame()
        f.ParseFromString(await asyncio.wait_for(a.ws.recv(), WAIT))
        assert f.WhichOneof('frame') == kind, f
        return getattr(f, kind)

    assert (await receive('auth_ok')).uid == alice.uid
    f = proto.Frame()
    f.send.to = bob.uid
    f.send.cmid = 'p1'
    f.send.body = b'{"text":"in binary"}'
    await a.ws.send(f.SerializeToString())
    ack = await receive('ack')
    push = await b.expect('push')
    assert push['body'] == {'text': 'in binary'}
    assert (push['msg_id'], push['seq']) == (str(ack.msg_id), str(ack.seq))
    await b.send(alice.uid, ['and', 'back'])
    push = await receive('push')
    assert push.body.replace(b' ', b'') == b'["and","back"]'
    assert getattr(push, 'from') == bob.uid


async def test_ten_people_talk_at_once(api, people, stack):
    users = await people(api, *['u%d' % n for n in range(10)])
    sockets = [await u.connect() for u in users]
    pairs = [(i, i + 1) for i in range(0, 10, 2)]
    await asyncio.gather(*[exchange(sockets[i], sockets[j], users[i].uid,
                                    users[j].uid, 200) for i, j in pairs])
    for i, j in pairs:
        assert len(await stack.stored(users[i], users[j], 400)) == 400
