"""im_probe -- how long the others wait while a large room is served.

One connection to each worker sends a WebSocket ping every 10 ms and waits for
the pong.  Both are handled by the loop that serves the room, between its turns,
so the time in between is the stall of any other connection, plus what the
machine takes to wake us up; `idle()` measures that beforehand.
"""

import base64
import os
import socket
import struct
import threading
import time

EVERY_S = 0.01
WAIT_S = 5
TRIES = 60             # connections until each worker has one


def percentiles(ms):
    ms = sorted(ms)
    at = [ms[min(int(len(ms) * q), len(ms) - 1)] for q in (0.5, 0.99, 1)]
    return {'p50_ms': round(at[0], 2), 'p99_ms': round(at[1], 2),
            'max_ms': round(at[2], 2), 'pings': len(ms)}


class Connection:

    def __init__(self, address, token):
        host, port = address.rsplit(':', 1)
        self.s = socket.create_connection((host, int(port)), WAIT_S)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b''
        self.s.sendall((
            'GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n'
            'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
            'Sec-WebSocket-Key: %s\r\n'
            'Sec-WebSocket-Protocol: im.v1.json\r\n'
            'Authorization: Bearer %s\r\n\r\n' % (
                address, base64.b64encode(os.urandom(16)).decode(),
                token)).encode())
        while b'\r\n\r\n' not in self.data:
            self.more()
        head, self.data = self.data.split(b'\r\n\r\n', 1)
        lines = head.decode().split('\r\n')
        if ' 101 ' not in lines[0]:
            raise OSError(lines[0])
        self.instance = next(text.split(': ')[1] for text in lines
                             if text.startswith('X-IM-Instance'))
        self.frame(1)              # auth_ok

    def need(self, size):
        while len(self.data) < size:
            self.more()

    def more(self):
        part = self.s.recv(65536)
        if not part:
            raise OSError('the connection has ended')
        self.data += part

    def frame(self, wanted):
        """The payload of the next frame with this opcode."""
        while True:
            self.need(2)
            opcode, size, head = self.data[0] & 15, self.data[1], 2
            if size == 126:
                self.need(4)
                size, head = struct.unpack('>H', self.data[2:4])[0], 4
            self.need(head + size)
            payload = self.data[head:head + size]
            self.data = self.data[head + size:]
            if opcode == wanted:
                return payload

    def ping(self):
        """Milliseconds."""
        begin = time.monotonic()
        # A mask of zeros changes nothing.
        self.s.sendall(b'\x89\x81\0\0\0\0x')
        self.frame(10)
        return (time.monotonic() - begin) * 1000


class Probe:

    def __init__(self, address, token, workers):
        self.by_worker = {}
        for _ in range(TRIES):
            c = Connection(address, token)
            if c.instance in self.by_worker:
                c.s.close()
            self.by_worker.setdefault(c.instance, c)
            if len(self.by_worker) == workers:
                break
        if len(self.by_worker) < workers:
            raise OSError('no connection to each of %d workers in %d tries'
                          % (workers, TRIES))
        self.times = {}
        self.failed = []
        self.ended = threading.Event()
        self.threads = []

    def watch(self, c):
        times = self.times[c.instance] = []
        try:
            while not self.ended.wait(EVERY_S):
                times.append(c.ping())
        except OSError as e:
            self.failed.append(e)

    def start(self):
        self.ended.clear()
        self.threads = [threading.Thread(target=self.watch, args=(c,))
                        for c in self.by_worker.values()]
        for t in self.threads:
            t.start()

    def stop(self):
        """Percentiles over all workers."""
        self.ended.set()
        for t in self.threads:
            t.join(2 * WAIT_S)
        # No pong is no short one.
        if self.failed or not all(self.times.values()):
            raise OSError('no pong: %s' % self.failed)
        return percentiles([x for t in self.times.values() for x in t])

    def idle(self, seconds=2):
        self.start()
        time.sleep(seconds)
        return self.stop()

    def close(self):
        self.ended.set()
        for c in self.by_worker.values():
            c.s.close()
