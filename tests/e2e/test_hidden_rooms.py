"""Who is not in a room and may not enter it cannot tell it from one that does
not exist."""

import pytest

from conftest import drawn
from im_client import Problem, new_cmid
from test_room_rules import call, create

REQUESTS = [
    ('GET', 'rooms/%d', None), ('DELETE', 'rooms/%d', None),
    ('POST', 'rooms/%d/join', None), ('POST', 'rooms/%d/leave', None),
    ('GET', 'rooms/%d/members', None),
    ('GET', 'rooms/%d/members?online=true', None),
    ('POST', 'rooms/%d/members', {'uids': ['%(me)d', '%(other)d']}),
    ('PATCH', 'rooms/%d/members/%(other)d', {'role': 'admin'}),
    ('PATCH', 'rooms/%d/members/%(me)d', {'mute_s': 0}),
    ('DELETE', 'rooms/%d/members/%(other)d', None),
    ('GET', 'messages?room=%d', None),
    ('POST', 'messages', {'room': '%d', 'body': 1}),
    ('POST', 'sync', {'cursors': [{'room': '%d', 'seq': '0'}]}),
    ('POST', 'sync', {'cursors': [{'room': '%d', 'seq': '7'}]}),
    ('POST', 'read', {'room': '%d', 'seq': '0'}),
    ('POST', 'read', {'room': '%d', 'seq': '7'}),
    ('PATCH', 'conversations', {'room': '%d', 'hidden': True})]

FRAMES = [
    {'type': 'send', 'body': 1}, {'type': 'join'}, {'type': 'leave'},
    {'type': 'history'}, {'type': 'read', 'seq': '0'},
    {'type': 'sync', 'cursors': [{'room': '%d', 'seq': '0'}]}]


def filled(value, room, names):
    """A request about this room."""
    if isinstance(value, dict):
        return {k: filled(v, room, names) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(v, room, names) for v in value]
    if isinstance(value, str):
        return value.replace('%d', str(room)) % names
    return value


async def by_http(user, other, room):
    answers, names = {}, {'me': user.uid, 'other': other.uid}
    for method, path, body in REQUESTS:
        try:
            answer = await call(user, method, filled(path, room, names),
                                filled(body, room, names))
        except Problem as e:
            answer = e.body
        answers[method, path, str(body)] = str(answer).replace(str(room), '#')
    return answers


async def by_frames(s, room):
    answers = {}
    for frame in FRAMES:
        fields = filled(frame, room, {})
        if 'cursors' not in frame:
            fields['room'] = str(room)
        key = {'cmid': new_cmid()} if 'body' in frame else {'id': '1'}
        await s.write(**fields, **key)
        while True:
            f = await s.receive()
            if key.items() <= f.items():
                break
        f.pop('cmid', None)
        answers[frame['type']] = str(f).replace(str(room), '#')
    return answers


async def kinds(alice, bob):
    """Rooms that bob may not know of."""
    yield 'a group', await create(alice)
    yield 'a live room', await create(alice, 'live', open=False)
    yield 'a live room with history', await create(
        alice, 'live', open=False, history=True)
    ended = await create(alice)
    await ended.dismiss(alice)
    yield 'a dismissed group', ended
    ended = await create(alice, 'live', open=False)
    await ended.dismiss(alice)
    yield 'a dismissed live room', ended
    muted = await create(alice, 'live', open=False)
    await muted.set(alice, bob, mute_s=600)
    yield 'a live room where one is muted', muted


async def test_an_outsider_cannot_tell_a_closed_room_from_none(api, people):
    alice, bob = await people(api, 'alice', 'bob')
    s = await bob.connect()
    nowhere = drawn(1)[0]
    none = await by_http(bob, alice, nowhere)
    none_by_frames = await by_frames(s, nowhere)
    assert all('no_such_room' in a for a in none.values()), none
    assert all('no_such_room' in a for a in none_by_frames.values())
    async for name, room in kinds(alice, bob):
        if room.answer['open'] is False and 'dismissed' not in name:
            await room.send(alice, 'secret')
        for _ in range(2):             # the second time it is remembered
            assert await by_http(bob, alice, room.id) == none, name
            assert await by_frames(s, room.id) == none_by_frames, name


@pytest.mark.parametrize('kind', ['group', 'live'])
async def test_who_is_in_a_room_is_told_why_he_may_not(api, people, kind):
    alice, bob = await people(api, 'alice', 'bob')
    room = await create(alice, kind, open=False)
    await room.add(alice, bob)
    for attempt in (room.add(bob, alice), room.remove(bob, alice),
                    room.dismiss(bob)):
        with pytest.raises(Problem) as e:
            await attempt
        assert e.value.code == 'forbidden'
    assert (await room.get(bob))['role'] == 'member'
