"""Sessions that end: logged out, or by a new password."""

import asyncio
import os
import re
import socket
import subprocess
import time

import pytest

from conftest import refused
import im_wait
from im_client import Api, Problem, Socket
from im_wait import lasts, pace
from test_existing_nginx import Nginx

NEW = 'a better horse battery'


class Both:
    """Calls that reach both workers: each has a connection of its own, and the
    kernel spreads them where they have sockets of their own."""

    def __init__(self, address):
        self.host, self.port = address.rsplit(':', 1)

    def __call__(self, path, token, n=12):
        """Statuses of n calls, each on a connection of its own."""
        seen = []
        for _ in range(n):
            with socket.create_connection((self.host, int(self.port)),
                                          5) as s:
                s.sendall(('GET %s HTTP/1.1\r\nHost: x\r\nConnection: close'
                           '\r\nAuthorization: Bearer %s\r\n\r\n'
                           % (path, token)).encode())
                data = b''
                while b'\r\n' not in data:
                    part = s.recv(1000)
                    assert part
                    data += part
                seen.append(int(data.split()[1]))
        return seen


@pytest.fixture
def site(stack, tmp_path):
    """An nginx with a folder behind `im_jwt required;` and no backend of
    ours for it: it must know by itself."""
    n = Nginx(stack, tmp_path, 9, ours=True)
    conf = os.path.join(n.dir, 'nginx.conf')
    with open(conf) as f:
        text = f.read()
    text = re.sub('(listen 127.0.0.1:[0-9]+);', r'\1 reuseport;', text)
    at = text.rindex('location ')
    text = text[:at] + 'location = /style.css { im_jwt required; }\n' \
        + text[at:]
    with open(conf, 'w') as f:
        f.write(text)
    try:
        # One that is not linked yet does not know who has logged out.
        yield n.start().linked()
    finally:
        n.kill()


async def until(true, what, seconds=10):
    """In a thread: true() waits for programs."""
    await im_wait.until(lambda: asyncio.to_thread(true), what, seconds)


async def sockets_end(*sockets, code=4101):
    """How long that takes."""
    began = time.monotonic()
    for s in sockets:
        assert (await s.expect('kick'))['code'] == 'session_revoked'
        with pytest.raises(Problem):
            await s.receive()
        assert s.ws.close_code == code
    return time.monotonic() - began


async def test_a_logout_ends_all_sockets_of_the_session_within_a_second(
        api, people):
    a = await people(api, 'leaves')
    other = await a.api.login(a, 'other')
    z = await Socket.open(api.address, other['access_token'])
    took = []
    for _ in range(3):
        await a.log_in()
        x = await a.connect()
        y = await a.connect(other_than=[x.instance])
        await api.call('POST', '/v1/logout', a.token)
        took.append(await sockets_end(x, y))
    # A machine that stalls does not do so each time.
    assert min(took) < 1, took
    assert await z.nothing('kick', 0.5)
    await z.close()


async def test_an_ended_token_is_refused_in_front_of_any_backend(
        api, people, stack, site):
    a, b = await people(api, 'leaves', 'stays')
    ask = Both(site.address)
    await until(lambda: set(ask('/style.css', a.token)) == {200},
                'is not let in')
    await api.call('POST', '/v1/logout', a.token)
    # Within a second; those that are not linked yet are told when they are.
    await until(lambda: set(ask('/style.css', a.token)) == {401},
                'is still let in', 5)
    assert set(await asyncio.to_thread(ask, '/style.css', a.token)) == {401}
    assert set(await asyncio.to_thread(ask, '/style.css', b.token)) == {200}
    # The stack's own workers refuse it before Logic is asked.
    for address in (api.address, site.address):
        r = await asyncio.to_thread(Both(address), '/v1/auth', a.token)
        assert set(r) == {401}
    # And at the WebSocket.
    with pytest.raises(Problem, match='401'):
        await Socket.open(site.address, a.token)


async def test_a_worker_that_starts_later_knows_it_too(api, people, stack,
                                                       tmp_path, site):
    a = await people(api, 'leaves')
    await api.call('POST', '/v1/logout', a.token)
    old = workers(site)
    site.process.send_signal(1)                # SIGHUP: new workers
    await until(lambda: workers(site) and not old & workers(site),
                'the old workers do not go', 30)
    ask = Both(site.address)
    await until(lambda: set(ask('/style.css', a.token)) == {401},
                'is let in by a worker that has just started')
    assert set(await asyncio.to_thread(ask, '/style.css', a.token)) == {401}


async def test_a_worker_knows_it_although_redis_refused_to_tell_at_first(
        api, people, stack, site):
    a = await people(api, 'leaves')
    await api.call('POST', '/v1/logout', a.token)
    old = workers(site)
    redis(stack, 'ACL', 'SETUSER', 'default', '-zrangebyscore')
    try:
        site.process.send_signal(1)            # SIGHUP: new workers
        await until(lambda: workers(site) and not old & workers(site),
                    'the old workers do not go', 30)
        # Each has linked, and each Logic has been refused once at least.
        await until(lambda: redis(stack, 'ACL', 'LOG').count('zrangebyscore'),
                    'Redis was not asked')
        await lasts(1)
    finally:
        redis(stack, 'ACL', 'SETUSER', 'default', '+@all')
        redis(stack, 'ACL', 'LOG', 'RESET')
    ask = Both(site.address)
    await until(lambda: set(ask('/style.css', a.token)) == {401},
                'is let in by a worker that was never told')


def redis(stack, *command):
    r = subprocess.run(['redis-cli', '-s', stack.env['IM_REDIS'], *command],
                       stdout=subprocess.PIPE, text=True, timeout=20)
    assert r.returncode == 0 and not r.stdout.startswith('ERR'), r.stdout
    return r.stdout


def workers(site):
    pid = site.process.pid
    with open('/proc/%d/task/%d/children' % (pid, pid)) as f:
        return set(f.read().split())


async def password(user, old, new, token=None, seconds=10):
    end = time.monotonic() + seconds
    while True:
        try:
            return await user.api.call(
                'POST', '/v1/password', token or user.token,
                json={'old_password': old, 'new_password': new})
        except Problem as e:
            # So many are hashed at a time: it may be busy.
            if not e.body.get('retryable') or time.monotonic() > end:
                raise
        await pace(0.1)


async def test_a_new_password_ends_all_other_sessions(api, people):
    a = await people(api, 'changes')
    mine = await a.connect()
    others = [await api.login(a, 'd%d' % n) for n in range(3)]
    sockets = [await Socket.open(api.address, o['access_token'])
               for o in others]
    await password(a, a.password, NEW)
    await sockets_end(*sockets)
    for o in others:
        await refused(api.call('GET', '/v1/auth', o['access_token']), 401,
                      'session_revoked')
        await refused(api.call('POST', '/v1/refresh', json={
            'refresh_token': o['refresh_token']}), 401, 'unauthorized')
    # One's own goes on.
    assert await mine.nothing('kick', 0.3)
    assert (await api.call('GET', '/v1/auth', a.token)).status == 204
    await refused(api.login(a), 401, 'bad_credentials')
    a.password = NEW
    await a.log_in()


async def test_the_old_password_is_asked_for(api, people):
    a = await people(api, 'changes')
    await refused(password(a, 'certainly wrong', NEW), 401, 'bad_credentials')
    await refused(password(a, '', NEW), 401, 'bad_credentials')
    await refused(password(a, 'x' * 5000, NEW), 401, 'bad_credentials')
    for bad in ('short', 'x' * 129):
        await refused(password(a, a.password, bad), 400, 'bad_password')
    await a.log_in()
    await refused(api.call('POST', '/v1/password', json={
        'old_password': a.password, 'new_password': NEW}), 401)


async def test_a_repeat_of_the_change_ends_alike(api, people):
    """The answer to the first try was lost."""
    a = await people(api, 'repeats')
    await password(a, a.password, NEW)
    await password(a, a.password, NEW)
    await refused(password(a, a.password, 'another ' + NEW), 401,
                  'bad_credentials')


async def test_no_session_by_the_old_password_survives(api, people):
    """Log-ins while the password is changed: each fails, or its session is
    ended with the others."""
    a = await people(api, 'races')
    old = a.password

    async def log_in():
        try:
            return await api.login(a)
        except Problem as e:
            assert e.status == 401 or e.code == 'busy'

    tokens, rounds = [], 4
    for n in range(rounds):
        new = 'password number %d' % n
        results = await asyncio.gather(
            *[log_in() for _ in range(3)], password(a, old, new),
            *[log_in() for _ in range(3)])
        a.password = old = new
        made = [r for r in results if r and 'access_token' in r]
        tokens += [r['access_token'] for r in made]
        for t in tokens:
            await refused(api.call('GET', '/v1/auth', t), 401,
                          'session_revoked')
    assert (await api.call('GET', '/v1/auth', a.token)).status == 204


async def test_who_logs_in_a_hundred_times_is_logged_out_a_hundred_times(
        api, people, stack):
    a = await people(api, 'often')
    now = int(time.time() * 1000)
    rows = ', '.join("('%022d', %d, 'x', UNHEX(SHA2('%d-%d', 256)), %d, %d)"
                     % (a.uid * 1000 + n, a.uid, a.uid, n, now, now + 10 ** 9)
                     for n in range(250))
    stack.mysql('INSERT INTO sessions (sid, uid, device, refresh_hash, '
                'created_ms, expires_ms) VALUES ' + rows)
    await password(a, a.password, NEW)
    assert stack.mysql('SELECT COUNT(*) FROM sessions WHERE uid = %d'
                       % a.uid) == [['1']]


async def test_a_session_that_ended_is_refused_after_the_next_log_in(api,
                                                                     people):
    a = await people(api, 'again')
    old = a.token
    await api.call('POST', '/v1/logout', old)
    await a.log_in()
    s = await a.connect()
    await refused(api.call('GET', '/v1/auth', old), 401, 'session_revoked')
    assert await s.nothing('kick', 0.3)
    async with Api(api.address) as other:
        await refused(other.call('GET', '/v1/auth', old), 401)
