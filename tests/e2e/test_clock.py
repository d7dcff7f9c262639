"""Logic's clock is wrong: it steps back, ahead, or stands still, while people
chat.  No message id comes twice, every message is acked in the end, and the
order of a conversation does not depend on any clock.

An im-logic of our own runs with Debian's libfaketime, which fakes the time of
day (CLOCK_REALTIME) as a file says and leaves the monotonic clock alone, and
an nginx of our own brings messages to it: both in a prefix of etcd where the
stack's instances are not.  What they store is stored by the stack's im-task.
"""

import asyncio
import glob
import json
import os
import socket
import threading
import time

import pytest

from im_client import Api, Problem, new_cmid
from im_wait import lasts, pace, tries
from im_stack.base import free_port
from test_daemons import Daemon, get
from test_existing_nginx import Nginx

LIBRARY = (glob.glob('/usr/lib/*/faketime/libfaketimeMT.so.1') or [''])[0]
EPOCH_MS = 1735689600000
WORKERS = 2                        # of test_existing_nginx.Nginx

pytestmark = [
    pytest.mark.skipif('asan' in os.environ.get('IM_TEST_BUILD', ''),
                       reason='libfaketime and ASan both want to come first'),
    pytest.mark.skipif(not LIBRARY, reason='there is no libfaketime'),
]


class Clock:
    """What time the daemon believes it is."""

    def __init__(self, path):
        self.path = str(path)
        self.set(0)

    def write(self, text):
        with open(self.path + '.new', 'w') as f:
            f.write(text + '\n')
        os.rename(self.path + '.new', self.path)

    def set(self, seconds):
        """This far ahead of the real one."""
        self.write('%+d' % seconds)

    def freeze(self):
        self.write(time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime()))

    def env(self):
        return {'LD_PRELOAD': LIBRARY, 'TZ': 'UTC', 'FAKETIME_NO_CACHE': '1',
                'FAKETIME_TIMESTAMP_FILE': self.path,
                'FAKETIME_DONT_FAKE_MONOTONIC': '1',
                'FAKETIME_DONT_RESET': '1'}


class Gate:
    """A way to etcd that is closed at first.

    An im-logic is started by the true time and finds etcd, where its number
    comes from, only when the clock has been set: librdkafka waits by functions
    of the C library that libfaketime does not know, and would not start."""

    def __init__(self, to):
        self.to = to.rsplit(':', 1)
        # Which no outgoing connection takes before it is opened.
        self.address = '127.0.0.1:%d' % free_port([])

    def open(self):
        self.sock = socket.create_server(
            ('127.0.0.1', int(self.address.rsplit(':', 1)[1])))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                one, _ = self.sock.accept()
                other = socket.create_connection(self.to, 5)
            except OSError:
                return
            for a, b in ((one, other), (other, one)):
                threading.Thread(target=self.copy, args=(a, b),
                                 daemon=True).start()

    @staticmethod
    def copy(a, b):
        try:
            while True:
                data = a.recv(65536)
                if not data:
                    break
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.sock.close()


class World:

    def __init__(self, stack, tmp_path):
        self.stack = stack
        self.path = tmp_path
        self.prefix = '/clock-' + os.urandom(4).hex()
        self.clock = Clock(tmp_path / 'clock')
        self.nginx = Nginx(stack, tmp_path / 'nginx', 9, ours=True)
        conf = os.path.join(self.nginx.dir, 'nginx.conf')
        with open(conf) as f:
            text = f.read()
        with open(conf, 'w') as f:
            f.write(text.replace('im_jwt_key_file',
                                 'im_etcd_prefix %s; im_jwt_key_file'
                                 % self.prefix))
        self.nginx.start()
        self.logics = []
        self.gates = []

    def logic(self, ahead=0):
        """Healthy; it took its number when its clock was so far ahead."""
        path = self.path / ('logic-%d' % len(self.logics))
        path.mkdir()
        self.clock.set(0)
        gate = Gate(self.stack.env['IM_ETCD'])
        d = Daemon(self.stack, 'im-logic', path, IM_ETCD_PREFIX=self.prefix,
                   IM_ETCD_ENDPOINTS=gate.address, **self.clock.env())
        self.logics.append(d)
        d.until(lambda: ' serves at ' in d.log.read_text(), 'serves nobody')
        self.clock.set(ahead)
        gate.open()
        self.gates.append(gate)
        d.until(d.healthy, 'not healthy')
        d.until(lambda: self.health(d)['links'] >= WORKERS, 'not linked')
        return d

    def health(self, logic):
        port = int(logic.port_file.read_text())
        return json.loads(get('127.0.0.1:%d' % port)[1])

    def node(self, logic):
        return self.health(logic)['node']

    def end(self):
        for d in self.logics:
            d.__exit__()
        for g in self.gates:
            g.close()
        self.nginx.kill()


@pytest.fixture
def world(stack, tmp_path):
    (tmp_path / 'nginx').mkdir()
    w = World(stack, tmp_path)
    yield w
    w.end()


class Talk:
    """Two who talk: one message after another, each until it is acked, be it
    as long as a restart takes."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.acks = []              # (msg_id, seq, when)
        self.refused = []

    async def say(self, way):
        cmid = new_cmid()
        until = time.monotonic() + 40
        while True:
            try:
                r = await way.call('POST', '/v1/messages', self.a.token, json={
                    'to': str(self.b.uid), 'cmid': cmid, 'body': cmid})
                break
            except Problem as e:
                assert e.body.get('retryable') is True, (e, e.body)
                self.refused.append((time.monotonic(), e.code))
                assert time.monotonic() < until, 'never acked: %s' % e
                await pace(0.1)
        self.acks.append((int(r['msg_id']), int(r['seq']), time.monotonic()))

    def gap(self, begin, end):
        """The longest that nothing was acked."""
        times = [begin] + [t for _, _, t in self.acks if begin < t < end]
        return max(b - a for a, b in zip(times, times[1:] + [end]))


class Traffic:

    def __init__(self, world, talks):
        self.world = world
        self.talks = talks
        self.stopping = False

    async def run(self, talk, way):
        while not self.stopping:
            await talk.say(way)
            await pace(0.01)

    async def __aenter__(self):
        self.way = Api(self.world.nginx.address)
        self.tasks = [asyncio.ensure_future(self.run(t, self.way))
                      for t in self.talks]
        return self

    async def __aexit__(self, *error):
        self.stopping = True
        done = await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.way.session.close()
        if error[0] is None:
            assert [d for d in done if d is not None] == []

    async def go_on(self, seconds, gap=None):
        """For so long; none waits longer than gap for its acks."""
        begin = time.monotonic()
        await lasts(seconds)
        end = time.monotonic()
        self.check_that_all_talk()
        for t in self.talks:
            if gap is not None:
                assert t.gap(begin, end) < gap, t.refused[-5:]

    async def begin(self):
        """Until everybody has said something, and a while longer."""
        async for _ in tries('nobody talks'):
            if all(t.acks for t in self.talks):
                break
            self.check_that_all_talk()
        await self.go_on(1)

    def check_that_all_talk(self):
        assert not [task for task in self.tasks if task.done()]


@pytest.fixture
def talks(api, people):
    async def make(n=3):
        return [Talk(*await people(api, 'clock', 'other'))
                for _ in range(n)]
    return make


async def check(world, talks):
    """What must be true whatever the clock did."""
    ids = [m for t in talks for m, _, _ in t.acks]
    assert len(ids) > 50
    assert len(set(ids)) == len(ids)
    for t in talks:
        seqs = [s for _, s, _ in t.acks]
        assert seqs == sorted(set(seqs))
        rows = await world.stack.stored(t.a, t.b, len(seqs))
        assert [(int(s), int(m)) for s, m in rows] == [
            (s, m) for m, s, _ in t.acks]


def time_of(ack):
    return (ack[0] >> 22) + EPOCH_MS


@pytest.mark.parametrize('step', [-10, -3600])
async def test_a_step_back_stops_ids_for_seconds_at_most(world, talks, step):
    logic = world.logic()
    first = world.node(logic)
    people = await talks()
    async with Traffic(world, people) as t:
        await t.begin()
        world.clock.set(step)
        await t.go_on(4, gap=3.5)
        # Not by running on at the old time: by another number.
        assert world.node(logic) != first
        now = time.time() * 1000 + step * 1000
        assert abs(time_of(people[0].acks[-1]) - now) < 4000
        world.clock.set(0)
        await t.go_on(2)
    await check(world, people)


async def test_a_step_back_that_is_small_is_not_noticed(world, talks):
    logic = world.logic()
    first = world.node(logic)
    people = await talks()
    async with Traffic(world, people) as t:
        await t.begin()
        world.clock.set(-3)
        await t.go_on(2.5, gap=2)
        world.clock.set(0)
        await t.go_on(2.5, gap=2)
        assert world.node(logic) == first
    assert not [r for p in people for r in p.refused]
    await check(world, people)


async def test_a_clock_that_stands_still_stops_nobody(world, talks):
    world.logic()
    people = await talks()
    async with Traffic(world, people) as t:
        await t.begin()
        world.clock.freeze()
        await t.go_on(3, gap=2)
        world.clock.set(0)
        await t.go_on(2.5, gap=2)
    assert not [r for p in people for r in p.refused]
    await check(world, people)


async def test_an_hour_ahead_and_back_again_stops_ids_for_seconds_at_most(
        world, talks):
    logic = world.logic()
    first = world.node(logic)
    people = await talks()
    async with Traffic(world, people) as t:
        await t.begin()
        world.clock.set(3600)
        await t.go_on(4, gap=3.5)
        assert world.node(logic) == first
        world.clock.set(0)
        await t.go_on(5, gap=4)
        assert world.node(logic) != first
    await check(world, people)


async def test_a_restart_in_the_past_repeats_no_id(world, talks):
    logic = world.logic()
    nodes = [world.node(logic)]
    people = await talks()
    async with Traffic(world, people) as t:
        await t.begin()
        for step, how in ((-3600, 'kill'), (-3600, 'end'), (-1800, 'kill'),
                          (0, 'kill')):
            if how == 'kill':
                logic.process.kill()
                logic.process.wait()
            else:
                assert await asyncio.to_thread(logic.end) == 0
            logic = await asyncio.to_thread(world.logic, step)
            nodes.append(world.node(logic))
            await t.go_on(1.5)
    assert len(set(nodes)) == len(nodes), nodes
    await check(world, people)
