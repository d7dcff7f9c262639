"""stack -- a stack of this tree, or of another one, and the generator.

The users of a load are written into MySQL and their access tokens are signed
with the stack's key (bench/bench_shake.c), because a log-in costs 20 ms of a
core on purpose and is not what is measured; all else is what a client would do.
"""

import contextlib
import os
import random
import select
import subprocess
import time

from .machine import PYTHON, TOP, Problem, say

STORE_WAIT_S = 30        # for the last rows in MySQL
START_S = 240


class Stack:
    """Of the tree `top`, by its own tools/stack; `env` is put into the
    environment of its programs."""

    def __init__(self, o, top=TOP):
        self.o = o
        self.top = top
        self.env = None

    def tool(self, *args, seconds=START_S, env=None):
        try:
            return subprocess.run(
                [PYTHON, 'tools/stack', *args], cwd=self.top, timeout=seconds,
                env=dict(os.environ, **(env or {})),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True)
        except subprocess.TimeoutExpired:
            raise Problem('tools/stack %s: no end' % args[0]) from None

    def start(self, env=None):
        if not self.o.running:
            say('starting the stack %s' % self.o.stack)
            r = self.tool('start', self.o.stack, '--restart', '--fresh',
                          '--workers', str(self.o.workers), env=env)
            if r.returncode != 0:
                raise Problem('the stack does not start:\n' + r.stdout)
        r = self.tool('env', self.o.stack)
        if r.returncode != 0:
            raise Problem(r.stdout.strip())
        self.env = dict(line.split('=', 1) for line in r.stdout.splitlines())

    def stop(self):
        if not self.o.running and not self.o.keep:
            r = self.tool('stop', self.o.stack)
            if r.returncode != 0:
                say('the stack does not stop:\n' + r.stdout)

    def server(self):
        """What im-bench has to know of it."""
        return ['--address', self.env['IM_HTTP'],
                '--key', self.env['IM_JWT_KEY_FILE']]

    def programs(self):
        """name -> pids; instances of a daemon stand under one name."""
        r = self.tool('pids', self.o.stack)
        if r.returncode != 0:
            raise Problem(r.stdout.strip())
        names = {'logic': 'im-logic', 'task': 'im-task', 'mysql': 'mariadbd'}
        roots = {}
        for line in r.stdout.splitlines():
            program, pid = line.split()
            kind = program.rsplit('-', 1)[0]
            roots.setdefault(names.get(kind, program), []).append(int(pid))
        return roots

    def mysql(self, sql, seconds=60):
        """Rows of the last query, each a list of words."""
        e = self.env
        try:
            r = subprocess.run(
                ['mariadb', '--no-defaults', '-N', '-B', '-S', e['IM_MYSQL'],
                 '-u', e['IM_MYSQL_USER'], e['IM_MYSQL_DATABASE']],
                input=sql, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True, timeout=seconds)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Problem('mysql: %s' % error) from None
        if r.returncode != 0:
            raise Problem('mysql: ' + r.stderr.strip())
        return [line.split('\t') for line in r.stdout.splitlines()]

    def users(self, count):
        """New users, who cannot log in: "*" is no hash of any password."""
        mark = 'bench.%s.' % os.urandom(4).hex()
        now = int(time.time() * 1000)
        base = random.randrange(10 ** 18, 2 ** 62)
        uids = [base + n for n in range(count)]
        for first in range(0, count, 1000):
            self.mysql('INSERT INTO users (uid, name, password, created_ms) '
                       'VALUES ' + ','.join(
                           "(%d, '%s%d', '*', %d)" % (uid, mark, uid - base,
                                                      now)
                           for uid in uids[first:first + 1000]))
        return uids

    def stored(self, uids, want):
        """(rows, rows of the measured window, different msg_ids, s waited)
        of these users, when there are as many as wanted or no more come."""
        where = 'FROM messages WHERE conv_a BETWEEN %d AND %d' % (uids[0],
                                                                  uids[-1])
        begin = time.monotonic()
        while int(self.mysql('SELECT COUNT(*) ' + where)[0][0]) < want \
                and time.monotonic() - begin < STORE_WAIT_S:
            time.sleep(0.2)
        waited = time.monotonic() - begin
        row = self.mysql("SELECT COUNT(*), COALESCE(SUM(LEFT(body, 2) = "
                         "'\"m'), 0), COUNT(DISTINCT msg_id) " + where)[0]
        return int(row[0]), int(row[1]), int(row[2]), waited


# The generator.

class Generator:

    def __init__(self, bench, uids, server, *args):
        self.users = os.path.join(bench.out, 'users')
        with open(self.users, 'w') as f:
            f.writelines('%d\n' % uid for uid in uids)
        self.process = subprocess.Popen(
            [os.path.join(TOP, bench.o.build, 'im-bench'), *server,
             '--users', self.users, *args], cwd=TOP, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, bufsize=0)
        self.pending = b''

    def line(self, seconds):
        end = time.monotonic() + seconds
        while b'\n' not in self.pending:
            left = end - time.monotonic()
            if left <= 0:
                raise Problem('im-bench says nothing for %d s' % seconds)
            if select.select([self.process.stdout], [], [], left)[0]:
                data = os.read(self.process.stdout.fileno(), 65536)
                if not data:
                    raise Problem('im-bench has ended (exit code %s)'
                                  % self.process.wait(10))
                self.pending += data
        text, self.pending = self.pending.split(b'\n', 1)
        return text.decode()

    def expect(self, word, seconds):
        text = self.line(seconds)
        if text.split()[:1] != [word]:
            raise Problem('im-bench: "%s" was expected, "%s" came'
                          % (word, text))

    def write(self, text):
        try:
            self.process.stdin.write(text.encode() + b'\n')
        except BrokenPipeError:
            pass                     # the next line() says what happened

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(OSError):
            os.unlink(self.users)
