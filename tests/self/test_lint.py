"""tools/lint finds what it is there to find, and finds nothing today."""

import os
import shutil
import subprocess
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.environ.get('IM_TEST_BUILD', 'build')

sys.path.insert(0, os.path.join(TOP, 'tools'))

from im_lint import callers, calls, habits, sizes, waits  # noqa: E402

LOW, HIGH, SIDE = 'services/low', 'services/high/deep', 'src/nginx/side'
TABLE = 'services/low:\nservices/high/deep: services/low\nsrc/nginx/side:\n'


@pytest.mark.skipif('tsan' in BUILD, reason='nginx is not built with TSan')
def test_the_sources_keep_all_habits():
    p = subprocess.run([sys.executable, os.path.join(TOP, 'tools/lint'),
                        '--build', BUILD], stderr=subprocess.PIPE, text=True,
                       timeout=100)
    assert (p.stderr, p.returncode) == ('', 0)


class Tree:
    """A small project: C files, their objects, a table and a page."""

    def __init__(self, top):
        self.top = str(top)
        self.table(TABLE)
        self.write(calls.PAGE, calls.BEGIN + '\n' + calls.END + '\n')

    def write(self, name, text):
        path = os.path.join(self.top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return path

    def read(self, name):
        with open(os.path.join(self.top, name), encoding='utf-8') as f:
            return f.read()

    def table(self, text):
        self.write(calls.TABLE, text)

    def compile(self, folder, name, text):
        source = self.write('%s/%s.c' % (folder, name), text)
        path = self.write(calls.object_of('build', '%s/%s.c' % (folder, name)),
                          '')
        subprocess.run(['gcc', '-c', '-o', path, source], check=True)
        return path

    def check(self, write=True):
        return calls.check(self.top, 'build', write)[0]


@pytest.fixture
def tree(tmp_path):
    t = Tree(tmp_path)
    t.compile(LOW, 'low', 'int low(void) { return 1; }\n')
    t.compile(HIGH, 'high', 'int low(void);\n'
                            'int high(void) { return low(); }\n')
    t.compile(SIDE, 'side', 'int side(void) { return 1; }\n')
    return t


def call_up(tree, *names):
    return tree.compile(LOW, 'up', ''.join(
        'int %s(void);\nint up_%s(void) { return %s(); }\n' % (n, n, n)
        for n in names))


def test_a_call_down_is_allowed(tree):
    assert tree.check() == []


def test_a_call_up_is_found_with_its_name_and_file(tree):
    call_up(tree, 'high')
    assert tree.check() == ['services/low may not call services/high/deep: '
                            'high (services/low/up.c)']


def test_a_call_sideways_is_found(tree):
    tree.compile(SIDE, 'other', 'int low(void);\n'
                                'int other(void) { return low(); }\n')
    assert tree.check() == ['src/nginx/side may not call services/low: '
                            'low (src/nginx/side/other.c)']


def test_a_variable_of_a_folder_above_is_found_too(tree):
    tree.compile(HIGH, 'limit', 'int limit = 1;\n')
    tree.compile(LOW, 'up', 'extern int limit;\n'
                            'int get(void) { return limit; }\n')
    assert 'limit (services/low/up.c)' in tree.check()[0]


def test_a_folder_that_the_table_forgot_is_named(tree):
    tree.compile('services/new/noun', 'new', 'int new(void) { return 1; }\n')
    assert tree.check() == [
        'services/new/noun is missing in ' + calls.TABLE]


def test_a_table_that_goes_round_in_a_circle_is_refused(tree):
    tree.table('services/low: services/high/deep\n'
               'services/high/deep: services/low\nsrc/nginx/side:\n')
    errors = tree.check()
    assert 'services/low calls services/high/deep, which is not above' \
        in errors[0]


def test_what_is_below_may_be_called_through_a_folder_between(tree):
    tree.table('services/low:\nservices/middle: services/low\n'
               'services/high/deep: services/middle\nsrc/nginx/side:\n')
    assert tree.check() == []


def test_all_calls_up_of_a_folder_are_counted(tree):
    names = ['a', 'b', 'c', 'd', 'e', 'f']
    tree.compile(HIGH, 'more', ''.join('int %s(void) { return 1; }\n' % n
                                       for n in names))
    call_up(tree, *names)
    assert 'd (services/low/up.c) and 2 more' in tree.check()[0]


def test_a_source_without_an_object_of_its_age_is_an_error(tree):
    path = call_up(tree)
    source = os.path.join(tree.top, LOW, 'up.c')
    os.utime(path, (1000, 1000))
    os.utime(source, (2000, 2000))
    assert 'is older than services/low/up.c' in tree.check()[0]
    os.unlink(path)
    assert 'services/low/up.c has no object' in tree.check()[0]


def test_two_programs_may_have_a_function_of_the_same_name(tree):
    tree.table('services/a/low:\nservices/a/high: services/a/low\n'
               'services/b/low:\nservices/low:\n'
               'services/high/deep: services/low\nsrc/nginx/side:\n')
    for program in 'ab':
        tree.compile('services/%s/low' % program, 'same',
                     'int same(void) { return 1; }\n')
    tree.compile('services/a/high', 'user', 'int same(void);\n'
                 'int user(void) { return same(); }\n')
    assert tree.check() == []


def test_a_map_that_is_old_is_found_and_renewed(tree):
    assert 'services/high/deep -> services/low is missing' \
        in tree.check(write=False)[0]
    assert tree.check() == []
    page = tree.read(calls.PAGE)
    assert '| `services/high/deep` | `services/low` 1 |' in page
    assert tree.check(write=False) == []
    tree.write(calls.PAGE, page.replace('`services/low` 1', '`services/low` 9'))
    assert 'is 1, not 9' in tree.check(write=False)[0]
    tree.write(calls.PAGE, page.replace('nothing of ours', '`src/gone` 1', 1))
    assert 'src/gone is no more' in tree.check(write=False)[0]


GOOD_C = '/*\n * a.c -- adds.\n */\n\nint\nadd(int a)\n{\n    return a;\n}\n'


def habits_of(place, name, text):
    place.write(name, text)
    place.write(habits.WORDS, 'adress\n')
    return habits.check(place.top, [name])


@pytest.fixture
def place(tmp_path):
    return Tree(tmp_path)


@pytest.mark.parametrize('name, text', [
    ('src/core/a.c', GOOD_C),
    ('tests/a.py', '"""a -- adds."""\n'),
    ('tools/a', '#!/bin/sh\n#\n# a -- adds.\n'),
    ('Makefile', '# Builds.\n\nall:\n\techo\n'),
    ('conf/a.conf', '; a.conf -- adds.\n'),
    ('proto/a.proto', '// Adds.\n'),
    ('docs/a.md', '# A page\n\n' + 'word ' * 30 + 'end\n'),
    ('t/a.t', '# Adds.\nrun_tests();\n\n__DATA__\n' + 'x' * 200 + ' \n'),
    ('notes', 'no code\t \n')])
def test_a_file_with_good_habits_passes(place, name, text):
    assert habits_of(place, name, text) == []


@pytest.mark.parametrize('name, text, error', [
    ('src/core/a.c', GOOD_C + '/* ' + 'x' * 78 + ' */\n',
     ':10: 84 columns, not 80 at most'),
    ('Makefile', '# Builds.\nall:\n\t' + 'x' * 73 + '\n',
     ':3: 81 columns, not 80 at most'),
    ('tests/a.py', '"""a -- adds."""\n' + '#' * 81 + '\n', ':2: 81 columns'),
    ('t/a.t', '# Adds.\n' + '#' * 81 + '\n__DATA__\n', ':2: 81 columns'),
    ('tools/a', '#!/bin/bash\n#\n# a -- adds.\n' + 'x' * 81 + '\n',
     ':4: 81 columns'),
    ('conf/a.conf', '# Adds.\n' + 'x' * 81 + '\n', ':2: 81 columns'),
    ('src/core/a.h', GOOD_C.replace('add(int a)', 'add(int a) '),
     ':6: blanks at the end'),
    ('docs/a.md', '# A page\n\nword \n', ':3: blanks at the end'),
    ('src/core/a.c', GOOD_C.replace('    return', '\treturn'), ':8: a tab'),
    ('conf/a.conf', '# Adds.\na\tb\n', ':2: a tab'),
    ('src/core/a.c', GOOD_C.rstrip('\n'),
     ':9: does not end with one line feed'),
    ('tests/a.py', '"""a -- adds."""\n\n',
     ':3: does not end with one line feed'),
    ('src/core/a.c', 'int a;\n', ':1: does not begin with a comment'),
    ('tests/a.py', 'import os\n', ':1: does not begin with a comment'),
    ('tools/a', '#!/bin/sh\necho\n', ':1: does not begin with a comment'),
    ('conf/a.conf', 'events {}\n', ':1: does not begin with a comment'),
    ('proto/a.proto', 'syntax = "proto3";\n',
     ':1: does not begin with a comment'),
    ('conf/schema/a.sql', 'SELECT 1;\n', ':1: does not begin with a comment')])
def test_a_bad_habit_is_found_with_its_line(place, name, text, error):
    found = habits_of(place, name, text)
    assert len(found) == 1 and found[0].startswith(name + error)


@pytest.mark.parametrize('call', sorted(
    {name for _, names, _ in habits.BANNED for name in names.split()}))
def test_a_call_that_is_not_used_here_is_found_with_what_to_use(place, call):
    found = habits_of(place, 'src/core/a.c', GOOD_C.replace(
        'return a;', 'return %s (a);' % call))
    assert len(found) == 1 and found[0].startswith(
        'src/core/a.c:8: %s() is not used here: ' % call)


def test_a_name_in_a_text_or_of_a_member_is_no_call(place):
    assert habits_of(place, 'src/core/a.c', GOOD_C.replace(
        'return a;', 'a("gets(x)", \'"\'); /* atoi(x) */ '
        'b->signal(a); my_atoi(a);')) == []


@pytest.mark.skipif(not shutil.which('codespell'),
                    reason='tools/deps lint installs it')
def test_a_word_that_is_spelled_wrongly_is_found(place):
    text = GOOD_C.replace('adds', 'adds t' + 'eh adress')
    found = habits_of(place, 'src/core/a.c', text)
    assert len(found) == 1 and found[0].startswith(
        'src/core/a.c:2: t' + 'eh ==> the')


def test_the_files_are_known_where_git_does_not_know_them(tmp_path,
                                                          monkeypatch):
    for name in ('src/a.c', 'tools/build', 'build/gen/b.c', '.cache/c.c',
                 'tests/__pycache__/d.pyc'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    # An archive of the sources; no git at all.
    assert habits.listed(str(tmp_path)) == ['src/a.c', 'tools/build']
    monkeypatch.setenv('PATH', '')
    assert habits.listed(str(tmp_path)) == ['src/a.c', 'tools/build']


def test_a_test_that_sleeps_is_named(tree):
    nap = 'sl' + 'eep'             # this file, too, is looked through
    for name, text in {
            'tests/e2e/test_a.py': 'import time\ntime.%s(1)\n',
            'tests/fault/run': '#!/usr/bin/python3\nawait asyncio.%s(1)',
            'tests/e2e/test_b.py': 'from time import %s as rest\n',
            'tests/e2e/test_c.py': 'still = is_a%s()\n',
            'tests/unit/test_d.c': 'int a;\nu%s(1);\n',
            waits.PYTHON: 'time.%s(1)\n', waits.C: 'nano%s(t);\n'}.items():
        tree.write(name, text % nap)
    assert [e.split(': ')[0] for e in waits.check(tree.top)] == [
        'tests/e2e/test_a.py:2', 'tests/e2e/test_b.py:1', 'tests/fault/run:2',
        'tests/unit/test_d.c:2']


def uncalled(tree):
    return callers.check(tree.top, 'build', frozenset(['side', 'high']))


def test_what_another_object_calls_is_left_alone(tree):
    assert uncalled(tree) == []


def test_a_handler_in_a_table_is_called(tree):
    tree.compile(HIGH, 'table', 'int row(void);\n'
                 'int (*const table[])(void) = { row };\n')
    tree.compile(LOW, 'row', 'int row(void) { return 1; }\n')
    assert uncalled(tree) == []


def test_a_function_that_nobody_calls_is_found(tree):
    tree.compile(LOW, 'old', '/* old() */\nint old(void) { return 1; }\n')
    assert uncalled(tree) == ['nobody calls old (services/low/old.c)']


def test_a_test_is_no_caller(tree):
    tree.compile(LOW, 'old', 'int old(void) { return 1; }\n')
    tree.write('tests/unit/test_old.c', 'int old(void);\n')
    assert uncalled(tree) == ['only a test calls old (services/low/old.c)']


def test_what_only_its_own_file_calls_is_to_be_static(tree):
    tree.compile(LOW, 'own', 'int own(int n) { return n ? own(n - 1) : 0; }\n')
    assert uncalled(tree) == [
        'only services/low/own.c calls own: make it static']
    tree.write('tests/unit/test_own.c', 'int own(int n);\n')
    assert uncalled(tree) == []


def test_tools_and_benchmarks_are_callers(tree):
    tree.compile(LOW, 'a', 'int a(void) { return 1; }\n')
    tree.compile(LOW, 'b', 'int b(void) { return 1; }\n')
    tree.write('tools/a.c', 'int main(void) { return a(); }\n')
    tree.write('bench/part/b.c', 'int main(void) { return b(); }\n')
    assert uncalled(tree) == []


def test_an_exception_that_is_not_needed_any_more_is_found(tree):
    assert callers.check(tree.top, 'build', frozenset(['side', 'high', 'x'])) \
        == ['x is not there any more (FOR_TESTS)']


@pytest.mark.parametrize('name', ['src/core/a.c', 'services/x/a.h',
                                  'tests/lib/a.py', 't/lib/A.pm', 'tools/a',
                                  'clients/js/src/a.js', 'web/a.css'])
def test_a_file_of_more_than_600_lines_is_found(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text('#!/usr/bin/python3\n' + 599 * '\n')
    assert sizes.check(str(tmp_path)) == []
    path.write_text('#!/usr/bin/python3\n' + 600 * '\n')
    assert sizes.check(str(tmp_path)) == [
        name + ' has 601 lines, more than 600']


def test_a_folder_of_more_than_15_c_files_is_found(tmp_path):
    for folder in ('services/x', 'tests/unit'):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(16):
            (tmp_path / folder / ('%d.c' % i)).write_text('')
    assert sizes.check(str(tmp_path)) == [
        'services/x has 16 C files, more than 15']
