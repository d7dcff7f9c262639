"""With certificates between the tiers everything works, who has none or one
of another tier is not let in, and new ones are taken while all runs.
(tests/unit/test_rpc_tls.c has the refusals one by one.)"""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request

import pytest

from conftest import TOP
from im_sanitizer import complaints
from im_wait import wait_until


class Secure:
    """A stack of its own whose tiers have certificates."""

    def __init__(self, build):
        self.asan = ['--asan'] if 'asan' in build else []
        self.name = 'tls-asan' if self.asan else 'tls'
        self.dir = os.path.join(TOP, 'build/stack', self.name)
        self.tls = os.path.join(self.dir, 'data/tls')

    def tool(self, *args):
        r = subprocess.run(
            ['/usr/bin/python3', 'tools/stack', *args], cwd=TOP,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=200)
        assert r.returncode == 0, r.stdout
        return r.stdout

    def start(self):
        self.tool('start', self.name, '--restart', '--fresh', '--tls',
                  *self.asan)
        self.env = dict(line.split('=', 1) for line in
                        self.tool('env', self.name).splitlines())
        self.pids = {w[0]: int(w[1]) for w in map(
            str.split, self.tool('pids', self.name).splitlines())}
        r = subprocess.run(
            ['etcdctl', '--endpoints', self.env['IM_ETCD'], 'get', '--prefix',
             '--print-value-only', '/im/logic/'], stdout=subprocess.PIPE,
            text=True, timeout=20, env=dict(os.environ, ETCDCTL_API='3'))
        self.port = int(re.search('"address":"127.0.0.1:([0-9]+)"',
                                  r.stdout).group(1))
        self.until(lambda: self.log().count('linked') == 2,
                   'the workers are not linked')
        return self

    def demo(self, *options):
        r = subprocess.run(
            ['/usr/bin/python3', 'tools/demo', *options], cwd=TOP,
            env=dict(os.environ, **self.env),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=100)
        assert r.returncode == 0, r.stdout

    def log(self, name='logic-1'):
        with open(os.path.join(self.dir, 'log', name + '.log'),
                  errors='replace') as f:
            return f.read()

    def until(self, true, what):
        wait_until(true, what)

    def health(self, name):
        """Of the address that the daemon names in its log."""
        address = re.search('health: (http://[0-9.:]+)', self.log(name))
        try:
            with urllib.request.urlopen(address.group(1) + '/healthz',
                                        timeout=5) as r:
                return json.load(r)
        except urllib.error.HTTPError as e:
            return json.load(e)

    def call(self, tier):
        """gRPC status of im.Logic/Auth, with the certificate of a tier."""
        r = subprocess.run(
            ['curl', '-s', '-i', '--max-time', '10', '--http2', '--noproxy',
             '*', '--cacert', 'ca.pem', '--cert', tier + '.pem', '--key',
             tier + '.key', '--resolve', 'logic.im:%d:127.0.0.1' % self.port,
             '-H', 'Content-Type: application/grpc', '-H', 'TE: trailers',
             '--data-binary', '@-',
             'https://logic.im:%d/im.Logic/Auth' % self.port],
            cwd=self.tls, input=b'\0\0\0\0\0', stdout=subprocess.PIPE,
            timeout=20)
        return int(re.search(b'grpc-status: ([0-9]+)', r.stdout).group(1))

    def serial(self):
        """Of the certificate that Logic shows to who connects now."""
        c = ssl.create_default_context(cafile=os.path.join(self.tls, 'ca.pem'))
        c.load_cert_chain(os.path.join(self.tls, 'nginx.pem'),
                          os.path.join(self.tls, 'nginx.key'))
        c.set_alpn_protocols(['h2'])
        with socket.create_connection(('127.0.0.1', self.port), 10) as s, \
                c.wrap_socket(s, server_hostname='logic.im') as t:
            return int(t.getpeercert()['serialNumber'], 16)

    def renew(self, tier, serial):
        for command in (
                ['req', '-newkey', 'ec', '-pkeyopt',
                 'ec_paramgen_curve:prime256v1', '-nodes', '-subj',
                 '/CN=' + tier, '-keyout', tier + '.key', '-out',
                 tier + '.csr'],
                ['x509', '-req', '-in', tier + '.csr', '-CA', 'ca.pem',
                 '-CAkey', 'ca.key', '-set_serial', str(serial), '-days', '2',
                 '-extfile', tier + '.ext', '-out', tier + '.pem']):
            subprocess.run(['openssl', *command], cwd=self.tls, check=True,
                           timeout=20, stderr=subprocess.DEVNULL)

    def hup(self, name, says):
        """Until the log has one line more of what it says."""
        before = self.log(name).count(says)
        os.kill(self.pids[name], signal.SIGHUP)
        self.until(lambda: self.log(name).count(says) > before,
                   '%s does not say: %s' % (name, says))


@pytest.fixture(scope='module')
def secure():
    s = Secure(os.environ.get('IM_TEST_BUILD', 'build'))
    try:
        yield s.start()
    finally:
        s.tool('stop', s.name)
    assert complaints(os.path.join(s.dir, 'log')) == []


def test_a_message_passes_all_tiers_by_mutual_tls(secure):
    secure.demo('--messages', '200')
    # Plain HTTP/2 is no TLS handshake: the connection is closed.
    r = subprocess.run(
        ['curl', '-s', '--max-time', '5', '--http2-prior-knowledge',
         'http://127.0.0.1:%d/im.Logic/Auth' % secure.port],
        stdout=subprocess.PIPE, timeout=20)
    assert r.returncode != 0 and not r.stdout


def test_a_certificate_of_another_tier_calls_nothing_of_logic(secure):
    # 3: the empty message has no caller, so it has reached the handler.
    assert secure.call('nginx') == 3
    before = secure.health('logic-1')['rpc']['forbidden']
    for tier in ('task', 'logic', 'task'):
        assert secure.call(tier) == 7
    assert secure.health('logic-1')['rpc']['forbidden'] == before + 3
    lines = [s for s in secure.log().splitlines() if 'is for nginx.im' in s]
    assert len(lines) == 1 and 'carries task.im' in lines[0]


def test_new_certificates_are_taken_and_nobody_loses_a_connection(secure):
    secure.demo('--brief')         # Task's streams are there
    links = secure.log().count('linked')
    streams = secure.log().count('link ended')
    pushes = secure.log('task-1').count('push stream')
    assert secure.serial() < 100

    # Logic's: who connects now sees the new one, nobody has to reconnect.
    secure.renew('logic', 1001)
    secure.hup('logic-1', 'the TLS files were read again')
    assert secure.serial() == 1001

    # A broken file, and a certificate of another tier: those of before stay.
    with open(os.path.join(secure.tls, 'logic.key')) as f:
        key = f.read()
    with open(os.path.join(secure.tls, 'logic.key'), 'w') as f:
        f.write(key[:60])
    secure.hup('logic-1', 'logic.key" has no private key that parses')
    assert 'the certificates of before stay' in secure.log()
    assert secure.serial() == 1001
    with open(os.path.join(secure.tls, 'logic.key'), 'w') as f:
        f.write(key)

    secure.renew('task', 1002)
    secure.hup('task-1', 'the TLS files were read again')
    secure.demo('--brief')
    assert secure.log().count('linked') == links
    assert secure.log().count('link ended') == streams
    assert secure.log('task-1').count('push stream') == pushes

    # nginx's, by a reload: the new workers have it, Task reaches them.
    secure.renew('nginx', 1003)
    os.kill(secure.pids['nginx'], signal.SIGHUP)
    secure.until(lambda: secure.log().count('linked') >= 2 * links,
                 'the new workers are not linked')
    secure.demo('--brief')
