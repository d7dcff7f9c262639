"""Instances die, freeze, leave and come while people chat, and nobody notices.

The traffic and the checks are those of make demo-scale (tools/im_scale.py), at
last against a stack of its own with several instances of each.  What is done to
Logic there runs in `make test-full`: in `make test` the campaign does the same
(kill-logic, freeze-logic, leave-logic).
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time

import pytest

from conftest import TOP
from im_client import Problem
from im_sanitizer import complaints
from im_scale import Traffic
from im_wait import stays, tries, until


# Who is no Logic, but is listed as one.


class Liar:
    """A listener that takes connections and says what it is told, or
    nothing."""

    def __init__(self, answer):
        self.answer = answer
        self.sock = socket.create_server(('127.0.0.1', 0))
        self.address = '127.0.0.1:%d' % self.sock.getsockname()[1]
        self.kept = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            self.kept.append(c)
            if self.answer:
                try:
                    c.recv(1000)
                    c.sendall(self.answer)
                    c.close()
                except OSError:
                    pass

    def close(self):
        self.sock.close()
        for c in self.kept:
            c.close()


def etcdctl(stack, *args):
    r = subprocess.run(['etcdctl', '--endpoints', stack.env['IM_ETCD'], *args],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, timeout=20,
                       env=dict(os.environ, ETCDCTL_API='3'))
    assert r.returncode == 0, r.stdout
    return r.stdout


def log(stack, name):
    with open(os.path.join(stack.dir, 'log', name), errors='replace') as f:
        return f.read()


async def test_instances_that_are_none_disturb_nobody(stack, api):
    silent, http1 = Liar(b''), Liar(b'HTTP/1.1 400 Bad Request\r\n\r\n')
    nobody = socket.socket()           # has the port, and does not listen
    nobody.bind(('127.0.0.1', 0))
    closed = '127.0.0.1:%d' % nobody.getsockname()[1]
    real = json.loads(re.search(r'{.*}', etcdctl(
        stack, 'get', '--prefix', '/im/logic/'))[0])
    mark = os.urandom(3).hex()
    good = {'proto': 1, 'boot': 'feedfeedfeedfeed'}
    liars = {
        'closed': dict(good, address=closed),
        'silent': dict(good, address=silent.address),
        'http1': dict(good, address=http1.address),
        # Its port is that of a process that lives, but not the one meant.
        'stale': dict(good, address=real['address']),
        'newer': dict(good, address=real['address'], proto=2),
        'garbage': 'what is this?',
    }
    keys = {n: '/im/logic/liar-%s-%s' % (n, mark) for n in liars}
    lines = {n: r'\[warn\].*link to logic liar-%s-%s at \S+ broke '
                r'\(\d+ (.*?)\), again' % (n, mark)
             for n in ('closed', 'silent', 'http1', 'stale')}
    lines.update((n, r'etcd key %s is not used: (.*)' % keys[n])
                 for n in ('newer', 'garbage'))
    workers = len(stack.workers())

    def found():
        text = log(stack, 'nginx.log')[before:]
        return {n: re.findall(pattern, text) for n, pattern in lines.items()}

    traffic = Traffic(api, 4)
    before = len(log(stack, 'nginx.log'))
    try:
        await traffic.start('liars' + mark)
        for n, value in liars.items():
            etcdctl(stack, 'put', keys[n],
                    value if isinstance(value, str) else json.dumps(value))
        begin = time.monotonic()
        await stays(lambda: not traffic.broken, lambda: traffic.broken, 6)
        assert not traffic.failures()
        ack, push, call = traffic.gaps(begin - 1, begin + 6)
        assert max(ack, push, call) < 3, (ack, push, call)
        await traffic.finish()
        assert not any(t.waiting() for t in traffic.talks)
        await until(lambda: all(len(f) >= workers for f in found().values()),
                    found)
    finally:
        for key in keys.values():
            etcdctl(stack, 'del', key)
        silent.close()
        http1.close()
        nobody.close()
    # Each worker said each of them once, with its name and the reason.
    for n, said in found().items():
        assert len(said) == workers, (n, said)
        assert all(len(reason) > 5 for reason in said), said


# A failure of what is behind Logic.


# Before the next one, whose many refusals keep this line out of the log.
async def test_a_trace_id_leads_from_nginx_to_logic(stack, api, people):
    a, b = await people(api, 'trace', 'other')
    before = len(log(stack, 'nginx.log'))
    stack.tool('ctl', stack.name, 'stop', 'mysql')
    try:
        with pytest.raises(Problem):
            await a.history(b.uid)
    finally:
        stack.tool('ctl', stack.name, 'start', 'mysql')
    found = re.findall(r'im_api: /im.Logic/History: 503, .*trace '
                       r'([0-9a-f]{32})', log(stack, 'nginx.log')[before:])
    assert found, log(stack, 'nginx.log')[before:][-2000:]
    # supervisord writes that one, when it comes round to it
    async for _ in tries(lambda: found, 20):
        if 'a call fails, trace ' + found[0] in log(stack, 'logic-1.log'):
            break
    async for _ in tries('MySQL is back, history is not'):
        with contextlib.suppress(Problem):
            await a.history(b.uid)
            return


async def test_what_needs_mysql_is_refused_at_once_and_the_rest_goes_on(
        stack, api, people):
    a, b = await people(api, 'refused', 'other')
    await a.send(b.uid, 'before')
    stack.tool('ctl', stack.name, 'stop', 'mysql')
    try:
        # By Logic, once it knows, or by the worker's breaker; until then a
        # call may wait for MySQL for 3 s.
        quick = 0
        until = time.monotonic() + 30
        while quick < 10:
            began = time.monotonic()
            with pytest.raises(Problem) as e:
                await a.history(b.uid)
            assert e.value.status == 503
            assert e.value.body['retryable'] is True
            quick = quick + 1 if time.monotonic() - began < 0.5 else 0
            assert time.monotonic() < until, 'MySQL is waited for'
        # Of another class: live chat goes on.
        await api.call('GET', '/v1/auth', a.token)
        await a.send(b.uid, 'meanwhile')
    finally:
        stack.tool('ctl', stack.name, 'start', 'mysql')
    async for _ in tries('MySQL is back, history is not', 30):
        try:
            page = await a.history(b.uid)
            if len(page['messages']) == 2:
                break
        except Problem as e:
            assert e.status == 503


# With a stack of its own.


@pytest.fixture(scope='module')
def scaled(stack):
    """tools/stack with what all its commands need."""
    asan = ['--asan'] if 'asan' in stack.build else []
    name = 'failover-asan' if asan else 'failover'

    def tool(what, *args, seconds=200):
        r = subprocess.run(['/usr/bin/python3', 'tools/stack', what, name,
                            *args], cwd=TOP, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True,
                           timeout=seconds)
        print(r.stdout)
        assert r.returncode == 0, r.stdout

    size = ['--logic', '4', '--task', '2', *asan]
    try:
        tool('start', '--restart', '--fresh', *size)
        yield lambda *command: tool('exec', *size, '--', *command, seconds=400)
    finally:
        tool('stop')
    logs = os.path.join(TOP, 'build', 'stack', name, 'log')
    assert complaints(logs) == []


def demo_scale(scaled, stack, tmp_path, only):
    out = str(tmp_path / 'figures.json')
    # Other tests run meanwhile.  An instance that is not noticed to be frozen
    # would be waited for as long as it is watched, 4 s.
    scaled('tools/demo-scale', '--json', out, '--only', only,
           '--slack', '2' if 'asan' in stack.build else '1')
    with open(out) as f:
        return json.load(f)


@pytest.mark.full
@pytest.mark.timeout(500)
def test_logic_may_be_added_killed_frozen_thawed_and_drained(scaled, stack,
                                                             tmp_path):
    f = demo_scale(scaled, stack, tmp_path,
                   'add,kill-logic,freeze-logic,thaw-logic,drain-logic')
    assert f['counts']['messages'] > 2000
    assert f['counts']['calls'] > 200
    assert [e['event'] for e in f['events']] == [
        'calm', 'add', 'kill-logic', 'freeze-logic', 'thaw-logic',
        'drain-logic']


@pytest.mark.timeout(500)
@pytest.mark.skipif('asan' in os.environ.get('IM_TEST_BUILD', ''),
                    reason='it waits for Kafka, and the rest is as above')
def test_etcd_may_be_away_and_pushes_resume_when_a_task_dies(scaled, stack,
                                                             tmp_path):
    demo_scale(scaled, stack, tmp_path, 'etcd-away,etcd-back,kill-task')
