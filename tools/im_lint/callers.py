"""callers -- each function that others could call is called by one.

A function that only its own file calls is to be static; one that nobody calls,
or only tests do, is to go.  What needs it is read with nm, as in calls.py, so
a handler in a table counts; of tools and benchmarks the text is read, because
not every build has their objects.
"""

import collections
import glob
import os
import re
import subprocess

from . import calls

# Tests go through all rows of a table by these.
FOR_TESTS = {'im_check_has_rule', 'im_error_at'}
# Headers whose rows name functions: what a macro of one file calls, perhaps its
# own; what other names stand for in another build.
ROWS = ('src/core/im_logic_rpcs.h', 'src/h2/im_h2_names.h', 'src/h2/im_h2.h')


def symbols(objects):
    """(object, name, kind) of all names that pass between objects."""
    text = subprocess.run(['nm', '-A', '-P', '-g', *objects], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    for line in text.splitlines():
        where, _, rest = line.partition(': ')
        yield (where, *rest.split()[:2])


def words(path):
    """How often each word is in a C file, without its comments."""
    with open(path, encoding='utf-8') as f:
        text = re.sub(r'/\*.*?\*/', '', f.read(), flags=re.S)
    return collections.Counter(re.findall(r'\w+', text))


def named_in(top, folder):
    """All words in the C files of a folder."""
    names = set()
    for suffix in 'ch':
        for path in glob.glob('%s/%s/**/*.%s' % (top, folder, suffix),
                              recursive=True):
            names.update(words(path))
    return names


def check(top, build, for_tests=frozenset(FOR_TESTS)):
    """What is wrong, in sentences; all objects are as new as their source."""
    ours = {os.path.join(top, calls.object_of(build, source)): source
            for source in calls.sources(top)}
    needed, homes = named_in(top, 'tools') | named_in(top, 'bench'), {}
    for where, name, kind in symbols(sorted(ours)):
        if kind == 'T':
            homes[name] = ours[where]
        elif kind == 'U':
            needed.add(name)
    for path in (os.path.join(top, row) for row in ROWS):
        if os.path.exists(path):
            needed.update(words(path))
    errors = ['%s is not there any more (FOR_TESTS)' % name
              for name in sorted(for_tests - set(homes))]
    tested = named_in(top, 'tests')
    for name, source in sorted(homes.items()):
        if name in needed or name in for_tests or name == 'main':
            continue
        inside = words(os.path.join(top, source))[name] > 1
        if not inside:
            errors.append('%s calls %s (%s)' % (
                'only a test' if name in tested else 'nobody', name, source))
        elif name not in tested:
            errors.append('only %s calls %s: make it static' % (source, name))
    return errors
