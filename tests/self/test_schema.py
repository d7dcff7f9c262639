"""The migrations keep the rules of docs/upgrading.md, and one that does not is
refused."""

import glob
import os
import re
import subprocess

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
FILES = sorted(glob.glob(os.path.join(TOP, 'conf/schema/*.sql')))
GOOD = '-- min_program: 1\nCREATE TABLE IF NOT EXISTS t (a INT);\n'
HOW = re.compile(r'ALTER TABLE \w+ (ADD COLUMN|ADD (UNIQUE )?KEY|DROP COLUMN|'
                 r'DROP KEY) \w+ [^,]*(\([^)]*\))?, '
                 r'ALGORITHM = (INSTANT|INPLACE, LOCK = NONE)')


def made(*files):
    """(exit code, the C that it makes or the reason)"""
    p = subprocess.run(['awk', '-f', os.path.join(TOP, 'tools/schema.awk'),
                        *map(str, files)], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, timeout=20)
    return p.returncode, p.stdout if p.returncode == 0 else p.stderr


def statements(path):
    with open(path, encoding='utf-8') as f:
        text = re.sub(r'--.*', '', f.read())
    return [' '.join(s.split()) for s in text.split(';') if s.strip()]


def may_run_again(statement):
    return bool(statement.startswith('CREATE TABLE IF NOT EXISTS ')
                or HOW.fullmatch(statement))


@pytest.mark.parametrize('path', FILES, ids=os.path.basename)
def test_each_statement_changes_one_thing_and_locks_nobody_out(path):
    assert [s for s in statements(path) if not may_run_again(s)] == []


@pytest.mark.parametrize('statement', [
    'ALTER TABLE t ADD COLUMN a INT NOT NULL DEFAULT 0',
    'ALTER TABLE t ADD COLUMN a INT, ADD COLUMN b INT, ALGORITHM = INSTANT',
    'ALTER TABLE t ADD KEY k (a, b), ALGORITHM = COPY',
    'ALTER TABLE t ADD KEY k (a), ADD KEY l (b), ALGORITHM = INPLACE, '
    'LOCK = NONE',
    'CREATE TABLE t (a INT)', 'UPDATE t SET a = 1'])
def test_a_statement_that_does_not_is_noticed(statement):
    assert not may_run_again(statement)


def test_every_statement_is_compiled_in():
    code, out = made(*FILES)
    assert code == 0, out
    bodies = re.findall(r'schema_\d{4}\[\] = \{\n(.*?)    NULL\n\};', out,
                        re.S)
    assert len(bodies) == len(FILES) >= 4
    for path, body in zip(FILES, bodies):
        found = [' '.join(' '.join(re.findall(r'"(.*?)\\n"', s)).split())
                 for s in re.split(r',\n', body) if s.strip()]
        assert found == statements(path)
    rows = re.findall(r'\{ (\d+), (\d+), "([\w-]+)", schema_\d{4} \}', out)
    assert [int(r[0]) for r in rows] == list(range(1, len(FILES) + 1))
    assert [r[2] + '.sql' for r in rows] == list(map(os.path.basename, FILES))


@pytest.mark.parametrize('name, text, reason', [
    ('0003-x.sql', GOOD, 'the number after 1 is missing'),
    ('0002_x.sql', GOOD, 'named NNNN-name.sql'),
    ('0002-x.sql', GOOD.replace('-- min', '-- no min'), 'min_program: N'),
    ('0002-x.sql', GOOD.replace('1', '3'), 'min_program is 1 to 2'),
    ('0002-x.sql', GOOD.replace('1', '0'), 'min_program is 1 to 2'),
    ('0002-x.sql', GOOD.replace(';', ''), 'no end'),
    ('0002-x.sql', '-- min_program: 1\n', 'no end'),
    ('0002-x.sql', GOOD + 'DO "x";\n', 'escaped')])
def test_a_file_that_cannot_be_right_fails_the_build(tmp_path, name, text,
                                                     reason):
    first = tmp_path / '0001-first.sql'
    first.write_text(GOOD)
    second = tmp_path / name
    second.write_text(text)
    code, said = made(first, second)
    assert code != 0 and reason in said, said
    second.unlink()
    assert made(first)[0] == 0
