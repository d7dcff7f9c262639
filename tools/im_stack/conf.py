"""The files that a stack's programs read, and their command lines.

All of it follows from the stack's state (ports, socket folder, options) and
is written anew at each start.  nginx gets conf/nginx.conf and the daemons
conf/logic.conf and conf/task.conf: what a stack runs is what is shipped.
"""

import base64
import os
import re
import shutil
import subprocess

from .base import DATABASE, KAFKA_CLASSES, KAFKA_ID, KAFKA_LIB, TOP, USER, \
    Failure, run, tail, write


class Conf:

    def kafka_address(self):
        return self.state['kafka'] or self.address('kafka')

    def write_env(self):
        env = {
            'IM_STACK_NAME': self.name,
            'IM_STACK_DIR': self.dir,
            'IM_HTTP': self.address('http'),
            'IM_ETCD': self.address('etcd'),
            'IM_REDIS': self.sock('redis'),
            'IM_MYSQL': self.sock('mysql'),
            'IM_MYSQL_USER': USER,
            'IM_MYSQL_DATABASE': DATABASE,
            'IM_KAFKA_BROKERS': self.kafka_address(),
            'IM_JWT_KEY_FILE': self.path('data', 'jwt.key'),
            'IM_NGINX_PID_FILE': self.path('data', 'nginx', 'nginx.pid'),
            'IM_NGINX_WORKERS': self.state['workers'],
        }
        for kind in ('logic', 'task'):
            for n, name in enumerate(self.daemons(kind)):
                key = 'IM_%s_HEALTH' % kind.upper()
                env[key if n == 0 else '%s_%d' % (key, n + 1)] = \
                    self.address(name)
        write(self.path('env'),
              ''.join('%s=%s\n' % kv for kv in env.items()))

    def env(self):
        with open(self.path('env')) as f:
            return dict(line.rstrip('\n').split('=', 1) for line in f)

    # Configuration files.

    def configure(self):
        key = self.path('data', 'jwt.key')
        if not os.path.exists(key):
            write(key, base64.b64encode(os.urandom(48)).decode() + '\n', 0o600)
        if self.state['tls']:
            self.configure_tls()
        self.configure_redis()
        self.configure_mysql()
        self.configure_kafka()
        self.configure_nginx()
        self.configure_supervisor()

    def configure_tls(self):
        """An authority, and a certificate for each tier."""
        to = self.path('data', 'tls')
        if os.path.exists(os.path.join(to, 'task.pem')):
            return
        os.makedirs(to, 0o700, exist_ok=True)
        ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1',
              '-nodes']
        commands = [['req', '-x509', *ec, '-days', '30', '-subj', '/CN=im-ca',
                     '-keyout', 'ca.key', '-out', 'ca.pem']]
        for serial, tier in enumerate(('nginx', 'logic', 'task'), 2):
            write(os.path.join(to, tier + '.ext'),
                  'subjectAltName=DNS:%s.im\n' % tier)
            commands += [
                ['req', *ec, '-subj', '/CN=' + tier, '-keyout', tier + '.key',
                 '-out', tier + '.csr'],
                ['x509', '-req', '-in', tier + '.csr', '-CA', 'ca.pem',
                 '-CAkey', 'ca.key', '-set_serial', str(serial), '-days', '30',
                 '-extfile', tier + '.ext', '-out', tier + '.pem']]
        for command in commands:
            code, out = run(['openssl', *command], 20, cwd=to)
            if code != 0:
                raise Failure('openssl: %s' % out)

    def configure_redis(self):
        data = self.path('data', 'redis')
        os.makedirs(data, exist_ok=True)
        write(self.path('conf', 'redis.conf'), '\n'.join([
            'port 0', 'unixsocket %s' % self.sock('redis'),
            'unixsocketperm 700', 'dir "%s"' % data, 'daemonize no',
            'appendonly yes', 'appendfsync always', 'save ""',
            'aof-use-rdb-preamble yes', 'loglevel notice', '']))

    def configure_mysql(self):
        root = 'user = root\n' if os.getuid() == 0 else ''
        os.makedirs(self.path('data', 'mysql.tmp'), exist_ok=True)
        write(self.path('conf', 'my.cnf'), '[mariadbd]\n' + root + '\n'.join([
            'datadir = %s' % self.path('data', 'mysql'),
            'tmpdir = %s' % self.path('data', 'mysql.tmp'),
            'socket = %s' % self.sock('mysql'),
            'pid-file = %s' % self.sock('mysql.pid'),
            'skip-networking', 'skip-log-bin',
            'innodb_flush_log_at_trx_commit = 1',
            'innodb_buffer_pool_size = 256M',
            'max_allowed_packet = 64M',
            'character-set-server = utf8mb4', '']))

    def configure_kafka(self):
        with open(os.path.join(TOP, 'tools/kafka/server.properties')) as f:
            text = f.read()
        write(self.path('conf', 'kafka.properties'),
              text.replace('@BROKER@', str(self.port('kafka')))
                  .replace('@CONTROLLER@', str(self.port('kafka_controller')))
                  .replace('@DATA@', self.path('data', 'kafka')))

    def configure_nginx(self):
        """conf/nginx.conf, with addresses and paths of our own."""
        with open(os.path.join(TOP, 'conf/nginx.conf')) as f:
            text = f.read()

        def put(directive, value, optional=False):
            nonlocal text
            text, n = re.subn(r'(?m)^(\s*)%s\s[^;]*;' % directive,
                              lambda m: value and '%s%s %s;' % (
                                  m.group(1), directive.split('(')[0], value),
                              text)
            if n != 1:
                raise Failure('conf/nginx.conf: %s stands there %d times'
                              % (directive, n))

        data = self.path('data', 'nginx')
        os.makedirs(data, exist_ok=True)
        files = self.state['files']

        # Another build of it, such as make H2=1's.
        put('load_module', '"%s"' % os.path.join(
            TOP, os.environ.get('IM_MODULE') or self.bin('ngx_im_module.so')))
        put('user', 'root' if os.getuid() == 0 else '')
        put('worker_processes', str(self.state['workers']))
        put('worker_rlimit_nofile', str(files))
        put('worker_connections', str(files - files // 20))
        put('pid', '"%s"' % os.path.join(data, 'nginx.pid'))
        put('error_log', '"%s" notice' % self.log('nginx'))
        for kind in ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'):
            put(kind + '_temp_path', '"%s"' % os.path.join(data, kind))
        put('im_etcd', self.address('etcd'))
        put('im_jwt_key_file', '"%s"' % self.path('data', 'jwt.key'))
        if self.state['tls']:
            text = text.replace('im_jwt_key_file', 'im_rpc_tls %s;\n    '
                                'im_jwt_key_file' % ' '.join(
                                    '"%s"' % self.path('data', 'tls', name)
                                    for name in ('ca.pem', 'nginx.pem',
                                                 'nginx.key')), 1)
        put('listen', '%s backlog=4096' % self.address('http'))
        # What is shown is what stands in the tree.
        for place, folder in (('web', 'web'), ('client', 'clients/js/src')):
            text = text.replace('alias /usr/share/im/%s/;' % place,
                                'alias "%s/%s/";' % (TOP, folder))
        text = text.replace('include /etc/im/im_api.conf;',
                            'include "%s/conf/im_api.conf";' % TOP)
        write(self.path('conf', 'nginx.conf'), text)

    def programs(self):
        """name -> (command, environment, seconds to stop)"""
        s = self.state
        # A broker that lives for a minute is best off with the compiler that
        # is quick itself; a bench, which lives longer, asks for all of it.
        java = ['java', '-Xms512m', '-Xmx512m', '-XX:+UseSerialGC',
                '-XX:SharedArchiveFile=' + KAFKA_CLASSES] \
            + os.environ.get('IM_JAVA_OPTIONS',
                             '-XX:TieredStopAtLevel=1').split() \
            + ['-XX:-UsePerfData', '-Djava.net.preferIPv4Stack=true',
               '-Dlog4j2.configurationFile=file:%s/tools/kafka/'
               'log4j2.properties' % TOP, '-cp', KAFKA_LIB + '/*']
        etcd = 'http://' + self.address('etcd')
        peer = 'http://' + self.address('etcd_peer')
        p = {
            'etcd': (['etcd', '--name', 'im', '--enable-v2=false',
                      '--data-dir', self.path('data', 'etcd'),
                      '--listen-client-urls', etcd,
                      '--advertise-client-urls', etcd,
                      '--listen-peer-urls', peer,
                      '--initial-advertise-peer-urls', peer,
                      '--initial-cluster', 'im=' + peer,
                      '--auto-compaction-retention', '1',
                      '--logger', 'zap', '--log-level', 'warn'], {}, 10),
            'redis': (['redis-server', self.path('conf', 'redis.conf')],
                      {}, 10),
            'mysql': (['mariadbd',
                       '--defaults-file=' + self.path('conf', 'my.cnf')],
                      {}, 20),
            'kafka': (java + ['kafka.Kafka',
                              self.path('conf', 'kafka.properties')], {}, 15),
        }

        common = {
            'IM_ETCD_ENDPOINTS': self.address('etcd'),
            'IM_REDIS_ADDRESS': 'unix:' + self.sock('redis'),
            'IM_MYSQL_ADDRESS': 'unix:' + self.sock('mysql'),
            'IM_MYSQL_USER': USER,
            'IM_MYSQL_DATABASE': DATABASE,
            'IM_KAFKA_BROKERS': self.kafka_address(),
            'IM_RPC_LISTEN': '127.0.0.1:0',
            'IM_AUTH_JWT_KEY_FILE': self.path('data', 'jwt.key'),
        }
        for kind in ('logic', 'task'):
            for name in self.daemons(kind):
                env = dict(common, IM_HEALTH_LISTEN=self.address(name))
                if s['tls']:
                    for key, file in (('CA', 'ca.pem'),
                                      ('CERT', kind + '.pem'),
                                      ('KEY', kind + '.key')):
                        env['IM_RPC_TLS_' + key] = self.path('data', 'tls',
                                                             file)
                # A daemon is not given keys that its file does not have.
                if kind == 'task':
                    del env['IM_AUTH_JWT_KEY_FILE'], env['IM_RPC_LISTEN']
                p[name] = ([self.bin('im-' + kind), '--config',
                            '%s/conf/%s.conf' % (TOP, kind)],
                           dict(env, **self.sanitizer(name)), 15)

        nginx = os.environ.get('IM_NGINX', 'nginx')
        env = self.sanitizer('nginx')
        # nginx itself has no sanitizer inside: it must be there before the
        # module that has is loaded.
        if s['sanitizer'] == 'asan' and 'IM_NGINX' not in os.environ:
            env['LD_PRELOAD'] = ' '.join(
                run(['gcc', '-print-file-name=lib%s.so' % lib], 10)[1].strip()
                for lib in ('asan', 'ubsan'))
        p['nginx'] = ([nginx, '-e', self.log('nginx'), '-p',
                       self.path('data', 'nginx'), '-c',
                       self.path('conf', 'nginx.conf'), '-g', 'daemon off;'],
                      env, 10)
        return p

    def sanitizer(self, program):
        log = self.path('log', '%s.%s' % (self.state['sanitizer'], program))
        if self.state['sanitizer'] == 'tsan':
            return {'TSAN_OPTIONS': 'ignore_noninstrumented_modules=1:'
                                    'log_path=' + log}
        if self.state['sanitizer'] != 'asan':
            return {}
        return {
            'ASAN_OPTIONS': 'detect_leaks=1:fast_unwind_on_malloc=0:'
                            'log_path=' + log,
            'UBSAN_OPTIONS': 'print_stacktrace=1:log_path=' + log,
            'LSAN_OPTIONS': 'print_suppressions=0:suppressions=%s/t/lsan.supp'
                            % TOP,
        }

    def configure_supervisor(self):
        def quote(word):
            # supervisord splits a command as a shell does, and expands %.
            word = word.replace('%', '%%')
            if re.fullmatch(r'[\w@%+=:,./*-]+', word):
                return word
            return "'%s'" % word

        text = '\n'.join([
            '[unix_http_server]', 'file = %s' % self.sock('sup'),
            'chmod = 0700', '',
            '[supervisord]',
            'logfile = %s' % self.log('supervisord'),
            'logfile_maxbytes = 1MB', 'logfile_backups = 1',
            'loglevel = info',
            'pidfile = %s' % self.sock('sup.pid'),
            'childlogdir = %s' % self.path('log'),
            'identifier = im-%s' % self.name,
            'user = root' if os.getuid() == 0 else '', '',
            '[rpcinterface:supervisor]',
            'supervisor.rpcinterface_factory = '
            'supervisor.rpcinterface:make_main_rpcinterface', '',
            '[supervisorctl]', 'serverurl = unix://%s' % self.sock('sup'),
            ''])
        for name, (command, env, seconds) in self.programs().items():
            text += '\n'.join([
                '', '[program:%s]' % name,
                'command = %s' % ' '.join(quote(w) for w in command),
                'directory = %s' % self.state['sock'],
                'environment = %s' % ','.join(
                    '%s="%s"' % (k, v.replace('%', '%%'))
                    for k, v in env.items()),
                'autostart = false', 'autorestart = true',
                'startsecs = 1', 'startretries = 20',
                'stopsignal = TERM', 'stopwaitsecs = %d' % seconds,
                'stopasgroup = false', 'killasgroup = true',
                'redirect_stderr = true',
                'stdout_logfile = %s' % (self.log(name) if name != 'nginx'
                                         else self.log('nginx.out')),
                'stdout_logfile_maxbytes = 50MB',
                'stdout_logfile_backups = 1', ''])
        write(self.path('conf', 'supervisord.conf'), text, 0o600)

    # First use of data folders.

    def initialise(self):
        jobs = []
        names = self.selected()
        if 'mysql' in names \
                and not os.path.exists(self.path('data', 'mysql', 'ready')):
            shutil.rmtree(self.path('data', 'mysql'), ignore_errors=True)
            jobs.append(('mysql', [
                'mariadb-install-db', '--no-defaults',
                '--datadir=' + self.path('data', 'mysql'),
                '--auth-root-authentication-method=normal', '--skip-test-db']
                + (['--user=root'] if os.getuid() == 0 else [])))
        if 'kafka' in names:
            if not os.path.exists(os.path.join(KAFKA_LIB, '.complete')):
                raise Failure('no Kafka in %s: run make deps, or give '
                              'IM_KAFKA=host:port' % KAFKA_LIB)
            if not os.path.exists(self.path('data', 'kafka',
                                            'meta.properties')):
                shutil.rmtree(self.path('data', 'kafka'), ignore_errors=True)
                jobs.append(('kafka', [
                    'java', '-Xshare:auto', '-XX:TieredStopAtLevel=1',
                    '-cp', KAFKA_LIB + '/*', 'kafka.tools.StorageTool',
                    'format', '-t', KAFKA_ID,
                    '-c', self.path('conf', 'kafka.properties')]))

        started = []
        try:
            for name, command in jobs:
                with open(self.log(name + '.init'), 'w') as out:
                    try:
                        started.append((name, subprocess.Popen(
                            command, stdin=subprocess.DEVNULL, stdout=out,
                            stderr=out)))
                    except OSError as e:
                        raise Failure('%s: %s; run make deps' % (name, e))
            for name, p in started:
                try:
                    code = p.wait(90)
                except subprocess.TimeoutExpired:
                    code = -1
                if code != 0:
                    raise Failure('%s: its data folder cannot be made:\n%s'
                                  % (name, tail(self.log(name + '.init'))))
                if name == 'mysql':
                    write(self.path('data', 'mysql', 'ready'), '')
        finally:
            for _, p in started:
                if p.poll() is None:
                    p.kill()
                    p.wait()
