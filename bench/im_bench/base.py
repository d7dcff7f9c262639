"""base -- another commit of this repository, built below build/.

A clone that borrows the objects of this repository, so nothing of it changes:
no branch, no index, no list of work trees.  It is built by its own Makefile and
its stack is started by its own tools/stack.  Kafka's jars are those of this
tree if both ask for the same ones.
"""

import filecmp
import os
import subprocess

from .machine import TOP, Problem, say

BUILD_S = 1800
GIT_S = 120
# Of this make; the other one has settings of its own.
MAKE = ('MAKEFLAGS', 'MFLAGS', 'MAKEOVERRIDES', 'MAKELEVEL', 'BUILD', 'SAN')


def run(command, cwd, seconds, env=None):
    try:
        r = subprocess.run(command, cwd=cwd, env=env, timeout=seconds,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem('%s: %s' % (' '.join(command[:2]), error)) from None
    if r.returncode != 0:
        raise Problem('%s in %s:\n%s' % (' '.join(command), cwd,
                                         r.stdout[-3000:]))
    return r.stdout.strip()


def commit_of(name, top=TOP):
    try:
        return run(['git', 'rev-parse', '--verify', '--quiet',
                    name + '^{commit}'], top, GIT_S)
    except Problem:
        raise Problem('this repository has no commit %s; a shallow clone has '
                      'only the newest' % name) from None


def checkout(commit, top=TOP, to=None):
    """The folder of its work tree."""
    to = to or os.path.join(top, 'build', 'base', commit[:12])
    if not os.path.isdir(os.path.join(to, '.git')):
        os.makedirs(os.path.dirname(to), exist_ok=True)
        run(['git', 'clone', '--quiet', '--shared', '--no-checkout', top, to],
            top, GIT_S)
    # A file that somebody has changed there would be measured, too.
    run(['git', 'checkout', '--quiet', '--force', '--detach', commit], to,
        GIT_S)
    return to


def kafka(to, top=TOP):
    """Of the other tree: this one's, or fetched by its own tools/deps."""
    pom = 'tools/kafka/pom.xml'
    link = os.path.join(to, 'build', 'kafka')
    if os.path.exists(link):
        return
    if filecmp.cmp(os.path.join(top, pom), os.path.join(to, pom),
                   shallow=False):
        os.makedirs(os.path.dirname(link), exist_ok=True)
        os.symlink(os.path.join(top, 'build', 'kafka'), link)
        return
    run([os.path.join(to, 'tools', 'deps'), 'kafka'], to, BUILD_S)


def prepare(commit, top=TOP):
    """The folder of that commit, built."""
    to = checkout(commit, top)
    say('building %s in %s' % (commit[:12], os.path.relpath(to, top)))
    env = {k: v for k, v in os.environ.items() if k not in MAKE}
    run(['make', '-j%d' % os.cpu_count(), 'all'], to, BUILD_S, env)
    if not os.environ.get('IM_KAFKA'):
        kafka(to, top)
    return to
