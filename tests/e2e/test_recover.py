"""Things die while people talk: nothing that was acked is lost, doubled or out
of order, and it goes on by itself.

A well-behaved client: it sends again, with the same cmid, what was refused as
retryable or not answered; it connects again when its connection ends; it drops
pushes that it has seen, and reads what it missed from the history.
"""

import asyncio
import os
import signal
import time

import pytest

from im_client import Api, Problem, new_cmid

AGAIN = ('unavailable', 'busy', 'timeout')


class Client:
    """One user's app."""

    def __init__(self, user):
        self.user = user
        self.socket = None
        self.acks = {}                 # cmid -> ack
        self.got = {}                  # seq -> push
        self.waiting = {}              # cmid -> event
        self.closed = []               # codes of connections that ended
        self.task = asyncio.create_task(self.run())
        self.there = asyncio.Event()

    async def run(self):
        # Not "while True" and a cancel: wait_for() of Python 3.11 loses a
        # cancel that comes together with the result.
        while not self.user.api.ended:
            try:
                self.socket = await self.user.connect()
                self.there.set()
                while True:
                    self.take(await self.socket.receive(wait=3600))
            except Problem:
                self.there.clear()
                if self.socket is not None:
                    self.closed.append(self.socket.ws.close_code)
                for e in self.waiting.values():
                    e.set()
                await asyncio.sleep(0.1)

    def take(self, f):
        if f['type'] == 'ack':
            assert self.acks.get(f['cmid'], f)['msg_id'] == f['msg_id']
            self.acks[f['cmid']] = f
        elif f['type'] == 'push':
            known = self.got.setdefault(int(f['seq']), f)
            assert known['msg_id'] == f['msg_id']
            return
        elif f['type'] == 'error':
            assert f['code'] in AGAIN, f
        else:
            return
        if f.get('cmid') in self.waiting:
            self.waiting[f['cmid']].set()

    async def send(self, to, body):
        cmid = new_cmid()
        while cmid not in self.acks:
            self.waiting[cmid] = asyncio.Event()
            await asyncio.wait_for(self.there.wait(), 30)
            try:
                await self.socket.write(type='send', to=str(to), cmid=cmid,
                                        body=body)
                await asyncio.wait_for(self.waiting[cmid].wait(), 10)
            except (Problem, asyncio.TimeoutError):
                pass
            if cmid not in self.acks:
                await asyncio.sleep(0.1)
        del self.waiting[cmid]
        return self.acks[cmid]

    async def send_all(self, to, count, pause=0.0):
        for n in range(count):
            await self.send(to, {'n': n})
            await asyncio.sleep(pause)

    async def catch_up(self, other, last):
        """All of the conversation up to last, by push or from the history."""
        after = 0
        while after < last:
            page = await self.user.history(other.uid, after_seq=after,
                                           limit=200)
            for m in page['messages']:
                known = self.got.setdefault(int(m['seq']), m)
                assert known['msg_id'] == m['msg_id']
                after = int(m['seq'])
            if not page['messages']:
                await asyncio.sleep(0.2)


async def two(api, people):
    for n in range(100):
        try:
            alice, bob = await people(api, 'alice', 'bob')
            break
        except Problem as e:
            # What the test before has damaged may still be coming back.
            if e.code not in AGAIN or n == 99:
                raise
            await asyncio.sleep(0.1)
    a, b = Client(alice), Client(bob)
    await asyncio.wait_for(asyncio.gather(a.there.wait(), b.there.wait()), 20)
    await a.send(bob.uid, 'first')
    return a, b


async def prove(stack, a, b, pushes=False):
    """Everything acked is stored once, under the numbers of its ack; seq has
    the order in which each side sent.  pushes: b has been told of all of a's
    by push, without asking."""
    acks = list(a.acks.values()) + list(b.acks.values())
    rows = await stack.stored(a.user, b.user, len(acks), 30)
    assert sorted(tuple(r) for r in rows) == sorted(
        (k['seq'], k['msg_id']) for k in acks)
    for c in (a, b):
        seqs = [int(k['seq']) for k in c.acks.values()]
        assert seqs == sorted(seqs)
    if pushes:
        want = {int(k['seq']) for k in a.acks.values()}
        for _ in range(200):
            if want <= set(b.got):
                break
            await asyncio.sleep(0.1)
        assert want <= set(b.got), 'not pushed: %s' % sorted(
            want - set(b.got))[:20]


async def while_talking(a, b, damage, count=150):
    """Both send at a steady pace; damage happens in the middle."""
    talk = asyncio.gather(a.send_all(b.user.uid, count, 0.01),
                          b.send_all(a.user.uid, count, 0.01))
    await asyncio.sleep(0.7)
    await damage()
    await asyncio.wait_for(talk, 50)


def kill(stack, program, how):
    async def damage():
        pid = stack.pids()[program]
        os.kill(pid, how)
        for _ in range(300):
            now = stack.pids().get(program)
            if now and now != pid:
                return
            await asyncio.sleep(0.1)
        raise AssertionError('%s has not come back' % program)
    return damage


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGKILL])
async def test_logic_restarts(api, people, stack, how):
    a, b = await two(api, people)
    await while_talking(a, b, kill(stack, 'logic-1', how))
    await prove(stack, a, b, pushes=True)
    # A Logic that goes away does not cost anybody the connection.
    assert a.closed == b.closed == []


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGKILL])
async def test_task_restarts(api, people, stack, how):
    a, b = await two(api, people)
    await while_talking(a, b, kill(stack, 'task-1', how))
    await prove(stack, a, b, pushes=True)
    assert a.closed == b.closed == []


async def test_a_worker_is_killed(api, people, stack):
    a, b = await two(api, people)
    while a.socket.instance == b.socket.instance:
        await b.socket.close()
        b.there.clear()
        await asyncio.wait_for(b.there.wait(), 10)
    # The pid is in the name: <host>-<pid>-<random>.
    victim = int(b.socket.instance.split('-')[-2])
    before = len(b.closed)
    assert victim in stack.workers()

    async def damage():
        os.kill(victim, signal.SIGKILL)

    await while_talking(a, b, damage)
    await prove(stack, a, b)
    assert a.closed == [] and len(b.closed) == before + 1
    await b.catch_up(a.user, max(int(k['seq']) for k in a.acks.values()))
    assert {int(k['seq']) for k in a.acks.values()} <= set(b.got)
    assert len(stack.workers()) == int(stack.env['IM_NGINX_WORKERS'])


async def test_nginx_is_reloaded(api, people, stack):
    a, b = await two(api, people)
    old = set(stack.workers())

    async def damage():
        os.kill(stack.pids()['nginx'], signal.SIGHUP)

    await while_talking(a, b, damage)
    await prove(stack, a, b)
    # "come back, with jitter", and nothing worse
    assert set(a.closed + b.closed) == {4001}
    for _ in range(100):
        if not old & set(stack.workers()):
            break
        await asyncio.sleep(0.1)
    assert not old & set(stack.workers())


async def test_kafka_is_killed(api, people, stack):
    a, b = await two(api, people)
    await while_talking(a, b, kill(stack, 'kafka', signal.SIGKILL))
    await prove(stack, a, b)
    assert a.closed == b.closed == []


async def test_redis_is_killed(api, people, stack):
    a, b = await two(api, people)
    await while_talking(a, b, kill(stack, 'redis', signal.SIGKILL))
    await prove(stack, a, b, pushes=True)
    assert a.closed == b.closed == []


async def test_mysql_is_killed_and_the_chat_goes_on(api, people, stack):
    a, b = await two(api, people)
    await while_talking(a, b, kill(stack, 'mysql', signal.SIGKILL))
    await prove(stack, a, b, pushes=True)
    assert a.closed == b.closed == []


async def test_etcd_is_killed_and_the_chat_goes_on(api, people, stack):
    a, b = await two(api, people)
    await while_talking(a, b, kill(stack, 'etcd', signal.SIGKILL))
    await prove(stack, a, b, pushes=True)
    assert a.closed == b.closed == []


async def test_after_an_outage_nobody_is_refused(api, people, stack):
    alice = await people(api, 'alice')
    for program in ('redis', 'mysql'):
        await kill(stack, program, signal.SIGKILL)()
    stack.tool('wait', stack.name)
    await asyncio.sleep(1)
    # Each thread of Logic has a connection that ended meanwhile, and must
    # find that out without a client's help.
    refused = []
    for n in range(8):
        for what in (alice.log_in(), alice.history(alice.uid),
                     alice.send(alice.uid, n),
                     api.call('GET', '/v1/auth', alice.token)):
            try:
                await what
            except Problem as e:
                refused.append(str(e))
    assert refused == []


async def test_a_worker_that_was_stopped_for_long_is_found_again(stack, api,
                                                                 people):
    """Its lease ended, so Task took its users for offline; it says again who
    is connected, and nobody has to reconnect."""
    a, b = await people(api, 'here', 'frozen')
    x = await a.connect()
    y = await b.connect(other_than=[x.instance])
    await x.send(b.uid, 'before')
    await y.expect('push', 30)
    pid = int(y.instance.rsplit('-', 2)[1])
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(5)         # longer than the lease
        await x.send(b.uid, 'meanwhile')
        await asyncio.sleep(1.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    until = time.monotonic() + 10
    n = 0
    while True:
        n += 1
        await x.send(b.uid, 'after %d' % n)
        if not await y.nothing('push', 0.5):
            return
        assert time.monotonic() < until, 'nothing reaches the worker'


async def test_a_logout_reaches_a_worker_that_was_cut_off(stack, api, people):
    a, b = await people(api, 'other', 'leaves')
    x = await a.connect()
    y = await b.connect(other_than=[x.instance])
    pid = int(y.instance.rsplit('-', 2)[1])
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(5)         # its streams and its lease have ended
        async with Api(stack.http) as fresh:
            await fresh.call('POST', '/v1/logout', b.token)
    finally:
        os.kill(pid, signal.SIGCONT)
    kick = await y.expect('kick', 10)
    assert kick['code'] == 'session_revoked'
    with pytest.raises(Problem):
        await y.receive(5)
    assert y.ws.close_code == 4101
