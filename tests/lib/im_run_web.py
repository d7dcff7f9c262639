"""im_run_web -- the JavaScript client and the chat page: node's own runner.

    clients/js/test  random histories, without a stack
    tests/web        the client, and the page in Chromium, against a stack
"""

import glob
import os

from im_run_report import tap, tap_failures

SECONDS = 240


class WebRun:

    def __init__(self, run):
        self.run = run

    def all(self):
        self.part('clients/js/test', {})
        env = self.run.start(self.run.web, '--restart', '--fresh')
        if env is not None:
            self.part('tests/web', env)

    def part(self, folder, env):
        name = 'web.' + folder.replace('/', '.')
        code = self.node(name, folder, env)
        log = self.run.log(name)
        ok, bad, skipped = tap(log)
        if code != 0 and not bad or not ok + bad:
            bad = 1
        self.run.report.count(name, ok, bad, skipped)
        if not bad:
            return
        self.run.report.show(log)
        failures = tap_failures(name, log)
        if not env:
            # It depends on nothing but its seed.
            for test, lines in failures:
                self.run.report.blame(test, lines)
            return
        self.run.suspect(name, failures, bad,
                         lambda left: self.again(name, folder))

    def again(self, name, folder):
        env = self.run.fresh()
        return env is not None and self.node(name + '.again', folder,
                                             env) == 0

    def node(self, name, folder, env):
        files = sorted(glob.glob(self.run.path(folder, '*.test.js')))
        return self.run.command(
            ['node', '--test', '--test-reporter=tap', '--test-concurrency=1',
             *files], self.run.log(name), SECONDS, env)
