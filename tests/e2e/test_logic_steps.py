"""Logic dies, or cannot go on, between two steps of a message's trip: what was
acked is there once, and what was not may be sent again."""

import asyncio
import contextlib
import json
import os
import signal
import threading
import time

import pytest

from im_hunt import Plan, hunt
from im_client import new_cmid
from im_wait import lasts, tries, until
from im_stack.stack import Stack
from test_daemons import Daemon, get

DELIVERY_MS = 1000
VOID_S = (2 * DELIVERY_MS) / 1000 + 2
KNOWN_VOID_S = VOID_S + 5      # by sync


class Logic(Daemon):
    """An im-logic that takes part in the stack's work."""

    class Binary:
        def __init__(self, stack, path):
            self.env = stack.env
            self.sanitized = stack.sanitized
            self.binary = (lambda name: path) if path else stack.binary

    def __init__(self, stack, tmp_path, binary=None, **env):
        super().__init__(self.Binary(stack, binary), 'im-logic', tmp_path,
                         **dict({'IM_ETCD_PREFIX': '/im'}, **env))
        self.workers = int(stack.env['IM_NGINX_WORKERS'])

    def links(self):
        try:
            port = int(self.port_file.read_text())
            return json.loads(get('127.0.0.1:%d' % port)[1]).get('links', 0)
        except (OSError, ValueError):
            return 0

    def takes_part(self):
        self.until(lambda: self.links() >= self.workers, 'no links')
        return self


@pytest.mark.parametrize('point', ['logic.numbered', 'logic.produced',
                                   'logic.confirmed'])
def test_a_logic_that_dies_between_two_steps(stack, crashing, tmp_path,
                                             point):
    died = []

    def wait(logic):
        died.append(logic.process.wait(150))

    with Logic(stack, tmp_path, os.path.join(crashing, 'im-logic'),
               IM_CRASH_AT=point + ':20') as logic:
        logic.takes_part()
        waiter = threading.Thread(target=wait, args=(logic,))
        waiter.start()
        report = hunt(stack.env, Plan(
            users=20, talks=80, messages=1500, rate=500, processes=1,
            seed=int.from_bytes(os.urandom(3), 'big'), limit_s=200))
        # The messages are sent: if it lives it will live on.
        waiter.join(5)
    assert died == [137], logic.log.read_text()
    assert report.good(), report.text()


@contextlib.contextmanager
def stopped(stack, *programs):
    for p in programs:
        stack.tool('ctl', stack.name, 'stop', p)
    try:
        yield
    finally:
        for p in programs:
            stack.tool('ctl', stack.name, 'start', p)
        stack.tool('wait', stack.name)


@contextlib.asynccontextmanager
async def kafka_dies(stack, say):
    """Kafka freezes, and say sends a message, which is numbered because Logic
    cannot know that yet; then Kafka ends without having read it.  What say
    returned."""
    supervisor = Stack(stack.name)

    def state():
        return supervisor.processes()['kafka']['statename']

    # One that has just been started would be started again when it ends.
    await until(lambda: state() == 'RUNNING', 'Kafka does not run', 30)
    pid = supervisor.processes()['kafka']['pid']
    os.kill(pid, signal.SIGSTOP)
    try:
        said = asyncio.ensure_future(say)
        stop = asyncio.ensure_future(asyncio.to_thread(
            stack.tool, 'ctl', stack.name, 'stop', 'kafka'))
        async for _ in tries('Kafka is not stopped', 20):
            if state() != 'RUNNING':
                break
    finally:
        os.kill(pid, signal.SIGKILL)
    await stop
    try:
        yield await said
    finally:
        await asyncio.to_thread(stack.tool, 'ctl', stack.name, 'start',
                                'kafka')
        await asyncio.to_thread(stack.tool, 'wait', stack.name)


async def answer(socket, to, body, cmid):
    await socket.write(type='send', to=str(to), cmid=cmid, body=body)
    while True:
        f = await socket.receive(20)
        if f.get('cmid') == cmid and f['type'] in ('ack', 'error'):
            return f


async def synced(user, other, seq=0):
    r = await user.api.call('POST', '/v1/sync', user.token, json={
        'cursors': [{'with': str(other), 'seq': str(seq)}]})
    return r['conversations'][0]


async def test_a_number_that_kafka_never_took_is_void_and_the_message_is_not(
        api, people, stack, tmp_path):
    alice, bob = await people(api, 'alice', 'bob')
    cmid = new_cmid()
    with stopped(stack, 'logic-1'), Logic(
            stack, tmp_path, IM_KAFKA_DELIVERY_MS=str(DELIVERY_MS)) as logic:
        await asyncio.to_thread(logic.takes_part)
        s = await alice.connect()
        assert (await s.send(bob.uid, 'first'))['seq'] == '1'
        began = time.monotonic()
        async with kafka_dies(stack, answer(s, bob.uid, 'once', cmid)) as f:
            assert (f['code'], f['retryable']) == ('unavailable', True)
            # Too early to know: nobody says that it was or was not taken.
            f = await answer(s, bob.uid, 'once', cmid)
            assert f['code'] == 'unavailable'
            await lasts(max(0, began + VOID_S + 0.2 - time.monotonic()))
            # Old enough, but Kafka cannot be asked.
            f = await answer(s, bob.uid, 'once', cmid)
            assert f['code'] == 'unavailable'
        async for _ in tries(lambda: f, 60, 0.3):
            if f['type'] != 'error':
                break
            assert f['code'] == 'unavailable', f
            f = await answer(s, bob.uid, 'once', cmid)
        assert (f['seq'], f.get('dup')) == ('3', None)
        assert (await answer(s, bob.uid, 'once', cmid))['dup'] is True
        rows = await stack.stored(alice, bob, 2)
        assert rows[1] == ['3', f['msg_id']]

        # Everybody is told that 2 is nobody's.
        async for _ in tries(lambda: c, KNOWN_VOID_S + 15, 0.5):
            c = await synced(bob, alice.uid, 1)
            if c['messages']:
                break
        assert c['voids'] == [{'from': '2', 'to': '2'}]
        assert [m['seq'] for m in c['messages']] == ['3']
        assert not c['pending'] and c['next'] == '3'
