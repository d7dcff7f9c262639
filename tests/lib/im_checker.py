"""im_checker -- was every promise kept?

A pure function of what the clients saw (im_events.py) and of the rows in
MySQL.  Nothing of it knows how the server works; what it checks is what
docs/protocol.md promises:

    lost          acked, but not in MySQL
    undelivered   acked, but not shown on a device of the two users, or of a
                  member of the room
    doubled       one (sender, cmid) in two rows, or shown twice on a device
    unordered     shown after a higher number of its conversation
    gap           a number was stepped over that nobody had called void
    void          a number was called void and holds a message
    conflict      one number, two messages; one message, two numbers
    foreign       a message that nobody sent, or with another body
    misnumbered   one connection's messages are not in the order of sending
    refused       a refusal that is not retryable
    hole          an answer to sync did not say what is at a number
    trouble       the run itself went wrong (im_hunt.py)
    row           a row whose sender is not of the conversation, and the like
    leak          a device has seen something of a conversation that its user
                  is not in

A violation comes with the events that show it.  History of devices that are
not in `complete` may end early: what they miss is in MySQL, and so is there
to be fetched.
"""

import collections
import itertools

SHOWN = 20             # violations that are printed with their events

Row = collections.namedtuple('Row', 'conv seq msg_id sender cmid')
Violation = collections.namedtuple('Violation', 'kind text events')


class Report:

    def __init__(self, seed=None):
        self.seed = seed
        self.violations = []
        self.counts = collections.Counter()
        self.ack_ms = []           # send to ack, of what was sent once
        self.push_ms = []          # send to each push, likewise
        self.late = []             # shown only after the last sync began
        self.late_s = 0            # how long after
        self.behind_s = None       # after the last fault, until all was shown
        self.seconds = 0

    def add(self, kind, text, *events):
        self.violations.append(Violation(kind, text, events))

    def good(self):
        return not self.violations

    def kinds(self):
        return {v.kind for v in self.violations}

    def text(self):
        c = self.counts
        lines = ['%d messages sent, %d acked, %d rows, %d shown, %d pushed, '
                 '%d fetched' % (c['sent'], c['acked'], c['rows'],
                                 c['deliver'], c['push'], c['fetch']),
                 '%d tries again, %d acks as dup, %d retryable refusals, '
                 '%d numbers void, %d connections of %d devices' % (
                     c['send'] - c['sent'], c['dup'], c['again'],
                     c['voids'], c['connect'], c['devices'])]
        if c['final']:
            # Neither pushed nor asked for before: a push was lost and no
            # later one has shown the gap.
            lines.append('%d shown only after the last sync, within %.1f s'
                         % (len(self.late), self.late_s))
            lines += ['      %s' % line(e) for e in self.late[:5]]
        if self.behind_s is not None:
            lines.append('every device had everything %.1f s after the last '
                         'fault' % max(self.behind_s, 0))
        if self.seconds:
            lines.append('%.0f messages a second for %.1f s' % (
                c['sent'] / self.seconds, self.seconds))
        for name, ms in (('ack', self.ack_ms), ('push', self.push_ms)):
            if ms:
                lines.append('%s: p50 %.1f ms, p99 %.1f ms, longest %.1f ms'
                             % ((name,) + percentiles(ms)))
        lines.append('%d violations%s%s' % (
            len(self.violations),
            '' if self.good() else ': ' + ', '.join(
                '%d %s' % (n, k) for k, n in collections.Counter(
                    v.kind for v in self.violations).most_common()),
            '' if self.seed is None else '; seed %s' % self.seed))
        # Of a device that has stopped, thousands are undelivered: its trouble
        # says why.
        for v in sorted(self.violations,
                        key=lambda v: v.kind != 'trouble')[:SHOWN]:
            lines.append('  %s: %s' % (v.kind, v.text))
            lines += ['      %s' % line(e) for e in v.events[:8]]
        return '\n'.join(lines)


def percentiles(ms):
    ms = sorted(ms)
    return tuple(ms[min(int(len(ms) * q), len(ms) - 1)]
                 for q in (0.5, 0.99, 1))


def line(e):
    if isinstance(e, Row):
        return 'row %s' % (tuple(e),)
    return '%.6f %s %s %s' % (e.time, e.device, e.kind, ' '.join(
        '%s=%s' % (k, v) for k, v in zip(e._fields[3:], e[3:])
        if v is not None))


class Checker:

    def __init__(self, events, rows, complete, seed=None, rooms=None):
        self.report = Report(seed)
        self.events = sorted(events, key=lambda e: e.time)
        self.rows = [r if isinstance(r, Row) else Row(*r) for r in rows]
        self.complete = complete
        self.rooms = rooms or {}   # (0, room) -> uids of its members
        self.sends = collections.defaultdict(list)   # (conv, sender, cmid)
        self.acks = collections.defaultdict(list)
        self.shown = collections.defaultdict(list)   # (device, conv)
        self.voids = collections.defaultdict(list)
        self.final = {}            # device -> when its last sync began
        self.named = {}            # (conv, seq) -> (msg_id, who said so)

    def bad(self, kind, text, *events):
        self.report.add(kind, text, *events)

    def users(self, conv):
        return self.rooms.get(conv, ()) if conv[0] == 0 else conv

    def run(self):
        self.sort_out()
        self.check_rows()
        self.check_acks()
        self.check_numbers()
        self.check_sources()
        self.check_order_of_sending()
        for (device, conv), shown in self.shown.items():
            self.check_device(device, conv, shown)
        self.check_complete()
        self.check_voids()
        self.figures()
        return self.report

    def sort_out(self):
        counts = self.report.counts
        for e in self.events:
            counts[e.kind] += 1
            if e.kind == 'send':
                self.sends[e.conv, e.sender, e.cmid].append(e)
            elif e.kind == 'ack':
                counts['dup'] += e.extra[1]
                self.acks[e.conv, e.sender, e.cmid].append(e)
            elif e.kind == 'final':
                self.final[e.device] = e.time
            elif e.kind in ('deliver', 'twice'):
                if e.device in self.final:
                    self.report.late.append(e)
                    self.report.late_s = max(self.report.late_s, e.time -
                                             self.final[e.device])
                self.shown[e.device, e.conv].append(e)
            elif e.kind == 'void':
                counts['voids'] += e.extra - e.seq + 1
                self.voids[e.device, e.conv].append(e)
            elif e.kind == 'hole':
                self.bad('hole', '%s: an answer moves the cursor of %s from '
                         '%d to %d without saying why' % (
                             e.device, e.conv, e.seq - 1, e.extra), e)
            elif e.kind == 'error':
                counts['again'] += e.extra[1]
                if not e.extra[1]:
                    self.bad('refused', '%s: %s' % (e.device, e.extra[0]), e)
            if e.kind == 'twice':
                self.bad('doubled', '%s was given %s of %s under a second '
                         'number' % (e.device, e.cmid, e.sender), e)

    # MySQL.

    def check_rows(self):
        self.row = {}              # (conv, seq) -> Row
        self.stored = {}           # (conv, sender, cmid) -> Row
        ids = {}
        for r in self.rows:
            for seen, key in ((self.row, (r.conv, r.seq)),
                              (self.stored, (r.conv, r.sender, r.cmid)),
                              (ids, r.msg_id)):
                if key in seen and key != (r.conv, r.sender, ''):
                    self.bad('doubled', 'two rows for %s' % (key,),
                             seen[key], r)
                seen[key] = r
            if r.sender not in self.users(r.conv) or r.seq < 1:
                self.bad('row', 'a row that cannot be', r)
            if (r.conv, r.sender, r.cmid) not in self.sends:
                self.bad('foreign', 'a row of a message that nobody sent', r)

    def check_acks(self):
        for key, acks in self.acks.items():
            first = acks[0]
            if key not in self.sends:
                self.bad('foreign', 'an ack of %s that nobody sent'
                         % (key,), first)
            for e in acks[1:]:
                if (e.seq, e.msg_id) != (first.seq, first.msg_id):
                    self.bad('conflict', 'two acks of %s name two messages'
                             % (key,), first, e)
            r = self.row.get((first.conv, first.seq))
            if r is None or r.msg_id != first.msg_id:
                self.bad('lost', 'acked, but its row is %s' % (
                    r if r is None else tuple(r),),
                    *self.sends.get(key, ())[:3], first)
            elif (r.sender, r.cmid) != key[1:]:
                self.bad('row', 'acked, but stored as of another',
                         first, r)

    # What everybody was told of a number.

    def check_numbers(self):
        numbers = {}               # msg_id -> (conv, seq)
        told = itertools.chain(
            ((e, e.conv, e.seq, e.msg_id) for e in self.events
             if e.kind in ('ack', 'push', 'fetch', 'deliver', 'twice')),
            ((r, r.conv, r.seq, r.msg_id) for r in self.rows))
        for who, conv, seq, msg_id in told:
            known = self.named.setdefault((conv, seq), (msg_id, who))
            if known[0] != msg_id:
                self.bad('conflict', 'number %d of %s is two messages'
                         % (seq, conv), known[1], who)
            place = numbers.setdefault(msg_id, (conv, seq, who))
            if place[:2] != (conv, seq):
                self.bad('conflict', 'message %d has two numbers' % msg_id,
                         place[2], who)

    def check_sources(self):
        for e in self.events:
            if e.kind not in ('push', 'fetch', 'deliver', 'twice'):
                continue
            sends = self.sends.get((e.conv, e.sender, e.cmid))
            if int(e.device.split('/')[0]) not in self.users(e.conv):
                self.bad('leak', '%s has seen a message of %s' % (
                    e.device, e.conv), e)
            if not sends:
                self.bad('foreign', 'a message that nobody sent', e)
            elif all(s.body != e.body for s in sends):
                self.bad('foreign', 'not the body that was sent', sends[0],
                         e)

    def check_order_of_sending(self):
        """Of what was sent once and acked on the same connection."""
        last = {}
        once = (s[0] for s in self.sends.values() if len(s) == 1)
        for s in sorted(once, key=lambda e: e.time):
            acks = self.acks.get((s.conv, s.sender, s.cmid))
            if not acks or s.extra is None or acks[0].extra[1] or (
                    acks[0].device, acks[0].extra[0]) != (
                    s.device, s.extra[0]):
                continue
            key = (s.device, s.extra[0], s.conv)
            before = last.get(key)
            if before is not None and before[1].seq >= acks[0].seq:
                self.bad('misnumbered', 'sent later, numbered lower',
                         *before, s, acks[0])
            last[key] = (s, acks[0])

    # What each device showed.

    def check_device(self, device, conv, shown):
        void = sorted((e.seq, e.extra) for e in self.voids[device, conv])
        ids, cmids, have = {}, {}, 0
        for e in shown:
            if e.seq <= have:
                self.bad('unordered', '%s: %d of %s after %d' % (
                    device, e.seq, conv, have), e)
            elif not covered(have + 1, e.seq - 1, void):
                self.bad('gap', '%s stepped from %d to %d of %s' % (
                    device, have, e.seq, conv), e)
            have = max(have, e.seq)
            for seen, key in ((ids, e.msg_id), (cmids, (e.sender, e.cmid))):
                if key in seen and (key != (e.sender, '')
                                    and e.kind == 'deliver'):
                    self.bad('doubled', '%s showed %s twice' % (device, key),
                             seen[key], e)
                seen[key] = e

    def check_complete(self):
        """Acked is shown on all devices of all; so is what is stored."""
        devices = collections.defaultdict(list)
        for d in sorted(self.complete):
            devices[int(d.split('/')[0])].append(d)
        have = {key: {e.msg_id for e in shown}
                for key, shown in self.shown.items()}
        must = {r.msg_id: (r.conv, r) for r in self.rows}
        for acks in self.acks.values():
            must.setdefault(acks[0].msg_id, (acks[0].conv, acks[0]))
        for msg_id, (conv, why) in must.items():
            if conv is None:
                continue           # check_acks has told of it
            for uid in set(self.users(conv)):
                for d in devices[uid]:
                    if msg_id not in have.get((d, conv), ()):
                        self.bad('undelivered', '%s does not have message '
                                 '%d' % (d, msg_id), why)

    def check_voids(self):
        for (device, conv), voids in self.voids.items():
            for e in voids:
                # Skips may be a million numbers wide.
                taken = self.taken(conv, e.seq, e.extra)
                if taken:
                    self.bad('void', '%s was told that %d of %s is void' % (
                        device, taken[0], conv), e,
                        self.named[conv, taken[0]][1])

    def taken(self, conv, first, last):
        if not hasattr(self, 'seqs'):
            self.seqs = collections.defaultdict(set)
            for c, seq in self.named:
                self.seqs[c].add(seq)
        if last - first < len(self.seqs[conv]):
            return [n for n in range(first, last + 1)
                    if n in self.seqs[conv]]
        return sorted(n for n in self.seqs[conv] if first <= n <= last)

    def figures(self):
        r = self.report
        r.counts.update(sent=len(self.sends), acked=len(self.acks),
                        rows=len(self.rows),
                        devices=len({e.device for e in self.events
                                    if e.kind == 'connect'}))
        first = {k: s[0].time for k, s in self.sends.items()}
        once = {k for k, s in self.sends.items() if len(s) == 1}
        for k, acks in self.acks.items():
            if k in once:
                r.ack_ms.append(1000 * (acks[0].time - first[k]))
        for e in self.events:
            k = (e.conv, e.sender, e.cmid)
            if e.kind == 'push' and k in once:
                r.push_ms.append(1000 * (e.time - first[k]))
        if first:
            ends = [a[0].time for a in self.acks.values()]
            r.seconds = max(ends, default=0) - min(first.values())


def covered(first, last, ranges):
    """Whether each number from first to last is in one of the ranges."""
    for a, b in ranges:
        if first > last:
            break
        if a <= first <= b:
            first = b + 1
    return first > last


def check(events, rows, complete, seed=None, rooms=None):
    """The Report.  rows: (conv, seq, msg_id, sender, cmid); complete: the
    devices that had every chance to learn all; rooms: (0, room) -> uids."""
    return Checker(events, rows, complete, seed, rooms).run()
