"""Which devices of one user may be there at the same time.

The policy is a key of im-logic, so these tests run one of their own, with an
nginx and a Redis of its own: instances of the stack are in another part of
etcd, and would take out of a shared Redis what they do not know.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import time

import pytest

from im_client import Api, Problem
from im_frozen import frozen, pid_of
from im_wait import lasts, tries, until
from test_daemons import Daemon, get
from test_existing_nginx import Nginx

WORKERS = 2        # of such an nginx


class World:

    def __init__(self, stack, path, **env):
        self.stack = stack
        self.path = path
        self.prefix = '/devices-' + os.urandom(4).hex()
        self.redis = subprocess.Popen(
            ['redis-server', '--port', '0', '--unixsocket',
             str(path / 'redis'), '--save', '', '--dir', str(path)],
            stdout=subprocess.DEVNULL)
        (path / 'nginx').mkdir()
        self.nginx = Nginx(stack, path / 'nginx', 9, ours=True)
        conf = os.path.join(self.nginx.dir, 'nginx.conf')
        with open(conf) as f:
            text = f.read()
        with open(conf, 'w') as f:
            f.write(text.replace('im_jwt_key_file',
                                 'im_etcd_prefix %s; im_jwt_key_file'
                                 % self.prefix))
        self.logics = []
        try:
            self.logic(**env)
            self.nginx.start()
        except BaseException:
            self.end()
            raise

    def logic(self, **env):
        path = self.path / ('logic-%d' % len(self.logics))
        path.mkdir()
        d = Daemon(self.stack, 'im-logic', path, IM_ETCD_PREFIX=self.prefix,
                   IM_REDIS_ADDRESS='unix:%s' % (self.path / 'redis'), **env)
        self.logics.append(d)
        d.until(d.healthy, 'not healthy')

    def linked(self):
        """Each worker has a link to each Logic."""
        for d in self.logics:
            d.until(lambda: json.loads(get('127.0.0.1:' + d.port_file
                                           .read_text().strip())[1])
                    .get('links', 0) >= WORKERS, 'no links')

    async def takes_for_dead(self, socket):
        """Its worker's lease and its link have ended."""
        words = (socket.instance + ' is gone', socket.instance
                 + ': link ended')
        text = self.logics[0].log.read_text
        await until(lambda: all(w in text() for w in words), text, 30)

    def end(self):
        self.nginx.kill()
        for d in self.logics:
            d.__exit__()
        self.redis.kill()
        self.redis.wait()


@pytest.fixture
def world(stack, tmp_path, request):
    w = World(stack, tmp_path, IM_DEVICES_POLICY=request.param)
    try:
        yield w
    finally:
        w.end()


def policy(name):
    return pytest.mark.parametrize('world', [name], indirect=True)


async def user(world, api):
    async for _ in tries('nobody can log in', 10):
        try:
            u = await api.register('dev-' + os.urandom(4).hex(),
                                   'correct horse battery')
            return await u.log_in()
        except Problem as e:
            if e.status not in (0, 503, 504):
                raise


async def device(u, name):
    await u.log_in(name)
    return await u.connect()


async def replaced(socket):
    kick = await socket.expect('kick')
    assert kick['code'] == 'replaced'
    with pytest.raises(Problem):
        await socket.receive()
    assert socket.ws.close_code == 4102


async def devices(u):
    r = await u.api.call('POST', '/v1/presence', u.token,
                         json={'uids': [str(u.uid)]})
    return r['users'][0]['devices']


async def names(u):
    return sorted(d['device'] for d in await devices(u))


async def names_elsewhere(world, u):
    """Of a worker that runs: a kept connection may be of one that is frozen,
    and that one may be given a new connection, too."""
    async for _ in tries('no worker answers', 20):
        async with Api(world.nginx.address) as api:
            with contextlib.suppress(Problem, TimeoutError):
                async with asyncio.timeout(2):
                    r = await api.call('POST', '/v1/presence', u.token,
                                       json={'uids': [str(u.uid)]})
                return sorted(d['device'] for d in r['users'][0]['devices'])


@policy('one_per_class')
async def test_one_of_each_class(world):
    async with Api(world.nginx.address) as api:
        u, other = await user(world, api), await user(world, api)
        stranger = await device(other, 'phone.pixel')
        phone = await device(u, 'phone.pixel')
        desk = await device(u, 'desktop')
        assert await names(u) == ['desktop', 'phone.pixel']
        new = await device(u, 'phone.fair')
        await replaced(phone)
        assert await names(u) == ['desktop', 'phone.fair']
        # "phones" is another class than "phone".
        await device(u, 'phones')
        for s in (desk, new, stranger):
            assert await s.nothing('kick', 0.3)
        newest = await device(u, 'phone')
        await replaced(new)
        # Who was replaced still has a session, and may come back.
        await device(u, 'phone.pixel')
        await replaced(newest)


@policy('one')
async def test_one_at_all(world):
    async with Api(world.nginx.address) as api:
        u = await user(world, api)
        first = await device(u, 'phone')
        second = await device(u, 'desktop')
        await replaced(first)
        assert await names(u) == ['desktop']
        assert await second.nothing('kick', 0.3)


@policy('one')
async def test_of_many_at_once_one_stays(world):
    async with Api(world.nginx.address) as api:
        u = await user(world, api)
        some = await asyncio.gather(*[u.connect() for _ in range(12)],
                                    return_exceptions=True)
        alive = [s for s in some if not isinstance(s, Exception)]
        end = time.monotonic() + 10
        while len(alive) > 1 and time.monotonic() < end:
            alive = [s for s in alive
                     if await s.nothing('kick', 0.05) and s.ws.open]
        assert len(alive) == 1
        assert await alive[0].nothing('kick', 0.5)
        assert await names(u) == ['default']


@policy('one')
async def test_who_was_replaced_unheard_is_ended_later(world):
    """The worker is stopped while it is told: its link breaks, it says again
    who is there, and must not drive out the newer device."""
    async with Api(world.nginx.address) as api:
        u = await user(world, api)
        old = await u.connect()
        with frozen(pid_of(old.instance)):
            new = await u.connect()
            await world.takes_for_dead(old)
        await replaced(old)
        assert await new.nothing('kick', 1)
        assert await names(u) == ['default']


@policy('one')
async def test_who_was_taken_for_dead_does_not_drive_out_a_newer_one(world):
    """Nobody had to be replaced when the newer one came."""
    async with Api(world.nginx.address) as api:
        u = await user(world, api)
        old = await u.connect()
        with frozen(pid_of(old.instance)):
            await world.takes_for_dead(old)
            new = await u.connect()
        await replaced(old)
        assert await new.nothing('kick', 1)
        assert await names(u) == ['default']


@policy('one')
async def test_who_was_taken_for_dead_and_is_the_only_one_stays(world):
    async with Api(world.nginx.address) as api:
        u = await user(world, api)
        s = await u.connect()
        with frozen(pid_of(s.instance)):
            await world.takes_for_dead(s)
            assert await names_elsewhere(world, u) == []
        # All were announced again.
        await s.expect('sync_needed')
        assert await s.nothing('kick', 1)
        assert await names(u) == ['default']


@policy('one')
async def test_redis_without_memory_is_told_since_when_somebody_is_here(world):
    async with Api(world.nginx.address) as api:
        u = await user(world, api)
        s = await u.connect()
        before = (await devices(u))[0]
        await lasts(1.5)
        subprocess.run(['redis-cli', '-s', str(world.path / 'redis'),
                        'flushall'], check=True, stdout=subprocess.DEVNULL)
        await until(lambda: names(u), 'not announced again', 10)
        after = (await devices(u))[0]
        assert abs(int(after['since_ms']) - int(before['since_ms'])) < 1000
        assert await s.nothing('kick', 0.5)


@policy('all')
async def test_all_may_stay_and_a_late_close_is_harmless(world):
    async with Api(world.nginx.address) as api:
        u = await user(world, api)
        some = [await device(u, 'd%d' % (n % 3)) for n in range(6)]
        assert await names(u) == ['d0', 'd1', 'd2']
        for s in some[:5]:
            await s.close()
        async for _ in tries('it is not d2 alone', 10):
            if await names(u) == ['d2']:
                break
        assert await some[5].nothing('kick', 0.3)


@pytest.fixture
def small(stack, tmp_path):
    w = World(stack, tmp_path, IM_DEVICES_MAX='3')
    try:
        yield w
    finally:
        w.end()


async def test_connections_of_one_user_are_limited(small):
    async with Api(small.nginx.address) as api:
        u = await user(small, api)
        some = [await u.connect() for _ in range(3)]
        with pytest.raises(Problem, match='4100|limit_reached'):
            await u.connect()
        await some[0].close()
        async for _ in tries('no place is free', 10):
            with contextlib.suppress(Problem):
                await u.connect()
                break
        assert await some[1].nothing('kick', 0.2)


@policy('one')
async def test_two_logics_agree(world):
    world.logic(IM_DEVICES_POLICY='one')
    await asyncio.to_thread(world.linked)
    async with Api(world.nginx.address) as api:
        for _ in range(4):
            u = await user(world, api)
            old = await u.connect()
            new = await u.connect(other_than=[old.instance])
            await replaced(old)
            assert await new.nothing('kick', 0.2)
