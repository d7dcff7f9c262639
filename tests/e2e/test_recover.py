"""Things die while people talk: nothing that was acked is lost, doubled or out
of order, and it goes on by itself.

The clients are tests/lib/im_app.py, which keeps the rules for clients; what
they saw and the rows in MySQL go to the checker.
"""

import asyncio
import os
import signal
import time

import pytest

from im_app import App
from im_checker import check
from im_client import Api, Problem

AGAIN = ('unavailable', 'busy', 'timeout')


async def send_all(app, to, count, pause=0.0):
    for n in range(count):
        await app.send(to, {'n': n})
        await asyncio.sleep(pause)


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
    events = []
    a, b = [App(u, events=events).start() for u in (alice, bob)]
    await asyncio.wait_for(asyncio.gather(a.there.wait(), b.there.wait()), 20)
    await a.send(bob.uid, 'first')
    return a, b


async def prove(stack, a, b, pushes=False):
    """Every promise was kept.  pushes: b has been told of all of a's by push,
    without asking."""
    await stack.stored(a.user, b.user, len(a.acks) + len(b.acks), 30)
    if pushes:
        want = {int(k['msg_id']) for k in a.acks.values()}
        until = time.monotonic() + 20
        while not want <= pushed(b) and time.monotonic() < until:
            await asyncio.sleep(0.1)
        assert want <= pushed(b), 'not pushed: %s' % sorted(
            want - pushed(b))[:20]
    for app in (a, b):
        await app.settle(30)
        # The last push may still be on its way: nobody can know that.
        app.catch_up()
        await app.settle(30)
    report = check(a.events, stack.rows(a.user, b.user), {a.name, b.name})
    assert report.good(), report.text()
    assert report.counts['rows'] == len(a.acks) + len(b.acks)


def pushed(app):
    return {e.msg_id for e in app.events
            if e.kind == 'push' and e.device == app.name}


async def while_talking(a, b, damage, count=150):
    """Both send at a steady pace; damage happens in the middle."""
    talk = asyncio.gather(send_all(a, b.user.uid, count, 0.01),
                          send_all(b, a.user.uid, count, 0.01))
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
        b.cut()
        while b.there.is_set():
            await asyncio.sleep(0.01)
        await asyncio.wait_for(b.there.wait(), 10)
    # The pid is in the name: <host>-<pid>-<random>.
    victim = int(b.socket.instance.split('-')[-2])
    before = len(b.closed)
    assert victim in stack.workers()

    async def damage():
        os.kill(victim, signal.SIGKILL)

    await while_talking(a, b, damage)
    await prove(stack, b, a, pushes=True)
    assert a.closed == [] and len(b.closed) == before + 1
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
