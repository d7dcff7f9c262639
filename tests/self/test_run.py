"""tests/run gives a test that fails one more try, and no more than that.

A made-up project in a temporary folder takes the place of ours: its tests fail
as they are told, and its stacks need no programs.
"""

import importlib.machinery
import importlib.util
import os
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(TOP, 'tools'), os.path.join(TOP, 'tests/lib')]

from im_run import Run  # noqa: E402
from im_run_again import run_again  # noqa: E402
from im_run_report import Report, Suspect  # noqa: E402

# Fails as long as FILE is not there, and makes it.
FIRST = '''
import os
def first(name):
    path = os.path.join(%r, name)
    there = os.path.exists(path)
    open(path, 'w').close()
    return not there
'''


class Project:

    def __init__(self, top):
        self.top = str(top)
        self.started = []          # stacks
        self.starts = lambda name: True
        self.pytest_args = []
        self.processes = 1         # of e2e: each takes a second to start
        for name in ('tests/unit', 'tests/e2e', 't', 'build/tests/unit'):
            os.makedirs(os.path.join(self.top, name))
        # Each part wants something to do.
        self.unit('fine', 'echo "ok 1 - fine"')
        self.t('fine', 'echo 1..1; echo "ok 1 - fine"')
        self.e2e('fine', 'def test_fine(): pass')

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.top, name)
        with open(path, 'w') as f:
            f.write(text)
        os.chmod(path, mode)

    def unit(self, name, script):
        self.write('tests/unit/test_%s.c' % name, '')
        self.write('build/tests/unit/test_' + name, '#!/bin/sh\n' + script,
                   0o755)

    def t(self, name, script):
        self.write('t/%s.t' % name, '#!/bin/sh\n' + script, 0o755)

    def e2e(self, name, text):
        self.write('tests/e2e/test_%s.py' % name, FIRST % self.top + text)

    def run(self, *parts, sanitizer=''):
        run = Run(self.top, sanitizer, self.pytest_args)
        run.own = lambda: None
        run.shared = run.shared[:self.processes]

        def bring_up(name, options, log):
            self.started.append((name, '--fresh' in options))
            where = os.path.join(self.top, 'build/stack', name)
            os.makedirs(where, exist_ok=True)
            with open(os.path.join(where, 'env'), 'w') as f:
                f.write('IM_STACK_NAME=%s\n' % name)
            with open(log, 'a') as f:
                f.write('%s: port taken\n' % name)
            return self.starts(name)

        run.bring_up = bring_up
        run.stop = lambda: None
        self.code = run.all(parts)
        return run.report


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def last_lines(capsys, n):
    return capsys.readouterr().out.splitlines()[-n:]


def test_what_passes_the_second_time_is_flaky_and_not_failed(project, capsys):
    project.unit('slow', '[ -e seen ] && echo "ok 1 - a" && exit\n'
                         'touch seen; echo "not ok 1 - a"; echo "# too late"\n'
                         'exit 1')
    project.e2e('slow', 'def test_b(): assert not first("b"), "too late"')

    project.run('unit', 'nginx', 'e2e')

    assert last_lines(capsys, 4) == [
        'flaky: unit test_slow (too late)',
        'flaky: tests/e2e/test_slow.py::test_b (AssertionError: too late)',
        'flaky: 2', '3 passed, 0 failed']
    assert project.code == 0
    # Alone, on a stack of its own.
    assert project.started[-1] == ('test-again', True)


def test_a_file_of_t_runs_again_alone_on_a_fresh_stack(project, capsys):
    project.t('slow', 'echo 1..1; [ -e seen ] && echo "ok 1 - c" && exit\n'
                      'touch seen; echo "not ok 1 - c"; exit 1')

    report = project.run('nginx')

    assert [name for name, _ in report.flaky] == ['nginx t/slow.t']
    assert last_lines(capsys, 1) == ['1 passed, 0 failed']
    assert project.code == 0
    assert project.started == [('test', True), ('test-again', True)]


def test_what_fails_twice_fails_the_run_and_is_named(project, capsys):
    project.unit('bad', 'echo "not ok 1 - x"; echo "ok 2 - y"; exit 1')
    project.t('bad', 'echo 1..1; echo "not ok 1 - z"; exit 1')
    project.e2e('bad', 'def test_w(): assert 1 == 2')

    project.run('unit', 'nginx', 'e2e')

    lines = last_lines(capsys, 99)
    assert lines[-1] == '4 passed, 3 failed'
    assert project.code == 1
    for name in ('unit test_bad (exit code 1): x', 'nginx t/bad.t: z',
                 'tests/e2e/test_bad.py::test_w'):
        assert 'FAILED ' + name in lines
    with open(os.path.join(project.top, 'build/test/failed')) as f:
        assert f.read().count('FAILED') == 3


def test_three_that_are_flaky_fail_the_run(project, capsys):
    project.e2e('slow', '''
import pytest
@pytest.mark.parametrize('n', [1, 2, 3])
def test_n(n): assert not first('n%d' % n)
''')

    project.run('e2e')

    lines = last_lines(capsys, 99)
    assert 'FAILED 3 tests were flaky, at most 2 may be' in lines
    assert lines[-2:] == ['flaky: 3', '1 passed, 3 failed']
    assert project.code == 1


def test_where_many_fail_none_is_run_again(project, capsys):
    project.e2e('slow', '''
import pytest
@pytest.mark.parametrize('n', range(7))
def test_n(n): assert not first('n%d' % n)
''')

    report = project.run('e2e')

    assert last_lines(capsys, 1) == ['1 passed, 7 failed']
    assert report.flaky == []
    assert ('test-again', True) not in project.started


def test_a_test_that_ends_the_process_fails_the_run_at_once(project, capsys):
    project.processes = 3
    project.e2e('bad', """
def test_a(): pass
def test_b():
    if first('b'): os._exit(9)
""")

    report = project.run('e2e')

    # It is no matter of chance: what else it has spoiled is not known.
    assert [test for test, _ in report.bad] == [
        'tests/e2e/test_bad.py::test_b']
    assert report.flaky == []
    assert last_lines(capsys, 1)[0].endswith(' passed, 1 failed')
    assert project.code == 1


def test_a_file_that_cannot_be_imported_fails_and_the_others_run(project,
                                                                 capsys):
    project.e2e('bad', 'import no_such_module')
    project.e2e('good', 'def test_a(): pass')

    project.run('e2e')

    lines = last_lines(capsys, 99)
    assert 'FAILED tests/e2e/test_bad.py' in lines
    assert lines[-1] == '2 passed, 1 failed'


def test_a_program_that_tests_nothing_fails(project, capsys):
    project.unit('empty', 'exit 0')

    project.run('unit')

    assert last_lines(capsys, 1) == ['1 passed, 1 failed']


def test_a_report_of_a_sanitizer_is_never_flaky(project, capsys):
    os.symlink(os.path.join(project.top, 'build'),
               os.path.join(project.top, 'build/asan'))
    project.unit('leaks', '[ -e seen ] && echo "ok 1 - a" && exit\n'
                          'touch seen; echo "not ok 1 - a"\n'
                          'echo "ERROR: AddressSanitizer" '
                          '> "${ASAN_OPTIONS##*log_path=}.1"; exit 1')
    old = os.path.join(project.top, 'build/stack/test-asan-again/log')
    os.makedirs(old)
    with open(os.path.join(old, 'asan.old.1'), 'w') as f:
        f.write('ERROR: of an earlier run\n')
    os.utime(os.path.join(old, 'asan.old.1'), (1, 1))

    project.run('unit', sanitizer='asan')

    lines = last_lines(capsys, 99)
    assert 'FAILED asan.test_leaks.1' in lines
    assert lines[-2:] == ['flaky: 1', '1 passed, 1 failed']
    assert project.code == 1


def test_a_stack_that_does_not_start_is_tried_once_more(project, capsys):
    tries = []
    project.starts = lambda name: tries.append(name) or len(tries) != 1

    report = project.run('nginx')

    assert report.flaky == [('stack test', 'test: port taken')]
    assert last_lines(capsys, 1) == ['1 passed, 0 failed']
    assert project.code == 0


def test_a_stack_that_never_starts_fails_the_run(project, capsys):
    project.starts = lambda name: False

    project.run('unit', 'nginx')

    assert last_lines(capsys, 1) == ['1 passed, 1 failed']
    assert project.started == [('test', True)] * 2
    assert project.code == 1


def test_second_tries_end_with_their_time(tmp_path, capsys):
    now = [0]
    report = Report(str(tmp_path), str(tmp_path))
    report.passed, report.failed = 1, 3

    def again(left):
        now[0] += 6
        return True

    report.suspects = [Suspect('test_%d' % n, [('test_%d' % n, ['late'])], 1,
                               again) for n in range(3)]
    run_again(report, 10, lambda: now[0])

    assert [name for name, _ in report.flaky] == ['test_0', 'test_1']
    assert report.close() == 1
    assert last_lines(capsys, 1) == ['1 passed, 1 failed']


def test_the_files_that_tests_run_names_are_there():
    loader = importlib.machinery.SourceFileLoader(
        'tests_run', os.path.join(TOP, 'tests/run'))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader('tests_run', loader))
    loader.exec_module(module)

    assert {*module.MEMORY} <= set(os.listdir(os.path.join(TOP, 'tests/e2e')))
    assert {*module.UNIT_FIRST} <= {n[:-2] for n in os.listdir(
        os.path.join(TOP, 'tests/unit'))}


def test_files_are_shared_and_each_has_one_stack(project, capsys):
    project.processes = 3
    for n in range(9):
        project.e2e('f%d' % n, '''
def test_a(): use()
def test_b(): use()
def use():
    with open('%s/used', 'a') as f:
        print(__file__, os.environ['PYTEST_XDIST_WORKER'], file=f)
''' % project.top)

    project.run('e2e')

    assert last_lines(capsys, 1) == ['19 passed, 0 failed']
    with open(os.path.join(project.top, 'used')) as f:
        used = set(f.read().splitlines())
    assert len(used) == 9                      # a file stays together
    assert len({line.split()[1] for line in used}) > 1


def test_what_the_campaign_checks_is_left_out_where_it_runs(project, capsys):
    project.e2e('long', 'import pytest\n@pytest.mark.full\n'
                        'def test_a(): pass')
    project.e2e('short', 'def test_b(): pass')

    report = project.run('e2e', 'faults')

    assert report.passed == 2


def test_k_chooses_tests_of_e2e(project, capsys):
    project.e2e('two', 'def test_a(): pass\ndef test_b(): assert False')
    project.pytest_args = ['-k', 'test_a']

    report = project.run('e2e')

    assert (report.passed, report.failed) == (1, 0)
