"""calls -- no folder calls one above it.

What an object file needs and what it offers is read with nm, so a call is
found however its prototype got there.  A name that is needed in one folder and
offered by another is a call from the first to the second; calls through a
pointer (handlers that are registered) are none.  folders.txt, beside this
file, says which folder may call which.

Only objects that are as new as their source are looked at: what is missing or
old is an error, so that nothing passes unseen.
"""

import collections
import os
import re
import subprocess

TABLE = 'tools/im_lint/folders.txt'
ROOTS = ('src', 'services')
PAGE = 'docs/architecture.md'
BEGIN = '<!-- calls: written by tools/lint --write -->'
END = '<!-- end of calls -->'
# A number on the page may lag behind by that much: it is there to show what is
# big, and shall not change with each commit.
LAG, LAG_SHARE = 5, 0.25


class Table:
    """folders.txt: may[folder] = all that it may call."""

    def __init__(self, text):
        self.may, self.errors = {}, []
        for n, line in enumerate(text.split('\n'), 1):
            line = line.split('#')[0].strip()
            if line:
                self.line(line, '%s:%d: ' % (TABLE, n))

    def line(self, line, where):
        folder, colon, below = line.partition(':')
        if not colon or folder in self.may:
            self.errors.append(where + ('%s is there twice' % folder if colon
                                        else 'not FOLDER: FOLDERS'))
            return
        self.may[folder] = set()
        for name in below.split():
            if name == folder or name not in self.may:
                self.errors.append(where + '%s calls %s, which is not above '
                                   'this line' % (folder, name))
            else:
                self.may[folder] |= {name} | self.may[name]


def sources(top):
    """All our C files, with the folder that each belongs to."""
    found = {}
    for root in ROOTS:
        for at, _, files in os.walk(os.path.join(top, root)):
            for name in files:
                if name.endswith('.c'):
                    path = os.path.relpath(os.path.join(at, name), top)
                    found[path] = os.path.dirname(path)
    return found


def object_of(build, source):
    """Where make, or nginx's own make, puts the object of a source."""
    if source.startswith('src/nginx/'):
        folder, name = source.split('/')[-2:]
        return os.path.join(build, 'nginx/addon', folder, name[:-2] + '.o')
    return os.path.join(build, 'obj', source[:-2] + '.o')


def names(objects):
    """What each object needs and offers: two dicts of sets, by object."""
    needs = collections.defaultdict(set)
    offers = collections.defaultdict(set)
    text = subprocess.run(['nm', '-A', '-P', '-g', *objects], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    for line in text.splitlines():
        where, _, rest = line.partition(': ')
        name, kind = rest.split()[:2]
        (needs if kind in 'Uvw' else offers)[where].add(name)
    return needs, offers


def near(folder, other):
    """How many folders two paths have in common, from the top."""
    return len(os.path.commonprefix([folder.split('/'), other.split('/')]))


def calls(top, build):
    """(from, to) -> {name: a file that calls it}; and what cannot be read."""
    errors, objects = [], {}
    for source, folder in sorted(sources(top).items()):
        path = object_of(build, source)
        full = os.path.join(top, path)
        if not os.path.exists(full):
            errors.append('%s has no object %s: run make' % (source, path))
        elif (os.path.getmtime(full)
              < os.path.getmtime(os.path.join(top, source))):
            errors.append('%s is older than %s: run make' % (path, source))
        else:
            objects[full] = folder, source
    if errors or not objects:
        return {}, errors or ['no C files under %s' % ' and '.join(ROOTS)]
    needs, offers = names(sorted(objects))
    homes = collections.defaultdict(set)
    for path, offered in offers.items():
        for name in offered:
            homes[name].add(objects[path][0])
    found = collections.defaultdict(dict)
    for path in sorted(objects):
        folder, source = objects[path]
        for name in needs[path]:
            # Two programs may each have a function of the same name: the one
            # that is meant is the nearest.
            best = max((near(folder, h) for h in homes[name]), default=0)
            for home in homes[name]:
                if near(folder, home) == best and home != folder:
                    found[folder, home].setdefault(name, source)
    return found, []


def judge(table, found, folders):
    """What is wrong, in sentences."""
    errors = list(table.errors)
    errors += ['%s is missing in %s' % (folder, TABLE)
               for folder in sorted(folders) if folder not in table.may]
    for (folder, to), called in sorted(found.items()):
        if (folder in table.may and to in table.may
                and to not in table.may[folder]):
            some = ', '.join('%s (%s)' % (name, called[name])
                             for name in sorted(called)[:4])
            errors.append('%s may not call %s: %s%s' % (folder, to, some, (
                ' and %d more' % (len(called) - 4) if len(called) > 4
                else '')))
    return errors


def rows(table, found, folders):
    """The map, from the bottom up: (folder, [(folder, number)])."""
    order = [f for f in table.may if f in folders]
    for folder in order:
        below = [(to, len(found[folder, to])) for to in table.may
                 if (folder, to) in found]
        yield folder, sorted(below, key=lambda b: -b[1])


def page_lines(table, found, folders):
    yield '| folder | calls (number of names) |'
    yield '|---|---|'
    for folder, below in rows(table, found, folders):
        yield '| `%s` | %s |' % (folder, ', '.join(
            '`%s` %d' % called for called in below) or 'nothing of ours')


def numbers(lines):
    """(from, to) -> number on a page, and what is wrong with its form."""
    found = {}
    for line in lines:
        m = re.fullmatch(r'\| `(\S+)` \| (.*) \|', line)
        if m:
            found[m[1], ''] = 0
            for to, n in re.findall(r'`(\S+)` (\d+)', m[2]):
                found[m[1], to] = int(n)
    return found


def page_errors(text, lines):
    """What the map in a page says wrongly."""
    if BEGIN not in text or END not in text:
        return ['%s has no map of calls' % PAGE]
    said = numbers(text.split(BEGIN)[1].split(END)[0].split('\n'))
    true = numbers(lines)
    wrong = ['%s %s' % (' -> '.join(filter(None, pair)), what)
             for what, pairs in (('is missing', set(true) - set(said)),
                                 ('is no more', set(said) - set(true)))
             for pair in sorted(pairs)]
    wrong += ['%s -> %s is %d, not %d' % (*pair, n, said[pair])
              for pair, n in sorted(true.items()) if pair in said
              and abs(said[pair] - n) > max(LAG, LAG_SHARE * n)]
    return ['%s is old: %s (tools/lint --write)' % (PAGE, '; '.join(wrong))
            ] if wrong else []


def with_map(text, lines):
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return before + '\n'.join([BEGIN, *lines, END]) + after


def check(top, build, write=False):
    """(what is wrong, the map in lines).  With write the page is renewed."""
    with open(os.path.join(top, TABLE), encoding='utf-8') as f:
        table = Table(f.read())
    folders = set(sources(top).values())
    found, errors = calls(top, build)
    if errors:
        return errors, []
    errors = judge(table, found, folders)
    lines = list(page_lines(table, found, folders))
    page = os.path.join(top, PAGE)
    with open(page, encoding='utf-8') as f:
        text = f.read()
    if write and BEGIN in text and END in text:
        text = with_map(text, lines)
        with open(page, 'w', encoding='utf-8') as f:
            f.write(text)
    return errors + page_errors(text, lines), lines
