"""Things die while people talk: nothing that was acked is lost, doubled or out
of order, and it goes on by itself.

The clients are tests/lib/im_app.py, which keeps the rules for clients; what
they saw and the rows in MySQL go to the checker.

What is marked `full` runs in `make test-full`: in `make test` the campaign does
the same (kill-worker, reload, kill-kafka, kill-task, leave-logic, away-etcd).
"""

import asyncio
import contextlib
import itertools
import os
import signal
import time

import pytest

from im_app import App
from im_checker import check
from im_client import Api, Problem
from im_wait import lasts, pace, until

# Until what is under way has come to an end after a program died.  Kafka needs
# 12 s to be back; a number that it never took is known to be void 17 s later.
BACK_S = 60


class Eager(App):
    """Tries again each 3 s at least: a pause that was doubled once more would
    be the longest part of the test."""

    def pause(self, f, times):
        return min(super().pause(f, times), 3)


async def send_all(app, to, count, pause=0.0):
    for n in range(count):
        await app.send(to, {'n': n})
        await pace(pause)


async def two(api, people):
    events = []
    a, b = [Eager(u, events=events).start()
            for u in await people(api, 'alice', 'bob')]
    await asyncio.wait_for(asyncio.gather(a.there.wait(), b.there.wait()), 20)
    await told(b, [await a.send(b.user.uid, 'first')])
    return a, b


async def told(app, acks):
    """Waits until it was pushed all of these: Task may have to come back."""
    want = {int(k['msg_id']) for k in acks}
    await until(lambda: want <= pushed(app), lambda: 'not pushed: %s' % sorted(
        want - pushed(app))[:20], BACK_S)


async def prove(stack, a, b, pushes=False):
    """Every promise was kept.  pushes: b has been told of all of a's by push,
    without asking."""
    await stack.stored(a.user, b.user, len(a.acks) + len(b.acks), BACK_S)
    if pushes:
        await told(b, a.acks.values())
    for app in (a, b):
        await app.settle(BACK_S)
        # The last push may still be on its way: nobody can know that.
        app.catch_up()
        await app.settle(BACK_S)
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
    await lasts(0.7)
    await damage()
    await asyncio.wait_for(talk, BACK_S)


def kill(stack, program, how):
    async def damage():
        pid = stack.pids()[program]
        os.kill(pid, how)
        await until(lambda: stack.pids().get(program) not in (None, pid),
                    '%s is not back' % program, 30)
    return damage


@pytest.mark.parametrize('how', [
    pytest.param(signal.SIGTERM, marks=pytest.mark.full), signal.SIGKILL])
async def test_logic_restarts(api, people, stack, how):
    a, b = await two(api, people)
    await while_talking(a, b, kill(stack, 'logic-1', how))
    await prove(stack, a, b, pushes=True)
    # A Logic that goes away does not cost anybody the connection.
    assert a.closed == b.closed == []


@pytest.mark.parametrize('how', [
    signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.full)])
async def test_task_restarts(api, people, stack, how):
    a, b = await two(api, people)
    await while_talking(a, b, kill(stack, 'task-1', how))
    await prove(stack, a, b, pushes=True)
    assert a.closed == b.closed == []


@pytest.mark.full
async def test_a_worker_is_killed(api, people, stack):
    a, b = await two(api, people)
    while a.socket.instance == b.socket.instance:
        b.cut()
        await until(lambda: not b.there.is_set(), 'it is not cut', 10, 0.01)
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


@pytest.mark.full
async def test_nginx_is_reloaded(api, people, stack):
    a, b = await two(api, people)
    old = set(stack.workers())

    async def damage():
        os.kill(stack.pids()['nginx'], signal.SIGHUP)
        await until(lambda: a.closed and b.closed,
                    lambda: (a.closed, b.closed), 30)

    await while_talking(a, b, damage)
    await prove(stack, a, b)
    # "come back, with jitter", and nothing worse
    assert set(a.closed + b.closed) == {4001}
    await until(lambda: not old & set(stack.workers()),
                'old workers are still there', 30)


@pytest.mark.full
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


@pytest.mark.full
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
    await lasts(1)
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
    await y.expect('push', BACK_S)
    pid = int(y.instance.rsplit('-', 2)[1])
    os.kill(pid, signal.SIGSTOP)
    try:
        await stack.lease_ends(y.instance)
        await lasts(1.2)               # so long it is still expected
        await x.send(b.uid, 'meanwhile')
        await lasts(0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    until = time.monotonic() + 20
    for n in itertools.count():
        await x.send(b.uid, 'after %d' % n)
        with contextlib.suppress(Problem):
            while True:
                push = await y.expect('push', 0.5)
                if push['body'].startswith('after'):
                    return
        assert time.monotonic() < until, 'nothing reaches the worker'


async def test_a_logout_reaches_a_worker_that_was_cut_off(stack, api, people):
    a, b = await people(api, 'other', 'leaves')
    x = await a.connect()
    y = await b.connect(other_than=[x.instance])
    pid = int(y.instance.rsplit('-', 2)[1])
    os.kill(pid, signal.SIGSTOP)
    try:
        await stack.lease_ends(y.instance)     # its streams ended before
        async with Api(stack.http) as fresh:
            await fresh.call('POST', '/v1/logout', b.token)
    finally:
        os.kill(pid, signal.SIGCONT)
    kick = await y.expect('kick', 20)
    assert kick['code'] == 'session_revoked'
    await asyncio.wait_for(y.ws.wait_closed(), 10)
    assert y.ws.close_code == 4101
