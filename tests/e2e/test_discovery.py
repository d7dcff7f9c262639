"""Discovery against real etcd: who comes, leaves, dies or lies is seen as it
is, in time, whatever happens to etcd itself.

build/im-disc is the servers' own code as a program; etcd is started here, one
member or three, on ports of its own.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from im_stack.base import free_port

from im_wait import goes_on, pause, tries, wait_until

LEASE = 2
SOON = 10        # on a machine that does other things; else it is milliseconds


def free_ports(n):
    """Which no outgoing connection takes while etcd restarts."""
    ports = []
    for _ in range(n):
        ports.append(free_port(ports))
    return ports


class Etcd:
    """One member or several, each with data of its own."""

    def __init__(self, path, members=1, tls=None):
        self.path = path
        self.tls = tls             # folder with ca.pem, etcd.pem, etcd.key
        scheme = 'https://' if tls else 'http://'
        ports = free_ports(2 * members)
        self.client = ['127.0.0.1:%d' % p for p in ports[:members]]
        peers = ['http://127.0.0.1:%d' % p for p in ports[members:]]
        cluster = ','.join('m%d=%s' % (n, p) for n, p in enumerate(peers))
        self.commands = [
            ['etcd', '--name', 'm%d' % n, '--data-dir',
             os.path.join(path, 'm%d' % n),
             '--listen-client-urls', scheme + self.client[n],
             '--advertise-client-urls', scheme + self.client[n],
             '--listen-peer-urls', peers[n],
             '--initial-advertise-peer-urls', peers[n],
             '--initial-cluster', cluster, '--logger', 'zap',
             '--log-level', 'error']
            + (['--cert-file', tls + '/etcd.pem', '--key-file',
                tls + '/etcd.key'] if tls else [])
            for n in range(members)]
        self.running = [None] * members
        for n in range(members):
            self.start(n)
        self.ready()

    def start(self, n=0):
        self.running[n] = subprocess.Popen(
            self.commands[n], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)

    def lead(self, n):
        """Makes member n the leader."""
        states = [s['Status'] for s in json.loads(
            self.ctl('endpoint', 'status', '-w', 'json'))]
        ids = [s['header']['member_id'] for s in states]
        if states[n]['leader'] != ids[n]:
            self.ctl('move-leader', '%x' % ids[n])

    def ready(self):
        """All members answer, and have a leader."""
        for _ in tries('etcd does not start', 30):
            if subprocess.run(self.ctl_command('endpoint', 'health'),
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0:
                break

    def kill(self, n=0):
        self.running[n].kill()
        self.running[n].wait(10)

    def stop(self):
        for p in self.running:
            if p.poll() is None:
                p.kill()
            p.wait(10)
        shutil.rmtree(self.path, ignore_errors=True)

    def ctl_command(self, *args):
        return ['etcdctl', '--endpoints', ','.join(self.client),
                '--dial-timeout=2s', '--command-timeout=3s',
                *(['--cacert', self.tls + '/ca.pem'] if self.tls else []),
                *args]

    def ctl(self, *args):
        r = subprocess.run(self.ctl_command(*args), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=20,
                           env=dict(os.environ, ETCDCTL_API='3'))
        assert r.returncode == 0, r.stdout
        return r.stdout


class Process:
    """An im-disc; its lines come with the time when we read them."""

    def __init__(self, stack, etcd, *args, lease=LEASE):
        self.p = subprocess.Popen(
            [stack.binary('im-disc'), '--etcd', ','.join(etcd.client),
             '--lease', str(lease), '--for', '120', *args],
            stdout=subprocess.PIPE, text=True,
            env=stack.sanitized('im-disc'))
        self.lines = []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.p.stdout:
            self.lines.append((time.monotonic(), line.split(' ', 1)[1].strip()))

    def find(self, pattern, after=0):
        return [(t, m) for t, line in list(self.lines) if t >= after
                for m in [re.match(pattern, line)] if m]

    def expect(self, pattern, within, after=0):
        """Time of the first line that begins so, and its match."""
        for _ in tries(lambda: 'no line "%s" in %g s: %s' % (
                pattern, within, self.lines[-8:]), within, 0.005):
            found = self.find(pattern, after)
            if found:
                return found[0]

    def signal(self, number):
        self.p.send_signal(number)
        return time.monotonic()

    def end(self):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGCONT)
            self.p.send_signal(signal.SIGINT)
            try:
                self.p.wait(30)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait(5)
        self.thread.join(5)
        self.p.stdout.close()
        return self.p.returncode


class World:

    def __init__(self, stack, path):
        self.stack = stack
        self.path = path
        self.etcds = []
        self.processes = []

    def etcd(self, members=1, tls=None):
        e = Etcd(os.path.join(self.path, 'etcd%d' % len(self.etcds)), members,
                 tls)
        self.etcds.append(e)
        return e

    def process(self, etcd, *args):
        p = Process(self.stack, etcd, *args)
        self.processes.append(p)
        return p

    def watch(self, etcd):
        p = self.process(etcd, 'watch')
        p.expect('log . etcd .* connected', 10)
        return p

    def register(self, etcd, name, *args):
        p = self.process(etcd, *args, 'register', 'logic', name,
                         '127.0.0.1:4100')
        p.expect('log . etcd: registered', 10)
        return p


@pytest.fixture
def world(stack, tmp_path):
    w = World(stack, str(tmp_path))
    yield w
    codes = [(p.end(), p.lines) for p in w.processes]
    for e in w.etcds:
        e.stop()
    # Shown if the test failed: all that was said, in the order of time.
    for t, n, line in sorted((t, n, line) for n, (_, lines) in enumerate(codes)
                             for t, line in lines):
        print('%.3f process %d: %s' % (t, n, line))
    for code, lines in codes:
        assert code in (0, -signal.SIGKILL), lines[-5:]


def test_who_comes_drains_and_leaves_is_seen_in_milliseconds(world):
    etcd = world.etcd()
    w = world.watch(etcd)
    # 50 ms on an idle machine; a lease that ends would take longer than SOON.
    r = world.register(etcd, 'a', '--lease', str(3 * SOON))
    w.expect('up logic a 127.0.0.1:4100 boot [0-9a-f]{16} load 0$', SOON)

    r.signal(signal.SIGUSR1)
    w.expect('changed logic a draining', SOON)

    r.signal(signal.SIGINT)
    w.expect('down logic a', SOON)


def test_who_is_killed_is_gone_within_its_lease_and_a_second(world):
    etcd = world.etcd()
    w = world.watch(etcd)
    r = world.register(etcd, 'a')
    w.expect('up logic a', SOON)
    r.signal(signal.SIGKILL)
    # A lease of that length, as etcd counts it on this machine, from now.
    lease = etcd.ctl('lease', 'grant', str(LEASE + 1)).split()[1]
    etcd.ctl('put', '--lease', lease, '/im/logic/bare', json.dumps(
        {'proto': 1, 'address': '127.0.0.1:9', 'boot': 'b'}))
    bare, _ = w.expect('down logic bare', LEASE + 1 + SOON)
    seen, _ = w.expect('down logic a', SOON)
    assert seen < bare + 0.5           # it looks for ended ones each 0.5 s


def test_a_restart_of_etcd_is_not_noticed(world):
    etcd = world.etcd()
    w = world.watch(etcd)
    world.register(etcd, 'a', '--lease', '3')
    w.expect('up logic a', SOON)
    etcd.kill()
    w.expect('log . etcd .* the last view stays', SOON)
    pause(1)
    etcd.start()
    t = time.monotonic()
    world.register(etcd, 'b')
    w.expect('up logic b', 20, after=t)
    # the lease, and what a leader adds
    goes_on(lambda: not w.find('down'), 'one is taken for dead', 3 + 2)


def test_etcd_may_be_away_for_longer_than_the_lease(world):
    etcd = world.etcd()
    w = world.watch(etcd)
    a = world.register(etcd, 'a', '--node', '--lease', '3')
    node = a.expect(r'node (\d+)', SOON)[1][1]
    b = world.register(etcd, 'b', '--lease', '3')
    w.expect('up logic b', SOON)
    etcd.kill()
    pause(4)
    b.p.kill()                         # leaves while nobody can say so
    goes_on(lambda: not w.find('down'), 'the last view is given up', 1)
    etcd.start()
    w.expect('down logic b', 3 + 20)
    # both leases began anew together
    goes_on(lambda: not w.find('down logic a'), 'a is taken for dead', 1.5)
    # Ids were minted on: the number's lease is far longer.
    assert not a.find('node lost')
    assert [m[1] for _, m in a.find(r'node (\d+)')] == [node]


def test_what_was_compacted_away_is_found_missing(world):
    etcd = world.etcd()
    w = world.watch(etcd)
    world.register(etcd, 'stays', '--lease', '10')
    value = json.dumps({'proto': 1, 'address': '127.0.0.1:9', 'boot': 'b'})
    etcd.ctl('put', '/im/logic/goes', value)
    w.expect('up logic goes', SOON)
    w.signal(signal.SIGSTOP)
    etcd.kill()
    etcd.start()
    etcd.ready()
    etcd.ctl('del', '/im/logic/goes')
    for n in range(50):
        etcd.ctl('put', '/im/logic/new', value)
    out = json.loads(etcd.ctl('get', '/im/logic/new', '-w', 'json'))
    etcd.ctl('compact', str(out['header']['revision']))
    w.signal(signal.SIGCONT)
    w.expect('down logic goes', 20)
    w.expect('up logic new', SOON)
    assert not w.find('down logic stays')


def test_a_lease_that_is_revoked_is_taken_again(world):
    etcd = world.etcd()
    w = world.watch(etcd)
    r = world.register(etcd, 'a', '--node')
    r.expect('node', SOON)
    w.expect('up logic a', SOON)
    leases = [line for line in etcd.ctl('lease', 'list').split()
              if re.fullmatch('[0-9a-f]{16}', line)]
    assert len(leases) == 2            # of the instance, of the node number
    t = time.monotonic()
    for lease in leases:
        etcd.ctl('lease', 'revoke', lease)
    w.expect('down logic a', SOON, after=t)
    w.expect('up logic a', SOON, after=t)
    lost, _ = r.expect('node lost', SOON, after=t)
    got, _ = r.expect(r'node \d', SOON, after=lost)
    assert got > lost


@pytest.mark.parametrize('leader', [0, 1])
def test_one_of_three_members_may_die(world, leader):
    etcd = world.etcd(3)
    etcd.lead(leader)
    w = world.watch(etcd)
    a = world.register(etcd, 'a', '--node', '--lease', '3')
    w.expect('up logic a', SOON)
    etcd.kill(0)                       # the one that all use
    t = time.monotonic()
    world.register(etcd, 'b')
    w.expect('up logic b', 20, after=t)
    # the lease, and what a leader adds
    goes_on(lambda: not w.find('down'), 'one is taken for dead', 3 + 3)
    # Not even for itself: it was there all the time.
    assert not a.find('log . etcd: the lease')
    assert not a.find('log . etcd: registered .* again')
    assert not a.find('node lost')


def test_what_could_not_be_said_while_etcd_was_away_is_said_then(world):
    etcd = world.etcd()
    w = world.watch(etcd)
    a = world.register(etcd, 'a', '--lease', '10')
    w.expect('up logic a', SOON)
    etcd.kill()
    w.expect('log . etcd .* the last view stays', SOON)
    a.signal(signal.SIGUSR1)
    # the put fails
    goes_on(lambda: not w.find('changed logic a'), 'etcd was not away', 1)
    etcd.start()
    w.expect('changed logic a draining', 20)
    # It was there all the time, so nobody has to act as if it was back.
    assert not a.find('log . etcd: registered .* again')
    assert not w.find('down')


def test_two_never_hold_the_same_node_number(world):
    etcd = world.etcd()
    numbers = set()
    for n in range(6):
        p = world.register(etcd, 'n%d' % n, '--node')
        numbers.add(p.expect(r'node (\d+)', SOON)[1][1])
    assert len(numbers) == 6


def test_a_key_that_somebody_wrote_over_or_deleted_comes_back(world):
    etcd = world.etcd()
    w = world.watch(etcd)
    r = world.register(etcd, 'a')
    w.expect('up logic a', SOON)
    etcd.ctl('put', '/im/logic/a', 'nonsense')
    r.expect('log . etcd key /im/logic/a: somebody wrote over it', SOON)
    assert not w.find('down')          # nonsense moves nobody
    t = time.monotonic()
    etcd.ctl('del', '/im/logic/a')
    w.expect('down logic a', SOON, after=t)
    w.expect('up logic a 127.0.0.1:4100', SOON, after=t)


def test_garbage_is_logged_once_with_its_key_and_reason(world):
    etcd = world.etcd()
    w = world.watch(etcd)
    good = {'proto': 1, 'address': '127.0.0.1:9', 'boot': 'b'}
    bad = {
        '/im/logic/text': 'hello',
        '/im/logic/old': '127.0.0.1:80',
        '/im/logic/proto': json.dumps(dict(good, proto=2)),
        '/im/logic/address': json.dumps(dict(good, address='nowhere')),
        '/im/logic/boot': json.dumps(dict(good, boot='')),
        '/im/logic': json.dumps(good),
        '/im/logic/a/b': json.dumps(good),
        '/im/logic/big': 'x' * 100000,
    }
    for key, value in bad.items():
        etcd.ctl('put', key, value)
    etcd.ctl('put', '/im/logic/good', json.dumps(good))
    w.expect('up logic good', SOON)
    # Listed again, and again: said once.
    for _ in range(2):
        t = time.monotonic()
        etcd.kill()
        etcd.start()
        w.expect('log . etcd .* connected', 20, after=t)
    for key in bad:
        found = w.find('log 4 etcd key %s is not used: .{8,}'
                       % re.escape(key))
        assert len(found) == 1, (key, found)
    assert len(w.find('up')) == 1 and not w.find('down')
    # Changed: said again.
    etcd.ctl('put', '/im/logic/text', 'world')
    wait_until(lambda: len(w.find('log 4 etcd key /im/logic/text')) >= 2,
               'not logged twice', SOON)
    assert len(w.find('log 4 etcd key /im/logic/text')) == 2


def test_another_process_under_the_same_name_is_another_row(world):
    etcd = world.etcd()
    w = world.watch(etcd)
    value = {'proto': 1, 'address': '127.0.0.1:9', 'boot': 'b1'}
    etcd.ctl('put', '/im/logic/a', json.dumps(value))
    w.expect('up logic a .* boot b1', SOON)
    etcd.ctl('put', '/im/logic/a', json.dumps(dict(value, boot='b2')))
    w.expect('down logic a', SOON)
    w.expect('up logic a .* boot b2', SOON)


def certificates(path):
    subprocess.run(['sh', '-ec', '''
        cd "$1"
        ec="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        openssl req -x509 $ec -keyout ca.key -out ca.pem -subj /CN=ca -days 2
        openssl req $ec -keyout etcd.key -out etcd.csr -subj /CN=etcd
        echo subjectAltName=IP:127.0.0.1 > ext
        openssl x509 -req -in etcd.csr -CA ca.pem -CAkey ca.key \
            -set_serial 7 -days 2 -extfile ext -out etcd.pem
        ''', 'sh', path], check=True, timeout=30,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_etcd_may_be_behind_tls(world, tmp_path):
    tls = tmp_path / 'tls'
    tls.mkdir()
    certificates(str(tls))
    etcd = world.etcd(tls=str(tls))
    w = world.process(etcd, '--tls-ca', str(tls / 'ca.pem'), 'watch')
    world.register(etcd, 'a', '--tls-ca', str(tls / 'ca.pem'))
    w.expect('up logic a', SOON)
    plain = world.process(etcd, 'watch')
    plain.expect('log 4 etcd .* cannot be listed', SOON)
    assert not plain.find('up')


# The floors of node numbers: what makes ids unique whatever the clock does.


def floors(etcd):
    out = etcd.ctl('get', '--prefix', '/im/floor/').split()
    return {int(k.rsplit('/', 1)[1]): v for k, v in zip(out[::2], out[1::2])}


def holders(etcd):
    return [int(k.rsplit('/', 1)[1]) for k in etcd.ctl(
        'get', '--prefix', '--keys-only', '/im/node/').split()]


def now_ms():
    return int(time.time() * 1000)


def number(process, within=SOON, after=0):
    """(node, floor, limit) as a holder is told, and when."""
    t, m = process.expect(r'node (\d+) floor (\d+) limit (\d+)', within, after)
    return int(m[1]), int(m[2]), int(m[3]), t


def test_a_number_whose_holder_died_rests_until_the_clock_passes_its_floor(
        world):
    etcd = world.etcd()
    taken = []
    for name in ('a', 'b'):
        p = world.register(etcd, name, '--node', '--nodes', '2')
        n, floor, limit, _ = number(p)
        assert floor == 0 and floors(etcd)[n] == str(limit)
        assert 0 < limit - now_ms() - 890000 < 11000       # 15 minutes ahead
        p.p.kill()
        p.p.wait()
        taken.append(n)
    assert sorted(taken) == [0, 1]
    etcd.ctl('del', '--prefix', '/im/node/')     # as when their leases end
    c = world.register(etcd, 'c', '--node', '--nodes', '2')
    c.expect('log 3 etcd: no node number is free', SOON)
    passed = str(now_ms() - 1)
    etcd.ctl('put', '/im/floor/1', passed)
    n, floor, _, _ = number(c)
    assert (n, floor) == (1, int(passed))
    assert len(c.find('log 3 etcd: no node number')) == 1  # said once


def test_who_leaves_lowers_the_floor_to_its_last_id(world):
    etcd = world.etcd()
    minted = now_ms()
    a = world.register(etcd, 'a', '--node', '--nodes', '1', '--minted',
                       str(minted))
    number(a)
    assert int(floors(etcd)[0]) > minted
    a.signal(signal.SIGINT)
    a.p.wait(30)
    assert floors(etcd) == {0: str(minted)} and holders(etcd) == []
    b = world.register(etcd, 'b', '--node', '--nodes', '1')
    n, floor, _, _ = number(b)           # at once
    assert (n, floor) == (0, minted)


def test_a_floor_that_is_garbage_is_logged_and_its_number_passed_over(world):
    etcd = world.etcd()
    etcd.ctl('put', '/im/floor/0', 'soon')
    a = world.register(etcd, 'a', '--node', '--nodes', '2')
    assert number(a)[0] == 1
    a.expect('log 4 etcd key /im/floor/0 is not used: it is no time', SOON)
    etcd.ctl('put', '/im/floor/0', '')
    b = world.register(etcd, 'b', '--node', '--nodes', '2')
    b.expect('log 3 etcd: no node number is free', SOON)
    etcd.ctl('del', '/im/floor/0')       # what its log told people to do
    assert number(b)[0] == 0


def test_who_is_ahead_of_the_clock_takes_another_number(world):
    etcd = world.etcd()
    ahead = now_ms() + 3600000
    a = world.register(etcd, 'a', '--node', '--nodes', '3', '--minted',
                       str(ahead))
    first, _, _, t = number(a)
    lost, _ = a.expect('node lost', SOON)
    a.expect(r'log 4 the clock is \d+ ms behind the last id', SOON)
    second, _, _, _ = number(a, after=lost)
    assert second != first
    wait_until(lambda: floors(etcd)[first] == str(ahead),
               'its floor is not lower', SOON)


def test_a_floor_is_not_written_by_who_has_lost_the_number(world):
    etcd = world.etcd()
    a = world.register(etcd, 'a', '--node', '--nodes', '1')
    number(a)
    a.signal(signal.SIGSTOP)             # it does not see what happens
    etcd.ctl('del', '/im/node/0')
    etcd.ctl('put', '/im/node/0', 'somebody')
    etcd.ctl('put', '/im/floor/0', '9' * 15)
    a.signal(signal.SIGINT)
    a.signal(signal.SIGCONT)
    a.p.wait(30)
    assert floors(etcd) == {0: '9' * 15} and holders(etcd) == [0]
