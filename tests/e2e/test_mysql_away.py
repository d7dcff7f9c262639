"""People who talk already notice nothing when MySQL is killed or frozen: each
message is acked within a second and pushed, between two, in a group and in a
live room, by WebSocket and by HTTP.  What needs MySQL is refused at once, as
retryable, and holds up nobody.

With a stack of its own, since its programs are stopped and frozen.
"""

import asyncio
import contextlib
import os
import signal
import time

import pytest

from conftest import TOP, People, taken
from im_client import Api, Problem, new_cmid
from im_sanitizer import complaints
from im_wait import lasts, pace
from test_health import SLOW, Own
from test_rooms_edge import ask, frames_now, frames_until, group, is_push, \
    live

AWAY_S = float(os.environ.get('IM_MYSQL_AWAY_S', 8))
ACK_S = 1 * SLOW           # the promise
PUSH_S = 2 * SLOW
BACK_S = 5 * SLOW          # until what waits for MySQL goes on
PAUSE_S = 0.1              # between two messages of one pair


@pytest.fixture(scope='module')
def own(stack):
    own = Own(stack, 'mysql-away')
    try:
        own.start()
        yield own
    finally:
        own.tool('stop')
    logs = os.path.join(TOP, 'build', 'stack', own.name, 'log')
    assert complaints(logs) == []


class Talk:
    """Somebody says something every now and then; each is acked in time, and
    the other is pushed it."""

    def __init__(self, name, a, b, **to):
        self.name, self.a, self.b, self.to = name, a, b, to
        self.n = 0
        self.longest = 0

    async def once(self):
        self.n += 1
        cmid, body = new_cmid(), '%s %d' % (self.name, self.n)
        seen = len(self.b.frames)
        began = time.monotonic()
        await self.a.write(type='send', cmid=cmid, body=body, **self.to)
        frames = await frames_until(
            self.a, lambda f: f.get('cmid') == cmid and f['type'] in (
                'ack', 'error'), '%s: no ack' % body)
        took = time.monotonic() - began
        answer = [f for f in frames if f.get('cmid') == cmid]
        assert answer[0]['type'] == 'ack', '%s: %s' % (body, answer)
        assert took < ACK_S, '%s: acked after %.2f s' % (body, took)
        self.longest = max(self.longest, took)
        await frames_until(self.b, is_push(body), '%s: not pushed' % body,
                           PUSH_S, seen)


def both(name, sockets, *to):
    """A talk in each direction."""
    a, b = sockets
    return [Talk(name + ' there', a, b, **to[0]),
            Talk(name + ' back', b, a, **to[-1])]


async def all_talk(talks, seconds):
    """Pairs of their own, so that each reads the frames of its socket alone."""
    end = time.monotonic() + seconds

    async def pair(there, back):
        while time.monotonic() < end:
            await there.once()
            await back.once()
            await pace(PAUSE_S)

    await asyncio.gather(*(pair(*t) for t in talks))


async def pair_of(people, api, name):
    users = await people(api, name + '-a', name + '-b')
    return users, [await u.connect() for u in users]


@contextlib.asynccontextmanager
async def frozen(own):
    pid = own.pid('mysql')
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def killed(own):
    await asyncio.to_thread(own.tool, 'ctl', 'stop', 'mysql')
    try:
        yield
    finally:
        await asyncio.to_thread(own.tool, 'ctl', 'start', 'mysql')
        await asyncio.to_thread(own.stack.until, 'mysql', 60,
                                own.stack.mysql_ready)


async def refused(user, to):
    """A first contact: not acked, retryable, promptly."""
    began = time.monotonic()
    with pytest.raises(Problem) as e:
        await user.send(to, 'hello')
    took = time.monotonic() - began
    assert e.value.code == 'unavailable', e.value.body
    assert e.value.body['retryable'] is True
    return took


async def say_by_http(user, to, seconds):
    end, longest = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        began = time.monotonic()
        await user.send(to, 'by http')
        longest = max(longest, time.monotonic() - began)
        await pace(PAUSE_S)
    assert longest < ACK_S
    return longest


async def sends_again(user, to, since):
    """As a client does that was told to; how long after `since`."""
    while True:
        try:
            await user.send(to, 'hello again')
            return time.monotonic() - since
        except Problem as e:
            assert e.body.get('retryable') and \
                time.monotonic() < since + BACK_S, e.body
            await pace(0.1)


@pytest.mark.parametrize('away', (
    frozen, pytest.param(killed, marks=pytest.mark.full)))
async def test_people_who_talk_notice_nothing(own, away):
    """In `make test` test_recover.py kills MySQL, and test_failover.py stops
    it."""
    people = People()
    async with Api(own.env['IM_HTTP']) as api:
        (alice, bob), direct = await pair_of(people, api, 'direct')
        (carl, dora), grouped = await pair_of(people, api, 'group')
        (emil, fay), staged = await pair_of(people, api, 'live')
        gone, late, by_http = await people(api, 'gone', 'late', 'http')

        room = await group(carl, dora, gone)
        stage = await live(emil)
        for s in staged:
            await ask(s, 'join', 'join_res', room=stage)
        removed = await gone.connect()
        talks = [both('direct', direct, {'to': str(bob.uid)},
                            {'to': str(alice.uid)}),
                 both('group', grouped, {'room': room}),
                 both('live', staged, {'room': stage})]
        await removed.write(type='send', room=room, cmid=new_cmid(),
                            body='still here')
        await removed.expect('ack')
        await by_http.send(bob.uid, 'by http')
        await all_talk(talks, 0.5)

        # Nobody speaks between this and the end of MySQL.
        await api.call('DELETE', '/v1/rooms/%s/members/%d' % (room, gone.uid),
                       carl.token)
        await lasts(0.3)
        marks = len(await frames_now(removed))

        async with away(own):
            waited = [asyncio.create_task(refused(late, bob.uid))]
            history = [asyncio.create_task(alice.history(bob.uid))
                       for _ in range(8)]
            http = asyncio.create_task(
                say_by_http(by_http, bob.uid, AWAY_S))
            await all_talk(talks, AWAY_S)
            longest = await http
            # Now it is known to be away.
            waited.append(asyncio.create_task(refused(late, alice.uid)))
            took = [await w for w in waited]
            assert took[0] < 2 * ACK_S and took[1] < ACK_S, took
            await removed.write(type='send', room=room, cmid=new_cmid(),
                                body='may not')
            f = await removed.expect('error')
            # As for any room that one is not in and may not enter.
            assert f['code'] == 'no_such_room', f
            # What cannot be answered is refused without a wait, too.
            began = time.monotonic()
            with pytest.raises(Problem) as e:
                await alice.history(bob.uid)
            assert e.value.code == 'unavailable' and \
                time.monotonic() - began < ACK_S, e.value
        began = time.monotonic()
        await asyncio.gather(*history, return_exceptions=True)
        back = await sends_again(late, bob.uid, began)
        await taken(alice.history, bob.uid, seconds=BACK_S)
        await all_talk(talks, 0.5)
        said = (await frames_now(removed))[marks:]
        assert not [f for f in said if f['type'] == 'push'], said
        print('%s %.0f s: ack %s, http %.3f s, refused %s, back after %.2f s'
              % (away.__name__, AWAY_S, ' '.join(
                  '%s %.3f' % (t.name.split()[0], max(x.longest for x in pair))
                  for pair in talks for t in pair[:1]),
                 longest, ' '.join('%.3f' % t for t in took), back))


async def test_who_connects_again_meanwhile_goes_on(own):
    """All workers are new, and know nothing of the group, from which somebody
    was removed a moment before: those who are in it get what is said there, and
    he does not."""
    people = People()
    async with Api(own.env['IM_HTTP']) as api:
        (alice, bob), direct = await pair_of(people, api, 'direct')
        (carl, dora), grouped = await pair_of(people, api, 'group')
        gone = await people(api, 'gone')
        room = await group(carl, dora, gone)

        async def talk(seconds):
            await all_talk(
                [both('direct', direct, {'to': str(bob.uid)},
                      {'to': str(alice.uid)}),
                 both('group', grouped, {'room': room})], seconds)

        await talk(0.5)
        await api.call('DELETE', '/v1/rooms/%s/members/%d' % (room, gone.uid),
                       carl.token)
        await talk(0.5)
        async with frozen(own):
            old = direct[0].instance
            os.kill(own.pid('nginx'), signal.SIGHUP)
            direct = [await u.connect([old]) for u in (alice, bob)]
            grouped = [await u.connect([old]) for u in (carl, dora)]
            removed = await gone.connect([old])
            assert room not in removed.auth_ok.get('rooms', [])
            await talk(3)
            said = await frames_now(removed)
            assert not [f for f in said if f['type'] == 'push'], said
        await talk(0.5)
