"""An nginx that serves a site and an application already, and gets the
messenger by a few lines: everything that worked before works as before."""

import asyncio
import contextlib
import http.server
import os
import re
import socket
import subprocess
import threading

import aiohttp
import pytest

from conftest import TOP, refused
from im_client import Api, Problem
from im_wait import tries
from im_stack.base import free_port

# Nothing of ours is in here but what stands between the marks.
CONF = """
%(module)s
%(user)s
worker_processes 2;
pid %(dir)s/nginx.pid;
error_log %(dir)s/error.log notice;

events {
    worker_connections 512;
}

http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    log_format main '$remote_addr "$request" $status $body_bytes_sent';
    access_log %(dir)s/access.log main;
    sendfile on;
    tcp_nopush on;
    gzip on;
    gzip_min_length 100;
    gzip_types text/css application/json;
    client_max_body_size 1m;
    client_body_temp_path %(dir)s/body;
    proxy_temp_path %(dir)s/proxy;
    fastcgi_temp_path %(dir)s/fastcgi;
    uwsgi_temp_path %(dir)s/uwsgi;
    scgi_temp_path %(dir)s/scgi;
    limit_req_zone $binary_remote_addr zone=one:1m rate=1000r/s;

    map $http_upgrade $connection_upgrade {
        default upgrade;
        ''      close;
    }

    # Twice: where the application resets a connection (it did once, under
    # load), the next one is tried.
    upstream app {
        server 127.0.0.1:%(app)d;
        server 127.0.0.1:%(app)d;
        keepalive 4;
    }

%(http)s
    server {
        listen 127.0.0.1:%(port)d;
        server_name localhost;
        root %(dir)s/www;
        index index.html;
        error_page 404 /404.html;

        location / {
            try_files $uri $uri/ =404;
        }

        location /app/ {
            limit_req zone=one burst=100;
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
        }

        location ~* [.](png|js)$ {
            try_files $uri =404;
            add_header X-File yes;
        }

        location = /old {
            return 301 /new;
        }

%(server)s
    }
}
"""

HTTP = """
    im_etcd %(etcd)s;
    im_jwt_key_file %(key)s;
"""

SERVER = """
        include %(top)s/conf/im_api.conf;
        location ^~ /v1/ { im_api_not_found; }

        location = /ws {
            im_ws;
        }

        # locations of the site, for logged-in users only
        location /app/private/ {
            im_jwt required;
            proxy_pass http://app;
            proxy_set_header X-User $im_user_id;
            proxy_set_header X-Device $im_device;
        }

        location /members/ {
            auth_request /v1/auth;
        }
"""

PAGES = {
    'index.html': '<h1>a site</h1>\n',
    'style.css': 'body { color: black }\n' * 50,
    '404.html': 'not here\n',
    'logo.png': 'no picture\n',
    'v1.html': 'a page with a name like ours\n',
    'members/news.html': 'for members\n',
}


class App(http.server.BaseHTTPRequestHandler):
    """The application behind proxy_pass."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        n = int(self.headers.get('Content-Length', 0))
        text = '%s %s user=%s device=%s body=%s\n' % (
            self.command, self.path, self.headers.get('X-User', ''),
            self.headers.get('X-Device', ''), self.rfile.read(n).decode())
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.send_header('X-App', 'yes')
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_PUT = do_GET

    def log_message(self, *_):
        pass


class Nginx:
    """An nginx of our own, with or without the messenger."""

    def __init__(self, stack, folder, app, ours):
        self.stack = stack
        self.ours = ours
        self.dir = str(folder)
        # Not one that an outgoing connection may take before nginx does.
        self.port = free_port(())
        self.address = '127.0.0.1:%d' % self.port
        for name, text in PAGES.items():
            path = os.path.join(self.dir, 'www', name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w') as f:
                f.write(text)
        values = {'dir': self.dir, 'app': app, 'port': self.port, 'top': TOP,
                  'etcd': stack.env['IM_ETCD'],
                  'key': stack.env['IM_JWT_KEY_FILE'],
                  # workers must be able to read a test's folder
                  'user': 'user root;' if os.getuid() == 0 else '',
                  'module': '', 'http': '', 'server': ''}
        if ours:
            values['module'] = 'load_module %s;' % stack.binary(
                'ngx_im_module.so')
            values['http'] = HTTP % values
            values['server'] = SERVER % values
        with open(os.path.join(self.dir, 'nginx.conf'), 'w') as f:
            f.write(CONF % values)
        self.process = None

    def command(self, *options):
        return [os.environ.get('IM_NGINX', 'nginx'), '-p', self.dir, '-e',
                os.path.join(self.dir, 'error.log'), '-c',
                os.path.join(self.dir, 'nginx.conf'), *options]

    def env(self):
        # Without our module there is nothing to watch for a sanitizer.
        return self.stack.sanitized('nginx' if self.ours else '')

    def test(self):
        """nginx -t"""
        env = self.env()
        # nginx itself ends without freeing what a refused file has cost.
        if 'ASAN_OPTIONS' in env:
            env['ASAN_OPTIONS'] += ':detect_leaks=0'
        r = subprocess.run(self.command('-t'), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=30,
                           env=env)
        return r.returncode, r.stdout

    def errors(self):
        with open(os.path.join(self.dir, 'error.log')) as f:
            return [line for line in f if '[notice]' not in line
                    and '[warn]' not in line and '[info]' not in line]

    def start(self):
        self.process = subprocess.Popen(
            self.command('-g', 'daemon off;'), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=self.env())
        with open(os.path.join(self.dir, 'nginx.conf')) as f:
            count = 2 * ('worker_processes 2;' in f.read())
        for _ in tries(self.errors):
            assert self.process.poll() is None, self.errors()
            try:
                # The port is there before the last worker is.
                socket.create_connection(('127.0.0.1', self.port), 1).close()
                if len(self.workers()) >= count:
                    return self
            except OSError:
                pass

    def linked(self):
        """Waits until each worker has a link to each Logic that it knows."""
        for _ in tries(lambda: (known, links, self.errors()), 30):
            with open(os.path.join(self.dir, 'error.log')) as f:
                words = re.findall(r'#(\d+): im: (?:logic (\S+) at \S+ is up|'
                                   r'link to logic (\S+) is open)', f.read())
            known = {(int(pid), up) for pid, up, _ in words if up}
            links = {(int(pid), link) for pid, _, link in words if link}
            if (links >= known
                    and {pid for pid, _ in links} >= self.workers() != set()):
                return self

    def stop(self):
        """The exit code of a graceful stop."""
        self.process.send_signal(3)          # SIGQUIT
        return self.process.wait(40)

    def workers(self):
        pid = self.process.pid
        with open('/proc/%d/task/%d/children' % (pid, pid)) as f:
            return {int(p) for p in f.read().split()}

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture(scope='module')
def app():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), App)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def before(stack, app, tmp_path):
    n = Nginx(stack, tmp_path, app, ours=False)
    yield n
    n.kill()


@pytest.fixture
def after(stack, app, tmp_path_factory):
    n = Nginx(stack, tmp_path_factory.mktemp('after'), app, ours=True)
    yield n
    n.kill()


async def visit(address):
    """What a visitor of the site sees, page by page."""
    seen = []
    async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=20)) as s:
        for method, path, kw in (
                ('GET', '/', {}), ('GET', '/index.html', {}),
                ('HEAD', '/', {}), ('GET', '/style.css', {}),
                ('GET', '/style.css', {'headers': {
                    'Range': 'bytes=0-9', 'Accept-Encoding': 'identity'}}),
                ('GET', '/nothing', {}), ('GET', '/v1.html', {}),
                ('POST', '/', {'data': b'x'}), ('GET', '/old', {}),
                ('GET', '/app/', {}), ('GET', '/app/x?a=1&b=%20', {}),
                ('POST', '/app/form', {'data': b'some text'}),
                ('PUT', '/app/big', {'data': b'x' * 200000}),
                ('POST', '/app/too-big', {'data': b'x' * 1100000}),
                ('GET', '/app/', {'headers': {'Authorization': 'Basic eDp5',
                                              'X-User': 'me'}}),
                ('GET', '/app/?access_token=abc.def.ghi', {})):
            try:
                async with s.request(method, 'http://' + address + path,
                                     allow_redirects=False, **kw) as r:
                    body = await r.read()
                    seen.append((method, path, r.status, body,
                                 r.headers.get('Content-Type'),
                                 r.headers.get('Content-Encoding'),
                                 r.headers.get('X-App'),
                                 r.headers.get('Location', '').replace(
                                     address, 'HOST')))
            except (aiohttp.ClientConnectionError, ConnectionError):
                # 413 while we still write, as with any nginx
                if path != '/app/too-big':
                    raise
                seen.append((method, path, 'cut'))
    return seen


async def test_the_site_is_as_before(before, after):
    for n in (before, after):
        code, text = n.test()
        assert code == 0 and 'test is successful' in text, text
        n.start()
    old, new = await visit(before.address), await visit(after.address)
    assert [o[2] for o in old][:7] == [200, 200, 200, 200, 206, 404, 200]
    for o, n in zip(old, new):
        if 'cut' not in (o[2], n[2]):
            assert o == n
    assert before.stop() == after.stop() == 0
    assert [e for e in after.errors() if 'too large body' not in e] == []


async def test_the_messenger_works_in_it(api, stack, people, after):
    after.start()
    async with Api(after.address) as here:
        alice = await people(here, 'alice')          # by the site's nginx
        bob = await people(api, 'bob')               # by the stack's
        a, b = await alice.connect(), await bob.connect()
        ack = await a.send(bob.uid, 'from the site')
        assert (await b.expect('push'))['body'] == 'from the site'
        await bob.send(alice.uid, 'to the site')
        assert (await a.expect('push'))['body'] == 'to the site'
        assert (await stack.stored(alice, bob, 2))[0] == [ack['seq'],
                                                          ack['msg_id']]
        page = await alice.history(bob.uid)
        assert [m['body'] for m in page['messages']] == ['to the site',
                                                         'from the site']
        await a.close()
    assert after.stop() == 0
    assert after.errors() == []


async def test_a_user_named_like_a_file_of_the_site_is_found(after):
    after.start()
    async with Api(after.address) as here:
        names = ['photo-%s.%s' % (os.urandom(4).hex(), kind)
                 for kind in ('png', 'js', 'PNG')]
        for name in names:
            u = await (await here.register(name, 'long enough')).log_in()
            for path in (name, name.replace('.', '%2E')):
                found = await here.call('GET', '/v1/users/' + path, u.token)
                assert found == {'uid': str(u.uid), 'name': name}
                assert 'X-File' not in found.headers
        for method, path in (('GET', '/v1/unknown.png'), ('POST', '/v1/login/'),
                             ('GET', '/v1/users/a/b.js'), ('PUT', '/v1/')):
            p = await refused(here.call(method, path), 404, 'not_found')
            assert p.body['status'] == 404
        async with here.session.get(here.url + '/logo.png') as r:
            assert r.status == 200 and r.headers['X-File'] == 'yes'


async def test_a_location_of_the_site_asks_for_a_token(people, after):
    after.start()
    async with Api(after.address) as here:
        u = await here.register('site-' + os.urandom(5).hex(), 'long enough')
        await u.log_in('tablet')

        p = await refused(here.call('GET', '/app/private/x'), 401,
                          'unauthorized')
        assert p.body['status'] == 401

        async with here.session.get(
                here.url + '/app/private/x',
                headers={'Authorization': 'Bearer ' + u.token,
                         'X-User': '1'}) as r:
            text = await r.text()
        assert r.status == 200
        assert 'user=%d device=tablet' % u.uid in text

        for token, status in ((u.token, 200), (None, 401), ('a.b.c', 401)):
            async with here.session.get(
                    here.url + '/members/news.html',
                    headers={'Authorization': 'Bearer ' + token}
                    if token else {}) as r:
                assert r.status == status
                text = await r.text()
                assert ('for members' in text) == (status == 200)

        await here.call('POST', '/v1/logout', u.token)
        async with here.session.get(
                here.url + '/members/news.html',
                headers={'Authorization': 'Bearer ' + u.token}) as r:
            assert r.status == 401


async def elsewhere(user, leaving):
    """A connection to a worker that is none of these: the other old one may
    be told to leave a little later."""
    async for _ in tries(lambda: s and s.instance, 20):
        s = None
        with contextlib.suppress(Problem):
            s = await user.connect()
            if int(s.instance.rsplit('-', 2)[1]) not in leaving:
                return s
            await s.close()


async def test_a_reload_keeps_site_and_messenger(people, after):
    after.start()
    async with Api(after.address) as here:
        alice = await people(here, 'alice')
        old = await alice.connect()
        leaving = after.workers()
        after.process.send_signal(1)                 # SIGHUP
        # "come back", and not to a worker that leaves
        with pytest.raises(Problem, match='closed'):
            while True:
                await old.receive(30)
        assert old.ws.close_code == 4001
        new = await elsewhere(alice, leaving)
        assert await new.send(alice.uid, 'here again')
        async with here.session.get(here.url + '/') as r:
            assert await r.text() == PAGES['index.html']
        await new.close()
    assert after.stop() == 0


async def test_it_stops_while_clients_are_connected(people, after):
    after.start()
    async with Api(after.address) as here:
        alice = await people(here, 'alice')
        sockets = [await alice.connect() for _ in range(20)]
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, after.stop) == 0
        for s in sockets:
            await asyncio.wait_for(s.ws.wait_closed(), 20)
            assert s.ws.close_code == 4001
    assert after.errors() == []


def test_what_is_wrong_is_told_by_nginx_t(after):
    path = os.path.join(after.dir, 'nginx.conf')
    with open(path) as f:
        right = f.read()
    for old, new, words in (
            ('im_ws;', 'im_ws on;', 'invalid number of arguments'),
            ('im_jwt required;', 'im_jwt maybe;', 'invalid value "maybe"'),
            ('im_ws;', 'im_ws;\nim_ws_max_message 2m;', 'im_ws_max_message'),
            ('im_ws;', 'im_api Nothing;', 'no "Nothing"'),
            ('im_jwt_key_file', '#', 'im_jwt_key_file')):
        assert old in right
        with open(path, 'w') as f:
            f.write(right.replace(old, new))
        code, text = after.test()
        assert code != 0 and words in text, text
