"""Your kernel is compiled by the host's C++ compiler and runs there, in blocks of several sizes;
the threads of a block really wait at `__syncthreads()`. Everything runs twice, with blocks and
threads in opposite orders: on a GPU there is no order, so both must give the same. What nobody has
written is once NaN, in shared memory and in variables, and once what the block before has left, or
your kernel when it ran on other boxes before. What is read or written just before or behind boxes
and mask, or by an index beyond an array that you declare, is noticed, and so is a race: two threads
use the same number, one of them changes it, and no barrier lies between them (`mask[k] |= bit` by
several threads is one; `atomicOr` is none, and neither is the same value written by several).
`pairs` returns the bits that you set; `survivors` walks down the boxes by score and keeps those
that no kept one suppresses.

Of what CUDA has beside C++, the host has: barriers (also `__syncthreads_or` and the like),
atomics, votes and shuffles of a warp, `min`, `max`, mathematics, and the counting of bits. Shared
memory has a size of its own, `__shared__ real tile[64][4]`: to what is `extern` the launch here
gives no bytes.

The driver is no part of your file, and your file must not import it: tinyvision is not there when
the file is checked. To try it, start another Python in the folder where your file lies. In
a notebook use a cell that you delete afterwards, and leave out the line with "your file": once its
cell has run, `KERNEL` is there already.

    >>> import numpy as np
    >>> from cuda_nms import KERNEL         # your file, cuda_nms.py
    >>> from tinyvision.exercises import load
    >>> from tinyvision.exercises.drivers.cuda_nms import pairs
    >>> library = load("cuda_nms").texts["KERNEL"].library(KERNEL)          # compiled
    >>> boxes = np.array([[0.0, 0, 4, 4], [0, 0, 4, 3], [6, 6, 8, 9]])
    >>> pairs(library, boxes, 0.5, 4)
    array([[0, 1, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 0, 0]])
"""
import ctypes
import mmap
import os
import tempfile

import numpy as np

UNTOUCHED = 0x5A
CLOSED = 1 << 22                        # bytes beside an array, whole pages: more than any index
RACE = ("the result depends on the order in which threads run: a race (is a __syncthreads() "
        "missing?)")
NEVER_WRITTEN = ("the result depends on what was left in shared memory, or in a variable: KERNEL "
                 "reads what none of this block's threads has written (where do the boxes end? "
                 "what has to be 0 at first?)")
FORWARDS, BACKWARDS = False, True       # the order of blocks and threads
ALL_NAN, ZERO_AT_FIRST, AS_IT_WAS = range(3)    # shared memory when a block, or a launch, begins


class KernelError(RuntimeError):
    """A kernel did what is undefined on a GPU."""


def load(kernel):
    """``launch(blocks, threads, boxes, N, threshold, mask)`` of a compiled library's bytes; a
    function in NumPy stands for itself."""
    if callable(kernel):
        return kernel
    handle, path = tempfile.mkstemp(suffix=".so")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(kernel)
        entry = ctypes.CDLL(path).fenced_launch
    finally:
        os.unlink(path)

    def launch(blocks, threads, boxes, N, threshold, mask):
        def once(*how):
            return run(entry, how, blocks, threads, boxes, N, threshold, mask)

        again = once(BACKWARDS, ALL_NAN)
        run_before(entry, blocks, threads, boxes, threshold)
        found = once(FORWARDS, AS_IT_WAS)
        if (found != again).any():      # one more run tells which of the two differences it was
            raise KernelError(RACE if (once(FORWARDS, ALL_NAN) != again).any() else NEVER_WRITTEN)
        mask[...] = found
    return launch


def run(entry, how, blocks, threads, boxes, N, threshold, mask):
    """The mask after one launch; KernelError where something undefined happened.

    Arguments:
        how: (FORWARDS or BACKWARDS, what a block finds in shared memory).
    """
    first = how[0] is BACKWARDS         # once nothing may be read before an array, once behind it
    (_, near), (beside, inside) = fenced(boxes, first), fenced(mask, first)
    values = (ctypes.c_void_p(near.ctypes.data), ctypes.c_int(N), ctypes.c_double(threshold),
              ctypes.c_void_p(inside.ctypes.data))
    pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
    sizes = (*blocks, 1, 1)[:3] + (*threads, 1, 1)[:3] + (0,)
    message = ctypes.create_string_buffer(512)
    entry((ctypes.c_uint * 7)(*sizes), pointers, *how, message)
    if message.value:
        raise KernelError("KERNEL, " + message.value.decode("utf-8", "replace"))
    if (beside != UNTOUCHED).any():
        raise KernelError(f"KERNEL writes {'behind the end' if first else 'before the beginning'} "
                          "of mask")
    return inside


def run_before(entry, blocks, threads, boxes, threshold):
    """A launch for what it leaves in shared memory: of as many boxes as there are threads, so that
    where the next launch has no box there lies one that overlaps others. Its result is nobody's."""
    full = np.resize(boxes, (blocks[0] * threads[0], 4))
    try:
        run(entry, (FORWARDS, ZERO_AT_FIRST), blocks, threads, full, len(full), threshold,
            np.zeros((len(full), blocks[0]), np.uint64))
    except KernelError:
        pass                            # of other boxes than the case's: said where it has its own


def fenced(array, first):
    """(what lies on its other side, a copy of an array that begins or ends where a page of memory
    does); the pages before it (``first``), or behind it, are closed: whoever reads or writes there
    is stopped."""
    page = mmap.PAGESIZE
    size = page + -(-array.nbytes // page) * page
    room = mmap.mmap(-1, size + CLOSED)
    start = np.frombuffer(room, np.uint8).ctypes.data
    closed, at = (0, CLOSED) if first else (size, size - array.nbytes)
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + closed), ctypes.c_size_t(CLOSED), 0)
    inside = np.frombuffer(room, array.dtype, array.size, at).reshape(array.shape)
    beside = np.frombuffer(room, np.uint8, size - array.nbytes, at + array.nbytes if first else 0)
    beside[...], inside[...] = UNTOUCHED, array
    return beside, inside


def pairs(kernel, boxes, threshold, threads):
    """(N, words * threads) 0 or 1: bit k of word w of row n, at [n, w * threads + k].

    Arguments:
        boxes: (N, 4) boxes (x0, y0, x1, y1), the best first.
        threads: of a block, at most 64; there are as many blocks as it takes, in both directions.
    """
    N, words = len(boxes), -(-len(boxes) // threads)
    mask = np.zeros((N, words), np.uint64)
    load(kernel)((words, words), (threads,), boxes.astype(np.float64), N, float(threshold), mask)
    if threads < 64 and (mask >> np.uint64(threads)).any():
        raise KernelError(f"KERNEL sets bits above bit {threads - 1}, with {threads} threads in a "
                          "block")
    bits = mask[:, :, None] >> np.arange(threads, dtype=np.uint64) & np.uint64(1)
    return bits.reshape(N, words * threads).astype(np.int64)


def pairs_text(boxes, threshold, threads):
    """A case as a program: ``boxes = np.array(...); pairs(library, boxes, 0.5, 2)``."""
    return f"{boxes_text(boxes)}; pairs(library, boxes, {threshold:g}, {threads})"


def survivors_text(boxes, scores, threshold, threads):
    """The same of `survivors`."""
    numbers = ", ".join(f"{score:g}" for score in scores.tolist())
    return f"{boxes_text(boxes)}; scores = np.array([{numbers}]); " \
           f"survivors(library, boxes, scores, {threshold:g}, {threads})"


def boxes_text(boxes):
    """``boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 3]])``; of many equal ones, how many."""
    rows = [f"[{', '.join(f'{number:.4g}' for number in box)}]" for box in boxes.tolist()]
    if len(rows) > 8 and len(set(rows)) == 1:
        return f"boxes = np.array([{rows[0]}] * {len(rows)})"
    return f"boxes = np.array([{', '.join(rows)}])"


def survivors(kernel, boxes, scores, threshold, threads):
    """Indices of the boxes kept, by decreasing score, equal scores by increasing index."""
    order = np.argsort(-scores, kind="stable")
    suppresses = pairs(kernel, boxes[order], threshold, threads)
    removed, keep = np.zeros(suppresses.shape[1], bool), []
    for n, index in enumerate(order.tolist()):
        if not removed[n]:
            keep.append(index)
            removed |= suppresses[n] > 0
    return np.array(keep, np.int64)
