"""What all end-to-end tests share: the running stack and fresh users."""

import asyncio
import fcntl
import math
import os
import random
import subprocess
import sys
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.path.insert(0, os.path.join(TOP, 'tests', 'lib'))

from im_client import Api, Problem  # noqa: E402
from im_wait import pace, tries

BACK = ('unavailable', 'busy', 'timeout')      # says who is coming back


def pytest_collection_modifyitems(items):
    """Long files first, in which the tests keep their order: near the end of a
    run no process should have much to do that the others cannot help with."""
    items.sort(key=lambda item: -item.path.stat().st_size)


@pytest.fixture
def event_loop():
    """As asyncio.run() does it: what a test left running is cancelled."""
    with asyncio.Runner() as runner:
        yield runner.get_loop()


class Stack:
    """The stack that the tests run against."""

    def __init__(self):
        self.env = os.environ
        self.http = os.environ['IM_HTTP']
        self.name = os.environ['IM_STACK_NAME']
        self.dir = os.environ['IM_STACK_DIR']
        self.build = os.path.join(TOP, os.environ.get('IM_TEST_BUILD',
                                                      'build'))

    def binary(self, name):
        return os.path.join(self.build, name)

    def sanitized(self, name):
        """Environment for a process of our own; what a sanitizer says goes
        where tests/run looks for it."""
        env = dict(os.environ)
        if 'tsan' in self.build:
            env['TSAN_OPTIONS'] = (
                'ignore_noninstrumented_modules=1:log_path='
                + os.path.join(self.dir, 'log', 'tsan.test.' + name))
        if 'asan' in self.build:
            log = os.path.join(self.dir, 'log', 'asan.test.' + name)
            env.update({
                'ASAN_OPTIONS': 'detect_leaks=1:fast_unwind_on_malloc=0:'
                                'log_path=' + log,
                'UBSAN_OPTIONS': 'print_stacktrace=1:log_path=' + log,
                'LSAN_OPTIONS': 'print_suppressions=0:suppressions='
                                + os.path.join(TOP, 't/lsan.supp'),
            })
            # A stock nginx needs the libraries before our module does.
            if name == 'nginx' and 'IM_NGINX' not in os.environ:
                env['LD_PRELOAD'] = ' '.join(
                    subprocess.run(['gcc', '-print-file-name=lib%s.so' % lib],
                                   stdout=subprocess.PIPE, text=True,
                                   timeout=20).stdout.strip()
                    for lib in ('asan', 'ubsan'))
        return env

    def tool(self, *args):
        r = subprocess.run(['/usr/bin/python3', 'tools/stack', *args],
                           cwd=TOP, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=100)
        assert r.returncode == 0, r.stdout
        return r.stdout

    def listed(self, instance):
        """Whether etcd names this nginx worker: until its lease ends."""
        r = subprocess.run(['etcdctl', '--endpoints', self.env['IM_ETCD'],
                            'get', '--keys-only', '/im/connect/' + instance],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, timeout=20,
                           env=dict(os.environ, ETCDCTL_API='3'))
        assert r.returncode == 0, r.stdout
        return instance in r.stdout

    async def lease_ends(self, instance):
        """Waits until a worker that is frozen or dead is taken for dead."""
        async for _ in tries('%s is still in etcd' % instance, 30):
            if not await asyncio.to_thread(self.listed, instance):
                break

    def pids(self):
        """program -> pid, of what the supervisor runs."""
        return {w[0]: int(w[1]) for w in map(
            str.split, self.tool('pids', self.name).splitlines())}

    def workers(self):
        """Pids of the nginx workers, by instance name."""
        master = self.pids()['nginx']
        with open('/proc/%d/task/%d/children' % (master, master)) as f:
            return [int(p) for p in f.read().split()]

    def ask_mysql(self, sql):
        return subprocess.run(
            ['mariadb', '--no-defaults', '-N', '-B',
             '-S', self.env['IM_MYSQL'], '-u', self.env['IM_MYSQL_USER'],
             self.env['IM_MYSQL_DATABASE'], '-e', sql],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=20)

    def mysql(self, sql):
        r = self.ask_mysql(sql)
        assert r.returncode == 0, r.stderr
        return [line.split('\t') for line in r.stdout.splitlines()]

    def conversation(self, a, b):
        return 'conv_a = %d AND conv_b = %d' % (min(a.uid, b.uid),
                                                max(a.uid, b.uid))

    async def stored(self, a, b, want, seconds=30):
        """(seq, msg_id) of the conversation's rows, once there are so many."""
        sql = ('SELECT seq, msg_id FROM messages WHERE %s ORDER BY seq'
               % self.conversation(a, b))
        until = time.monotonic() + seconds
        while True:
            # It may be starting: then there are no rows yet.
            r = self.ask_mysql(sql)
            late = time.monotonic() > until
            assert r.returncode == 0 or not late, r.stderr
            rows = [line.split('\t') for line in r.stdout.splitlines()]
            if r.returncode == 0 and (len(rows) >= want or late):
                return rows
            await pace(0.1)

    def room_rows(self, room):
        """A room's rows, as the checker wants them."""
        return [((0, room), int(seq), int(msg_id), int(sender), cmid)
                for seq, msg_id, sender, cmid in self.mysql(
                    'SELECT seq, msg_id, sender, cmid FROM messages '
                    'WHERE conv_a = 0 AND conv_b = %d' % room)]

    def rows(self, a, b):
        """The conversation's rows, as the checker wants them."""
        conv = (min(a.uid, b.uid), max(a.uid, b.uid))
        return [(conv, int(seq), int(msg_id), int(sender), cmid)
                for seq, msg_id, sender, cmid in self.mysql(
                    'SELECT seq, msg_id, sender, cmid FROM messages WHERE %s'
                    % self.conversation(a, b))]


@pytest.fixture(scope='session')
def stack():
    """The stack of this process: that of `tools/stack exec`, or one of those
    that tests/run has started and no other process has.  It is free again when
    the process ends, however it does."""
    lock = None
    for name in os.environ.get('IM_TEST_STACKS', '').split():
        folder = os.path.join(TOP, 'build/stack', name)
        lock = open(os.path.join(folder, 'lock.pytest'), 'w')
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        with open(os.path.join(folder, 'env')) as f:
            os.environ.update(line.rstrip('\n').split('=', 1) for line in f)
        break
    if 'IM_HTTP' not in os.environ:
        pytest.exit('no stack in the environment; type: make test-e2e', 2)
    yield Stack()
    del lock                       # not before


@pytest.fixture
async def api(stack):
    async with Api(stack.http) as api:
        yield api


class People:
    """Makes users with names that nobody has.  What the test before has
    damaged may still be coming back: that is waited for."""

    async def __call__(self, api, *names):
        users = [await self.one(api, n) for n in names]
        return users[0] if len(users) == 1 else users

    async def one(self, api, name):
        async for _ in tries(lambda: refusal, 30):
            try:
                u = await api.register('%s-%s' % (name, os.urandom(4).hex()),
                                       'correct horse battery')
                return await u.log_in()
            except Problem as e:
                if e.code not in BACK:
                    raise
                refusal = e


@pytest.fixture
def people():
    return People()


async def refused(awaitable, status, code=None):
    """The Problem that a call ends with."""
    with pytest.raises(Problem) as e:
        await awaitable
    assert (e.value.status, e.value.code) == (status, code or e.value.code), \
        e.value.body
    if status:
        says_when(e.value)
    return e.value


def says_when(problem):
    """A refusal by HTTP says when to try again in its body and its header, or
    nowhere."""
    ms = problem.body.get('retry_after_ms', 0)
    assert (ms > 0) == bool(problem.body.get('retryable')), problem.body
    assert int(problem.after or 0) == math.ceil(ms / 1000), problem.body
    return ms


async def taken(call, *args, seconds=20, **kw):
    """What a call answers once it is not refused as retryable: a client, too,
    asks again while the store lags or something is coming back."""
    async for _ in tries(lambda: refusal, seconds):
        try:
            return await call(*args, **kw)
        except Problem as e:
            if not e.body.get('retryable'):
                raise
            refusal = e


def drawn(n):
    """n ids for rows of users or rooms that a test writes itself."""
    return random.sample(range(10 ** 18, 2 ** 63), n)


async def beside(socket, user):
    """A connection of this user to the same worker."""
    while True:
        s = await user.connect()
        if s.instance == socket.instance:
            return s
        await s.close()


@pytest.fixture(scope='session')
def crashing():
    """Folder of the daemons that have crash points (im_crash.h)."""
    clean = {k: v for k, v in os.environ.items()
             if k not in ('MAKEFLAGS', 'MAKELEVEL', 'MFLAGS', 'SAN', 'BUILD')}
    r = subprocess.run(['make', '-j2', 'CRASH=1', 'BUILD=build/crash',
                        'daemons', 'build/crash/im-schema'], cwd=TOP,
                       env=clean, text=True, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=300)
    assert r.returncode == 0, r.stdout
    return os.path.join(TOP, 'build', 'crash')


@pytest.fixture(scope='session')
def proto(tmp_path_factory):
    """The module that protoc makes of proto/client.proto."""
    out = str(tmp_path_factory.mktemp('proto'))
    subprocess.run(['protoc', '--python_out=' + out, '-I',
                    os.path.join(TOP, 'proto'),
                    'client.proto', 'query.proto', 'room.proto'],
                   check=True, timeout=30)
    sys.path.insert(0, out)
    import client_pb2
    return client_pb2
