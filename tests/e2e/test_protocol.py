"""docs/protocol.md is a contract: what it says in tables and examples is what
the server does."""

import glob
import json
import os
import re

import pytest

from conftest import TOP


@pytest.fixture(scope='module')
def text():
    with open(os.path.join(TOP, 'docs/protocol.md')) as f:
        return f.read()


def source(*path):
    with open(os.path.join(TOP, *path)) as f:
        return f.read()


def examples(text):
    """JSON objects with a type, one or several lines each."""
    return [json.loads(m) for m in re.findall(
        r'(?m)^    (\{"type":"[a-z_]+",?(?:.|\n     )*\})$', text)
        if '"type":"urn:' not in m]


def test_the_table_of_error_codes_is_that_of_the_source(text):
    table = text.split('## Error codes')[1]
    said = {m[0]: (m[1], bool(m[2].strip())) for m in re.findall(
        r'(?m)^\| `(\w+)` \| (\d+) \|([^|]*)\|', table)}
    real = {m[0]: (m[1], m[2] == '1') for m in re.findall(
        r'\{ "(\w+)", (\d+), \d+, (\d), ', source('src/core/im_error.c'))}
    assert said == real


def test_every_close_code_that_is_sent_is_explained(text):
    table = text.split('### Close codes')[1].split('## Retries')[0]
    codes = dict(re.findall(r'#define (IM_CLOSE_\w+)\s+(\d+)',
                            source('src/core/im_frame.h')))
    used = set()
    for folder in ('src/core/*.c', 'src/nginx/*/*.c'):
        for path in glob.glob(os.path.join(TOP, folder)):
            used |= set(re.findall(r'\bIM_CLOSE_\w+', source(path)))
    assert used
    for name in used:
        assert '| %s |' % codes[name] in table, name


def test_every_endpoint_is_described(text):
    conf = source('conf/im_api.conf')
    for path in re.findall(r'location = (\S+)', conf):
        assert re.search(r'(?m)^### (GET|POST) %s(,|$)' % path, text), path
    for path in re.findall(r'location ~ \^(\S+)\$', conf):
        path = re.sub(r'\(\?<(\w+)>[^)]*\)', lambda m: m[1].upper(), path)
        assert re.search(r'(?m)^### .*%s(,|$)' % path, text), path


def test_every_frame_and_field_is_described(text):
    schema = ''.join(source('proto', p + '.proto')
                     for p in ('client', 'query', 'room'))
    members = re.findall(r'(?m)^    (\w+) (\w+) = \d+;', schema)
    assert len(members) == 28
    for message, name in members:
        part = re.search(r'(?ms)^#### %s$(.*?)(?=^##)' % name, text)
        if name == 'ping':
            assert part
        fields = re.search(r'(?ms)^message %s \{(.*?)^\}' % message,
                           schema)[1]
        for field in re.findall(r'(?m)^  (?:(?:optional|required|repeated) )?'
                                r'\w+ (\w+) = ', fields):
            # who asks, and from where, the edge says, and it keeps versions
            # to itself; "Questions" tells of the id of an answer
            if field not in ('caller', 'instance', 'conn', 'version') and (
                    field != 'id' or name[-4:] != '_res'):
                assert field in part[1], (name, field)


async def test_the_examples_of_frames_are_true(api, people, text):
    seen = examples(text)
    assert {e['type'] for e in seen} == {
        'auth', 'auth_ok', 'ping', 'pong', 'send', 'ack', 'push', 'error',
        'kick', 'sync', 'sync_res', 'sync_needed', 'history', 'history_res',
        'conversations', 'conversations_res', 'read', 'read_res', 'join',
        'join_res', 'leave', 'leave_res', 'rooms', 'rooms_res', 'room_ev',
        'presence_sub', 'presence_res', 'presence'}
    s = await (await people(api, 'alice')).connect()
    assert s.auth_ok.keys() == [e for e in seen
                                if e['type'] == 'auth_ok'][0].keys()
    answers = {'ping': 'pong', 'send': 'ack', 'history': 'history_res'}
    for e in seen:
        if e['type'] in answers:
            await s.write(**dict(e, **{'to': str(s.auth_ok['uid'])}
                                 if 'to' in e else {}))
            answer = await s.expect(answers[e['type']])
            like = [x for x in seen if x['type'] == answer['type']][0]
            assert answer.keys() == like.keys(), answer
