"""Whatever the server closes a connection for, the client gets what was queued
before, then the close code: by ws and by wss alike, and also if it lags behind
and goes on sending meanwhile."""

import asyncio
import contextlib
import os
import re
import socket
import ssl
import struct
import subprocess

import pytest

from conftest import taken
from im_client import Socket
from im_wait import pause, until
from im_stack.base import free_port
from test_bad_input import frame, handshake
from test_existing_nginx import Nginx

CONF = """
load_module %(module)s;
%(user)s
worker_processes 1;
pid %(dir)s/nginx.pid;
error_log %(dir)s/error.log info;

events {
    worker_connections 512;
}

http {
    access_log off;
    client_body_temp_path %(dir)s/body;
    proxy_temp_path %(dir)s/proxy;
    fastcgi_temp_path %(dir)s/fastcgi;
    uwsgi_temp_path %(dir)s/uwsgi;
    scgi_temp_path %(dir)s/scgi;
    im_etcd %(etcd)s;
    im_jwt_key_file %(key)s;

    server {
        listen 127.0.0.1:%(port)d;
        listen 127.0.0.1:%(tls)d ssl;
        ssl_certificate %(dir)s/cert.pem;
        ssl_certificate_key %(dir)s/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;

        location = /ws {
            im_ws;
        }

        location = /short {
            im_ws;
            im_ws_ping 1s;
            im_ws_idle 2s;
            im_ws_auth_timeout 500ms;
        }
    }
}
"""

PUSHES = 100                   # of 1000 bytes: much more than ...
BUFFER = 8192                  # ... this
PONG = b'\x8a\x80abcd'


class Server(Nginx):

    def __init__(self, stack, folder):
        self.stack, self.ours, self.process = stack, True, None
        self.dir = str(folder)
        self.port = free_port(())
        self.tls = free_port((self.port,))
        subprocess.run(
            ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
             'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=localhost',
             '-keyout', self.dir + '/key.pem', '-out', self.dir + '/cert.pem'],
            check=True, timeout=30, stderr=subprocess.DEVNULL)
        with open(os.path.join(self.dir, 'nginx.conf'), 'w') as f:
            f.write(CONF % {
                'module': stack.binary('ngx_im_module.so'), 'dir': self.dir,
                'user': 'user root;' if os.getuid() == 0 else '',
                'etcd': stack.env['IM_ETCD'], 'port': self.port,
                'tls': self.tls, 'key': stack.env['IM_JWT_KEY_FILE']})

    def said(self, pattern):
        with open(os.path.join(self.dir, 'error.log')) as f:
            return len(re.findall(pattern, f.read()))

    def closing(self, code):
        """How many connections it has begun to close so."""
        return self.said(r': closing %d ' % code)

    async def has_closed(self, code, count):
        await until(lambda: self.closing(code) >= count, lambda: (code, count))


@pytest.fixture(scope='module')
def server(stack, tmp_path_factory):
    s = Server(stack, tmp_path_factory.mktemp('closing'))
    s.start().linked()
    yield s
    s.kill()
    errors = [e for e in s.errors() if '[emerg]' in e or '[alert]' in e]
    assert errors == []


class Laggard:
    """A client with a small buffer that reads only at the end."""

    def __init__(self, server, tls, token=None, path='/ws'):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        s.settimeout(20)
        s.connect(('127.0.0.1', server.tls if tls else server.port))
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            # a close_notify that is missing is an error
            s = context.wrap_socket(s, suppress_ragged_eofs=False)
        self.socket = s
        s.sendall(handshake(token).replace(b'/ws', path.encode(), 1))
        self.got = b''
        while (b'"auth_ok"' if token else b'\r\n\r\n') not in self.got:
            data = s.recv(65536)
            assert data, self.got
            self.got += data

    def say(self, data):
        """Sent, unless the other end has reset the connection."""
        for part in (data, b'\x89\x80abcd', b'\x89\x80abcd'):
            try:
                self.socket.sendall(part)
            except OSError:
                return
            pause(0.05)

    def rest(self):
        """All that comes until the end, which is no reset."""
        while True:
            data = self.socket.recv(65536)
            if not data:
                return self.got
            self.got += data


async def lagging(api, people, server, path='/ws'):
    """For ws and wss: a user, a connection, and pushes that it has not read."""
    async def one(tls):
        alice, bob = await people(api, 'alice', 'bob')
        client = await asyncio.to_thread(Laggard, server, tls, bob.token, path)
        # What this one has got, the other one was sent, too.
        other = await Socket.open('127.0.0.1:%d' % server.port, bob.token)
        for _ in range(PUSHES // 10):
            # It is not silent yet, however slow the machine is.
            await asyncio.to_thread(client.socket.sendall, PONG)
            await asyncio.gather(*(taken(alice.send, bob.uid, 'y' * 1000)
                                   for _ in range(10)))
        for _ in range(PUSHES):
            await other.expect('push')
        other.ws.transport.abort()
        return bob, client

    return await asyncio.gather(one(False), one(True))


async def ends(server, clients, before, code, data=b''):
    """Each client says data and more, then reads everything."""
    await server.has_closed(code, before + len(clients))
    for _, c in clients:
        await asyncio.to_thread(c.say, data)
    for what, (_, c) in zip(('ws', 'wss'), clients):
        got = await asyncio.to_thread(c.rest)
        assert got.count(b'"push"') == PUSHES, what
        at = got.rindex(b'\x88', 0, -2)
        assert struct.unpack('>H', got[at + 2:at + 4])[0] == code, what


async def test_an_ended_session_s_client_gets_all_pushes_and_4101(
        api, people, server):
    clients = await lagging(api, people, server)
    before = server.closing(4101)
    for user, _ in clients:
        await user.api.call('POST', '/v1/logout', user.token)
    await ends(server, clients, before, 4101)


@pytest.mark.parametrize('code, bad', [
    (1002, b'\xf1\x80abcd' + b'z' * 5000),               # reserved bits
    (1003, frame(2, b'\x08\x01')),                       # binary
    (1007, frame(1, b'\xff\xfe')),                       # no UTF-8
    (1009, frame(1, b'z' * 70000)),                      # too large
    (1000, frame(8, b'\x03\xe8')),                       # its own Close
], ids=lambda v: v if isinstance(v, int) else '')
async def test_a_client_that_is_at_fault_gets_all_pushes_and_the_code(
        api, people, server, code, bad):
    clients = await lagging(api, people, server)
    before = server.closing(code)
    for _, c in clients:
        await asyncio.to_thread(c.say, bad)
    await ends(server, clients, before, code)


async def test_a_silent_client_gets_all_pushes_and_4003(api, people, server):
    # One may be silent for too long before the other one is there.
    before = server.closing(4003)
    clients = await lagging(api, people, server, '/short')
    await ends(server, clients, before, 4003)


async def test_who_sends_no_token_in_time_is_told_4100(server):
    before = server.closing(4100)
    clients = [await asyncio.to_thread(Laggard, server, tls, None, '/short')
               for tls in (False, True)]
    await server.has_closed(4100, before + 2)
    for c in clients:
        await asyncio.to_thread(c.say, b'')
        got = await asyncio.to_thread(c.rest)
        assert struct.pack('>H', 4100) + b'no auth frame' in got


@pytest.mark.parametrize('tls', [False, True], ids=['ws', 'wss'])
async def test_a_client_that_floods_after_the_close_is_cut_off(server, tls):
    def flood(client):
        with contextlib.suppress(OSError):
            client.socket.sendall(frame(2, b''))
            for _ in range(4096):
                client.socket.sendall(b'z' * 65536)

    before = server.said('not read any longer')
    client = await asyncio.to_thread(Laggard, server, tls)
    await asyncio.to_thread(flood, client)
    assert server.said('not read any longer') == before + 1


async def test_a_client_that_closes_one_direction_gets_all(
        api, people, server):
    clients = await lagging(api, people, server)
    for _, c in clients:
        # by TLS there is no such thing but below it
        c.socket.sendall(frame(8, b'\x03\xe8'))
        if not isinstance(c.socket, ssl.SSLSocket):
            c.socket.shutdown(socket.SHUT_WR)
        got = await asyncio.to_thread(c.rest)
        assert got.count(b'"push"') == PUSHES


# Last: the worker of the other tests leaves.
async def test_a_reload_tells_4001_and_leaves_what_lingers_alone(
        api, people, server):
    clients = await lagging(api, people, server)
    ended = await lagging(api, people, server)
    before = server.closing(4001), server.closing(4101)
    for user, _ in ended:
        await user.api.call('POST', '/v1/logout', user.token)
    await server.has_closed(4101, before[1] + 2)
    server.process.send_signal(1)
    await server.has_closed(4001, before[0] + 2)
    await ends(server, clients, before[0], 4001)
    await ends(server, ended, before[1], 4101)
