"""Who is online, and who is told when that changes."""

import asyncio
import collections
import json
import os
import signal
import subprocess
import time

import pytest

from conftest import beside, refused
from im_client import Problem
from im_frozen import frozen, pid_of
from im_wait import lasts, pause, tries, until, wait_until
from test_daemons import get

GRACE = 1.8        # seconds: who comes back within them has not gone
GONE = 4           # and what a busy machine adds


@pytest.fixture(scope='module', autouse=True)
def quiet(stack):
    """A worker that has lost a link asks how all are, a second later, and says
    what it hears at once: not in the middle of a test of when one is told."""
    wait_until(lambda: linked(stack) >= int(stack.env['IM_NGINX_WORKERS']),
               'workers have no link to Logic')
    pause(3)


def linked(stack):
    try:
        return json.loads(get(stack.env['IM_LOGIC_HEALTH'])[1]).get('links', 0)
    except (OSError, ValueError):
        return 0


def links_opened(stack):
    """How often a worker has opened a link: then it says all states again."""
    with open(os.path.join(stack.dir, 'log', 'nginx.log')) as f:
        return sum('link to logic' in line for line in f)


def redis(stack, *args):
    r = subprocess.run(['redis-cli', '-s', stack.env['IM_REDIS'], *args],
                       stdout=subprocess.PIPE, text=True, timeout=20)
    assert r.returncode == 0
    return r.stdout.splitlines()


async def presence(user, *uids):
    """uid -> what POST /v1/presence says of it."""
    r = await user.api.call('POST', '/v1/presence', user.token,
                            json={'uids': [str(u) for u in uids]})
    assert [u['uid'] for u in r['users']] == [str(u) for u in uids]
    return {int(u['uid']): u for u in r['users']}


async def becomes(user, uid, online, seconds):
    async for _ in tries('online is not %s within %g s' % (online, seconds),
                         seconds):
        if (await presence(user, uid))[uid]['online'] == online:
            break


async def watch(socket, *uids):
    """Subscribes; uid -> online, as the answer says."""
    await socket.write(type='presence_sub', id='1',
                       add=[str(u) for u in uids])
    r = await socket.expect('presence_res')
    return {int(u['uid']): u['online'] for u in r['users']}


async def change(socket, wait=10, known=None):
    """What the next frame says.  known: uid -> online, as this socket was told
    so far; what it says again is passed over, which is allowed at any time."""
    end = time.monotonic() + wait
    while True:
        f = await socket.expect('presence', max(0.01, end - time.monotonic()))
        told = {int(u['uid']): u['online'] for u in f['users']}
        if known is None:
            return told
        told = {uid: on for uid, on in told.items() if known.get(uid) != on}
        known.update(told)
        if told:
            return told


async def unchanged(socket, known, seconds):
    """Nothing comes that is not known."""
    try:
        told = await change(socket, seconds, known)
    except Problem:
        return
    raise AssertionError('told of %s' % told)


async def settles(socket, known, want):
    """2 s from now, and what a busy machine adds, these are the states."""
    end = time.monotonic() + GONE
    while known != want:
        await change(socket, end - time.monotonic(), known)
    # The others' news would have come by now, too.
    await unchanged(socket, known, 0.5)


async def test_online_is_who_has_a_connection(api, people):
    a, b, c = await people(api, 'asks', 'comes', 'never')
    assert not (await presence(a, b.uid))[b.uid]['online']
    phone = await b.connect()
    # auth_ok has been answered: from now on it is so
    before = int(time.time() * 1000)
    r = await presence(a, c.uid, b.uid, a.uid)
    assert [r[u.uid]['online'] for u in (c, b, a)] == [False, True, False]
    assert r[c.uid]['devices'] == []
    device, = r[b.uid]['devices']
    assert device['device'] == 'default'
    assert 0 <= before - int(device['since_ms']) < 10000
    await phone.close()
    await becomes(a, b.uid, False, 10)


async def test_devices_are_named_once_since_the_first(api, people):
    a = await people(api, 'two')
    await a.log_in('phone.1')
    first = await a.connect()
    since = (await presence(a, a.uid))[a.uid]['devices'][0]['since_ms']
    await a.connect()
    await a.log_in('tablet')
    await a.connect()
    devices = (await presence(a, a.uid))[a.uid]['devices']
    assert sorted(d['device'] for d in devices) == ['phone.1', 'tablet']
    assert {d['device']: d['since_ms'] for d in devices}['phone.1'] == since
    await first.close()


@pytest.mark.parametrize('uids', [[], ['1'] * 201])
async def test_questions_out_of_bounds_are_refused(api, people, uids):
    a = await people(api, 'asks')
    await refused(api.call('POST', '/v1/presence', a.token,
                           json={'uids': uids}), 400)


async def test_a_client_cannot_subscribe_an_instance(api, people, stack):
    a = await people(api, 'forger')
    try:
        await api.call('POST', '/v1/presence', a.token, json={
            'uids': [str(a.uid)], 'instance': 'forged'})
    except Problem as e:
        assert e.status == 400
    assert 'forged' not in redis(stack, 'SMEMBERS', 'im:ps:{%d}' % a.uid)


async def test_subscribers_on_all_workers_are_told(api, people):
    a, b, *comers = await people(api, 'one', 'two', *3 * ['watched'])
    x = await a.connect()
    y = await b.connect(other_than=[x.instance])
    known = {}
    for s in (x, y):
        known[s] = await watch(s, b.uid, *(c.uid for c in comers))
        assert known[s] == {b.uid: True, **{c.uid: False for c in comers}}
    took = []
    for c in comers:
        z = await c.connect()
        began = time.monotonic()
        for s in (x, y):
            assert await change(s, 10, known[s]) == {c.uid: True}
        took.append(time.monotonic() - began)
    # At once: no grace.  A machine that stalls does not do so each time.
    assert min(took) < 1, took
    began = time.monotonic()
    await z.close()
    for s in (x, y):
        assert await change(s, 15, known[s]) == {c.uid: False}
    assert 1 < time.monotonic() - began < 2 * GONE
    # Not any more: nothing comes.
    await x.write(type='presence_sub', id='2', remove=[str(c.uid)])
    await x.expect('presence_res')
    await c.connect()
    assert await change(y, 10, known[y]) == {c.uid: True}
    await unchanged(x, known[x], 0.5)


async def test_a_reconnect_is_no_change(api, people):
    a, b = await people(api, 'watches', 'moves')
    x = await a.connect()
    s = await b.connect()
    known = await watch(x, b.uid)
    assert known == {b.uid: True}
    for _ in range(5):
        began = time.monotonic()
        await s.close()
        await lasts(0.5)
        s = await b.connect()
        took = time.monotonic() - began
        if took < GRACE - 0.2:
            break
        # Too slow to be no change: let it be told, and try to be quicker.
        await lasts(GONE)
        while not await x.nothing('presence', 0.1):
            pass
    assert took < GRACE - 0.2, 'it takes %.1f s to connect' % took
    await unchanged(x, known, GONE)


@pytest.mark.parametrize('returns', [True, False])
async def test_who_subscribes_while_a_user_is_away_knows_how_it_ends(
        api, people, stack, returns):
    a, b = await people(api, 'watches', 'away')
    x = await a.connect()
    s = await b.connect()
    await s.close()
    key = 'im:u:{%d}' % b.uid
    await until(lambda: redis(stack, 'HLEN', key) == ['0'],
                'the close is not in Redis', 10)
    known = await watch(x, b.uid)
    if returns:
        await b.connect()
    await settles(x, known, {b.uid: returns})
    assert (await presence(a, b.uid))[b.uid]['online'] == returns


async def test_states_are_right_2_s_after_a_reload(api, people, stack):
    a, *some = await people(api, 'watches', *6 * ['moves'])
    z = await people(api, 'stays-away')
    sockets = [await u.connect() for u in some]
    x = await a.connect()
    await watch(x, z.uid, *(u.uid for u in some))
    os.kill(stack.pids()['nginx'], signal.SIGHUP)
    # 4001: they come back as clients do; two of them do not.
    for n, s in enumerate(sockets):
        await asyncio.wait_for(s.ws.wait_closed(), 30)
        if n < 4:
            await some[n].connect()
    await asyncio.wait_for(x.ws.wait_closed(), 30)
    x = await a.connect()
    known = await watch(x, z.uid, *(u.uid for u in some))
    await settles(x, known, {z.uid: False,
                             **{u.uid: n < 4 for n, u in enumerate(some)}})


async def test_a_second_device_is_no_change_either(api, people):
    a, b = await people(api, 'watches', 'has-two')
    x = await a.connect()
    first = await b.connect()
    known = await watch(x, b.uid)
    assert known == {b.uid: True}
    second = await b.connect()
    await first.close()
    await unchanged(x, known, GONE)
    assert (await presence(a, b.uid))[b.uid]['online']
    await second.close()
    assert await change(x, 10, known) == {b.uid: False}


async def test_a_late_close_takes_nobody_away(api, people, stack):
    """A close names its own connection: Logic is told of the old one's end when
    the new one is there already."""
    a, b = await people(api, 'asks', 'moves')
    old = await b.connect()
    new = await b.connect(other_than=[old.instance])
    with frozen(pid_of(old.instance)):
        old.ws.transport.abort()
        await lasts(0.3)
    key = 'im:u:{%d}' % b.uid
    await until(lambda: redis(stack, 'HLEN', key) == ['1'],
                lambda: redis(stack, 'HGETALL', key), 10)
    r = await presence(a, b.uid)
    assert r[b.uid]['online'] and len(r[b.uid]['devices']) == 1
    assert new.instance in ''.join(redis(stack, 'HVALS', key))
    assert await new.nothing('kick', 0.1)


async def test_who_was_on_a_killed_worker_is_told_as_gone(api, people, stack):
    a, b = await people(api, 'watches', 'victim')
    x = await a.connect()
    y = await b.connect(other_than=[x.instance])
    known = await watch(x, b.uid)
    assert known == {b.uid: True}
    began = time.monotonic()
    os.kill(pid_of(y.instance), signal.SIGKILL)
    # The lease of 3 s, and a walk through those who are online.  If it were
    # not the home that walks, but another one, 8 s later: 10 s at least.
    assert await change(x, 20, known) == {b.uid: False}
    assert time.monotonic() - began < 10
    assert not (await presence(a, b.uid))[b.uid]['online']
    assert redis(stack, 'HKEYS', 'im:u:{%d}' % b.uid) == ['']
    await b.connect()
    assert await change(x, 10, known) == {b.uid: True}


async def test_a_redis_that_lost_all_knows_it_again_within_5_s(api, people,
                                                               stack):
    a, b, c = await people(api, 'watches', 'stays', 'comes-later')
    x = await a.connect()
    y = await b.connect(other_than=[x.instance])
    known = await watch(x, b.uid, c.uid)
    assert known == {b.uid: True, c.uid: False}
    # The counters stay, so that numbers need not skip for this test.
    for pattern in ('im:u:*', 'im:ps:*', 'im:g:*', 'im:off'):
        keys = redis(stack, '--scan', '--pattern', pattern)
        if keys:
            redis(stack, 'DEL', *keys)
    assert not (await presence(a, b.uid))[b.uid]['online']
    # By this it is noticed.
    redis(stack, 'DEL', 'im:presence')
    await becomes(a, b.uid, True, 5)
    await becomes(a, a.uid, True, 5)
    # Subscriptions, too.
    await c.connect()
    end = time.monotonic() + 10
    while c.uid not in await change(x, end - time.monotonic(), known):
        pass
    # And messages find their way.
    await x.send(b.uid, 'hello')
    assert (await y.expect('push'))['body'] == 'hello'


async def test_a_leave_is_told_though_logic_was_restarted(api, people, stack):
    a, b = await people(api, 'watches', 'leaves')
    x = await a.connect()
    y = await b.connect()
    known = await watch(x, b.uid)
    assert known == {b.uid: True}
    pid = stack.pids()['logic-1']
    await y.close()
    key = 'im:u:{%d}' % b.uid
    await until(lambda: redis(stack, 'HLEN', key) == ['0'],
                'the close is not in Redis', 10)
    os.kill(pid, signal.SIGKILL)
    assert await change(x, 30, known) == {b.uid: False}


async def test_many_at_once_come_and_go(api, people, stack):
    """Each change is told, and once, if nothing fails meanwhile."""
    a = await people(api, 'watches')
    some = await asyncio.gather(*[people(api, 'p%d' % n) for n in range(40)])
    x = await a.connect()
    known = await watch(x, *[u.uid for u in some])
    assert not any(known.values())
    links = links_opened(stack)
    told = collections.Counter()

    async def all_are(online):
        end = time.monotonic() + 15
        while set(known.values()) != {online}:
            f = await x.expect('presence', max(0.01, end - time.monotonic()))
            for u in f['users']:
                known[int(u['uid'])] = u['online']
                told[u['uid'], u['online']] += 1

    sockets = await asyncio.gather(*[u.connect() for u in some])
    await all_are(True)
    await asyncio.gather(*[s.close() for s in sockets])
    await all_are(False)
    assert len(told) == 2 * len(some)
    if links_opened(stack) == links:
        assert set(told.values()) == {1}, told.most_common(5)


# A subscription that is refused.


async def subscribed(socket, *questions):
    """Asks them all at once; the type of each answer."""
    for n, uids in enumerate(questions):
        await socket.write(type='presence_sub', id=str(n + 1),
                           add=[str(u) for u in uids])
    kinds = {}
    while len(kinds) < len(questions):
        f = await socket.receive()
        if f['type'] in ('presence_res', 'error'):
            kinds[f['id']] = f['type']
        else:
            socket.frames.append(f)
    return [kinds[str(n + 1)] for n in range(len(questions))]


async def comes(user, witness):
    """The user comes, and who is subscribed in this worker was told."""
    s = await user.connect()
    end = time.monotonic() + 10
    while (await change(witness, end - time.monotonic())) != {user.uid: True}:
        pass
    return s


async def test_who_was_refused_is_not_told(api, people, stack):
    w, a, b, c = await people(api, 'witness', 'refused', 'comes', 'bad')
    witness = await w.connect()
    s = await beside(witness, a)
    await watch(witness, b.uid, c.uid)
    # What Logic asks for this user is an error.
    redis(stack, 'DEL', 'im:ps:{%d}' % c.uid)
    redis(stack, 'SET', 'im:ps:{%d}' % c.uid, 'x')
    assert await subscribed(s, [b.uid, c.uid]) == ['error']
    await comes(b, witness)
    assert await s.nothing('presence', 0.5)
    # Asked again, when it is well again.
    redis(stack, 'DEL', 'im:ps:{%d}' % c.uid)
    assert await subscribed(s, [b.uid, c.uid]) == ['presence_res']
    await watch(witness, c.uid)
    await comes(c, witness)
    known = {b.uid: True, c.uid: False}
    assert await change(s, 10, known) == {c.uid: True}


@pytest.mark.parametrize('order', ['before', 'after', 'twice'])
async def test_a_refusal_takes_nothing_that_another_answer_gave(
        api, people, stack, order):
    w, a, b, c = await people(api, 'witness', 'refused', 'comes', 'bad')
    witness = await w.connect()
    s = await beside(witness, a)
    await watch(witness, b.uid)
    redis(stack, 'SET', 'im:ps:{%d}' % c.uid, 'x')
    bad, good = [b.uid, c.uid], [b.uid]
    if order == 'twice':
        assert await subscribed(s, bad, bad) == ['error', 'error']
    elif order == 'before':
        assert await subscribed(s, bad, good) == ['error', 'presence_res']
    else:
        assert await subscribed(s, good, bad) == ['presence_res', 'error']
    await comes(b, witness)
    if order == 'twice':
        assert await s.nothing('presence', 0.5)
    else:
        assert await change(s, 10, {b.uid: False}) == {b.uid: True}
    redis(stack, 'DEL', 'im:ps:{%d}' % c.uid)
