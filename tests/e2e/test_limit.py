"""im_limit over all workers of an nginx, and over real connections: who asks
too often is refused or slowed down, and nobody else."""

import os
import re
import signal
import socket
import threading

import pytest

from im_client import Api, new_cmid
from im_crowd import token
from im_stack.base import free_port
from im_wait import lasts, tries
from test_existing_nginx import Nginx

CONF = """
load_module %(module)s;
%(user)s
worker_processes %(workers)d;
pid %(dir)s/nginx.pid;
error_log %(dir)s/error.log notice;

events {
    worker_connections 1024;
}

http {
    log_format limits '$pid $status $im_limit_status';
    access_log %(dir)s/access.log limits;
    client_body_temp_path %(dir)s/body;
    proxy_temp_path %(dir)s/proxy;
    fastcgi_temp_path %(dir)s/fastcgi;
    uwsgi_temp_path %(dir)s/uwsgi;
    scgi_temp_path %(dir)s/scgi;
    im_jwt_key_file %(key)s;
    %(http)s

    server {
        # the kernel shares connections between the workers
        listen 127.0.0.1:%(port)d reuseport sndbuf=4k;
        %(server)s
    }
}
"""

# Without im_etcd: what passes is answered 503 at once.
ALONE = """
        location = /me {
            im_limit zone=z rate=1r/h burst=%d nodelay;
            im_api GET Me;
        }
        location = /login {
            im_limit zone=z rate=1r/h;
            im_api Login;
        }
"""


class Limited(Nginx):
    """An nginx with limits."""

    def __init__(self, stack, folder, http, server, workers=2):
        self.stack = stack
        self.ours = True
        self.dir = str(folder)
        self.port = free_port(())
        self.address = '127.0.0.1:%d' % self.port
        self.process = None
        self.values = {
            'dir': self.dir, 'port': self.port, 'http': http,
            'server': server, 'workers': workers,
            'key': stack.env['IM_JWT_KEY_FILE'],
            'user': 'user root;' if os.getuid() == 0 else '',
            'module': stack.binary('ngx_im_module.so')}
        self.write()

    def write(self, **values):
        with open(os.path.join(self.dir, 'nginx.conf'), 'w') as f:
            f.write(CONF % dict(self.values, **values))

    def log(self):
        with open(os.path.join(self.dir, 'error.log')) as f:
            return f.read()

    def served(self):
        """Worker, status, status of the limit: of each request."""
        with open(os.path.join(self.dir, 'access.log')) as f:
            return [tuple(line.split(' ')) for line in f.read().splitlines()]

    def ask(self, path, uid=None, source=None, body=b''):
        """The status of a request on a connection of its own."""
        head = ['%s %s HTTP/1.1' % ('POST' if body else 'GET', path),
                'Host: here', 'Connection: close']
        if uid:
            head.append('Authorization: Bearer '
                        + token(self.stack.env, uid))
        if body:
            head += ['Content-Type: application/json',
                     'Content-Length: %d' % len(body)]
        with socket.create_connection(
                ('127.0.0.1', self.port), 20,
                source_address=(source, 0) if source else None) as s:
            s.sendall('\r\n'.join(head + ['', '']).encode() + body)
            data = b''
            while True:
                more = s.recv(65536)
                if not more:
                    return int(data.split(b' ', 2)[1])
                data += more

    def pipeline(self, path, count):
        """Statuses of so many requests without a token, sent at once on a
        connection with small buffers."""
        request = ('GET %s HTTP/1.1\r\nHost: here\r\n\r\n' % path).encode()
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(20)
            s.connect(('127.0.0.1', self.port))
            threading.Thread(target=s.sendall, args=(request * count,),
                             daemon=True).start()
            data = b''
            while data.count(b'"status":') < count:
                more = s.recv(1000)
                assert more, data[-500:]
                data += more
            return re.findall(rb'HTTP/1.1 (\d+) ', data)

    def reload(self):
        old = self.workers()
        self.process.send_signal(signal.SIGHUP)
        for _ in tries('new workers, and no old one', 30):
            if len(self.workers() - old) >= 2 and not self.workers() & old:
                return


@pytest.fixture
def limited(stack, tmp_path):
    made = []

    def make(*args, **kw):
        made.append(Limited(stack, tmp_path, *args, **kw))
        return made[-1].start()

    yield make
    for n in made:
        n.kill()


def test_two_workers_count_together(limited):
    n = limited('im_limit_zone z:1m key=user;', ALONE % 9)
    statuses = []
    for _ in tries('both workers serve', 30):
        statuses += [n.ask('/me', 11) for _ in range(20)]
        if len({pid for pid, _, _ in n.served()}) == 2:
            break
    statuses += [n.ask('/me', 11) for _ in range(20)]
    assert statuses[:10] == [503] * 10
    assert set(statuses[10:]) == {429}
    assert n.ask('/me', 12) == 503
    assert {s for _, _, s in n.served()} == {'PASSED', 'REJECTED'}
    # a line at the first refusal; the others are counted until the next one
    lines = re.findall(r'\[warn\].*(im_limit: .*)', n.log())
    assert lines == ['im_limit: zone "z": 1 refused, the last one: '
                     'Me of user 11']
    assert n.stop() == 0
    assert n.errors() == []


def test_a_reload_keeps_the_zone_and_another_size_begins_anew(limited):
    n = limited('im_limit_zone z:1m key=user;', ALONE % 1)
    assert [n.ask('/me', 11) for _ in range(3)] == [503, 503, 429]
    n.reload()
    assert n.ask('/me', 11) == 429
    # the same with another burst: the bucket stays
    n.write(server=ALONE % 2)
    n.reload()
    assert [n.ask('/me', 11) for _ in range(2)] == [503, 429]
    n.write(http='im_limit_zone z:2m key=user;')
    n.reload()
    assert n.ask('/me', 11) == 503
    assert n.stop() == 0


def test_a_reload_with_another_key_is_refused_and_the_old_one_goes_on(limited):
    n = limited('im_limit_zone z:1m key=user;', ALONE % 1)
    old = n.workers()
    n.write(http='im_limit_zone z:1m key=address;')
    n.process.send_signal(signal.SIGHUP)
    for _ in tries(n.log, 20):
        if ('im_limit_zone: zone "z" has key=address, and had key=user before:'
                ' give it another name') in n.log():
            break
    assert n.workers() == old
    assert n.ask('/me', 11) == 503


def test_a_full_zone_forgets_the_oldest_and_says_so(limited):
    n = limited('im_limit_zone z:32k key=address;', ALONE % 0, workers=1)
    body = b'{"name":"bob","password":"correct horse"}'
    many = ['127.9.%d.%d' % (i // 250, 1 + i % 250) for i in range(1000)]
    # nobody is refused for want of memory
    assert {n.ask('/login', source=a, body=body) for a in many} == {503}
    assert n.ask('/login', source=many[-1], body=body) == 429
    assert n.ask('/login', source=many[0], body=body) == 503
    full = re.search(r'im_limit: zone "z" is full \((\d+) keys\): (\d+) were '
                     r'forgotten while they were limited', n.log())
    assert full and 400 < int(full[1]) < 700
    assert n.stop() == 0
    assert n.errors() == []


def test_refusals_that_the_socket_does_not_take_at_once_come_later(limited):
    n = limited('keepalive_requests 100000;',
                'location = /me { im_api GET Me; }')
    assert n.pipeline('/me', 2000) == [b'401'] * 2000
    assert n.stop() == 0


REAL = """
        location = /ws {
            %s
            im_ws;
        }
        include %s/conf/im_api.conf;
"""


@pytest.fixture
async def real(stack, limited):
    """Makes an nginx with these limits on /ws, and the stack behind it."""
    apis = []

    async def make(zones, rules):
        n = limited('im_etcd %s; %s' % (stack.env['IM_ETCD'], zones),
                    REAL % (rules, os.path.dirname(os.path.dirname(
                        os.path.dirname(os.path.abspath(__file__))))))
        n.linked()
        apis.append(await Api(n.address).__aenter__())
        return apis[-1]

    yield make
    for api in apis:
        await api.__aexit__(None, None, None)


async def test_a_user_is_refused_beyond_the_burst_on_all_connections(
        real, people):
    here = await real('im_limit_zone users:1m key=user;',
                      'im_limit zone=users rate=12r/m burst=3 nodelay '
                      'frame=send;')
    alice, bob = await people(here, 'alice', 'bob')
    first = await alice.connect()
    second = await alice.connect(other_than=(first.instance,))
    other = await bob.connect()

    for s in (first, second):
        for _ in range(2):
            await s.send(bob.uid, 'of the burst')

    cmid = new_cmid()
    await first.write(type='send', to=str(bob.uid), cmid=cmid, body=1)
    error = await first.expect('error')
    assert error['code'] == 'rate_limited' and error['cmid'] == cmid
    assert error['retryable'] and 0 < error['retry_after_ms'] <= 5000
    assert error['message'] == 'the limit "users" is reached'

    # no other frame is counted, and no other user
    await first.write(type='ping', id='4')
    assert (await first.expect('pong'))['id'] == '4'
    await first.write(type='history', id='5', **{'with': str(bob.uid)})
    assert (await first.expect('history_res'))['id'] == '5'
    await other.send(alice.uid, 'of another user')

    # when it was told to come, it passes: stored once
    await lasts(error['retry_after_ms'] / 1000)
    ack = await first.send(bob.uid, 1, cmid=cmid)
    assert 'dup' not in ack


async def test_a_question_that_is_refused_keeps_its_id(real, people):
    here = await real('im_limit_zone c:1m key=connection;',
                      'im_limit zone=c rate=1r/h frame=rooms,history;')
    alice = await people(here, 'alice')
    s = await alice.connect()
    await s.write(type='rooms', id='7')
    assert (await s.expect('rooms_res'))['id'] == '7'
    await s.write(type='rooms', id='8')
    error = await s.expect('error')
    assert error['code'] == 'rate_limited' and error['id'] == '8'
    assert error['retry_after_ms'] > 3000000
    # another connection has another bucket
    s = await alice.connect()
    await s.write(type='rooms', id='9')
    assert (await s.expect('rooms_res'))['id'] == '9'


async def test_malformed_frames_are_counted_where_all_are(real, people):
    here = await real('im_limit_zone c:1m key=connection;',
                      'im_limit zone=c rate=1r/h burst=1 nodelay;')
    alice = await people(here, 'alice')
    s = await alice.connect()
    codes = []
    for text in ('{', '{"type":"fly"}', '[]', '{'):
        await s.ws.send(text)
        codes.append((await s.expect('error'))['code'])
    assert codes[2:] == ['rate_limited'] * 2
    assert 'rate_limited' not in codes[:2]


async def test_below_the_burst_a_connection_is_slowed_down_not_refused(
        real, people):
    # one that is not held would have 27 of these refused
    here = await real('im_limit_zone users:1m key=user;',
                      'im_limit zone=users rate=20r/s burst=2 frame=send;')
    alice, bob = await people(here, 'alice', 'bob')
    s = await alice.connect()
    cmids = [new_cmid() for _ in range(30)]
    for cmid in cmids:
        await s.write(type='send', to=str(bob.uid), cmid=cmid, body=1)
    await s.write(type='ping', id='1')
    frames = [await s.receive() for _ in range(31)]
    acks = [f for f in frames if f['type'] == 'ack']
    assert [a['cmid'] for a in acks] == cmids
    assert [int(a['seq']) for a in acks] == list(range(1, 31))
    assert [f for f in frames if f['type'] != 'ack'] == [
        {'type': 'pong', 'id': '1'}]


async def test_who_ends_while_it_is_delayed_is_gone_in_time(real, people):
    here = await real('im_limit_zone users:1m key=user;',
                      'im_limit zone=users rate=1r/s burst=20 frame=send;')
    alice, bob = await people(here, 'alice', 'bob')
    watcher = await bob.connect()
    await watcher.write(type='presence_sub', id='1', add=[str(alice.uid)])
    await watcher.expect('presence_res')
    s = await alice.connect()
    assert (await watcher.expect('presence'))['users'][0]['online'] is True
    for _ in range(3):
        await s.write(type='send', to=str(bob.uid), cmid=new_cmid(), body=1)
    await s.expect('ack')
    s.ws.transport.close()         # a FIN behind what is not read yet
    event = await watcher.expect('presence', 20)
    assert event['users'][0]['online'] is False
