"""Builds nginx and the module in one combination.

A tree is copied once to build/matrix, because nginx's configure writes into the
folder that it runs in.  Each combination has a builddir of its own beside it:

    build/matrix/nginx-1.28.3/src                 the copy
    build/matrix/nginx-1.28.3/no-debug.ssl.compat.gcc.dynamic/

Our files are compiled first and as nginx's configure says, so with its warnings
and -Werror: that is what an adopter meets.  nginx's own files come afterwards,
without -Werror and without optimisation: their warnings are not ours, and
half the time is saved.  They are the same in a static and a dynamic
build, so the second one links to the objects of the first, if configure
found the same (ngx_auto_*.h).  Only nginx.c differs, which holds the arguments
of configure.
"""

import glob
import os
import re
import shutil
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
MATRIX = os.path.join(TOP, 'build', 'matrix')
LIMIT = 600                        # seconds for any one command

# As tools/nginx.mk has it.
CC_OPT = ('-O2 -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=2 '
          '-Wformat -Wformat-security')
LD_OPT = '-fPIC -Wl,-z,relro -Wl,-z,now'
CORE_OPT = ' -O0 -U_FORTIFY_SOURCE -Wno-error'
# --with-compat sets the layout of threads and of HTTP/2 anyway; without it,
# nginx is as small as its configure makes it.
COMPAT = ['--with-compat', '--with-threads', '--with-http_v2_module',
          '--with-http_realip_module', '--with-http_auth_request_module',
          '--with-http_stub_status_module']


class Broken(Exception):
    """The combination failed; the text is one line."""


class Combination:

    def __init__(self, tree, debug, ssl, compat, cc, link):
        self.tree = tree
        self.debug, self.ssl, self.compat = debug, ssl, compat
        self.cc = cc
        self.link = link
        self.core = '.'.join([
            'debug' if debug else 'no-debug', 'ssl' if ssl else 'no-ssl',
            'compat' if compat else 'no-compat', cc])
        self.name = '%s %s' % (os.path.basename(tree),
                               ' '.join([*self.core.split('.'), link]))
        self.top = os.path.join(MATRIX, os.path.basename(tree))
        self.dir = os.path.join(self.top, '%s.%s' % (self.core, link))
        self.src = os.path.join(self.top, 'src')
        self.log = self.dir + '.log'
        self.nginx = os.path.join(self.dir, 'nginx')
        self.module = (os.path.join(self.dir, 'ngx_im_module.so')
                       if link == 'dynamic' else None)

    def build(self):
        """Leaves self.nginx and self.module, or raises Broken."""
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        with open(self.log, 'w'):
            pass
        self.configure()
        makefile = self.read('Makefile')
        ours = sorted(set(re.findall(r'(?m)^(\S+/addon/\S+\.o):', makefile)))
        if not ours:
            raise Broken('configure: the module is not in the Makefile')
        self.make(*ours)
        self.take_objects()
        flags = re.search(r'(?m)^CFLAGS *= *(.*)', makefile).group(1)
        self.make('CFLAGS=' + flags + CORE_OPT, 'binary',
                  *(['modules'] if self.module else []))
        # What it leaves can be used by the other link of this combination.
        with open(os.path.join(self.dir, 'complete'), 'w'):
            pass

    def configure(self):
        if not os.path.isdir(self.src):
            os.makedirs(self.top, exist_ok=True)
            shutil.copytree(self.tree, self.src + '.new', symlinks=True)
            os.rename(self.src + '.new', self.src)
        script = ('./configure' if os.path.exists(self.src + '/configure')
                  else 'auto/configure')
        self.run([script, '--builddir=' + self.dir, '--prefix=' + self.dir,
                  '--with-cc=' + self.cc, '--with-cc-opt=' + CC_OPT,
                  '--with-ld-opt=' + LD_OPT,
                  *(['--with-debug'] if self.debug else []),
                  *(['--with-http_ssl_module'] if self.ssl else []),
                  *(COMPAT if self.compat else []),
                  '--add-%smodule=%s' % ('dynamic-' if self.module else '',
                                         TOP)])

    def make(self, *what):
        self.run(['make', '-j%d' % os.cpu_count(), '-f',
                  os.path.join(self.dir, 'Makefile'), *what])

    def take_objects(self):
        """nginx's own objects, where a build of the same core has them."""
        for other in glob.glob(os.path.join(self.top, self.core + '.*',
                                            'complete')):
            other = os.path.dirname(other)
            if other != self.dir and self.found() == self.found(other):
                for path in glob.glob(other + '/src/**/*.o', recursive=True):
                    if not path.endswith('/src/core/nginx.o'):
                        to = self.dir + path[len(other):]
                        shutil.copyfile(path, to)   # newer than its headers
                return

    def found(self, folder=None):
        """What configure found; not with which arguments."""
        return [line for name in ('ngx_auto_headers.h', 'ngx_auto_config.h')
                for line in self.read(name, folder).splitlines()
                if 'NGX_CONFIGURE' not in line]

    def read(self, name, folder=None):
        with open(os.path.join(folder or self.dir, name)) as f:
            return f.read()

    def run(self, argv):
        env = {k: v for k, v in os.environ.items()
               if k not in ('MAKEFLAGS', 'MAKELEVEL', 'MFLAGS', 'CC', 'BUILD')}
        env['IM_BUILD'] = os.path.join(TOP, 'build')
        env['LC_ALL'] = 'C'
        with open(self.log, 'a') as f:
            try:
                p = subprocess.run(argv, cwd=self.src, env=env, stdout=f,
                                   stderr=f, stdin=subprocess.DEVNULL,
                                   timeout=LIMIT)
            except (OSError, subprocess.TimeoutExpired) as e:
                raise Broken(str(e)) from None
        if p.returncode != 0:
            raise Broken(self.reason())

    def reason(self):
        """The first complaint of the log, or its last line."""
        with open(self.log, errors='replace') as f:
            lines = [line.strip() for line in f if line.strip()]
        for line in lines:
            if re.search(r'error:|undefined reference|No such file', line):
                return line.replace(TOP + '/', '')[:200]
        return lines[-1][:200] if lines else 'no output'
