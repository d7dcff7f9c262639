"""Starts one nginx with the module against a running stack, and lets two users
talk through it: nginx -t, then register and log in by HTTP, and one message
from WebSocket to WebSocket; in a build with SSL the receiver uses TLS.

The configuration is conf/nginx.conf as the stack has adapted it, so what is
shipped is what is tried.
"""

import asyncio
import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys

from im_client import WAIT, Api, Problem, Socket
from im_stack.base import free_port, run
from im_stack.stack import ports_of_others

from .build import MATRIX, Broken

READY_S = 20                       # until the worker has found Logic
STOP_S = 15
ALARMS = re.compile(r'\[(emerg|alert|crit)\]|exited on signal|with fatal code')


class Smoke:

    def __init__(self, env):
        self.env = env             # of the stack
        self.key = os.path.join(MATRIX, 'tls.key')
        self.cert = os.path.join(MATRIX, 'tls.pem')
        code, out = run(
            ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
             'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30',
             '-subj', '/CN=localhost', '-keyout', self.key,
             '-out', self.cert], 20)
        if code != 0:
            raise Broken('openssl: ' + out)

    def __call__(self, c):
        self.log = os.path.join(c.dir, 'error.log')
        self.tls = '127.0.0.1:%d' % free_port(ports_of_others())
        conf = os.path.join(c.dir, 'smoke.conf')
        with open(conf, 'w') as f:
            f.write(self.configuration(c))
        argv = [c.nginx, '-e', self.log, '-p', c.dir, '-c', conf]
        code, out = run([*argv, '-t'], 20)
        if code != 0:
            raise Broken('nginx -t: ' + last_line(out))
        with open(c.log, 'a') as f:
            p = subprocess.Popen([*argv, '-g', 'daemon off;'], stdout=f,
                                 stderr=f, stdin=subprocess.DEVNULL,
                                 start_new_session=True)
        try:
            try:
                asyncio.run(asyncio.wait_for(self.talk(p, c.ssl), 60))
            except (Problem, OSError, asyncio.TimeoutError) as e:
                raise Broken('%s; %s' % (str(e) or 'no end after 60 s',
                                         self.alarm() or 'no alarm')) from None
            p.send_signal(signal.SIGTERM)
            try:
                code = p.wait(STOP_S)
            except subprocess.TimeoutExpired:
                raise Broken('it does not stop within %d s' % STOP_S) \
                    from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
            p.wait()
        if code != 0 or self.alarm():
            raise Broken('exit code %d; %s' % (code, self.alarm()))

    def configuration(self, c):
        """The stack's, with this binary's module and files."""
        with open(os.path.join(self.env['IM_STACK_DIR'], 'conf',
                               'nginx.conf')) as f:
            text = f.read()

        def put(pattern, value):
            nonlocal text
            text, n = re.subn('(?m)' + pattern, lambda m: value, text)
            if n != 1:
                raise Broken('conf/nginx.conf: %s stands there %d times'
                             % (pattern, n))

        put(r'^load_module [^;]*;',
            'load_module "%s";' % c.module if c.module else '')
        put(r'^pid [^;]*;', 'pid "%s/nginx.pid";' % c.dir)
        put(r'^error_log [^;]*;', 'error_log "%s" notice;' % self.log)
        if c.ssl:
            put(r'^( *)server_name localhost;',
                'listen %s ssl; ssl_certificate "%s"; '
                'ssl_certificate_key "%s";' % (self.tls, self.cert, self.key))
        return text

    async def talk(self, process, tls):
        async with Api(self.env['IM_HTTP']) as api:
            anna = await self.user(api, process, 'anna')
            bert = await self.user(api, process, 'bert')
            a = await anna.connect()
            b = await (self.connect_tls(bert) if tls else bert.connect())
            await a.send(bert.uid, {'text': 'smoke'})
            push = await b.message(anna.uid)
            if push['body'] != {'text': 'smoke'}:
                raise Problem('another message arrives: %s' % push)
            await asyncio.gather(a.close(), b.close())

    async def user(self, api, process, name):
        """Registered and logged in, once this nginx has found Logic."""
        loop = asyncio.get_running_loop()
        until = loop.time() + READY_S
        while True:
            try:
                return await (await api.register(
                    '%s-%s' % (name, os.urandom(4).hex()),
                    'correct horse battery')).log_in()
            except Problem as e:
                if process.poll() is not None:
                    raise Problem('nginx ended: %d' % process.returncode) \
                        from None
                if loop.time() > until:
                    raise
            await asyncio.sleep(0.1)

    async def connect_tls(self, user):
        import websockets
        try:
            ws = await websockets.connect(
                'wss://%s/ws' % self.tls,
                ssl=ssl.create_default_context(cafile=self.cert),
                server_hostname='localhost', subprotocols=['im.v1.json'],
                extra_headers={'Authorization': 'Bearer ' + user.token},
                open_timeout=WAIT, ping_interval=None, compression=None)
        except websockets.WebSocketException as e:
            raise Problem('wss: %s' % e) from None
        s = Socket(ws)
        await s.expect('auth_ok')
        return s

    def alarm(self):
        with contextlib.suppress(OSError), \
                open(self.log, errors='replace') as f:
            for line in f:
                if ALARMS.search(line):
                    return line.strip()[:200]
        return ''


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else 'no output'
