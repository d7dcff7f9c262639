"""What the other files of the stack share: places, processes, ports."""

import http.client
import json
import os
import random
import socket
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
STACKS = os.path.join(TOP, 'build', 'stack')
KAFKA_LIB = os.path.join(TOP, 'build', 'kafka', 'lib')
KAFKA_CLASSES = os.path.join(TOP, 'build', 'kafka', 'broker.jsa')
KAFKA_ID = 'aW0tc2luZ2xlLW5vZGUtMQ'     # any 16 bytes will do
BACKENDS = ['etcd', 'redis', 'mysql', 'kafka']
DATABASE = USER = 'im'
MAX_FILES = 20000


class Failure(Exception):
    """The stack cannot do what was asked; the text is for people."""


class Interrupted(BaseException):
    """SIGINT or SIGTERM came."""


def say(text):
    print(text, flush=True)


def tail(path, lines=15):
    try:
        with open(path, errors='replace') as f:
            return ''.join(f.readlines()[-lines:])
    except OSError:
        return ''


def write(path, text, mode=0o644):
    tmp = path + '.new'
    fd = os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, 'w') as f:
        f.write(text)
    os.rename(tmp, path)


def run(command, seconds, **kw):
    """Runs a command to its end; (exit code, output)."""
    try:
        p = subprocess.run(command, timeout=seconds, stdin=kw.pop('stdin', None)
                           or subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, **kw)
        return p.returncode, p.stdout
    except subprocess.TimeoutExpired:
        return -1, 'no answer within %s s' % seconds
    except OSError as e:
        return -1, str(e)


def http_get(address, path):
    """(status, body); status 0 and the reason if there is no answer"""
    host, port = address.rsplit(':', 1)
    try:
        c = http.client.HTTPConnection(host, int(port), timeout=2)
        c.request('GET', path)
        r = c.getresponse()
        body = r.read(65536).decode('latin1')
        c.close()
        return r.status, body
    except (OSError, http.client.HTTPException) as e:
        return 0, str(e)


def http_ok(address, path='/healthz', match=None):
    status, body = http_get(address, path)
    return status == 200 and (match is None or match in body)


def not_ready(address):
    """What a daemon misses, for people; '' if it is ready."""
    status, body = http_get(address, '/readyz')
    if status == 200:
        return ''
    try:
        return '; '.join('%s, for %d s: %s' % (
            m['name'], m['since_s'], m['error'])
            for m in json.loads(body)['missing']) or 'it starts'
    except (ValueError, KeyError, TypeError):
        return 'no answer at http://%s/readyz: %s' % (address, body)


def port_free(port):
    with socket.socket() as s:
        try:
            s.bind(('127.0.0.1', port))
            return True
        except OSError:
            return False


def free_port(taken):
    with open('/proc/sys/net/ipv4/ip_local_port_range') as f:
        low = int(f.read().split()[0])
    top = low - 1 if low > 12000 else 32000
    for _ in range(1000):
        port = random.randint(10100, top)
        if port not in taken and port_free(port):
            return port
    raise Failure('no free port below %d' % top)


def process_alive(pid):
    try:
        with open('/proc/%d/stat' % pid) as f:
            return f.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def parent(pid):
    try:
        with open('/proc/%d/stat' % pid) as f:
            return int(f.read().rsplit(')', 1)[1].split()[1])
    except (OSError, ValueError):
        return 0
