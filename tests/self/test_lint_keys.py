"""tools/lint finds a key of Redis that is spelled outside its home."""

import os
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

sys.path.insert(0, os.path.join(TOP, 'tools'))

from im_lint import keys  # noqa: E402

FILE = 'services/low/key.c'


def write(top, name, text):
    path = top / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')


@pytest.fixture
def tree(tmp_path):
    write(tmp_path, keys.HOME, '#define IM_KEY_USER  "im:u:{%" PRIu64 "}"\n')
    return tmp_path


@pytest.mark.parametrize('text', [
    'char *k = "im:u:7";', 'x("local k = \'im:ps:{\' .. u");',
    '/* a "quoted" word */ f("im:off");'])
def test_a_key_is_spelled_in_its_home_only(tree, text):
    assert keys.check(tree) == []
    write(tree, FILE, '\n' + text + '\n')
    errors = keys.check(tree)
    assert len(errors) == 1 and FILE + ':2 ' in errors[0]


def test_comments_log_lines_and_urns_are_no_keys(tree):
    write(tree, FILE, """
/* as im:u:{uid} and "im:off" say */
char *log = "im: this worker serves", *urn = "urn:im:error:busy";
""")
    assert keys.check(tree) == []


def test_a_home_without_keys_is_noticed(tmp_path):
    assert keys.check(tmp_path) != []
