"""What Kafka has, MySQL gets, once: im-task dies between two steps, members
come and go, the database is away, records are bad or come twice.

The stack's own im-task stands still meanwhile (`alone`), and a test starts
its own in the same consumer groups.  kcat speaks to Kafka.
"""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading

import pytest

from conftest import TOP
from im_client import Problem, new_cmid
from im_wait import lasts, pace, tries, until
from test_daemons import Daemon, get

# A dead member is replaced after this long; the stack's broker allows it.
SESSION_MS = 2000
# As long as a process may be late on a busy machine, and be no dead member.
PATIENT_MS = 3000


@pytest.fixture
def alone(stack):
    stack.tool('ctl', stack.name, 'stop', 'task-1')
    yield
    stack.tool('ctl', stack.name, 'start', 'task-1')


class Task(Daemon):
    """An im-task that takes part in the stack's work."""

    def __init__(self, stack, tmp_path, name, *options, binary=None, **env):
        folder = tmp_path / name
        folder.mkdir()
        self.binary = binary
        super().__init__(self.Binary(stack, binary), 'im-task', folder,
                         *options, **dict({
                             'IM_ETCD_PREFIX': '/im',
                             'IM_PUSH_GROUP': 'im.push',
                             'IM_STORE_GROUP': 'im.store',
                             'IM_KAFKA_SESSION_MS': str(SESSION_MS),
                         }, **env))

    class Binary:
        def __init__(self, stack, path):
            self.env = stack.env
            self.sanitized = stack.sanitized
            self.binary = (lambda name: path) if path else stack.binary

    async def says(self, true, what, seconds=30):
        async for _ in tries(lambda: '%s: %s %s' % (
                what, h, self.log.read_text()), seconds):
            assert self.process.poll() is None, self.log.read_text()
            h = self.health()
            if h[0] and 'starting' not in h[1] and true(h[1]):
                return h[1]

    def __exit__(self, *_):
        # What it has done is committed: the next one counts its own.
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        super().__exit__()

    async def joins(self):
        await self.says(lambda h: 'kafka assigned' in self.log.read_text(),
                        'no partitions')

    async def idle(self):
        """Its counters, once it has done what there was."""
        await self.joins()
        return await self.says(lambda h: h['lag'] == 0, 'lag')

    async def counts(self, since, n):
        """(stored, known, dead, reused) of the next n records."""
        def of(h):
            return [h[k] - since[k] for k in ('stored', 'known', 'dead',
                                              'reused')]
        return of(await self.says(lambda h: sum(of(h)[:3]) >= n,
                                  'less than %d records' % n))


@pytest.fixture(scope='session')
def record(tmp_path_factory):
    """Makes the bytes of a record; keywords are its fields."""
    out = str(tmp_path_factory.mktemp('record'))
    subprocess.run(['protoc', '--python_out=' + out, '-I',
                    os.path.join(TOP, 'proto'), 'stream.proto',
                    'client.proto', 'query.proto', 'room.proto'],
                   check=True, timeout=30)
    sys.path.insert(0, out)
    import stream_pb2

    def make(sender=None, **fields):
        r = stream_pb2.Record(time_ms=1, cmid='c', body=b'"x"')
        for k, v in fields.items():
            # `from` is a word of Python
            setattr(r, k, v)
        setattr(r, 'from', r.conv_a if sender is None else sender)
        return r.SerializeToString()

    return make


class Kafka:
    """kcat, against the stack's broker."""

    def __init__(self, stack, folder):
        self.brokers = stack.env['IM_KAFKA_BROKERS']
        self.folder = folder

    def run(self, *args):
        r = subprocess.run(['kcat', '-b', self.brokers, *args],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=30)
        assert r.returncode == 0, r.stderr.decode()
        return r.stdout

    def produce(self, *values, partition=0):
        """One record each, in order."""
        names = []
        for n, value in enumerate(values):
            path = str(self.folder / ('record.%d' % n))
            with open(path, 'wb') as f:
                f.write(value)
            names.append(path)
        self.run('-P', '-t', 'im.msg', '-p', str(partition), '-k', 'k',
                 *names)

    def dead(self):
        """[(headers, offset)] of all dead letters."""
        letters = []
        text = self.run('-C', '-q', '-e', '-t', 'im.dead', '-p', '0', '-o',
                        'beginning', '-f', '%o %h\n').decode()
        for line in text.splitlines():
            offset, headers = line.split(' ', 1)
            letters.append((dict(re.findall(
                r'(reason|from)=(.*?)(?=,(?:reason|from)=|$)', headers)),
                int(offset)))
        return letters

    def letter(self, offset):
        return self.run('-C', '-q', '-e', '-t', 'im.dead', '-p', '0', '-o',
                        str(offset), '-c', '1', '-f', '%s')


@pytest.fixture
def kafka(stack, tmp_path):
    return Kafka(stack, tmp_path)


class Way:
    """A TCP way to MySQL's socket that can be cut and mended."""

    def __init__(self, path):
        self.path = path
        self.open = True
        self.pairs = []
        self.server = socket.create_server(('127.0.0.1', 0))
        self.address = '127.0.0.1:%d' % self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                a, _ = self.server.accept()
            except OSError:
                return
            if not self.open:
                a.close()
                continue
            b = socket.socket(socket.AF_UNIX)
            b.connect(self.path)
            self.pairs.append((a, b))
            for x, y in ((a, b), (b, a)):
                threading.Thread(target=self.copy, args=(x, y),
                                 daemon=True).start()

    def copy(self, x, y):
        try:
            while True:
                data = x.recv(65536)
                if not data:
                    break
                y.sendall(data)
        except OSError:
            pass
        for s in (x, y):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.open = False
        for pair in self.pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def mend(self):
        self.open = True

    def close(self):
        self.cut()
        self.server.close()


@pytest.fixture
def way(stack):
    w = Way(stack.env['IM_MYSQL'])
    yield w
    w.close()


def stranger():
    """A user id that no account has."""
    return 2 ** 40 + int.from_bytes(os.urandom(4), 'big')


def rows(stack, conv, columns='seq, msg_id'):
    return stack.mysql('SELECT %s FROM messages WHERE conv_a = %d AND '
                       'conv_b = %d ORDER BY seq' % ((columns,) + conv))


def members(stack, conv):
    """uids that have a row in conversations."""
    return [int(r[0]) for r in stack.mysql(
        'SELECT uid FROM conversations WHERE conv_a = %d AND conv_b = %d '
        'ORDER BY uid' % conv)]


class Talk:
    """a tells b something, again and again, until it is told to stop."""

    def __init__(self, a, b, per_s=200):
        self.a, self.b, self.pause = a, b, 1 / per_s
        self.acks = {}                 # seq -> msg_id
        self.got = {}
        self.ended = False             # no more is to be said
        self.said = False              # all of it was acked

    async def __aenter__(self):
        self.from_a = await self.a.connect()
        self.at_b = await self.b.connect()
        self.tasks = [asyncio.create_task(self.write()),
                      asyncio.create_task(self.read())]
        return self

    async def write(self):
        while not self.ended:
            await self.from_a.write(type='send', to=str(self.b.uid),
                                    cmid=new_cmid(), body=len(self.acks))
            ack = await self.from_a.expect('ack')
            self.acks[int(ack['seq'])] = ack['msg_id']
            await pace(self.pause)
        self.said = True

    async def read(self):
        while not self.said or len(self.got) < len(self.acks):
            try:
                p = await self.at_b.expect('push', wait=0.2)
            except Problem as e:
                if 'closed' in str(e):
                    raise
                continue
            known = self.got.setdefault(int(p['seq']), p['msg_id'])
            assert known == p['msg_id']

    async def __aexit__(self, kind, *_):
        self.ended = True
        if kind is None:
            await asyncio.wait_for(asyncio.gather(*self.tasks), 30)
        for t in self.tasks:
            # What went wrong elsewhere may only follow from this.
            if kind and t.done() and not t.cancelled() and t.exception():
                print('of the talk: %r' % t.exception())
            t.cancel()

    async def is_whole(self, stack):
        """Every message that was acked is stored once, and pushed."""
        n = len(self.acks)
        assert n > 0 and sorted(self.acks) == list(range(1, n + 1))
        assert self.got == self.acks
        stored = await stack.stored(self.a, self.b, n)
        assert [(int(s), m) for s, m in stored] == sorted(self.acks.items())
        conv = tuple(sorted((self.a.uid, self.b.uid)))
        assert members(stack, conv) == list(conv)


@pytest.mark.parametrize('point', [
    'store.before_insert', 'store.inserted', 'store.conversations',
    'store.before_commit', 'push.sent', 'push.confirmed'])
async def test_a_crash_between_two_steps_loses_and_doubles_nothing(
        stack, api, people, alone, crashing, point, tmp_path):
    a, b = await people(api, 'alice', 'bob')
    with Task(stack, tmp_path, 'dies', binary=os.path.join(crashing, 'im-task'),
              IM_CRASH_AT=point + ':2') as dies:
        async with Talk(a, b) as talk:
            await until(lambda: dies.process.poll() is not None,
                        lambda: 'it lives: ' + dies.log.read_text())
            assert dies.process.returncode == 137
            assert len(talk.acks) > 0
            with Task(stack, tmp_path, 'lives') as lives:
                await lives.joins()
                n = len(talk.acks)
                await until(lambda: len(talk.acks) > n + 50, 'no talk')
                talk.ended = True
                await asyncio.wait_for(asyncio.gather(*talk.tasks), 30)
                await talk.is_whole(stack)
                await lives.says(lambda h: h['lag'] == 0, 'lag')
                assert lives.health()[1]['dead'] == 0
                assert lives.end() == 0


async def test_members_that_come_and_go_lose_and_double_nothing(
        stack, api, people, alone, tmp_path):
    a, b = await people(api, 'alice', 'bob')
    few = {'IM_STORE_BATCH': '7', 'IM_PUSH_BATCH': '7'}
    with Task(stack, tmp_path, 'stays', **few) as stays:
        async with Talk(a, b) as talk:
            for n in range(3):
                with Task(stack, tmp_path, 'comes%d' % n, **few) as comes:
                    await comes.joins()
                    await pace(0.5)
                    if n == 1:         # one that is not polite
                        comes.process.kill()
                        await lasts(SESSION_MS / 1000)
                    else:
                        assert await asyncio.to_thread(comes.end) == 0
        await talk.is_whole(stack)
        assert (await stays.says(lambda h: h['lag'] == 0, 'lag'))['dead'] == 0


async def test_another_group_that_reads_all_again_changes_nothing(
        stack, api, people, tmp_path):
    a, b = await people(api, 'alice', 'bob')
    for n in range(20):
        await a.send(b.uid, n)
    await stack.stored(a, b, 20)
    count = 'SELECT COUNT(*), SUM(CRC32(CONCAT_WS(0, conv_a, conv_b, seq, ' \
            'msg_id, cmid, body))) FROM messages'
    before = stack.mysql(count)
    with Task(stack, tmp_path, 'again', '--role', 'store',
              IM_STORE_GROUP='again-' + os.urandom(4).hex()) as again:
        h = await again.says(lambda h: h['known'] >= 20 and h['lag'] == 0,
                             'does not read all')
        assert h['stored'] == 0
        assert h['known'] + h['dead'] == h['store_records']
    assert stack.mysql(count) == before


async def test_while_mysql_is_away_the_group_is_served_and_nothing_is_lost(
        stack, api, people, alone, way, tmp_path):
    a, b = await people(api, 'alice', 'bob')
    with Task(stack, tmp_path, 'waits', '--role', 'store',
              IM_MYSQL_ADDRESS=way.address,
              IM_KAFKA_SESSION_MS=str(PATIENT_MS),
              IM_KAFKA_POLL_MAX_MS=str(PATIENT_MS)) as waits:
        before = await waits.idle()
        way.cut()
        for n in range(30):
            await a.send(b.uid, n)
        h = await waits.says(lambda h: not h['ready'] and h['lag'] == 30,
                             'no lag of 30')
        assert waits.health()[0] == 503
        # twice as long as a member may hang
        await lasts(2 * PATIENT_MS / 1000)
        assert not re.search(r'MAXPOLL|revoked', waits.log.read_text())
        for n in range(30, 40):
            await a.send(b.uid, n)
        await waits.says(lambda h: h['lag'] == 40, 'no lag of 40')
        way.mend()
        await waits.says(lambda h: h['ready'] and h['lag'] == 0, 'lag')
        assert len(await stack.stored(a, b, 40)) == 40
        assert waits.log.read_text().count('kafka assigned') == 1
        assert await waits.counts(before, 40) == [40, 0, 0, 0]


async def test_a_batch_that_waits_is_given_up_to_a_member_that_can_store(
        stack, api, people, alone, way, tmp_path):
    a, b = await people(api, 'alice', 'bob')
    with Task(stack, tmp_path, 'waits', '--role', 'store',
              IM_MYSQL_ADDRESS=way.address) as waits:
        await waits.joins()
        way.cut()
        for n in range(10):
            await a.send(b.uid, n)
        await waits.says(lambda h: not h['ready'], 'knows MySQL')
        with Task(stack, tmp_path, 'comes', '--role', 'store') as comes:
            await comes.joins()
            await until(lambda: 'is dropped' in waits.log.read_text(),
                        lambda: 'keeps its batch: ' + waits.log.read_text())
            # Who can store may not have this conversation's partition yet.
            waits.process.kill()
            assert len(await stack.stored(a, b, 10)) == 10
            await comes.says(lambda h: h['dead'] == 0, 'dead letters')


async def test_one_bad_row_does_not_keep_the_others_out(
        stack, alone, kafka, record, tmp_path):
    u, v = stranger(), stranger()
    conv = (min(u, v), max(u, v))
    place = dict(conv_a=conv[0], conv_b=conv[1])
    values = [record(seq=n, msg_id=1000 + n, **place) for n in range(1, 51)]
    bad = record(seq=51, msg_id=1051, **dict(place, cmid='c' * 65))
    values[20:20] = [bad, b'\xff\xff\xff']
    with Task(stack, tmp_path, 'stores', '--role', 'store',
              IM_STORE_FILL_MS='500') as stores:
        before = await stores.idle()
        letters = len(kafka.dead())
        kafka.produce(*values)
        assert await stores.counts(before, 52) == [50, 0, 2, 0]
        await stores.says(lambda h: h['lag'] == 0, 'lag')
    assert [(int(s), int(n)) for s, n in rows(stack, conv, 'seq, nth')] == [
        (n, n) for n in range(1, 51)]
    assert members(stack, conv) == list(conv)
    dead = kafka.dead()[letters:]
    assert len(dead) == 2
    assert all(re.fullmatch(r'im\.msg/0/\d+', d['from']) for d, _ in dead)
    reasons = {d['reason']: kafka.letter(offset) for d, offset in dead}
    assert reasons.pop('not a message') == b'\xff\xff\xff'
    (reason, value), = reasons.items()
    assert 'too long' in reason and 'cmid' in reason and value == bad


async def test_a_number_that_was_given_twice_is_kept_aside_and_counted(
        stack, alone, kafka, record, tmp_path):
    u, v = stranger(), stranger()
    conv = (min(u, v), max(u, v))
    place = dict(conv_a=conv[0], conv_b=conv[1], seq=1)
    second = record(msg_id=2002, **place)
    with Task(stack, tmp_path, 'stores', '--role', 'store') as stores:
        before = await stores.idle()
        letters = len(kafka.dead())
        kafka.produce(record(msg_id=2001, **place))
        await until(lambda: rows(stack, conv), 'not stored')
        kafka.produce(record(msg_id=2001, **place), second)
        assert await stores.counts(before, 3) == [1, 1, 1, 1]
        lines = [line for line in stores.log.read_text().splitlines()
                 if ' err ' in line]
        assert len(lines) == 1
        assert 'msg_id 2002' in lines[0] and 'msg_id 2001' in lines[0]
    assert rows(stack, conv) == [['1', '2001']]
    (headers, offset), = kafka.dead()[letters:]
    assert headers['reason'].startswith('number given twice')
    assert kafka.letter(offset) == second


async def test_messages_are_counted_once_however_late_and_often_they_come(
        stack, kafka, record):
    """The count is what unread messages are told by."""
    u, v = stranger(), stranger()
    conv = (min(u, v), max(u, v))

    def one(seq):
        return record(seq=seq, msg_id=1000 + seq, conv_a=conv[0],
                      conv_b=conv[1])

    async def places(*want):
        def got():
            return [tuple(int(n) for n in r)
                    for r in rows(stack, conv, 'seq, run_seq, nth, nth_a')]
        await until(lambda: len(got()) == len(want), got)
        assert got() == list(want)

    kafka.produce(one(5), one(2 ** 20))
    await places((5, 5, 1, 1), (2 ** 20, 5, 2, 2))
    kafka.produce(one(7), one(5), one(6), one(7), one(2 ** 20 + 1))
    await places((5, 5, 1, 1), (6, 5, 2, 2), (7, 5, 3, 3),
                 (2 ** 20, 5, 4, 4), (2 ** 20 + 1, 5, 5, 5))
    kafka.produce(one(3), one(2 ** 20 + 2))        # in front of the run
    await places((3, 0, 0, 0), (5, 5, 1, 1), (6, 5, 2, 2), (7, 5, 3, 3),
                 (2 ** 20, 5, 4, 4), (2 ** 20 + 1, 5, 5, 5),
                 (2 ** 20 + 2, 5, 6, 6))


async def test_ones_own_messages_around_a_read_mark_are_counted_exactly(
        stack, kafka, record):
    """A group's, in one batch and one by one; by what is above the mark."""
    u, v, room = stranger(), stranger(), stranger()
    for uid in (u, v):
        stack.mysql('INSERT INTO conversations (uid, conv_a, conv_b, read_seq, '
                    'own_above) VALUES (%d, 0, %d, 5, 0)' % (uid, room))

    def one(seq, sender=u):
        return record(seq=seq, msg_id=1000 + seq, conv_a=0, conv_b=room,
                      sender=sender)

    async def above(n, *want):
        await until(lambda: len(rows(stack, (0, room))) == n, 'not stored')
        assert [own for uid, own in sorted(
            (int(uid), own) for uid, own in stack.mysql(
                'SELECT uid, own_above FROM conversations WHERE conv_a = 0 '
                'AND conv_b = %d' % room))] == [
            str(own) for uid, own in sorted(zip((u, v), want))]

    kafka.produce(*[one(seq) for seq in range(3, 9)], one(10), one(2 ** 20),
                  one(9, v), one(4, v))
    await above(9, 5, 1)
    kafka.produce(one(5), one(2 ** 20 + 1), one(12), one(1))
    await above(12, 7, 1)


async def test_a_missing_table_makes_no_dead_letters(stack, api, people):
    a, b = await people(api, 'alice', 'bob')
    task = stack.env['IM_TASK_HEALTH']
    await a.send(b.uid, 'first')       # its counter needs the table
    await stack.stored(a, b, 1)
    dead = json.loads(get(task)[1])['dead']
    stack.mysql('RENAME TABLE messages TO messages_away')
    try:
        for n in range(10):
            await a.send(b.uid, n)
        await until(lambda: get(task, '/readyz')[0] == 503, 'still healthy')
        await lasts(1)
    finally:
        stack.mysql('RENAME TABLE messages_away TO messages')
    assert len(await stack.stored(a, b, 11)) == 11
    await until(lambda: get(task, '/readyz')[0] == 200, 'not healthy again')
    assert json.loads(get(task)[1])['dead'] == dead


async def test_a_message_to_oneself_makes_one_conversation(stack, api,
                                                           people):
    a = await people(api, 'alice')
    await a.send(a.uid, 'note')
    await until(lambda: members(stack, (a.uid, a.uid)), 'no conversation')
    assert members(stack, (a.uid, a.uid)) == [a.uid]


async def test_what_was_read_stays_read_when_a_row_is_written_again(
        stack, api, people, tmp_path):
    a, b = await people(api, 'alice', 'bob')
    conv = tuple(sorted((a.uid, b.uid)))
    await a.send(b.uid, 1)
    await until(lambda: members(stack, conv), 'no conversation')
    stack.mysql('UPDATE conversations SET read_seq = 1 WHERE conv_a = %d '
                'AND conv_b = %d' % conv)
    with Task(stack, tmp_path, 'again', '--role', 'store',
              IM_STORE_GROUP='again-' + os.urandom(4).hex()) as again:
        await again.says(lambda h: h.get('known') and h['lag'] == 0,
                         'does not read all')
    assert stack.mysql('SELECT read_seq FROM conversations WHERE conv_a = %d '
                       'AND conv_b = %d' % conv) == [['1'], ['1']]
