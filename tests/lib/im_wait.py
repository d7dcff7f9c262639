"""im_wait -- how tests wait: for an event, with a deadline.

No other file of tests/ sleeps (tools/lint counts).  Whoever waits for an event
names it, and is told so if it does not happen:

    await until(true, 'what happens', 20)   looks for it again and again
    wait_until(true, 'what happens', 20)    likewise, in a test without a loop
    for _ in tries('what happens', 20):     the same for what needs statements:
        ...                                 `break` or `return` ends it
    async for _ in tries(...)

Where time itself is what the test is about:

    await stays(true, 'what is so', 3)      it is so, and stays so for so long
    await lasts(7)                          an outage or a silence, so long
    await pace(0.01)                        between two messages of a talk
"""

import asyncio
import inspect
import time

PAUSE_S = 0.05                     # between two looks


class tries:
    """Each pass of the loop is one look.  what: words, or what makes them when
    the time is over."""

    def __init__(self, what, seconds=30, pause=PAUSE_S):
        self.what = what
        self.pause = pause
        self.end = time.monotonic() + seconds

    def check(self):
        assert time.monotonic() < self.end, (
            self.what() if callable(self.what) else self.what)

    def __iter__(self):
        while True:
            yield
            self.check()
            time.sleep(self.pause)

    async def __aiter__(self):
        while True:
            yield
            self.check()
            await asyncio.sleep(self.pause)


async def value(true):
    found = true()
    return await found if inspect.isawaitable(found) else found


async def until(true, what, seconds=30, pause=PAUSE_S):
    """What it gives, once that is true.  true: a function or a coroutine
    function."""
    async for _ in tries(what, seconds, pause):
        found = await value(true)
        if found:
            return found


def wait_until(true, what, seconds=30, pause=PAUSE_S):
    for _ in tries(what, seconds, pause):
        found = true()
        if found:
            return found


async def stays(true, what, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert await value(true), what() if callable(what) else what
        await asyncio.sleep(PAUSE_S)


def goes_on(true, what, seconds):
    """stays(), in a test without a loop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert true(), what() if callable(what) else what
        time.sleep(PAUSE_S)


lasts = pace = asyncio.sleep
pause = time.sleep                 # both, in a test without a loop
