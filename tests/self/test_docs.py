"""The pages name files and sections that are there."""

import fnmatch
import os
import re
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

sys.path.insert(0, os.path.join(TOP, 'tools'))

from im_lint import habits  # noqa: E402

# A word of code that names a file of ours: with a folder, or alone when the
# page has just named the folder (`logic_rooms.c`, `_join.c`).
FILE = re.compile(r'(?:[\w.*/-]+\.(?:c|h|py|t|proto|conf|sql|mk|pm)|'
                  r'(?:src|services|tests|tools|docs|conf|proto|bench)'
                  r'/[\w.*/-]+)')
# What looks like one: of the protocol, of nginx.
OTHERS = {'im.v1.proto', 'nginx.conf'}


def pages():
    return [f for f in tree() if f.endswith('.md')]


def read(page):
    with open(os.path.join(TOP, page), encoding='utf-8') as f:
        return f.read()


def anchors(page):
    """As the usual renderers make them of headings."""
    found = set()
    for title in re.findall(r'^#+ (.*)$', read(page), re.M):
        text = re.sub(r'[^\w\- ]', '', title.lower())
        found.add(text.replace(' ', '-'))
    return found


def tree():
    """Files of the project."""
    return habits.listed(TOP)


def is_there(name, page, files):
    if '*' in name:
        return any(fnmatch.fnmatchcase(f, name)
                   or fnmatch.fnmatchcase(f, '*/' + name)
                   for f in files)
    beside = os.path.normpath(os.path.join(os.path.dirname(page), name))
    return (os.path.exists(os.path.join(TOP, name))
            or os.path.exists(os.path.join(TOP, beside))
            or any(f.endswith(name) for f in files))


@pytest.mark.parametrize('page', pages())
def test_the_files_that_a_page_names_are_there(page):
    if page == 'CHANGELOG.md':
        return                         # it speaks of earlier versions, too
    files = tree()
    missing = set()
    for code in re.findall(r'`([^`\n]+)`', read(page)):
        for name in code.split():
            if (FILE.fullmatch(name) and not name.startswith('/')
                    and name not in OTHERS
                    and not name.startswith('build/')
                    and not is_there(name.rstrip('/'), page, files)):
                missing.add(name)
    assert missing == set()


@pytest.mark.parametrize('page', pages())
def test_the_links_of_a_page_lead_somewhere(page):
    broken = set()
    for link in re.findall(r'\]\(([^)\s]+)\)', read(page)):
        if re.match(r'[a-z]+:', link):
            continue
        path, _, anchor = link.partition('#')
        target = os.path.normpath(os.path.join(os.path.dirname(page), path)) \
            if path else page
        if not os.path.exists(os.path.join(TOP, target)) or (
                anchor and anchor not in anchors(target)):
            broken.add(link)
    assert broken == set()


def test_each_source_file_is_on_a_page_about_its_area():
    text = ''.join(read(page) for page in pages()
                   if page.startswith('docs/internals/'))
    named = set(re.findall(r'\w+(?=\.[ch]\b)', text))
    files = [f for f in tree() if f.startswith(('src/', 'services/'))
             and f.endswith(('.c', '.h'))]
    assert len(files) > 200
    assert [f for f in files
            if os.path.basename(f)[:-2] not in named] == []


@pytest.fixture(scope='module')
def words():
    """All names in the sources."""
    found = set()
    for f in tree():
        if f.endswith(('.c', '.h', '.py', '.proto', '.sql', '.js')):
            found |= set(re.findall(r'\w+', read(f)))
    return found


# Of libraries and programs that a page speaks of.
LIBRARIES = {'bind', 'mallinfo2'}


@pytest.mark.parametrize('page', pages())
def test_the_functions_that_a_page_names_are_there(page, words):
    named = {name for code in re.findall(r'`([^`\n]+)`', read(page))
             for name in re.findall(r'(\w+)\(\)', code)}
    assert named - words - LIBRARIES == set()


def test_a_file_and_a_section_that_are_not_there_are_noticed():
    files = tree()
    assert is_there('_join.c', 'README.md', files)
    for name in ('services/logic/rooms/logic_rooms*.c', 'logic_rooms*.c'):
        assert is_there(name, 'README.md', files)
    for name in ('src/core/im_nothing.c', 'im_nothing.h', 'tools/nothing*'):
        assert not is_there(name, 'README.md', files)
    assert 'beside-others' in anchors('docs/performance.md')
    assert 'nothing' not in anchors('docs/performance.md')
