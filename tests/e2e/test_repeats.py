"""A request that is sent twice gets the same answer twice, and nobody is told
twice."""


from conftest import refused
from im_client import Problem
from im_wait import pace, tries
from test_room_rules import call, create
from test_shapes import ask


async def twice(attempt, *args, **kw):
    first = await attempt(*args, **kw)
    assert await attempt(*args, **kw) == first
    return first


async def events(s, user):
    """room_ev with an event, until a message that user sends to himself."""
    await user.send(user.uid, 'until here')
    got, kept, s.frames = [], s.frames, []
    while True:
        f = kept.pop(0) if kept else await s.receive()
        if f['type'] == 'push' and f['body'] == 'until here':
            return got
        if f['type'] == 'room_ev' and 'event' in f:
            got.append((f['event'], int(f.get('uid', 0))))


async def heard(s, user, *want):
    """Just these; what other workers tell may come a little later."""
    got = []
    for _ in range(50):
        got += await events(s, user)
        if len(got) >= len(want):
            break
        await pace(0.1)
    got += await events(s, user)
    assert got == list(want)


async def test_changes_of_a_group_are_told_once(api, people):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    room = await create(alice, open=True)
    s = await alice.connect()
    await heard(s, alice)
    assert (await room.add(alice, bob))['added'] == 1
    assert (await room.add(alice, bob))['added'] == 0
    await heard(s, alice, ('joined', bob.uid))
    first = (await room.join(carol))['room']
    again = (await room.join(carol))['room']
    assert {**first, 'online': 0} == {**again, 'online': 0}
    await heard(s, alice, ('joined', carol.uid))
    await twice(room.set, alice, bob, role='admin')
    await heard(s, alice, ('role', bob.uid))
    await room.set(alice, carol, mute_s=600)
    await twice(room.set, alice, carol, mute_s=0)
    await heard(s, alice, ('muted', carol.uid), ('muted', carol.uid))
    await twice(room.remove, alice, bob)
    await heard(s, alice, ('removed', bob.uid))
    await twice(room.leave, carol)
    await heard(s, alice, ('left', carol.uid))
    await room.add(alice, bob)
    await twice(room.set, alice, bob, role='owner')
    await heard(s, alice, ('joined', bob.uid), ('role', bob.uid),
                ('role', alice.uid))
    await twice(room.dismiss, bob)
    await heard(s, alice, ('dismissed', 0))


async def test_removing_who_is_not_there_is_told_to_nobody(api, people):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    for kind in ('group', 'live'):
        room = await create(alice, kind, open=True)
        s, t = await alice.connect(), await bob.connect()
        for each in (s, t):
            await ask(each, 'join', room=str(room.id))
        await heard(s, alice, *[('joined', bob.uid)] * (kind == 'group'))
        await twice(room.remove, alice, carol)
        await twice(room.remove, alice, 2 ** 62)
        assert await events(s, alice) == []
        # Who is there is told so, as are the others.
        async for _ in tries('bob is not online', 10):
            page = await room.members(alice, online='true')
            if str(bob.uid) in [m['uid'] for m in page['members']]:
                break
        await twice(room.remove, alice, bob)
        await heard(s, alice, ('removed', bob.uid))
        await heard(t, bob, *[('joined', bob.uid)] * (kind == 'group'),
                    ('removed', bob.uid))
        for each in (s, t):
            await each.close()


async def test_a_repeated_block_is_accepted_at_the_limit(api, people, stack):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    await call(alice, 'POST', 'blocks', {'uid': str(bob.uid)})
    stack.mysql('INSERT INTO blocks SELECT %d, seq FROM seq_1_to_999'
                % alice.uid)
    await refused(call(alice, 'POST', 'blocks', {'uid': str(carol.uid)}), 409,
                  'limit_reached')
    await call(alice, 'POST', 'blocks', {'uid': str(bob.uid)})
    path = 'blocks/%d' % bob.uid
    assert await twice(call, alice, 'DELETE', path) == {}
    try:
        await bob.send(alice.uid, 'hello')
    except Problem as e:
        raise AssertionError(e.body) from None


async def test_one_s_own_list_takes_a_request_twice(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    await bob.send(alice.uid, 1)
    await stack.stored(alice, bob, 1)
    name = {'with': str(bob.uid)}
    await twice(call, alice, 'POST', 'read', dict(name, seq='1'))
    await twice(call, alice, 'PATCH', 'conversations',
                dict(name, muted=True, pinned=True, hidden=True))
    answer = await call(alice, 'GET', 'conversations',
                        params={'hidden': 'true'})
    c = answer['conversations'][0]
    assert c['muted'] and c['pinned'] and c['hidden']
