"""im_outbox -- messages of one device until they have an ack.

Each is written again, under the same cmid, after a refusal that is retryable
and on each connection, and it stays here until the server has acked it or
refused it for good.  An App (im_app.py) is an Outbox with a connection: it has
the queue of frames to be written, and calls try_again() when an answer takes
too long.
"""

import asyncio

from im_client import Problem, address, new_cmid
from im_events import body_id
from im_inbox import Message

RETRY_MAX_S = 2.5      # of what was refused, unless the server wants more
UNACKED_MAX = 200


class Out:
    """A message on its way."""

    def __init__(self, to, body, cmid):
        self.to = to
        self.body = body
        self.body_id = body_id(body)
        self.cmid = cmid
        self.tries = self.refusals = 0
        self.written = 0           # when, by the loop's clock
        self.timer = None          # set while it waits to be tried again
        self.done = asyncio.get_running_loop().create_future()


class Outbox:

    def __init__(self):
        self.unacked = {}          # cmid -> Out, in the order of sending
        self.sent = {}             # cmid -> recipient, of all
        self.acks = {}             # cmid -> ack
        self.room = asyncio.Semaphore(UNACKED_MAX)

    async def send(self, to, body, cmid=None):
        """The ack; a Problem only if the message is refused for good."""
        async with self.room:
            return await self.post(to, body, cmid).done

    def post(self, to, body, cmid=None):
        """An Out whose `done` will be the ack."""
        o = Out(to, body, cmid or new_cmid())
        if o.cmid in self.unacked:
            raise Problem('%s is on its way already' % o.cmid)
        if self.stopped:
            raise Problem('%s stopped: %s' % (self.name, self.stopped))
        self.unacked[o.cmid] = o
        self.sent[o.cmid] = to
        if self.there.is_set():
            self.try_again(o)
        return o

    def try_again(self, o):
        """Written (again), under its cmid."""
        o.timer = None
        if o.cmid not in self.unacked:
            return
        o.written = asyncio.get_running_loop().time()
        if o.to in self.rooms and o.to not in self.joined:
            return                 # enter() does
        o.tries += 1
        self.queue.append(({'type': 'send', 'cmid': o.cmid, 'body': o.body,
                            **address(o.to)}, o))
        self.queued.set()

    def on_ack(self, f):
        cmid = f['cmid']
        to = self.sent.get(cmid)
        self.acks.setdefault(cmid, f)
        seq, msg_id = int(f['seq']), int(f['msg_id'])
        self.record('ack', None if to is None else self.conv(to),
                    self.user.uid, cmid, seq, msg_id,
                    extra=(self.connection, bool(f.get('dup'))))
        o = self.unacked.pop(cmid, None)
        if o is None:
            return
        if o.timer is not None:
            o.timer.cancel()
        self.arrived(o.to, Message(seq, msg_id, self.user.uid, cmid,
                                   int(f.get('time_ms', 0)), o.body,
                                   o.body_id), 'ack')
        if not o.done.done():
            o.done.set_result(f)

    def on_refusal(self, f):
        cmid, again = f.get('cmid'), bool(f.get('retryable'))
        to = self.sent.get(cmid)
        self.record('error', None if to is None else self.conv(to),
                    self.user.uid, cmid, extra=(f['code'], again))
        o = self.unacked.get(cmid)
        if o is None:
            return
        if not again:
            del self.unacked[cmid]
            if not o.done.done():
                o.done.set_exception(Problem('send', 0, f))
        elif o.timer is None:
            o.timer = asyncio.get_running_loop().call_later(
                self.pause(f, o.refusals), self.try_again, o)
            o.refusals += 1

    def pause(self, f, times):
        """As long as we were told, then twice as long each time, up to a
        limit: whatever was away, we try again soon after it is back."""
        least = int(f.get('retry_after_ms', 0)) / 1000 or 0.1
        pause = least * 2 ** min(times, 20) * self.random.uniform(1, 1.25)
        return max(least, min(pause, RETRY_MAX_S
                              * self.random.uniform(0.75, 1)))

    def give_up(self, why):
        self.stopped = self.stopped or why
        for o in self.unacked.values():
            if not o.done.done():
                o.done.set_exception(Problem('%s stopped: %s'
                                             % (self.name, why)))
                o.done.exception()     # nobody may be waiting
        self.unacked.clear()
