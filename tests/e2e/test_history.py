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
