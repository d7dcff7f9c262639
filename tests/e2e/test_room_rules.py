"""Who may do what in a room: every rule, and every bad input, over HTTP.

What members get by WebSocket is in test_rooms.py.
"""

import subprocess

import pytest

from conftest import refused
from im_client import Problem, new_cmid
from im_wait import tries

NOBODY = 2 ** 62                   # no user and no room has this id


async def call(user, method, path, body=None, **args):
    if body is not None:
        args['json'] = body
    return await user.api.call(method, '/v1/' + path, user.token, **args)


async def create(user, kind='group', name='a room', members=(), **fields):
    body = dict({'kind': kind, 'name': name}, **fields)
    if members:
        body['members'] = [str(m.uid) for m in members]
    return Room(user, await call(user, 'POST', 'rooms', body))


class Room:

    def __init__(self, owner, answer):
        self.owner = owner
        self.answer = answer
        self.id = int(answer['room'])
        self.path = 'rooms/%d' % self.id

    def get(self, user):
        return call(user, 'GET', self.path)

    def join(self, user):
        return call(user, 'POST', self.path + '/join')

    def leave(self, user):
        return call(user, 'POST', self.path + '/leave')

    def members(self, user, **args):
        return call(user, 'GET', self.path + '/members',
                    params={k: str(v) for k, v in args.items()})

    def add(self, user, *others):
        return call(user, 'POST', self.path + '/members',
                    {'uids': [str(getattr(o, 'uid', o)) for o in others]})

    def remove(self, user, other):
        return call(user, 'DELETE', '%s/members/%d' % (
            self.path, getattr(other, 'uid', other)))

    def set(self, user, other, **fields):
        return call(user, 'PATCH', '%s/members/%d' % (
            self.path, getattr(other, 'uid', other)), fields)

    def dismiss(self, user):
        return call(user, 'DELETE', self.path)

    def send(self, user, body='hello', cmid=None):
        return call(user, 'POST', 'messages', {
            'room': str(self.id), 'cmid': cmid or new_cmid(), 'body': body})

    def history(self, user):
        return call(user, 'GET', 'messages', params={'room': str(self.id)})

    def read(self, user, seq):
        return call(user, 'POST', 'read', {'room': str(self.id),
                                           'seq': str(seq)})

    async def sync(self, user, seq=0, seconds=20):
        """The answer that is final: rows may be stored late."""
        async for _ in tries(lambda: c, seconds):
            r = await call(user, 'POST', 'sync', {
                'cursors': [{'room': str(self.id), 'seq': str(seq)}]})
            c = r['conversations'][0]
            if not c.get('pending'):
                return c

    async def roles(self, user):
        return {int(m['uid']): m.get('role')
                for m in (await self.members(user))['members']}


async def listed(user):
    r = await call(user, 'GET', 'conversations')
    return {int(c['room']): c for c in r['conversations'] if 'room' in c}


def redis(stack, *words):
    return subprocess.run(['redis-cli', '-s', stack.env['IM_REDIS'], *words],
                          stdout=subprocess.PIPE, text=True, timeout=20,
                          check=True).stdout


# Making a room.


async def test_a_group_has_its_maker_as_owner_and_those_he_names(api, people):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    room = await create(alice, members=[bob, carol, bob, alice])
    a = room.answer
    assert (a['kind'], a['name'], a['owner'], a['role'], a['members']) == (
        'group', 'a room', str(alice.uid), 'owner', 3)
    assert (a['open'], a['history'], a['online']) == (False, True, 0)
    assert await room.roles(bob) == {
        alice.uid: 'owner', bob.uid: 'member', carol.uid: 'member'}
    assert (await room.get(bob))['role'] == 'member'


async def test_a_read_mark_of_a_live_room_is_refused_and_not_lost(api, people):
    alice = await people(api, 'alice')
    room = await create(alice, 'live', history=True)
    await room.send(alice)
    await room.sync(alice)
    p = await refused(room.read(alice, 1), 400, 'bad_request')
    assert 'live' in p.body['detail']
    assert (await room.read(alice, 0))['read_seq'] == '0'


async def test_a_live_room_is_open_and_forgets_unless_told(api, people):
    alice = await people(api, 'alice')
    a = (await create(alice, 'live')).answer
    assert (a['open'], a['history'], a['members']) == (True, False, 0)
    a = (await create(alice, 'live', open=False, history=True)).answer
    assert (a['open'], a['history']) == (False, True)


@pytest.mark.parametrize('name', [
    '', 'x' * 65, '☃' * 22, 'new\nline', 'tab\t', 'nul\0', 'del\x7f',
    'c1\x85'])
async def test_impossible_names_of_rooms_are_told_the_bounds(api, people,
                                                             name):
    alice = await people(api, 'alice')
    p = await refused(create(alice, name=name), 400)
    assert p.code in ('bad_name', 'bad_json', 'bad_field')


@pytest.mark.parametrize('name', ['x', 'y' * 64, '☃' * 21, 'two words',
                                  'ümlaut “quoted” 🙂', ' '])
async def test_possible_names_of_rooms_come_back_as_given(api, people, name):
    alice = await people(api, 'alice')
    room = await create(alice, name=name)
    assert (await room.get(alice))['name'] == name


@pytest.mark.parametrize('fields, code', [
    ({'kind': 'club'}, 'bad_field'), ({'kind': ''}, 'bad_field'),
    ({'kind': 'live', 'members': ['1']}, 'bad_field'),
    ({'history': False}, 'bad_field'),
    ({'members': [str(n) for n in range(1, 202)]}, 'bad_field'),
    ({'members': ['x']}, 'bad_field'), ({'members': 5}, 'bad_field'),
    ({'open': 'yes'}, 'bad_field')])
async def test_bad_fields_of_a_new_room(api, people, fields, code):
    alice = await people(api, 'alice')
    body = dict({'kind': 'group', 'name': 'n'}, **fields)
    await refused(call(alice, 'POST', 'rooms', body), 400, code)


async def test_a_room_without_kind_or_name(api, people):
    alice = await people(api, 'alice')
    await refused(call(alice, 'POST', 'rooms', {'name': 'n'}), 400,
                  'missing_field')
    await refused(call(alice, 'POST', 'rooms', {'kind': 'group'}), 400,
                  'missing_field')


@pytest.mark.parametrize('uid', ['0', str(NOBODY)])
async def test_a_group_is_not_made_with_somebody_who_does_not_exist(
        api, people, stack, uid):
    alice = await people(api, 'alice')
    await refused(call(alice, 'POST', 'rooms', {
        'kind': 'group', 'name': 'n', 'members': [uid]}), 404,
        'no_such_user')
    assert stack.mysql('SELECT COUNT(*) FROM members WHERE uid = %d'
                       % alice.uid) == [['0']]


# An unknown room.


def everything(alice, bob, room):
    r = Room(alice, {'room': room})
    return [r.get(alice), r.join(alice), r.leave(alice), r.members(alice),
            r.add(alice, bob), r.remove(alice, bob),
            r.set(alice, bob, role='admin'), r.dismiss(alice), r.send(alice),
            r.history(alice), r.read(alice, 0)]


async def test_a_room_that_does_not_exist(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    for attempt in everything(alice, bob, NOBODY):
        await refused(attempt, 404, 'no_such_room')
    s = await Room(alice, {'room': NOBODY}).sync(alice)
    assert s['error'] == 'no_such_room'


@pytest.mark.parametrize('room', [0, 2 ** 63, 2 ** 64 - 1])
async def test_a_number_that_no_room_can_have(api, people, room):
    alice, bob = await people(api, 'alice', 'bob')
    for attempt in everything(alice, bob, room):
        with pytest.raises(Problem) as e:
            await attempt
        assert (e.value.status, e.value.code) in (
            (400, 'bad_field'), (400, 'missing_field'), (404, 'no_such_room'))


# Sending and reading.


async def test_members_send_and_read_in_one_order(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, members=[bob])
    for n, user in enumerate([alice, bob, alice, bob]):
        r = await room.send(user, n)
        assert r['seq'] == str(n + 1) and r['dup'] is False
    s = await room.sync(bob)
    assert [m['body'] for m in s['messages']] == [0, 1, 2, 3]
    assert (s['next'], s['head'], s['more'], s['pending'], s['room']) == (
        '4', '4', False, False, str(room.id))
    h = await room.history(alice)
    assert [(m['body'], m['from']) for m in h['messages']] == [
        (3, str(bob.uid)), (2, str(alice.uid)), (1, str(bob.uid)),
        (0, str(alice.uid))]
    c = (await listed(bob))[room.id]
    assert (c['head'], c['unread'], c['read_seq']) == ('4', 2, '0')
    assert (await room.read(bob, 3))['read_seq'] == '3'
    assert (await listed(bob))[room.id]['unread'] == 0


async def test_a_repeat_in_a_room_is_acked_with_the_first_number(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, members=[bob])
    first = await room.send(alice, 'once', 'c1')
    again = await room.send(alice, 'once', 'c1')
    assert again['dup'] and again['msg_id'] == first['msg_id']
    await refused(room.send(alice, 'other', 'c1'), 409, 'cmid_conflict')
    # The cmid is the sender's own, and the room's.
    assert not (await room.send(bob, 'once', 'c1'))['dup']
    other = await create(alice)
    assert not (await other.send(alice, 'once', 'c1'))['dup']


async def test_a_message_goes_to_a_user_or_to_a_room(api, people):
    alice = await people(api, 'alice')
    room = await create(alice)
    await refused(call(alice, 'POST', 'messages', {
        'to': str(alice.uid), 'room': str(room.id), 'body': 1}), 400,
        'bad_field')
    await refused(call(alice, 'POST', 'messages', {'body': 1}), 400,
                  'missing_field')


async def reads_nothing(room, user, status=404, code='no_such_room'):
    for attempt in (room.history(user), room.members(user),
                    room.members(user, online='true'), room.read(user, 0)):
        await refused(attempt, status, code)
    s = await room.sync(user)
    assert s['error'] == code and not s.get('messages')
    assert s['head'] == '0'
    assert room.id not in await listed(user)


async def test_outsiders_read_nothing_and_send_nothing(api, people):
    alice, bob, eve = await people(api, 'alice', 'bob', 'eve')
    for is_open in (False, True):
        room = await create(alice, members=[bob], open=is_open)
        await room.send(alice, 'secret')
        hidden = (404, 'no_such_room')
        forbidden = (403, 'forbidden') if is_open else hidden
        not_member = (403, 'not_member') if is_open else hidden
        await reads_nothing(room, eve, *forbidden)
        await refused(room.send(eve), *not_member)
        if not is_open:
            await refused(room.get(eve), *hidden)
            await refused(room.join(eve), *hidden)
        else:
            assert 'role' not in await room.get(eve)
        for attempt in (room.add(eve, eve), room.remove(eve, bob),
                        room.set(eve, bob, mute_s=5),
                        room.set(eve, eve, role='owner'), room.dismiss(eve)):
            await refused(attempt, *forbidden)
        await refused(room.leave(eve), *not_member)
        assert await room.roles(alice) == {alice.uid: 'owner',
                                           bob.uid: 'member'}


async def test_who_was_removed_or_left_reads_nothing_more(api, people):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    room = await create(alice, members=[bob, carol])
    await room.send(bob, 'while in')
    await room.send(carol, 'while in')
    await room.remove(alice, bob)
    await room.leave(carol)
    for user in (bob, carol):
        await reads_nothing(room, user)
        await refused(room.send(user), 404, 'no_such_room')
    assert await room.roles(alice) == {alice.uid: 'owner'}


async def test_a_caller_cannot_name_who_he_is(api, people):
    alice, eve = await people(api, 'alice', 'eve')
    room = await create(alice)
    for caller in ({'uid': str(alice.uid), 'sid': 'x', 'device': 'y'},):
        with pytest.raises(Problem):
            await call(eve, 'POST', 'messages', {
                'room': str(room.id), 'body': 1, 'caller': caller,
                'cmid': new_cmid()})
            await refused(room.history(alice), 403)


# Joining and leaving.


async def test_joining_an_open_group_twice_does_no_harm(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, open=True)
    await room.send(alice, 'before')
    await room.sync(alice)             # is stored: who joins has read it
    for _ in range(2):
        r = await room.join(bob)
        assert (r['room']['role'], r['room']['members']) == ('member', 2)
    s = await room.sync(bob)
    assert [m['body'] for m in s['messages']] == ['before']
    assert (await listed(bob))[room.id]['unread'] == 0
    await room.send(bob, 'after')
    assert (await room.join(alice))['room']['role'] == 'owner'


async def test_a_live_room_is_not_joined_by_http(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, 'live')
    await refused(room.join(bob), 415, 'unsupported')
    for field in ({'instance': 'x'}, {'conn': '1'},
                  {'instance': 'x', 'conn': '1'}):
        with pytest.raises(Problem) as e:
            await call(bob, 'POST', room.path + '/join', field)
        assert e.value.status in (400, 415)


async def test_by_http_only_owner_and_admins_send_to_a_live_room(api, people):
    alice, bob, carol = await people(api, 'alice', 'bob', 'carol')
    room = await create(alice, 'live')
    await room.set(alice, bob, role='admin')
    assert (await room.send(alice))['seq'] == '1'
    assert (await room.send(bob))['seq'] == '2'
    await refused(room.send(carol), 403, 'not_member')
    with pytest.raises(Problem):
        await call(carol, 'POST', 'messages', {
            'room': str(room.id), 'body': 1, 'joined': True})


async def test_a_live_room_is_read_if_it_has_history(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    for is_open, history, may in ((True, True, True), (True, False, False),
                                  (False, True, False)):
        room = await create(alice, 'live', open=is_open, history=history)
        await room.send(alice, 'said')
        if may:
            s = await room.sync(bob)
            assert [m['body'] for m in s['messages']] == ['said']
            assert [m['body'] for m in
                    (await room.history(bob))['messages']] == ['said']
            # One is in it by a connection only: there is no row.
            await refused(room.read(bob, 1), 400, 'bad_request')
            assert room.id not in await listed(bob)
        else:
            code = 'forbidden' if is_open else 'no_such_room'
            await refused(room.history(bob), 403 if is_open else 404, code)
            assert (await room.sync(bob))['error'] == code
    await room.add(alice, bob)      # invited to the one that is not open
    assert [m['body'] for m in
            (await room.sync(bob))['messages']] == ['said']


async def test_leaving(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, members=[bob])
    await refused(room.leave(alice), 409, 'last_owner')
    assert (await room.leave(bob))['room'] == str(room.id)
    # Alone in it: the room ends.
    await room.leave(alice)
    await refused(room.send(alice), 404, 'no_such_room')
    await refused(room.get(alice), 404, 'no_such_room')


async def test_the_owner_leaves_after_somebody_else_became_owner(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, members=[bob])
    await refused(room.set(alice, alice, role='member'), 409, 'last_owner')
    await room.set(alice, bob, role='owner')
    assert await room.roles(bob) == {alice.uid: 'admin', bob.uid: 'owner'}
    await refused(room.leave(bob), 409, 'last_owner')
    await room.leave(alice)
    assert await room.roles(bob) == {bob.uid: 'owner'}
