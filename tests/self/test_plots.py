"""bench/plots: the tables that are drawn."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(
    os.path.dirname(os.path.abspath(__file__)))), 'bench'))

from im_bench import tables                           # noqa: E402


def load(rate, **cpu):
    return dict({'receive_%s_ms' % p: n + rate / 1000.0 for n, p in enumerate(
        tables.PERCENTILES)}, rate=rate, ack_p50_ms=1.5, ack_p99_ms=2.5,
        generator_us_per_msg=3, cpu_us_per_msg_by_process=cpu)


def test_tables_have_a_column_for_each_process_and_a_row_for_each_rate():
    series = [load(1000, nginx=5, kafka=6.5), load(2000, nginx=4, redis=1)]
    columns, rows = tables.cpu(series)
    assert columns == ['messages/s', 'nginx', 'kafka', 'redis', 'generator']
    assert rows == [[1000, 5, 6.5, 0, 3], [2000, 4, 0, 1, 3]]
    columns, rows = tables.latency(series)
    assert columns[:2] == ['messages/s', 'receive p50 ms']
    assert rows[1] == [2000, 2, 3, 4, 5, 1.5, 2.5]
    assert tables.tsv('what\nwhere', ['a', 'b'], [[1, 2.0], [3, 0.25]]) \
        == '# what\n# where\na\tb\n1\t2\n3\t0.25\n'


def test_memory_is_that_of_the_workers():
    columns, rows = tables.memory({'workers_rss': [
        {'connections': 100, 'rss': 20000000, 'pss': 1, 'private': 10000000}]})
    assert len(columns) == 3 and rows == [[100, 20.0, 10.0]]
