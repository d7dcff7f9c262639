"""What is pushed again by the machinery does not reach a client twice."""

import os
import signal

COUNT = 60


async def test_a_task_that_dies_does_not_push_twice(api, people, stack):
    alice, bob = await people(api, 'alice', 'bob')
    sender, reader = await alice.connect(), await bob.connect()
    seqs = []
    for round in range(2):
        # Task may have to come back, from the round before or a test before.
        await sender.write(type='send', to=str(bob.uid),
                           cmid='%d-first' % round, body='first')
        seqs.append(int((await reader.expect('push', 40))['seq']))
        task = stack.pids()['task-1']
        for n in range(COUNT):
            await sender.write(type='send', to=str(bob.uid),
                               cmid='%d-%d' % (round, n), body=n)
        for n in range(COUNT):
            seqs.append(int((await reader.expect('push'))['seq']))
        # Now: its last offsets are not committed yet, so they come again.
        os.kill(task, signal.SIGKILL)
        await sender.write(type='send', to=str(bob.uid),
                           cmid='%d-last' % round, body='last')
        while True:
            push = await reader.expect('push', 40)
            seqs.append(int(push['seq']))
            if push['body'] == 'last':
                break
    assert await reader.nothing('push')
    assert seqs == list(range(1, 2 * COUNT + 5))
