"""A reload, a start or an end of nginx never costs the site what the messenger
lacks: what can be found out before is refused by the master, and a worker that
cannot serve the messenger serves the site."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.request

import pytest

from conftest import refused
from im_client import Api
from im_frozen import frozen
from im_wait import tries
from test_existing_nginx import Nginx, app  # noqa: F401

HEALTH = """
        location = /livez { im_health live; }
        location = /readyz { im_health; }
"""

# bind() to a port of the kernel's choice fails in all processes but one, while
# a file is there: an address that went away after the configuration was read.
NO_BIND = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char  path[4096];

__attribute__((constructor)) static void
remember(void)
{
    snprintf(path, sizeof(path), "%s", getenv("IM_TEST_NO_BIND"));
}

int
bind(int fd, const struct sockaddr *sa, socklen_t len)
{
    int    pid;
    FILE  *f;
    int  (*real)(int, const struct sockaddr *, socklen_t);

    if ((sa->sa_family == AF_INET || sa->sa_family == AF_INET6)
        && ((const struct sockaddr_in *) sa)->sin_port == 0
        && (f = fopen(path, "r")) != NULL)
    {
        pid = 0;
        (void) !fscanf(f, "%d", &pid);
        fclose(f);

        if (pid != (int) getpid()) {
            errno = EADDRNOTAVAIL;
            return -1;
        }
    }

    *(void **) &real = dlsym(RTLD_NEXT, "bind");

    return real(fd, sa, len);
}
"""


class Site(Nginx):

    def __init__(self, stack, folder, app):
        super().__init__(stack, folder, app, ours=True)
        self.conf = os.path.join(self.dir, 'nginx.conf')
        with open(self.conf) as f:
            self.right = f.read().replace('location = /ws {',
                                          HEALTH + '\n location = /ws {')
        self.extra = {}
        self.change()

    def change(self, *pairs):
        """The right configuration, with these texts replaced."""
        text = self.right
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new, 1)
        with open(self.conf, 'w') as f:
            f.write(text)

    def env(self):
        env = super().env()
        if 'LD_PRELOAD' in self.extra:
            env['LD_PRELOAD'] = ' '.join(filter(None, [
                env.get('LD_PRELOAD'), self.extra['LD_PRELOAD']]))
        return dict(self.extra, **env)

    def log(self):
        with open(os.path.join(self.dir, 'error.log'),
                  errors='replace') as f:
            return f.read()

    def until(self, true, what):
        for _ in tries(lambda: (what, self.errors())):
            if true():
                break
            assert self.process.poll() is None, self.errors()

    def get(self, path, headers=()):
        """(status, headers, body)"""
        r = subprocess.run(
            ['curl', '-si', '-m', '10', *sum((['-H', h] for h in headers), []),
             'http://%s%s' % (self.address, path)],
            stdout=subprocess.PIPE, text=True, timeout=20)
        head, _, body = r.stdout.partition('\n\n')
        lines = head.split('\n')
        assert len(lines) > 1, (path, r.stdout, self.errors())
        return (int(lines[0].split()[1]),
                dict(line.lower().split(': ', 1) for line in lines[1:]), body)

    def missing(self):
        """name -> what /readyz of some worker says of it"""
        status, headers, body = self.get('/readyz')
        assert headers['content-type'] == 'application/json'
        assert headers['cache-control'] == 'no-store'
        found = json.loads(body)
        assert (status == 200) == found['ready'] == (not found['missing'])
        return {m['name']: m for m in found['missing']}

    def reload(self):
        """Waits until all workers are new ones."""
        old = self.workers()
        self.process.send_signal(signal.SIGHUP)
        self.until(lambda: len(self.workers()) >= 2
                   and not old & self.workers(), 'new workers')


@pytest.fixture
def site(stack, app, tmp_path):  # noqa: F811
    n = Site(stack, tmp_path, app)
    yield n
    n.kill()


def certificate(folder, name):
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
         'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj',
         '/CN=im', '-addext', 'subjectAltName=DNS:nginx.im,DNS:im', '-keyout',
         name + '.key', '-out', name + '.pem'],
        cwd=folder, check=True, timeout=20, stderr=subprocess.DEVNULL)
    return os.path.join(folder, name)


def test_what_cannot_work_is_refused_and_the_old_workers_go_on(site):
    one = certificate(site.dir, 'one')
    two = certificate(site.dir, 'two')
    cut = os.path.join(site.dir, 'cut.pem')
    with open(one + '.pem') as f, open(cut, 'w') as out:
        out.write(f.read()[:200])
    site.start()
    workers = site.workers()
    here = '    im_etcd '
    for line, words in (
            ('im_rpc_listen 192.0.2.1;',
             'im_rpc_listen: "192.0.2.1" cannot be bound'),
            ('im_rpc_tls %s.pem %s.pem %s.key;' % (one, one, two),
             '"%s.key" is not the key of "%s.pem"' % (two, one)),
            ('im_rpc_tls %s %s.pem %s.key;' % (cut, one, one),
             '"%s" has a certificate that does not parse' % cut),
            ('im_etcd_tls %s;' % site.conf, '"%s" is not PEM' % site.conf)):
        site.change((here, '    %s\n%s' % (line, here)))
        code, text = site.test()
        assert code != 0 and '[emerg]' in text and words in text, text
        before = len(site.log())
        site.process.send_signal(signal.SIGHUP)
        site.until(lambda: words in site.log()[before:], words)
        assert site.workers() == workers
        assert site.get('/')[0] == 200
    site.change((here, '    im_etcd_prefix /x;\n' + here))
    site.reload()
    assert site.get('/')[0] == 200
    assert site.stop() == 0


@pytest.mark.skipif(os.getuid() != 0, reason='only root has workers that are '
                                             'not root')
def test_a_key_that_only_root_may_read_is_handed_to_the_workers(
        stack, app):  # noqa: F811
    folder = tempfile.mkdtemp(prefix='im-user-')
    os.chmod(folder, 0o755)
    n = Site(stack, folder, app)
    try:
        one = certificate(folder, 'one')
        os.chmod(one + '.key', 0o600)
        n.change(('user root;', 'user www-data;'),
                 ('    im_etcd ', '    im_rpc_tls %s.pem %s.pem %s.key;\n'
                  '    im_etcd ' % (one, one, one)))
        n.start()
        n.until(lambda: n.log().count('im: connect instance') == 2,
                'two instances')
        for pid in n.workers():
            with open('/proc/%d/status' % pid) as f:
                assert not re.search(r'(?m)^Uid:\t0\t', f.read())
        assert 'worker' not in n.missing()
        assert n.get('/')[0] == 200
        assert n.stop() == 0
        assert n.errors() == []
    finally:
        n.kill()
        shutil.rmtree(folder)


async def test_a_worker_without_the_messenger_serves_the_site(site, people):
    source = os.path.join(site.dir, 'bind.c')
    with open(source, 'w') as f:
        f.write(NO_BIND)
    subprocess.run(['cc', '-shared', '-fPIC', '-o', source + '.so', source,
                    '-ldl'], check=True, timeout=60)
    flag = os.path.join(site.dir, 'no-bind')
    site.extra = {'LD_PRELOAD': source + '.so', 'IM_TEST_NO_BIND': flag}
    site.start().linked()
    async with Api(site.address) as here:
        alice = await people(here, 'alice')
        bearer = 'Authorization: Bearer ' + alice.token

        with open(flag, 'w') as f:
            f.write('%d' % site.process.pid)
        site.reload()
        workers = site.workers()

        # the site, and its own location that wants a token
        assert site.get('/')[0] == 200
        assert 'user=%d' % alice.uid in site.get('/app/private/x', [bearer])[2]
        assert site.get('/app/private/x')[0] == 401
        assert site.get('/livez')[0] == 200

        # the messenger
        p = await refused(here.call('GET', '/v1/conversations', alice.token),
                          503, 'unavailable')
        assert p.body['retryable']
        for path, headers in (
                ('/v1/conversations', [bearer]),
                ('/ws', ['Connection: Upgrade', 'Upgrade: websocket',
                         'Sec-WebSocket-Version: 13',
                         'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='])):
            status, headers, body = site.get(path, headers)
            assert status == 503
            assert headers['content-type'] == 'application/problem+json'
            assert int(headers['retry-after']) >= 1
            assert json.loads(body)['code'] == 'unavailable'
        lack = site.missing()
        assert set(lack) == {'worker'}
        assert 'im_rpc_listen "127.0.0.1" cannot be bound' in \
            lack['worker']['error']

        # it was tried again meanwhile: without another line in the log
        site.until(lambda: site.missing()['worker']['since_s'] >= 2, 'since')
        lines = re.findall(r'\[crit\] (\d+)#.*this worker cannot serve the '
                           r'messenger: im_rpc_listen "127.0.0.1" cannot be '
                           r'bound \(99: ', site.log())
        assert sorted(map(int, lines)) == sorted(workers)

        # the address is back
        os.unlink(flag)
        site.linked()
        assert site.workers() == workers
        assert await here.call('GET', '/v1/conversations', alice.token)
        s = await alice.connect()
        assert await s.send(alice.uid, 'here again')
        await s.close()

    # what waits for the next try does not hold up a stop
    with open(flag, 'w') as f:
        f.write('%d' % site.process.pid)
    site.reload()
    site.process.send_signal(signal.SIGQUIT)
    assert site.process.wait(20) == 0


async def test_a_single_process_ends_after_a_reload(site, people):
    site.change(('worker_processes 2;', 'master_process off;'))
    site.start()
    site.until(lambda: 'is open' in site.log(), 'a link')
    async with Api(site.address) as here:
        alice = await people(here, 'alice')
        s = await alice.connect()
        site.process.send_signal(signal.SIGHUP)
        site.until(lambda: 'reconfiguring' in site.log(), 'reconfiguring')
        assert await s.send(alice.uid, 'one more')
        site.process.send_signal(signal.SIGTERM)
        assert site.process.wait(20) == 0
    assert site.errors() == []


def test_an_ordinary_start_or_reload_has_lost_nothing(site):
    site.start().linked()
    site.reload()
    site.linked()
    assert 'presence was lost' not in site.log()
    assert site.stop() == 0


def test_a_key_that_is_not_logics_is_found_when_they_meet(stack, site):
    other = os.path.join(site.dir, 'other.key')
    secret = os.urandom(24).hex()
    with open(other, 'w') as f:
        f.write(secret)
    os.chmod(other, 0o600)
    site.change((stack.env['IM_JWT_KEY_FILE'], other))
    site.start().linked()
    site.until(lambda: set(site.missing()) == {'jwt_key'}, 'jwt_key')
    ours = re.findall(r'\[error\] (\d+)#.*im: logic \S+ signs tokens with '
                      r'another key \(key id ([0-9a-f]{16})\) than '
                      r'im_jwt_key_file \(key id ([0-9a-f]{16})\)', site.log())
    assert {int(pid) for pid, _, _ in ours} <= site.workers()
    theirs, mine = ours[0][1:]
    assert theirs != mine

    log = os.path.join(stack.dir, 'log', 'logic-1.log')

    def logic_says():
        with open(log, errors='replace') as f:
            return re.search(r'err connect \S+: its im_jwt_key_file \(key id '
                             + mine + r'\) is not our .* \(key id ' + theirs
                             + r'\)', f.read())

    site.until(logic_says, 'a line of Logic')
    url = 'http://%s/healthz' % stack.env['IM_LOGIC_HEALTH']
    with urllib.request.urlopen(url, timeout=5) as r:
        assert json.load(r)['other_keys'] >= 1
    with open(log, errors='replace') as f:
        assert secret not in f.read()
    assert secret not in site.log()

    site.change()
    site.reload()
    site.linked()
    site.until(lambda: site.missing() == {}, 'ready')
    assert site.stop() == 0


def test_readiness_names_what_is_frozen_and_until_when(stack, site):
    site.start().linked()
    site.until(lambda: site.missing() == {}, 'ready')
    pids = stack.pids()
    with contextlib.ExitStack() as logics:
        for name, pid in pids.items():
            if name.startswith('logic'):
                logics.enter_context(frozen(pid))
        site.until(lambda: 'logic' in site.missing(), 'logic')
        lack = site.missing()
        assert lack['logic']['error'].startswith('logic ')
        assert site.get('/livez')[0] == 200
        site.until(lambda: site.missing()['logic']['since_s'] >= 1, 'since')
    site.until(lambda: site.missing() == {}, 'Logic is back')
    with frozen(pids['etcd']):
        site.until(lambda: 'etcd' in site.missing(), 'etcd')
        assert site.missing()['etcd']['error']
    site.until(lambda: site.missing() == {}, 'etcd is back')
    assert site.stop() == 0
