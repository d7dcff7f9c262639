"""Lists of one's rooms, and what is unread in them, over HTTP."""

from conftest import refused
from im_wait import tries
from test_room_rules import call, create, listed, redis


async def mine(user, **args):
    return await call(user, 'GET', 'rooms',
                      params={k: str(v) for k, v in args.items()})


async def test_who_was_added_while_offline_finds_a_group_without_messages(
        api, people):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    await carol.send(bob.uid, 'before')
    room = await create(alice, name='Tea')
    assert await room.add(alice, bob) == {'added': 1}
    c = (await listed(bob))[room.id]
    assert 'last' not in c
    assert (c['head'], c['read_seq'], c['unread']) == ('0', '0', 0)
    r = await mine(bob)
    assert r['more'] is False and r['rooms'] == [await room.get(bob)]
    assert r['rooms'][0]['role'] == 'member'

    # it stands where he joined it, and pages go on below it
    r = await call(bob, 'GET', 'conversations', params={'limit': '1'})
    assert r['more'] is True and int(r['conversations'][0]['room']) == room.id
    r = await call(bob, 'GET', 'conversations',
                   params={'limit': '1', 'before': r['next']})
    assert int(r['conversations'][0]['with']) == carol.uid


async def test_my_rooms_are_those_in_which_i_have_a_role_page_by_page(
        api, people):
    alice, bob = await people(api, 'alice', 'bob')
    rooms = [await create(alice, members=[bob]) for n in range(3)]
    live = await create(bob, kind='live')
    await create(alice)
    left = await create(alice, members=[bob])
    gone = await create(alice, members=[bob])
    await left.leave(bob)
    await gone.dismiss(alice)
    got, args = [], {}
    while True:
        r = await mine(bob, limit=2, **args)
        assert 1 <= len(r['rooms']) <= 2
        got += [int(m['room']) for m in r['rooms']]
        if not r['more']:
            break
        args = {'after': got[-1]}
    assert got == sorted([m.id for m in rooms] + [live.id])
    for args in ({'limit': 0}, {'limit': 51}, {'after': 2 ** 63}):
        await refused(mine(bob, **args), 400, 'bad_field')


async def test_unread_of_a_group_is_exact_for_each_member(
        api, people, stack):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    room = await create(alice, members=[bob, carol])

    async def unread(*want):
        async for _ in tries(lambda: got):
            got = tuple([(await listed(u))[room.id]['unread']
                         for u in (alice, bob, carol)])
            if got == want:
                return

    for sender in (alice, bob, bob, alice, carol):
        await room.send(sender)
    await unread(3, 3, 4)
    await room.read(bob, 3)                # his own two are below
    await unread(3, 2, 4)
    await room.read(alice, 1)
    await room.read(carol, 4)
    await unread(3, 2, 0)
    # A jump, as after Redis lost its memory, at the worst.
    redis(stack, 'set', 'im:s:{0}:0:%d' % room.id, str(2 ** 20 + 5))
    last = int((await room.send(carol))['seq'])
    assert last == 2 ** 20 + 6
    await unread(4, 3, 0)
    await room.read(alice, last)           # as it is pushed, or sooner
    await room.read(carol, last)
    await room.send(alice)
    await unread(0, 4, 1)


async def test_unread_of_a_group_of_an_earlier_version_is_counted_once(
        api, people, stack):
    """It had no count of one's own messages: a list makes it."""
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, members=[bob])
    for sender in (alice, bob, bob, alice, alice):
        last = await room.send(sender)

    async def unread(*want):
        async for _ in tries(lambda: seen):
            seen = [(await listed(u))[room.id] for u in (alice, bob)]
            if seen[0]['head'] == last['seq']:
                assert tuple(c['unread'] for c in seen) == want
                return

    def own():
        return {int(uid): n for uid, n in stack.mysql(
            'SELECT uid, own_above FROM conversations WHERE conv_a = 0 AND '
            'conv_b = %d' % room.id)}

    await unread(2, 3)
    stack.mysql('UPDATE conversations SET own_above = NULL WHERE conv_a = 0 '
                'AND conv_b = %d' % room.id)
    await unread(2, 3)
    assert own() == {alice.uid: '3', bob.uid: '2'}
    last = await room.send(bob)
    await unread(3, 3)
    assert own() == {alice.uid: '3', bob.uid: '3'}
    stack.mysql('UPDATE conversations SET own_above = NULL WHERE conv_a = 0 '
                'AND conv_b = %d' % room.id)
    await room.read(alice, 2)
    await room.read(bob, 2)
    assert own() == {alice.uid: '2', bob.uid: '2'}
    await unread(2, 2)
