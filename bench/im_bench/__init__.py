"""im_bench -- what bench/run, fanout, vs, profile and plots share.

    machine.py   processes, their CPU and memory
    stack.py     a stack of this tree, or of another one; the generator
    load.py      one rate, measured
    floor.py     a relay that parses nothing, measured beside it
    options.py   numbers of command lines; the end by a signal
    search.py    the highest rate that passes
    figures.py   what bench/vs decides by
    base.py      another commit, built below build/
    counts.py    context switches, system calls, allocations
    stages.py    stacks of perf, and what each is spent on
    flame.py     a flame graph
    tables.py    what is plotted
"""
