"""im_crowd -- thousands of clients that ask at the same moment, in one process.

A client library for each of them would take the machine from the server that is
looked at.  So a Member writes its frames by hand (RFC 6455, masked with zeros),
and looks for its answers without decoding what it does not need.

Users are rows, and tokens are signed with the stack's key: to register them
would take 20 ms of a core for each.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
import re
import time

from im_client import Problem

OPENING = 100          # connections at a time
KIND = re.compile(rb'"type":"(\w+)"')
ID = re.compile(rb'"id":"(\d+)"')


def token(env, uid):
    """An access token of a session that nobody has ended."""
    def b64(data):
        return base64.urlsafe_b64encode(data).rstrip(b'=')
    with open(env['IM_JWT_KEY_FILE'], 'rb') as f:
        key = f.read().rstrip()
    now = int(time.time())
    head = b64(b'{"alg":"HS256","typ":"JWT"}') + b'.' + b64(json.dumps({
        'sub': str(uid), 'sid': b64(os.urandom(16)).decode(), 'dev': 'crowd',
        'typ': 'access', 'iat': now, 'exp': now + 3600}).encode())
    return (head + b'.' + b64(hmac.new(key, head, hashlib.sha256).digest())
            ).decode()


def users(mysql, count):
    """uids of new users; mysql runs a statement."""
    uids = random.sample(range(10 ** 18, 2 ** 63), count)
    mysql('INSERT INTO users (uid, name, password, created_ms) VALUES %s'
          % ', '.join("(%d, 'crowd.%d', '', 0)" % (u, u) for u in uids))
    return uids


class Member(asyncio.Protocol):
    """A connection of one user."""

    def __init__(self, uid, token):
        self.uid = uid
        self.token = token
        self.there = asyncio.get_running_loop().create_future()
        self.answers = {}          # id -> future of (kind, frame)
        self.data = bytearray()
        self.upgraded = False

    @classmethod
    async def connect(cls, env, uid):
        host, port = env['IM_HTTP'].split(':')
        _, m = await asyncio.get_running_loop().create_connection(
            lambda: cls(uid, token(env, uid)), host, int(port))
        m.transport.write((
            'GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n'
            'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
            'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
            'Authorization: Bearer %s\r\n\r\n' % (
                env['IM_HTTP'], m.token)).encode())
        async with asyncio.timeout(20):
            await m.there
        return m

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        for f in [self.there, *self.answers.values()]:
            if not f.done():
                f.set_exception(Problem('the connection of %d has ended'
                                        % self.uid))
                f.exception()      # nobody may be waiting

    def data_received(self, data):
        self.data += data
        if not self.upgraded:
            end = self.data.find(b'\r\n\r\n')
            if end < 0:
                return
            if not self.data.startswith(b'HTTP/1.1 101 '):
                self.transport.abort()
                return
            del self.data[:end + 4]
            self.upgraded = True
        while len(self.data) >= 2:
            n, at = self.data[1], 2
            if n > 125:
                at = 4 if n == 126 else 10
                n = int.from_bytes(self.data[2:at], 'big')
            if len(self.data) < at + n:
                break
            self.take(bytes(self.data[at:at + n]))
            del self.data[:at + n]

    def take(self, frame):
        kind = KIND.search(frame)
        kind = kind[1].decode() if kind else ''
        if kind == 'auth_ok' and not self.there.done():
            self.there.set_result(None)
        if kind.endswith('_res') or kind == 'error':
            n = ID.search(frame)
            answer = self.answers.pop(int(n[1]) if n else 0, None)
            if answer is not None and not answer.done():
                answer.set_result((kind, frame))

    def ask(self, n, kind, **args):
        """A future of (kind, frame as bytes): the answer to question n."""
        text = json.dumps(dict(args, type=kind, id=str(n))).encode()
        size = bytes((0x80 | len(text),)) if len(text) < 126 else \
            b'\xfe' + len(text).to_bytes(2, 'big')
        self.answers[n] = asyncio.get_running_loop().create_future()
        self.transport.write(b'\x81' + size + b'\0\0\0\0' + text)
        return self.answers[n]


async def open_all(env, uids):
    """A Member for each."""
    at_once = asyncio.Semaphore(OPENING)

    async def one(uid):
        async with at_once:
            return await Member.connect(env, uid)

    return await asyncio.gather(*map(one, uids))


async def come_back(members, other):
    """All ask at the same moment what they have missed, as after connecting.
    [(seconds until both answers came, refusals, whether it is complete)]"""
    async def one(m):
        began = time.monotonic()
        answers = await asyncio.gather(
            m.ask(1, 'conversations', limit=100),
            m.ask(2, 'sync', limit=50,
                  cursors=[{'with': str(other), 'seq': '0'}]))
        took = time.monotonic() - began
        refusals = [json.loads(f) for k, f in answers if k == 'error']
        name = b'"%d"' % other
        return took, refusals, not refusals and all(
            name in f for _, f in answers) and b'"body"' in answers[1][1]

    async with asyncio.timeout(60):
        return await asyncio.gather(*map(one, members))
