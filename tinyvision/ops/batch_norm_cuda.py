"""Batch norm's sums over a channel on a GPU: many blocks a channel, then one warp that joins them.

A block of 256 threads reads 4096 elements of a channel, once, into registers: 16 a thread. So its
mean can be taken first, and the squares about it second, without a second pass over memory: as
exact as two passes, at the price of one. One block a channel would leave half the chip idle (64
channels, 132 multiprocessors); parts of a fixed size give every chip enough blocks, and the same
rounding everywhere. A warp then joins the parts of a channel in a fixed order.
"""
from __future__ import annotations

from tinyvision.cuda import DIVISOR, divisor, fast, launch
from tinyvision.device import empty
from tinyvision.ops.batch_norm import channel_moments, channel_sums

PART = 4096                                # elements a block

PARTS = DIVISOR + """
const int THREADS = 256;
const int OWN = 16;

// The sum over a warp, in every lane: after 5 exchanges each has met all 32. No memory, no barrier.
__device__ real warp_sum(real value) {
  for (int step = 16; step; step /= 2) value += __shfl_xor_sync(0xffffffff, value, step);
  return value;
}

// The sum over the block, in every thread: the warps meet in shared memory.
__device__ real block_sum(real value) {
  __shared__ real warps[THREADS / 32];
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();                               // every warp has written its sum
  real total = 0;
  for (int w = 0; w < THREADS / 32; ++w) total += warps[w];
  __syncthreads();                               // all have read: `warps` may be used again
  return total;
}
"""

MOMENTS = PARTS + """
// means, squares (C, parts): of 4096 elements of channel c, and their squared distances summed
extern "C" __global__ void __launch_bounds__(THREADS) kernel(
    const real *x, real *means, real *squares, int C, int M, int L, unsigned factor, int shift) {
  const divisor length = {L, factor, shift};
  int c = blockIdx.y, first = blockIdx.x * THREADS * OWN;
  real value[OWN], total = 0, distances = 0;
  for (int e = 0; e < OWN; ++e) {                // neighbours read neighbours
    int k = first + e * THREADS + threadIdx.x, n = k / length;
    value[e] = k < M ? x[(n * C + c) * L + k - n * L] : 0;
    total += value[e];
  }
  real mean = block_sum(total) / min(THREADS * OWN, M - first);
  for (int e = 0; e < OWN; ++e) {
    real distance = value[e] - mean;
    if (first + e * THREADS + int(threadIdx.x) < M) distances += distance * distance;
  }
  distances = block_sum(distances);
  if (threadIdx.x == 0) {
    means[c * gridDim.x + blockIdx.x] = mean;
    squares[c * gridDim.x + blockIdx.x] = distances;
  }
}
"""

JOIN = """
// The sums over two sets of elements from those over each: Chan, Golub and LeVeque 1979.
__device__ void join(double &count, double &mean, double &squares, double others, double their_mean,
                     double their_squares) {
  if (others == 0) return;
  double share = others / (count + others), step = their_mean - mean;
  squares += their_squares + step * step * count * share;
  mean += step * share;
  count += others;
}

// out (2, C): means and variances. One warp a channel: every lane takes its share of the parts.
extern "C" __global__ void kernel(const real *means, const real *squares, real *out, int C, int M,
                                  int parts, int size) {
  int c = blockIdx.x, lane = threadIdx.x;
  double count = 0, mean = 0, sum = 0;
  for (int k = lane; k < parts; k += 32)
    join(count, mean, sum, min(size, M - k * size), means[c * parts + k], squares[c * parts + k]);
  for (int step = 16; step; step /= 2) {         // lane k takes in lane k + step
    double others = __shfl_down_sync(0xffffffff, count, step);
    double their_mean = __shfl_down_sync(0xffffffff, mean, step);
    double their_squares = __shfl_down_sync(0xffffffff, sum, step);
    join(count, mean, sum, others, their_mean, their_squares);
  }
  if (lane == 0) {
    out[c] = mean;
    out[C + c] = sum / count;
  }
}
"""

SUMS = PARTS + """
// totals, weighted (C, parts): the sums of g and of g (x - m) over 4096 elements of channel c
extern "C" __global__ void __launch_bounds__(THREADS) kernel(
    const real *g, const real *x, const real *moments, real *totals, real *weighted, int C, int M,
    int L, unsigned factor, int shift) {
  const divisor length = {L, factor, shift};
  int c = blockIdx.y, first = blockIdx.x * THREADS * OWN;
  real m = moments[c], a = 0, b = 0;
  for (int e = 0; e < OWN; ++e) {
    int k = first + e * THREADS + threadIdx.x, n = k / length;
    if (k >= M) break;
    int i = (n * C + c) * L + k - n * L;
    a += g[i];
    b += g[i] * (x[i] - m);
  }
  a = block_sum(a);
  b = block_sum(b);
  if (threadIdx.x == 0) {
    totals[c * gridDim.x + blockIdx.x] = a;
    weighted[c * gridDim.x + blockIdx.x] = b;
  }
}
"""

ADD = """
// out (2, C): the sums of all parts, the second divided by the channel's deviation
extern "C" __global__ void kernel(const real *totals, const real *weighted, const real *moments,
                                  real *out, real eps, int C, int parts) {
  int c = blockIdx.x, lane = threadIdx.x;
  double a = 0, b = 0;
  for (int k = lane; k < parts; k += 32) {
    a += totals[c * parts + k];
    b += weighted[c * parts + k];
  }
  for (int step = 16; step; step /= 2) {
    a += __shfl_down_sync(0xffffffff, a, step);
    b += __shfl_down_sync(0xffffffff, b, step);
  }
  if (lane == 0) {
    out[c] = a;
    out[C + c] = b / sqrt(double(moments[C + c]) + eps);
  }
}
"""


@fast(channel_moments)
def _(x, out):
    (N, C, L), parts = x.shape, _parts(x)
    means, squares = empty((C, parts), like=x), empty((C, parts), like=x)
    launch(MOMENTS, (parts, C), (256,), x=x, means=means, squares=squares, C=C, M=N * L,
           **_length(L))
    launch(JOIN, (C,), (32,), means=means, squares=squares, out=out, C=C, M=N * L, parts=parts,
           size=PART)


@fast(channel_sums)
def _(g, x, moments, eps, out):
    (N, C, L), parts = x.shape, _parts(x)
    totals, weighted = empty((C, parts), like=x), empty((C, parts), like=x)
    launch(SUMS, (parts, C), (256,), g=g, x=x, moments=moments, totals=totals, weighted=weighted,
           C=C, M=N * L, **_length(L))
    launch(ADD, (C,), (32,), totals=totals, weighted=weighted, moments=moments, out=out,
           eps=float(eps), C=C, parts=parts)


def _parts(x):
    return max(1, -(-x.shape[0] * x.shape[2] // PART))


def _length(L):
    return dict(zip(("L", "factor", "shift"), divisor(L)))
