"""tests/fuzz/run fails when libFuzzer has found something, and says what."""

import os
import re
import subprocess
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
FUZZ = os.path.join(TOP, 'tests/fuzz')


def run(tmp_path, script, *args):
    """With a program in the place of im-fuzz."""
    program = tmp_path / 'im-fuzz'
    program.write_text('#!/bin/sh\n' + script)
    program.chmod(0o755)
    p = subprocess.run([sys.executable, os.path.join(FUZZ, 'run'), '--build',
                        str(tmp_path), '--seconds', '0', *args], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=60)
    return p.returncode, p.stdout


def test_all_targets_run_and_pass_if_nothing_is_found(tmp_path):
    code, out = run(tmp_path, 'echo "cov: 7 ft: 9 corp: 3/5b"\n'
                              'echo "stat::number_of_executed_units: 12"\n')
    assert code == 0
    assert out.splitlines()[0] == 'body     12 inputs, 7 edges, 3 kept'
    assert re.search(r'\n9 targets in \d+ s, 0 failed\n$', out)


def test_one_that_crashes_is_named_with_its_input(tmp_path):
    code, out = run(tmp_path, 'if [ $IM_FUZZ = jwt ]; then\n'
                              'echo "ERROR: AddressSanitizer: heap"\n'
                              'echo "Test unit written to bad/jwt-crash-1"\n'
                              'exit 77\nfi\n', '--only', 'jwt,ws')
    assert code == 1
    assert 'ERROR: AddressSanitizer: heap' in out
    assert 'input: bad/jwt-crash-1' in out and 'IM_FUZZ=jwt' in out
    assert out.endswith(' 1 failed: jwt\n')


def test_a_target_that_is_not_there_is_refused(tmp_path):
    code, out = run(tmp_path, 'exit 0\n', '--only', 'nothing')
    assert code == 2 and out == ''


def test_each_target_has_a_corpus_and_each_corpus_a_target():
    with open(os.path.join(FUZZ, 'fuzz.c')) as f:
        targets = re.findall(r'\{ "(\w+)", fuzz_\w+ \}', f.read())
    assert len(targets) > 8
    assert sorted(targets) == sorted(os.listdir(os.path.join(FUZZ, 'corpus')))
    assert set(os.listdir(os.path.join(FUZZ, 'words'))) <= set(targets)


@pytest.mark.parametrize('option', ['-max_total_time=', '-timeout=',
                                    '-rss_limit_mb=', '-artifact_prefix='])
def test_time_memory_and_hangs_are_bounded(tmp_path, option):
    code, _ = run(tmp_path, 'echo "$@" | grep -q -e %s\n' % option)
    assert code == 0
