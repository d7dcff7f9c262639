"""Log-ins of a client that can set no header on its WebSocket: by a ticket
that is good for one handshake, or by a token among the sub-protocols."""

import asyncio
import os
import re
import subprocess

import pytest
import websockets

from conftest import refused
from im_client import Problem, Socket
from test_existing_nginx import Nginx
from test_sessions import until


def redis(stack, *args):
    return subprocess.run(['redis-cli', '-s', stack.env['IM_REDIS'], *args],
                          stdout=subprocess.PIPE, text=True, timeout=20,
                          check=True).stdout.split()


def tickets(stack):
    return set(redis(stack, 'KEYS', 'im:tkt:*'))


async def status(address, **kw):
    with pytest.raises(Problem) as e:
        await Socket.open(address, None, **kw)
    return e.value.status


async def test_a_ticket_opens_one_connection(api, people):
    alice = await people(api, 'alice')
    r = await api.call('POST', '/v1/ws-ticket', alice.token)
    assert r.status == 200 and r['expires_in'] == 30
    assert re.fullmatch(r'[-\w]{22}', r['ticket'])
    s = await Socket.open(api.address, None, ticket=r['ticket'])
    assert s.auth_ok['uid'] == str(alice.uid)
    await refused(api.call('GET', '/ws?ticket=' + r['ticket'], headers={
        'Connection': 'Upgrade', 'Upgrade': 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ=='}), 401,
        'unauthorized')
    await s.close()


async def test_one_of_many_at_once_has_the_ticket(api, people):
    alice = await people(api, 'alice')
    ticket = await alice.ticket()
    opened = await asyncio.gather(*(
        Socket.open(api.address, None, ticket=ticket) for _ in range(20)),
        return_exceptions=True)
    good = [s for s in opened if isinstance(s, Socket)]
    assert len(good) == 1
    assert {s.status for s in opened if s not in good} == {401}
    await good[0].close()


async def test_a_ticket_expires(api, people, stack):
    alice = await people(api, 'alice')
    before = tickets(stack)
    ticket = await alice.ticket()
    key, = tickets(stack) - before
    assert ticket not in key
    assert 0 < int(redis(stack, 'PTTL', key)[0]) <= 30000
    redis(stack, 'PEXPIRE', key, '1')
    await until(lambda: key not in tickets(stack), 'it does not expire')
    assert await status(api.address, ticket=ticket) == 401


async def test_a_ticket_is_worth_what_its_session_is(api, people):
    alice = await people(api, 'alice')
    other = await api.login(alice, 'phone')
    r = await api.call('POST', '/v1/ws-ticket', other['access_token'])
    s = await Socket.open(api.address, None, ticket=r['ticket'])
    assert s.auth_ok['device'] == 'phone'
    left = (await api.call('POST', '/v1/ws-ticket',
                           other['access_token']))['ticket']
    await api.call('POST', '/v1/logout', other['access_token'])
    assert (await s.expect('kick'))['code'] == 'session_revoked'
    assert await status(api.address, ticket=left) == 401
    # The other session of the same user has nothing to do with it.
    assert (await Socket.open(api.address, None,
                              ticket=await alice.ticket())).auth_ok


async def test_a_ticket_is_not_for_strangers_or_anything_else(api, people):
    alice = await people(api, 'alice')
    await refused(api.call('POST', '/v1/ws-ticket'), 401, 'unauthorized')
    ticket = await alice.ticket()
    await refused(api.call('GET', '/v1/auth?ticket=' + ticket), 401,
                  'unauthorized')
    await refused(api.call('GET', '/v1/auth', ticket), 401, 'unauthorized')
    for wrong in ('x', ticket[:-1], ticket + 'x', 'x' * 22, '*' * 22,
                  'x' * 2000):
        assert await status(api.address, ticket=wrong) == 401
    assert (await Socket.open(api.address, None, ticket=ticket)).auth_ok


@pytest.mark.parametrize('protocol', ['im.v1.json', 'im.v1.proto'])
async def test_a_token_among_the_sub_protocols(api, people, protocol):
    alice = await people(api, 'alice')
    s = await Socket.open(api.address, None, protocol, bearer=alice.token)
    # The library refuses one that it did not offer.
    assert s.ws.subprotocol == protocol
    assert 'bearer' not in str(s.ws.response_headers)
    await s.close()
    assert await status(api.address, bearer=alice.token[:-2] + 'xx') == 401
    assert await status(api.address, bearer='x') == 401


@pytest.fixture
def site(stack, tmp_path):
    """An nginx that speaks HTTP/2, too, and logs all that it can."""
    n = Nginx(stack, tmp_path, 9, ours=True)
    conf = os.path.join(n.dir, 'nginx.conf')
    with open(conf) as f:
        text = f.read()
    text = text.replace("'$remote_addr \"$request\"", "'$remote_addr "
                        "\"$request\" $request_uri $args $query_string "
                        "$arg_access_token $arg_ticket")
    text = re.sub(r'(error.log) notice', r'\1 info', text)
    text = re.sub(r'listen ([^;]*);', r'listen \1; listen unix:%s/h2 http2;'
                  % n.dir, text)
    with open(conf, 'w') as f:
        f.write(text)
    yield n
    n.kill()


async def test_no_log_holds_a_token_or_a_ticket(api, people, stack, site):
    """Whatever comes of the request; HTTP/2 included."""
    alice = await people(api, 'alice')
    ticket = await alice.ticket()
    site.start()
    for path in ('/ws?access_token=%s', '/ws?x=1&ACCESS%%5fTOKEN=%s&y',
                 '/v1/auth?access_token=%s', '/app/?access_token=%s',
                 '/old?access_token=%s', '/?access_token=x&access_token=%s',
                 '/ws?access_token=SECRET-%s'):
        url = path % alice.token
        for over in (['http://' + site.address + url],
                     ['--http2-prior-knowledge', '--unix-socket',
                      site.dir + '/h2', 'http://localhost' + url]):
            r = subprocess.run(['curl', '-s', '-m', '10', '-o', os.devnull,
                                '-w', '%{http_code}', *over],
                               stdout=subprocess.PIPE, text=True, timeout=20)
            assert r.returncode == 0 and r.stdout != '000', over
    async with websockets.connect('ws://%s/ws?access_token=%s' % (
            site.address, alice.token)) as ws:
        await asyncio.wait_for(ws.recv(), 10)
    await (await Socket.open(site.address, None, ticket=ticket)).close()
    assert await status(site.address, ticket=ticket) == 401
    assert site.stop() == 0
    seen = 0
    for folder in (site.dir, os.path.join(stack.dir, 'log')):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if not name.endswith('.log') or not os.path.isfile(path):
                continue
            with open(path, errors='replace') as f:
                text = f.read()
            seen += text.count('access_token=***')
            for word in (alice.token, alice.token.split('.')[2], ticket,
                         'SECRET'):
                assert word not in text, path
    assert seen >= 14
