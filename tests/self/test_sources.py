"""What the sources promise to nginx versions that are not on this machine."""

import glob
import os
import re
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


def test_headers_of_nginx_come_before_those_of_the_system():
    """ngx_config.h defines _GNU_SOURCE: after a header of the system it is too
    late, and nginx 1.26 and later do not compile (1.22 does)."""
    files = glob.glob(os.path.join(TOP, 'src/nginx/*/*.[ch]'))
    first = {}
    for path in files:
        with open(path) as f:
            first[path] = re.search(r'(?m)^#include\s+(\S+)', f.read()).group(1)
    late = {os.path.relpath(path, TOP): header
            for path, header in first.items()
            if not re.match(r'<ngx_|"ngx_im', header)}
    assert len(files) > 20 and late == {}


# As nginx writes it, with flags of --with-cc-opt and an OpenSSL of its own.
NGINX_MAKEFILE = '''
CFLAGS =  -pipe -O -I/opt/more -Wall
CPP =\tgcc -E -I/not/this
ALL_INCS = -I src/core \\
\t-I {top}/src/nginx/ws \\
\t-I {top}/build/gen \\
\t-I /opt/openssl/.openssl/include

CORE_DEPS = -I src/never
'''


def test_folders_of_the_module_are_read_with_the_paths_of_its_nginx(tmp_path):
    """Headers of an nginx may need more paths than its own folders; the paths
    of all our folders would hide an include of what stands above."""
    (tmp_path / 'Makefile').write_text(NGINX_MAKEFILE.format(top=TOP))
    out = subprocess.run(
        ['make', '--eval', 'print: ; @echo $(nginx_INCS)', 'print',
         'NGX_OBJ=%s' % tmp_path, 'NGINX_SRC=/nginx', 'INC_CORE=',
         'CFLAGS_RPC='], cwd=TOP, check=True, stdout=subprocess.PIPE,
        text=True, timeout=60).stdout
    assert out.split() == ['-I/opt/more', '-I/nginx/src/core',
                           '-I%s/build/gen' % TOP,
                           '-I/opt/openssl/.openssl/include']
