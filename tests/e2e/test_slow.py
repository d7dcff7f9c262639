"""A client that reads too slowly loses no message unknowingly, and hurts
nobody else."""

import asyncio
import json
import re
import socket
import struct

from im_client import WAIT, new_cmid
from im_wait import pace
from test_bad_input import frame, handshake

COUNT = 3000
BODY = 'x' * 4096              # in all more than the kernel's buffers hold


class SlowReader:
    """A WebSocket connection that reads when we say so, and little at a
    time."""

    @classmethod
    async def open(cls, api, token):
        self = cls()
        self.loop = asyncio.get_running_loop()
        self.data = b''
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)
        host, port = api.address.split(':')
        await self.loop.sock_connect(self.socket, (host, int(port)))
        await self.loop.sock_sendall(self.socket, handshake(token))
        while b'\r\n\r\n' not in self.data:
            await self.more()
        head, self.data = self.data.split(b'\r\n\r\n', 1)
        self.instance = re.search(rb'X-IM-Instance: (\S+)', head)[1].decode()
        assert (await self.receive())['type'] == 'auth_ok'
        return self

    async def more(self):
        data = await asyncio.wait_for(
            self.loop.sock_recv(self.socket, 65536), WAIT)
        assert data, 'the connection has ended'
        self.data += data

    async def take(self, n):
        while len(self.data) < n:
            await self.more()
        out, self.data = self.data[:n], self.data[n:]
        return out

    async def next(self):
        """Opcode and payload."""
        a, b = await self.take(2)
        n = b & 127
        if n == 126:
            n, = struct.unpack('>H', await self.take(2))
        elif n == 127:
            n, = struct.unpack('>Q', await self.take(8))
        return a & 15, await self.take(n)

    async def receive(self):
        while True:
            opcode, payload = await self.next()
            assert opcode != 8, 'closed: %r' % payload
            if opcode == 1:
                return json.loads(payload)

    async def write(self, **fields):
        await self.loop.sock_sendall(
            self.socket, frame(1, json.dumps(fields).encode()))


async def say(sender, to, count, window=50, reader=None):
    """Sends count messages; all are acknowledged when it returns, and the
    reader, a task of ours on a busy machine, is never far behind."""
    acks = waiting = sent = 0
    while acks < count:
        while waiting < window and sent < count:
            while reader and sent - len(reader) >= window:
                await pace(0.001)
            await sender.write(type='send', to=str(to), cmid=new_cmid(),
                               body=BODY)
            sent += 1
            waiting += 1
        f = await sender.receive()
        if f['type'] == 'sync_needed':
            continue               # about what was before
        assert f['type'] == 'ack', f
        acks += 1
        waiting -= 1


async def beside(user, instance):
    """A connection to this worker."""
    for _ in range(200):
        s = await user.connect()
        if s.instance == instance:
            return s
        await s.close()
    raise AssertionError('%s takes no connection' % instance)


async def test_who_does_not_read_is_told_to_sync_and_stays(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    slow = await SlowReader.open(api, bob.token)
    # What one of them was sent, the other one was, too.
    fast = await beside(bob, slow.instance)
    sender = await alice.connect()

    seqs = [0]

    async def read_fast():
        while seqs[-1] < COUNT:
            seqs.append(int((await fast.expect('push'))['seq']))

    await asyncio.gather(read_fast(),
                         say(sender, bob.uid, COUNT, reader=seqs))
    assert seqs == list(range(COUNT + 1))
    assert fast.frames == []

    got = []
    while True:
        f = await slow.receive()
        if f['type'] != 'push':
            break
        got.append(int(f['seq']))
    assert f == {'type': 'sync_needed'}
    assert got == list(range(1, len(got) + 1))
    assert 0 < len(got) < COUNT

    # It is open, is pushed to again, and can ask for the rest; it is told
    # once.
    await sender.send(bob.uid, 'more')
    f = await slow.receive()
    assert (f['type'], f['seq']) == ('push', str(COUNT + 1))
    await slow.write(type='history', **{'with': str(alice.uid)}, id='7',
                     after_seq=str(got[-1]), limit=10)
    f = await slow.receive()
    assert (f['type'], f['id']) == ('history_res', '7')
    assert [int(m['seq']) for m in f['messages']] == list(
        range(got[-1] + 1, got[-1] + 11))
    await slow.write(type='ping', id='1')
    assert await slow.receive() == {'type': 'pong', 'id': '1'}


async def test_who_asks_without_reading_is_closed_with_4002(api, people):
    bob = await people(api, 'bob')
    ping = frame(9, b'x' * 125)
    for count in (500, 10000, 20000, 40000, 80000):
        # more and more, until it is more than the kernel's buffers hold
        slow = await SlowReader.open(api, bob.token)
        await asyncio.wait_for(
            slow.loop.sock_sendall(slow.socket, ping * count), WAIT)
        for n in range(count):
            opcode, payload = await slow.next()
            if opcode != 10:
                break
        else:
            assert count < 80000
            slow.socket.close()
            continue
        assert (opcode, payload[:2]) == (8, struct.pack('>H', 4002))
        assert count > 500
        break


async def test_who_is_slow_but_not_too_slow_gets_everything(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    slow = await SlowReader.open(api, bob.token)
    sender = await alice.connect()
    await say(sender, bob.uid, 30)
    assert [(await slow.receive())['seq'] for _ in range(30)] == [
        str(n) for n in range(1, 31)]
