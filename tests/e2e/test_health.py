"""/healthz and /readyz tell the truth: what a daemon needs is taken away in
every way that an operator meets, and must be named with a reason; when it is
there again, the daemon is ready again.

With a stack of its own, since its programs are stopped and frozen.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from conftest import TOP, People, Problem, says_when, taken
from im_client import Api, new_cmid
from im_sanitizer import complaints
from im_wait import tries, wait_until
from im_stack.stack import Stack
from test_daemons import Daemon, get

SLOW = 4 if re.search('asan|tsan', os.environ.get('IM_TEST_BUILD', '')) else 1
SEEN_S = 5 * SLOW          # until what is away is named
BACK_S = 5 * SLOW          # until what is back is used
START_S = 60               # of a program that is not ours
RETRY_MAX_MS = 2500        # that a refusal sends a client away for
BACKENDS = ('etcd', 'redis', 'mysql', 'kafka')
DAEMONS = ('logic-1', 'logic-2', 'task-1')


class Own:
    """The stack of these tests, and what an administrator does to it."""

    def __init__(self, stack, name='health'):
        self.kind = ''.join(re.findall('asan|tsan', stack.build))
        self.name = '-'.join(filter(None, [name, self.kind]))
        self.binary, self.sanitized = stack.binary, stack.sanitized

    def tool(self, what, *args):
        r = subprocess.run(['/usr/bin/python3', 'tools/stack', what, self.name,
                            *args], cwd=TOP, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=200)
        assert r.returncode == 0, r.stdout
        return r.stdout

    def start(self):
        self.tool('start', '--restart', '--fresh', '--logic', '2',
                  '--workers', '1', *(['--' + self.kind] if self.kind else []))
        self.env = dict(line.split('=', 1)
                        for line in self.tool('env').splitlines())
        self.stack = Stack(self.name)

    def health(self, daemon, path='/readyz'):
        """(status, object)"""
        try:
            status, body = get(self.stack.address(daemon), path)
            return status, json.loads(body)
        except OSError:
            return 0, {}

    def missing(self, daemon):
        return {m['name']: m['error']
                for m in self.health(daemon)[1].get('missing', [])}

    def sees(self, names, daemons=DAEMONS):
        """Waits until each daemon names these; what is said then."""
        for _ in tries(lambda: said, SEEN_S):
            said = {d: self.missing(d) for d in daemons}
            if all(set(names) <= set(said[d]) for d in daemons):
                return said

    def refuse(self):
        """Waits until no Logic takes messages, since Kafka is away."""
        for _ in tries('a Logic takes messages', SEEN_S):
            if all(self.health(d)[1].get('refusing')
                   for d in DAEMONS if d.startswith('logic')):
                break

    def ready(self):
        """Waits until all daemons are."""
        for _ in tries(lambda: {d: (s, b.get('missing'))
                                for d, (s, b) in said.items()}, BACK_S):
            said = {d: self.health(d) for d in DAEMONS}
            if all(status == 200 for status, _ in said.values()):
                return

    def pid(self, name):
        return self.stack.processes()[name]['pid']

    def redis(self, *args, password=None):
        r = subprocess.run(
            ['redis-cli', '-s', self.stack.sock('redis'),
             *(['--no-auth-warning', '-a', password] if password else []),
             *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=20)
        assert r.returncode == 0 and not re.match('ERR|NOAUTH', r.stdout), \
            r.stdout

    def mysql(self, sql, database='im'):
        r = subprocess.run(
            ['mariadb', '--no-defaults', '-N', '-B', '-u', 'root', '-S',
             self.stack.sock('mysql'), database], input=sql,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=20)
        assert r.returncode == 0, r.stdout
        return r.stdout

    def mysql_disconnect(self):
        ids = self.mysql("SELECT id FROM information_schema.processlist "
                         "WHERE user = 'im'").split()
        for n in ids:
            with contextlib.suppress(AssertionError):   # it has gone itself
                self.mysql('KILL CONNECTION ' + n)

    def log(self, name):
        with open(self.stack.log(name), errors='replace') as f:
            return f.read()


@pytest.fixture(scope='module')
def own(stack):
    own = Own(stack)
    try:
        own.start()
        yield own
    finally:
        own.tool('stop')
    logs = os.path.join(TOP, 'build', 'stack', own.name, 'log')
    assert complaints(logs) == []


def together(function, names):
    threads = [threading.Thread(target=function, args=(n,)) for n in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


@contextlib.contextmanager
def frozen(own, *names):
    pids = [own.pid(n) for n in names]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_all_is_well(own):
    own.ready()
    for daemon in DAEMONS:
        for path in ('/readyz', '/healthz'):
            status, said = own.health(daemon, path)
            assert status == 200
            assert said['ready'] is True and said['missing'] == []
            assert 'starting' not in said and said['instance']


def test_what_is_frozen_is_named_and_is_used_again_when_it_is_not(own):
    own.ready()
    with frozen(own, *BACKENDS):
        said = own.sees(BACKENDS)
        for daemon in DAEMONS:
            assert own.health(daemon)[0] == 503
            assert own.health(daemon, '/healthz')[0] == 200
            for name in BACKENDS:
                assert said[daemon][name], said
        # What is behind cannot be known.
        assert own.health('task-1')[1]['lag'] is None
    own.ready()


def test_what_has_ended_is_named_and_is_used_again_when_it_is_back(own):
    own.ready()
    together(lambda n: own.tool('ctl', 'stop', n), BACKENDS)
    try:
        said = own.sees(BACKENDS)
        for daemon in DAEMONS:
            assert own.health(daemon, '/healthz')[0] == 200
            assert 'No such file' in said[daemon]['redis'], said
            assert 'connect' in said[daemon]['mysql'].lower(), said
            assert 'Connection refused' in said[daemon]['kafka'], said
            assert own.stack.address('etcd') in said[daemon]['etcd'], said
        wait_until(lambda: own.health('task-1')[1]['missing'][0]['since_s'],
                   'it is not said since when', SEEN_S)
        r = subprocess.run(['/usr/bin/python3', 'tools/stack', 'status',
                            own.name], cwd=TOP, text=True, timeout=60,
                           stdout=subprocess.PIPE)
        assert r.returncode == 1 and 'not ready: redis, for' in r.stdout
    finally:
        together(lambda n: own.tool('ctl', 'start', n), BACKENDS)
    for name in ('etcd', 'redis', 'mysql', 'kafka'):
        own.stack.until(name, START_S, getattr(own.stack, name + '_ready'))
    own.stack.create_topics()          # its controller has answered
    own.ready()
    for daemon in DAEMONS:
        log = own.log(daemon)
        for name in BACKENDS:
            assert re.search(r' warn %s is away: ' % name, log), log
            assert re.search(r' notice %s is back after \d+ ms' % name, log)
    # What the consumers met is not swallowed, and not told again and again.
    errors = re.findall(r'warn kafka consumer im\.\w+: ', own.log('task-1'))
    assert 1 <= len(errors) <= 12, own.log('task-1')


BROKEN = {
    'passwords': ({
        'redis': (lambda o: (o.redis('CONFIG', 'SET', 'requirepass', 'x'),
                             o.redis('CLIENT', 'KILL', 'TYPE', 'normal',
                                     password='x')),
                  lambda o: o.redis('CONFIG', 'SET', 'requirepass', '',
                                    password='x'), 'NOAUTH'),
        'mysql': (lambda o: (o.mysql("ALTER USER 'im'@'localhost' "
                                     "IDENTIFIED BY 'x'"),
                             o.mysql_disconnect()),
                  lambda o: o.mysql("ALTER USER 'im'@'localhost' "
                                    "IDENTIFIED BY ''"), 'Access denied')}),
    'read-only': ({
        'redis': (lambda o: o.redis('REPLICAOF', '127.0.0.1', '1'),
                  lambda o: o.redis('REPLICAOF', 'NO', 'ONE'), 'READONLY'),
        'mysql': (lambda o: o.mysql('SET GLOBAL read_only = 1'),
                  lambda o: o.mysql('SET GLOBAL read_only = 0'),
                  'read-only')}),
    'full, and no table': ({
        'redis': (lambda o: o.redis('CONFIG', 'SET', 'maxmemory', '1'),
                  lambda o: o.redis('CONFIG', 'SET', 'maxmemory', '0'),
                  'OOM'),
        'mysql': (lambda o: o.mysql('RENAME TABLE messages TO away'),
                  lambda o: o.mysql('RENAME TABLE away TO messages'),
                  r"messages' doesn't exist \(im-schema up")}),
}


@pytest.mark.parametrize('how', BROKEN)
def test_what_answers_but_does_not_serve_is_named_with_the_reason(own, how):
    own.ready()
    try:
        for do, _, _ in BROKEN[how].values():
            do(own)
        said = own.sees(BROKEN[how])
        for daemon in DAEMONS:
            for name, (_, _, reason) in BROKEN[how].items():
                assert re.search(reason, said[daemon][name]), said
    finally:
        for _, undo, _ in BROKEN[how].values():
            undo(own)
    own.ready()


def test_a_column_that_is_missing_is_named(own):
    own.mysql('ALTER TABLE conversations RENAME COLUMN pinned TO away')
    try:
        said = own.sees(['mysql'], ['logic-1'])
        assert re.search(r"column 'pinned'.*im-schema up",
                         said['logic-1']['mysql'])
    finally:
        own.mysql('ALTER TABLE conversations RENAME COLUMN away TO pinned')
    own.ready()


@pytest.mark.parametrize('name', ['im-logic', 'im-task'])
def test_without_tables_and_topic_the_start_waits_and_says_what_to_do(
        own, name, tmp_path):
    topic, base = 'new.' + os.urandom(4).hex(), 'new_' + os.urandom(4).hex()
    own.mysql("CREATE DATABASE {0}; GRANT ALL ON {0}.* TO 'im'@'localhost'"
              .format(base))
    with Daemon(own, name, tmp_path, IM_KAFKA_TOPIC=topic,
                IM_MYSQL_DATABASE=base) as d:
        d.until(lambda: d.misses('schema') and d.misses('kafka'),
                'nothing is missing', SEEN_S)
        d.until(lambda: d.misses('schema').endswith(': type im-schema up')
                and '"%s" does not exist' % topic in d.misses('kafka'),
                'it does not say what', SEEN_S)
        command = re.search(r': (im-topics .*) creates it$',
                            d.misses('kafka'))[1].split()
        assert d.health('/healthz')[0] == 200
        assert d.health()[1]['starting'] is True
        subprocess.run([own.binary('im-schema'), 'up'], check=True, timeout=60,
                       env=dict(own.sanitized('im-schema'),
                                IM_MYSQL_ADDRESS='unix:' + own.env['IM_MYSQL'],
                                IM_MYSQL_USER=own.env['IM_MYSQL_USER'],
                                IM_MYSQL_DATABASE=base))
        out = subprocess.run([own.binary(command[0]), *command[1:]], check=True,
                             stdout=subprocess.PIPE, text=True, timeout=60)
        # What has an ack survives a power cut of the only broker.
        assert 'topic %s: each write is synced to disk' % topic in out.stdout
        # A new member waits for its group besides.
        d.until(d.healthy, 'not ready', BACK_S)
        assert d.end() == 0


async def refused_at_once(call):
    """The Problem, if it comes before the time that Kafka is given."""
    before = time.monotonic()
    with pytest.raises(Problem) as e:
        await call
    assert time.monotonic() - before < 2 * SLOW
    assert (e.value.status, e.value.code) == (503, 'unavailable')
    assert e.value.body['retryable'] is True
    assert says_when(e.value) <= RETRY_MAX_MS
    return e.value


async def test_while_kafka_is_away_messages_are_refused_at_once_and_safely(
        own):
    await asyncio.to_thread(own.ready)
    async with Api(own.env['IM_HTTP']) as api:
        a, b = await People()(api, 'alice', 'bob')
        s = await a.connect()
        first = new_cmid()
        acked = await taken(a.send, b.uid, 'first', first)
        await own_stored(own, 1, a, b)
        cmids = [new_cmid() for _ in range(12)]
        with frozen(own, 'kafka'):
            await asyncio.to_thread(own.refuse)
            for cmid in cmids:
                await refused_at_once(a.send(b.uid, cmid, cmid))
            # A breaker has not opened: it is Logic that answers.
            said = await refused_at_once(a.send(b.uid, 'x'))
            assert said.body['detail'] == 'the message log is away'
            # The longer it has been away, the later they come.
            async for _ in tries('back in a second', BACK_S):
                if said.body['retry_after_ms'] > 1000:
                    break
                said = await refused_at_once(a.send(b.uid, 'x'))
            assert int(said.after) >= 2
            await s.write(type='send', to=str(b.uid), cmid=cmids[0],
                          body=cmids[0])
            error = await s.expect('error', 2 * SLOW)
            assert error['cmid'] == cmids[0]
            assert (error['code'], error['retryable']) == ('unavailable', True)
            assert error['retry_after_ms'] > 0
            # What is stored is acked, whichever Logic is asked.
            for _ in range(8):
                again = await a.send(b.uid, 'first', first)
                assert (again['msg_id'], again['dup']) == (
                    acked['msg_id'], True)
        # It is taken as soon as Kafka is back, with the next number.
        ack = await taken(a.send, b.uid, cmids[0], cmids[0], seconds=BACK_S)
        assert (ack['seq'], ack['dup']) == ('2', False)
        await asyncio.to_thread(own.ready)
        for cmid in cmids[1:]:
            await a.send(b.uid, cmid, cmid)
        await own_stored(own, 1 + len(cmids), a, b)


async def own_stored(own, n, a, b):
    """Waits for the rows of a conversation, which are numbered without gap."""
    sql = ('SELECT seq FROM messages WHERE conv_a = %d AND conv_b = %d '
           'ORDER BY seq' % (min(a.uid, b.uid), max(a.uid, b.uid)))
    async for _ in tries(lambda: rows, 20):
        rows = (await asyncio.to_thread(own.mysql, sql)).split()
        if rows == [str(i + 1) for i in range(n)]:
            return


def test_the_looks_name_every_column_and_index_of_the_schema(own):
    with open(os.path.join(TOP, 'services/logic/base/logic_probes.c')) as f:
        looks = re.sub(r'"\s*"', '', f.read())
    names = "FROM information_schema.{} WHERE table_schema = 'im'"
    columns, keys = {}, {}
    for line in own.mysql('SELECT table_name, column_name '
                          + names.format('columns')).splitlines():
        table, column = line.split('\t')
        columns.setdefault(table, set()).add(column)
    for line in own.mysql('SELECT DISTINCT table_name, index_name '
                          + names.format('statistics')
                          + " AND index_name LIKE 'by_%'").splitlines():
        table, key = line.split('\t')
        keys.setdefault(table, []).append(key)
    del columns['schema_versions']           # im_schema_read() looks at it
    assert len(columns) >= 8
    for table in columns:
        look = re.search(r'FROM %s (?:FORCE INDEX \((.*?)\) )?WHERE ([^"]*)"'
                         % table, looks)
        assert look, table
        assert keys.get(table, []) == ([look[1]] if look[1] else []), table
        assert set(re.findall(r'(\w+) = ', look[2])) == columns[table], table
