"""im_fault_figures -- how long people waited because of a fault.

A pure function of what the clients saw (im_events.py, in order of time) and of
when the fault began and ended.  All in seconds:

    silence   the longest time for which one device had messages on their way
              and got no ack
    push      the longest time from a message's ack until a device of a
              recipient, or another one of the sender, showed it
    send      recovery: from the end of the fault until the last message that
              had waited more than SLOW_S for its ack got it
    show      recovery: from the end of the fault until the last message that
              was shown more than SLOW_S after it was sent was shown

A message that has no ack is counted as waiting until `now`.  Messages that no
device ever showed are found by the checker, not here.
"""

import collections

SLOW_S = 1.0           # a wait below this is no trouble to anybody

Figures = collections.namedtuple('Figures', 'silence push send show')


def cells(result):
    """Each figure with its limit, and a mark if it is above."""
    return ['%.2f (%.1f)%s' % (v, l, '!' if v > l else '')
            for v, l in zip(result['figures'], result['limits'])]


def key(e):
    return (e.conv, e.sender, e.cmid)


def figures(events, begin, end, now):
    sent, acked = {}, {}
    shown = []
    for e in events:
        if e.kind == 'send':
            sent.setdefault(key(e), e)
        elif e.kind == 'ack':
            acked.setdefault(key(e), e)
        elif e.kind == 'deliver' and e.extra != 'ack':
            shown.append(e)
    return Figures(silence(events, begin, now), push(acked, shown, begin),
                   recovery(sent, ((k, a.time) for k, a in acked.items()),
                            end, now),
                   recovery(sent, ((key(e), e.time) for e in shown), end, 0))


def silence(events, begin, now):
    """What ended before the fault began is not its doing."""
    waiting = collections.defaultdict(set)     # device -> cmids without ack
    since = {}                                 # device -> of its silence
    seen = set()
    longest = 0
    for e in events:
        if e.kind == 'send' and key(e) not in seen:
            seen.add(key(e))
            if not waiting[e.device]:
                since[e.device] = e.time
            waiting[e.device].add(e.cmid)
        elif (e.kind in ('ack', 'error') and e.cmid in waiting[e.device]
              and (e.kind == 'ack' or not e.extra[1])):
            if e.time >= begin:
                longest = max(longest, e.time - since[e.device])
            waiting[e.device].discard(e.cmid)
            since[e.device] = e.time
    return max([longest] + [now - since[d] for d, w in waiting.items() if w])


def push(acked, shown, begin):
    return max((e.time - acked[key(e)].time for e in shown
                if key(e) in acked and e.time >= begin), default=0)


def recovery(sent, ends, end, now):
    """now: until when what has not ended is counted; 0: not at all."""
    longest, ended = 0, set()
    for k, time in ends:
        ended.add(k)
        if k in sent and time - sent[k].time > SLOW_S:
            longest = max(longest, time - end)
    if now and any(k not in ended and now - e.time > SLOW_S
                   for k, e in sent.items()):
        longest = max(longest, now - end)
    return longest
