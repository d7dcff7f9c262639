"""stages -- stacks as perf prints them, and what each of them is spent on.

A stack is a list of frames, the innermost first; a frame is (symbol, file).  A
stage says what the time is for rather than whose code it is in: a send is a
send, whichever of the kernel's 40 functions the sample fell into.  The first
line of KERNEL, JVM or USER that knows a frame that counts there has it.
"""

import collections
import re

Sample = collections.namedtuple('Sample', 'pid frames')
HEAD = re.compile(r'^\S.*?\s+(\d+)(?:/\d+)?\s*$')
FRAME = re.compile(r'^\s+[0-9a-f]+\s+(.*) \((.*)\)$')

# In the kernel, any frame decides; the work comes before who waits for it.
KERNEL = [(stage, re.compile(pattern)) for stage, pattern in (
    ('send', r'^(__sys_send|sock_sendmsg|sock_write_iter|tcp_sendmsg|'
             r'unix_stream_sendmsg|__sock_sendmsg)'),
    ('receive', r'^(__sys_recv|sock_recvmsg|sock_read_iter|tcp_recvmsg|'
                r'unix_stream_recvmsg)'),
    ('connections', r'^(__sys_accept|__sys_connect|tcp_close|inet_release)'),
    ('disk', r'^(do_fsync|vfs_fsync|ext4_|xfs_|btrfs_|ovl_|blk_|submit_bio|'
             r'generic_file_|vfs_fallocate)'),
    ('futex', r'(^|_)futex'),
    ('wake-up descriptors', r'^(eventfd_|(anon_)?pipe_(read|write)|timerfd_)'),
    ('epoll and poll', r'^(ep_|do_epoll|__x64_sys_epoll|do_sys_poll|'
                       r'do_poll|core_sys_select)'),
    ('memory', r'^(do_user_addr_fault|handle_mm_fault|asm_exc_page_fault|'
               r'__x64_sys_(mmap|munmap|madvise|brk)|do_madvise)'),
    ('files', r'^(vfs_read|vfs_write|ksys_p?(read|write))'),
    ('scheduling', r'^(schedule|__schedule|preempt_schedule|'
                   r'__x64_sys_(clock_nanosleep|nanosleep|sched_yield))'),
    ('interrupts', r'^(asm_(sysvec|common_interrupt)|__do_softirq|'
                   r'handle_softirqs|irq_exit)'),
)]

# Outside of it, the innermost frame decides: (stage, symbol, file).
USER = [(stage, re.compile(symbol), re.compile(file))
        for stage, symbol, file in (
    ('malloc', r'^(malloc|calloc|realloc|free|cfree|_int_|__libc_(malloc|'
               r'calloc|realloc|free)|malloc_|unlink_chunk|sysmalloc|tcache|'
               r'arena_|je_|__default_morecore)', r'(libc|jemalloc)'),
    ('malloc', r'', r'jemalloc'),
    ('gRPC', r'', r'lib(grpc|gpr|absl|upb|address_sorting|re2)'),
    ('protobuf', r'^(protobuf_c_|im__.*(pack|unpack|init))', r''),
    ('protobuf', r'', r'libprotobuf'),
    ('crypto', r'', r'lib(crypto|ssl|sodium|jwt|murmurhash)'),
    ('Kafka client', r'', r'librdkafka'),
    ('Redis client', r'', r'libhiredis'),
    ('MySQL client', r'', r'lib(mariadb|mysqlclient)'),
    ('compiled Java', r'', r'perf-\d+\.map'),
    ('JVM', r'', r'libjvm'),
    ('module: im_core', r'^im_', r'ngx_im_module'),
    ('module', r'', r'ngx_im_module'),
    ('locks', r'(pthread_(mutex|cond)|lll_lock|futex)', r''),
    ('clock', r'(clock_gettime|gettimeofday)', r''),
    ('C library', r'', r'/(libc|libpthread|ld-linux)|\[vdso\]'),
)]


# Of a JVM, any frame decides: its compilers are far above the innermost one.
JVM = [(stage, re.compile(pattern)) for stage, pattern in (
    ('JVM: compilers', r'^(CompileBroker|C[12]Compiler|Compile|Compilation|'
                       r'Phase|Matcher|IndexSet|GraphBuilder|LinearScan|'
                       r'Parse|ci[A-Z])\w*::'),
    ('JVM: collector', r'^(GenCollect|DefNew|Tenured|Serial|GenMark|'
                       r'MarkSweep|CardTable|Scavenge)\w*::'),
)]


def parse(lines):
    """Samples of `perf script -F comm,pid,tid,ip,sym,dso`."""
    pid, frames = None, []
    for line in lines:
        line = line.rstrip('\n')
        frame = FRAME.match(line)
        if frame:
            symbol, file = frame.groups()
            frames.append((re.sub(r'\+0x[0-9a-f]+$', '', symbol), file))
            continue
        if pid is not None and frames:
            yield Sample(pid, frames)
        head = HEAD.match(line)
        pid, frames = (int(head[1]) if head else None), []
    if pid is not None and frames:
        yield Sample(pid, frames)


def in_kernel(frame):
    return frame[1].startswith('[') and frame[1] != '[vdso]' \
        and frame[1] != '[unknown]'


def stage(frames):
    if in_kernel(frames[0]):
        inside = [f[0] for f in frames if in_kernel(f)]
        for name, pattern in KERNEL:
            if any(pattern.search(symbol) for symbol in inside):
                return 'kernel: ' + name
        return 'kernel: rest'
    symbol, file = frames[0]
    if 'libjvm' in file:
        for name, pattern in JVM:
            if any(pattern.search(f[0]) for f in frames):
                return name
    for name, of_symbol, of_file in USER:
        if of_symbol.search(symbol) and of_file.search(file):
            return name
    return 'own code'


def by_stage(samples):
    """Counter of stages."""
    return collections.Counter(stage(s.frames) for s in samples)


def flat(samples):
    """Counter of (symbol, file) where the samples fell."""
    return collections.Counter(
        (s.frames[0][0], s.frames[0][1].rsplit('/', 1)[-1]) for s in samples)


def fold(samples, names):
    """Counter of stacks as flame.py wants them: process, outermost, ...,
    innermost.  names: of processes, by pid."""
    stacks = collections.Counter()
    for s in samples:
        stack = [names.get(s.pid, 'pid %d' % s.pid)]
        for frame in reversed(s.frames):
            symbol = frame[0]
            if symbol == '[unknown]':
                symbol = '[%s]' % frame[1].rsplit('/', 1)[-1].strip('[]')
            # One line of what cannot be named, not twenty.
            if symbol != stack[-1] or frame[0] != '[unknown]':
                stack.append(symbol + ('_[k]' if in_kernel(frame) else ''))
        stacks[tuple(stack)] += 1
    return stacks
