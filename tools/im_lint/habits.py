"""habits -- how our text files look, whatever is in them.

columns   80 at most in code and configuration
blanks    none at the end of a line, one line feed at the end of a file, tabs
          in Makefiles only
comment   each file says in the beginning what it is
calls     C functions that end badly, with what to use instead
spelling  codespell, but for the words in words.txt, beside this file

Files are those that git knows or would add; without git, or in a tree that it
does not answer for, those outside of build/ and hidden folders.  What is in
web/ is looked at like the rest; data of tests is not.
"""

import os
import re
import shutil
import subprocess

WORDS = 'tools/im_lint/words.txt'
BUILD = 'build'
COLUMNS = 80
# By the end of a name; files without one go by their first line.
KINDS = {'.c': 'c', '.h': 'c', '.py': 'script', '.pm': 'script',
         '.t': 'script', '.mk': 'make', '.conf': 'conf', '.proto': 'proto',
         '.sql': 'sql', '.awk': 'script', '.md': 'page', '.js': 'c',
         '.css': 'c', '.map': 'conf', '.supp': 'conf'}
NAMES = {'Makefile': 'make', 'config': 'script'}
# Inputs of fuzzing and their dictionaries, schemas of the past.
DATA = ('tests/fuzz/corpus/', 'tests/fuzz/words/', 'tests/e2e/schema_')
OPENS = {'c': r'/\*', 'script': r'(#!.*\n)?(#(?!!)|r?"""|=)', 'make': '#',
         'conf': '[#;]|{?/\\*|{ *#', 'proto': '//', 'sql': '--',
         'page': '(#|<)'}
LONG_IS_FINE = ('page',)

# What to use instead.  The sets of folders: where it is looked for.
SHIPPED = ('src/', 'services/', 'tools/')
OURS = SHIPPED + ('bench/', 'tests/lib/', 'tests/fuzz/')
ALL = OURS + ('tests/',)
TEXT = 'snprintf(), or memcpy() of a length that was checked'
NUMBER = 'im_json_number(), or strtoull() and a look at where it ended'
PIECES = 'strtok_r()'
CHANCE = 'randombytes_buf() of libsodium, ngx_random() in nginx'
WAITING = 'a timer, or im_cond.h: a wait ends when what it is for happens'
BANNED = [
    (ALL, 'gets', 'fgets()'),
    (OURS, 'strcpy strcat stpcpy sprintf vsprintf', TEXT),
    (OURS, 'strncpy strncat', TEXT + ': these may leave no NUL'),
    (SHIPPED, 'atoi atol atoll atof', NUMBER),
    (ALL, 'strtok', PIECES),
    (ALL, 'rand srand drand48', CHANCE),
    (ALL, 'alloca', 'an array of a fixed size, or malloc()'),
    (SHIPPED, 'system popen', 'fork() and execve() with arguments of its own'),
    (ALL, 'tmpnam tempnam mktemp', 'mkstemp()'),
    (OURS, 'gmtime localtime ctime asctime', 'gmtime_r() and strftime()'),
    (OURS, 'inet_ntoa inet_addr', 'inet_ntop(), inet_pton()'),
    (OURS, 'gethostbyname', 'getaddrinfo()'),
    (OURS, 'signal', 'sigaction()'),
    (('src/', 'services/'), 'sleep usleep', WAITING),
]
# Comments, texts and letters: one after another, so none is found in another.
LITERAL = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'
                     r"'(?:\\.|[^'\\\n])*'", re.S)


def listed(top):
    try:
        out = subprocess.run(
            ['git', 'ls-files', '-z', '--cached', '--others',
             '--exclude-standard'], cwd=top, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True).stdout
    except OSError:
        out = ''
    # Empty in an archive of the sources, and where root looks at a tree of
    # somebody else.
    names = set(out.split('\0')) if out else walked(top)
    return sorted(f for f in names
                  if f and os.path.isfile(os.path.join(top, f)))


def walked(top):
    for folder, folders, files in os.walk(top):
        folders[:] = [f for f in folders if f[0] != '.' and f != '__pycache__'
                      and os.path.join(folder, f) != os.path.join(top, BUILD)]
        for name in files:
            yield os.path.relpath(os.path.join(folder, name), top)


def kind_of(path, text):
    """What a file is, or None: nothing that we look at."""
    if path.startswith(DATA):
        return None
    base = os.path.basename(path)
    end = os.path.splitext(base)[1]
    if end in KINDS or base in NAMES:
        return KINDS.get(end) or NAMES[base]
    return 'script' if text.startswith('#!') else None


def columns(kind, lines):
    if kind in LONG_IS_FINE:
        return
    for n, line in enumerate(lines, 1):
        if line == '__DATA__':
            return                     # of a test: requests as they are sent
        width = len(line.expandtabs(8))
        if width > COLUMNS:
            yield n, '%d columns, not %d at most' % (width, COLUMNS)


def blanks(kind, lines):
    for n, line in enumerate(lines, 1):
        if line == '__DATA__':
            return
        if line != line.rstrip():
            yield n, 'blanks at the end'
        if '\t' in line and kind != 'make':
            yield n, 'a tab'
    if lines[-1] or lines[-2:-1] == ['']:
        yield len(lines), 'does not end with one line feed'


def comment(kind, text):
    if not re.match(OPENS[kind], text):
        yield 1, 'does not begin with a comment that says what it is'


def without_literals(text):
    """C without comments and texts, line by line as it was."""
    return LITERAL.sub(lambda m: '\n' * m[0].count('\n') or ' ', text)


def calls(path, text):
    for folders, names, instead in BANNED:
        if not path.startswith(folders):
            continue
        found = re.compile(r'(?<![\w.>])(%s)\s*\('
                           % '|'.join(names.split()))
        for n, line in enumerate(text.split('\n'), 1):
            for m in found.finditer(line):
                yield n, '%s() is not used here: %s' % (m[1], instead)


def spelling(top, paths):
    """Nothing, where codespell is not installed (tools/deps lint)."""
    if not shutil.which('codespell') or not paths:
        return []
    out = subprocess.run(
        ['codespell', '--ignore-words', os.path.join(top, WORDS),
         '--ignore-regex', r'\\[nrtx][0-9a-f]*', *paths], cwd=top,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    return ['%s (spelling; %s)' % (line, WORDS)
            for line in out.splitlines() if line]


def check(top, paths):
    """What is wrong, in sentences with file and line."""
    errors, spelled = [], []
    for path in paths:
        with open(os.path.join(top, path), 'rb') as f:
            data = f.read()
        try:
            text = data.decode()
        except UnicodeDecodeError:
            continue
        kind = kind_of(path, text)
        if kind is None or not text:
            continue
        spelled.append(path)
        lines = text.split('\n')
        found = [*columns(kind, lines), *blanks(kind, lines),
                 *comment(kind, text)]
        if path.endswith(('.c', '.h')):
            found += calls(path, without_literals(text))
        errors += ['%s:%d: %s' % (path, n, what)
                   for n, what in sorted(found)]
    return errors + spelling(top, spelled)
