"""Benchmarks: `tinyvision bench`, and what it is made of.

    timing         contenders take turns in blocks; medians and ratios
    machine        what this machine is, and the peaks it reaches
    cases/         the tables: operation, size, operations and bytes, how ours and each peer run it
    peers          PyTorch, channels-last, torchvision, JAX, DeZero, where installed
    apart          each of them in a process of its own
    memory         what a call needs; graph_memory: what the graph keeps for backward
    ladder         one case: its rungs checked, then timed beside the peers
    random_shapes  convolutions that nobody tuned for
    train          whole training steps, their memory and the first step's latency
    grading        a thousand students' programs through the grader
    report         tables and JSON; roofline: the picture
    commands       the command line
"""
