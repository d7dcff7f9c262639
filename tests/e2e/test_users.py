"""Who is who: GET /v1/me, POST /v1/users:lookup, GET /v1/users/NAME."""

import asyncio

import pytest

from conftest import drawn, refused
from test_accounts import claims


async def lookup(user, uids=(), names=()):
    body = {'uids': [str(u) for u in uids], 'names': list(names)}
    return (await user.api.call('POST', '/v1/users:lookup', user.token,
                                json=body))['users']


def cards(*users):
    return [{'uid': str(u.uid), 'name': u.name}
            for u in sorted(users, key=lambda u: u.uid)]


async def test_a_client_learns_who_it_is(api, people):
    alice = await people(api, 'alice')
    await alice.log_in('phone.pixel')
    me = await api.call('GET', '/v1/me', alice.token)
    assert me == {'uid': str(alice.uid), 'name': alice.name,
                  'device': 'phone.pixel',
                  'session': claims(alice.token)['sid']}
    await refused(api.call('GET', '/v1/me'), 401, 'unauthorized')
    await api.call('POST', '/v1/logout', alice.token)
    await refused(api.call('GET', '/v1/me', alice.token), 401,
                  'session_revoked')


async def test_users_are_looked_up_by_uid_and_by_name(api, people):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    found = await lookup(alice, [bob.uid], [carol.name])
    assert found == cards(bob, carol)
    # Each once, however he was asked for; who does not exist is left out.
    found = await lookup(
        alice, [bob.uid, bob.uid, alice.uid, 0, 2 ** 63, *drawn(9)],
        [bob.name, bob.name + 'x', 'nobody', '', 'x' * 33])
    assert found == cards(alice, bob)
    assert await lookup(alice, drawn(3)) == []


async def test_two_hundred_users_are_looked_up_at_a_time(api, people, stack):
    alice = await people(api, 'alice')
    uids = drawn(200)
    stack.mysql('INSERT INTO users VALUES ' + ', '.join(
        "(%d, 'many.%d', '*', 1)" % (uid, uid) for uid in uids))
    names = ['many.%d' % uid for uid in uids]
    want = [{'uid': str(uid), 'name': 'many.%d' % uid} for uid in sorted(uids)]
    assert await lookup(alice, uids) == want
    assert await lookup(alice, (), names) == want
    assert await lookup(alice, uids[:100], names[100:]) == want
    for many in ((uids + drawn(1), ()), (uids, names[:1]), ((), ())):
        await refused(lookup(alice, *many), 400, 'bad_field')


@pytest.mark.parametrize('body', [
    {'uids': ['bob']}, {'uids': [-1]}, {'names': [7]}, {'names': 'bob'},
    {'uids': [str(2 ** 64)]}])
async def test_what_names_nobody_is_told_so(api, people, body):
    alice = await people(api, 'alice')
    await refused(api.call('POST', '/v1/users:lookup', alice.token, json=body),
                  400, 'bad_field')


async def test_a_name_with_a_space_is_nobody(api, people):
    """SQL takes spaces at the end for nothing."""
    alice, bob = await people(api, 'alice', 'bob')
    for name in (bob.name + ' ', bob.name + '   ', ' ' + bob.name,
                 bob.name.upper()):
        await refused(api.call('GET', '/v1/users/' + name.replace(' ', '%20'),
                               alice.token), 404, 'no_such_user')
        assert await lookup(alice, (), [name]) == []
        await refused(api.call('POST', '/v1/login', json={
            'name': name, 'password': bob.password}), 401, 'bad_credentials')
    assert await asyncio.gather(*[lookup(alice, (), [bob.name])
                                  for _ in range(3)]) == [cards(bob)] * 3
