"""im_ws_window: a client that does not wait for its acks is read as fast as it
is answered; none of its messages is refused, and nobody waits behind it."""

import asyncio
import json
import re
import socket
import struct

from im_client import new_cmid
from im_wait import pace, tries
from test_bad_input import frame, handshake

FLOOD = 60000
BODY = 'x' * 500
OTHERS = 50                    # messages of somebody else meanwhile
BOUND_KIB = 16 * 1024          # what a worker may grow by; the flood is 35 MB


def resident_kib(pid):
    with open('/proc/%d/status' % pid) as f:
        return int(re.search(r'VmRSS:\s+(\d+) kB', f.read())[1])


class Flood:
    """A connection that writes as fast as it is read, and reads on its own."""

    @classmethod
    async def open(cls, api, user):
        self = cls()
        host, port = api.address.split(':')
        self.reader, self.writer = await asyncio.open_connection(
            host, int(port), limit=1 << 20)
        self.writer.write(handshake(user.token))
        head = (await self.reader.readuntil(b'\r\n\r\n')).decode()
        self.instance = re.search(r'X-IM-Instance: (\S+)', head)[1]
        assert (await self.receive())['type'] == 'auth_ok'
        return self

    async def receive(self):
        while True:
            first, n = await self.reader.readexactly(2)
            if n == 126:
                n, = struct.unpack('>H', await self.reader.readexactly(2))
            elif n == 127:
                n, = struct.unpack('>Q', await self.reader.readexactly(8))
            payload = await self.reader.readexactly(n)
            assert first & 15 != 8, 'closed: %r' % payload
            if first & 15 == 1:
                return json.loads(payload)

    async def write(self, to, count, body, first=0):
        for i in range(first, first + count):
            self.writer.write(frame(1, json.dumps({
                'type': 'send', 'to': str(to), 'cmid': 'flood.%d' % i,
                'body': body}).encode()))
            if i % 64 == 0:
                await self.writer.drain()
                await pace(0)          # whoever writes must read, too
        await self.writer.drain()

    async def acks(self, count):
        """cmid and seq of each ack; nothing else may come."""
        acks = []
        while len(acks) < count:
            f = await self.receive()
            assert f['type'] == 'ack', f
            acks.append((f['cmid'], int(f['seq'])))
        return acks

    def close(self):
        self.writer.close()


async def beside(user, instance):
    """A connection to this worker."""
    async for _ in tries(lambda: instance + ' takes no connection', 30):
        s = await user.connect()
        if s.instance == instance:
            return s
        await s.close()


async def test_60000_messages_at_once_are_acked_in_order_and_nobody_waits(
        api, people):
    alice, bob, carol, dave = await people(api, 'alice', 'bob', 'carol',
                                           'dave')
    flood = await Flood.open(api, alice)
    other = await beside(carol, flood.instance)
    pid = int(flood.instance.rsplit('-', 2)[1])
    before = resident_kib(pid)

    writing = asyncio.create_task(flood.write(bob.uid, FLOOD, BODY))
    acking = asyncio.create_task(flood.acks(FLOOD))

    # what somebody else says by the same worker is acked while the flood lasts
    between = 0
    largest = before
    for i in range(OTHERS):
        await other.send(dave.uid, i)
        between += not acking.done()
        largest = max(largest, resident_kib(pid))
    assert between == OTHERS

    await writing
    acks = await acking
    assert acks == [('flood.%d' % i, i + 1) for i in range(FLOOD)]
    assert max(largest, resident_kib(pid)) - before < BOUND_KIB
    flood.close()


async def test_large_bodies_are_counted_by_their_bytes(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    flood = await Flood.open(api, alice)
    body = 'x' * 60000
    writing = asyncio.create_task(flood.write(bob.uid, 300, body))
    acks = await flood.acks(300)
    await writing
    assert acks == [('flood.%d' % i, i + 1) for i in range(300)]
    flood.close()


async def test_ping_and_close_behind_a_full_window_are_answered(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    flood = await Flood.open(api, alice)
    cmids = ['flood.%d' % i for i in range(2000)]
    data = b''.join(frame(1, json.dumps({
        'type': 'send', 'to': str(bob.uid), 'cmid': c, 'body': 1}).encode())
        for c in cmids)
    # a WebSocket ping, a ping frame and the Close, all sent at once
    flood.writer.write(data + frame(9, b'p') + frame(1, b'{"type":"ping",'
                       b'"id":"5"}') + frame(8, b'\x03\xe8'))
    seen = []
    code = None
    pongs = 0
    while code is None:
        first, n = await flood.reader.readexactly(2)
        if n == 126:
            n, = struct.unpack('>H', await flood.reader.readexactly(2))
        payload = await flood.reader.readexactly(n)
        if first & 15 == 8:
            code = payload
        elif first & 15 == 10:
            pongs += payload == b'p'
        else:
            f = json.loads(payload)
            seen.append(f.get('cmid') or f['id'])
    assert code[:2] == b'\x03\xe8' and pongs == 1
    assert '5' in seen
    # the last ones may have no ack before the Close, but all are in order
    acked = [c for c in seen if c != '5']
    assert acked == cmids[:len(acked)] and len(acked) > 1700
    assert await flood.reader.read() == b''


async def test_a_client_that_goes_while_its_window_is_full_is_gone(
        api, people):
    alice, bob = await people(api, 'alice', 'bob')
    watcher = await bob.connect()
    await watcher.write(type='presence_sub', id='1', add=[str(alice.uid)])
    await watcher.expect('presence_res')
    flood = await Flood.open(api, alice)
    assert (await watcher.expect('presence'))['users'][0]['online'] is True
    for i in range(5000):
        flood.writer.write(frame(1, json.dumps({
            'type': 'send', 'to': str(bob.uid), 'cmid': new_cmid(),
            'body': i}).encode()))
    # a reset, with much that was not read on either side
    flood.writer.get_extra_info('socket').setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    flood.writer.transport.abort()
    event = await watcher.expect('presence', 30)
    assert event['users'][0]['online'] is False
