"""Many clients that ask at the same moment."""

import im_crowd
from im_client import new_cmid

CROWD = 600


async def test_a_crowd_that_comes_back_together_is_answered(
        api, people, stack):
    """Each has a conversation that began just now, so it may not be stored."""
    host = await people(api, 'host')
    s = await host.connect()
    uids = im_crowd.users(stack.mysql, CROWD)
    crowd = await im_crowd.open_all(stack.env, uids)
    try:
        for uid in uids:
            await s.write(type='send', to=str(uid), cmid=new_cmid(), body=1)
        for _ in uids:
            await s.expect('ack', 20)
        answers = await im_crowd.come_back(crowd, host.uid)
    finally:
        for m in crowd:
            m.transport.abort()
    assert [r for _, refusals, _ in answers for r in refusals] == []
    assert all(complete for _, _, complete in answers)
