"""Is it ready?  Each answer comes from the program itself.

An open port proves nothing: etcd must be healthy, MySQL must answer a ping,
Kafka must have created our topics, a daemon must say so on /readyz, and
every worker of nginx must stand in etcd.
"""

import contextlib
import os
import re
import socket
import time

from .base import DATABASE, TOP, USER, Failure, http_ok, parent, run


class Ready:

    def etcd_ready(self):
        return http_ok(self.address('etcd'), '/health', '"true"')

    def redis_ready(self):
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.settimeout(1)
                s.connect(self.sock('redis'))
                s.sendall(b'PING\r\n')
                return s.recv(64).startswith(b'+PONG')
            except OSError:
                return False

    def mysql_ready(self):
        return os.path.exists(self.sock('mysql')) and run(
            ['mariadb-admin', '--no-defaults', '-S', self.sock('mysql'),
             '-u', 'root', '--connect-timeout=2', 'ping'], 5)[0] == 0

    def kafka_ready(self):
        with socket.socket() as s:
            s.settimeout(1)
            return s.connect_ex(('127.0.0.1', self.port('kafka'))) == 0

    def nginx_ready(self):
        """It answers, and each worker has registered itself."""
        if not http_ok(self.address('http')):
            return False
        code, out = run(['etcdctl', '--endpoints', self.address('etcd'),
                         '--command-timeout=2s', 'get', '--prefix',
                         '--keys-only', '/im/connect/'], 5,
                        env=dict(os.environ, ETCDCTL_API='3'))
        if code != 0:
            return False
        master = self.processes()['nginx']['pid']
        workers = set()
        for pid in re.findall(r'(?m)^/im/connect/.*-(\d+)-[0-9a-f]+$', out):
            if parent(int(pid)) == master:
                workers.add(pid)
        return len(workers) >= self.state['workers']

    def load_schema(self):
        """The database, its user and its tables, as an operator makes them."""
        sql = ("CREATE DATABASE IF NOT EXISTS `{0}` CHARACTER SET utf8mb4;\n"
               "CREATE USER IF NOT EXISTS '{1}'@'localhost';\n"
               "GRANT ALL ON `{0}`.* TO '{1}'@'localhost';\n"
               ).format(DATABASE, USER)
        tool = self.tool('im-schema')
        for command in (['mariadb', '--no-defaults', '-u', 'root', '-S',
                         self.sock('mysql'), '-e', sql], [tool, 'up']):
            code, out = run(command, 120, env=dict(
                os.environ, IM_MYSQL_ADDRESS='unix:' + self.sock('mysql'),
                IM_MYSQL_USER=USER, IM_MYSQL_PASSWORD='',
                IM_MYSQL_DATABASE=DATABASE))
            if code != 0:
                raise Failure('%s: %s' % (command[0], out))

    def tool(self, name):
        path = self.bin(name)
        if not os.access(path, os.X_OK):
            raise Failure('%s is not there: run make' % path)
        return path

    def create_topics(self):
        """Also the proof that Kafka works: its controller has answered."""
        tool = self.tool('im-topics')
        code, out = run([tool, '--brokers', self.kafka_address(),
                         '--topic', 'im.msg', '--partitions', '4',
                         '--topic', 'im.dead', '--partitions', '1',
                         '--timeout', '40'], 60)
        if code != 0:
            raise Failure('im-topics at %s: %s%s' % (
                self.kafka_address(), out,
                '' if self.state['kafka'] else self.tail('kafka')))
