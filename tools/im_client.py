"""im_client -- a user of the messenger, for the demo and the tests.

HTTP by aiohttp, WebSocket by websockets, both as Debian has them.  Every wait
has a deadline; what goes wrong is a Problem with one sentence.
"""

import asyncio
import itertools
import json
import os

import aiohttp
import websockets

# Seconds, for anything; a sanitizer's binaries need more.
WAIT = 30 if 'asan' in os.environ.get('IM_TEST_BUILD', '') else 10

_cmids = itertools.count(1)


def new_cmid():
    """A message id that no other client has used."""
    return '%s-%d' % (os.urandom(6).hex(), next(_cmids))


def address(to):
    """The fields of a message to a user, or to a room: (0, id)."""
    if isinstance(to, tuple):
        return {'room': str(to[1])}
    return {'to': str(to)}


class Problem(Exception):
    """An answer that is not the one wanted; body is the problem document,
    after the header Retry-After, or None."""

    def __init__(self, what, status=0, body=None, after=None):
        self.status = status
        self.body = body or {}
        self.after = after
        self.code = self.body.get('code', '')
        if status:
            what = '%s: %d %s' % (what, status,
                                  self.body.get('detail', self.code))
        super().__init__(what.rstrip())


class Api:
    """The HTTP endpoints of conf/im_api.conf, at host:port."""

    def __init__(self, address):
        self.address = address
        self.url = 'http://' + address
        self.session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=WAIT))
        self.sockets = []          # of our users, ended with us
        self.ended = False

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.ended = True
        for s in self.sockets:
            s.ws.transport.abort()
        await self.session.close()

    async def call(self, method, path, token=None, want=(200, 201, 204), **kw):
        headers = kw.pop('headers', {})
        if token:
            headers['Authorization'] = 'Bearer ' + token
        # A kept connection may have ended with its worker: asking again is
        # safe.
        for tries in (2 if method == 'GET' else 1, 1):
            try:
                async with self.session.request(method, self.url + path,
                                                headers=headers, **kw) as r:
                    text = await r.text()
                break
            except (aiohttp.ClientError, asyncio.TimeoutError) as e:
                if (tries == 1 or not isinstance(
                        e, aiohttp.ClientConnectionError)):
                    raise Problem('%s %s: %s' % (
                        method, path, str(e) or 'no answer')) from None
        try:
            body = json.loads(text) if text else {}
        except ValueError:
            raise Problem('%s %s: the answer is not JSON' % (method, path),
                          r.status) from None
        if r.status not in want:
            raise Problem('%s %s' % (method, path), r.status, body,
                          r.headers.get('Retry-After'))
        return Answer(body, r.status, dict(r.headers))

    async def register(self, name, password):
        r = await self.call('POST', '/v1/register',
                            json={'name': name, 'password': password})
        return User(self, int(r['uid']), name, password)

    async def login(self, user, device=None):
        body = {'name': user.name, 'password': user.password}
        if device:
            body['device'] = device
        return await self.call('POST', '/v1/login', json=body)


class Answer(dict):
    """A JSON object, with status and headers of its response."""

    def __init__(self, body, status, headers):
        super().__init__(body)
        self.status = status
        self.headers = headers


class User:
    """Somebody who is registered, and after log_in() has tokens."""

    def __init__(self, api, uid, name, password):
        self.api = api
        self.uid = uid
        self.name = name
        self.password = password
        self.token = self.refresh_token = None

    async def log_in(self, device=None):
        r = await self.api.login(self, device)
        self.token = r['access_token']
        self.refresh_token = r['refresh_token']
        return self

    async def ticket(self):
        """For one handshake that can set no header, as in a browser."""
        r = await self.api.call('POST', '/v1/ws-ticket', self.token)
        return r['ticket']

    async def send(self, to, body, cmid=None):
        return await self.api.call('POST', '/v1/messages', self.token, json={
            'cmid': cmid or new_cmid(), 'body': body, **address(to)})

    async def history(self, other, **args):
        return await self.api.call(
            'GET', '/v1/messages', self.token,
            params=dict({'with': str(other)}, **{k: str(v) for k, v
                                                 in args.items()}))

    async def connect(self, other_than=(), protocol='im.v1.json',
                      address=None):
        """A Socket on a worker that is not one of other_than (instances).
        The kernel chooses the worker, so this may take several tries."""
        for _ in range(200):
            s = await Socket.open(address or self.api.address, self.token,
                                  protocol)
            self.api.sockets.append(s)
            if s.instance not in other_than:
                return s
            await s.close()
        raise Problem('no worker but %s takes connections'
                      % ', '.join(other_than))


class Socket:
    """A WebSocket connection that speaks im.v1.json."""

    def __init__(self, ws):
        self.ws = ws
        self.instance = ws.response_headers.get('X-IM-Instance', '')
        self.frames = []           # received while something else was awaited
        self.asked = 0             # questions
        self.have = {}             # the other one's uid -> seq of the last
        self.auth_ok = None

    @classmethod
    async def open(cls, address, token, protocol='im.v1.json', ticket=None,
                   bearer=None):
        """Logs in with a token in a header, a ticket, or a token in the list
        of sub-protocols; by a frame of the caller's if none is given."""
        headers = {'Authorization': 'Bearer ' + token} if token else {}
        offer = ([protocol] if protocol else []) + (
            ['bearer.' + bearer] if bearer else [])
        token = token or ticket or bearer
        try:
            ws = await websockets.connect(
                'ws://%s/ws%s' % (address, '?ticket=' + ticket if ticket
                                  else ''), extra_headers=headers,
                subprotocols=offer or None,
                open_timeout=WAIT, close_timeout=3, ping_interval=None,
                max_queue=None, compression=None)
        except (OSError, asyncio.TimeoutError,
                websockets.WebSocketException) as e:
            problem = Problem('ws://%s/ws: %s' % (address, e or 'no answer'))
            problem.status = getattr(e, 'status_code', 0)
            raise problem from None
        s = cls(ws)
        if token and protocol != 'im.v1.proto':
            s.auth_ok = await s.expect('auth_ok')
        return s

    async def close(self):
        await self.ws.close()

    async def receive(self, wait=WAIT):
        """The next frame; Problem when the connection ends first."""
        try:
            return json.loads(await asyncio.wait_for(self.ws.recv(), wait))
        except asyncio.TimeoutError:
            raise Problem('no frame within %g s' % wait) from None
        except websockets.ConnectionClosed as e:
            raise Problem('the connection was closed: %s' % e) from None

    async def expect(self, kind, wait=WAIT, cmid=None):
        """The next frame of this type, or of one of these; others are kept for
        later.  An error with this cmid is a Problem."""
        kinds = kind if isinstance(kind, tuple) else (kind,)
        for n, f in enumerate(self.frames):
            if f['type'] in kinds:
                return self.frames.pop(n)
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            try:
                f = await self.receive(max(until - loop.time(), 0.001))
            except Problem as e:
                raise Problem('waiting for "%s": %s; got %s' % (
                    '" or "'.join(kinds), e,
                    self.frames[-3:] or 'nothing')) from None
            if f['type'] in kinds:
                return f
            if cmid and f['type'] == 'error' and f.get('cmid') == cmid:
                raise Problem('waiting for "%s": %s' % (kind, f), 0, f)
            self.frames.append(f)

    async def message(self, other, wait=WAIT):
        """The next one of this user or of oneself on another device: a push,
        or what `sync` has after the server said that it dropped pushes."""
        while True:
            f = await self.expect(('push', 'sync_needed'), wait)
            if f['type'] == 'sync_needed':
                self.frames[:0] = await self.missed(other)
            elif self.is_new(f, other):
                return f

    def is_new(self, f, other):
        """Whether this push is of the conversation with the other one and has
        not been there: it may follow a sync that had it, too."""
        if ('room' in f or str(other) not in (f['from'], f.get('to'))
                or int(f['seq']) <= self.have.get(other, 0)):
            return False
        self.have[other] = int(f['seq'])
        return True

    async def missed(self, other):
        """As pushes, the messages after the last one of message()."""
        found, seq, pending = [], self.have.get(other, 0), True
        while pending:
            f = await self.question('sync', cursors=[
                {'with': str(other), 'seq': str(seq)}])
            c = f['conversations'][0]
            found += [dict(m, type='push') for m in c['messages']]
            seq = int(c['next'])
            pending = c.get('more') or c.get('pending')
            if c.get('pending'):
                await asyncio.sleep(0.1)   # they are not stored yet
        return found

    async def question(self, kind, **args):
        """Its answer; one that is refused for now is asked again, as clients
        must."""
        until = asyncio.get_running_loop().time() + 2 * WAIT
        while True:
            self.asked += 1
            number = 'q%d' % self.asked
            await self.write(type=kind, id=number, **args)
            f = await self.answer(number)
            if f['type'] != 'error':
                return f
            if (not f.get('retryable')
                    or asyncio.get_running_loop().time() > until):
                raise Problem('%s: %s' % (kind, f), 0, f)
            await asyncio.sleep(int(f.get('retry_after_ms', 100)) / 1000)

    async def answer(self, number):
        """The frame with this id; others are kept for later."""
        while True:
            f = await self.receive()
            if f.get('id') == number:
                return f
            self.frames.append(f)

    async def nothing(self, kind, seconds=0.5):
        """True when no frame of this type comes."""
        try:
            await self.expect(kind, seconds)
        except Problem:
            return True
        return False

    async def write(self, **frame):
        try:
            await asyncio.wait_for(self.ws.send(json.dumps(frame)), WAIT)
        except asyncio.TimeoutError:
            raise Problem('nothing can be written for %d s' % WAIT) from None
        except websockets.ConnectionClosed as e:
            raise Problem('the connection was closed: %s' % e) from None

    async def send(self, to, body, cmid=None):
        """Sends a message and returns its ack."""
        cmid = cmid or new_cmid()
        await self.write(type='send', to=str(to), cmid=cmid, body=body)
        ack = await self.expect('ack', cmid=cmid)
        if ack['cmid'] != cmid:
            raise Problem('ack of "%s" for "%s"' % (ack['cmid'], cmid))
        return ack


async def exchange(a, b, uid_a, uid_b, count, window=100):
    """Two sockets send count messages to each other at the same time, at most
    window of them without ack.  Returns the pushes that each received and the
    acks that each got, in order."""
    async def one(me, to):
        acks, pushes = [], []
        free = asyncio.Semaphore(window)

        async def write():
            for n in range(count):
                await asyncio.wait_for(free.acquire(), WAIT)
                await me.write(type='send', to=str(to), cmid=new_cmid(),
                               body={'n': n})

        async def read():
            while len(acks) < count or len(pushes) < count:
                f = await me.expect(('ack', 'push', 'sync_needed', 'error'))
                if f['type'] == 'ack':
                    acks.append(f)
                    free.release()
                elif f['type'] == 'sync_needed':
                    me.frames[:0] = await me.missed(to)
                elif f['type'] == 'error':
                    raise Problem('a message is refused: %s' % f, 0, f)
                elif me.is_new(f, to) and f['from'] == str(to):
                    pushes.append(f)

        await asyncio.gather(write(), read())
        return pushes, acks

    return await asyncio.gather(one(a, uid_b), one(b, uid_a))
