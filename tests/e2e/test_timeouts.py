"""docs/timeouts.md says what the code does: every limit is in the table with
its value, and every limit that a library has is set from there."""

import os
import re

from conftest import TOP


def read(*path):
    with open(os.path.join(TOP, *path)) as f:
        return f.read()


def defined():
    return {m[1]: int(m[2]) for m in re.finditer(
        r'^#define (IM_\w+_(?:MS|S)) +(\d+)',
        read('src', 'core', 'im_timeouts.h'), re.M)}


def sources(*folders):
    for folder in folders:
        for at, _, files in os.walk(os.path.join(TOP, folder)):
            for name in files:
                if name.endswith(('.c', '.h')):
                    path = os.path.relpath(os.path.join(at, name), TOP)
                    yield path, read(path)


def test_the_table_and_the_header_say_the_same():
    table = {m[1]: int(m[2]) for m in re.finditer(
        r'^\| `(IM_\w+)` \| (\d+) \|', read('docs', 'timeouts.md'), re.M)}
    assert len(defined()) > 30
    assert table == defined()


def test_every_limit_is_used():
    text = ''.join(t for p, t in sources('src', 'services', 'ngx_im_api')
                   if not p.endswith('im_timeouts.h'))
    assert [n for n in defined() if not re.search(r'\b%s\b' % n, text)] == []


def test_no_limit_towards_another_process_is_written_elsewhere():
    found = []
    for path, text in sources('src/rpc', 'src/disc', 'src/store'):
        # librdkafka's and gRPC's own names, followed by a bare number
        found += [(path, m) for m in re.findall(
            r'"[\w.]*(?:timeout|backoff|interval|wait)[\w.]*(?:ms)?",?\s+'
            r'(?:\.value\.integer = |")\d+', text)]
    assert found == []


def test_every_limit_of_a_library_is_set():
    kafka = read('src', 'store', 'im_kafka_producer.c')
    for name in ('delivery.timeout.ms', 'socket.timeout.ms',
                 'socket.connection.setup.timeout.ms', 'reconnect.backoff.ms',
                 'reconnect.backoff.max.ms', 'retry.backoff.ms',
                 'topic.metadata.refresh.interval.ms'):
        assert '"%s"' % name in kafka, name
    kafka = read('src', 'store', 'im_kafka_member.c')
    for name in ('session.timeout.ms', 'heartbeat.interval.ms',
                 'max.poll.interval.ms', 'auto.commit.interval.ms',
                 'fetch.wait.max.ms', 'fetch.error.backoff.ms',
                 'socket.timeout.ms', 'socket.connection.setup.timeout.ms',
                 'reconnect.backoff.ms', 'reconnect.backoff.max.ms'):
        assert '"%s"' % name in kafka, name
    kafka = read('src', 'store', 'im_kafka_offsets.c')
    for name in ('socket.timeout.ms', 'socket.connection.setup.timeout.ms',
                 'reconnect.backoff.ms', 'reconnect.backoff.max.ms',
                 'topic.metadata.refresh.interval.ms'):
        assert '"%s"' % name in kafka, name
    grpc = read('src', 'rpc', 'im_rpc_channel.c')
    for name in ('keepalive_time_ms', 'keepalive_timeout_ms',
                 'initial_reconnect_backoff_ms', 'min_reconnect_backoff_ms',
                 'max_reconnect_backoff_ms', 'client_idle_timeout_ms'):
        assert '"grpc.%s"' % name in grpc, name
    grpc = read('src', 'rpc', 'im_rpc_server.c')
    for name in ('grpc.keepalive_time_ms', 'grpc.keepalive_timeout_ms',
                 'grpc.http2.min_ping_interval_without_data_ms'):
        assert '"%s"' % name in grpc, name
    mysql = read('src', 'store', 'im_mysql.c')
    for name in ('CONNECT', 'READ', 'WRITE'):
        assert 'MYSQL_OPT_%s_TIMEOUT' % name in mysql, name
    redis = read('src', 'store', 'im_redis.c')
    for name in ('redisConnectWithTimeout', 'redisConnectUnixWithTimeout',
                 'redisSetTimeout'):
        assert name in redis, name


def test_every_wait_with_a_deadline_goes_by_the_monotonic_clock():
    found = []
    for path, text in sources('src', 'services'):
        if path != 'src/rpc/im_cond.h':
            found += [(path, m) for m in re.findall(
                r'pthread_cond_(?:timedwait|clockwait)'
                r'|pthread_mutex_(?:timedlock|clocklock)'
                r'|pthread_rwlock_timed\w+|sem_(?:timed|clock)wait', text)]
    assert found == []
