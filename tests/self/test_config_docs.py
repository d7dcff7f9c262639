"""The pages that are made from tables in the code say what these say."""

import glob
import os
import re
import shutil
import subprocess
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
TOOL = os.path.join(TOP, 'tools/config-docs')
RESTORE = 'run make docs'


def check(top):
    p = subprocess.run([sys.executable, TOOL, '--check', '--top', str(top)],
                       stderr=subprocess.PIPE, text=True, timeout=60)
    return p.returncode, p.stderr


@pytest.fixture
def copy(tmp_path):
    """The sources and the page, to be spoilt."""
    for folder in ('src', 'services', 'proto', 'docs'):
        shutil.copytree(os.path.join(TOP, folder), tmp_path / folder)
    return tmp_path


def spoil(top, pattern, by):
    """Changes the one source in which the pattern is found."""
    changed = 0
    for path in glob.glob(str(top / '**/*.[ch]'), recursive=True):
        with open(path, encoding='utf-8') as f:
            text = f.read()
        text, count = re.subn(pattern, by, text)
        if count:
            with open(path, 'w', encoding='utf-8') as f:
                f.write(text)
            changed += count
    assert changed == 1


def test_the_page_is_what_the_code_says():
    assert check(TOP) == (0, '')


@pytest.mark.parametrize('pattern, by', [
    (r'(prev->ping, )30000', r'\g<1>20000'),
    (r'not in 256-1m', 'not in 256-2m'),
    (r'(#define IM_ETCD_LEASE_S +)3\b', r'\g<1>4'),
    (r'threads that number and produce messages', 'threads'),
    (r'Deadline of the call to Logic', 'Limit of the call to Logic'),
    (r'(AUTH, ANY_ONE, )ONCE', r'\1REPEAT')])
def test_a_change_in_the_code_makes_the_page_old(copy, pattern, by):
    assert check(copy)[0] == 0
    spoil(copy, pattern, by)
    code, error = check(copy)
    assert code != 0 and RESTORE in error


@pytest.mark.parametrize('pattern, by, name', [
    (r' \* Syntax: im_ws_ping time\n', '', 'im_ws_ping'),
    (r' \* Syntax: im_ws_idle time\n', '\\g<0>     * Default: 1s\n',
     'im_ws_idle'),
    (r'(KEY\("logic", "shards", IM_CONF_UINT, shards, )"1"', r'\1ONE',
     'shards'),
    (r'    RPC\(Logout,', '    RPC2(Logout,', 'IM_LOGIC_RPCS'),
    (r' \* Life: 15 s\n', '', 'IM_KEY_SWEPT'),
    (r'Key: im:swept:', 'Key: im:sweep:', 'IM_KEY_SWEPT')])
def test_a_row_that_says_too_little_is_an_error(copy, pattern, by, name):
    spoil(copy, pattern, by)
    code, error = check(copy)
    assert code != 0 and name in error and RESTORE not in error
