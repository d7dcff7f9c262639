"""bench/vs: which stack is measured when, and what becomes of one that fails.

Stacks and loads are replaced by ones that only note what they are asked."""

import json
import os
import sys
import types

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), 'lib'))

import im_tool                                        # noqa: E402

P99 = {'this': 24000, 'base': 11000}     # the highest rates that pass


@pytest.fixture
def vs(tmp_path, monkeypatch):
    tool = im_tool.load('bench/vs')
    noted, broken = [], {}

    class Stack:
        def __init__(self, o, top=None):
            self.name, self.top = o.stack, top

        def start(self):
            noted.append('start ' + self.name)
            if noted.count('start ' + self.name) == broken.get(self.name):
                raise tool.Problem('the stack does not start')

        def stop(self):
            noted.append('stop ' + self.name)

    class Bench(tool.Bench):
        def __init__(self, o, stack=None):
            super().__init__(o, stack or types.SimpleNamespace(name='none'))
            self.out = str(tmp_path)

        def load(self, rate, warmup, connections=None, seconds=None):
            side = self.stack.name[3:]
            noted.append('%s %g' % (side, rate))
            passed = rate <= P99[side]
            return {'rate': rate, 'seconds': 10, 'window_acked': rate * 10,
                    'receive_p50_ms': 1.5, 'receive_p99_ms': 20 + passed,
                    'cpu_us_per_msg': {'this': 40, 'base': 100}[side],
                    'cpu_us_per_msg_by_process': {'nginx': 20},
                    'skipped': 0, 'lost': 0, 'cores_busy': 1,
                    'cores_of_others': 0, 'passed': passed}

        def show(self, r):
            pass

    monkeypatch.setattr(tool, 'Stack', Stack)
    monkeypatch.setattr(tool, 'Bench', Bench)
    monkeypatch.setattr(tool.base, 'commit_of', lambda name: name * 5)
    monkeypatch.setattr(tool.base, 'prepare', lambda commit: '/base')
    monkeypatch.setattr(tool.floor, 'measure', lambda *of: {
        'cpu_us_per_msg': 16.0})

    def run(figures, base='1a2b3c4d'):
        o = types.SimpleNamespace(base=base, pairs=3, warm=5, seconds=10,
                                  figures=tool.figures.chosen(figures))
        code = tool.Versus(o).all()
        with open(tmp_path / 'vs.json') as f:
            return code, json.load(f)

    run.noted, run.broken, run.tool = noted, broken, tool
    return run


def test_both_stacks_run_in_turn_each_warmed_and_alone(vs):
    code, out = vs('cpu_ratio_1k')
    one = ['start vs-%s', '%s 5000', '%s 1000', 'stop vs-%s']
    assert vs.noted == [line % side for side in (
        'base', 'this', 'this', 'base', 'base', 'this') for line in one]
    assert (code, out['cpu_ratio_1k'], out['complete']) == (0, 0.4, True)
    assert len(out['figures']['cpu_ratio_1k']['raw']) == 3


def test_a_stack_is_not_started_for_figures_that_need_it_not(vs):
    code, out = vs('edge_floor_ratio', base='')
    assert 'start vs-base' not in vs.noted
    assert (code, out['edge_floor_ratio']) == (0, 1.25)


def test_a_base_is_asked_for_where_a_ratio_needs_one(vs):
    with pytest.raises(vs.tool.Problem, match='--base'):
        vs('cpu_ratio_1k', base='')


def test_the_highest_rates_are_compared_and_later_searches_are_short(vs):
    code, out = vs('rate_ratio_200')
    raw = out['figures']['rate_ratio_200']['raw'][0]
    assert raw['under'] <= 11000 < raw['under'] * 1.201
    assert raw['over'] <= 24000 < raw['over'] * 1.201
    assert code == (0 if out['rate_ratio_200'] >= 2 else 1)
    steps = [r['result']['steps'] for r in out['runs'] if r['pair'] == 2]
    assert [len(s) for s in steps] == [2, 2]


def test_a_rate_that_no_step_has_reached_is_null_and_its_steps_are_kept(
        vs, monkeypatch):
    monkeypatch.setitem(P99, 'base', 0)
    code, out = vs('rate_ratio_200')
    assert (code, out['rate_ratio_200']) == (1, None)
    assert '1000/s does not pass' in out['figures']['rate_ratio_200']['reason']
    assert out['runs'][0]['result']['steps'][-1]['rate'] == 1000


def test_a_load_that_lost_messages_is_kept_but_says_nothing(vs, monkeypatch):
    monkeypatch.setattr(vs.tool.figures, 'unusable', lambda r: 'lost 7')
    code, out = vs('p50_1k_ms')
    assert (code, out['p50_1k_ms']) == (1, None)
    assert out['figures']['p50_1k_ms']['reason'] == (
        '3 of 3 pairs: this load 1000: lost 7')
    assert out['runs'][0]['result']['receive_p50_ms'] == 1.5


def test_a_stack_that_does_not_start_makes_its_figures_null(vs):
    vs.broken['vs-base'] = 2
    code, out = vs('cpu_ratio_1k,p50_1k_ms')
    assert code == 1
    assert out['cpu_ratio_1k'] is None and out['p50_1k_ms'] == 1.5
    assert out['figures']['cpu_ratio_1k']['reason'] == (
        '1 of 3 pairs: base load 1000: the stack does not start')
    assert vs.noted.count('stop vs-base') == 3
