"""tools/deps on machines that are not as the one it was written on.

It runs in a folder of its own, with programs that note what they are told in
the place of apt-get, java and npm.
"""

import os
import re
import shutil
import subprocess

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
# What it may use of this machine.
BIN = ('bash cat chmod cmp comm cp date dirname env grep ls mkdir mktemp mv rm '
       'sed seq sh sleep sort tail timeout touch tr wc').split()
STARTS = '''
for a in "$@"; do
    case $a in -XX:ArchiveClassesAtExit=*) echo classes > "${a#*=}";; esac
done
echo Kafka Server started
'''
FORMATS = 'case "$*" in *StorageTool*) exit;; esac\n'


class Machine:

    def __init__(self, top):
        self.top = top
        self.noted = top / 'noted'
        shutil.copytree(os.path.join(TOP, 'tools/kafka'), top / 'tools/kafka')
        shutil.copy(os.path.join(TOP, 'tools/deps'), top / 'tools/deps')
        os.makedirs(top / 'bin')
        for name in BIN:
            os.symlink(shutil.which(name), top / 'bin' / name)
        os.makedirs(top / 'build/kafka/lib')
        (top / 'build/kafka/lib/.complete').touch()
        os.utime(top / 'tools/kafka/pom.xml', (0, 0))

    def program(self, name, script):
        path = self.top / 'bin' / name
        path.write_text('#!/bin/sh\necho "%s $*" >> %s\n%s\n' % (
            name, self.noted, script))
        path.chmod(0o755)

    def deps(self, part):
        r = subprocess.run(
            [self.top / 'tools/deps', part], text=True, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={'PATH': str(self.top / 'bin')})
        said = self.noted.read_text() if self.noted.exists() else ''
        self.noted.write_text('')
        return r.returncode, r.stdout, said


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_the_archive_of_classes_is_tried_a_few_times(machine):
    machine.program('java', FORMATS + 'exit 1')
    tries = []
    for _ in range(5):
        code, out, said = machine.deps('kafka')
        assert code == 0
        tries.append('kafka.Kafka' in said)
    assert tries == [True] * 3 + [False] * 2


def test_a_second_try_may_make_the_archive_of_classes(machine):
    machine.program('java', FORMATS + 'exit 1')
    machine.deps('kafka')
    machine.program('java', FORMATS + STARTS)
    machine.deps('kafka')
    archive = machine.top / 'build/kafka/broker.jsa'
    assert archive.read_text() == 'classes\n'
    assert machine.deps('kafka') == (0, '', '')


def test_make_run_installs_nothing_that_only_tests_need(machine):
    shutil.copy(os.path.join(TOP, 'tools/packages'), machine.top / 'tools')
    for name in ('dpkg-query', 'apt-get', 'sudo'):
        machine.program(name, '')
    machine.program('id', 'echo 1000')
    machine.program('java', FORMATS + STARTS)
    installed = {}
    for part in ('run', 'packages'):
        code, out, said = machine.deps(part)
        assert code == 0, out
        installed[part] = set(said.split(' install ')[1].split('\n')[0]
                              .split())
    assert {'gcc', 'nginx', 'openjdk-17-jre-headless'} <= installed['run']
    assert not {'chromium', 'nodejs', 'clang', 'libcmocka-dev',
                'python3-pytest'} & installed['run']
    assert installed['run'] < installed['packages']
    assert '[run]' not in installed['packages']


def test_whatever_runs_tests_or_measures_installs_what_they_need():
    """After `make run`, which installs less.  test-full begins with test."""
    with open(os.path.join(TOP, 'Makefile')) as f:
        rules = re.findall(r'^([a-z0-9-]+):(.*)\n((?:\t.*\n)+)', f.read(), re.M)
    runs = re.compile(r'tests/(run|trust|fault)|bench/|tools/matrix|pytest')
    needs = {name: before.split() for name, before, recipe in rules
             if runs.search(recipe) and name not in ('help', 'test-full')}
    assert {'test', 'test-unit', 'test-threads', 'bench'} <= set(needs)
    assert [name for name in needs if 'deps' not in needs[name]] == []


def test_npm_comes_as_the_other_packages_do(machine):
    web = machine.top / 'tests/web'
    os.makedirs(web)
    for name in ('package.json', 'package-lock.json'):
        (web / name).write_text('{}')
    machine.program('id', 'echo 1000')
    npm = machine.top / 'bin/npm'
    # As root it does nothing but that npm is there then.
    machine.program('sudo', 'case "$*" in *" install npm") '
                    'printf "#!/bin/sh\\n" > %s; chmod 755 %s;; esac'
                    % (npm, npm))
    code, out, said = machine.deps('npm')
    assert code == 0, out
    assert (said.index('apt-get -q update')
            < said.index('--no-install-recommends install npm'))
    assert machine.deps('npm') == (0, '', '')
