"""bench/profile: stacks, stages, counters, the flame graph."""

import os
import subprocess
import sys
import xml.etree.ElementTree

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'bench'))

from im_bench import counts, flame, stages            # noqa: E402

SCRIPT = '''\
nginx: worker p  4711/4711@
\tffffffff81a01234 tcp_sendmsg_locked+0x12 ([kernel.kallsyms])
\tffffffff81a00000 tcp_sendmsg+0x27 ([kernel.kallsyms])
\tffffffff81900000 __x64_sys_sendto+0x1f ([kernel.kallsyms])
\t    7f1234567890 __libc_send+0x1d (/usr/lib/x86_64-linux-gnu/libc.so.6)
\t    7f1234500000 ngx_im_conn_write+0x40 (/b/ngx_im_module.so)
\t    555555550000 main+0x10 (/usr/sbin/nginx)

im-logic    99/101@
\t    7f1234567899 malloc+0x19 (/usr/lib/x86_64-linux-gnu/libc.so.6)
\t    555555550001 logic_batch(int, char)+0x1 (/b/im-logic)

java   7/9
\t    7f0000000001 [unknown] (/tmp/perf-7.map)
'''


def samples():
    # perf writes a blank at the end of these lines.
    return list(stages.parse(SCRIPT.replace('@', ' ').splitlines(True)))


def test_stacks_of_perf_are_read():
    got = samples()
    assert [s.pid for s in got] == [4711, 99, 7]
    assert got[0].frames[0] == ('tcp_sendmsg_locked', '[kernel.kallsyms]')
    assert got[0].frames[-1] == ('main', '/usr/sbin/nginx')
    assert got[1].frames[1][0] == 'logic_batch(int, char)'


def test_a_stack_belongs_to_what_its_time_is_for():
    assert [stages.stage(s.frames) for s in samples()] == [
        'kernel: send', 'malloc', 'compiled Java']


@pytest.mark.parametrize('symbols, stage', [
    (['__schedule', 'schedule', 'futex_wait_queue', '__x64_sys_futex'],
     'kernel: futex'),
    (['__schedule', 'schedule', 'ep_poll', '__x64_sys_epoll_wait'],
     'kernel: epoll and poll'),
    (['__schedule', 'schedule', 'do_nanosleep', '__x64_sys_clock_nanosleep'],
     'kernel: scheduling'),
    (['try_to_wake_up', 'sock_def_readable', 'tcp_rcv_established',
      'tcp_sendmsg'], 'kernel: send'),
    (['skb_copy_datagram_iter', 'tcp_recvmsg'], 'kernel: receive'),
    (['ext4_sync_file', 'vfs_fsync_range', 'do_fsync'], 'kernel: disk'),
    (['something_else'], 'kernel: rest'),
])
def test_kernel_time_belongs_to_what_was_asked_of_it(symbols, stage):
    frames = [(s, '[kernel.kallsyms]') for s in symbols]
    assert stages.stage(frames) == stage


def test_what_a_jvm_compiles_is_no_work_of_the_broker():
    jvm = '/usr/lib/jvm/server/libjvm.so'
    assert [stages.stage([(s, jvm) for s in frames]) for frames in (
        ['Arena::contains', 'PhaseChaitin::Split', 'Compile::Code_Gen'],
        ['CardTableRS::younger_refs', 'DefNewGeneration::collect'],
        ['os::javaTimeNanos'])] \
        == ['JVM: compilers', 'JVM: collector', 'JVM']


def test_functions_are_counted_where_the_samples_fell():
    assert stages.flat(samples() * 2) == {
        ('tcp_sendmsg_locked', '[kernel.kallsyms]'): 2,
        ('malloc', 'libc.so.6'): 2, ('[unknown]', 'perf-7.map'): 2}


def test_stacks_fold_from_the_outermost_under_their_process():
    names = {4711: 'nginx', 99: 'im-logic', 7: 'kafka'}
    folded = stages.fold(samples() + samples()[1:2], names)
    assert folded == {
        ('nginx', 'main', 'ngx_im_conn_write', '__libc_send',
         '__x64_sys_sendto_[k]', 'tcp_sendmsg_[k]',
         'tcp_sendmsg_locked_[k]'): 1,
        ('im-logic', 'logic_batch(int, char)', 'malloc'): 2,
        ('kafka', '[perf-7.map]'): 1}


def test_a_flame_graph_shows_each_function_as_wide_as_its_samples():
    text = flame.svg({('a', 'b<int>'): 3, ('a', 'c'): 1}, 'all & more')
    root = xml.etree.ElementTree.fromstring(text)
    space = '{http://www.w3.org/2000/svg}'
    widths = {g.find(space + 'title').text: float(
        g.find(space + 'rect').get('width')) + 0.3
        for g in root.iter(space + 'g')}
    assert widths == {'all, 100.00 %': flame.WIDTH, 'a, 100.00 %': flame.WIDTH,
                      'b<int>, 75.00 %': pytest.approx(flame.WIDTH * 0.75),
                      'c, 25.00 %': pytest.approx(flame.WIDTH * 0.25)}


def test_a_flame_graph_leaves_out_what_is_too_thin_to_see():
    text = flame.svg({('a',): 100000, ('b', 'c', 'd'): 1}, '')
    assert '>a<' in text and 'b, ' not in text
    with pytest.raises(ValueError, match='no sample'):
        flame.svg({}, '')


# Counters.

def test_counts_of_perf_and_of_strace_are_read():
    got = counts.parse_stat([
        '# started on a day', '', '120,,syscalls:sys_enter_read,9,100.00,,',
        '200,,raw_syscalls:sys_enter,9,100.00,,',
        '<not counted>,,syscalls:sys_enter_poll,0,100.00,,'])
    assert counts.calls(got) == {'read': 120, 'others': 80}
    got = counts.parse_strace([
        '% time     seconds  usecs/call     calls    errors syscall',
        '------ ----------- ----------- --------- --------- -------',
        ' 60.00    0.000060           1        60         3 futex',
        ' 40.00    0.000040           1        40           read',
        '100.00    0.000100           1       100         3 total'])
    assert counts.calls(got) == {'futex': 60, 'read': 40}


def test_switches_of_a_process_are_those_of_its_threads():
    voluntary, involuntary = counts.switches([os.getpid()])
    assert voluntary + involuntary > 0
    assert counts.switches([2 ** 22 + 1]) == (0, 0)


@pytest.fixture(scope='module')
def library():
    path = os.path.join(TOP, 'build', 'im-count-alloc.so')
    subprocess.run(['make', '-s', 'BUILD=build', 'build/im-count-alloc.so'],
                   cwd=TOP, check=True, timeout=120)
    return path


def run(library, folder, *command):
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=dict(os.environ, LD_PRELOAD=library, IM_COUNT_DIR=str(folder)))


def test_allocations_of_a_program_are_counted_while_it_runs(library, tmp_path):
    # More than Python's own allocator takes care of.
    p = run(library, tmp_path, sys.executable, '-S', '-c', '''
import sys
kept = [bytearray(100000) for _ in range(1000)]
print("there", flush=True)
sys.stdin.readline()
del kept
print("gone", flush=True)
sys.stdin.readline()
''')
    path = str(tmp_path / str(p.pid))
    assert p.stdout.readline() == b'there\n'
    first = counts.allocations(path)
    assert first[0] >= 1000 and 10 ** 8 <= first[2] < 2 * 10 ** 8
    p.stdin.write(b'\n')
    p.stdin.flush()
    assert p.stdout.readline() == b'gone\n'
    assert counts.allocations(path)[1] - first[1] >= 1000
    p.communicate(b'\n')
    assert p.returncode == 0


def test_a_child_has_counters_of_its_own(library, tmp_path):
    p = run(library, tmp_path, sys.executable, '-S', '-c', '''
import os
if os.fork() == 0:
    kept = [bytearray(100000) for _ in range(1000)]
    print(os.getpid(), flush=True)
    os._exit(0)
os.wait()
''')
    out, _ = p.communicate()
    child = counts.allocations(str(tmp_path / out.decode().strip()))
    assert child[0] >= 1000 and child[2] >= 10 ** 8
    assert counts.allocations(str(tmp_path / str(p.pid)))[2] < 10 ** 8


def test_what_was_not_counted_is_none(tmp_path):
    assert counts.allocations(str(tmp_path / '1')) is None
    (tmp_path / '1').write_bytes(b'short')
    assert counts.allocations(str(tmp_path / '1')) is None
