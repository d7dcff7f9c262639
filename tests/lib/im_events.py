"""im_events -- what clients saw, as the checker wants it.

One event is one tuple; a run of 200,000 messages has more than a million of
them, so they are plain and are kept in plain lists.  `time` is of the
machine's monotonic clock, which all processes share.

    kind        fields besides time and device
    send        conv sender cmid body, extra = (connection, number of the try)
    ack         conv sender cmid seq msg_id, extra = (connection, dup)
    error       conv sender cmid, extra = (code, retryable): a refusal
    push        conv sender cmid seq msg_id body: came by itself
    fetch       likewise: came in the answer to `sync`
    deliver     likewise, extra = push, ack or sync: shown to the user
    twice       likewise: not shown, though its seq is new, because this
                (sender, cmid) had been shown
    void        conv seq, extra = last number: the server says it is nobody's
    hole        conv seq, extra = number: an answer did not say what is there
    connect     extra = (connection, instance)
    final       everybody has an ack and all is stored: the last sync begins
    disconnect  extra = (connection, close code)
    gone        conv: the user is not in this room any more

A conversation is (lower uid, higher uid) or (0, room), as in MySQL; a device
"uid/name".
"""

import collections
import json
import time
import zlib

Event = collections.namedtuple(
    'Event', 'time device kind conv sender cmid seq msg_id body extra')


def conversation(a, b):
    """Of a user with another one, or with a room."""
    if isinstance(b, tuple):
        return b
    return (a, b) if a < b else (b, a)


def body_id(body):
    """A number that tells bodies apart."""
    return zlib.crc32(json.dumps(body, sort_keys=True).encode())


class Recorder:
    """Appends the events of one device to a list."""

    def __init__(self, device, events):
        self.device = device
        self.events = events

    def __call__(self, kind, conv=None, sender=None, cmid=None, seq=None,
                 msg_id=None, body=None, extra=None):
        self.events.append(Event(time.monotonic(), self.device, kind, conv,
                                 sender, cmid, seq, msg_id, body, extra))
