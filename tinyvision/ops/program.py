"""Programs: calls of compiled functions, written down by Python once and run without it.

A fast product, an attention head, a convolution is a few hundred calls of a handful of short
functions on parts of its arrays: pack this block, multiply these panels, make weights of those
scores. Loops that make the calls would do for Numba, but it needs seconds to compile them, and they
depend on nothing but sizes. So only the short functions are compiled, each alone. Python works out
the calls, once for every shape, in plain loops that one can step through:

    @step
    def clear(to, count):                    # arguments are whole numbers: addresses, sizes
        row = floats(to)
        for k in range(count):
            row[k] = 0

    x, = arrays(1)                           # where the first array will begin
    Program([[clear(x + 400 * k, 100)] for k in range(8)], [0], workers=2)(some_array)

A step, called in Python, is not run but returns the call, as a row of numbers. A list of calls is
a part of the work, done by one thread from the first to the last; parts are dealt to the threads in
a fixed order, and if there are several items (the products of a batch, heads), all parts are done
for each of them.

**Addresses.** Where arrays lie is known when the program runs. Until then, "byte b of array k" is
the whole number k 2^52 + b, and one can count on from it. When an argument is passed, the array's
address takes the place of k 2^52; what is near 0 stays as it is. Array 1 is `ROOM`, memory of each
thread's own.
"""
from __future__ import annotations

import functools

import numpy as np

from tinyvision.kernel import scratch
from tinyvision.worker import Intrinsic, Worker, address, longs, worker

MOST = 14                                  # arguments of a step
FAR = 52                                   # an array's number is in the bits from here on
ROOM = 1 << FAR                            # where a thread's own memory begins
BASES = 16                                 # numbers in front of it: where the arrays begin


class Step(Worker):
    """A function of whole numbers that programs call."""

    def __call__(self, *args):
        """The call, as `invoke` reads it."""
        return self.address, len(args), *args, *(0,) * (MOST - len(args))


def step(function=None, **options):
    """Decorate a function that programs call; `options` are those of `Jit`."""
    return Step(function, **options) if function else functools.partial(Step, **options)


def arrays(count):
    """Where the arrays begin that a program will be given."""
    return [number << FAR for number in range(2, 2 + count)]


class Program:
    """Calls, and how they are dealt.

    Args:
        parts: lists of calls.
        offsets: of every array, how many bytes further on it begins, for every item or for all.
        workers: the threads.
        room: floats of each thread's `ROOM`.
    """

    def __init__(self, parts, offsets, workers=1, room=0):
        self.workers, self.room = workers, 2 * BASES + (room + 15) // 16 * 16
        calls, ends = [call for part in parts for call in part], np.cumsum([0, *map(len, parts)])
        places = np.stack(np.broadcast_arrays(*offsets), -1).reshape(-1, len(offsets))
        self._tables = [np.ascontiguousarray(table, np.int64) for table in (calls, ends, places)]
        self._numbers = np.array([*places.shape, len(parts), workers, 4 * self.room,
                                  *map(address, self._tables)])

    def __call__(self, *arrays):
        """Run it; the arrays come in the order of `arrays`."""
        own = scratch("program", (self.workers, self.room))
        share(self.workers, address(self._numbers), address(own), *map(address, arrays))


@worker
def share(job, k):
    """Thread k's tasks."""
    job = longs(job)
    p, room = longs(job[0]), job[1] + k * longs(job[0])[4]
    items, count, parts, workers, calls = p[0], p[1], p[2], p[3], p[5]
    ends, offsets, bases, tasks = longs(p[6]), longs(p[7]), longs(room), items * parts
    bases[0], bases[1] = 0, room + 8 * BASES - ROOM
    for task in range(k * tasks // workers, (k + 1) * tasks // workers):
        item, part = task // parts, task % parts
        for n in range(count):
            bases[2 + n] = job[2 + n] + offsets[item * count + n] - (2 + n << FAR)
        for call in range(ends[part], ends[part + 1]):
            invoke(calls + call * 8 * (2 + MOST), room)


def _invoke(context, builder, call, bases):
    """Numbers become addresses; then a call for every number of arguments there can be."""
    from llvmlite import ir
    long = ir.IntType(64)
    call, bases = (builder.inttoptr(place, long.as_pointer()) for place in (call, bases))
    function, count, *numbers = (builder.load(builder.gep(call, [long(k)]))
                                 for k in range(2 + MOST))
    for k, number in enumerate(numbers):
        which = builder.ashr(builder.add(number, long(1 << FAR - 1)), long(FAR))
        numbers[k] = builder.add(number, builder.load(builder.gep(bases, [which])))
    end = builder.append_basic_block()
    switch = builder.switch(count, end)
    for n in range(MOST + 1):
        block = builder.append_basic_block()
        switch.add_case(long(n), block)
        with builder.goto_block(block):
            kind = ir.FunctionType(ir.VoidType(), [long] * n)
            builder.call(builder.inttoptr(function, kind.as_pointer()), numbers[:n])
            builder.branch(end)
    builder.position_at_end(end)
    return context.get_dummy_value()


invoke = Intrinsic("invoke", lambda types: types.void(types.int64, types.int64), _invoke,
                   "invoke(call, bases): make the call at this address; see `Program`.")
