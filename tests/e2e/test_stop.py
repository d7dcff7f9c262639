"""Whoever stops a daemon, at whatever moment of its life, sees it end within
5 s and with exit code 0: under a load of messages and calls, while somebody
looks at /healthz all the time, and also while it still starts.  And a start
that fails ends as cleanly, with exit code 1.

IM_STOP_TIMES=200 for a long run; `make test-stop` does it with sanitizers.
"""

import glob
import json
import os
import random
import signal
import socket
import threading
import time

import pytest

from im_load import Load
from im_wait import pause
from test_daemons import BOTH, Daemon, get

TIMES = int(os.environ.get('IM_STOP_TIMES', 3))
SECONDS = 5.0
# These take the CPU from one another, not from the daemon that is stopped.
SIDE_BY_SIDE = 2

pytestmark = pytest.mark.timeout(120 + 40 * TIMES)


def health(d):
    """What the daemon says of itself; nothing while it does not say much."""
    try:
        port = d.port_file.read_text().strip()
        return json.loads(get('127.0.0.1:' + port)[1])
    except (OSError, ValueError):
        return {}


class Curious:
    """Asks /healthz all the time, from before the stop until the end."""

    def __init__(self, d):
        self.port = int(d.port_file.read_text())
        self.end = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True)
                        for _ in range(2)]

    def __enter__(self):
        for t in self.threads:
            t.start()

    def __exit__(self, *_):
        self.end.set()
        for t in self.threads:
            t.join(20)

    def run(self):
        while not self.end.is_set():
            try:
                with socket.create_connection(('127.0.0.1', self.port), 5) as s:
                    s.sendall(b'GET /healthz HTTP/1.0\r\n\r\n')
                    while s.recv(4096):
                        pass
            except OSError:
                self.end.wait(0.01)


def complaints(d):
    """What a sanitizer wrote of this process."""
    found = []
    for f in glob.glob(os.path.join(os.environ['IM_STACK_DIR'], 'log',
                                    '?san.test.*.%d' % d.process.pid)):
        with open(f, errors='replace') as report:
            text = report.read()
        if 'LeakSanitizer has encountered a fatal error' not in text:
            found.append(text[:6000])
    return found


def ends(d, code=0):
    begin = time.monotonic()
    rc = d.end(seconds=40)
    took = time.monotonic() - begin
    said = '%s\n%s' % (d.log.read_text()[-4000:], ''.join(complaints(d)))
    assert rc == code, said
    assert complaints(d) == [], said
    assert took < SECONDS, '%.1f s: %s' % (took, said)
    return took


@pytest.fixture(scope='module')
def load(stack):
    with Load(stack.http) as load:
        yield load


def many(times, life):
    """life(n), so many times, some side by side; the first failure counts."""
    left, failed, took = list(range(times)), [], []

    def run():
        while left and not failed:
            try:
                took.append(life(left.pop()))
            except Exception as e:
                failed.append(e)

    threads = [threading.Thread(target=run)
               for _ in range(min(SIDE_BY_SIDE, times))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print('%d stops, longest %.2f s' % (len(took), max(took or [0])))
    if failed:
        raise failed[0]


def own(tmp_path, n):
    path = tmp_path / str(n)
    path.mkdir()
    return path


def test_logic_ends_in_time_while_people_talk(stack, load, tmp_path):
    def life(n):
        with Daemon(stack, 'im-logic', own(tmp_path, n),
                    IM_ETCD_PREFIX='/im', IM_RPC_LISTEN='127.0.0.1:0') as d:
            d.until(lambda: health(d).get('accepted', 0) > 20
                    and health(d).get('links', 0) > 0, 'nobody talks to it')
            with Curious(d):
                pause(random.random() * 0.2)
                return ends(d)

    many(TIMES, life)


def test_task_ends_in_time_while_it_pushes_and_stores(stack, load, tmp_path):
    def life(n):
        # Groups of its own: all that was ever said is pushed and stored anew.
        with Daemon(stack, 'im-task', own(tmp_path, n),
                    IM_ETCD_PREFIX='/im') as d:
            d.until(lambda: health(d).get('push_records', 0) > 20
                    and health(d).get('store_records', 0) > 20,
                    'it has nothing to do')
            with Curious(d):
                pause(random.random() * 0.2)
                return ends(d)

    many(TIMES, life)


@BOTH
def test_it_ends_in_time_while_it_starts(stack, load, name, tmp_path):
    def life(n):
        with Daemon(stack, name, own(tmp_path, n), IM_ETCD_PREFIX='/im',
                    **({'IM_RPC_LISTEN': '127.0.0.1:0'}
                       if name == 'im-logic' else {})) as d:
            d.until(d.port_file.exists, 'no port of /healthz')
            with Curious(d):
                pause(random.random() * 0.4)
                return ends(d)

    many(2 * TIMES, life)


@BOTH
def test_it_ends_in_time_without_etcd(stack, name, tmp_path):
    with Daemon(stack, name, tmp_path,
                IM_ETCD_ENDPOINTS='127.0.0.1:1') as d:
        d.until(lambda: health(d) and 'starting' not in health(d),
                'it does not start')
        with Curious(d):
            ends(d)


def test_logic_ends_in_time_while_its_workers_are_frozen(stack, load,
                                                         tmp_path):
    """They neither see that it leaves nor close their streams."""
    with Daemon(stack, 'im-logic', tmp_path, IM_ETCD_PREFIX='/im',
                IM_RPC_LISTEN='127.0.0.1:0') as d:
        d.until(lambda: health(d).get('accepted', 0) > 20, 'nobody talks')
        frozen = stack.workers()
        try:
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            with Curious(d):
                ends(d)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)


@BOTH
@pytest.mark.parametrize('env, reason', [
    ({'IM_HEALTH_PORT_FILE': '/nowhere/port'}, 'cannot write /nowhere/port'),
    ({'IM_HEALTH_LISTEN': 'nowhere'}, 'is not an address'),
    ({'IM_RPC_LISTEN': 'taken'}, ': Address already in use'),
])
def test_a_start_that_fails_ends_cleanly(stack, name, env, reason, tmp_path):
    if 'IM_RPC_LISTEN' in env:
        if name == 'im-task':
            pytest.skip('it does not listen')
        env = {'IM_RPC_LISTEN': stack.env['IM_LOGIC_HEALTH']}
    with Daemon(stack, name, tmp_path, **env) as d:
        assert d.process.wait(30) == 1, d.log.read_text()
        assert complaints(d) == []
        lines = d.log.read_text()
        assert reason in lines and name + ' cannot start' in lines, lines
