"""im_run -- the parts of tests/run: what is run, with what, in which order.

    unit   each program alone, two at a time; and tests/self under pytest
    nginx  each file of t/ alone, against a stack without nginx
    e2e    three heaps of pytest with a stack of its own each, which claim one
           file after another; the first one when t/ is done
    faults tests/fault/campaign, after the others, alone
    scale  tools/demo-scale

What fails is a Suspect (im_run_report.py), and each kind knows how it is run
again (im_run_again.py): the program alone; the file of t/ or the one node of
pytest on a fresh stack, which is not one of those before, so that their logs
stay.  A heap that crashed or hung goes on there with the test that it was
at and those that it did not come to.  A stack that does not start is
tried once more at once.
"""

import concurrent.futures
import glob
import os
import shutil
import signal
import subprocess
import threading
import time

from im_run_again import SECONDS, run_again
from im_run_faults import FaultsRun
from im_run_pytest import Results
from im_run_report import Report, Suspect, read, tap, tap_failures
from im_run_sanitizer import environment, leak_checks_broke, \
    preloading_nginx, reports_of
from im_stack.base import free_port
from im_stack.stack import ports_of_others

LIB = os.path.dirname(os.path.abspath(__file__))
PYTHON = '/usr/bin/python3'
HEAPS = 3                          # of e2e
HEAPS_SLOW = 2                     # with sanitizers, which take the cores
LIMITS = {'unit': 180, 'nginx': 420, 'e2e': 900, 'stack': 150, 'self': 300}


class Run:

    def __init__(self, top, sanitizer='', pytest_args=(), e2e_first=(),
                 first=(), memory=()):
        self.top = top
        self.sanitizer = sanitizer
        self.pytest_args = pytest_args
        self.e2e_first = list(e2e_first)   # files
        self.first = list(first)       # unit programs
        self.memory = memory           # e2e files of the part `memory`
        self.build = 'build/' + sanitizer if sanitizer else 'build'
        self.out = os.path.join(top, self.build, 'test')
        self.stack = 'test-' + sanitizer if sanitizer else 'test'
        heaps = HEAPS_SLOW if sanitizer else HEAPS
        self.heaps = [self.stack] + ['%s-%d' % (self.stack, n)
                                     for n in range(2, heaps + 1)]
        self.faults = self.stack + '-faults'
        self.elsewhere = {}        # tells pytest what another part checks
        self.stacks = self.heaps + [self.faults, self.stack + '-again']
        self.slow = 3 if sanitizer else 1
        self.began = time.time()
        self.again_n = 0
        self.stopping = False
        self.running = set()       # leaders of the sessions of command()
        self.starting = set()      # tools/stack, while it starts one
        self.start_lock = threading.Lock()
        shutil.rmtree(self.out, ignore_errors=True)
        os.makedirs(self.out)
        self.claims = os.path.join(self.out, 'claims')   # im_run_pytest.py
        self.report = Report(top, self.out)

    def interrupted(self, number, frame):
        # Once: the stack must still be stopped in order.
        if not self.stopping:
            self.stopping = True
            for pid in list(self.running):
                end_session(pid)
            for pid in list(self.starting):
                os.kill(pid, signal.SIGTERM)   # stops what it has started
            raise SystemExit(128 + number)

    def path(self, *name):
        return os.path.join(self.top, *name)

    def log(self, name):
        return os.path.join(self.out, name + '.log')

    def command(self, argv, log, limit, env=None):
        """Exit code of argv; its whole session ends with the limit."""
        if self.stopping:
            return -1
        with open(log, 'a') as f:
            try:
                p = subprocess.Popen(argv, cwd=self.top, stdout=f, stderr=f,
                                     stdin=subprocess.DEVNULL,
                                     start_new_session=True,
                                     env=dict(os.environ, **(env or {})))
            except OSError as e:
                f.write('tests/run: %s\n' % e)
                return -1
            self.running.add(p.pid)
            try:
                return p.wait(limit)
            except subprocess.TimeoutExpired:
                f.write('\ntests/run: not finished within %d s\n' % limit)
                return -1
            finally:
                end_session(p.pid)         # also what it left behind
                p.wait()
                self.running.discard(p.pid)

    def suspect(self, name, bad, failed, again):
        self.report.suspects.append(Suspect(name, bad, failed, again))

    # Stacks.

    def start(self, name, *options):
        """Brings a stack up, at the second try if need be; its addresses, or
        None."""
        log = self.log('stack.' + name)
        for more in ((), ('--restart', '--fresh')):
            # One after another: several that start Kafka at once take so long
            # that none is ready in time on a machine that is busy.
            with self.start_lock:
                good = self.bring_up(name, [*options, *more], log)
            if good:
                if more:
                    self.report.flake('stack ' + name, reason)
                with open(self.path('build/stack', name, 'env')) as f:
                    return dict(line.rstrip('\n').split('=', 1) for line in f)
            reason = (read(log) or ['no reason known'])[-1].strip()
        self.report.count('stack', 0, 1)
        self.report.show(log)
        self.report.blame('stack %s does not start' % name, read(log)[-8:])
        return None

    def bring_up(self, name, options, log):
        argv = [PYTHON, 'tools/stack', 'start', name, *options]
        if self.sanitizer:
            argv.append('--' + self.sanitizer)
        if self.stopping:
            return False
        # Not through command(): the supervisor must outlive this.
        with open(log, 'a') as f:
            p = subprocess.Popen(argv, cwd=self.top, stdout=f, stderr=f,
                                 stdin=subprocess.DEVNULL)
            self.starting.add(p.pid)
            try:
                return p.wait(LIMITS['stack']) == 0
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                return False
            finally:
                self.starting.discard(p.pid)

    def fresh(self, *options):
        return self.start(self.stacks[-1], '--restart', '--fresh', *options)

    def stop(self):
        with open(self.log('stack'), 'a') as f:
            for name in self.stacks:
                if os.path.isdir(self.path('build/stack', name)):
                    subprocess.run([PYTHON, 'tools/stack', 'stop', name],
                                   cwd=self.top, stdout=f, stderr=f,
                                   timeout=120)

    # unit

    def unit(self):
        names = sorted(os.path.basename(p)[:-2] for p in glob.glob(
            self.path('tests/unit/test_*.c')))
        names.sort(key=lambda n: self.first.index(n) if n in self.first
                   else len(self.first))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            results = list(pool.map(self.program, names))
        for name, (code, counts) in zip(names, results):
            if counts[1]:
                self.program_failed(name, code, counts[1])
        total = [sum(n) for n in zip((0, 0, 0), *(c for _, c in results))]
        self.report.count('unit', total[0], total[1] if names else 1, total[2])

    def program(self, name, again=''):
        log = self.log('unit.' + name + again)
        code = self.command(
            [self.path(self.build, 'tests/unit', name)], log,
            LIMITS['unit'] * self.slow,
            {'CMOCKA_MESSAGE_OUTPUT': 'TAP',
             **environment(self, name + again)})
        ok, bad, skip = tap(log)
        if code != 0 and bad == 0 and not leak_checks_broke(self,
                                                            name + again):
            bad = 1            # it crashed, hung, or cannot start
        if ok + bad + skip == 0:
            bad = 1            # it tested nothing
        return code, (ok, bad, skip)

    def program_failed(self, name, code, bad):
        log = self.log('unit.' + name)
        self.report.show(log)
        self.suspect(
            'unit ' + name,
            tap_failures('unit %s (exit code %d)' % (name, code), log), bad,
            lambda left: self.program(name, '.again')[1][1] == 0)

    def own(self):
        """Tests of what is in here, and of the sources: they depend on no
        stack, so they get no second try."""
        if self.sanitizer:
            return                 # there is nothing to sanitize
        r = self.pytest('self', {}, [self.path('tests/self')],
                        LIMITS['self'], args=())
        bad = len(r.failed) or int(r.code != 0)
        self.report.count('self', r.passed, bad, r.skipped)
        if bad:
            self.report.show(self.log('self'))
        for test, lines in r.failed.items():
            self.report.blame(test, lines)

    # nginx

    def nginx(self, env):
        files = sorted(glob.glob(self.path('t/*.t')))
        until = time.monotonic() + LIMITS['nginx'] * self.slow
        total = (0, 0, 0) if files else (0, 1, 0)
        for file in files:
            counts = self.prove(file, env, until - time.monotonic())
            total = [sum(n) for n in zip(total, counts)]
            if counts[1]:
                self.file_failed(file, counts[1])
        self.report.count('nginx', *total)

    def prove(self, file, env, left, again=''):
        log = self.log('nginx.%s%s' % (os.path.basename(file)[:-2], again))
        code = self.command(['prove', '-v', '--merge', '--norc', file], log,
                            max(left, 1), self.nginx_env(env))
        ok, bad, skipped = tap(log)
        return ok, bad or int(code != 0), skipped

    def file_failed(self, file, bad):
        name = os.path.basename(file)[:-2]
        log = self.log('nginx.' + name)
        self.report.show(log)

        def again(left):
            env = self.fresh('--no-nginx')
            return (env is not None
                    and self.prove(file, env, left, '.again')[1] == 0)

        self.suspect('nginx t/%s.t' % name,
                     tap_failures('nginx t/%s.t' % name, log), bad, again)

    def nginx_env(self, stack):
        # Not one that a connection takes while nginx restarts.
        port = str(free_port(ports_of_others()))
        env = {
            'TEST_NGINX_BINARY': os.environ.get('IM_NGINX',
                                                '/usr/sbin/nginx'),
            'TEST_NGINX_LOAD_MODULES': self.path(self.build,
                                                 'ngx_im_module.so'),
            'TEST_NGINX_SERVROOT': self.path(self.build, 't-servroot'),
            'TEST_NGINX_PORT': port,
            # The real Test::Nginx listens on every address by itself.
            'TEST_NGINX_SERVER_PORT': ('127.0.0.1:' if subprocess.run(
                ['perl', '-MTest::Nginx::Socket', '-e', '1'],
                stderr=subprocess.DEVNULL, timeout=20).returncode == 0
                else '') + port,
            'TEST_NGINX_CLIENT_PORT': port,
            'TEST_NGINX_IM_ETCD': stack.get('IM_ETCD', ''),
            'TEST_NGINX_IM_KEY': stack.get('IM_JWT_KEY_FILE', ''),
            'TEST_NGINX_IM_CONF': self.path('conf'),
            **stack, **environment(self, 'nginx'),
        }
        if self.sanitizer == 'asan' and 'IM_NGINX' not in os.environ:
            preloading_nginx(self, env)
        # What the caller has set himself stands.
        env.update((k, v) for k, v in os.environ.items()
                   if k.startswith('TEST_NGINX_'))
        return env

    # e2e

    def heap(self, n, parts, files):
        """Of the files, those that no other heap has claimed, against a stack
        of its own: most tests wait most of the time.  The first heap is also
        where t/ is run, before nginx starts in its stack."""
        options = ['--restart', '--fresh']
        if n == 0 and 'nginx' in parts:
            env = self.start(self.heaps[n], *options, '--no-nginx')
            if env is None:
                return None
            self.nginx(env)
            options = []
        env = self.start(self.heaps[n], *options) if files else None
        if env is None:
            return None
        return self.pytest('e2e.%d' % (n + 1), env, files,
                           LIMITS['e2e'] * self.slow,
                           IM_TEST_CLAIMS=self.claims)

    def files(self, parts):
        """Of e2e, those that take longest first."""
        names = self.memory if 'memory' in parts else []
        if 'e2e' in parts:
            names = [os.path.basename(f) for f in
                     glob.glob(self.path('tests/e2e/test_*.py'))]
        first = [n for n in self.e2e_first if n in names]
        return [self.path('tests/e2e', name) for name in [
            *first, *sorted(set(names) - set(first))]]

    def unclaimed(self, files):
        """What is left when every heap has crashed."""
        return [f for f in files if not os.path.exists(
            os.path.join(self.claims, os.path.basename(f)))]

    def on_stacks(self, parts):
        files = self.files(parts)
        os.makedirs(self.claims)
        heaps = len(self.heaps) if files else 1
        # Its end is waited for when this is interrupted, too: what a heap
        # starts must be stopped after it.
        with concurrent.futures.ThreadPoolExecutor(heaps) as pool:
            results = list(pool.map(lambda n: self.heap(n, parts, files),
                                    range(heaps)))
        results = [(n + 1, r) for n, r in enumerate(results) if r]
        if not results:
            return                 # no stack has started, which is counted
        passed = sum(r.passed for _, r in results)
        failed = sum(len(r.failed) + r.broken for _, r in results)
        skipped = sum(r.skipped for _, r in results)
        self.report.count('e2e', passed,
                          failed if passed + failed + skipped else 1, skipped)
        if all(r.broken for _, r in results):
            results[0][1].rest += self.unclaimed(files)
        for n, r in results:
            self.heap_failed(n, r)

    def pytest(self, name, env, what, limit, args=None, **more):
        args = self.pytest_args if args is None else args
        results = os.path.join(self.out, name + '.results')
        code = self.command(
            [PYTHON, '-m', 'pytest', '-v', '-p', 'no:cacheprovider',
             '-p', 'im_run_pytest', '--rootdir', self.top,
             '--continue-on-collection-errors', *args, *what],
            self.log(name), limit,
            dict(env, IM_TEST_BUILD=self.build, IM_TEST_RESULTS=results,
                 PYTHONPATH=LIB, PYTHONDONTWRITEBYTECODE='1',
                 **self.elsewhere, **more))
        return Results(results, code)

    def heap_failed(self, number, r):
        if r.failed or r.broken:
            self.report.show(self.log('e2e.%d' % number))
        for node, lines in r.failed.items():
            self.suspect(node, [(node, lines)], 1,
                         lambda left, node=node: self.nodes_again([node],
                                                                  left))
        if r.broken:
            name = 'e2e.%d (exit code %d) in %s' % (number, r.code,
                                                    r.unfinished or '?')
            rest = ([r.unfinished] if r.unfinished else []) + r.rest
            # None if it broke before it had anything to do.
            rest = rest or r.taken
            self.suspect(name, [(name, read(self.log('e2e.%d' % number))[-8:])],
                         1, lambda left: self.nodes_again(rest, left, True))

    def nodes_again(self, nodes, left, new=False):
        """Whether they pass on a fresh stack; new: they have not run to their
        end before, so they are counted now."""
        env = self.fresh() if nodes else None
        if env is None:
            return False
        self.again_n += 1
        name = 'e2e.again.%d' % self.again_n
        r = self.pytest(name, env, nodes, left)
        if new:
            self.report.count(name, r.passed, len(r.failed), r.skipped)
        if r.failed or r.broken:
            self.report.show(self.log(name))
        if new:
            for node, lines in r.failed.items():
                self.report.blame(node, lines)
            return not r.broken
        return r.code == 0 and r.passed > 0

    # scale

    def scale(self):
        """make demo-scale with these binaries."""
        log = self.log('scale')
        code = self.command(
            [PYTHON, 'tools/stack', 'exec', self.stack, '--restart',
             '--fresh', '--logic', '4', '--task', '2',
             *(['--' + self.sanitizer] if self.sanitizer else []), '--',
             'tools/demo-scale', '--slow', str(self.slow)],
            log, LIMITS['e2e'])
        self.report.count('scale', int(code == 0), int(code != 0))
        if code != 0:
            self.report.show(log)
            self.report.blame('scale', read(log)[-8:])

    # All.

    def each(self, parts):
        if 'unit' in parts:
            self.own()
            self.unit()
        try:
            if 'faults' in parts:
                self.elsewhere = {'IM_TEST_FAULTS': '1'}
            if {'nginx', 'e2e', 'memory'} & set(parts):
                self.on_stacks(parts)
            if 'faults' in parts:
                self.stop()
                FaultsRun(self).all()
        finally:
            self.stop()
        if 'scale' in parts:
            self.scale()

    def all(self, parts):
        """The exit code."""
        try:
            try:
                self.each(parts)
                run_again(self.report, SECONDS * self.slow)
            finally:
                self.stop()
            if self.sanitizer:
                reports_of(self)
        finally:
            # Interrupted: what failed until then is named.
            for s in self.report.suspects:
                self.report.bad += s.bad
            code = self.report.close()
        return code


def end_session(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
