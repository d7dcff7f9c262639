"""The checker sees what is wrong, and nothing else.

A history of a few messages between two users, one with two devices; each test
plants one fault into it.
"""

import itertools

import pytest

from im_checker import Row, check
from im_events import Event

ALICE, BOB = 1, 2
CONV = (ALICE, BOB)
DEVICES = ('1/phone', '2/phone', '2/desk')


class History:

    def __init__(self):
        self.clock = itertools.count(1)
        self.events = []
        self.rows = []

    def see(self, device, kind, cmid=None, seq=None, extra=None,
            sender=ALICE, **other):
        fields = dict(time=next(self.clock), device=device, kind=kind,
                      conv=CONV, sender=sender, cmid=cmid, seq=seq,
                      msg_id=None if seq is None else 100 + seq,
                      body=None if cmid is None else hash(cmid), extra=extra)
        fields.update(other)
        self.events.append(Event(**fields))

    def write(self, cmid, times=1):
        for n in range(times):
            self.see('1/phone', 'send', cmid, extra=(1, n + 1))

    def ack(self, cmid, seq, dup=False, **other):
        self.see('1/phone', 'ack', cmid, seq, (1, dup), **other)

    def arrive(self, cmid, seq, devices=DEVICES[1:], **other):
        for d in devices:
            self.see(d, 'push', cmid, seq, **other)
            self.see(d, 'deliver', cmid, seq, 'push', **other)

    def row(self, cmid, seq, sender=ALICE, **other):
        self.rows.append(Row(CONV, seq, 100 + seq, sender, cmid)
                         ._replace(**other))

    def whole(self, cmid, seq):
        """A message as it ought to be."""
        self.write(cmid)
        self.ack(cmid, seq)
        self.see('1/phone', 'deliver', cmid, seq, 'ack')
        self.arrive(cmid, seq)
        self.row(cmid, seq)

    def void(self, first, last, devices=DEVICES):
        for d in devices:
            self.see(d, 'void', seq=first, extra=last, msg_id=None)

    def drop(self, kind, device, seq):
        self.events = [e for e in self.events
                       if (e.kind, e.device, e.seq) != (kind, device, seq)]

    def kinds(self, complete=DEVICES):
        report = check(self.events, self.rows, complete, seed=7)
        assert 'seed 7' in report.text()
        return report.kinds()


@pytest.fixture
def history():
    """m1 to m5 under 1, 2, 3, 6, 7; 4 and 5 are void; m6 has no answer."""
    h = History()
    for n in (1, 2, 3):
        h.whole('m%d' % n, n)
    h.void(4, 5)
    h.write('m4', times=2)
    h.ack('m4', 6)
    h.ack('m4', 6, dup=True)
    h.see('1/phone', 'deliver', 'm4', 6, 'ack')
    h.arrive('m4', 6)
    h.row('m4', 6)
    h.whole('m5', 7)
    h.write('m6')
    return h


def test_a_good_history_passes(history):
    report = check(history.events, history.rows, DEVICES)
    assert report.good(), report.text()
    assert report.counts['sent'] == 6 and report.counts['acked'] == 5
    assert len(report.ack_ms) == 4 and len(report.push_ms) == 8


def test_what_only_the_last_sync_brought_is_told(history):
    history.see('2/desk', 'final')
    history.see('1/phone', 'deliver', 'm6', 8, 'sync')
    history.arrive('m6', 8)
    history.row('m6', 8)
    report = check(history.events, history.rows, DEVICES)
    assert report.good() and [e.seq for e in report.late] == [8]
    assert '1 shown only after the last sync' in report.text()


def test_what_has_no_answer_may_have_been_taken(history):
    history.see('1/phone', 'deliver', 'm6', 8, 'sync')
    history.arrive('m6', 8)
    history.row('m6', 8)
    assert history.kinds() == set()


def test_a_missing_row_is_caught(history):
    del history.rows[1]
    assert history.kinds() == {'lost'}


def test_a_row_under_another_message_is_caught(history):
    history.rows[1] = history.rows[1]._replace(msg_id=999)
    assert {'lost', 'conflict'} <= history.kinds()


def test_a_message_that_one_device_lacks_is_caught(history):
    history.drop('deliver', '2/desk', 7)
    assert history.kinds() == {'undelivered'}


def test_a_device_that_is_away_at_the_end_may_lack_the_last(history):
    history.drop('deliver', '2/desk', 7)
    assert history.kinds(complete=DEVICES[:2]) == set()


def test_a_stored_message_without_ack_must_reach_all_too(history):
    history.row('m6', 8)
    assert history.kinds() == {'undelivered'}


def test_a_gap_without_void_is_caught(history):
    history.events = [e for e in history.events
                      if (e.kind, e.device) != ('void', '2/desk')]
    assert history.kinds() == {'gap'}


def test_a_message_shown_twice_is_caught(history):
    history.see('2/desk', 'deliver', 'm5', 7, 'sync')
    assert {'doubled', 'unordered'} <= history.kinds()


def test_one_cmid_under_two_numbers_is_caught(history):
    history.row('m5', 8)
    assert 'doubled' in history.kinds()


def test_what_the_clients_second_net_caught_is_told(history):
    history.see('2/desk', 'twice', 'm5', 8, 'push')
    assert 'doubled' in history.kinds()


def test_a_double_row_is_caught(history):
    history.rows.append(history.rows[2])
    assert 'doubled' in history.kinds()


def test_showing_out_of_order_is_caught(history):
    at = [n for n, e in enumerate(history.events)
          if (e.kind, e.device) == ('deliver', '2/desk')]
    a, b = history.events[at[0]], history.events[at[1]]
    history.events[at[0]] = a._replace(time=b.time)
    history.events[at[1]] = b._replace(time=a.time)
    assert history.kinds() == {'unordered', 'gap'}


def test_a_foreign_message_is_caught(history):
    history.arrive('alien', 8)
    assert history.kinds() == {'foreign'}


def test_a_foreign_row_is_caught(history):
    history.row('alien', 8)
    assert history.kinds() == {'foreign', 'undelivered'}


def test_another_body_is_caught(history):
    history.see('2/desk', 'push', 'm5', 7, body=1)
    assert history.kinds() == {'foreign'}


def test_a_void_that_holds_a_message_is_caught(history):
    history.void(7, 9, devices=('1/phone',))
    assert history.kinds() == {'void'}


def test_a_void_of_a_million_numbers_is_looked_through(history):
    history.void(8, 8 + 2 ** 40)
    assert history.kinds() == set()
    history.void(7, 7 + 2 ** 40)
    assert history.kinds() == {'void'}


def test_two_msg_ids_for_one_number_are_caught(history):
    history.see('2/desk', 'push', 'm5', 7, msg_id=999)
    assert 'conflict' in history.kinds()


def test_two_acks_that_differ_are_caught(history):
    history.ack('m4', 6, dup=True, msg_id=999)
    assert 'conflict' in history.kinds()


def test_numbers_against_the_order_of_sending_are_caught():
    h = History()
    h.write('m1')
    h.write('m2')
    for cmid, seq in (('m2', 1), ('m1', 2)):
        h.ack(cmid, seq)
        h.see('1/phone', 'deliver', cmid, seq, 'ack')
        h.arrive(cmid, seq)
        h.row(cmid, seq)
    assert h.kinds() == {'misnumbered'}


def test_a_retried_message_may_be_numbered_later():
    h = History()
    h.write('m1', times=2)
    h.write('m2')
    for cmid, seq in (('m2', 1), ('m1', 2)):
        h.ack(cmid, seq)
        h.see('1/phone', 'deliver', cmid, seq, 'ack')
        h.arrive(cmid, seq)
        h.row(cmid, seq)
    assert h.kinds() == set()


def test_a_refusal_for_good_is_told(history):
    history.see('1/phone', 'error', 'm6', extra=('busy', True))
    assert history.kinds() == set()
    history.see('1/phone', 'error', 'm6', extra=('internal', False))
    assert history.kinds() == {'refused'}


def test_an_answer_with_a_hole_is_told(history):
    history.see('2/desk', 'hole', seq=8, extra=12, msg_id=None)
    assert history.kinds() == {'hole'}


def test_only_the_first_violations_are_printed_whole():
    h = History()
    for n in range(1, 200):
        h.row('alien', n)
    text = check(h.events, h.rows, (), seed=7).text()
    assert '397 violations' in text and len(text.splitlines()) < 250


# Rooms.

ROOM = (0, 9)


@pytest.fixture
def room():
    """m1 of Alice in a room with Bob."""
    h = History()
    h.write('m1')
    h.ack('m1', 1)
    h.see('1/phone', 'deliver', 'm1', 1, 'ack')
    h.arrive('m1', 1)
    h.row('m1', 1, conv=ROOM)
    h.events = [e._replace(conv=ROOM) for e in h.events]
    return h


def kinds(h, members, complete=DEVICES):
    return check(h.events, h.rows, complete,
                 rooms={ROOM: set(members)}).kinds()


def test_a_good_history_of_a_room_passes(room):
    assert kinds(room, (ALICE, BOB)) == set()


def test_a_member_without_the_message_is_caught(room):
    assert kinds(room, (ALICE, BOB, 3), DEVICES + ('3/phone',)) == {
        'undelivered'}


def test_an_outsider_who_sees_a_message_is_caught(room):
    room.see('3/phone', 'fetch', 'm1', 1, conv=ROOM)
    assert kinds(room, (ALICE, BOB)) == {'leak'}


def test_an_outsider_who_is_stored_is_caught(room):
    assert kinds(room, (BOB,)) == {'row', 'leak'}
