"""A new RPC is three edits, and none of them can be forgotten.

AGENTS.md says so.  A copy of the sources gets these edits; make compiles in it
what they touch, and the rest comes from the build that is tested.  Then the
RPC is called on a socket (new_rpc.c).
"""

import os
import re
import shutil
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get('IM_TEST_BUILD', 'build')

PROTO = 'proto/logic.proto'
TABLE = 'src/core/im_logic_rpcs.h'
FUNCTION = 'services/logic/users/logic_echo.c'

END = '\n  // One stream from each'          # of the RPCs
RPC = '  rpc Echo(EchoRequest) returns (EchoReply);\n'
MESSAGES = '''
message EchoRequest {
  required string text = 1;
}

message EchoReply {
  required string text = 1;
}
'''
ROW = '''    RPC(Echo, echo, EchoRequest, EchoReply, \\
        LIVE, ANY_ONE, REPEAT, ANYBODY, API, \\
        IM_LOGIC_CALL_MS, 4, logic_echo) \\
'''
CODE = '''
#include "logic.pb-c.h"
#include "logic_rpcs.h"

void
logic_echo(logic_db_t *db, im_rpc_req_t *req, const ProtobufCMessage *in)
{
    Im__EchoReply            reply = IM__ECHO_REPLY__INIT;
    const Im__EchoRequest   *r = (const Im__EchoRequest *) in;

    (void) db;
    reply.text = r->text;
    im_rpc_reply(req, &reply.base);
}
'''
# What of each archive the edits change.
CHANGED = {
    'libim_core.a': ['gen/logic.pb-c.o', 'src/core/im_logic_rpcs.o'],
    'liblogic.a': ['services/logic/main/logic_calls.o'],
}
DRIVER = 'tests/unit/test_new_rpc'


class Copy:
    """The sources, to be edited, and the archives of the build."""

    def __init__(self, top):
        self.top = str(top)
        for folder in ('src', 'services', 'proto', 'conf/schema',
                       'tests/lib', 'tools/im_lint'):
            shutil.copytree(os.path.join(TOP, folder),
                            os.path.join(self.top, folder))
        for name in ('Makefile', 'VERSION', 'config', 'ngx_im.map',
                     'tools/nginx.mk', 'tools/install.mk',
                     'tools/schema.awk'):
            shutil.copy(os.path.join(TOP, name), os.path.join(self.top, name))
        os.makedirs(os.path.join(self.top, 'tests/unit'))
        shutil.copy(os.path.join(HERE, 'new_rpc.c'),
                    os.path.join(self.top, DRIVER + '.c'))
        os.makedirs(os.path.join(self.top, BUILD))
        self.archives = [n for n in os.listdir(os.path.join(TOP, BUILD))
                         if n.endswith('.a')]
        for name in self.archives:
            shutil.copy(os.path.join(TOP, BUILD, name),
                        os.path.join(self.top, BUILD, name))

    def edit(self, name, text, by):
        """Replaces a text that is there once."""
        path = os.path.join(self.top, name)
        with open(path, encoding='utf-8') as f:
            old = f.read()
        assert old.count(text) == 1
        with open(path, 'w', encoding='utf-8') as f:
            f.write(old.replace(text, by))

    def edit_proto(self):
        self.edit(PROTO, END, RPC + END)
        with open(os.path.join(self.top, PROTO), 'a', encoding='utf-8') as f:
            f.write(MESSAGES)

    def edit_table(self):
        with open(os.path.join(self.top, TABLE), encoding='utf-8') as f:
            first = re.search(r'^    RPC\(.*$', f.read(), re.M).group(0)
        self.edit(TABLE, first, ROW + first)

    def add_function(self):
        with open(os.path.join(self.top, FUNCTION), 'w',
                  encoding='utf-8') as f:
            f.write(CODE)

    def make(self, *args):
        flags = ['SAN=1'] if 'asan' in BUILD else \
            ['SAN=thread'] if 'tsan' in BUILD else []
        return subprocess.run(
            ['make', '-C', self.top, 'BUILD=' + BUILD, *flags, *args],
            env={k: v for k, v in os.environ.items()
                 if not k.startswith('MAKE')},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=240)

    def objects(self, names):
        return [os.path.join(BUILD, 'obj', name) for name in names]

    def compile(self):
        names = [n for found in CHANGED.values() for n in found]
        if os.path.exists(os.path.join(self.top, FUNCTION)):
            names.append(FUNCTION[:-2] + '.o')
        return self.make(*self.objects(names))

    def link(self):
        for archive, names in CHANGED.items():
            if archive == 'liblogic.a' and os.path.exists(
                    os.path.join(self.top, FUNCTION)):
                names = names + [FUNCTION[:-2] + '.o']
            subprocess.run(['ar', 'r', os.path.join(BUILD, archive),
                            *self.objects(names)], cwd=self.top, check=True,
                           stderr=subprocess.DEVNULL)
        old = [arg for name in self.archives
               for arg in ('-o', os.path.join(BUILD, name))]
        return self.make(*old, os.path.join(BUILD, DRIVER))


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


def test_three_edits_make_an_rpc_that_answers(copy):
    copy.edit_proto()
    copy.edit_table()
    copy.add_function()
    for step in (copy.compile, copy.link):
        done = step()
        assert done.returncode == 0, done.stdout
    ran = subprocess.run([os.path.join(copy.top, BUILD, DRIVER)],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout


def test_an_rpc_without_a_row_does_not_compile(copy):
    copy.edit_proto()
    done = copy.make(*copy.objects(['src/core/im_logic_rpcs.o']))
    assert done.returncode != 0
    assert 'an rpc of logic.proto has no row' in done.stdout


def test_a_row_with_another_message_does_not_compile(copy):
    copy.edit(TABLE, 'LogoutRequest, LogoutReply,', 'LogoutRequest, AuthReply,')
    done = copy.make(*copy.objects(['src/core/im_logic_rpcs.o']))
    assert done.returncode != 0
    assert 'the row of Logout is not what logic.proto says' in done.stdout


def test_a_row_without_a_function_does_not_link(copy):
    copy.edit_proto()
    copy.edit_table()
    done = copy.compile()
    assert done.returncode == 0, done.stdout
    done = copy.link()
    assert done.returncode != 0
    assert "undefined reference to `logic_echo'" in done.stdout
