"""One stack: its state, its start in order, its stop in reverse."""

import contextlib
import fcntl
import http.client
import json
import os
import re
import resource
import shutil
import signal
import tempfile
import time
import xmlrpc.client

from .base import BACKENDS, MAX_FILES, STACKS, TOP, Failure, free_port, \
    not_ready, port_free, process_alive, run, say, tail, write
from .conf import Conf
from .ready import Ready


class Stack(Conf, Ready):

    def __init__(self, name):
        if not re.fullmatch(r'[A-Za-z0-9_-]{1,40}', name):
            raise Failure('a stack is named by letters, digits, _ and -')
        self.name = name
        self.dir = os.path.join(STACKS, name)
        self.state = {}
        with contextlib.suppress(OSError, ValueError):
            with open(self.path('state.json')) as f:
                self.state = json.load(f)

    # Places.

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def log(self, program):
        return self.path('log', program + '.log')

    def sock(self, name):
        return os.path.join(self.state['sock'], name)

    def port(self, name):
        return self.state['ports'][name]

    def address(self, name):
        return '127.0.0.1:%d' % self.port(name)

    def bin(self, name):
        build = self.state['build']
        # nginx cannot be watched for threads, and tools need not be.
        if (self.state['sanitizer'] == 'tsan'
                and name not in ('im-logic', 'im-task')):
            build = 'build'
        return os.path.join(TOP, build, name)

    def save(self):
        write(self.path('state.json'), json.dumps(self.state, indent=1))

    @contextlib.contextmanager
    def lock(self):
        """One start or stop of a stack at a time."""
        os.makedirs(self.dir, exist_ok=True)
        with open(self.path('lock'), 'w') as f:
            end = time.time() + 120
            while True:
                try:
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if time.time() > end:
                        raise Failure('stack %s is busy: another start or '
                                      'stop holds %s' % (self.name, f.name))
                    time.sleep(0.2)
            # A state that another one wrote while we waited.
            self.__init__(self.name)
            yield

    # The supervisor.

    def supervisor(self):
        from supervisor.xmlrpc import SupervisorTransport
        t = SupervisorTransport(None, None, 'unix://' + self.sock('sup'))
        return xmlrpc.client.ServerProxy('http://stack', transport=t).supervisor

    def alive(self):
        if not self.state.get('sock'):
            return False
        try:
            return self.supervisor().getState()['statename'] == 'RUNNING'
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return False

    def processes(self):
        """name -> what the supervisor knows of it."""
        return {p['name']: p for p in self.supervisor().getAllProcessInfo()}

    def daemons(self, kind):
        return ['%s-%d' % (kind, n + 1) for n in range(self.state[kind])]

    def selected(self):
        only = self.state['only']
        names = [b for b in BACKENDS if only is None or b in only]
        if self.state['kafka']:
            names = [n for n in names if n != 'kafka']
        if only is None or 'logic' in only:
            names += self.daemons('logic')
        if only is None or 'task' in only:
            names += self.daemons('task')
        if (only is None or 'nginx' in only) and not self.state['no_nginx']:
            names.append('nginx')
        return names

    # Start.

    def start(self, o):
        began = time.time()
        if o.restart and self.state.get('sock'):
            self.stop()
        with self.lock():
            running = self.alive()
            if not running:
                self.sweep()
                self.prepare(o)
            else:
                self.adapt(o)
            self.save()
            try:
                if not running:
                    self.configure()
                    self.initialise()
                    self.launch()
                self.write_env()
                self.bring_up()
            except BaseException:
                if not running:
                    self.halt()
                raise
        say('stack %s: ready in %.1f s' % (self.name, time.time() - began))

    def prepare(self, o):
        """A state for a stack that does not run."""
        if o.fresh:
            for part in ('data', 'log', 'conf'):
                shutil.rmtree(self.path(part), ignore_errors=True)
        for part in ('data', 'log', 'conf', 'www'):
            os.makedirs(self.path(part), exist_ok=True)
        os.chmod(self.path('data'), 0o700)

        old = self.state.get('ports', {})
        # A port of another stack may be free for the moment.
        taken = list(old.values()) + ports_of_others(self.name)
        ports = {}
        names = ['etcd', 'etcd_peer', 'kafka', 'kafka_controller', 'http']
        for kind, count in (('logic', o.logic), ('task', o.task)):
            names += ['%s-%d' % (kind, n + 1) for n in range(count)]
        for n in names:
            p = old.get(n)
            if p is None or p in ports.values() or not port_free(p):
                p = free_port(taken + list(ports.values()))
            ports[n] = p

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.state = {
            'id': os.urandom(8).hex(),
            'sock': tempfile.mkdtemp(prefix='im-', dir='/tmp'),
            'ports': ports,
            'build': 'build/' + o.sanitizer if o.sanitizer else 'build',
            'sanitizer': o.sanitizer,
            'tls': o.tls,
            'logic': o.logic,
            'task': o.task,
            'workers': o.workers,
            'no_nginx': o.no_nginx,
            'only': o.only,
            'kafka': os.environ.get('IM_KAFKA', ''),
            'files': MAX_FILES if limit < 0 else min(MAX_FILES, limit),
        }

    def adapt(self, o):
        """A running stack can get more programs, not other ones."""
        s = self.state
        if (o.logic, o.task, o.sanitizer, o.tls) != (
                s['logic'], s['task'], s['sanitizer'], s['tls']):
            raise Failure('stack %s runs with other options; stop it first'
                          % self.name)
        if o.fresh:
            raise Failure('stack %s runs; stop it before --fresh' % self.name)
        s['no_nginx'] = s['no_nginx'] and o.no_nginx
        s['only'] = None if o.only is None or s['only'] is None \
            else sorted(set(s['only']) | set(o.only))

    def launch(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = self.state['files']
        if soft < files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
        code, out = run(['supervisord', '-c',
                         self.path('conf', 'supervisord.conf')], 40,
                        env=dict(os.environ, IM_STACK_ID=self.state['id']),
                        cwd=self.state['sock'])
        if code != 0:
            raise Failure('supervisord does not start: ' + out)
        self.until('supervisord', 30, self.alive)

    def until(self, name, seconds, ready):
        """Waits for ready(); a program that gave up is not waited for."""
        end = time.time() + seconds
        while True:
            if ready():
                return
            if name in self.state.get('started', []):
                info = self.processes().get(name, {})
                # One that has exited is started again at once.
                if info.get('statename') in ('FATAL', 'STOPPED'):
                    raise Failure('%s: %s\n%s' % (
                        name, info.get('description', '').strip() or 'ended',
                        self.tail(name)))
            if time.time() > end:
                raise Failure('%s: not ready within %d s%s\n%s' % (
                    name, seconds, self.missing(name), self.tail(name)))
            time.sleep(0.05)

    def missing(self, name):
        """Of a daemon, in words."""
        if name not in self.daemons('logic') + self.daemons('task'):
            return ''
        what = not_ready(self.address(name))
        return ': ' + what if what else ''

    def tail(self, name):
        text = tail(self.log(name))
        if name == 'nginx':
            text = tail(self.log('nginx.out')) + text
        return text

    def bring_up(self, stopped=True):
        """Starts what does not run, unless it was stopped on purpose and is
        to stay so, and waits for all of it."""
        names = self.selected()
        begin = time.time()
        states = self.processes()
        if not stopped:
            names = [n for n in names if states.get(n, {}).get(
                'statename') not in ('STOPPED', 'STOPPING')]
        started = [n for n in names if n in states]
        self.state['started'] = started
        self.save()

        def start(name):
            if states[name]['statename'] in ('RUNNING', 'STARTING',
                                             'BACKOFF'):
                return
            try:
                self.supervisor().startProcess(name, False)
            except xmlrpc.client.Fault as e:
                # The supervisor may have done so meanwhile.
                if e.faultString.startswith('ALREADY_STARTED'):
                    return
                raise Failure('%s: %s' % (name, e.faultString))

        def wait(name, seconds, ready):
            self.until(name, seconds, ready)
            if states[name]['statename'] != 'RUNNING':
                say('stack %s: %-7s at %4.1f s'
                    % (self.name, name, time.time() - begin))

        # The backends do not know each other: all at once.
        backends = [n for n in names if n in BACKENDS]
        for n in backends:
            start(n)
        checks = {
            'etcd': (40, self.etcd_ready),
            'redis': (40, self.redis_ready),
            'mysql': (60, self.mysql_ready),
            'kafka': (100, self.kafka_ready),
        }
        for n in backends:
            wait(n, *checks[n])
            if n == 'mysql':
                self.load_schema()

        if (any(n not in BACKENDS for n in names)
                and ('kafka' in names or self.state['kafka'])):
            self.create_topics()
        for kind in ('logic', 'task'):
            mine = [n for n in names if n.startswith(kind)]
            for n in mine:
                if not os.access(self.bin('im-' + kind), os.X_OK):
                    raise Failure('%s is not there: run make'
                                  % self.bin('im-' + kind))
                start(n)
            for n in mine:
                wait(n, 40, lambda n=n: not not_ready(self.address(n)))
        if 'nginx' in names:
            start('nginx')
            wait('nginx', 40, self.nginx_ready)

    # Stop.

    def stop(self):
        with self.lock():
            if not self.state.get('sock'):
                return False
            self.halt()
        say('stack %s: stopped' % self.name)
        return True

    def halt(self):
        """From the edge inwards, so that what is under way is finished; a
        program that does not end within its time is killed."""
        with contextlib.suppress(OSError, xmlrpc.client.Error,
                                 http.client.HTTPException):
            sup = self.supervisor()
            for group in (['nginx'], self.daemons('task'),
                          self.daemons('logic'), BACKENDS):
                self.stop_group(sup, group)
            sup.shutdown()
        end = time.time() + 10
        while self.alive() and time.time() < end:
            time.sleep(0.05)
        self.sweep()
        # A small disk that tests/fault was not allowed to take away again.
        for name in BACKENDS:
            if os.path.ismount(self.path('data', name)):
                run(['umount', self.path('data', name)], 10)
        shutil.rmtree(self.state['sock'], ignore_errors=True)
        self.state['sock'] = ''
        self.save()

    def stop_group(self, sup, names):
        for n in names:
            with contextlib.suppress(xmlrpc.client.Fault):
                sup.stopProcess(n, False)
        end = time.time() + 30
        while time.time() < end:
            left = [n for n in names if self.processes().get(n, {}).get(
                'statename') in ('STOPPING', 'RUNNING', 'STARTING')]
            if not left:
                return
            time.sleep(0.05)

    def sweep(self):
        """Ends what is left of this stack when its supervisor was killed: our
        processes carry the stack's random id in their environment, or (nginx
        and Redis overwrite theirs) stand in a folder of the stack."""
        sock, mark = self.state.get('sock'), self.state.get('id')
        if not sock or not mark:
            return
        places = (sock, self.path('data', 'redis'))
        mark = ('IM_STACK_ID=' + mark).encode()
        for sig, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
            left = []
            for pid in filter(str.isdigit, os.listdir('/proc')):
                pid = int(pid)
                with contextlib.suppress(OSError):
                    with open('/proc/%d/environ' % pid, 'rb') as f:
                        ours = mark in f.read().split(b'\0')
                    ours = ours or os.readlink('/proc/%d/cwd' % pid) in places
                    if ours and pid != os.getpid() and process_alive(pid):
                        os.kill(pid, sig)
                        left.append(pid)
            end = time.time() + seconds
            while any(map(process_alive, left)) and time.time() < end:
                time.sleep(0.05)
            if not left:
                return

    # Answers.

    def status(self):
        if not self.alive():
            say('%s: stopped' % self.name)
            return False
        say('%s: running, http://%s/' % (self.name, self.address('http')))
        states, good = self.processes(), True
        for name in self.selected():
            p = states[name]
            good = good and p['statename'] == 'RUNNING'
            running = p['statename'] == 'RUNNING'
            missing = self.missing(name) if running else ''
            good = good and not missing
            say('    %-8s %-9s %s%s' % (
                name, p['statename'].lower(), p['description'],
                ', not ready' + missing if missing else ''))
        return good

    def need(self):
        if not self.alive():
            raise Failure('stack %s does not run' % self.name)


def ports_of_others(name=None):
    return [p for s in all_stacks() if s.name != name
            for p in s.state.get('ports', {}).values()]


def all_stacks():
    if not os.path.isdir(STACKS):
        return []
    return [Stack(n) for n in sorted(os.listdir(STACKS))
            if os.path.exists(os.path.join(STACKS, n, 'state.json'))]
