"""Layer norm on a GPU: a block owns a row, whose mean is so worked out once, not D times.

The row is read from memory once: the second and third walk over it find it in the cache. Backward,
the sums over the rows (the gradients of weight and bias) are taken by blocks of 32 columns, in
shares of the rows, which are then added in their order.
"""
from __future__ import annotations

from tinyvision.cuda import fast, launch, per_element
from tinyvision.device import empty
from tinyvision.ops.layer_norm import layer_norm_backward, layer_norm_kernel

SHARE = 512                                # rows that a block sums

ROW = """
// The sum over the block, in every thread: each warp by shuffles, the warps in shared memory.
__device__ real block_sum(real value) {
  __shared__ real warps[32];
  for (int step = 16; step; step /= 2) value += __shfl_xor_sync(0xffffffff, value, step);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();                               // every warp has written its sum
  real total = 0;
  for (int w = 0; w < blockDim.x / 32; ++w) total += warps[w];
  __syncthreads();                               // all have read: `warps` may be used again
  return total;
}

// The mean of a row and 1 / its deviation. First the mean, then the squares about it: subtracting
// the square of the mean from the mean of the squares would cancel.
__device__ real moments(const real *row, int D, real eps, real *mean) {
  real total = 0, squares = 0;
  for (int d = threadIdx.x; d < D; d += blockDim.x) total += row[d];
  *mean = block_sum(total) / D;
  for (int d = threadIdx.x; d < D; d += blockDim.x) squares += (row[d] - *mean) * (row[d] - *mean);
  return 1 / sqrt(block_sum(squares) / D + eps);
}
"""

FORWARD = ROW + """
// y[r] = (x[r] - mean) / deviation * weight + bias. One block: row r.
extern "C" __global__ void kernel(const real *x, const real *weight, const real *bias, real eps,
                                  real *y, int D) {
  const real *row = x + (long long)blockIdx.x * D;
  real mean, scale = moments(row, D, eps, &mean);
  for (int d = threadIdx.x; d < D; d += blockDim.x)
    y[(long long)blockIdx.x * D + d] = (row[d] - mean) * scale * weight[d] + bias[d];
}
"""

BACKWARD = ROW + """
// dx[r] = (u - mean(u) - x^ mean(u x^)) / deviation, u = g weight. One block: row r. What the
// columns need of it, mean and 1 / deviation, is left in `rows` (2, R).
extern "C" __global__ void kernel(const real *g, const real *x, const real *weight, real eps,
                                  real *dx, real *rows, int R, int D) {
  int r = blockIdx.x;
  const real *row = x + (long long)r * D, *cotangent = g + (long long)r * D;
  real mean, scale = moments(row, D, eps, &mean), total = 0, weighted = 0;
  for (int d = threadIdx.x; d < D; d += blockDim.x) {
    real u = cotangent[d] * weight[d];
    total += u;
    weighted += u * ((row[d] - mean) * scale);
  }
  total = block_sum(total) / D;
  weighted = block_sum(weighted) / D;
  for (int d = threadIdx.x; d < D; d += blockDim.x)
    dx[(long long)r * D + d] =
        (cotangent[d] * weight[d] - total - (row[d] - mean) * scale * weighted) * scale;
  if (threadIdx.x == 0) {
    rows[r] = mean;
    rows[R + r] = scale;
  }
}
"""

COLUMNS = """
// shares (parts, 2, D): the sums of g x^ and of g over a share of the rows. One block: 32 columns,
// which its warps read side by side, 8 rows at a time.
extern "C" __global__ void kernel(const real *g, const real *x, const real *rows, real *shares,
                                  int R, int D, int share) {
  __shared__ real weighted[8][32], plain[8][32];
  int column = threadIdx.x, d = blockIdx.x * 32 + column, first = blockIdx.y * share;
  real a = 0, b = 0;
  for (int r = first + threadIdx.y; r < min(first + share, R) && d < D; r += 8) {
    a += g[r * D + d] * ((x[r * D + d] - rows[r]) * rows[R + r]);
    b += g[r * D + d];
  }
  weighted[threadIdx.y][column] = a;
  plain[threadIdx.y][column] = b;
  __syncthreads();                               // all eight rows of sums are there
  if (threadIdx.y == 0 && d < D) {
    for (int k = 1; k < 8; ++k) {
      a += weighted[k][column];
      b += plain[k][column];
    }
    shares[(blockIdx.y * 2) * D + d] = a;
    shares[(blockIdx.y * 2 + 1) * D + d] = b;
  }
}
"""


@fast(layer_norm_kernel)
def _(x, weight, bias, eps, y):
    R, D = x.shape
    launch(FORWARD, (R,), (threads(D),), x=x, weight=weight, bias=bias, eps=float(eps), y=y, D=D)


@fast(layer_norm_backward)
def _(g, x, weight, eps, out):
    (R, D), parts = x.shape, max(1, -(-len(x) // SHARE))
    rows, shares = empty((2, R), like=x), empty((parts, 2, D), like=x)
    launch(BACKWARD, (R,), (threads(D),), g=g, x=x, weight=weight, eps=float(eps), dx=out[:R],
           rows=rows, R=R, D=D)
    launch(COLUMNS, (-(-D // 32), parts), (32, 8), g=g, x=x, rows=rows, shares=shares, R=R, D=D,
           share=SHARE)
    per_element(out[R:], "for (int k = 0; k < parts; ++k) out += shares[k * size + i];",
                shares=shares, parts=parts, size=2 * D)


def threads(D):
    """Whole warps, some four elements a thread, at most 1024 threads."""
    return min(1024, max(32, D // 128 * 32))
