"""im_run -- the parts of tests/run: what is run, with what, in which order.

    unit   each program alone, two at a time; and tests/self under pytest,
           beside all the others
    nginx  each file of t/ alone, two at a time, against a stack without nginx
    e2e    pytest-xdist: some processes that take one file after another, each
           with a stack of its own, which tests/e2e/conftest.py picks
    web    node's own runner, on a stack of its own (im_run_web.py)
    faults tests/fault/campaign, after the others, alone
    scale  tools/demo-scale

The stacks of e2e start while the unit tests run.  What fails is a Suspect
(im_run_report.py), and each kind knows how it is run again (im_run_again.py):
the program alone; the file of t/ or the one node of pytest on a fresh stack,
which is not one of those before, so that their logs stay.  A stack that does
not start is tried once more at once.
"""

import concurrent.futures
import contextlib
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
from im_run_web import WebRun
from im_stack.base import free_port
from im_stack.stack import ports_of_others

PYTHON = '/usr/bin/python3'
STACKS = 3                         # of e2e
STACKS_SLOW = 2                    # with sanitizers, which take the cores
LIMITS = {'unit': 180, 'nginx': 420, 'e2e': 900, 'stack': 150, 'self': 600}
TEST_S = 120                       # as in pytest.ini


class Run:

    def __init__(self, top, sanitizer='', pytest_args=(), first=(),
                 memory=()):
        self.top = top
        self.sanitizer = sanitizer
        self.pytest_args = pytest_args
        self.first = list(first)       # unit programs
        self.memory = memory           # e2e files of the part `memory`
        self.build = 'build/' + sanitizer if sanitizer else 'build'
        self.out = os.path.join(top, self.build, 'test')
        self.stack = 'test-' + sanitizer if sanitizer else 'test'
        self.shared = [self.stack] + ['%s-%d' % (self.stack, n) for n in range(
            2, (STACKS_SLOW if sanitizer else STACKS) + 1)]
        self.faults = self.stack + '-faults'
        self.web = self.stack + '-web'
        self.stacks = self.shared + [self.web, self.faults,
                                     self.stack + '-again']
        self.slow = 3 if sanitizer else 1
        self.began = time.time()
        self.again_n = 0
        self.stopping = False
        self.running = set()       # leaders of the sessions of command()
        self.starting = set()      # tools/stack, while it starts one
        self.start_lock = threading.Lock()
        shutil.rmtree(self.out, ignore_errors=True)
        os.makedirs(self.out)
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
                p.send_signal(signal.SIGINT)   # pytest says what it knows
                with contextlib.suppress(subprocess.TimeoutExpired):
                    p.wait(10)
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
        stack, so they get no second try, and what the others leave of the
        processors."""
        if self.sanitizer:
            return                 # there is nothing to sanitize
        r = self.pytest('self', [self.path('tests/self')], LIMITS['self'],
                        '-n', '2', before=['nice', '-n', '5'])
        bad = len(r.failed) + len(r.crashed) + (r.broken or not r.passed)
        self.report.count('self', r.passed, bad, r.skipped)
        if bad:
            self.report.show(self.log('self'))
        for test, lines in {**r.failed, **r.crashed}.items():
            self.report.blame(test, lines)

    # nginx

    def nginx(self, env):
        files = sorted(glob.glob(self.path('t/*.t')))
        until = time.monotonic() + LIMITS['nginx'] * self.slow
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda file: self.prove(
                file, env, until - time.monotonic()), files))
        for file, counts in zip(files, results):
            if counts[1]:
                self.file_failed(file, counts[1])
        self.report.count('nginx', *(
            [sum(n) for n in zip(*results)] if files else (0, 1, 0)))

    def prove(self, file, env, left, again=''):
        name = 'nginx.%s%s' % (os.path.basename(file)[:-2], again)
        log = self.log(name)
        code = self.command(['prove', '-v', '--merge', '--norc', file], log,
                            max(left, 1), self.nginx_env(name, env))
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

    def nginx_env(self, name, stack):
        # Not one that a connection takes while nginx restarts.
        port = str(free_port(ports_of_others()))
        env = {
            'TEST_NGINX_BINARY': os.environ.get('IM_NGINX',
                                                '/usr/sbin/nginx'),
            'TEST_NGINX_LOAD_MODULES': self.path(self.build,
                                                 'ngx_im_module.so'),
            'TEST_NGINX_SERVROOT': self.path(self.build, 't-servroot', name),
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
            **stack, **environment(self, name),
        }
        if self.sanitizer == 'asan' and 'IM_NGINX' not in os.environ:
            preloading_nginx(self, env, name)
        # What the caller has set himself stands.
        env.update((k, v) for k, v in os.environ.items()
                   if k.startswith('TEST_NGINX_'))
        return env

    # e2e

    def prepare(self, parts):
        """Runs t/ against the first stack before nginx starts in it, and
        starts those of e2e meanwhile: the names of those that have started."""
        e2e = {'e2e', 'memory'} & set(parts)
        first, *more = self.shared
        options = ['--restart', '--fresh']
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            if 'nginx' in parts:
                env = self.start(first, *options, '--no-nginx')
                options = []
                if env is None:
                    return []
                t = pool.submit(self.nginx, env)
            there = [n for n in more if e2e and self.start(
                n, '--restart', '--fresh')]
            if 'nginx' in parts:
                t.result()
        return there + [first] if e2e and self.start(first, *options) \
            else there

    def files(self, parts):
        if 'e2e' in parts:
            return [self.path('tests/e2e')]
        return [self.path('tests/e2e', n) for n in self.memory]

    def e2e(self, parts, stacks):
        if not stacks:
            return                 # none has started, which is counted
        # What the campaign checks in this run is not checked twice.
        mark = ['-m', 'not full'] if 'faults' in parts else []
        r = self.pytest(
            'e2e', [*mark, *self.pytest_args, *self.files(parts)],
            LIMITS['e2e'] * self.slow, '-n', str(len(stacks)), '--dist',
            'loadfile', '--max-worker-restart', '0',
            IM_TEST_STACKS=' '.join(stacks))
        bad = len(r.failed) + len(r.crashed) + r.broken
        self.report.count('e2e', r.passed, bad if r.passed + bad + r.skipped
                          else 1, r.skipped)
        if bad:
            self.report.show(self.log('e2e'))
        for node, lines in r.failed.items():
            self.suspect(node, [(node, lines)], 1, lambda left, node=node:
                         self.node_again(node, left))
        # No second try, and an end of the part: xdist 3.1 may wait for ever for
        # a process that it has started again.
        for node, lines in r.crashed.items():
            self.report.blame(node, lines)
        if r.broken:
            self.report.blame('e2e', read(self.log('e2e'))[-8:])

    def pytest(self, name, what, limit, *args, before=(), **env):
        results = os.path.join(self.out, name + '.xml')
        code = self.command(
            [*before, PYTHON, '-m', 'pytest', '-v', '--junitxml', results,
             '-o', 'junit_family=xunit1', '--rootdir', self.top,
             '--timeout', str(TEST_S * self.slow),
             '--continue-on-collection-errors', *args, *what],
            self.log(name), limit,
            dict(env, IM_TEST_BUILD=self.build, PYTHONDONTWRITEBYTECODE='1'))
        return Results(results, code)

    def node_again(self, node, left):
        if self.fresh() is None:
            return False
        self.again_n += 1
        name = 'e2e.again.%d' % self.again_n
        r = self.pytest(name, [node], left,
                        IM_TEST_STACKS=self.stacks[-1])
        good = r.passed and not (r.failed or r.broken)
        if not good:
            self.report.show(self.log(name))
        return good

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
        on_stacks = {'nginx', 'e2e', 'memory'} & set(parts)
        try:
            # Their end is waited for when this is interrupted, too: what they
            # start must be stopped after it.
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                stacks = pool.submit(self.prepare, parts if on_stacks else ())
                own = pool.submit(self.own if 'unit' in parts else int)
                if 'unit' in parts:
                    self.unit()
                if on_stacks - {'nginx'}:
                    self.e2e(parts, stacks.result())
                own.result()
            if 'web' in parts:
                self.stop()
                WebRun(self).all()
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
