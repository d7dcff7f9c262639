"""Reading back: GET /v1/messages, paged by seq."""

import pytest

from conftest import refused


async def conversation(api, people, stack, count):
    alice, bob = await people(api, 'alice', 'bob')
    s = await alice.connect()
    for n in range(count):
        await s.send(bob.uid, n)
    await stack.stored(alice, bob, count)
    return alice, bob


def bodies(page):
    return [m['body'] for m in page['messages']]


async def test_newest_first_then_older(api, people, stack):
    alice, bob = await conversation(api, people, stack, 25)
    page = await bob.history(alice.uid, limit=10)
    assert bodies(page) == list(range(24, 14, -1)) and page['more'] is True
    page = await bob.history(alice.uid, limit=10, before_seq=16)
    assert bodies(page) == list(range(14, 4, -1)) and page['more'] is True
    page = await bob.history(alice.uid, limit=10, before_seq=6)
    assert bodies(page) == list(range(4, -1, -1)) and page['more'] is False


async def test_oldest_first_after_a_seq(api, people, stack):
    alice, bob = await conversation(api, people, stack, 12)
    page = await bob.history(alice.uid, limit=5, after_seq=0)
    assert bodies(page) == [0, 1, 2, 3, 4] and page['more'] is True
    page = await bob.history(alice.uid, limit=50, after_seq=5)
    assert bodies(page) == list(range(5, 12)) and page['more'] is False


async def test_fields_and_both_sides_see_the_same(api, people, stack):
    alice, bob = await conversation(api, people, stack, 1)
    ours, theirs = await alice.history(bob.uid), await bob.history(alice.uid)
    assert ours == theirs
    m = ours['messages'][0]
    assert m['seq'] == '1' and m['from'] == str(alice.uid)
    assert int(m['msg_id']) > 0 and int(m['time_ms']) > 1.7e12


async def test_nobody_reads_another_conversation(api, people, stack):
    alice, bob = await conversation(api, people, stack, 3)
    eve = await people(api, 'eve')
    assert (await eve.history(bob.uid))['messages'] == []
    assert (await eve.history(alice.uid))['messages'] == []


async def test_large_bodies_fit_a_page(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    s = await alice.connect()
    for n in range(12):
        await s.send(bob.uid, '%d' % n + 'x' * 60000)
    await stack.stored(alice, bob, 12)
    got, before = [], 2 ** 40
    while True:
        page = await bob.history(alice.uid, limit=200, before_seq=before)
        got += page['messages']
        if not page['more']:
            break
        before = int(page['messages'][-1]['seq'])
    assert [int(m['seq']) for m in got] == list(range(12, 0, -1))


@pytest.mark.parametrize('args, code', [
    ({}, 'missing_field'), ({'with': 'bob'}, 'bad_field'),
    ({'with': '-1'}, 'bad_field'), ({'with': str(2 ** 64)}, 'bad_field'),
    ({'with': '1', 'limit': '0'}, 'bad_field'),
    ({'with': '1', 'limit': '201'}, 'bad_field'),
    ({'with': '1', 'before_seq': '5', 'after_seq': '3'}, 'bad_request')])
async def test_bad_arguments(api, people, args, code):
    alice = await people(api, 'alice')
    p = await refused(api.call('GET', '/v1/messages', alice.token,
                               params=args), 400)
    assert p.code == code


async def test_history_has_the_sender_s_cmid_and_echoes_the_id(
        api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    await alice.send(bob.uid, 1, cmid='mine')
    await stack.stored(alice, bob, 1)
    page = await bob.history(alice.uid, id=7)
    assert page['messages'][0]['cmid'] == 'mine' and page['id'] == '7'


async def test_history_page_has_a_limit_in_bytes(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    for n in range(5):
        await alice.send(bob.uid, '%d' % n + 'x' * 50000)
    await stack.stored(alice, bob, 5)
    got, after = [], 0
    while True:
        page = await bob.history(alice.uid, limit=200, after_seq=after)
        assert 1 <= len(page['messages']) <= 2
        got += [int(m['seq']) for m in page['messages']]
        after = got[-1]
        if not page['more']:
            break
    assert got == [1, 2, 3, 4, 5]


@pytest.mark.parametrize('args, status, code', [
    ({'room': str(2 ** 62)}, 404, 'no_such_room'),
    # (0, one's own uid) is the name of a room
    ({'with': '0'}, 400, 'missing_field'),
    ({'with': '1', 'room': '1'}, 400, 'bad_field'),
    ({'with': str(2 ** 63)}, 400, 'bad_field'),
    ({'with': '1', 'before_seq': str(2 ** 63)}, 400, 'bad_field'),
    ({'with': '1', 'after_seq': str(2 ** 64 - 1)}, 400, 'bad_field'),
    ({'with': '1', 'limit': '1000000000'}, 400, 'bad_field')])
async def test_history_refuses_what_makes_no_sense(api, people, args, status,
                                                   code):
    alice = await people(api, 'alice')
    await refused(api.call('GET', '/v1/messages', alice.token, params=args),
                  status, code)
