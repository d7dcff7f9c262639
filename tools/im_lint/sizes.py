"""sizes -- no file and no folder is too big to be read at once.

A file of more than LINES lines holds more than one noun, and so does a folder
of more than FILES C files.  Both are split by what they are about.
"""

import collections
import os
import re

SUFFIXES = ('.c', '.css', '.h', '.js', '.pm', '.py')
LINES, FILES = 600, 15
ROOTS = ('bench', 'clients', 'services', 'src', 't', 'tests', 'tools', 'web')
# Folders that are one flat list of independent files on purpose: a program for
# each test, and functions that only compute.
FLAT = ('src/core', 'tests/unit')


def is_python(path):
    with open(path, 'rb') as f:
        return re.match(rb'#!.*\bpython', f.readline()) is not None


def check(top):
    """What is wrong, in sentences."""
    errors, folders = [], collections.Counter()
    for root in ROOTS:
        for at, _, files in os.walk(os.path.join(top, root)):
            folder = os.path.relpath(at, top)
            for name in sorted(files):
                path = os.path.join(at, name)
                folders[folder] += name.endswith('.c')
                if not (name.endswith(SUFFIXES)
                        or '.' not in name and is_python(path)):
                    continue
                with open(path, 'rb') as f:
                    n = f.read().count(b'\n')
                if n > LINES:
                    errors.append('%s/%s has %d lines, more than %d'
                                  % (folder, name, n, LINES))
    errors += ['%s has %d C files, more than %d' % (folder, n, FILES)
               for folder, n in sorted(folders.items())
               if n > FILES and folder not in FLAT]
    return errors
