"""What a release and a commit need: one version, and messages that say why."""

import os
import re
import subprocess

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
HOOK = os.path.join(TOP, 'tools/git-hooks/commit-msg')
GOOD = 'Logic: refuse a second number\n\nTwo shards gave the same one.\n'


def read(name):
    with open(os.path.join(TOP, name), encoding='utf-8') as f:
        return f.read()


def hook(tmp_path, message):
    path = tmp_path / 'message'
    path.write_text(message)
    p = subprocess.run([HOOK, str(path)], stderr=subprocess.PIPE, text=True,
                       env=dict(os.environ, LC_ALL='C.UTF-8'), timeout=20)
    return p.returncode, p.stderr


def test_the_changelog_begins_with_the_version_of_the_build():
    version = read('VERSION').strip()
    assert re.fullmatch(r'\d+\.\d+\.\d+', version)
    assert re.search(r'^## (\S+)', read('CHANGELOG.md'), re.M)[1] == version


@pytest.mark.parametrize('message', [
    GOOD,
    'Logic, Task: ' + 'x' * 59 + '\n\nBecause.\n',
    'Docs: ' + 'ü' * 66 + '\n\nBecause.\n',
    '# a comment\n' + GOOD,
    'Merge branch \'main\'\n',
    'fixup! Logic: refuse a second number\n'])
def test_a_commit_message_that_says_why_is_taken(tmp_path, message):
    assert hook(tmp_path, message) == (0, '')


@pytest.mark.parametrize('message, reason', [
    ('Logic: ' + 'x' * 66 + '\n\nBecause.\n', '73 columns'),
    ('refuse a second number\n\nBecause.\n', 'Area: imperative'),
    ('Kitchen: boil water\n\nBecause.\n', '"Kitchen" is no area'),
    ('Logic: refuse a second number\nBecause.\n', 'second line'),
    ('Logic: refuse a second number\n', 'a body is needed'),
    ('Logic: refuse a second number\n\n# only a comment\n',
     'a body is needed'),
    ('Logic: refuse a second number\n\nSigned-off-by: A <a@example.org>\n',
     'a body is needed'),
    ('Logic: refuse a second number\n\n'
     '# ------------------------ >8 ------------------------\n'
     'diff --git a/x b/x\n', 'a body is needed')])
def test_a_commit_message_without_a_reason_is_refused(tmp_path, message,
                                                      reason):
    code, error = hook(tmp_path, message)
    assert code == 1 and reason in error
