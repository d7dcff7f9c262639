"""What is not well formed gets a clear answer and does no harm.

Raw sockets, where a library would not let us misbehave.
"""

import asyncio
import base64
import json
import os
import struct

import pytest

from conftest import Problem, refused
from im_wait import pace

WAIT = 20          # seconds, for anything
KEY = 'dGhlIHNhbXBsZSBub25jZQ=='


@pytest.fixture(scope='module', autouse=True)
def nginx_log(stack):
    """The error log, and how long it was before these tests."""
    path = os.path.join(stack.dir, 'log/nginx.log')
    return path, os.path.getsize(path)


async def raw(api, text):
    """Status, headers and body of whatever is answered."""
    host, port = api.address.split(':')
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(text)
    head = await asyncio.wait_for(reader.readuntil(b'\r\n\r\n'), WAIT)
    lines = head.decode().split('\r\n')
    headers = dict(line.lower().split(': ', 1) for line in lines[1:] if line)
    body = b''
    if 'content-length' in headers:
        body = await asyncio.wait_for(
            reader.readexactly(int(headers['content-length'])), WAIT)
    writer.close()
    return int(lines[0].split()[1]), headers, body


async def post(api, path, body, headers=()):
    lines = ['POST %s HTTP/1.1' % path, 'Host: x',
             'Content-Type: application/json',
             'Content-Length: %d' % len(body), 'Connection: close', *headers]
    status, _, answer = await raw(
        api, ('\r\n'.join(lines) + '\r\n\r\n').encode() + body)
    return status, json.loads(answer)


@pytest.mark.parametrize('body, code', [
    (b'', 'missing_field'), (b'{', 'bad_json'), (b'[]', 'bad_json'),
    (b'null', 'bad_json'), (b'{"name":"alice"', 'bad_json'),
    (b'{"name":"alice",}', 'bad_json'), (b"{'name':'alice'}", 'bad_json'),
    (b'{"name":"a\xff\xfe","password":"correct horse"}', 'bad_json'),
    (b'{"name":"\\ud800","password":"correct horse"}', 'bad_json'),
    (b'{"name":"alice","password":"x"} trailing', 'bad_json'),
    (b'{"name":"alice","name":"bob","password":"correct horse"}', 'bad_field'),
    (b'{"name":"alice"}', 'missing_field'),
    (b'{"name":7,"password":"correct horse"}', 'bad_field'),
    (b'{"name":["alice"],"password":"correct horse"}', 'bad_field'),
    (b'{"name":{"a":1},"password":"correct horse"}', 'bad_field'),
    (b'{"name":null,"password":"correct horse"}', 'bad_field'),
    (b'[' * 20000, 'bad_json'),
])
async def test_bodies_that_are_not_the_json_wanted(api, body, code):
    status, answer = await post(api, '/v1/register', body)
    assert status == 400
    assert answer['code'] == code, answer
    assert answer['detail']


async def test_unknown_fields_are_ignored(api):
    name = 'n' + os.urandom(6).hex()
    status, answer = await post(api, '/v1/register', json.dumps({
        'name': name, 'password': 'correct horse', 'colour': [1, {}]}
    ).encode())
    assert status == 201, answer


async def test_a_body_that_is_too_large(api):
    status, answer = await post(api, '/v1/register', b'x' * 70000)
    assert (status, answer['code']) == (413, 'too_large')


async def test_a_message_that_is_too_large(api, people):
    alice = await people(api, 'alice')
    await refused(alice.send(alice.uid, 'x' * 66000), 413, 'too_large')


async def test_other_methods_and_types(api):
    status, headers, body = await raw(
        api, b'DELETE /v1/register HTTP/1.1\r\nHost: x\r\n\r\n')
    assert (status, headers['allow'].upper()) == (405, 'POST')
    status, headers, body = await raw(
        api, b'POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml'
        b'\r\nContent-Length: 2\r\n\r\n{}')
    assert status == 415
    assert headers['content-type'] == 'application/problem+json'


async def test_a_caller_cannot_name_himself(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    for caller in ({'uid': str(bob.uid), 'sid': 'x' * 22, 'device': 'd'},
                   bob.uid):
        await api.call('POST', '/v1/messages', alice.token, json={
            'to': str(alice.uid), 'body': 'x', 'caller': caller},
            want=(200, 400))
    page = await bob.history(alice.uid)
    assert page['messages'] == []


@pytest.mark.parametrize('fields', [
    {'to': 'bob', 'body': 'x'}, {'to': '1'}, {'body': 'x'},
    {'to': '-1', 'body': 'x'}, {'to': '1.5', 'body': 'x'},
    {'to': str(2 ** 64), 'body': 'x'},
    {'to': '1', 'body': 'x', 'cmid': 'c' * 65},
    {'to': '1', 'body': 'x', 'cmid': 7}])
async def test_messages_with_wrong_fields(api, people, fields):
    alice = await people(api, 'alice')
    p = await refused(api.call('POST', '/v1/messages', alice.token,
                               json=fields), 400)
    assert p.code in ('bad_field', 'missing_field')
    s = await alice.connect()
    await s.write(type='send', **fields)
    e = await s.expect('error')
    assert e['code'] in ('bad_field', 'missing_field', 'bad_request')
    assert await s.send(alice.uid, 'still here')


ME, TWO, TOO_BIG = 'me', '2', str(2 ** 63)
CONVERSATIONS = [{}, {'x': '0'}, {'room': '0'}, {'x': '0', 'room': '0'},
                 {'x': ME, 'room': '1'}, {'x': TOO_BIG}, {'room': TOO_BIG},
                 {'x': str(2 ** 64)}, {'x': '-1'}, {'x': 'bob'}, {'x': None},
                 {'x': str(2 ** 62)}, {'x': '0', 'room': str(2 ** 62)}]
ALIKE = [
    ('POST', '/v1/messages', 'send', 'to',
     [{}, {'body': 'x', 'cmid': 'c' * 65}, {'body': 'x', 'cmid': 7}],
     {'body': 'x'}),
    ('GET', '/v1/messages', 'history', 'with',
     [{'x': TWO, 'limit': '0'}, {'x': TWO, 'limit': '201'},
      {'x': TWO, 'before_seq': TOO_BIG}, {'x': TWO, 'after_seq': TOO_BIG},
      {'x': TWO, 'before_seq': '1', 'after_seq': '1'}], {}),
    ('POST', '/v1/read', 'read', 'with', [{'x': TWO}, {'seq': '1'}],
     {'seq': '1'}),
    ('GET', '/v1/conversations', 'conversations', None,
     [{'limit': '0'}, {'limit': '101'}, {'before': TOO_BIG}], None),
    ('POST', '/v1/sync', 'sync', None,
     [{}, {'cursors': []}, {'cursors': [{}]}, {'cursors': 5},
      {'cursors': [{'with': TWO, 'seq': '0'}] * 101},
      {'cursors': [{'with': TWO, 'seq': '0'}], 'limit': 201}], None),
]


async def refusal_by_http(api, me, method, path, fields):
    args = {'params': fields} if method == 'GET' else {'json': fields}
    try:
        await api.call(method, path, me.token, **args)
    except Problem as p:
        return p.code, p.body['detail']
    return None


async def refusal_by_frame(s, kind, fields):
    fields = dict(fields)
    if 'limit' in fields:
        fields['limit'] = int(fields['limit'])
    await s.write(type=kind, **fields)
    f = await s.receive()
    return (f['code'], f['message']) if f['type'] == 'error' else None


@pytest.mark.parametrize('method, path, kind, peer, table, rest', ALIKE)
async def test_http_and_frames_refuse_alike(api, people, method, path, kind,
                                            peer, table, rest):
    me = await people(api, 'alike')
    s = await me.connect()
    table = table + [dict(c, **rest) for c in CONVERSATIONS if rest is not None]
    for fields in table:
        fields = {peer if k == 'x' else k: str(me.uid) if v == ME else v
                  for k, v in fields.items()}
        if method == 'GET' and None in fields.values():
            continue
        by_http = await refusal_by_http(api, me, method, path, fields)
        assert await refusal_by_frame(s, kind, fields) == by_http, fields


# WebSocket.

HANDSHAKE = {
    'Host': 'x', 'Upgrade': 'websocket', 'Connection': 'Upgrade',
    'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': KEY}


def handshake(token=None, **changes):
    headers = dict(HANDSHAKE, **{k.replace('_', '-'): v
                                 for k, v in changes.items()})
    if token:
        headers['Authorization'] = 'Bearer ' + token
    return ('GET /ws HTTP/1.1\r\n' + ''.join(
        '%s: %s\r\n' % kv for kv in headers.items() if kv[1] is not None)
        + '\r\n').encode()


@pytest.mark.parametrize('changes, status', [
    ({'Upgrade': None}, 426), ({'Upgrade': 'h2c'}, 426),
    ({'Connection': 'close'}, 426), ({'Sec_WebSocket_Version': '8'}, 426),
    ({'Sec_WebSocket_Key': None}, 400), ({'Sec_WebSocket_Key': 'short'}, 400),
    ({'Sec_WebSocket_Key': base64.b64encode(b'x' * 15).decode()}, 400)])
async def test_handshakes_that_are_refused(api, changes, status):
    got, headers, body = await raw(api, handshake(**changes))
    assert got == status
    if status == 426:
        assert headers.get('upgrade') == 'websocket' \
            or headers.get('sec-websocket-version') == '13'


def frame(opcode, payload=b'', fin=True, rsv=0, mask=True):
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    n = len(payload)
    bit = 0x80 if mask else 0
    if n < 126:
        head += bytes([bit | n])
    elif n < 65536:
        head += bytes([bit | 126]) + struct.pack('>H', n)
    else:
        head += bytes([bit | 127]) + struct.pack('>Q', n)
    if not mask:
        return head + payload
    key = b'\x12\x34\x56\x78'
    return head + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


class Raw:
    """A WebSocket connection that is not checked by anybody on our side."""

    @classmethod
    async def open(cls, api, token):
        self = cls()
        host, port = api.address.split(':')
        self.reader, self.writer = await asyncio.open_connection(
            host, int(port))
        self.writer.write(handshake(token))
        head = await asyncio.wait_for(
            self.reader.readuntil(b'\r\n\r\n'), WAIT)
        assert b' 101 ' in head
        if token:
            assert b'auth_ok' in (await self.receive())[1]
        return self

    async def receive(self):
        a, b = await asyncio.wait_for(self.reader.readexactly(2), WAIT)
        n = b & 127
        if n == 126:
            n, = struct.unpack('>H', await self.reader.readexactly(2))
        elif n == 127:
            n, = struct.unpack('>Q', await self.reader.readexactly(8))
        return a & 15, await asyncio.wait_for(self.reader.readexactly(n), WAIT)

    async def closed(self):
        """The code of the Close that comes next, then the end."""
        opcode, payload = await self.receive()
        assert opcode == 8, (opcode, payload)
        assert await asyncio.wait_for(self.reader.read(1), WAIT) == b''
        return struct.unpack('>H', payload[:2])[0]


@pytest.mark.parametrize('data, code', [
    (frame(1, b'{"type":"ping"}', mask=False), 1002),
    (frame(1, b'{"type":"ping"}', rsv=4), 1002),
    (frame(1, b'{"type":"ping"}', rsv=1), 1002),
    (frame(3), 1002), (frame(11), 1002),
    (frame(9, b'x', fin=False), 1002), (frame(9, b'x' * 126), 1002),
    (frame(0, b'x'), 1002),
    (frame(1, b'x', fin=False) + frame(1, b'y'), 1002),
    (frame(8, b'x'), 1002), (frame(8, struct.pack('>H', 1005)), 1002),
    (frame(8, struct.pack('>H', 1000) + b'\xff'), 1007),
    (frame(1, b'{"type":"p\xc3('), 1007),
    (frame(1, b'x' * 70000), 1009),
    (b''.join(frame(1 if n == 0 else 0, b'x' * 30000, fin=False)
              for n in range(4)), 1009),
    (bytes([0x81, 0xff]) + struct.pack('>Q', 2 ** 63 - 1) + b'1234', 1009),
])
async def test_frames_that_end_the_connection(api, people, data, code):
    alice = await people(api, 'alice')
    s = await Raw.open(api, alice.token)
    s.writer.write(data)
    assert await s.closed() == code


@pytest.mark.parametrize('text, code', [
    (b'{', 'bad_json'), (b'', 'bad_json'), (b'7', 'bad_json'),
    (b'{}', 'missing_field'), (b'{"type":7}', 'bad_field'),
    (b'{"type":"fly"}', 'unknown_type'),
    (b'{"type":"send","to":"1","cmid":"a","cmid":"b","body":1}', 'bad_field'),
    (b'{"type":"send","cmid":"a","body":1}', 'missing_field'),
    (b'{"type":"auth","token":"x"}', None),
    (b'{"type":"ack","cmid":"a","msg_id":"1"}', None)])
async def test_frames_that_get_an_error_and_stay(api, people, text, code):
    alice = await people(api, 'alice')
    s = await Raw.open(api, alice.token)
    s.writer.write(frame(1, text) + frame(9, b'still there?'))
    opcode, payload = await s.receive()
    e = json.loads(payload)
    assert e['type'] == 'error'
    assert code is None or e['code'] == code, e
    assert await s.receive() == (10, b'still there?')


async def test_a_frame_may_come_byte_by_byte(api, people):
    alice = await people(api, 'alice')
    s = await Raw.open(api, alice.token)
    data = frame(1, b'{"type":"pi', fin=False) + frame(9, b'mid') \
        + frame(0, b'ng"}')
    for n in range(len(data)):
        s.writer.write(data[n:n + 1])
        await s.writer.drain()
        await pace(0.001)
    assert await s.receive() == (10, b'mid')
    assert json.loads((await s.receive())[1])['type'] == 'pong'


async def test_nothing_is_taken_before_auth(api, people):
    alice = await people(api, 'alice')
    s = await Raw.open(api, None)
    s.writer.write(frame(1, b'{"type":"send","to":"%d","cmid":"x","body":1}'
                         % alice.uid))
    opcode, payload = await s.receive()
    if opcode == 1:
        assert json.loads(payload)['code'] == 'unauthorized'
    else:
        assert struct.unpack('>H', payload[:2])[0] == 4100
    assert (await alice.history(alice.uid))['messages'] == []


async def test_a_bad_token_in_the_first_frame(api, people):
    s = await Raw.open(api, None)
    s.writer.write(frame(1, b'{"type":"auth","token":"a.b.c"}'))
    while True:
        opcode, payload = await s.receive()
        if opcode == 8:
            break
    assert struct.unpack('>H', payload[:2])[0] == 4100


async def test_who_does_not_authenticate_is_closed_after_5_s(api):
    s = await Raw.open(api, None)
    opcode, payload = await s.receive()
    while opcode != 8:
        opcode, payload = await s.receive()
    assert struct.unpack('>H', payload[:2])[0] == 4100


async def test_nothing_of_this_has_hurt(api, people, stack, nginx_log):
    with open(nginx_log[0]) as f:
        f.seek(nginx_log[1])
        text = f.read()
    assert [line for line in text.splitlines()
            if '[alert]' in line or '[emerg]' in line] == []
    alice = await people(api, 'alice')
    s = await alice.connect()
    assert await s.send(alice.uid, 'all is well')
