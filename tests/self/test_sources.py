"""What the sources promise to nginx versions that are not on this machine."""

import glob
import os
import re

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
