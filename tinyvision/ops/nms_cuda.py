"""Non-maximum suppression on a GPU: all pairs in parallel, then one sweep that stays on the device.

    mask[n, m]: box m comes after box n, is of its class, and overlaps it by more than the threshold

takes one bit a pair. A block of 64 threads compares 64 boxes with 64 others, which it holds in
shared memory: 128 boxes are fetched for 4096 pairs. Below the diagonal nothing is computed, and
nothing read. The sweep down the sorted boxes is serial by nature, but only 64 boxes at a time: the
bits of those 64 among themselves decide who of them stays; then all threads together cross out what
the survivors suppress. Greedy order, ties and bits are the reference's.
"""
from __future__ import annotations

import numpy as np

from tinyvision.cuda import fast, launch
from tinyvision.device import module_of
from tinyvision.ops.box_iou import IOU
from tinyvision.ops.nms import nms_kernel

MASK = IOU + """
typedef unsigned long long word;

// -1 where it is not positive and finite: such a box suppresses nothing and is not suppressed.
__device__ real sane_area(const real *a) { return positive(area(a)) ? area(a) : -1; }

// The division comes last: most pairs do not meet, and never reach it.
__device__ bool suppresses(const real *a, real first, const real *b, real second, real threshold) {
  real w = min(a[2], b[2]) - max(a[0], b[0]), h = min(a[3], b[3]) - max(a[1], b[1]);
  if (!(w > 0 && h > 0 && first > 0 && second > 0)) return false;
  real inter = times(w, h);
  return inter / (first + second - inter) > threshold;
}

extern "C" __global__ void kernel(const real *boxes, const long long *classes, real threshold,
                                  unsigned long long *mask, int N, int words) {
  if (blockIdx.x < blockIdx.y) return;             // the whole block: all its m are before its n
  __shared__ real others[64][4], areas[64];
  __shared__ long long kinds[64];
  int t = threadIdx.x, n = blockIdx.y * 64 + t, first = blockIdx.x * 64, m = first + t;
  if (m < N) {
    for (int e = 0; e < 4; ++e) others[t][e] = boxes[4 * m + e];
    areas[t] = sane_area(others[t]);
    kinds[t] = classes[m];
  }
  __syncthreads();                                 // all 64 others are there
  if (n >= N) return;
  real box[4] = {boxes[4 * n], boxes[4 * n + 1], boxes[4 * n + 2], boxes[4 * n + 3]};
  real own = sane_area(box);
  word bits = 0;
  for (int k = max(0, n + 1 - first); k < min(64, N - first); ++k)
    if (kinds[k] == classes[n] && suppresses(box, own, others[k], areas[k], threshold))
      bits |= word(1) << k;
  mask[n * words + blockIdx.x] = bits;
}
"""

SWEEP = """
typedef unsigned long long word;

// One block walks down the diagonal. `removed` has one bit a box: a kept box has crossed it out.
extern "C" __global__ void kernel(const unsigned long long *mask, bool *keep, int N, int words) {
  extern __shared__ word removed[];
  __shared__ word among[64];                       // who of 64 boxes suppresses whom of them
  int t = threadIdx.x, threads = blockDim.x;
  for (int w = t; w < words; w += threads) removed[w] = 0;
  word next = t < min(64, N) ? mask[t * words] : 0;

  for (int c = 0; c < words; ++c) {
    int first = 64 * c, count = min(64, N - first);
    if (t < 64) among[t] = next;
    __syncthreads();                               // `among`, and what others removed, is complete

    // Every thread walks the 64 by itself: all read the same word, which is sent to all at once,
    // and nobody has to wait for anybody's answer.
    word gone = removed[c], kept = 0;
    for (int k = 0; k < count; ++k)
      if (!(gone >> k & 1)) {
        kept |= word(1) << k;
        gone |= among[k];
      }
    if (t < count) keep[first + t] = kept >> t & 1;

    // Fetch the next diagonal while the survivors' rows arrive. A thread owns a word of every row:
    // neighbours read neighbours.
    next = t < min(64, N - first - 64) ? mask[(first + 64 + t) * words + c + 1] : 0;
    for (int w = c + 1 + t; w < words; w += threads) {
      word bits = 0;
      for (word left = kept; left; left &= left - 1)           // the lowest bit, then without it
        bits |= mask[(first + __ffsll(left) - 1) * words + w];
      removed[w] |= bits;
    }
    __syncthreads();                               // nobody reads `among` any more
  }
}
"""


@fast(nms_kernel)
def _(boxes, classes, threshold, keep):
    N, words = len(boxes), -(-len(boxes) // 64)
    if N == 0:
        return
    mask = module_of(boxes).empty((N, words), np.uint64)
    launch(MASK, (words, words), (64,), boxes=boxes, classes=classes, threshold=threshold,
           mask=mask, N=N, words=words)
    launch(SWEEP, (1,), (min(1024, max(64, -(-words // 32) * 32)),), shared=8 * words, mask=mask,
           keep=keep, N=N, words=words)
