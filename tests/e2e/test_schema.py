"""im-schema brings every database to the schema of this version, whatever
stopped it before, and the daemons say what to type until it has.

One test has a stack of its own, since it takes the tables from under it.
"""

import os
import re
import signal
import subprocess

import pytest

from conftest import TOP, People, taken
from im_client import Api
from im_sanitizer import complaints
from im_wait import until
from test_daemons import BOTH, Daemon
from test_health import BACK_S, DAEMONS, Own, own_stored

BEFORE = os.path.join(TOP, 'tests/e2e/schema_before.sql')
TABLES = ('users', 'sessions', 'messages', 'conversations', 'rooms', 'members',
          'removals', 'blocks')
KNOWN = len(os.listdir(os.path.join(TOP, 'conf/schema')))
ROWS = """
INSERT INTO users (name, password, created_ms) VALUES ('old', 'x', 1);
INSERT INTO messages VALUES (1, 2, 1, 7, 1, 1, 'c', 'first');
INSERT INTO conversations (uid, conv_a, conv_b, read_seq) VALUES (1, 1, 2, 1);
INSERT INTO members VALUES (3, 1, 1, 0, 1);
"""


class Base:
    """A database of its own beside that of the stack."""

    def __init__(self, stack):
        self.stack = stack
        self.name = 'old_' + os.urandom(4).hex()
        self.env = {'IM_MYSQL_ADDRESS': 'unix:' + stack.env['IM_MYSQL'],
                    'IM_MYSQL_USER': stack.env['IM_MYSQL_USER'],
                    'IM_MYSQL_DATABASE': self.name}

    def __enter__(self):
        self.sql("CREATE DATABASE {0} CHARACTER SET utf8mb4; GRANT ALL ON "
                 "{0}.* TO 'im'@'localhost'".format(self.name), 'mysql')
        return self

    def __exit__(self, *_):
        self.sql('DROP DATABASE ' + self.name, 'mysql')

    def client(self, database=None):
        return ['mariadb', '--no-defaults', '-N', '-B', '-n', '-u', 'root',
                '-S', self.stack.env['IM_MYSQL'], database or self.name]

    def sql(self, text, database=None):
        r = subprocess.run(self.client(database), input=text, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=60)
        assert r.returncode == 0, r.stdout
        return r.stdout

    def old(self):
        with open(BEFORE) as f:
            self.sql(f.read() + ROWS)

    def start(self, *args, binary=None, **env):
        return subprocess.Popen(
            [binary or self.stack.binary('im-schema'), *args], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=dict(
                self.stack.sanitized('im-schema'), **dict(self.env, **env)))

    def run(self, *args, **kw):
        """(exit code, output)"""
        p = self.start(*args, **kw)
        out, _ = p.communicate(timeout=60)
        return p.returncode, out

    def shape(self):
        """Every column and index, in any order."""
        return sorted(self.sql(
            "SELECT table_name, column_name, column_type, is_nullable, "
            "column_default, extra FROM information_schema.columns WHERE "
            "table_schema = '{0}'; SELECT table_name, index_name, "
            "seq_in_index, column_name, non_unique FROM "
            "information_schema.statistics WHERE table_schema = '{0}'"
            .format(self.name)).splitlines())

    def has_old_rows(self):
        assert self.sql('SELECT name FROM users; SELECT body, run_seq FROM '
                        'messages; SELECT read_seq, last_id, own_above FROM '
                        'conversations; SELECT room FROM members') == (
                            'old\nfirst\t0\n1\t0\tNULL\n3\n')


@pytest.fixture
def base(stack):
    with Base(stack) as base:
        yield base


@pytest.fixture(scope='module')
def fresh(stack):
    """What a new database has."""
    with Base(stack) as base:
        assert base.run('up')[0] == 0
        return base.shape()


def test_status_says_what_is_done_and_what_is_not(base):
    code, out = base.run('status')
    assert code == 3
    assert ('%s at unix:%s: schema 0, this program needs %d\n' % (
        base.name, base.stack.env['IM_MYSQL'], KNOWN)) in out
    assert re.search(r'0002-voids +0 of 1 statements done\n', out)
    code, out = base.run('up')
    assert code == 0 and out.endswith('%s has schema %d\n'
                                      % (base.name, KNOWN)), out
    code, out = base.run('status')
    assert code == 0 and len(re.findall(r' done \d{4}-', out)) == KNOWN, out
    shape = base.shape()
    assert base.run('up') == (0, '%s has schema %d\n' % (base.name, KNOWN))
    assert base.shape() == shape


def test_what_it_cannot_do_is_said(base, tmp_path):
    for args in ((), ('down',), ('up', 'now'), ('--config',), ('--config',
                                                               'x')):
        code, out = base.run(*args)
        assert code == 2 and out.startswith('usage: im-schema '), args
    assert re.fullmatch(r'im-schema \d+\.\d+\.\d+, schema %d\n' % KNOWN,
                        base.run('--version')[1])
    # It takes the file of either daemon, and looks at one section of it.
    for name in ('logic', 'task'):
        assert base.run('--config', os.path.join(TOP, 'conf', name + '.conf'),
                        'status')[0] == 3
    f = tmp_path / 'x.conf'
    f.write_text('[auth]\njwt_key_file = x\n[mysql]\nadress = x\n')
    code, out = base.run('-c', str(f), 'up')
    assert (code, out) == (1, 'im-schema: %s:4: [mysql] has no key "adress"\n'
                           % f)
    code, out = base.run('up', IM_MYSQL_ADDRESS='unix:/nowhere/mysql')
    assert code == 1 and 'unix:/nowhere/mysql: cannot connect: ' in out
    code, out = base.run('up', IM_MYSQL_DATABASE='nowhere_at_all')
    assert code == 1 and out.count('\n') == 1, out


def test_a_database_of_an_earlier_version_gets_all_of_the_new_one(base, fresh):
    base.old()
    base.sql('ALTER TABLE sessions DROP KEY family_hash, DROP COLUMN '
             'family_hash, DROP COLUMN turned_ms')      # one before that
    code, out = base.run('up')
    assert code == 0, out
    assert base.shape() == fresh
    base.has_old_rows()


def test_who_is_killed_at_any_statement_is_followed_by_one_who_goes_on(
        base, fresh, crashing):
    base.old()
    died = 0
    while True:
        # What the one before has done, and could not write down, and one more.
        code, out = base.run('up', binary=os.path.join(crashing, 'im-schema'),
                             IM_CRASH_AT='schema.step:%d' % (2 if died else 1))
        if code != 137:
            break
        died += 1
        assert died < 100
        assert base.run('status')[0] == 3
    assert code == 0, out
    assert died > 3 * KNOWN
    assert base.shape() == fresh
    base.has_old_rows()


def test_many_at_once_do_the_work_once(base, fresh):
    base.old()
    running = [base.start('up') for _ in range(4)]
    said = ''
    for p in running:
        out, _ = p.communicate(timeout=60)
        assert p.returncode == 0, out
        said += out
    assert len(re.findall(r'done in', said)) == KNOWN, said
    assert base.shape() == fresh
    base.has_old_rows()


def test_a_long_transaction_holds_up_the_schema_and_nobody_else(base, fresh):
    base.old()
    other = subprocess.Popen(base.client(), stdin=subprocess.PIPE, text=True,
                             stdout=subprocess.PIPE)
    other.stdin.write('BEGIN;\nSELECT seq FROM messages;\n')
    other.stdin.flush()
    assert other.stdout.readline() == '1\n'
    p = base.start('up')
    for line in p.stdout:
        if 'waits for a transaction' in line:
            break
    assert line.startswith('  0003-runs '), line
    # Others write meanwhile; it is killed, and the transaction ends.
    base.sql("INSERT INTO messages (conv_a, conv_b, seq, msg_id, sender, "
             "time_ms, cmid, body) VALUES (1, 2, 2, 8, 1, 1, 'd', 'next')")
    p.send_signal(signal.SIGKILL)
    p.wait(20)
    p.stdout.close()
    other.communicate('COMMIT;\n', timeout=20)
    code, out = base.run('up')
    assert code == 0, out
    assert base.shape() == fresh
    assert base.sql('SELECT seq, run_seq FROM messages') == '1\t0\n2\t0\n'


@BOTH
def test_a_daemon_waits_for_its_schema_and_says_what_to_type(base, name,
                                                             tmp_path):
    base.old()
    conf = tmp_path / 'im.conf'
    conf.write_text('[mysql]\ndatabase = ' + base.name)
    with Daemon(base.stack, name, tmp_path, '--config', str(conf),
                IM_MYSQL_DATABASE=base.name) as d:
        d.until(lambda: 'needs' in (d.misses('schema') or ''), 'no schema')
        said = d.misses('schema')
        assert said == ('database "%s" has schema 0, and this program needs '
                        '%d: type im-schema --config %s up' % (
                            base.name, KNOWN, conf))
        assert d.misses('mysql') is None
        assert d.health()[1]['starting'] is True
        assert d.log.read_text().count(' warn schema: ' + said) == 1
        command = said.split(': type im-schema ')[1].split()
        code, out = base.run(*command)
        assert code == 0, out
        d.until(d.healthy, 'not ready', BACK_S)
        assert d.end() == 0


@BOTH
def test_a_daemon_works_with_a_newer_schema_that_lets_it(base, name,
                                                         tmp_path):
    assert base.run('up')[0] == 0
    base.sql("INSERT INTO schema_versions VALUES (%d, '9999-x', %d, 1, 1)"
             % (KNOWN + 1, KNOWN))
    assert base.run('up') == (0, '%s has schema %d\n' % (base.name,
                                                         KNOWN + 1))
    with Daemon(base.stack, name, tmp_path, IM_MYSQL_DATABASE=base.name) as d:
        d.until(d.healthy, 'not ready')
        # The next migration has begun, and takes away what this one needs.
        base.sql("INSERT INTO schema_versions VALUES (%d, '9999-y', %d, 0, 0)"
                 % (KNOWN + 2, KNOWN + 1))
        d.until(lambda: d.misses('schema'), 'it does not see it', BACK_S)
        assert d.misses('schema') == (
            'database "%s" has schema %d, which needs programs of schema %d or '
            'later, and this one is of %d: install the version that the schema '
            'came with' % (base.name, KNOWN + 1, KNOWN + 1, KNOWN))
        assert d.end() == 0
    with Daemon(base.stack, name, tmp_path, IM_MYSQL_DATABASE=base.name) as d:
        d.until(lambda: 'install' in (d.misses('schema') or ''), 'it starts')
        assert d.health()[1]['starting'] is True
        assert d.end() == 0
    for what in ('up', 'status'):
        code, out = base.run(what)
        assert code == 1 and 'install the version' in out, out


@pytest.fixture
def own(stack):
    own = Own(stack, 'schema')
    try:
        own.start()
        yield own
    finally:
        own.tool('stop')
    logs = os.path.join(TOP, 'build', 'stack', own.name, 'log')
    assert complaints(logs) == []


def back_to_the_version_before(own):
    """The tables that it made, with the rows that are there."""
    own.mysql('CREATE DATABASE aside; DROP TABLE schema_versions, voids;'
              + ''.join('RENAME TABLE {0} TO aside.{0};'.format(t)
                        for t in TABLES))
    with open(BEFORE) as f:
        own.mysql(f.read())
    for t in TABLES:
        columns = ','.join('`%s`' % c for c in own.mysql(
            "SELECT column_name FROM information_schema.columns WHERE "
            "table_schema = 'im' AND table_name = '%s'" % t).split())
        own.mysql('INSERT INTO {0} ({1}) SELECT {1} FROM aside.{0}'.format(
            t, columns))
    own.mysql('DROP DATABASE aside')


async def listed(user, other):
    r = await taken(user.api.call, 'GET', '/v1/conversations', user.token)
    return next(c for c in r['conversations']
                if c['with'] == str(other.uid))


async def test_people_go_on_where_the_version_before_has_left_them(own):
    async with Api(own.env['IM_HTTP']) as api:
        a, b = await People()(api, 'alice', 'bob')
        for i in range(3):
            await taken(a.send, b.uid, 'text %d' % i)
        await own_stored(own, 3, a, b)
        for n in DAEMONS:
            own.tool('ctl', 'stop', n)
        back_to_the_version_before(own)
        for n in DAEMONS:
            own.tool('ctl', 'start', n)
        said = own.sees(['schema'])
        assert all('type im-schema ' in s['schema'] for s in said.values())
        r = subprocess.run(
            [own.binary('im-schema'), 'up'], text=True, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(
                own.sanitized('im-schema'), IM_MYSQL_DATABASE='im',
                IM_MYSQL_ADDRESS='unix:' + own.env['IM_MYSQL'],
                IM_MYSQL_USER='im'))
        assert r.returncode == 0, r.stdout
        own.ready()
        await until(own.stack.nginx_ready, 'nginx is not ready')
        await taken(a.log_in)
        await taken(b.log_in)
        ack = await taken(a.send, b.uid, 'text 3')
        assert ack['seq'] == '4'
        await own_stored(own, 4, a, b)
        for me, other in ((a, b), (b, a)):
            r = await taken(me.history, other.uid)
            assert sorted(m['body'] for m in r['messages']) == [
                'text %d' % i for i in range(4)]
        assert (await listed(b, a))['unread'] == 4
