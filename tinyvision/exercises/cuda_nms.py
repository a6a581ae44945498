r'''# A CUDA kernel for non-maximum suppression

Write the body of a kernel that finds, for all pairs of boxes at once, which box suppresses which.
Of N boxes, sorted by score, box n suppresses box m if m comes after it and they overlap too much:

$$\text{bit}(n, m) = 1 \quad\text{if}\quad m > n \;\text{and}\;
\frac{\text{area of intersection}}{\text{area of union}} > \text{threshold}$$

The pairs form a square, the mask. A block of T threads takes a tile of T x T pairs: in block
(x, y), thread t compares box n = y T + t with the T boxes m = x T, x T + 1, ..., and puts the
answers into one word: bit k is for box m = x T + k. All T threads need the same T boxes, so they
fetch them together, one each, into shared memory:

    boxes m = x T + k             block (x, y) = (1, 0), T = 4, N = 7
         4 5 6 .
    n 0  b b b 0                  thread 0 writes word [0][1], thread 1 word [1][1], ...
      1  b b b 0                  box 7 is none: its bit is 0, and nobody reads or writes there
      2  b b b 0
      3  b b b 0

**By hand.** Threshold 0.5, boxes (0, 0, 4, 4), (0, 0, 4, 3), (6, 6, 8, 9) and T = 4: box 0 meets
box 1 with 12 / 16 = 0.75, so bit 1 of word [0][0] is set: the mask is 2, 0, 0.

**Conventions.**

- `KERNEL` is CUDA C++ with one function as below; `real` is double, `word` is unsigned long long.
  You may add functions and constants before it.
- boxes is (N, 4), a box (x0, y0, x1, y1) in continuous coordinates (no "+1"); box n begins at
  `boxes[4 * n]`. A box whose IoU is exactly the threshold is not suppressed. Boxes that do not
  overlap in both directions have the IoU 0.
- mask is (N, words), row by row, words = `gridDim.x`. It is 0 before. There are gridDim.x x
  gridDim.x blocks of blockDim.x threads (at most 64). Bits of boxes up to n, and of boxes that are
  not there, stay 0.
- A barrier, `__syncthreads()`, must be reached by all threads of a block or by none. Atomics,
  votes and shuffles are there, too, if you want them.

No GPU is needed: the text runs on the host, thread by thread, and what a GPU would leave undefined
is reported, with line, block and thread.
'''
from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyvision.exercises.drivers import cuda_nms as driver
from tinyvision.exercises.exercise import Case, CudaText, Exercise, Mistake, versions

KERNEL = r"""
extern "C" __global__ void kernel(const real *boxes, int N, real threshold, word *mask) {
  // ### BEGIN SOLUTION
  if (blockIdx.x < blockIdx.y) return;          // all threads: every m of this tile is before its n
  __shared__ real tile[64][4];
  int T = blockDim.x, t = threadIdx.x, n = blockIdx.y * T + t, first = blockIdx.x * T;
  if (first + t < N)
    for (int e = 0; e < 4; ++e) tile[t][e] = boxes[4 * (first + t) + e];
  __syncthreads();                              // the tile is complete
  if (n >= N) return;

  const real *a = boxes + 4 * n;
  word bits = 0;
  for (int k = 0; k < T && first + k < N; ++k) {
    const real *b = tile[k];
    real w = min(a[2], b[2]) - max(a[0], b[0]), h = min(a[3], b[3]) - max(a[1], b[1]);
    if (first + k <= n || w <= 0 || h <= 0) continue;
    real both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]);
    if (w * h / (both - w * h) > threshold) bits |= word(1) << k;
  }
  mask[n * gridDim.x + blockIdx.x] = bits;
  // ### END SOLUTION
}
"""


def mask_of(blocks, threads, boxes, N, threshold, mask):
    """What the kernel writes, in NumPy."""
    _write(_after(N) & (_iou(boxes) > threshold), threads, mask)


def _write(hit, threads, mask):
    """Put a matrix of N x N truths into words."""
    for n, m in np.argwhere(hit):
        mask[n, m // threads[0]] |= np.uint64(1) << np.uint64(m % threads[0])


def _after(N):
    return np.triu(np.ones((N, N), bool), 1)


def _iou(boxes, extra=0.0, smaller=False, clip=0.0):
    """(N, N) IoUs of boxes with one another, with what can go wrong in them."""
    size = np.maximum(np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
                      - np.maximum(boxes[:, None, :2], boxes[None, :, :2]) + extra, clip)
    both, area = size[..., 0] * size[..., 1], np.prod(boxes[:, 2:] - boxes[:, :2] + extra, axis=1)
    under = np.minimum(area[:, None], area) if smaller else area[:, None] + area - both
    return np.divide(both, under, out=np.zeros_like(both), where=under != 0)


# ---- mistakes ------------------------------------------------------------------------------------

def _wrong(hit):
    """A launch that writes other truths: ``hit(boxes, N, threshold, T)``."""
    def launched(blocks, threads, boxes, N, threshold, mask):
        _write(hit(boxes, N, threshold, threads[0]), threads, mask)
    return launched


def _shifted_ints(blocks, threads, boxes, N, threshold, mask):
    """``1 << k`` is an int: bit 31 is its sign, and 32 more is the same as 0 more."""
    for n, m in np.argwhere(_after(N) & (_iou(boxes) > threshold)):
        one = np.uint64(1 << m % threads[0] % 32)
        mask[n, m // threads[0]] |= one if one < 2 ** 31 else np.uint64(2 ** 64 - 2 ** 31)


def _first_tile(boxes, N, threshold, T):
    hit = _after(N) & (_iou(boxes) > threshold)
    hit[T:], hit[:, T:] = False, False
    return hit


def _in_row_of_blocks(blocks, threads, boxes, N, threshold, mask):
    """All blocks of a row write to one word. On a GPU any of them may be the last; where that makes
    a difference the driver says so, and no answer is compared."""
    _write(_after(N) & (_iou(boxes) > threshold), threads, mask)
    mask[np.arange(N), np.arange(N) // threads[0]] = mask[:, -1]
    mask[np.arange(mask.shape[1]) != np.arange(N)[:, None] // threads[0]] = 0


def _later_in_tile(boxes, N, threshold, T):
    place = np.arange(N) % T
    return _after(N) & (place > place[:, None]) & (_iou(boxes) > threshold)


def _over(under):
    """Another divisor: ``under(intersection, areas of n, areas of m)``."""
    def hit(boxes, N, threshold, T):
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        both = _iou(boxes) / (1 + _iou(boxes)) * (area[:, None] + area)
        first, second = np.broadcast_arrays(area[:, None], area)
        return _after(N) & (both > threshold * under(both, first, second))
    return _wrong(hit)


def _plus_one_in(size, area, positive=False):
    """+ 1 in the overlap's sides, in the areas; ``positive``: only of boxes that do overlap."""
    def iou(boxes):
        sides = (np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
                 - np.maximum(boxes[:, None, :2], boxes[None, :, :2]))
        there = (sides > 0).all(-1) if positive else True
        both = np.where(there, np.maximum(sides + size, 0).prod(-1), 0)
        areas = np.prod(boxes[:, 2:] - boxes[:, :2] + area, axis=1)
        return both / (areas[:, None] + areas - both)
    return iou


def _not_before(N, T):
    """The pairs of all blocks that do not return at once: their own tile and those to the right."""
    tile = np.arange(N) // T
    return tile >= tile[:, None]


def _hits(compare, pairs=lambda N, T: _after(N), iou=_iou):
    """A launch that compares IoUs and thresholds otherwise, for certain pairs."""
    return _wrong(lambda b, N, t, T: pairs(N, T) & compare(iou(b), t))


def _or_equal(iou, threshold):
    return (iou >= threshold) & (iou > 0)


def _as_sizes(boxes):
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


MISTAKES = tuple(Mistake("KERNEL", name, hint, wrong) for name, hint, wrong in (
    ("at-the-threshold", "A box whose IoU is exactly the threshold stays: greater, or greater or "
     "equal?", _wrong(lambda b, N, t, T: _after(N) & (_iou(b) >= max(t, 1e-9)))),
    ("plus-one", "Coordinates are continuous: a box from 0 to 2 is 2 wide. The + 1 belongs to "
     "boxes that count whole pixels.", _wrong(lambda b, N, t, T: _after(N) & (_iou(b, 1.0) > t))),
    ("smaller-area", "You divide the intersection by the smaller box. What does the U in IoU "
     "stand for?", _wrong(lambda b, N, t, T: _after(N) & (_iou(b, smaller=True) > t))),
    ("not-clipped", "Where two boxes are apart, the overlap's width is negative; two negative "
     "sides multiply to a positive area.",
     _wrong(lambda b, N, t, T: _after(N) & (_iou(b, clip=-np.inf) > t))),
    ("read-as-sizes", "The last two numbers of a box are its other corner, not its width and "
     "height.", _wrong(lambda b, N, t, T: _after(N) & (_iou(_as_sizes(b)) > t))),
    ("both-ways", "Boxes are sorted: the worse one of two never suppresses the better. Which half "
     "of the square stays 0?",
     _wrong(lambda b, N, t, T: ~np.eye(N, dtype=bool) & (_iou(b) > t))),
    ("itself", "A box overlaps itself completely. Should it suppress itself?",
     _wrong(lambda b, N, t, T: (_after(N) | np.eye(N, dtype=bool)) & (_iou(b) > t))),
    ("shift-of-an-int", "1 << k shifts an int of 32 bits. What must the 1 be, so that bit 40 is "
     "there?", _shifted_ints),
    ("first-tile-only", "Only the pairs of the first T boxes are compared. Which boxes belong to "
     "block (x, y)?", _wrong(_first_tile)),
    ("word-of-the-row", "You write to word [n][blockIdx.y]: all blocks of a row to the same one. "
     "Which of x and y counts the boxes m?", _in_row_of_blocks),
    ("later-in-every-tile", "You compare the places k and t within a tile. Box m = x T + k may "
     "come after n = y T + t also where k is less than t.", _wrong(_later_in_tile)),
    ("union-counts-twice", "The sum of both areas counts the part that they share twice.",
     _over(lambda both, first, second: first + second)),
    ("dice", "Twice the intersection over the sum of areas is the Dice coefficient, a relative of "
     "the IoU.", _over(lambda both, first, second: (first + second) / 2)),
    ("of-one-box", "You divide by the area of one of the two boxes. What does the U in IoU stand "
     "for?", _over(lambda both, first, second: first)),
    ("larger-area", "You divide by the larger box. What does the U in IoU stand for?",
     _over(lambda both, first, second: np.maximum(first, second))),
    ("nothing-written", "No bit of the mask is ever set. Is there a line that writes to mask, and "
     "does any thread come to it?", _wrong(lambda b, N, t, T: np.zeros((N, N), bool))),
    ("not-divided", "You compare the intersection's area itself with the threshold.",
     _over(lambda both, first, second: 1.0)),
))

MISTAKES += versions(MISTAKES, {
    ("KERNEL", "at-the-threshold"): (
        _hits(np.greater_equal), _hits(_or_equal, _not_before),
        _hits(_or_equal, lambda N, T: np.ones((N, N), bool)),
        _hits(_or_equal, iou=lambda b: _iou(b, smaller=True)),
        _hits(_or_equal, lambda N, T: _after(N) | np.eye(N, dtype=bool))),
    ("KERNEL", "plus-one"): (
        *(_hits(np.greater, iou=_plus_one_in(*where))
          for where in ((1, 1, True), (1, 0), (0, 1), (1, 0, True))),),
    ("KERNEL", "both-ways"): (
        _hits(np.greater, lambda N, T: np.ones((N, N), bool)), _hits(np.greater, _not_before),
        _hits(np.greater, lambda N, T: _not_before(N, T) & ~np.eye(N, dtype=bool)),
        _hits(np.greater, lambda N, T: ~np.triu(np.ones((N, N), bool)))),
    ("KERNEL", "of-one-box"): (_over(lambda both, first, second: second),),
})


# ---- small calls ---------------------------------------------------------------------------------

ONE, LOWER, NARROWER, SMALLER = (0, 0, 4, 4), (0, 0, 4, 3), (0, 0, 3, 4), (0, 0, 3, 3)
SMALL = tuple((np.array(boxes, float), threshold, threads) for boxes, threshold, threads in (
    ([ONE, LOWER], 0.5, 2),                                     # 3/4
    ([ONE, (0, 0, 4, 2)], 0.5, 2),                              # 1/2
    ([(0, 0, 2, 2), (1, 0, 3, 2)], 0.4, 2),                     # 1/3; of one of them 1/2
    ([(0, 0, 2, 2), (1, 0, 3, 2)], 0.3, 2),                     # of both together 1/4
    ([ONE, (0, 0, 2, 2)], 0.5, 2),                              # 1/4; of the smaller 1
    ([(0, 0, 2, 2), ONE], 0.5, 2),
    ([(1, 0, 3, 2), (3, 0, 5, 2)], 0.0, 2),                     # side by side
    ([(0, 0, 2, 2), (4, 4, 6, 6)], 0.0, 2),                     # apart in both directions
    ([ONE, LOWER], 0.5, 1),
    ([ONE, LOWER, NARROWER], 0.5, 4),
    ([ONE, LOWER, NARROWER], 0.5, 2),
    ([ONE, LOWER, NARROWER, SMALLER], 0.5, 2),
    ([ONE, LOWER, NARROWER, SMALLER], 0.5, 4),
    ([ONE] * 33, 0.5, 64), ([ONE] * 65, 0.5, 64)))


def _simpler(case):
    """Small calls; then this case with fewer boxes, and in whole numbers. A case without a name is
    on its way to be small."""
    if case.name:
        yield from (Case(case.function, "", args, driver="pairs") for args in SMALL)
    boxes, *others, threshold, threads = case.args
    if len(boxes) > 12 or any(boxes is small for small, _, _ in SMALL):
        return                          # of more nothing is left that can be read
    for count in dict.fromkeys((len(boxes) // 2, len(boxes) // 4, 1)):
        for start in range(0, len(boxes) - count + 1, max(1, count)):
            gone = np.s_[start:start + count]
            fewer = tuple(np.delete(rows, gone, axis=0) for rows in (boxes, *others))
            yield replace(case, name="", args=(*fewer, threshold, threads))
    for scale in (1, 4, 10) if (boxes != np.round(boxes)).any() else ():
        yield replace(case, name="", args=(np.round(scale * boxes), *others, threshold, threads))


# ---- cases ---------------------------------------------------------------------------------------

def _placed(rng, boxes):
    """Boxes of small integers, all moved by the same whole number of pixels, in a random order: it
    is not known beforehand who comes first of two that overlap."""
    dx, dy = rng.integers(1, 6, 2)
    return rng.permutation(np.array(boxes, float)) + [dx, dy, dx, dy]


def _again(rng, draw, threshold):
    """Small integers drawn again while an IoU is exactly the threshold: that has a case of its
    own."""
    while True:
        boxes = _placed(rng, draw(rng))
        if np.abs(_iou(boxes) - threshold).min() > 1e-3:
            return boxes


def _of_two_objects(rng):
    """Four boxes, as wide as those of the example; each stands at one of two places."""
    place, high = rng.integers(0, 2, 4), rng.integers(2, 9, 4)
    return [(6 * p, 0, 6 * p + 4, h) for p, h in zip(place.tolist(), high.tolist())]


def _nested(rng):
    """Six boxes, each inside the one before it, with some of its sides."""
    inset = np.minimum(rng.integers(0, 2, (6, 4)).cumsum(axis=0), 3)
    return [0, 0, 9, 8] + inset * [1, 1, -1, -1]


def _heaps(rng, count, threshold):
    """Random boxes, most of which overlap; drawn again while an IoU is so near the threshold that
    rounding might decide otherwise, or while nothing suppresses the last box: then two blocks that
    write to one word might agree by chance."""
    while True:
        corner = rng.uniform(0, 2.5, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(0.7, 2.0, (count, 2))], axis=1)
        iou = _iou(boxes)
        if np.abs(iou - threshold).min() > 1e-5 and (iou[:-1, -1] > threshold).any():
            return boxes


def _two_heaps(rng, count):
    """Boxes that overlap by more than half those of their own heap, and none of the other."""
    place = rng.integers(0, 2, (count, 1)) * [9.0, 0, 9, 0]
    return place + [0, 0, 4, 3] + rng.uniform(-0.2, 0.2, (count, 4))


def _crowded(draw, threshold, threads, order=slice(None)):
    """Boxes drawn again until one suppresses two of the same block. There two threads meet that put
    their bits into one word without an atomic, whatever the numbers are.

    Arguments:
        draw: makes boxes.
        order: that of their scores.
    """
    while True:
        boxes = draw()
        hit = _after(len(boxes)) & (_iou(boxes[order]) > threshold)
        if any(hit[:, i:i + threads].sum(axis=1).max() > 1 for i in range(0, len(hit), threads)):
            return boxes


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    exactly = [(0, 0, 2, 2), (0, 0, 2, 1), (0, 0, 4, 1), (5, 5, 8, 7), (5, 5, 8, 9),
               (5, 5, 8, 8)]
    apart = [(0, 0, 3, 2), (3, 0, 6, 2), (0, 2, 3, 4), (5, 5, 9, 8), (-4, -5, -1, -2),
             (8, 1, 12, 7), (-2, -3, 0, 0), (11, 6, 13, 9)]
    equal, unequal = rng.permutation(np.repeat([0.9, 0.6, 0.3], 4)), rng.permutation(45) / 50.0
    crowded = [                         # name, points, boxes, threshold, threads
        ("one block", 1, lambda: _again(rng, _of_two_objects, 0.5), 0.5, 4),
        ("exactly at the threshold", 1, lambda: _placed(rng, exactly), 0.5, 8),
        ("apart, and side by side", 1, lambda: _placed(rng, apart), 0.0, 8),
        ("one inside the other", 1, lambda: _again(rng, _nested, 0.4), 0.4, 8),
        ("four blocks", 1, lambda: _heaps(rng, 8, 0.3), 0.3, 4),
        ("a last block that is not full", 1, lambda: _heaps(rng, 11, 0.25), 0.25, 4),
        ("blocks of three threads", 1, lambda: _heaps(rng, 10, 0.2), 0.2, 3),
        ("64 threads a block", 1, lambda: _two_heaps(rng, 70), 0.5, 64)]
    by_score = np.argsort(-equal, kind="stable")
    args = [(name, points, "pairs", (_crowded(draw, threshold, threads), threshold, threads))
            for name, points, draw, threshold, threads in crowded]
    args += [
        ("one thread a block", 0.5, "pairs", (_heaps(rng, 6, 0.2), 0.2, 1)),
        ("equal scores", 0.5, "survivors",
         (_crowded(lambda: _heaps(rng, 12, 0.3), 0.3, 5, by_score), equal, 0.3, 5)),
        ("many boxes", 1, "survivors", (_heaps(rng, 45, 0.35), unequal, 0.35, 24))]
    return [Case("KERNEL", name, values, points, used) for name, points, used, values in args]


EXERCISE = Exercise(
    name="cuda_nms", title="A CUDA kernel for non-maximum suppression",
    lecture="Kempten L 10.5, Non Maximum Suppression", source="tinyvision/ops/nms_cuda.py",
    functions={"KERNEL": mask_of}, cases=cases, mistakes=MISTAKES, driver=driver,
    simpler={"pairs": _simpler, "survivors": _simpler},
    texts={"KERNEL": CudaText(
        KERNEL, "typedef double real; typedef unsigned long long word;",
        "const double *, int, double, unsigned long long *")})
