"""Rows of a live room that keeps no history go when nobody can ask for them
any more, and all others stay."""

import asyncio

from im_client import new_cmid
from im_wait import until
from test_dedupe import redis
from test_logic_steps import Logic, stopped
from test_room_rules import create

KEEP_S = 660                       # the least that [rooms] live_keep_s may be


def seqs(stack, room):
    return [int(r[0]) for r in stack.mysql(
        'SELECT seq FROM messages WHERE conv_a = 0 AND conv_b = %d '
        'ORDER BY seq' % room.id)]


def voids(stack, room):
    return [(int(r[0]), int(r[1])) for r in stack.mysql(
        'SELECT from_seq, to_seq FROM voids WHERE conv_a = 0 AND conv_b = %d '
        'ORDER BY to_seq' % room.id)]


async def said(stack, room, user, n):
    acks = [await room.send(user, k, new_cmid()) for k in range(n)]
    await until(lambda: len(seqs(stack, room)) >= n, 'not stored')
    return acks


def seen_long_ago(stack, room, seq):
    """As if a walk had found this number as the highest one, long ago."""
    at = int(redis(stack, 'TIME')[0]) - KEEP_S - 1
    redis(stack, 'SET', 'im:rk:{%d}' % room.id, '%d %d' % (seq, at * 1000))


async def test_old_rows_of_a_live_room_without_history_are_deleted(
        api, people, stack, tmp_path):
    alice = await people(api, 'alice')
    live = await create(alice, 'live')
    kept = await create(alice, 'live', history=True)
    group = await create(alice)
    large = await create(alice, 'live')
    quiet = await create(alice, 'live')
    for room in (live, kept, group):
        await said(stack, room, alice, 5)
        seen_long_ago(stack, room, 4)
        # Numbers below, beside and above the rows that are deleted.
        stack.mysql('INSERT INTO voids (conv_a, conv_b, from_seq, to_seq) '
                    'VALUES (0, %d, 1, 1), (0, %d, 3, 3), (0, %d, 7, 9)'
                    % (room.id, room.id, room.id))
    # More than one portion, and what a lost Redis leaves: a wide gap.
    many = [*range(1, 1801), *range(3000001, 3000701)]
    stack.mysql('INSERT INTO messages (conv_a, conv_b, seq, msg_id, sender, '
                'time_ms, cmid, body) SELECT 0, %d, s.seq, s.seq, %d, 1, "", '
                '"1" FROM (SELECT seq FROM seq_1_to_1800 UNION ALL '
                'SELECT seq FROM seq_3000001_to_3000700) s'
                % (large.id, alice.uid))
    seen_long_ago(stack, large, many[-1])
    await said(stack, quiet, alice, 1)
    seen_long_ago(stack, quiet, 1)
    with stopped(stack, 'logic-1'), Logic(
            stack, tmp_path, IM_ROOMS_LIVE_KEEP_S=str(KEEP_S)) as logic:
        await asyncio.to_thread(logic.takes_part)
        await until(lambda: seqs(stack, live) == [4, 5]
                    and seqs(stack, large) == many[-1:], 'not deleted')
        assert seqs(stack, kept) == seqs(stack, group) == [1, 2, 3, 4, 5]
        await until(lambda: voids(stack, live) == [(7, 9)], 'voids stay')
        for room in (kept, group):
            assert voids(stack, room) == [(1, 1), (3, 3), (7, 9)]
        assert seqs(stack, quiet) == [1]
        # The newest row stays, so no number comes again.
        redis(stack, 'SET', 'im:memory:{0}', '0')
        redis(stack, 'DEL', 'im:s:{0}:0:%d' % live.id)
        assert (await live.send(alice, 'next'))['seq'] == '10'
        assert (await large.send(alice, 'next'))['seq'] == str(many[-1] + 1)


async def test_a_row_that_a_repeat_may_ask_for_stays(api, people, stack,
                                                     tmp_path):
    alice = await people(api, 'alice')
    live = await create(alice, 'live')
    acks = [await live.send(alice, n, 'c%d' % n) for n in range(3)]
    await until(lambda: len(seqs(stack, live)) == 3, 'not stored')
    note = 'im:rk:{%d}' % live.id
    with stopped(stack, 'logic-1'):
        # It has a walk of its own, which may have come before the third row.
        redis(stack, 'DEL', note)
        with Logic(stack, tmp_path,
                   IM_ROOMS_LIVE_KEEP_S=str(KEEP_S)) as logic:
            await asyncio.to_thread(logic.takes_part)
            await until(lambda: redis(stack, 'EXISTS', note) == ['1'],
                        'no walk')
            assert redis(stack, 'GET', note)[0] == '3'
            await repeats_are_known(live, alice, acks)
            assert seqs(stack, live) == [1, 2, 3]


async def repeats_are_known(live, alice, acks):
    """Numbered by another Logic: this one has to look the rows up."""
    for n, ack in enumerate(acks):
        again = await live.send(alice, n, 'c%d' % n)
        assert again['dup'] and again['seq'] == ack['seq']


async def test_rows_must_outlive_what_is_known_of_repeats(stack):
    from test_daemons import run
    for window, keep, code in ((300, 660, 0), (300, 659, 1), (3600, 3600, 1),
                               (3600, 7260, 0), (86400, 0, 0)):
        out = run(stack, 'im-logic', '--check',
                  IM_AUTH_JWT_KEY_FILE=stack.env['IM_JWT_KEY_FILE'],
                  IM_DEDUPE_WINDOW_S=str(window),
                  IM_ROOMS_LIVE_KEEP_S=str(keep))
        assert out[0] == code, out
        assert code == 0 or '[rooms] live_keep_s' in out[2]
