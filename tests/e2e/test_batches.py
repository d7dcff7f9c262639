"""What a batch of messages asks of MySQL and Redis, it asks once for all: a
flood of new conversations costs a few round trips, not several for each."""

import asyncio
import contextlib
import os
import subprocess

from conftest import drawn, taken
from im_client import new_cmid
from im_wait import pace, until
from test_logic_steps import Logic, stopped

FLOOD = 300
# Redis stands still for so long: what is sent meanwhile waits in one queue.
PAUSE_MS = 700
# Ten to forty are to be expected.  One message at a time cost 359 statements
# and four round trips to Redis for each, and one tag at a time 64 for a batch.
# The rest is for a machine that is so slow that many batches are made.
SELECTS, READS, TAGS_READS = 120, 400, 128


def redis(stack, *args):
    return subprocess.run(['redis-cli', '-s', stack.env['IM_REDIS'], *args],
                          stdout=subprocess.PIPE, text=True, check=True,
                          timeout=20).stdout


def counted(stack):
    """Questions to MySQL, and how often Redis was written to by a client."""
    selects = int(stack.mysql("SHOW GLOBAL STATUS LIKE 'Com_select'")[0][1])
    stats = dict(line.split(':') for line in
                 redis(stack, 'INFO', 'stats').split() if ':' in line)
    return selects, int(stats['total_reads_processed'])


class Cost:
    selects = reads = 0


@contextlib.contextmanager
def cost(stack):
    c = Cost()
    selects, reads = counted(stack)
    yield c
    c.selects, c.reads = (after - before for after, before in
                          zip(counted(stack), (selects, reads)))


def strangers(stack, n):
    """Users who only receive."""
    name = 'batch-%s-' % os.urandom(4).hex()
    uids = drawn(n)
    stack.mysql('INSERT INTO users (uid, name, password, created_ms) VALUES '
                + ', '.join("(%d, '%s%d', 'x', 1)" % (uid, name, i)
                            for i, uid in enumerate(uids)))
    return uids


async def flood(stack, socket, **to):
    """One message to each, all at once; their seqs."""
    field, ids = to.popitem()
    cmids = {new_cmid(): i for i in ids}
    redis(stack, 'CLIENT', 'PAUSE', str(PAUSE_MS))
    for cmid, i in cmids.items():
        await socket.write(type='send', cmid=cmid, body='hello',
                           **{field: str(i)})
    seqs = {}
    while len(seqs) < len(ids):
        f = await socket.receive(20)
        if f['type'] == 'ack':
            seqs[cmids[f['cmid']]] = int(f['seq'])
        elif f['type'] == 'error':
            # Whether Redis is a new one is asked of Kafka, which may be busy.
            assert f['retryable'], f
            await pace(0.1)
            await socket.write(type='send', cmid=f['cmid'], body='hello',
                               **{field: str(cmids[f['cmid']])})
    return seqs


async def test_a_flood_of_new_conversations_costs_a_few_round_trips(
        api, people, stack):
    a = await people(api, 'batches')
    others = await asyncio.to_thread(strangers, stack, FLOOD)
    s = await a.connect()
    with cost(stack) as c:
        seqs = await flood(stack, s, to=others)
    assert set(seqs.values()) == {1}
    # Do they exist, do they block, where did it end: 128 in a statement, and
    # a batch or two before Redis stands still.
    assert c.selects < SELECTS, c.selects
    assert c.reads < READS, c.reads
    # And all of them once more, when Redis has forgotten them.
    sql = ('SELECT COUNT(*) FROM messages WHERE %d IN (conv_a, conv_b)'
           % a.uid)
    await until(lambda: stack.mysql(sql) == [[str(FLOOD)]],
                lambda: stack.mysql(sql), 30)
    redis(stack, 'FLUSHALL')
    with cost(stack) as c:
        seqs = await flood(stack, s, to=others)
    # With a jump or without: Redis stood still when it was to be found out
    # what was on its way.
    assert {n % 2 ** 20 for n in seqs.values()} == {2}
    assert c.selects < SELECTS, c.selects
    assert c.reads < READS, c.reads
    # As after a long life, for the tests to come.
    redis(stack, 'SET', 'im:memory:{0}', '0')


async def test_a_flood_to_many_rooms_costs_a_few_round_trips(
        api, people, stack):
    a = await people(api, 'batches')
    name = 'batch-%s' % os.urandom(4).hex()
    rooms = drawn(FLOOD)
    stack.mysql('INSERT INTO rooms (room, kind, name, open, history, '
                'created_ms) VALUES ' + ', '.join(
                    "(%d, 1, '%s', 1, 1, 1)" % (room, name)
                    for room in rooms))
    stack.mysql('INSERT INTO members (room, uid, role, joined_ms) VALUES '
                + ', '.join('(%d, %d, 1, 1)' % (room, a.uid)
                            for room in rooms))
    s = await a.connect()
    with cost(stack) as c:
        seqs = await flood(stack, s, room=rooms)
    assert {n % 2 ** 20 for n in seqs.values()} == {1}
    assert c.selects < SELECTS, c.selects
    assert c.reads < READS, c.reads


async def test_keys_of_many_tags_cost_no_round_trip_each(
        api, people, stack, tmp_path):
    """With [redis] tags = 64; the scripts are gone once, too."""
    a = await people(api, 'batches')
    others = await asyncio.to_thread(strangers, stack, FLOOD)
    for tag in range(64):              # it has forgotten nothing
        redis(stack, 'SET', 'im:memory:{%d}' % tag, '0')
    with stopped(stack, 'logic-1'), Logic(stack, tmp_path,
                                          IM_REDIS_TAGS='64') as logic:
        await asyncio.to_thread(logic.takes_part)
        s = await a.connect()
        assert set((await flood(stack, s, to=others)).values()) == {1}
        with cost(stack) as c:
            redis(stack, 'SCRIPT', 'FLUSH')
            assert set((await flood(stack, s, to=others)).values()) == {2}
        assert c.reads < TAGS_READS, c.reads


async def test_without_mysql_only_a_conversation_that_redis_forgot_waits(
        api, people, stack):
    a, b, c = await people(api, 'batches', 'known', 'forgotten')
    s = await a.connect()
    await s.send(b.uid, 'one')
    await s.send(c.uid, 'one')
    await stack.stored(a, b, 1)
    await stack.stored(a, c, 1)
    key = 'im:s:{0}:%d:%d' % tuple(sorted((a.uid, c.uid)))
    redis(stack, 'SET', 'im:memory:{0}', '0')
    assert redis(stack, 'DEL', key) == '1\n'
    stack.tool('ctl', stack.name, 'stop', 'mysql')
    try:
        redis(stack, 'CLIENT', 'PAUSE', str(PAUSE_MS))
        sent = {new_cmid(): u for u in (b, c, b)}
        for cmid, u in sent.items():
            await s.write(type='send', to=str(u.uid), cmid=cmid, body='two')
        got = {b: [], c: []}
        for _ in sent:
            f = await s.receive(20)
            got[sent[f['cmid']]].append(f.get('seq') or f['code'])
    finally:
        stack.tool('ctl', stack.name, 'start', 'mysql')
        stack.tool('wait', stack.name)
    assert got == {b: ['2', '3'], c: ['unavailable']}
    assert (await taken(s.send, c.uid, 'three'))['seq'] == '2'
