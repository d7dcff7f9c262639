"""A fault that goes wrong hides nothing: neither what the other faults gave,
nor why.

tests/fault/campaign with made-up faults, and the part `faults` of tests/run
with a made-up campaign.
"""

import asyncio
import importlib.machinery
import importlib.util
import json
import math
import os
import sys
import time
import types

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(TOP, 'tools'), os.path.join(TOP, 'tests/lib')]

from im_checker import Report  # noqa: E402
from im_events import Event  # noqa: E402
from im_fault_cast import Cast  # noqa: E402
from im_fault_kinds import SELECTION, Fault, faults  # noqa: E402
from im_run import Run  # noqa: E402
from im_wait import pace, pause  # noqa: E402


def load(name):
    loader = importlib.machinery.SourceFileLoader(
        'campaign', os.path.join(TOP, name))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader('campaign', loader))
    loader.exec_module(module)
    return module


campaign = load('tests/fault/campaign')
GOOD = {'good': True, 'figures': [0, 0, 0, 0], 'limits': [1, 1, 1, 1],
        'violations': 0, 'messages': 1, 'shown': 1, 'report': ''}


class Damage:
    """A stack on which everything answers."""

    name = 'made-up'

    def until_answers(self, *names):
        pass

    everything = daemons = lambda *_: []

    def log(self, name):
        return '/nowhere/' + name

    def address(self, name):
        return '127.0.0.1:1'

    def processes(self):
        return {'nginx': {'statename': 'FATAL', 'description': 'gave up'}}


class Campaign(campaign.Campaign):

    def __init__(self, o, acts):
        self.acts = acts
        self.anew = []
        super().__init__(o)

    async def acted(self, fault, cast, seed):
        return {**GOOD, **(await self.acts[fault.name]() or {})}

    def start_anew(self, fault):
        self.anew.append(fault)


@pytest.fixture
def run_campaign(tmp_path, monkeypatch):
    monkeypatch.setenv('IM_STACK_NAME', 'made-up')
    monkeypatch.setattr(campaign, 'Damage', lambda name: Damage())
    monkeypatch.setattr(campaign, 'Cast', lambda *_: None)
    monkeypatch.setattr(campaign, 'LEAST_S', 0.01)

    def go(each=10, seconds_all=math.inf, **acts):
        o = types.SimpleNamespace(
            seed=1, each=each, seconds_all=seconds_all,
            json=str(tmp_path / 'out.json'), faults=[
                types.SimpleNamespace(name=n, before=None, after=None)
                for n in acts])
        c = Campaign(o, acts)
        good = asyncio.run(c.run())
        with open(o.json) as f:
            return good, {r['fault']: r for r in json.load(f)}, c.anew
    return go


async def passes():
    pass


async def hangs():
    await pace(60)


async def breaks():
    raise ValueError('no such thing')


def test_a_fault_that_hangs_ends_with_its_time_and_the_next_one_is_run(
        run_campaign):
    good, rows, anew = run_campaign(each=0.2, a=passes, b=hangs, c=passes)
    assert not good
    assert [r['good'] for r in rows.values()] == [True, False, True]
    assert 'not over within' in rows['b']['broken']
    assert anew == ['b']


def test_a_program_that_waits_in_a_thread_ends_before_the_next_fault(
        run_campaign):
    order = []

    def slow():
        pause(0.3)
        order.append('slow has ended')

    async def thread():
        await c[0].do(slow)

    async def after():
        await c[0].do(order.append, 'next')

    c = []
    remember = Campaign.__init__

    def init(self, *args):
        remember(self, *args)
        c.append(self)

    Campaign.__init__ = init
    try:
        run_campaign(each=0.1, a=thread, b=passes, c=after)
    finally:
        Campaign.__init__ = remember
    assert order == ['slow has ended', 'next']


def test_an_error_that_nobody_expected_is_the_result_of_its_fault_only(
        run_campaign):
    good, rows, _ = run_campaign(a=breaks, b=passes)
    assert 'ValueError' in rows['a']['broken'] and rows['b']['good']


def test_what_is_left_when_the_time_is_over_has_failed_by_name(run_campaign):
    async def takes():
        await pace(0.3)

    good, rows, _ = run_campaign(seconds_all=0.3, a=takes, b=passes)
    assert not good
    assert rows['b']['broken'] == 'no time was left for it'


def test_results_are_there_while_the_next_fault_is_run(run_campaign, tmp_path):
    seen = []

    async def looks():
        seen.extend(json.loads((tmp_path / 'out.json').read_text()))

    run_campaign(a=passes, b=looks)
    assert [r['fault'] for r in seen] == ['a']


def test_a_failure_comes_with_what_the_programs_say(run_campaign, capsys):
    async def bad():
        return {'good': False, 'violations': 1, 'report': 'a trouble'}

    run_campaign(a=bad)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1].startswith('a ')           # the row itself comes first
    assert lines[2] == 'a trouble'
    assert 'nginx: FATAL, gave up' in lines
    assert any(line.startswith('nginx: GET /readyz: 0') for line in lines)


# What ends a connection.


class Quiet:
    """A cast of nobody, two of whose connections end."""

    events, talkers = [], []
    start = close = lambda self: pace(0)
    begin_new_talks = lambda self: None
    lateness = lambda self, begin: 0
    cut = Cast.cut

    async def finish(self):
        return []

    async def report(self, troubles):
        r = Report()
        for text in troubles:
            r.add('trouble', text)
        return r


def ended(time, code):
    return Event(time, '1/a', 'disconnect', *[None] * 6, (1, code))


@pytest.mark.parametrize('cuts, good', [(False, False), (True, True)])
def test_a_connection_ends_only_by_what_is_done_to_nginx(
        monkeypatch, cuts, good):
    for name in ('BEFORE_S', 'CALM_S'):
        monkeypatch.setattr(campaign, name, 0)
    monkeypatch.setenv('IM_STACK_NAME', 'made-up')
    monkeypatch.setattr(campaign, 'Damage', lambda name: Damage())
    cast = Quiet()
    now = time.monotonic()
    # The first one ends before the fault.
    cast.events = [ended(now - 1, 1006), ended(now + 60, 4002),
                   ended(now + 61, 4002)]
    fault = Fault('made-up', '', lambda d, s: time.monotonic(), 1, 1,
                  cuts=cuts)
    c = campaign.Campaign(types.SimpleNamespace(seconds=0, slack=0))
    r = asyncio.run(c.acted(fault, cast, 1))
    assert r['good'] == good
    assert good or '2 connections ended with code 4002' in r['report']


def test_only_what_is_done_to_nginx_may_end_a_connection():
    assert {f.name for f in faults() if f.cuts} == {
        'kill-worker', 'freeze-worker', 'reload', 'everything', 'mix-1',
        'mix-2'}


# tests/run.

# Takes the place of tools/stack: writes what FIRST, or SECOND, names as good.
STACK = '''
import json, sys
args = sys.argv
path = args[args.index('--json') + 1]
names = %r if '--selection' in args else %r
rows = [{'fault': n, 'good': True} for n in names]
rows += %r if '--selection' in args else []
json.dump(rows, open(path, 'w'))
print('the campaign was killed')
sys.exit(1)
'''


@pytest.fixture
def run_part(tmp_path):
    def go(first, second, more=()):
        for name in ('tests/e2e', 't', 'tools'):
            os.makedirs(tmp_path / name)
        (tmp_path / 'tools/stack').write_text(
            STACK % (list(first), list(second), list(more)))
        run = Run(str(tmp_path))
        run.stop = lambda: None
        return run.all(['faults']), run.report
    return go


def test_a_fault_without_a_result_is_run_again_by_its_name(run_part, capsys):
    code, report = run_part(SELECTION[:-1], SELECTION[-1:])
    assert code == 0
    assert report.flaky == [('fault ' + SELECTION[-1],
                             'no result, exit code 1: the campaign was '
                             'killed')]
    assert capsys.readouterr().out.splitlines()[-1] == '%d passed, 0 failed' \
        % len(SELECTION[:-1])


def test_two_that_fail_twice_are_named_with_the_reason_at_the_end(run_part,
                                                                  capsys):
    bad = {'fault': SELECTION[0], 'good': False, 'figures': [9, 1, 0, 0],
           'limits': [2, 2, 5, 5], 'violations': 1,
           'report': '3 sent\n1 violations: 1 trouble\n  trouble: d1 waits',
           'state': ['logic-1: GET /readyz: 503 {"missing":"kafka"}',
                     '==== logic-1.log', 'it went wrong here']}
    code, report = run_part(SELECTION[2:], [], [bad])
    out = capsys.readouterr().out
    assert code == 1
    assert 'it went wrong here' in out
    end = out[out.index('FAILED fault'):].splitlines()
    assert len(end) < 40
    assert end[:4] == [
        'FAILED fault ' + SELECTION[0],
        '    silence 9.00 (2.0)!, push 1.00 (2.0), send 0.00 (5.0), '
        'show 0.00 (5.0), 1 violations',
        '      trouble: d1 waits',
        '    logic-1: GET /readyz: 503 {"missing":"kafka"}']
    assert 'FAILED fault ' + SELECTION[1] in end


def test_where_nothing_has_a_result_the_run_fails(run_part):
    code, report = run_part([], [])
    assert code == 1 and report.failed == len(SELECTION)
