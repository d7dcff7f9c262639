"""Our test client keeps the rules for clients (docs/protocol.md).

Against a server of a few lines, which does what the test wants: a client that
is too kind would hide faults of the real one.
"""

import asyncio
import contextlib
import json

import websockets

import im_app
import im_wait
from im_app import App, verdict
from im_wait import stays

ME, BOB = 5, 9
WAIT = 20          # seconds, for anything


class User:
    """As much of im_client.User as App needs, without HTTP."""

    def __init__(self, address):
        from im_client import Socket
        self.uid = ME
        self.api = self
        self.sockets = []
        self.ended = False
        self.open = lambda: Socket.open(address, 'token')
        self.token = self.refresh_token = 'old'
        self.refreshed = 0

    async def connect(self, address=None):
        s = await self.open()
        self.sockets.append(s)
        return s

    async def call(self, method, path, **_):
        assert path == '/v1/refresh'
        self.refreshed += 1
        return {'access_token': 'new', 'refresh_token': 'new'}


class Server:
    """Says what it is told; by default there is nothing to be synced."""

    def __init__(self):
        self.asked = []            # frames of the client, (time, frame)
        self.answers = {}          # type -> function of the frame
        self.ws = None
        self.came = asyncio.Event()
        self.connections = 0

    async def serve(self, ws):
        self.ws = ws
        self.connections += 1
        await self.say(type='auth_ok', uid=str(ME), device='d')
        self.came.set()
        with contextlib.suppress(websockets.ConnectionClosed):
            async for text in ws:
                f = json.loads(text)
                self.asked.append((asyncio.get_running_loop().time(), f))
                answer = self.answers.get(f['type'], self.nothing)(f)
                if answer:
                    await self.say(**answer)

    def nothing(self, f):
        if f['type'] == 'conversations':
            return {'type': 'conversations_res', 'id': f['id'],
                    'conversations': [], 'more': False}
        if f['type'] == 'sync':
            return synced(f)
        return None

    async def say(self, **frame):
        await self.ws.send(json.dumps(frame))

    async def push(self, seq, sender=BOB, cmid=None):
        await self.say(type='push', **stored(seq, sender, cmid),
                       to=str(ME if sender == BOB else BOB))

    def of(self, kind):
        return [f for _, f in self.asked if f['type'] == kind]

    async def wait_for(self, kind, count):
        await until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)


def stored(seq, sender=BOB, cmid=None):
    return {'seq': str(seq), 'msg_id': str(1000 + seq), 'from': str(sender),
            'time_ms': '1', 'cmid': cmid or 'c%d' % seq, 'body': {'n': seq}}


def synced(f, messages=(), voids=(), **more):
    """Answers a sync of one conversation."""
    out = []
    for c in f['cursors']:
        last = [int(m['seq']) for m in messages] + [v[1] for v in voids]
        out.append(dict({
            'with': c['with'], 'head': '0',
            'next': str(max([int(c['seq'])] + last)),
            'messages': list(messages),
            'voids': [{'from': str(a), 'to': str(b)} for a, b in voids],
            'more': False, 'pending': False}, **more))
    return {'type': 'sync_res', 'id': f['id'], 'conversations': out}


@contextlib.asynccontextmanager
async def pair(**answers):
    """A server and an App that is connected to it."""
    server = Server()
    server.answers.update(answers)
    listener = await websockets.serve(server.serve, '127.0.0.1', 0,
                                      subprotocols=['im.v1.json'],
                                      close_timeout=0.1)
    address = '127.0.0.1:%d' % listener.sockets[0].getsockname()[1]
    app = App(User(address), 'd').start()
    try:
        async with asyncio.timeout(WAIT):
            await server.came.wait()
        await server.wait_for('conversations', 1)
        yield server, app
    finally:
        await app.close()
        listener.close()


def knows_bob(f):
    return {'type': 'conversations_res', 'id': f['id'], 'more': False,
            'conversations': [{'with': str(BOB), 'head': '3',
                               'read_seq': '0', 'unread': 0,
                               'last': stored(3)}]}


def numbers(app):
    return [m.seq for m in app.shown(BOB)]


def events(app, kind):
    return [e for e in app.events if e.kind == kind]


async def until(true):
    await im_wait.until(true, 'it does not happen', WAIT, 0.005)


async def test_pushes_in_order_are_shown_at_once():
    async with pair() as (server, app):
        await app.settle()
        for n in (1, 2, 2, 3, 1):
            await server.push(n)
        await until(lambda: len(events(app, 'push')) == 5)
        assert numbers(app) == [1, 2, 3]
        assert server.of('sync') == []


async def test_a_gap_that_closes_itself_is_not_asked_for(monkeypatch):
    # Longer than this process may stand still.
    monkeypatch.setattr('im_app.HOLD_S', 2)
    async with pair() as (server, app):
        await app.settle()
        await server.push(1)
        await server.push(3)
        await until(lambda: len(events(app, 'push')) == 2)
        assert numbers(app) == [1]
        await server.push(2)
        await until(lambda: numbers(app) == [1, 2, 3])
        # It is looked at when the time is over.
        await until(lambda: not app.timers)
        await stays(lambda: server.of('sync') == [], 'it asks', 0.1)


async def test_a_gap_is_held_for_200_ms_and_then_asked_for():
    missing = [stored(2), stored(3)]
    async with pair(sync=lambda f: synced(f, missing)) as (server, app):
        await app.settle()
        await server.push(1)
        began = asyncio.get_running_loop().time()
        await server.push(4)
        await server.wait_for('sync', 1)
        assert im_app.HOLD_S == 0.2
        assert 0.19 < server.asked[-1][0] - began < 5
        await until(lambda: numbers(app) == [1, 2, 3, 4])
        assert server.of('sync')[0]['cursors'] == [{'with': str(BOB),
                                                    'seq': '1'}]
        assert [e.extra for e in events(app, 'deliver')] == [
            'push', 'sync', 'sync', 'push']


async def test_a_gap_is_stepped_over_only_when_the_server_says_void():
    voids = []

    async with pair(sync=lambda f: synced(f, voids=voids)) as (server, app):
        await app.settle()
        await server.push(1)
        await server.push(4)
        await server.wait_for('sync', 2)
        assert numbers(app) == [1]
        voids.append((2, 3))
        await until(lambda: numbers(app) == [1, 4])
        void = events(app, 'void')
        assert [(e.seq, e.extra) for e in void] == [(2, 3)]


async def test_what_is_pending_is_asked_for_again_after_a_second():
    pending = [True, True, False]

    def sync(f):
        p = pending.pop(0)
        return synced(f, [] if p else [stored(2)], pending=p)

    async with pair(sync=sync) as (server, app):
        await app.settle()
        await server.push(1)
        await server.push(3)
        await until(lambda: numbers(app) == [1, 2, 3])
        times = [t for t, f in server.asked if f['type'] == 'sync']
        assert len(times) == 3
        # After 10 s it would be asked again without an answer, too.
        assert all(0.9 < b - a < 8 for a, b in zip(times, times[1:])), times


async def test_pages_are_asked_for_until_there_is_no_more():
    def sync(f):
        have = int(f['cursors'][0]['seq'])
        return synced(f, [stored(have + 1), stored(have + 2)], more=have < 6)

    async with pair(conversations=knows_bob, sync=sync) as (server, app):
        await app.settle()
        assert numbers(app) == list(range(1, 9))
        assert len(server.of('sync')) == 4


async def test_before_the_first_sync_no_push_moves_the_cursor():
    held = []
    async with pair(conversations=knows_bob,
                    sync=lambda f: held.append(f)) as (server, app):
        await server.wait_for('sync', 1)
        await server.push(1)
        await server.push(4)
        await until(lambda: len(events(app, 'push')) == 2)
        await stays(lambda: numbers(app) == []
                    and len(server.of('sync')) == 1, 'it does not wait', 0.3)
        await server.say(**synced(held[0], [stored(1), stored(2),
                                            stored(3)]))
        await until(lambda: numbers(app) == [1, 2, 3, 4])


async def test_after_connecting_again_only_what_is_new_is_asked_for():
    async with pair() as (server, app):
        await app.settle()
        for n in (1, 2):
            await server.push(n)
        await until(lambda: numbers(app) == [1, 2])
        server.answers['sync'] = lambda f: synced(f, [stored(3)])
        app.cut()
        await until(lambda: server.connections == 2)
        await app.settle()
        assert server.of('sync')[-1]['cursors'] == [{'with': str(BOB),
                                                     'seq': '2'}]
        assert numbers(app) == [1, 2, 3]


async def test_sync_needed_is_answered_by_sync_of_all():
    async with pair() as (server, app):
        await app.settle()
        await server.push(1)
        await until(lambda: numbers(app) == [1])
        server.answers['sync'] = lambda f: synced(f, [stored(2)])
        await server.say(type='sync_needed')
        await until(lambda: numbers(app) == [1, 2])
        assert len(server.of('conversations')) == 2


async def test_an_answer_that_leaves_a_hole_does_not_move_the_cursor():
    async with pair() as (server, app):
        await app.settle()
        server.answers['sync'] = lambda f: synced(f, [stored(3)])
        await server.push(1)
        await server.push(3)
        await server.wait_for('sync', 1)
        await until(lambda: events(app, 'hole'))
        assert numbers(app) == [1]


async def test_who_was_added_to_a_group_is_not_settled_before_it_was_read():
    async with pair() as (server, app):
        await app.settle()
        server.answers['sync'] = lambda f: None
        app.take({'type': 'room_ev', 'room': '7', 'event': 'joined',
                  'uid': str(ME)})
        assert not app.settled()
        await server.wait_for('sync', 1)
        assert not app.settled()


async def test_a_number_under_which_a_shown_cmid_comes_is_not_shown():
    async with pair() as (server, app):
        await app.settle()
        await server.push(1, cmid='same')
        await server.push(2, cmid='same')
        await server.push(3)
        await until(lambda: numbers(app) == [1, 3])
        assert [e.seq for e in events(app, 'twice')] == [2]


async def test_an_own_message_is_shown_when_it_is_acked():
    def ack(f):
        return {'type': 'ack', 'cmid': f['cmid'], 'msg_id': '7',
                'seq': '1', 'time_ms': '1'}

    async with pair(send=ack) as (_, app):
        got = await app.send(BOB, 'hello', 'c1')
        assert got['msg_id'] == '7'
        assert [(m.seq, m.body) for m in app.shown(BOB)] == [(1, 'hello')]


async def test_a_retryable_refusal_is_tried_again_with_the_same_cmid():
    tries = []

    def send(f):
        tries.append(asyncio.get_running_loop().time())
        if len(tries) == 1:
            return {'type': 'error', 'cmid': f['cmid'], 'code': 'busy',
                    'retryable': True, 'retry_after_ms': 300}
        return {'type': 'ack', 'cmid': f['cmid'], 'msg_id': '7', 'seq': '1'}

    async with pair(send=send) as (server, app):
        await app.send(BOB, 'hello')
        first, second = server.of('send')
        assert first == second
        assert tries[1] - tries[0] >= 0.3
        assert [e.extra[1] for e in events(app, 'send')] == [1, 2]


async def test_without_an_answer_a_message_is_sent_again(monkeypatch):
    monkeypatch.setattr('im_app.ANSWER_S', 0.5)
    async with pair() as (server, app):
        app.post(BOB, 'hello')
        first, second = (await server.wait_for('send', 2))[:2]
        assert first == second


async def test_after_connecting_again_what_has_no_ack_is_sent_in_order():
    async with pair() as (server, app):
        for n in range(5):
            app.post(BOB, n)
        first = await server.wait_for('send', 5)
        app.cut()
        again = (await server.wait_for('send', 10))[5:]
        assert again == first


async def test_a_refusal_for_good_ends_the_sending():
    def send(f):
        return {'type': 'error', 'cmid': f['cmid'], 'code': 'too_large'}

    async with pair(send=send) as (server, app):
        out = app.post(BOB, 'hello')
        await until(out.done.done)
        assert out.done.exception().code == 'too_large'
        assert app.unacked == {} and numbers(app) == []


def test_close_codes_say_what_to_do():
    assert {c: verdict(c) for c in (4001, 4002, 4003, 4099, 4004, 4100, 4101,
                                    4199, 1002, 1009, 1006, None)} == {
        4001: 'soon', 4002: 'soon', 4003: 'soon', 4099: 'soon',
        4004: 'later', 4100: 'refresh', 4101: 'stop', 4199: 'stop',
        1002: 'stop', 1009: 'stop', 1006: 'later', None: 'later'}


async def test_the_client_comes_back_after_4001_and_not_after_4101():
    async with pair() as (server, app):
        await server.ws.close(4001)
        await until(lambda: server.connections == 2)
        await app.settle()
        await server.ws.close(4101)
        await until(lambda: app.stopped)
        assert app.closed == [4001, 4101]
        await stays(lambda: server.connections == 2, 'it comes back', 0.3)


async def test_a_token_that_is_refused_is_refreshed():
    async with pair() as (server, app):
        await server.ws.close(4100)
        await until(lambda: server.connections == 2)
        assert app.user.refreshed == 1 and app.user.token == 'new'


async def test_nobody_connects_while_offline():
    async with pair() as (server, app):
        await app.settle()
        app.offline()
        await stays(lambda: server.connections == 1, 'it comes back', 0.5)
        app.online()
        await until(lambda: server.connections == 2)


async def test_an_answer_that_comes_with_the_end_does_not_count_as_synced():
    async with pair() as (server, app):
        await app.settle()
        await server.push(1)
        await until(lambda: numbers(app) == [1])
        held = []
        server.answers['sync'] = held.append
        await server.say(type='sync_needed')
        await until(lambda: held)
        # Answer and end are seen in one turn of the client's loop.
        app.take(synced(held[0]))
        app.there.clear()
        app.after_end()
        await stays(lambda: not app.conversations[BOB].live, 'it is live',
                    0.1)


async def test_the_answer_to_the_first_of_two_same_questions_counts(
        monkeypatch):
    monkeypatch.setattr('im_app.ANSWER_S', 0.3)
    async with pair(sync=lambda f: None) as (server, app):
        app.know(BOB)
        app.cut()
        first = (await server.wait_for('sync', 2))[0]
        await server.say(**synced(first, [stored(1)]))
        await until(lambda: numbers(app) == [1])


async def test_what_is_known_is_synced_while_the_list_is_waited_for():
    async with pair(sync=lambda f: synced(f, [stored(1)]),
                    conversations=lambda f: None) as (server, app):
        app.know(BOB)
        app.cut()
        await server.wait_for('conversations', 2)
        await until(lambda: numbers(app) == [1])


async def test_the_client_of_the_demo_asks_for_pushes_that_were_dropped():
    async with pair() as (server, app):
        await app.settle()
        s = await app.user.open()
        server.answers['sync'] = lambda f: synced(f, [stored(2), stored(3)])
        await server.push(1)
        await server.say(type='sync_needed')
        await server.push(3)
        await server.push(4)
        got = [int((await s.message(BOB))['seq']) for _ in range(4)]
        assert got == [1, 2, 3, 4]
        assert server.of('sync')[-1]['cursors'] == [
            {'with': str(BOB), 'seq': '1'}]
