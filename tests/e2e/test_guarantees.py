"""Every promise is kept while people talk and programs die.

The short form of `make checker`: the same people, fewer messages.
"""

import asyncio
import os
import subprocess

import pytest

from im_app import App
from im_hunt import Plan, hunt
from im_wait import lasts, tries, until

SLOW = 3 if 'asan' in os.environ.get('IM_TEST_BUILD', '') else 1
LIMIT_S = 200 * SLOW       # of a hunt

pytestmark = pytest.mark.timeout(LIMIT_S + 60)


def prove(stack, faults, **plan):
    seed = int(os.environ.get('IM_CHECKER_SEED', '0')) or int.from_bytes(
        os.urandom(3), 'big')
    report = hunt(stack.env, Plan(users=20, talks=80, seed=seed,
                                  faults=faults, limit_s=LIMIT_S, **plan))
    print(report.text())
    assert report.good(), report.text()
    return report


def test_every_promise_is_kept(stack):
    report = prove(stack, (), messages=2000 // SLOW, rate=1000, processes=1)
    assert report.counts['dup'] > 0 and report.counts['connect'] > 20


@pytest.mark.full
def test_every_promise_is_kept_while_programs_die(stack):
    """In `make test` the campaign has the same checker and does the same, by
    one kill after another (kill-logic, kill-task, kill-worker, reload, ...)."""
    report = prove(stack, ('kill', 'reload'), messages=3000 // SLOW,
                   rate=300 / SLOW, processes=1, pause=(0.8, 2))
    # Also the killing has happened: a worker's connections have ended.
    assert report.counts['connect'] > 40


async def test_who_connects_learns_of_a_conversation_not_yet_stored(
        stack, api, people):
    alice, bob = await people(api, 'alice', 'bob')
    a = App(alice).start()
    await a.settle()
    # The store can read and cannot write.  The push finds bob away.
    lock = subprocess.Popen(
        ['mariadb', '--no-defaults', '-S', stack.env['IM_MYSQL'],
         '-u', stack.env['IM_MYSQL_USER'], stack.env['IM_MYSQL_DATABASE'],
         '-e', 'LOCK TABLES messages READ, conversations READ; '
               'SELECT SLEEP(4)'], stdout=subprocess.DEVNULL)
    async for _ in tries('nothing is locked'):
        if stack.mysql("SELECT COUNT(*) FROM information_schema.processlist"
                       " WHERE info LIKE '%SLEEP(4)'"
                       " AND state = 'User sleep'") != [['0']]:
            break
        assert lock.poll() is None
    await a.send(bob.uid, 'the first of all')
    await lasts(1)
    b = App(bob).start()
    try:
        await until(lambda: b.shown(alice.uid), 'bob learns nothing')
    finally:
        assert await asyncio.to_thread(lock.wait, 20) == 0
