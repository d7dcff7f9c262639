"""im_run_sanitizer -- tests/run --asan and --tsan: what the programs are told,
and what the sanitizers wrote.  Each report is a failure, at the first try."""

import glob
import os
import re
import subprocess

from im_sanitizer import leak_check_broke


def environment(run, name):
    log = os.path.join(run.out, '%s.%s' % (run.sanitizer, name))
    if run.sanitizer == 'tsan':
        return {'TSAN_OPTIONS': 'ignore_noninstrumented_modules=1:'
                                'log_path=' + log}
    if run.sanitizer != 'asan':
        return {}
    return {
        'ASAN_OPTIONS': 'detect_leaks=1:fast_unwind_on_malloc=0:'
                        'log_path=' + log,
        'UBSAN_OPTIONS': 'print_stacktrace=1:log_path=' + log,
        'LSAN_OPTIONS': 'print_suppressions=0:suppressions='
                        + run.path('t/lsan.supp'),
    }


def preloading_nginx(run, env, name):
    """A stock nginx with the sanitizers' libraries in front."""
    libraries = ' '.join(
        subprocess.run(['gcc', '-print-file-name=lib%s.so' % lib],
                       stdout=subprocess.PIPE, text=True,
                       timeout=20).stdout.strip()
        for lib in ('asan', 'ubsan'))
    path = os.path.join(run.out, name + '.binary')
    with open(path, 'w') as f:
        f.write('#!/bin/sh\nLD_PRELOAD="%s" exec %s "$@"\n'
                % (libraries, env['TEST_NGINX_BINARY']))
    os.chmod(path, 0o755)
    env['TEST_NGINX_IM_PRELOAD'] = libraries
    env['TEST_NGINX_BINARY'] = path


def leak_checks_broke(run, program):
    reports = glob.glob(os.path.join(run.out, '%s.%s.*' % (
        run.sanitizer or 'none', program)))
    return bool(reports) and all(map(leak_check_broke, reports))


def reports_of(run):
    """One failure for each process that a sanitizer has complained of."""
    reports = []
    for at in (run.out, *(run.path('build/stack', name, 'log*')
                          for name in run.stacks)):
        reports += glob.glob(os.path.join(at, run.sanitizer + '.*'))
    # A stack that was not needed this time may have some of an earlier run.
    reports = [r for r in reports if os.path.getsize(r)
               and os.path.getmtime(r) >= run.began]
    broken = [r for r in reports if leak_check_broke(r)]
    for r in reports:
        run.report.show(r)
        if r not in broken:
            run.report.blame(os.path.basename(r), headline(r))
    run.report.count('sanitizers', 0, len(reports) - len(broken), len(broken))


def headline(report):
    """What it says, and where we are in its stacks."""
    with open(report, errors='replace') as f:
        lines = [line for line in f if re.search(
            r'ERROR: |WARNING: |runtime error|SUMMARY|(src|services|tests'
            r'|tools)/\w', line)]
    return lines[:12]
