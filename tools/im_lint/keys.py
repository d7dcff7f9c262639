"""keys -- only src/store/im_keys.h spells a key of Redis.

A key in a string of any other C file would be a second place to change, and a
script with a key in its text one that is not given to it by KEYS.  Tests may
spell keys: they hold what other versions expect.
"""

import os
import re

HOME = 'src/store/im_keys.h'
ROOTS = ('src', 'services', 'bench', 'tools')

# Comments are found, too, so that what stands in them is no string.
WORD = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', re.S)
KEY = re.compile(r'(?<![\w:])im:[a-z]')


def files(top):
    for root in ROOTS:
        for at, _, names in os.walk(os.path.join(top, root)):
            for name in sorted(names):
                if name.endswith(('.c', '.h')):
                    yield os.path.relpath(os.path.join(at, name), top)


def spelled(text):
    """Line and string of each key in a C file."""
    for m in WORD.finditer(text):
        if m[0][0] == '"' and KEY.search(m[0]):
            yield text.count('\n', 0, m.start()) + 1, m[0]


def check(top):
    """What is wrong, in sentences."""
    errors, home = [], False
    for path in files(top):
        with open(os.path.join(top, path), encoding='utf-8') as f:
            found = list(spelled(f.read()))
        if path == HOME:
            home = bool(found)
            continue
        errors += ['%s:%d spells a key of Redis, %s: use its name of %s'
                   % (path, line, string, HOME) for line, string in found]
    return errors if home else errors + ['%s has no keys' % HOME]
