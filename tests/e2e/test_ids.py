"""Uids and room ids tell nothing: not how many there are, nor the next one.
Those of earlier versions stay valid."""

import random

from conftest import refused
from test_room_rules import Room, create

FIRST = 10 ** 18                   # of 19 digits
APART = 2 ** 32                    # 50 drawn ids come closer once in 10^6 runs


def tell_nothing(ids):
    assert all(FIRST <= i < 2 ** 63 for i in ids)
    assert ids != sorted(ids) and ids != sorted(ids, reverse=True)
    ordered = sorted(ids)
    assert all(b - a > APART for a, b in zip(ordered, ordered[1:]))


async def test_uids_and_rooms_cannot_be_counted(api):
    name = 'count-%d-' % random.getrandbits(40)
    users = [await api.register(name + str(n), 'correct horse battery')
             for n in range(50)]
    tell_nothing([u.uid for u in users])
    await users[0].log_in()
    rooms = [await create(users[0], kind) for kind in ('group', 'live') * 10]
    tell_nothing([r.id for r in rooms])
    await refused(api.register(name + '7', 'correct horse battery'), 409,
                  'name_taken')


async def test_users_and_rooms_of_an_earlier_version_stay_valid(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    uid, number = random.sample(range(1000, 2 ** 31), 2)
    stack.mysql('UPDATE users SET uid = %d WHERE uid = %d' % (uid, bob.uid))
    stack.mysql("INSERT INTO rooms VALUES (%d, 1, 'old', 1, 1, 1, 0)" % number)
    bob.uid = uid
    await bob.log_in()
    room = Room(bob, {'room': str(number)})
    for user in (alice, bob):
        await room.join(user)
    s = await bob.connect()
    assert s.auth_ok['uid'] == str(uid)
    await alice.send(uid, 'to you')
    await room.send(alice, 'to all')
    assert [(await s.expect('push'))['body'] for _ in 'ab'] == ['to you',
                                                                'to all']
    assert await room.roles(alice) == {alice.uid: 'member', uid: 'member'}
