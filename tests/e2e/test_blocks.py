"""Who is blocked cannot send, and conversations are shown as one likes."""

import subprocess

import pytest

from conftest import refused, taken
from im_client import Problem, new_cmid
from im_wait import pace, tries


async def block(user, uid):
    return await user.api.call('POST', '/v1/blocks', user.token,
                               json={'uid': str(uid)})


async def unblock(user, uid):
    return await user.api.call('DELETE', '/v1/blocks/%d' % uid, user.token)


async def blocked(user):
    r = await user.api.call('GET', '/v1/blocks', user.token)
    return [int(u) for u in r['uids']]


async def test_a_blocked_user_is_refused_at_once_and_only_he(
        api, people, stack):
    a, b, c = await people(api, 'blocks', 'bad', 'good')
    s = await b.connect()
    await s.send(a.uid, 'before')
    await block(a, b.uid)
    await block(a, b.uid)                      # a repeat changes nothing
    assert await blocked(a) == [b.uid]
    await refused(b.send(a.uid, 'by HTTP'), 403, 'blocked')
    cmid = new_cmid()
    await s.write(type='send', to=str(a.uid), cmid=cmid, body='by frame')
    e = await s.expect('error')
    assert (e['code'], e['cmid'], e.get('retryable', False)) \
        == ('blocked', cmid, False)
    # The other direction, others, and oneself are free.
    await a.send(b.uid, 'from a')
    await c.send(a.uid, 'from c')
    await a.send(a.uid, 'a note')
    await unblock(a, b.uid)
    await unblock(a, b.uid)
    assert await blocked(a) == []
    await b.send(a.uid, 'by HTTP')
    await s.send(a.uid, 'after')
    await stack.stored(a, b, 4)
    bodies = [m['body'] for m in (await a.history(b.uid))['messages']]
    assert bodies == ['after', 'by HTTP', 'from a', 'before']


async def test_blocks_that_make_no_sense_are_refused(api, people):
    a = await people(api, 'blocks')
    await refused(block(a, a.uid), 400, 'bad_field')
    await refused(block(a, 2 ** 62), 404, 'no_such_user')
    await refused(block(a, 2 ** 64 - 1), 404, 'no_such_user')
    await refused(block(a, 0), 404, 'no_such_user')


async def test_the_number_of_blocks_is_limited(api, people, stack):
    a, b = await people(api, 'blocks', 'other')
    stack.mysql('INSERT INTO blocks (uid, other) VALUES '
                + ', '.join('(%d, %d)' % (a.uid, 10 ** 9 + n)
                            for n in range(1000)))
    await refused(block(a, b.uid), 409, 'limit_reached')
    assert len(await blocked(a)) == 1000
    await unblock(a, 10 ** 9)
    await block(a, b.uid)


async def may_send(sender, to):
    try:
        await sender.send(to, 'may I?')
    except Problem as e:
        assert e.code == 'blocked', e
        return False
    return True


async def comes_to(wanted, sender, to, seconds=5):
    """Whether he may send changes; a second, on a machine that is not
    busy."""
    async for _ in tries('not heard of for %d s' % seconds, seconds):
        if await may_send(sender, to) is wanted:
            break


async def test_another_logic_hears_of_it_within_a_second(api, people, stack):
    """What is told there by hand stands for the other Logic's change."""
    a, b = await people(api, 'blocks', 'blocked')
    await b.send(a.uid, 'before')
    stack.mysql('INSERT INTO blocks VALUES (%d, %d)' % (a.uid, b.uid))
    subprocess.run(['redis-cli', '-s', stack.env['IM_REDIS'], 'XADD',
                    'im:blocks', '*', 'p', '%d %d' % (a.uid, b.uid)],
                   check=True, timeout=10, stdout=subprocess.DEVNULL)
    await comes_to(False, b, a.uid)
    # The same after the list was lost: all is asked again.
    subprocess.run(['redis-cli', '-s', stack.env['IM_REDIS'], 'DEL',
                    'im:blocks'], check=True, timeout=10,
                   stdout=subprocess.DEVNULL)
    stack.mysql('DELETE FROM blocks WHERE uid = %d' % a.uid)
    await comes_to(True, b, a.uid)


async def test_the_chat_goes_on_without_mysql(api, people, stack):
    a, b = await people(api, 'first', 'second')
    x, y = await a.connect(), await b.connect()
    await x.send(b.uid, 'one')
    await y.send(a.uid, 'two')
    stack.tool('ctl', stack.name, 'stop', 'mysql')
    try:
        for n in range(20):
            await x.send(b.uid, n)
            await y.send(a.uid, n)
            await pace(0.3)
    finally:
        stack.tool('ctl', stack.name, 'start', 'mysql')
        stack.tool('wait', stack.name)


# How conversations are shown.


async def flag(user, **what):
    return await user.api.call('PATCH', '/v1/conversations', user.token,
                               json=what)


async def listed(user, **args):
    r = await taken(user.api.call, 'GET', '/v1/conversations', user.token,
                    params=args)
    return {c['with']: c for c in r['conversations']}


async def there(user, other, seconds=20):
    async for _ in tries(lambda: '%d is not in %s' % (other, seen), seconds):
        seen = await listed(user, hidden='true')
        if str(other) in seen:
            return seen[str(other)]


async def test_flags_stay_and_do_not_touch_one_another(api, people):
    a, b = await people(api, 'flags', 'other')
    await b.send(a.uid, 'hello')
    c = await there(a, b.uid)
    assert (c['pinned'], c['muted'], c['hidden']) == (False,) * 3
    await flag(a, **{'with': str(b.uid), 'pinned': True})
    await flag(a, **{'with': str(b.uid), 'muted': True})
    c = await there(a, b.uid)
    assert (c['pinned'], c['muted'], c['hidden']) == (True, True, False)
    await flag(a, **{'with': str(b.uid), 'pinned': False})
    c = await there(a, b.uid)
    assert (c['pinned'], c['muted'], c['hidden']) == (False, True, False)
    # They are one's own.
    c = await there(b, a.uid)
    assert (c['pinned'], c['muted'], c['hidden']) == (False,) * 3


async def test_hidden_until_the_next_message(api, people):
    a, b = await people(api, 'hides', 'other')
    await b.send(a.uid, 'one')
    await there(a, b.uid)
    await flag(a, **{'with': str(b.uid), 'hidden': True})
    assert str(b.uid) not in await listed(a)
    assert (await listed(a, hidden='true'))[str(b.uid)]['hidden'] is True
    assert str(a.uid) in await listed(b)
    await b.send(a.uid, 'two')
    async for _ in tries('it stays hidden', 20):
        if str(b.uid) in await listed(a):
            break
    assert (await listed(a))[str(b.uid)]['hidden'] is False
    await flag(a, **{'with': str(b.uid), 'hidden': True})
    assert str(b.uid) not in await listed(a)
    await flag(a, **{'with': str(b.uid), 'hidden': False})
    assert str(b.uid) in await listed(a)


async def test_a_message_under_way_does_not_show_what_was_hidden_after_it(
        api, people, stack):
    a, b = await people(api, 'hides', 'other')
    s = await b.connect()
    for n in range(20):
        await s.send(a.uid, n)
        await flag(a, **{'with': str(b.uid), 'hidden': True})
    assert len(await stack.stored(a, b, 20)) == 20
    assert str(b.uid) not in await listed(a)


async def test_flags_of_what_is_not_there_are_refused(api, people):
    a, b = await people(api, 'flags', 'stranger')
    with pytest.raises(Problem) as e:
        await flag(a, **{'with': str(b.uid), 'pinned': True})
    assert e.value.status == 404
    await refused(flag(a, pinned=True), 400, 'missing_field')
    await refused(flag(a, **{'with': '1', 'room': '1', 'pinned': True}), 400)
    with pytest.raises(Problem) as e:
        await flag(a, room='999999', pinned=True)
    assert e.value.status == 404
