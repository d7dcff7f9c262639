"""With certificates between the tiers, everything works, and who has none is
not let in.  (tests/unit/test_rpc_status.c has the refusals one by one.)"""

import os
import subprocess

from conftest import TOP
from im_sanitizer import complaints


def test_a_message_passes_all_tiers_by_mutual_tls(stack):
    asan = ['--asan'] if 'asan' in stack.build else []
    name = 'tls-asan' if asan else 'tls'

    def stack_tool(*args):
        return subprocess.run(
            ['/usr/bin/python3', 'tools/stack', *args], cwd=TOP,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=200)

    try:
        r = stack_tool('start', name, '--restart', '--fresh', '--tls', *asan)
        assert r.returncode == 0, r.stdout
        r = stack_tool('exec', name, '--tls', *asan, '--', 'tools/demo',
                       '--messages', '200')
        assert r.returncode == 0, r.stdout
        # A daemon without certificates is in etcd, and gets nowhere.
        env = dict(line.split('=', 1) for line in
                   stack_tool('env', name).stdout.splitlines())
        with open(os.path.join(TOP, 'build/stack', name, 'log',
                               'logic-1.log')) as f:
            assert 'linked' in f.read()
        address = subprocess.run(
            ['etcdctl', '--endpoints', env['IM_ETCD'], 'get', '--prefix',
             '--print-value-only', '/im/logic/'], stdout=subprocess.PIPE,
            text=True, timeout=20, env=dict(os.environ, ETCDCTL_API='3'))
        port = address.stdout.split('"address":"127.0.0.1:')[1].split('"')[0]
        # Plain HTTP/2 is no TLS handshake: the connection is closed.
        r = subprocess.run(
            ['curl', '-s', '--max-time', '5', '--http2-prior-knowledge',
             'http://127.0.0.1:%s/im.Logic/Auth' % port],
            stdout=subprocess.PIPE, timeout=20)
        assert r.returncode != 0 and not r.stdout
    finally:
        stack_tool('stop', name)
    logs = os.path.join(TOP, 'build/stack', name, 'log')
    assert complaints(logs) == []
