"""options -- numbers of command lines, and the end by a signal."""

import argparse
import signal


def numbers(kind, low, high):
    def parse(text):
        values = [kind(v) for v in text.split(',')]
        if not values or not all(low <= v <= high for v in values):
            raise argparse.ArgumentTypeError('%s is not %g to %g'
                                             % (text, low, high))
        return values
    return parse


def number(kind, low, high):
    def parse(text):
        values = numbers(kind, low, high)(text)
        if len(values) != 1:
            raise argparse.ArgumentTypeError('one number')
        return values[0]
    return parse


stopping = False


def interrupted(signum, frame):
    global stopping
    # Once: the stack must still be stopped in order.
    if not stopping:
        stopping = True
        raise SystemExit(128 + signum)


def end_in_order():
    """What was started is stopped when one of these signals comes."""
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, interrupted)
