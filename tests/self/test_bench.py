"""What bench/vs decides by: medians, limits, the search for the highest rate,
another commit beside this one."""

import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.dirname(os.path.abspath(__file__)))), 'bench'))

from im_bench import base, figures                    # noqa: E402
from im_bench.search import Search, grid              # noqa: E402


def found(limit, first, most=12, rates=None):
    """(what is found, the steps) where all up to a limit passes."""
    search, tried = Search(rates or grid(1000, 120000), first, most), []
    rate = search.next()
    while rate is not None:
        tried.append(rate)
        search.tell(rate <= limit)
        rate = search.next()
    return search.found(), tried


def test_rates_of_a_search_are_a_fifth_apart():
    rates = grid(1000, 2000)
    assert rates == [1000, 1200, 1440, 1730]


@pytest.mark.parametrize('limit', [1000, 1300, 5000, 12000, 23456, 99000])
@pytest.mark.parametrize('first', [1000, 12000, 120000])
def test_the_highest_rate_that_passes_is_found_in_twelve_steps(limit, first):
    (rate, why), tried = found(limit, first)
    assert why == ''
    assert rate <= limit < rate * 1.2001
    assert len(tried) == len(set(tried)) <= 12


def test_a_search_that_begins_right_takes_two_steps():
    rates = grid(1000, 120000)
    _, tried = found(rates[12], rates[12])
    assert tried == [rates[12], rates[13]]


def test_a_rate_that_lies_outside_of_the_search_is_not_made_up():
    (rate, why), _ = found(10, 12000)
    assert (rate, why) == (
        None, '1000/s does not pass, nothing below was tried')
    (rate, why), _ = found(10 ** 9, 12000)
    assert rate is None and 'passes, nothing above was tried' in why


def test_a_search_ends_after_its_steps():
    (rate, why), tried = found(1000, 120000, most=3)
    assert rate is None and 'steps that are allowed' in why
    assert len(tried) == 3


# Figures.

CPU = next(f for f in figures.FIGURES if f.name == 'cpu_ratio_1k')
P50 = next(f for f in figures.FIGURES if f.name == 'p50_1k_ms')
P99 = next(f for f in figures.FIGURES if f.name == 'p99_1k_ms')
RATE = next(f for f in figures.FIGURES if f.name == 'rate_ratio_200')


def measured(key, *pairs, kind='load', size=1000):
    """(this, base) of each pair."""
    found = {}
    for n, (this, other) in enumerate(pairs):
        for side, value in (('this', this), ('base', other)):
            found[(side, kind, size), n] = \
                value if isinstance(value, str) else {key: value}
    return found


def test_a_ratio_is_the_median_of_the_ratios_of_pairs():
    got = figures.evaluate(CPU, measured(
        'cpu_us_per_msg', (50, 100), (30, 100), (90, 100)), 3)
    assert (got['value'], got['must'], got['holds']) == (0.5, '<= 0.55', True)
    assert [r['value'] for r in got['raw']] == [0.5, 0.3, 0.9]
    assert got['raw'][2] == {'pair': 2, 'over': 90, 'under': 100, 'value': 0.9}


def test_a_limit_that_does_not_hold_is_noticed():
    got = figures.evaluate(CPU, measured(
        'cpu_us_per_msg', (50, 100), (56, 100), (90, 100)), 3)
    assert got['holds'] is False
    got = figures.evaluate(RATE, measured(
        'rate', (19, 10), (21, 10), (19, 10), kind='rate', size=200), 3)
    assert (got['value'], got['holds']) == (1.9, False)
    got = figures.evaluate(RATE, measured(
        'rate', (20, 10), (21, 10), (19, 10), kind='rate', size=200), 3)
    assert (got['value'], got['holds']) == (2, True)


def test_a_figure_without_a_limit_holds_none():
    got = figures.evaluate(P99, measured('receive_p99_ms', (7, 0)), 1)
    assert (got['value'], got['must'], got['holds']) == (7, '', None)


@pytest.mark.parametrize('pairs, reason', [
    ([(50, 100), ('lost 3', 100), (50, 100)],
     '1 of 3 pairs: this load 1000: lost 3'),
    ([(50, 100), (50, 100)],
     '1 of 3 pairs: this load 1000: was not measured'),
    ([(50, 100), (50, 0), (50, 100)],
     '1 of 3 pairs: base load 1000: cpu_us_per_msg is 0'),
    ([(50, 100), (None, 100), (50, 100)],
     '1 of 3 pairs: this load 1000: no cpu_us_per_msg'),
])
def test_a_figure_that_a_pair_has_not_is_null_with_the_reason(pairs, reason):
    got = figures.evaluate(CPU, measured('cpu_us_per_msg', *pairs), 3)
    assert (got['value'], got['holds']) == (None, False)
    assert got['reason'] == reason


def test_all_figures_are_in_the_report_those_that_were_asked_for_count():
    out = figures.report([P50], measured('receive_p50_ms', (1.7, 0)), 1)
    assert {f.name for f in figures.FIGURES} <= set(out)
    assert out['p50_1k_ms'] == 1.7 and out['rate_ratio_2000'] is None
    assert out['figures']['rate_ratio_2000'] == {
        'reason': 'was not asked for'}
    assert out['holds'] is True
    out = figures.report([P50], measured('receive_p50_ms', (1.9, 0)), 1)
    assert out['holds'] is False


def test_the_table_has_a_column_of_what_must_be():
    got = figures.report([P50, CPU], measured('receive_p50_ms', (1.9, 0)), 1)
    lines = figures.table([P50, CPU], got)
    assert lines[0].split() == ['median', 'must', 'pairs']
    assert lines[1].split() == ['p50_1k_ms', '1.9', '<=', '1.8', 'NO', '1.9']
    assert lines[2].split()[:5] == ['cpu_ratio_1k', 'null', '<=', '0.55', 'NO']


def test_only_what_the_figures_need_is_measured():
    assert figures.needed([P50]) == {('this', 'load', 1000)}
    assert figures.needed(figures.chosen('edge_floor_ratio')) == {
        ('this', 'load', 20000), ('this', 'floor', 20000)}
    assert figures.chosen('') == figures.FIGURES
    with pytest.raises(ValueError, match='no figure is named p51'):
        figures.chosen('p50_1k_ms, p51')


def test_a_load_that_lost_something_or_was_not_reached_says_nothing():
    good = {'rate': 1000, 'seconds': 10, 'window_acked': 9999}
    assert figures.unusable(good) == ''
    assert figures.unusable(dict(good, lost=1)) == 'lost 1'
    assert figures.unusable(dict(good, window_acked=9000)) \
        == 'only 900 of 1000 messages a second were acked'


# Another commit.

def git(at, *words):
    return subprocess.run(
        ['git', '-c', 'user.name=a', '-c', 'user.email=a@example.org',
         *words], cwd=at, check=True, text=True, timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    top = tmp_path / 'top'
    top.mkdir()
    git(top, 'init', '-q')
    (top / '.gitignore').write_text('/build/\n')
    for text in ('old', 'new'):
        (top / 'file').write_text(text)
        git(top, 'add', '.')
        git(top, 'commit', '-q', '-m', text)
    return top


def test_another_commit_is_put_beside_and_this_tree_is_left_alone(repository):
    top = str(repository)
    (repository / 'file').write_text('changed')
    before = git(top, 'status', '--short', '--branch')
    refs = git(top, 'for-each-ref')
    to = base.checkout(base.commit_of('HEAD~1', top), top)
    assert to.startswith(os.path.join(top, 'build', 'base'))
    with open(os.path.join(to, 'file')) as f:
        assert f.read() == 'old'
    assert (repository / 'file').read_text() == 'changed'
    assert git(top, 'status', '--short', '--branch') == before
    assert git(top, 'for-each-ref') == refs
    assert len(git(top, 'worktree', 'list').splitlines()) == 1


def test_what_was_changed_there_is_not_measured(repository):
    top = str(repository)
    commit = base.commit_of('HEAD~1', top)
    to = base.checkout(commit, top)
    with open(os.path.join(to, 'file'), 'w') as f:
        f.write('changed')
    base.checkout(commit, top)
    with open(os.path.join(to, 'file')) as f:
        assert f.read() == 'old'


def test_a_commit_that_is_not_there_is_named(repository):
    with pytest.raises(base.Problem, match='no commit 1234567'):
        base.commit_of('1234567', str(repository))
