"""What the campaign of faults says that people waited for, as
im_fault_figures reckons it."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), 'lib'))

from im_events import Event                        # noqa: E402
from im_fault_figures import figures               # noqa: E402


def sent(time, cmid, device='1/a'):
    return Event(time, device, 'send', (1, 2), 1, cmid, None, None, 0, (1, 1))


def acked(time, cmid, device='1/a'):
    return Event(time, device, 'ack', (1, 2), 1, cmid, 1, 1, None, (1, False))


def refused(time, cmid, again, device='1/a'):
    return Event(time, device, 'error', (1, 2), 1, cmid, None, None, None,
                 ('busy', again))


def shown(time, cmid, device='2/a', how='push'):
    return Event(time, device, 'deliver', (1, 2), 1, cmid, 1, 1, 0, how)


def test_nothing_is_waited_for_when_nothing_happens():
    events = [sent(1, 'a'), acked(1.1, 'a'), shown(1.2, 'a')]
    f = figures(events, 2, 3, 4)
    assert f == (0, 0, 0, 0)


def test_a_silence_is_that_of_one_device():
    events = [sent(10, 'a'), sent(10.5, 'b'), sent(10.6, 'c', '2/a'),
              acked(10.7, 'c', '2/a'), acked(13, 'a'), acked(13.1, 'b')]
    assert figures(events, 9, 12, 20).silence == 3


def test_who_has_nothing_on_the_way_is_not_silent():
    events = [sent(10, 'a'), acked(10.5, 'a'), sent(19, 'b'), acked(19.2, 'b')]
    assert figures(events, 9, 12, 20).silence == 0.5


def test_a_message_without_an_ack_waits_until_now():
    f = figures([sent(10, 'a'), refused(11, 'a', True)], 9, 12, 20)
    assert (f.silence, f.send) == (10, 8)


def test_a_message_that_is_refused_for_good_waits_no_longer():
    f = figures([sent(10, 'a'), refused(11, 'a', False)], 9, 12, 11)
    assert f.silence == 1


def test_a_push_is_late_after_its_ack_not_after_its_message():
    events = [sent(10, 'a'), acked(14, 'a'), shown(14.5, 'a'),
              shown(16, 'a', '2/b')]
    assert figures(events, 9, 12, 20).push == 2


def test_recovery_counts_what_had_waited_and_from_the_end():
    events = [sent(10, 'a'), acked(14, 'a'), shown(15, 'a'),
              sent(18, 'b'), acked(18.1, 'b'), shown(18.2, 'b')]
    f = figures(events, 9, 12, 20)
    assert (f.send, f.show) == (2, 3)


def test_who_waited_only_while_it_lasted_needs_no_recovery():
    events = [sent(10, 'a'), acked(11.5, 'a'), shown(11.6, 'a')]
    f = figures(events, 9, 12, 20)
    assert (f.send, f.show) == (0, 0)
