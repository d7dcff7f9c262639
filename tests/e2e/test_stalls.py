"""Programs that stand still for a moment are not taken for dead each time."""

import asyncio
import contextlib
import os

from conftest import taken
from im_client import new_cmid
from im_frozen import frozen
from im_wait import lasts

STALL_S = 3            # longer than [kafka] session_ms, not than 6 s


def tasks(stack):
    return [n for n in stack.pids() if n.startswith('task-')]


def losses(stack):
    """How often each im-task was excluded from a group, as it has logged."""
    out = {}
    for name in tasks(stack):
        with open(os.path.join(stack.dir, 'log', name + '.log'),
                  errors='replace') as f:
            out[name] = f.read().count('kafka lost: ')
    return out


async def stall(stack, *names):
    with contextlib.ExitStack() as all:
        for name in names:
            all.enter_context(frozen(stack.pids()[name]))
        await lasts(STALL_S)


async def delivered(stack, sender, reader, alice, bob, n):
    """A message is pushed, and stored."""
    await taken(sender.send, bob.uid, n, new_cmid())
    while (await reader.expect('push', 40))['body'] != n:
        pass
    await stack.stored(alice, bob, n)


async def test_who_stood_still_once_is_not_excluded_the_next_time(
        api, people, stack):
    # Another test may have taught them.
    for name in tasks(stack):
        for what in ('stop', 'start'):
            await asyncio.to_thread(stack.tool, 'ctl', stack.name, what, name)
    alice, bob = await people(api, 'alice', 'bob')
    sender, reader = await alice.connect(), await bob.connect()
    await delivered(stack, sender, reader, alice, bob, 1)
    before = losses(stack)
    await stall(stack, *tasks(stack))
    await delivered(stack, sender, reader, alice, bob, 2)
    first = losses(stack)
    assert all(first[n] > before[n] for n in before), (before, first)
    await stall(stack, *tasks(stack))
    await delivered(stack, sender, reader, alice, bob, 3)
    assert losses(stack) == first
