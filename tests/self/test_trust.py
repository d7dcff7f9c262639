"""tests/trust believes no run of tests that has not proved anything."""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), 'lib'))

import im_tool                                        # noqa: E402

CASE = '<testcase file="tests/e2e/test_a.py" classname="a" name="%s">%s' \
       '</testcase>'
PASSED = CASE % ('test_good', '')
FAILED = CASE % ('test_bad', '<failure>E   it did</failure>')


@pytest.fixture
def trust(tmp_path, monkeypatch):
    """The tool, with what a run leaves behind instead of the run."""
    tool = im_tool.load('tests/trust')
    monkeypatch.setattr(tool, 'TOP', str(tmp_path))
    monkeypatch.setattr(tool, 'OUT', str(tmp_path / 'out'))
    xml = tmp_path / 'build/test/e2e.xml'

    def measured(code, *cases):
        """The exit code of the tool, if each run leaves these cases."""
        def run(argv, log, **env):
            with open(log, 'w') as f:
                f.write('what was said\n')
            if cases:
                xml.parent.mkdir(parents=True, exist_ok=True)
                xml.write_text('<testsuite>%s</testsuite>' % ''.join(cases))
            return code

        monkeypatch.setattr(tool, 'run', run)
        monkeypatch.setattr('sys.argv', ['trust', '--runs', '1'])
        return tool.main()

    measured.xml, measured.out = xml, tmp_path / 'out'
    return measured


def test_a_run_in_which_all_passed_is_good(trust, capsys):
    assert trust(0, PASSED) == 0
    assert capsys.readouterr().out.endswith('| none |\n')


def test_a_test_that_passed_when_it_ran_again_is_not_excused(trust, capsys):
    assert trust(0, PASSED, FAILED) == 1
    assert '`test_a.py::test_bad` 1 |' in capsys.readouterr().out


@pytest.mark.parametrize('code, cases', [
    (1, []),                       # no stack has started
    (1, [PASSED]),                 # it hung after a while, or crashed
    (-9, [PASSED]),                # it was killed
    (0, []),                       # it says that all is good, of nothing
])
def test_a_run_that_names_no_failure_and_was_not_good_is_broken(
        trust, capsys, code, cases):
    assert trust(code, *cases) == 1
    assert '`a whole run` 1 |' in capsys.readouterr().out
    assert (trust.out / '1/run.log').read_text() == 'what was said\n'


def test_what_an_earlier_run_has_left_is_not_counted(trust, capsys):
    trust.xml.parent.mkdir(parents=True)
    trust.xml.write_text('<testsuite>%s</testsuite>' % PASSED)
    assert trust(1) == 1
    assert ' 0 passed, 0 failed, broken' in capsys.readouterr().out
