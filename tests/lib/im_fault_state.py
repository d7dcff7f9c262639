"""im_fault_state -- what a fault that went wrong left behind, as text: how each
program of the stack is, what it answers, and what it has logged since the fault
began.  Written for somebody who has nothing but the output of a test run.
"""

import os

from im_stack.base import http_get

LOG_LINES = 30
LOG_BYTES = 65536      # of the end of a log, at most, are looked at
LINE_MAX = 300
ANSWER_MAX = 1500


class Since:
    """Made when a fault begins: remembers how long the logs were."""

    def __init__(self, stack):
        self.stack = stack
        self.programs = [*stack.daemons('logic'), *stack.daemons('task'),
                         'nginx']
        self.sizes = {name: size(stack.log(name)) for name in self.programs}

    def lines(self):
        return [*self.states(), *self.answers(),
                *(line for name in self.programs for line in self.log(name))]

    def states(self):
        try:
            return ['%s: %s, %s' % (name, p['statename'], p['description'])
                    for name, p in self.stack.processes().items()]
        except Exception as e:     # the supervisor itself may be gone
            return ['supervisor: %s' % e]

    def answers(self):
        out = []
        for name in self.programs:
            address = self.stack.address('http' if name == 'nginx' else name)
            status, body = http_get(address, '/readyz')
            out.append('%s: GET /readyz: %d %s' % (
                name, status, ' '.join(body.split())[:ANSWER_MAX]))
        return out

    def log(self, name):
        """Its end, but nothing from before the fault."""
        path = self.stack.log(name)
        try:
            with open(path, 'rb') as f:
                f.seek(max(self.sizes[name], size(path) - LOG_BYTES))
                text = f.read().decode(errors='replace').splitlines()
        except OSError as e:
            return ['==== %s: %s' % (name, e)]
        return ['==== %s.log, %d of %d lines since the fault began' % (
            name, min(len(text), LOG_LINES), len(text)),
            *(line[:LINE_MAX] for line in text[-LOG_LINES:])]


def size(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
