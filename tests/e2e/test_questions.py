"""Questions by WebSocket: the same answers as by HTTP, with the client's id,
and to nobody but whom the token names."""

import asyncio

from im_client import WAIT


async def conversation(api, people, stack, *bodies):
    alice, bob = await people(api, 'alice', 'bob')
    s = await alice.connect()
    for body in bodies:
        await s.send(bob.uid, body)
    await stack.stored(alice, bob, len(bodies))
    return alice, bob, s


async def test_a_frame_and_http_get_the_same_answer(api, people, stack):
    alice, bob, s = await conversation(api, people, stack, 1, {'a': [2]}, 'c')
    await s.write(type='history', **{'with': str(bob.uid)}, id='5',
                  after_seq='0', limit=2)
    f = await s.expect('history_res')
    assert f.pop('id') == '5'
    assert f.pop('type') == 'history_res'
    assert f == await alice.history(bob.uid, after_seq=0, limit=2)
    assert f['more'] is True and len(f['messages']) == 2


async def test_the_own_rooms_come_by_frame_as_by_http(api, people, proto):
    alice = await people(api, 'alice')
    for name in ('one', 'two', 'three'):
        await api.call('POST', '/v1/rooms', alice.token,
                       json={'kind': 'group', 'name': name, 'members': []})
    s = await alice.connect()
    path, names, after = '/v1/rooms?limit=2', [], {}
    for more in (True, False):
        await s.write(type='rooms', id='5', limit=2, **after)
        f = await s.expect('rooms_res')
        assert (f.pop('id'), f.pop('type')) == ('5', 'rooms_res')
        assert f['more'] is more
        assert f == await api.call('GET', path, alice.token)
        names += [room['name'] for room in f['rooms']]
        after = {'after': f['rooms'][-1]['room']}
        path = '/v1/rooms?limit=2&after=' + after['after']
    assert sorted(names) == ['one', 'three', 'two']
    await s.write(type='rooms', id='6', limit=51)
    f = await s.expect('error')
    assert (f['id'], f['code']) == ('6', 'bad_field')

    s = await alice.connect(protocol='im.v1.proto')
    f = proto.Frame()
    f.rooms.id = 9
    await s.ws.send(f.SerializeToString())
    while f.WhichOneof('frame') != 'rooms_res':
        f = proto.Frame.FromString(await asyncio.wait_for(s.ws.recv(), WAIT))
    assert f.rooms_res.id == 9
    assert sorted(r.name for r in f.rooms_res.rooms) == sorted(names)


async def test_many_questions_are_told_apart_by_their_ids(api, people, stack):
    alice, bob, s = await conversation(api, people, stack, *range(4))
    for n in range(1, 5):
        await s.write(type='history', **{'with': str(bob.uid)}, id=str(n),
                      after_seq=str(n - 1), limit=1)
    answers = [await s.expect('history_res') for _ in range(4)]
    assert {(f['id'], f['messages'][0]['body']) for f in answers} == {
        ('1', 0), ('2', 1), ('3', 2), ('4', 3)}


async def test_nobody_asks_in_the_name_of_another(api, people, stack, proto):
    alice, bob, _ = await conversation(api, people, stack, 'secret')
    eve = await people(api, 'eve')
    s = await eve.connect(protocol='im.v1.proto')
    f = proto.Frame()
    f.history.id = 9
    setattr(f.history, 'with', bob.uid)
    f.history.caller.uid = alice.uid
    f.history.caller.sid = 'x' * 22
    f.history.caller.device = 'd'
    await s.ws.send(f.SerializeToString())
    while True:
        answer = proto.Frame.FromString(
            await asyncio.wait_for(s.ws.recv(), WAIT))
        if answer.WhichOneof('frame') == 'history_res':
            break
    assert answer.history_res.id == 9
    assert len(answer.history_res.messages) == 0
    s = await eve.connect()
    await s.write(type='history', **{'with': str(bob.uid)}, id='9',
                  caller={'uid': str(alice.uid), 'sid': 'x', 'device': 'd'})
    assert (await s.expect('history_res'))['messages'] == []


async def test_long_messages_make_short_pages(api, people, stack):
    alice, bob, s = await conversation(
        api, people, stack, *['%d' % n + 'x' * 60000 for n in range(12)])
    seqs, before = [], {}
    while True:
        await s.write(type='history', **{'with': str(bob.uid)}, limit=12,
                      **before)
        f = await s.expect('history_res')
        seqs += [int(m['seq']) for m in f['messages']]
        before = {'before_seq': str(seqs[-1])}
        if not f['more']:
            break
        assert 0 < len(f['messages']) < 12
    assert seqs == list(range(12, 0, -1))


async def test_who_goes_before_the_answer_hurts_nobody(api, people, stack):
    alice, bob, s = await conversation(api, people, stack, 1)
    for _ in range(20):
        gone = await alice.connect()
        for n in range(4):
            await gone.write(type='history', **{'with': str(bob.uid)}, id='1')
        gone.ws.transport.abort()
    await s.write(type='history', **{'with': str(bob.uid)}, id='2')
    assert (await s.expect('history_res'))['id'] == '2'
