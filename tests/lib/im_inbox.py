"""im_inbox -- in which order a client shows messages.

Without network and clock: im_app.py feeds it and has the timers.  The rules
(docs/protocol.md, Rules for clients): `have` is the cursor, everything up to
it has been shown.  A message with the next number is shown at once, what is
above a gap is held.  A gap is closed by messages, or stepped over where the
server has said that the numbers are void, and by nothing else.  Between a
connection's start and its first sync nothing that is pushed moves the cursor.
"""

import collections

from im_events import body_id, conversation

HELD_MAX = 1000        # of a conversation; what is not held is fetched later
SHOWN_MAX = 20000      # of (sender, cmid) that are remembered

Message = collections.namedtuple(
    'Message', 'seq msg_id sender cmid time_ms body body_id')


def message(f):
    """A Message of a push frame or of an answer."""
    return Message(int(f['seq']), int(f['msg_id']), int(f['from']),
                   f.get('cmid', ''), int(f.get('time_ms', 0)), f['body'],
                   body_id(f['body']))


class Conversation:

    def __init__(self, me, other, record, show):
        self.other = other
        self.name = conversation(me, other)
        self.record = record
        self.show = show           # called with each message, in order
        self.have = 0
        self.head = 0              # highest number that was seen
        self.held = {}             # seq -> (Message, how it came)
        self.live = False          # the first sync is done
        self.pending = False       # the server has not decided yet
        self.gone = False          # a room that we are not in any more
        self.shown = collections.OrderedDict()

    def event(self, kind, m, extra=None):
        self.record(kind, self.name, m.sender, m.cmid, m.seq, m.msg_id,
                    m.body_id, extra)

    def gap(self):
        return self.live and self.head > self.have and not self.gone

    def take(self, m, how):
        """A message that came by itself: a push, or an own one's ack."""
        if m.seq <= self.have:
            return
        self.head = max(self.head, m.seq)
        if len(self.held) < HELD_MAX:
            self.held.setdefault(m.seq, (m, how))
        self.release()

    def release(self):
        while self.live and self.have + 1 in self.held:
            self.pass_on(*self.held.pop(self.have + 1))

    def pass_on(self, m, how):
        self.have = m.seq
        key = (m.sender, m.cmid)
        if m.cmid and key in self.shown:
            # The second net.  The server ought to have seen it.
            self.event('twice', m, how)
            return
        self.shown[key] = True
        if len(self.shown) > SHOWN_MAX:
            self.shown.popitem(last=False)
        self.event('deliver', m, how)
        self.show(self.other, m)

    def answer(self, reply):
        """One conversation of a sync_res.  True: ask again at once."""
        steps = [(m.seq, m.seq, m) for m in map(message,
                                                reply.get('messages', ()))]
        for _, _, m in steps:
            self.event('fetch', m)
        steps += [(int(v['from']), int(v['to']), None)
                  for v in reply.get('voids', ())]
        for first, last, m in sorted(steps, key=lambda s: s[:2]):
            if first > self.have + 1:
                break
            if last > self.have:
                self.step(last, m)
        if self.have < int(reply['next']):
            self.record('hole', self.name, seq=self.have + 1,
                        extra=int(reply['next']))
        self.held = {s: h for s, h in self.held.items() if s > self.have}
        more = bool(reply.get('more'))
        self.pending = bool(reply.get('pending')) and not more
        self.live = self.live or not more
        self.release()
        return more

    def step(self, last, m):
        if m is not None:
            self.pass_on(m, 'sync')
            return
        self.record('void', self.name, seq=self.have + 1, extra=last)
        self.have = last
