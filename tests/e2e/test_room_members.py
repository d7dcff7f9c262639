"""Members of rooms: roles, mutes, limits, and pages of them, over HTTP."""

import asyncio
import time

import pytest

from conftest import refused
from im_client import Problem
from im_wait import tries
from test_room_rules import NOBODY, create, reads_nothing


# Roles.


async def test_what_admins_and_members_may_do(api, people):
    alice, adam, mary, max_, nick = await people(
        api, 'alice', 'adam', 'mary', 'max', 'nick')
    room = await create(alice, members=[adam, mary])
    await room.set(alice, adam, role='admin')
    # A member.
    for attempt in (room.add(mary, nick), room.remove(mary, adam),
                    room.set(mary, adam, mute_s=9), room.dismiss(mary),
                    room.set(mary, mary, role='admin')):
        await refused(attempt, 403, 'forbidden')
    await refused(room.add(mary, NOBODY), 403, 'forbidden')
    # An admin.
    assert (await room.add(adam, max_, nick, mary))['added'] == 2
    assert (await room.add(adam, max_))['added'] == 0
    await room.remove(adam, nick)
    for attempt in (room.remove(adam, alice), room.dismiss(adam),
                    room.set(adam, alice, mute_s=9),
                    room.set(adam, adam, mute_s=9),
                    room.set(adam, mary, role='admin'),
                    room.set(adam, adam, role='owner')):
        await refused(attempt, 403, 'forbidden')
    # Not another admin, either.
    await room.set(alice, max_, role='admin')
    await refused(room.remove(adam, max_), 403, 'forbidden')
    await refused(room.set(adam, max_, mute_s=9), 403, 'forbidden')
    # The owner.
    await room.set(alice, max_, role='member')
    await room.remove(adam, max_)
    await room.remove(alice, adam)
    await refused(room.remove(alice, alice), 400, 'bad_request')
    assert await room.roles(mary) == {alice.uid: 'owner', mary.uid: 'member'}


@pytest.mark.parametrize('fields, status, code', [
    ({}, 400, 'missing_field'), ({'role': 'king'}, 400, 'bad_field'),
    ({'role': ''}, 400, 'bad_field'), ({'mute_s': -1}, 400, 'bad_field'),
    ({'mute_s': 2 ** 32}, 400, 'bad_field')])
async def test_bad_fields_of_a_change(api, people, fields, status, code):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, members=[bob])
    await refused(room.set(alice, bob, **fields), status, code)


async def test_roles_are_for_who_is_in_the_group(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice)
    await refused(room.set(alice, bob, role='admin'), 403, 'not_member')
    await refused(room.set(alice, bob, mute_s=5), 403, 'not_member')
    live = await create(alice, 'live')
    await refused(live.set(alice, NOBODY, role='admin'), 404, 'no_such_user')
    await live.set(alice, bob, role='admin')
    assert (await live.get(bob))['role'] == 'admin'


@pytest.mark.parametrize('uids, status, code', [
    ([], 400, 'bad_field'), ([0], 404, 'no_such_user'),
    ([NOBODY], 404, 'no_such_user'), (list(range(1, 202)), 400, 'bad_field')])
async def test_who_cannot_be_added(api, people, uids, status, code):
    alice = await people(api, 'alice')
    room = await create(alice)
    await refused(room.add(alice, *uids), status, code)
    assert await room.roles(alice) == {alice.uid: 'owner'}


# Mutes.


async def test_a_mute_begins_at_once_and_ends_by_itself(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, members=[bob])
    await room.send(bob)
    await room.set(alice, bob, mute_s=3600)
    await refused(room.send(bob), 403, 'muted')
    assert int((await room.get(bob))['muted_until_ms']) > 0
    m = [m for m in (await room.members(alice))['members']
         if m['uid'] == str(bob.uid)]
    assert int(m[0]['muted_until_ms']) > 0
    assert (await room.sync(bob))['messages']
    began = time.monotonic()
    await room.set(alice, bob, mute_s=1)
    async for _ in tries('is muted still', 10):
        try:
            await room.send(bob)
            break
        except Problem as e:
            assert e.code == 'muted'
    assert time.monotonic() - began > 0.9, 'was muted for a shorter time'
    await room.set(alice, bob, mute_s=3600)
    await refused(room.send(bob), 403, 'muted')
    await room.set(alice, bob, mute_s=0)
    await room.send(bob)
    assert 'muted_until_ms' not in await room.get(bob)


async def test_leaving_does_not_end_a_mute(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, open=True)
    await room.join(bob)
    await room.set(alice, bob, mute_s=3600)
    await room.leave(bob)
    await reads_nothing(room, bob, 403, 'forbidden')
    assert 'muted_until_ms' in (await room.join(bob))['room']
    await refused(room.send(bob), 403, 'muted')


async def test_removal_and_dismissal_are_at_once_for_a_sender(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    for _ in range(5):
        room = await create(alice, members=[bob])
        await room.send(bob)        # now it is remembered that he may
        await room.remove(alice, bob)
        await refused(room.send(bob), 404, 'no_such_room')
        await room.add(alice, bob)
        await room.send(bob)
        await room.dismiss(alice)
        await refused(room.send(bob), 410, 'room_dismissed')


# Dismissed.


async def test_a_dismissed_room_can_be_read_and_left(api, people):
    alice, bob, eve = await people(api, 'alice', 'bob', 'eve')
    room = await create(alice, members=[bob], open=True)
    await room.send(alice, 'last words')
    await room.dismiss(alice)
    for attempt in (room.send(bob), room.send(alice), room.join(eve),
                    room.add(alice, eve), room.get(bob),
                    room.set(alice, bob, role='admin')):
        await refused(attempt, 410, 'room_dismissed')
    s = await room.sync(bob)
    assert [m['body'] for m in s['messages']] == ['last words']
    await reads_nothing(room, eve, 403, 'forbidden')
    await room.leave(alice)
    await room.leave(bob)
    await reads_nothing(room, bob, 403, 'forbidden')


# Limits and races.


async def test_of_many_who_take_the_last_places_none_is_too_many(
        api, people, stack):
    alice = await people(api, 'alice')
    crowd = await people(api, *['u%d' % n for n in range(6)])
    room = await create(alice, open=True)
    # 4,997 who are not real: three places are left.
    stack.mysql('INSERT INTO members (room, uid, role, joined_ms) '
                'SELECT %d, seq, 1, 0 FROM seq_1000000000_to_1000004995'
                % room.id)
    results = await asyncio.gather(*[room.join(u) for u in crowd],
                                   return_exceptions=True)
    won = [r for r in results if not isinstance(r, Exception)]
    lost = [r for r in results if isinstance(r, Problem)]
    assert len(won) == 3
    assert {(p.status, p.code) for p in lost} == {(409, 'room_full')}
    assert (await room.get(alice))['members'] == 5000
    full = await refused(room.add(alice, *crowd), 409, 'room_full')
    assert full.body['detail'] == 'a group can have at most 5000 members'


async def test_a_user_is_in_1000_groups_at_most(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    stack.mysql('INSERT INTO conversations (uid, conv_a, conv_b) '
                'SELECT %d, 0, seq FROM seq_2000000000_to_2000000998'
                % bob.uid)
    one = await create(alice, members=[bob])
    two = await create(alice, open=True)
    await refused(two.join(bob), 409, 'limit_reached')
    await refused(two.add(alice, bob), 409, 'limit_reached')
    await refused(create(bob), 409, 'limit_reached')
    await one.leave(bob)
    await two.join(bob)


async def test_a_crowd_that_joins_and_leaves_ends_as_the_answers_say(
        api, people):
    alice = await people(api, 'alice')
    crowd = await people(api, *['u%d' % n for n in range(8)])
    room = await create(alice, open=True)

    async def wander(user, turns):
        for _ in range(turns):
            await room.join(user)
            await room.leave(user)
        await room.join(user)

    await asyncio.gather(*[wander(u, 3) for u in crowd],
                         *[room.join(u) for u in crowd])
    assert set(await room.roles(alice)) >= {alice.uid}
    for u in crowd:
        await room.join(u)
    roles = await room.roles(alice)
    assert set(roles) == {u.uid for u in crowd} | {alice.uid}


async def test_joins_against_a_dismissal(api, people):
    alice = await people(api, 'alice')
    crowd = await people(api, *['u%d' % n for n in range(6)])
    room = await create(alice, open=True)
    results = await asyncio.gather(
        *[room.join(u) for u in crowd[:3]], room.dismiss(alice),
        *[room.join(u) for u in crowd[3:]], return_exceptions=True)
    assert not isinstance(results[3], Exception)
    members = await room.roles(alice)
    for u, r in zip(crowd, results[:3] + results[4:]):
        assert (u.uid in members) == (not isinstance(r, Exception))
        if isinstance(r, Exception):
            assert r.code == 'room_dismissed'


# Pages of members.


async def test_members_come_in_pages_by_uid(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, members=[bob])
    stack.mysql('INSERT INTO members (room, uid, role, joined_ms) '
                'SELECT %d, seq, 1, 0 FROM seq_1000000000_to_1000000497'
                % room.id)
    got, after = [], 0
    while True:
        page = await room.members(bob, limit=200, after=after)
        got += [int(m['uid']) for m in page['members']]
        if not page['more']:
            break
        after = got[-1]
    assert got == list(range(1000000000, 1000000498)) + sorted(
        [alice.uid, bob.uid])
    assert len((await room.members(bob))['members']) == 50
    for args in ({'limit': 0}, {'limit': 201}, {'after': 2 ** 63},
                 {'after': 'x'}, {'limit': -1}):
        await refused(room.members(bob, **args), 400, 'bad_field')
