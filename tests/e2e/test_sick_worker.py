"""A worker that is dead or frozen holds nobody else up, and whoever is
connected to a frozen one gets all that was said meanwhile.

Alice and Bob are on one worker, Carl is on the other one, to which something
happens while all of them are spoken to.
"""

import asyncio
import os
import re
import signal
import time

import pytest

from im_app import App
from im_checker import check
from im_client import Problem
from test_presence import change, watch
from test_recover import pushed, send_all, told
from im_wait import lasts, pace, until
from test_store import Task, alone  # noqa: F401: a fixture

# The push of a batch that touches the sick worker takes 2 to 3 s; nobody else
# may feel anything of it.  Far more than a push takes on a busy machine,
# counted from the ack: before that the disk has a word in it.
STALL_S = 1.2
ACK_S = 2.5


async def seated(app, fits):
    """Connected to a worker that fits; the kernel chooses it."""
    async with asyncio.timeout(30):
        await app.there.wait()
        while not fits(app.socket.instance):
            app.cut()
            await until(lambda: not app.there.is_set(), 'it is not cut',
                        10, 0.01)
            await app.there.wait()


async def three(api, people):
    """Apps of Alice, Bob and Carl, and the pid of Carl's worker.  Task is at
    work, and has a stream to each worker."""
    users = await people(api, 'alice', 'bob', 'carl')
    events = []
    a, b, c = [App(u, events=events).start() for u in users]
    await a.there.wait()
    here = a.socket.instance
    await seated(b, lambda i: i == here)
    await seated(c, lambda i: i != here)
    for x, y in ((a, b), (a, c), (b, a)):
        await told(y, [await x.send(y.user.uid, 'first')])
    # These may have waited for a Task that was joining its group.
    a.calm, b.calm = set(a.sent), set(b.sent)
    return a, b, c, int(c.socket.instance.split('-')[-2])


def longest_waits(sender, reader):
    """Seconds from the first writing of a message to its ack, and from there
    to its push."""
    wrote, acked, came = {}, {}, {}
    for e in sender.events:
        if e.device == sender.name and e.kind in ('send', 'ack'):
            (wrote if e.kind == 'send' else acked).setdefault(e.cmid, e.time)
        elif e.device == reader.name and e.kind == 'push':
            came.setdefault(e.cmid, e.time)
    cmids = [k for k, to in sender.sent.items()
             if to == reader.user.uid and k not in sender.calm]
    return (max((acked[k] - wrote[k] for k in cmids), default=0),
            max((came[k] - acked[k] for k in cmids), default=0))


async def prove(stack, a, b, c):
    """Alice and Bob had everything by push, without a wait; Carl has
    everything."""
    for x, y in ((a, b), (b, a)):
        await told(y, [k for cmid, k in x.acks.items()
                       if x.sent[cmid] == y.user.uid])
        ack, push = longest_waits(x, y)
        assert ack < ACK_S and push < STALL_S, (ack, push)
    rows = []
    for x, y in ((a, b), (a, c), (b, c)):
        want = (sum(to == y.user.uid for to in x.sent.values())
                + sum(to == x.user.uid for to in y.sent.values()))
        await stack.stored(x.user, y.user, want, 30)
        rows += stack.rows(x.user, y.user)
    for x in (a, b, c):
        await x.settle(30)
    want = {int(k['msg_id']) for x in (a, b) for k in x.acks.values()}
    assert len(rows) == len(want)
    end = time.monotonic() + 20
    report = check(a.events, rows, {x.name for x in (a, b, c)})
    while not report.good() and time.monotonic() < end:
        await pace(0.5)
        report = check(a.events, rows, {x.name for x in (a, b, c)})
    assert report.good(), report.text()


async def talk(a, b, c, seconds):
    count = int(seconds / 0.012)
    await asyncio.gather(send_all(a, b.user.uid, count, 0.01),
                         send_all(b, a.user.uid, count, 0.01),
                         send_all(a, c.user.uid, count // 2, 0.02),
                         send_all(b, c.user.uid, count // 2, 0.02))


@pytest.mark.full
async def test_a_dead_worker_holds_up_nobody_else(api, people, stack):
    """In `make test` the campaign kills one (kill-worker)."""
    a, b, c, victim = await three(api, people)
    before = len(c.closed)
    # Longer than the lease of the dead one, whose name is still in Redis.
    talking = asyncio.create_task(talk(a, b, c, 5))
    await lasts(0.7)
    os.kill(victim, signal.SIGKILL)
    await talking
    await prove(stack, a, b, c)
    assert len(c.closed) == before + 1


# Shorter and longer than its lease.
@pytest.mark.parametrize('seconds', [1.5, 2.3, 5])
async def test_a_frozen_worker_holds_up_nobody_else(seconds, api, people,
                                                    stack):
    a, b, c, victim = await three(api, people)
    before = len(c.closed), len(a.closed)
    talking = asyncio.create_task(talk(a, b, c, seconds + 1.5))
    await lasts(0.7)
    os.kill(victim, signal.SIGSTOP)
    try:
        await lasts(seconds)
    finally:
        os.kill(victim, signal.SIGCONT)
    await talking
    await prove(stack, a, b, c)
    assert (len(c.closed), len(a.closed)) == before


# Before and after its push stream has ended, and its lease.
@pytest.mark.parametrize('said, thawed', [(0, 1.5), (1.3, 1.9), (1.3, 5),
                                          (4.5, 5)])
async def test_the_last_message_to_a_frozen_worker_is_not_missed(
        said, thawed, api, people, stack):
    """No later one tells that it is missing, and nobody reconnects."""
    a, b, c, victim = await three(api, people)
    before = len(c.closed)
    os.kill(victim, signal.SIGSTOP)
    try:
        await lasts(said)
        await a.send(c.user.uid, 'last')
        await lasts(thawed - said)
    finally:
        os.kill(victim, signal.SIGCONT)
    await comes(c, a, 'last')
    await prove(stack, a, b, c)
    assert len(c.closed) == before


async def comes(reader, sender, body):
    await until(lambda: any(m.body == body
                            for m in reader.shown(sender.user.uid)),
                'nobody has told him', 20)


def endings(task, instance):
    """How often its stream to this worker has ended."""
    return task.log.read_text().count(
        'connect %s: the push stream ended' % instance)


async def freeze(task, app):
    """Its worker; until Task has noticed, so that it sends nothing more."""
    n = endings(task, app.socket.instance)
    os.kill(int(app.socket.instance.split('-')[-2]), signal.SIGSTOP)
    await until(lambda: endings(task, app.socket.instance) > n,
                'its push stream goes on', 10)


async def count(task, what):
    return (await task.says(lambda h: True, 'nothing'))[what]


async def test_who_was_given_up_in_a_short_freeze_is_told_to_ask(
        api, people, stack, alone, tmp_path):
    """Its lease goes on, so only Task knows that it missed something."""
    with Task(stack, tmp_path, 'hasty', IM_PUSH_CONFIRM_MS='200') as task:
        a, b, c, victim = await three(api, people)
        before = len(c.closed)
        dropped = await count(task, 'dropped')
        try:
            await freeze(task, c)
            await a.send(c.user.uid, 'last')
            await task.says(lambda h: h['dropped'] > dropped, 'gives up', 10)
        finally:
            os.kill(victim, signal.SIGCONT)
        await comes(c, a, 'last')
        await prove(stack, a, b, c)
        assert len(c.closed) == before


async def test_a_worker_that_misses_something_often_tells_to_sync_seldom(
        api, people, stack, alone, tmp_path):
    """And once more after the last time."""
    with Task(stack, tmp_path, 'hasty', IM_PUSH_CONFIRM_MS='200') as task:
        a, b, c, victim = await three(api, people)
        w = await people(api, 'witness')
        s = await w.connect(other_than=[a.socket.instance])
        times = []

        async def read():
            while True:
                await s.expect('sync_needed', 60)
                times.append(time.monotonic())
        reading = asyncio.create_task(read())
        ended = leases_lost(stack, victim)
        for n in range(3):
            dropped = await count(task, 'dropped')
            try:
                await freeze(task, c)
                await a.send(c.user.uid, 'missed %d' % n)
                await task.says(lambda h: h['dropped'] > dropped, 'gives up',
                                10)
            finally:
                os.kill(victim, signal.SIGCONT)
            if n == 0:
                await until(lambda: times, 'nobody was told')
            await lasts(0.4)
        await comes(c, a, 'missed 2')
        await until(lambda: len(times) > 1, 'told once only')
        reading.cancel()
        # Whose lease ends, because all is slow, tells of that at once.
        if leases_lost(stack, victim) == ended:
            assert all(y - x > 3 for x, y in zip(times, times[1:])), times
        await prove(stack, a, b, c)


def leases_lost(stack, pid):
    with open(os.path.join(stack.dir, 'log', 'nginx.log'),
              errors='replace') as f:
        return len(re.findall(
            r' %d#\d+: .*lease of this instance was lost' % pid, f.read()))


async def test_a_worker_that_came_back_and_dies_takes_its_users_away(
        api, people, stack):
    """It was taken for dead just before, and is cleaned up after once more."""
    a, b = await people(api, 'watches', 'victim')
    x = await a.connect()
    y = await b.connect(other_than=[x.instance])
    victim = int(y.instance.split('-')[-2])
    known = await watch(x, b.uid)
    os.kill(victim, signal.SIGSTOP)
    try:
        await stack.lease_ends(y.instance)
        await lasts(1.2)               # so long it is still expected
    finally:
        os.kill(victim, signal.SIGCONT)
    end = time.monotonic() + 1.5
    while time.monotonic() < end or not known[b.uid]:
        try:
            await change(x, 0.2, known)
        except Problem:
            assert time.monotonic() < end + 15, 'it does not come back'
    os.kill(victim, signal.SIGKILL)
    assert await change(x, 20, known) == {b.uid: False}


async def test_what_a_task_gives_up_when_it_ends_is_pushed_by_the_next(
        api, people, stack, alone, tmp_path):
    with Task(stack, tmp_path, 'ends', IM_PUSH_CONFIRM_MS='700') as task:
        a, b, c, victim = await three(api, people)
        taken = await count(task, 'push_records')
        try:
            await freeze(task, c)
            ack = await a.send(c.user.uid, 'last')
            # It has the record, and 0.7 s until it gives it up.
            await task.says(lambda h: h['push_records'] > taken, 'takes it')
            task.process.terminate()
            assert await asyncio.to_thread(task.process.wait, 20) == 0
        finally:
            os.kill(victim, signal.SIGCONT)
    assert int(ack['msg_id']) not in pushed(c)
    stack.tool('ctl', stack.name, 'start', 'task-1')
    await told(c, [ack])
    await prove(stack, a, b, c)
