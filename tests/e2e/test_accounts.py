"""Registering, logging in, staying logged in, logging out."""

import asyncio
import base64
import hmac
import json
import os
import re
import statistics
import time

import aiohttp
import pytest

from conftest import refused
from im_client import Problem, Socket


def claims(token):
    part = token.split('.')[1]
    return json.loads(base64.urlsafe_b64decode(part + '=' * (-len(part) % 4)))


async def test_a_user_registers_and_logs_in(api, people):
    alice = await people(api, 'alice')
    c = claims(alice.token)
    assert c['sub'] == str(alice.uid)
    assert 0 < c['exp'] - time.time() <= 900
    assert (await api.call('GET', '/v1/auth', alice.token)).status == 204


async def test_passwords_are_kept_as_argon2id(api, people, stack):
    alice = await people(api, 'alice')
    row = stack.mysql('SELECT password FROM users WHERE uid = %d' % alice.uid)
    assert row[0][0].startswith('$argon2id$')


# Of "correct horse battery": by less work than Logic does, and by more.
WEAK = ('$argon2id$v=19$m=8192,t=1,p=1$7KAY5y2JcDLZKzKXaXrnBA$'
        'F47hqnlk+BIjE6TQe4SpofgZtyxmJ7rPoGkQjYmhqKU')
OTHER_KIND = ('$argon2i$v=19$m=8192,t=3,p=1$UjkWXBCOHyefYk29cWACxg$'
              'D+698yJEcLDqey/H+Q8f7XeTDdzUS3AsnRKU+c5Cw+4')
STRONG = ('$argon2id$v=19$m=32768,t=3,p=1$P0QkSXSRI3IJRV1jsPzrUQ$'
          'l6IyGMrCqDuLzi3jZZyeXuMcpWr6ih94oyLaEH94AgU')


@pytest.mark.parametrize('old, kept', [
    (WEAK, False), (OTHER_KIND, False), (STRONG, True)])
async def test_a_log_in_makes_a_weak_hash_anew(api, people, stack, old, kept):
    alice = await people(api, 'alice')
    now = "SELECT password FROM users WHERE uid = %d" % alice.uid
    fresh = stack.mysql(now)[0][0]
    stack.mysql("UPDATE users SET password = '%s' WHERE uid = %d"
                % (old, alice.uid))
    wrong = dict(name=alice.name, password='correct horse batterx')
    await refused(api.call('POST', '/v1/login', json=wrong), 401)
    assert stack.mysql(now) == [[old]]
    # Of many at a time all come in.
    await asyncio.gather(*[api.login(alice, 'd%d' % n) for n in range(6)])
    made = stack.mysql(now)[0][0]
    assert (made == old) == kept
    if not kept:
        assert made.split('$')[:4] == fresh.split('$')[:4]
    await api.login(alice)
    assert stack.mysql(now) == [[made]]
    # Nor is a change of the password disturbed.
    stack.mysql("UPDATE users SET password = '%s' WHERE uid = %d"
                % (old, alice.uid))
    change = api.call('POST', '/v1/password', alice.token, json={
        'old_password': alice.password, 'new_password': 'staple it well'})
    await asyncio.gather(change, *[api.login(alice) for _ in range(2)],
                         return_exceptions=True)
    alice.password = 'staple it well'
    await alice.log_in()


async def test_a_name_is_taken_once(api, people):
    alice = await people(api, 'alice')
    await refused(api.register(alice.name, 'another password'), 409,
                  'name_taken')


async def test_of_many_who_register_a_name_one_gets_it(api):
    name = 'race-' + os.urandom(4).hex()
    results = await asyncio.gather(
        *[api.register(name, 'password number %d' % n) for n in range(8)],
        return_exceptions=True)
    won = [r for r in results if not isinstance(r, Exception)]
    lost = [r for r in results if isinstance(r, Problem)]
    assert len(won) == 1
    assert [p.code for p in lost] == ['name_taken'] * 7


@pytest.mark.parametrize('name', ['ab', 'a' * 33, 'has space', 'ümlaut', '',
                                  'semi;colon', "quo'te"])
async def test_impossible_names_are_told_the_bounds(api, name):
    p = await refused(api.register(name, 'correct horse'), 400, 'bad_name')
    assert '3' in p.body['detail'] and '32' in p.body['detail']


@pytest.mark.parametrize('password', ['', 'seven77', 'x' * 129])
async def test_impossible_passwords_are_told_the_bounds(api, password):
    p = await refused(api.register('n' + os.urandom(6).hex(), password), 400,
                      'bad_password')
    assert '8' in p.body['detail'] and '128' in p.body['detail']


@pytest.mark.parametrize('password', ['eight888', 'pässwörd ☃ ', 'y' * 128])
async def test_possible_passwords_log_in(api, password):
    u = await api.register('n' + os.urandom(6).hex(), password)
    assert (await u.log_in()).token


async def test_wrong_password_and_unknown_user_look_the_same(api, people):
    alice = await people(api, 'alice')

    async def attempt(name):
        t = time.perf_counter()
        p = await refused(api.call('POST', '/v1/login', json={
            'name': name, 'password': 'certainly wrong'}), 401,
            'bad_credentials')
        return time.perf_counter() - t, p.body

    wrong, unknown, bodies = [], [], []
    for n in range(15):
        t, body = await attempt(alice.name)
        wrong.append(t)
        bodies.append(body)
        t, body = await attempt('nobody-%d' % n)
        unknown.append(t)
        bodies.append(body)
    assert all(b == bodies[0] for b in bodies)
    # A missing hash would be ten times faster and more.
    ratio = statistics.median(wrong) / statistics.median(unknown)
    assert 0.25 < ratio < 4, (wrong, unknown)


async def refresh(api, token):
    r = await api.call('POST', '/v1/refresh', json={'refresh_token': token})
    assert r['refresh_token'] != token
    assert (await api.call('GET', '/v1/auth', r['access_token'])).status == 204
    return r['refresh_token']


def older(stack, user):
    """The seconds in which a call may be repeated are over."""
    stack.mysql('UPDATE sessions SET turned_ms = turned_ms - 60000 '
                'WHERE uid = %s' % user.uid)


async def test_a_refresh_whose_answer_was_lost_can_be_repeated(api, people):
    alice = await people(api, 'alice')
    first = alice.refresh_token
    second = await refresh(api, first)
    assert await refresh(api, first) == second
    # Many at once, as from several windows of a browser: one successor.
    assert len(set(await asyncio.gather(*(refresh(api, second)
                                          for _ in range(8))))) == 1


@pytest.mark.parametrize('later', [0, 1, 3])
async def test_a_refresh_token_used_again_later_ends_the_session(
        api, people, stack, later):
    """However often the thief has changed it meanwhile."""
    alice = await people(api, 'alice')
    phone = await api.login(alice, 'phone')
    stolen = alice.refresh_token
    s = await alice.connect()
    last = await refresh(api, stolen)
    for _ in range(later):
        last = await refresh(api, last)
    older(stack, alice)
    await refused(api.call('POST', '/v1/refresh',
                           json={'refresh_token': stolen}), 401,
                  'session_revoked')
    # Nobody has anything of this session any more.
    assert (await s.expect('kick'))['code'] == 'session_revoked'
    await refused(api.call('POST', '/v1/refresh',
                           json={'refresh_token': last}), 401)
    await refused(alice.send(alice.uid, 'hello'), 401, 'session_revoked')
    # The log names the user and no token; other sessions stay.
    with open(os.path.join(stack.dir, 'log', 'logic-1.log')) as f:
        log = f.read()
    assert 'user %s: a refresh token of session' % alice.uid in log
    assert stolen not in log and last not in log
    await refresh(api, phone['refresh_token'])


async def test_a_token_of_the_family_that_was_never_given_ends_it_too(
        api, people):
    """Only who has had one knows its first part."""
    alice = await people(api, 'alice')
    token = alice.refresh_token
    await refused(api.call('POST', '/v1/refresh', json={
        'refresh_token': token[:24] + token[23:22:-1] * 40}), 401,
        'session_revoked')
    await refused(api.call('POST', '/v1/refresh',
                           json={'refresh_token': token}), 401)


async def test_a_refresh_token_of_an_earlier_version_is_good_for_one_use(
        api, people, stack):
    alice = await people(api, 'alice')
    old = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip('=')
    stack.mysql('UPDATE sessions SET family_hash = NULL, refresh_hash = '
                "UNHEX(SHA2('%s', 256)) WHERE uid = %s" % (old, alice.uid))
    new = await refresh(api, old)
    assert len(new) == 64
    await refused(api.call('POST', '/v1/refresh',
                           json={'refresh_token': old}), 401, 'unauthorized')
    await refresh(api, new)


async def test_a_made_up_refresh_token_is_refused(api):
    for size in (32, 48):
        await refused(api.call('POST', '/v1/refresh', json={
            'refresh_token': base64.urlsafe_b64encode(os.urandom(size))
            .decode().rstrip('=')}), 401, 'unauthorized')
    for text in ('', 'x', '=' * 64, 'é' * 32, 'A' * 63 + '!'):
        await refused(api.call('POST', '/v1/refresh',
                               json={'refresh_token': text}), 401,
                      'unauthorized')


async def test_logout_ends_this_session_and_its_sockets(api, people):
    alice = await people(api, 'alice')
    phone = await api.login(alice, 'phone')
    s = await alice.connect()
    await api.call('POST', '/v1/logout', alice.token)
    kick = await s.expect('kick')
    assert kick['code'] == 'session_revoked', kick
    with pytest.raises(Problem, match='closed'):
        await s.receive()
    assert s.ws.close_code == 4101
    await refused(alice.send(alice.uid, 'hello'), 401, 'session_revoked')
    await refused(api.call('POST', '/v1/refresh', json={
        'refresh_token': alice.refresh_token}), 401)
    # The other device is still there.
    assert (await api.call('GET', '/v1/auth', phone['access_token'])) \
        .status == 204


async def test_a_socket_cannot_be_opened_after_logout(api, people):
    alice = await people(api, 'alice')
    await api.call('POST', '/v1/logout', alice.token)
    with pytest.raises(Problem, match='401|4100|revoked'):
        await alice.connect()


async def test_forged_tokens_are_refused(api, people):
    alice = await people(api, 'alice')
    head, body, mark = alice.token.split('.')

    def b64(o):
        return base64.urlsafe_b64encode(json.dumps(o).encode()).decode() \
            .rstrip('=')

    c = claims(alice.token)
    forged = [
        '.'.join((b64({'alg': 'none', 'typ': 'JWT'}), body, '')),
        '.'.join((b64({'alg': 'HS512', 'typ': 'JWT'}), body, mark)),
        '.'.join((head, b64(dict(c, sub='1')), mark)),
        '.'.join((head, b64(dict(c, exp=c['exp'] + 9000)), mark)),
        '.'.join((head, body, mark[:-4] + 'AAAA')),
        head + '.' + body, 'x', 'a.b.c', '.'.join((head, body, mark, mark)),
    ]
    for token in forged:
        await refused(api.call('GET', '/v1/auth', token), 401, 'unauthorized')
    async with aiohttp.ClientSession() as s:
        async with s.get(api.url + '/v1/auth') as r:
            assert r.status == 401
            assert r.headers['WWW-Authenticate'].startswith('Bearer')


def signed(key, **claims):
    def b64(data):
        return base64.urlsafe_b64encode(data).rstrip(b'=')

    text = b64(b'{"alg":"HS256","typ":"JWT"}') + b'.' \
        + b64(json.dumps(claims).encode())
    return (text + b'.' + b64(hmac.new(key, text, 'sha256').digest())).decode()


async def test_expired_and_foreign_tokens_are_refused(api, people, stack):
    alice = await people(api, 'alice')
    with open(stack.env['IM_JWT_KEY_FILE'], 'rb') as f:
        key = f.read().strip()
    c = claims(alice.token)
    # The key is the right one, so what is refused below is refused for its
    # contents.
    good = signed(key, **c)
    assert (await api.call('GET', '/v1/auth', good)).status == 204
    now = int(time.time())
    for token, code in (
            (signed(key, **dict(c, exp=now - 1)), 'token_expired'),
            (signed(os.urandom(32), **c), 'unauthorized'),
            (signed(key, **dict(c, typ='refresh')), 'unauthorized'),
            (signed(key, **{k: v for k, v in c.items() if k != 'exp'}),
             'unauthorized'),
            (signed(key, **{k: v for k, v in c.items() if k != 'sid'}),
             'unauthorized'),
            (signed(key, **dict(c, sub='0')), 'unauthorized')):
        await refused(api.call('GET', '/v1/auth', token), 401, code)
        await refused(api.call('POST', '/v1/messages', token, json={
            'to': str(alice.uid), 'body': 'x'}), 401, code)
        # By header the handshake is refused, by frame the connection.
        with pytest.raises(Problem, match='401'):
            await Socket.open(api.address, token)
        s = await Socket.open(api.address, None, 'im.v1.json')
        await s.write(type='auth', token=token)
        assert (await s.expect('error'))['code'] == code
        with pytest.raises(Problem, match='closed'):
            await s.receive()
        assert s.ws.close_code == 4100
    assert (await alice.history(alice.uid))['messages'] == []


async def test_a_user_is_found_by_name(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    r = await api.call('GET', '/v1/users/' + bob.name, alice.token)
    assert r == {'uid': str(bob.uid), 'name': bob.name}
    await refused(api.call('GET', '/v1/users/nobody-at-all', alice.token),
                  404, 'no_such_user')
