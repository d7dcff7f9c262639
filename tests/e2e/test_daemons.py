"""im-logic and im-task as an administrator meets them: options, mistakes in
the configuration, health, what they wait for, and how they end."""

import asyncio
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

import pytest
import websockets

from conftest import TOP
from im_wait import goes_on, tries

BOTH = pytest.mark.parametrize('name', ['im-logic', 'im-task'])
LINE = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z '
                  r'(err|warn|notice|info|debug) \S.*')


def conf_file(name):
    return os.path.join(TOP, 'conf', name[3:] + '.conf')


def run(stack, name, *options, **env):
    """(exit code, standard output, standard error)"""
    # Not what the caller's shell happens to say about a daemon's keys.
    clean = {k: v for k, v in stack.sanitized(name).items()
             if not k.startswith('IM_')}
    r = subprocess.run([stack.binary(name), *options], timeout=20, text=True,
                       env=dict(clean, **env), stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return r.returncode, r.stdout, r.stderr


def check(stack, name, text, tmp_path, **env):
    """What --check says of a file with this text; (file, code, stderr)"""
    f = tmp_path / 'test.conf'
    f.write_text(text)
    env.setdefault('IM_AUTH_JWT_KEY_FILE', stack.env['IM_JWT_KEY_FILE'])
    code, out, err = run(stack, name, '--config', str(f), '--check', **env)
    assert (code == 0) == (out == name + ': configuration ok\n')
    return str(f), code, err


@BOTH
def test_version_and_help(stack, name):
    code, out, err = run(stack, name, '--version')
    assert code == 0 and re.fullmatch(name + r' \d+\.\d+\.\d+\n', out)
    code, out, err = run(stack, name, '--help')
    assert code == 0 and err == ''
    for option in ('--config', '--check', '--version', '--help'):
        assert option in out


@BOTH
def test_the_shipped_file_has_every_key_with_its_default(stack, name):
    code, out, err = run(stack, name, '--help')
    said = {(m[1], m[2]): m[3].strip() for m in re.finditer(
        r'(?m)^  \[(\w+)\] (\w+) = (.*?)  ', out)}
    written, section = {}, None
    for line in open(conf_file(name)):
        line = line.strip()
        if line.startswith('['):
            section = line[1:-1]
        elif '=' in line and not line.startswith(';'):
            key, value = map(str.strip, line.split('=', 1))
            written[section, key] = value
    assert set(said) == set(written)
    for k, v in said.items():
        if v != '(must be given)':
            assert written[k] == v, k


@BOTH
def test_the_shipped_file_is_right(stack, name):
    code, out, err = run(stack, name, '--config', conf_file(name), '--check',
                         IM_AUTH_JWT_KEY_FILE=stack.env['IM_JWT_KEY_FILE'])
    assert (code, out, err) == (0, name + ': configuration ok\n', '')


@BOTH
@pytest.mark.parametrize('text, line, reason', [
    ('[redis]\n\nadress = x\n', 3, '[redis] has no key "adress"'),
    ('[reddis]\naddress = x\n', 2, '[reddis] has no key "address"'),
    ('; first\nlevel = info\n', 2, 'has no key "level"'),
    ('[redis]\ntags = 65\n', 2, '[redis] tags: "65" is not in 1-64'),
    ('[redis]\ntags = many\n', 2, '[redis] tags: "many" is not in 1-64'),
    ('[redis]\ntags =\n', 2, '[redis] tags: "" is not in 1-64'),
    ('[redis]\ntags = -1\n', 2, '[redis] tags: "-1" is not in 1-64'),
    ('[redis]\ntags = 1x\n', 2, '[redis] tags: "1x" is not in 1-64'),
    ('[mysql]\ntimeout_ms = 99999999999999999999999\n', 2, 'is not in'),
    ('[redis]\naddress = a\ntags 4\n', 3,
     'neither [section] nor key = value'),
    ('[redis\naddress = a\n', 1, 'neither [section] nor key = value'),
    ('[redis]\ntags 4\nx = y\n', 2, 'neither [section] nor key = value'),
    ('[redis]\ntags = 0\n[nothing]\nx = y\n', 2, 'is not in 1-64'),
])
def test_a_mistake_is_refused_with_file_line_and_reason(
        stack, name, text, line, reason, tmp_path):
    f, code, err = check(stack, name, text, tmp_path)
    assert code == 1
    assert err.startswith('%s: %s:%d: ' % (name, f, line)), err
    assert reason in err and err.count('\n') == 1, err


@BOTH
def test_a_wrong_level_is_refused(stack, name, tmp_path):
    f, code, err = check(stack, name, '[log]\nlevel = loud\n', tmp_path)
    assert code == 1 and f in err and 'notice' in err


@BOTH
def test_a_file_that_is_not_there(stack, name):
    code, out, err = run(stack, name, '--config', '/nowhere/x.conf')
    assert (code, out) == (1, '')
    assert err == (name + ': /nowhere/x.conf: cannot be read: No such '
                   'file or directory\n')


@BOTH
@pytest.mark.parametrize('options', [['--verbose'], ['x.conf'], ['--config'],
                                     ['']])
def test_an_unknown_option_is_refused(stack, name, options):
    code, out, err = run(stack, name, *options)
    assert (code, out) == (1, '') and '--help' in err


@BOTH
def test_the_environment_goes_before_the_file(stack, name, tmp_path):
    text = '[redis]\ntags = 4\n'
    f, code, err = check(stack, name, text, tmp_path, IM_REDIS_TAGS='64')
    assert code == 0
    f, code, err = check(stack, name, text, tmp_path, IM_REDIS_TAGS='lots')
    assert code == 1
    assert 'IM_REDIS_TAGS' in err and '"lots" is not in 1-64' in err


def test_logic_wants_a_key_for_tokens(stack, tmp_path):
    code, out, err = run(stack, 'im-logic', '--check')
    assert code == 1 and '[auth] jwt_key_file must be given' in err
    short = tmp_path / 'short.key'
    short.write_text('x' * 31 + '\n')
    code, out, err = run(stack, 'im-logic', '--check',
                         IM_AUTH_JWT_KEY_FILE=str(short))
    assert code == 1 and 'shorter than 32 bytes' in err and str(short) in err
    assert 'xxxx' not in err
    code, out, err = run(stack, 'im-logic', '--check',
                         IM_AUTH_JWT_KEY_FILE='/nowhere/key')
    assert code == 1 and 'No such file' in err


def test_task_takes_a_role(stack):
    for role in ('push', 'store', 'all'):
        assert run(stack, 'im-task', '--role', role, '--check')[0] == 0
    code, out, err = run(stack, 'im-task', '--role', 'both', '--check')
    assert code == 1 and 'push, store or all' in err
    code, out, err = run(stack, 'im-logic', '--role', 'push', '--check')
    assert code == 1


def test_a_wait_for_an_instance_must_end_before_the_member_is_replaced(stack):
    env = {'IM_KAFKA_POLL_MAX_MS': '6000', 'IM_PUSH_CONFIRM_MS': '6000'}
    code, out, err = run(stack, 'im-task', '--check', **env)
    assert code == 1 and '[push] confirm_ms' in err, err
    # Who only stores waits for no instance.
    assert run(stack, 'im-task', '--role', 'store', '--check', **env)[0] == 0
    env['IM_PUSH_CONFIRM_MS'] = '5999'
    assert run(stack, 'im-task', '--check', **env)[0] == 0


def get(address, path='/healthz', data=None):
    try:
        with urllib.request.urlopen('http://%s%s' % (address, path), data,
                                    timeout=5) as r:
            return r.status, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


@pytest.mark.parametrize('key', ['IM_LOGIC_HEALTH', 'IM_TASK_HEALTH'])
def test_health_is_asked_for_by_name_and_by_get(stack, key):
    # What a test before has stopped may be starting.
    for _ in tries(lambda: (status, body), 30):
        try:
            status, body = get(stack.env[key], '/readyz')
        except OSError as e:
            status, body = 0, e
        if status == 200:
            break
    said = json.loads(body)
    assert said['ready'] is True and said['missing'] == []
    assert get(stack.env[key])[0] == 200
    with urllib.request.urlopen('http://%s/healthz' % stack.env[key],
                                timeout=5) as r:
        assert r.headers['X-Content-Type-Options'] == 'nosniff'
        assert r.headers['Content-Type'] == 'application/json'
        assert set(json.load(r)) == set(said)
    assert get(stack.env[key], '/other')[0] == 404
    assert get(stack.env[key], data=b'x')[0] == 405


class Daemon:
    """A daemon of our own beside those of the stack, which it must not
    disturb: another prefix in etcd, other consumer groups."""

    def __init__(self, stack, name, tmp_path, *options, **env):
        mark = os.urandom(4).hex()
        e = stack.env
        self.name = name
        self.log = tmp_path / (name + '.log')
        self.port_file = tmp_path / (name + '.port')
        every = {
            'IM_ETCD_ENDPOINTS': e['IM_ETCD'],
            'IM_ETCD_PREFIX': '/test-' + mark,
            'IM_REDIS_ADDRESS': 'unix:' + e['IM_REDIS'],
            'IM_MYSQL_ADDRESS': 'unix:' + e['IM_MYSQL'],
            'IM_MYSQL_USER': e['IM_MYSQL_USER'],
            'IM_MYSQL_DATABASE': e['IM_MYSQL_DATABASE'],
            'IM_KAFKA_BROKERS': e['IM_KAFKA_BROKERS'],
            'IM_AUTH_JWT_KEY_FILE': e['IM_JWT_KEY_FILE'],
            'IM_PUSH_GROUP': 'push-' + mark,
            'IM_STORE_GROUP': 'store-' + mark,
            'IM_HEALTH_PORT_FILE': str(self.port_file),
            'IM_LOG_LEVEL': 'notice',
        }
        with open(self.log, 'w') as f:
            self.process = subprocess.Popen(
                [stack.binary(name), *options], stdin=subprocess.DEVNULL,
                stdout=f, stderr=f, cwd=str(tmp_path),
                env=dict(stack.sanitized(name), **dict(every, **env)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def until(self, true, what, seconds=40):
        for _ in tries(lambda: '%s: %s' % (what, self.log.read_text()),
                       seconds):
            if true():
                break
            assert self.process.poll() is None, self.log.read_text()

    def health(self, path='/readyz'):
        """(status, object), or (0, {}) before it listens."""
        try:
            status, body = get('127.0.0.1:%d' % int(
                self.port_file.read_text()), path)
            return status, json.loads(body)
        except (OSError, ValueError):
            return 0, {}

    def healthy(self):
        return self.health()[0] == 200

    def misses(self, name):
        """What /readyz says of it, if it is missing."""
        for m in self.health()[1].get('missing', []):
            if m['name'] == name:
                return m['error']
        return None

    def end(self, how=signal.SIGTERM, seconds=30):
        self.process.send_signal(how)
        return self.process.wait(seconds)


@BOTH
@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(stack, name, how, tmp_path):
    with Daemon(stack, name, tmp_path) as d:
        d.until(d.healthy, 'not healthy')
        assert d.end(how) == 0
        lines = d.log.read_text().splitlines()
        assert all(LINE.fullmatch(line) for line in lines), lines
        assert lines[-1].endswith(name + ' ends')


@BOTH
@pytest.mark.parametrize('key, what, address', [
    ('IM_REDIS_ADDRESS', 'redis', 'unix:/nowhere/redis'),
    ('IM_MYSQL_ADDRESS', 'mysql', 'unix:/nowhere/mysql'),
    ('IM_REDIS_ADDRESS', 'redis', '127.0.0.1:1')])
def test_what_is_missing_is_waited_for_and_said_once(stack, name, key, what,
                                                     address, tmp_path):
    with Daemon(stack, name, tmp_path, **{key: address}) as d:
        d.until(lambda: ' warn ' + what in d.log.read_text(), 'says nothing')
        goes_on(lambda: d.process.poll() is None, 'it has ended', 1)
        assert d.log.read_text().count(' warn ' + what) == 1
        assert d.end() == 0


def test_logic_waits_for_kafka(stack, tmp_path):
    with Daemon(stack, 'im-logic', tmp_path,
                IM_KAFKA_BROKERS='127.0.0.1:1') as d:
        d.until(lambda: ' warn kafka' in d.log.read_text(), 'says nothing')
        assert 'Connection refused' in d.misses('kafka')
        goes_on(lambda: d.process.poll() is None, 'it has ended', 1)
        assert not d.healthy()
        assert d.end() == 0


@BOTH
def test_without_etcd_it_is_up_but_not_healthy(stack, name, tmp_path):
    with Daemon(stack, name, tmp_path, IM_ETCD_ENDPOINTS='127.0.0.1:1') as d:
        d.until(lambda: d.misses('etcd'), 'etcd is not missing')
        assert not d.healthy() and d.process.poll() is None
        assert d.health('/healthz')[0] == 200
        assert d.end() == 0


def test_store_alone_needs_neither_etcd_nor_redis(stack, tmp_path):
    with Daemon(stack, 'im-task', tmp_path, '--role', 'store',
                IM_ETCD_ENDPOINTS='127.0.0.1:1',
                IM_REDIS_ADDRESS='unix:/nowhere/redis') as d:
        d.until(d.healthy, 'not healthy')
        assert d.end() == 0


def test_push_alone_needs_no_mysql(stack, tmp_path):
    with Daemon(stack, 'im-task', tmp_path, '--role', 'push',
                IM_MYSQL_ADDRESS='unix:/nowhere/mysql') as d:
        d.until(d.healthy, 'not healthy')
        assert d.end() == 0


def test_a_task_that_stops_leaves_its_partitions_to_the_others(stack, tmp_path):
    """Now, and not when its session has ended."""
    every = {'IM_STORE_GROUP': 'store-' + os.urandom(4).hex(),
             'IM_KAFKA_SESSION_MS': '60000'}
    places = [tmp_path / 'one', tmp_path / 'other']
    for place in places:
        place.mkdir()
    with Daemon(stack, 'im-task', places[0], '--role', 'store', **every) as one:
        one.until(one.healthy, 'not healthy')
        assert 'kafka assigned: ' in one.log.read_text()
        with Daemon(stack, 'im-task', places[1], '--role', 'store',
                    **every) as other:
            other.until(other.healthy, 'not healthy')
            n = re.search(r'kafka assigned: (\d+)', one.log.read_text())[1]
            has_all = 'kafka assigned: %s partitions' % n
            assert has_all not in other.log.read_text()
            assert one.end() == 0
            other.until(lambda: has_all in other.log.read_text(),
                        'has not all partitions', 30)
            assert other.end() == 0


@BOTH
def test_an_address_that_is_taken_is_said_before_it_takes_part(stack, name,
                                                               tmp_path):
    """It must not take partitions or be found by peers, only to go again."""
    taken = stack.env['IM_LOGIC_HEALTH']
    with Daemon(stack, name, tmp_path, IM_HEALTH_LISTEN=taken) as d:
        assert d.process.wait(20) == 1
        text = d.log.read_text()
        assert 'cannot listen on %s: Address already in use' % taken in text
        assert not re.search('kafka|etcd|registered|serves', text), text


@BOTH
def test_while_it_waits_it_says_that_it_starts(stack, name, tmp_path):
    with Daemon(stack, name, tmp_path,
                IM_REDIS_ADDRESS='unix:/nowhere/redis') as d:
        d.until(lambda: ' warn redis' in d.log.read_text(), 'says nothing')
        status, said = d.health()
        assert status == 503 and said['starting'] is True
        status, said = d.health('/healthz')
        assert status == 200 and said['starting'] is True
        assert said['ready'] is False
        assert d.end() == 0


async def test_logs_hold_no_token_password_or_body(api, people, stack):
    alice = await people(api, 'alice')
    secret = 'secret' + os.urandom(8).hex()
    alice.password = secret + '-wrong'
    with pytest.raises(Exception):
        await alice.log_in()
    s = await alice.connect()
    await s.send(alice.uid, secret)
    await s.write(type='send', to='0', body=secret)
    await s.expect('error')
    async with websockets.connect('ws://%s/ws?access_token=%s' % (
            api.address, alice.token)) as ws:
        await asyncio.wait_for(ws.recv(), 5)
    folder = os.path.join(stack.dir, 'log')
    for name in os.listdir(folder):
        if not name.startswith(('logic', 'task', 'nginx')):
            continue
        with open(os.path.join(folder, name), errors='replace') as f:
            text = f.read()
        for word in (secret, alice.token, alice.refresh_token,
                     'correct horse'):
            assert word not in text, name


@BOTH
def test_tls_files_are_checked_before_anything_starts(stack, name):
    key = stack.env['IM_JWT_KEY_FILE']
    env = {'IM_RPC_TLS_CA': key}
    if name == 'im-logic':
        env['IM_AUTH_JWT_KEY_FILE'] = key
    code, out, err = run(stack, name, '--check', **env)
    assert code == 1
    assert '[rpc] tls_ca needs tls_cert, tls_key and tls_name' in err
    env.update(IM_RPC_TLS_CERT=key, IM_RPC_TLS_KEY=key)
    code, out, err = run(stack, name, '--check', **env)
    assert code == 1
    assert '[rpc] TLS: "%s" is not PEM' % key in err


@BOTH
def test_tls_keys_must_belong_to_their_certificates(stack, name, tmp_path):
    tier = name[3:]
    for n, san in (('one', 'DNS:im,DNS:%s.im' % tier), ('two', 'DNS:im')):
        subprocess.run(
            ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
             'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj',
             '/CN=' + n, '-addext', 'subjectAltName=' + san, '-keyout',
             n + '.key', '-out', n + '.pem'],
            cwd=tmp_path, check=True, timeout=20, stderr=subprocess.DEVNULL)
    one, two = str(tmp_path / 'one'), str(tmp_path / 'two')
    for section in ('RPC', 'ETCD'):
        env = {'IM_%s_TLS_%s' % (section, k): one + '.pem'
               for k in ('CA', 'CERT')}
        if name == 'im-logic':
            env['IM_AUTH_JWT_KEY_FILE'] = stack.env['IM_JWT_KEY_FILE']
        key = 'IM_%s_TLS_KEY' % section
        code, out, err = run(stack, name, '--check', **env,
                             **{key: '/nonexistent/key.pem'})
        assert code == 1
        assert '"/nonexistent/key.pem" cannot be read: No such file' in err
        code, out, err = run(stack, name, '--check', **env,
                             **{key: two + '.key'})
        assert code == 1
        assert '[%s] TLS: "%s.key" is not the key of "%s.pem"' % (
            section.lower(), two, one) in err
        code, out, err = run(stack, name, '--check', **env,
                             **{key: one + '.key'})
        assert (code, err) == (0, '')
    # That of another tier, or of earlier versions, is found before the start.
    env = {'IM_RPC_TLS_CA': one + '.pem', 'IM_RPC_TLS_CERT': two + '.pem',
           'IM_RPC_TLS_KEY': two + '.key'}
    if name == 'im-logic':
        env['IM_AUTH_JWT_KEY_FILE'] = stack.env['IM_JWT_KEY_FILE']
    code, out, err = run(stack, name, '--check', **env)
    assert code == 1
    assert '[rpc] TLS: "%s.pem" is not for "%s.im", it carries "im"' % (
        two, tier) in err
