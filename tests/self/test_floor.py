"""The relay of bench/floor: each message is acked and copied, whole, in order,
with the sizes of the real frames; and what bench/run says of it."""

import json
import os
import socket
import struct
import subprocess
import sys
import types

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), 'lib'))

import im_tool                                        # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
LIMIT_S = 20
ACK, COPY_MORE = 139, 94


@pytest.fixture(scope='module')
def relay():
    subprocess.run(['make', '-s', 'BUILD=build', 'build/im-bench-floor'],
                   cwd=TOP, check=True, timeout=120)
    return os.path.join(TOP, 'build', 'im-bench-floor')


@pytest.fixture(params=['1', '2'])
def port(request, relay):
    p = subprocess.Popen([relay, request.param], stdout=subprocess.PIPE)
    yield int(p.stdout.readline())
    p.terminate()
    p.wait(LIMIT_S)
    p.stdout.close()


def frame(payload):
    return struct.pack('>I', len(payload)) + payload


def read(s):
    def exactly(n):
        data = b''
        while len(data) < n:
            more = s.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data
    return exactly(struct.unpack('>I', exactly(4))[0])


def connect(port, index):
    s = socket.create_connection(('127.0.0.1', port), LIMIT_S)
    hello = b'h' + struct.pack('>I', index)
    s.sendall(frame(hello))
    assert read(s) == hello
    return s


def message(n, size=280):
    return (b's%016d' % n).ljust(size, b'.')


@pytest.mark.parametrize('pair', [0, 1, 2])
def test_a_message_is_acked_to_its_sender_and_copied_to_its_peer(port, pair):
    with connect(port, 2 * pair) as a, connect(port, 2 * pair + 1) as b:
        for n in range(3):
            a.sendall(frame(message(n)))
            assert read(a) == b'a' + message(n)[1:ACK - 4]
            assert read(b) == b'p' + message(n)[1:] + b'.' * COPY_MORE
        b.sendall(frame(message(7)))
        assert read(b)[:17] == b'a%016d' % 7
        assert read(a)[:17] == b'p%016d' % 7


def test_messages_that_come_in_pieces_and_together_keep_their_order(port):
    data = b''.join(frame(message(n)) for n in range(200))
    with connect(port, 0) as a, connect(port, 1) as b:
        for at in range(0, len(data), 333):
            a.sendall(data[at:at + 333])
        for s, kind in ((a, b'a'), (b, b'p')):
            assert [read(s)[:17] for _ in range(200)] \
                == [kind + b'%016d' % n for n in range(200)]


def test_what_is_no_message_ends_its_connection_only(port):
    with connect(port, 0) as a, connect(port, 1) as b, \
            connect(port, 2) as c, connect(port, 3) as d:
        a.sendall(struct.pack('>I', 2 ** 31) + b'x' * 100)
        with pytest.raises((EOFError, ConnectionResetError)):
            read(a)
        b.sendall(frame(message(1)))
        assert read(b)[:1] == b'a'
        c.sendall(frame(message(2)))
        assert read(d)[:17] == b'p%016d' % 2


# bench/im_bench/floor.py.

@pytest.fixture
def floor():
    return im_tool.load('bench/run').floor


def pretend(floor, tmp_path, script):
    """A Floor whose relay is a script."""
    path = tmp_path / 'relay'
    path.write_text('#!/bin/bash\n' + script)
    path.chmod(0o755)
    f = floor.Floor('build', 1)
    f.command = [str(path)]
    return f


def test_a_signal_while_the_relay_starts_ends_it(floor, tmp_path, monkeypatch):
    def interrupted(*args):
        raise SystemExit(143)

    monkeypatch.setattr(floor.select, 'select', interrupted)
    f = pretend(floor, tmp_path, 'exec sleep 600')
    with pytest.raises(SystemExit):
        f.__enter__()
    assert f.process.poll() is not None


def test_a_relay_that_does_not_end_is_killed(floor, tmp_path, monkeypatch):
    monkeypatch.setattr(floor, 'END_S', 0.1)
    f = pretend(floor, tmp_path,
                'trap "" TERM; echo 1; while :; do read -t 1 <> <(:); done')
    with f:
        assert f.address == '127.0.0.1:1'
    assert f.process.returncode == -9


# bench/run.

@pytest.mark.parametrize('cpu, ratio', [(16.0, 1.25), (0.0, None)])
def test_the_benchmark_shows_the_edge_as_a_ratio_to_the_relay(
        tmp_path, monkeypatch, cpu, ratio):
    tool = im_tool.load('bench/run')
    o = types.SimpleNamespace(rates=[20000], warmup=0, floor=True, seconds=20,
                              connections=200)
    run = tool.Run(o, stack=object())
    run.out = str(tmp_path)
    asked = []

    def measure(bench, rate, connections, seconds):
        asked.append((rate, connections, seconds))
        return {'cpu_us_per_msg': cpu, 'generator_us_per_msg': 9,
                'receive_p50_ms': 0.1, 'receive_p99_ms': 0.3}

    monkeypatch.setattr(tool.floor, 'measure', measure)
    monkeypatch.setattr(run, 'show', lambda r: None)
    monkeypatch.setattr(run, 'load', lambda rate, warmup: {
        'rate': rate, 'passed': True,
        'cpu_us_per_msg_by_process': {'nginx': 20.0, 'redis': 9.0}})
    assert run.loads() == 0
    figures = json.loads((tmp_path / 'last.json').read_text())
    assert figures['edge_floor_ratio'] == ratio
    assert asked == [(20000, 200, 10)]
