"""Workers: compiled functions of whole numbers, which threads call by their addresses.

Numba compiles what a loop over threads calls again in every function around it, and needs a second
for each such loop. A worker is compiled once, alone; one loop, compiled once for all, calls any of
them:

    @worker
    def clear(job, k):                       # job: where its numbers are; k: which thread
        p = longs(job)
        row = floats(p[0] + 4 * k * p[1])
        for n in range(p[1]):
            row[n] = 0

    clear(2, address(some_array), 100)       # in two threads
"""
from __future__ import annotations

import ctypes
import functools
import struct
import types

import numpy as np

from tinyvision.kernel import Jit, jit, prange, threads

SERIAL = 32768             # elements of a few operations: one core is done before others are awake
PACK = [struct.Struct(f"{n}q").pack for n in range(64)]     # so many whole numbers, as int64
BYTES = bytes.__basicsize__ - 1            # from where an object of bytes begins to the first of them


class Worker(Jit):
    """A function f(job, k) of whole numbers: `job` the address of int64 numbers, k from 0 up."""

    @functools.cached_property
    def address(self):
        """Of the machine code."""
        from numba import int64
        made = self._dispatcher(cache=True, no_cpython_wrapper=True)
        made.compile((int64,) * self.python.__code__.co_argcount)
        compiled, = made.overloads.values()
        return compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)

    def __call__(self, count, *numbers):
        """Run it with k = 0 to count - 1, each in a thread; returns when all have."""
        job = PACK[len(numbers)](*numbers)
        deal.compiled(self.address, id(job) + BYTES, count)


def worker(function=None, **options):
    """Decorate a worker; `options` are those of `Jit`."""
    return Worker(function, **options) if function else functools.partial(Worker, **options)


class RealWorker:
    """Two workers: where the text says `reals`, one has `floats` and the other `doubles`.

    Called with arrays among its numbers (their addresses are meant); the first says which it is.
    """

    def __init__(self, function, **options):
        functools.update_wrapper(self, function)
        self.python, self.options = function, options

    @functools.cached_property
    def workers(self):
        """The Worker for each dtype; made late, when all that the text names is there."""
        return {char: Worker(_with_reals(self.python, reals), **self.options)
                for char, reals in (("f", floats), ("d", doubles))}

    def __call__(self, count, *arguments):
        """Run it with k = 0 to count - 1, each in a thread; returns when all have."""
        numbers = [a if a.__class__ is int else address(a) for a in arguments]
        self.workers[arguments[0].dtype.char](count, *numbers)


def real_worker(function=None, **options):
    """Decorate a RealWorker; `options` are those of `Jit`."""
    return RealWorker(function, **options) if function else functools.partial(RealWorker, **options)


def _with_reals(f, reals):
    """f, with a name of its own for the cache on disk."""
    copy = types.FunctionType(f.__code__, {**f.__globals__, "reals": reals}, f.__name__)
    copy.__qualname__, copy.__module__ = f"{f.__qualname__}_{reals.__name__}", f.__module__
    return copy


def address(array: np.ndarray, long_at=ctypes.c_ssize_t.from_address) -> int:
    """Where an array's numbers begin.

    NumPy's arrays are, in memory, the head that all objects have, and then this address; the
    attribute `ctypes` says the same in ten times the time.
    """
    if array.__class__ is not np.ndarray:
        return array.ctypes.data
    return long_at(id(array) + object.__basicsize__).value


def crew(elements: int) -> int:
    """How many threads are worth waking for so many elements."""
    return threads() if elements >= SERIAL else 1


@jit
def share(size, k, count):
    """(first, end) of what is thread k's, one of `count`."""
    return k * size // count, (k + 1) * size // count


@jit(parallel=True)
def deal(function, job, count):
    """function(job, k) for every k, each in a thread; a single one in this."""
    if count == 1:                                           # waking the others costs more
        call(function, (job, 0))
    else:
        for k in prange(count):
            call(function, (job, np.int64(k)))


# --- what Numba has no word for -------------------------------------------------------------------
class Intrinsic(Jit):
    """A function that is written as LLVM instructions where it is called.

    Args:
        signature: from Numba's types, the function's.
        emit: of (context, builder, its arguments), the result.
    """

    def __init__(self, name, signature, emit, doc):
        self.__name__, self.signature, self.emit, self.__doc__ = name, signature, emit, doc

    @functools.cached_property
    def helper(self):
        """Numba's intrinsic."""
        from numba import types
        from numba.extending import intrinsic
        signature = self.signature(types)

        def codegen(context, builder, signature, arguments):
            return self.emit(context, builder, *arguments)
        if len(signature.args) == 1:
            return intrinsic(lambda typing, a: (signature, codegen))
        return intrinsic(lambda typing, a, b: (signature, codegen))


def caller(name, count, doc):
    """name(address, arguments): the machine code at an address, with `count` int64 arguments."""
    def emit(context, builder, place, arguments):
        from llvmlite import ir
        long = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [long] * count)
        builder.call(builder.inttoptr(place, kind.as_pointer()),
                     [builder.extract_value(arguments, k) for k in range(count)])
        return context.get_dummy_value()
    return Intrinsic(name, lambda types: types.void(types.int64, types.UniTuple(types.int64, count)),
                     emit, doc)


def pointer(name, kind, doc):
    """name(address): what is there; kind(Numba's types) is its type."""
    def emit(context, builder, place):
        from numba import types
        return builder.inttoptr(place, context.get_value_type(kind(types)))
    return Intrinsic(name, lambda types: kind(types)(types.int64), emit, doc)


class _After(Intrinsic):
    """Of pointers of any kind."""

    def __init__(self):
        self.__name__, self.__doc__ = "after", "after(pointer, n): the numbers from the n-th on."

    @functools.cached_property
    def helper(self):
        """Numba's intrinsic."""
        from numba import types
        from numba.extending import intrinsic

        def codegen(context, builder, signature, arguments):
            return builder.gep(arguments[0], [arguments[1]])
        return intrinsic(lambda typing, p, n: (p(p, types.int64), codegen))


after = _After()
call = caller("call", 2, "call(address, (job, k)): the worker at that address.")
floats = pointer("floats", lambda types: types.CPointer(types.float32),
                 "floats(address): the float32 numbers from there on, by index.")
doubles = pointer("doubles", lambda types: types.CPointer(types.float64),
                  "doubles(address): the float64 numbers from there on, by index.")
ints = pointer("ints", lambda types: types.CPointer(types.int32),
               "ints(address): the int32 numbers from there on, by index.")
longs = pointer("longs", lambda types: types.CPointer(types.int64),
                "longs(address): the int64 numbers from there on, by index.")


def record(name, dtype):
    """name(address): the record there, of NumPy's dtype; its numbers by name."""
    def kind(types):
        from numba import from_dtype
        return from_dtype(dtype)
    return pointer(name, kind, f"{name}(address): the record there.")
