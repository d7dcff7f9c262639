"""Two people for the chat page of a stack that somebody looks at.

They are made once and stay as long as the data of the stack.  If a name was
taken by somebody else (its password is another one), the next one is tried.
"""

import json
import urllib.error
import urllib.request

from .base import Failure

PASSWORD = 'let me in please'
TRIES = 20


def post(http, path, body, token=None):
    """(status, answer)"""
    headers = {'Content-Type': 'application/json'}
    if token:
        headers['Authorization'] = 'Bearer ' + token
    request = urllib.request.Request(
        'http://%s%s' % (http, path), json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as r:
            return r.status, json.loads(r.read() or b'{}')
    except urllib.error.HTTPError as e:
        return e.code, json.loads(e.read() or b'{}')
    except (OSError, ValueError) as e:
        raise Failure('%s: %s' % (path, e)) from None


def person(http, name):
    """(name, token, is new)"""
    for n in range(TRIES):
        who = {'name': '%s%d' % (name, n + 1) if n else name,
               'password': PASSWORD}
        made, _ = post(http, '/v1/register', who)
        status, session = post(http, '/v1/login', dict(who, device='make-run'))
        if status == 200:
            return who['name'], session['access_token'], made == 201
    raise Failure('no account for %s: %s' % (name, session))


def demo_accounts(http):
    """[(name, password)]; each finds a first message of the other one."""
    people = [person(http, name) for name in ('alice', 'bob')]
    for (name, token, new), (other, _, _) in zip(people, people[::-1]):
        if new:
            _, users = post(http, '/v1/users:lookup', {'names': [other]},
                            token)
            post(http, '/v1/messages', {
                'to': users['users'][0]['uid'], 'cmid': 'hello-' + name,
                'body': {'text': 'Hello %s, this is %s.' % (other, name)}},
                token)
    return [(name, PASSWORD) for name, _, _ in people]
