"""RoI Align on a GPU: the channels of a pixel side by side, and a backward that gathers.

Forward: with NCHW, the few pixels under a bin lie in short pieces of rows, and every channel looks
the weights up again. With NHWC a thread reads four channels of a pixel by one load of 16 bytes, its
neighbours the next ones, and the weights serve all of them. Turning x around costs two passes over
it, so it is done where the bins read several times more than x has (`turned_pays`).

Backward: a thread owns a pixel, in several channels, and asks the bins that reach it. That all
threads ask all RoIs was what made it slow: here a block of 32 x 8 pixels first lists the RoIs that
reach its tile, in their order, and then adds up these alone. No atomics: the same bits every time.
"""
from __future__ import annotations

from tinyvision.cuda import fast, launch
from tinyvision.device import empty, module_of
from tinyvision.ops.roi_align import roi_align_adjoint_kernel, roi_align_kernel

ROOM = 40 * 2**10                          # bytes of shared memory that a block may ask for
CHANNELS = 8                               # that a thread of the backward owns, as its text says

TURN = """
// y[n, l, c] = x[n, c, l]; channels from C to `width` are 0. Reading and writing must both go along
// memory, so a tile of 32 x 32 is read along l, and written along c. Its rows have 33 places: in
// rows of 32, a column would lie in a single one of the 32 banks, and be read one after the other.
extern "C" __global__ void kernel(const real *x, real *y, int C, int L, int width) {
  __shared__ real tile[32][33];
  int first_l = blockIdx.x * 32, first_c = blockIdx.y * 32, n = blockIdx.z;
  for (int r = threadIdx.y; r < 32; r += blockDim.y) {
    int c = first_c + r, l = first_l + threadIdx.x;
    tile[r][threadIdx.x] = c < C && l < L ? x[(n * C + c) * L + l] : 0;
  }
  __syncthreads();
  for (int r = threadIdx.y; r < 32; r += blockDim.y) {
    int c = first_c + threadIdx.x, l = first_l + r;
    if (c < width && l < L) y[(n * L + l) * width + c] = tile[threadIdx.x][r];
  }
}
"""

FORWARD = """
struct __align__(16) four { real of[4]; };

// y[k,c,p,q] = sum over h, w of rows[k,p,h] cols[k,q,w] x[batch[k],h,w,c]
// One block: RoI k, 4 channels times its threads along x; along y its threads share out the bins.
extern "C" __global__ void kernel(
    const real *x, const int *batch, const real *rows, const real *cols, const int *tall,
    const int *wide, real *y, int C, int width, int P, int Q, int H, int W) {
  extern __shared__ real part[];                   // [channel][bin], as y has it
  int k = blockIdx.x, bins = P * Q, each = blockDim.x * 4, first = blockIdx.y * each;
  int lane = threadIdx.x * 4, threads = blockDim.x * blockDim.y;
  const real *image = x + (long long)batch[k] * H * W * width + first + lane;

  for (int bin = threadIdx.y; bin < bins && first + lane < width; bin += blockDim.y) {
    int p = bin / Q, q = bin % Q;
    const real *row = rows + (k * P + p) * H, *col = cols + (k * Q + q) * W;
    const int *down = tall + 2 * (k * P + p), *across = wide + 2 * (k * Q + q);
    four sum = {};
    for (int h = down[0]; h < down[1]; ++h)
      for (int w = across[0]; w < across[1]; ++w) {
        real weight = row[h] * col[w];
        if (weight == 0) continue;                 // not looked at: there may be a NaN
        four pixel = *(const four *)(image + (long long)(h * W + w) * width);
        for (int e = 0; e < 4; ++e) sum.of[e] += weight * pixel.of[e];
      }
    for (int e = 0; e < 4; ++e) part[(lane + e) * bins + bin] = sum.of[e];
  }
  __syncthreads();                                 // the part is complete: it is one piece of y
  real *out = y + (k * C + first) * bins;
  int mine = threadIdx.y * blockDim.x + threadIdx.x, size = min(each, C - first) * bins;
  for (int i = mine; i < size; i += threads) out[i] = part[i];
}
"""

LIST = """
const int CHANNELS = 8;      // that a thread owns

// Write down which of 256 RoIs reach this block's tile, in their order: thread t knows of RoI
// `mine` whether it does. One's place is after all that do in earlier warps and in earlier lanes.
__device__ int list(bool reaches, int mine, int *found, int *counts) {
  int lane = threadIdx.x, warp = threadIdx.y, before = 0, all = 0;
  unsigned votes = __ballot_sync(0xffffffff, reaches);         // a bit for each lane
  if (lane == 0) counts[warp] = __popc(votes);
  __syncthreads();                                 // every warp has counted
  for (int v = 0; v < 8; ++v) {
    before += v < warp ? counts[v] : 0;
    all += counts[v];
  }
  if (reaches) found[before + __popc(votes & ((1u << lane) - 1))] = mine;
  __syncthreads();                                 // the list is complete
  return all;
}
"""

BACKWARD = LIST + """
// x[n,c,h,w] = sum over RoIs k of image n, and p, q, of  rows[k,p,h] cols[k,q,w] y[k,c,p,q]
// One block: 32 x 8 pixels of image n, CHANNELS channels; a thread owns one pixel.
extern "C" __global__ void __launch_bounds__(256) kernel(
    const real *y, const int *batch, const int *bounds, const real *rows, const real *cols,
    real *x, int K, int C, int P, int Q, int H, int W, int slices) {
  __shared__ int found[256], counts[8];
  int n = blockIdx.z / slices, first = blockIdx.z % slices * CHANNELS;
  int left = blockIdx.x * 32, top = blockIdx.y * 8;
  int w = left + threadIdx.x, h = top + threadIdx.y;
  real sum[CHANNELS] = {};

  for (int k0 = 0; k0 < K; k0 += 256) {
    int mine = k0 + threadIdx.y * 32 + threadIdx.x;
    const int *b = bounds + 4 * mine;              // rows b[0] to b[1], columns b[2] to b[3]
    bool reaches = mine < K && batch[mine] == n && b[0] < top + 8 && b[1] > top
                   && b[2] < left + 32 && b[3] > left;
    int all = list(reaches, mine, found, counts);

    for (int f = 0; f < all && h < H && w < W; ++f) {
      int k = found[f];
      for (int p = 0; p < P; ++p) {
        real row = rows[(k * P + p) * H + h];
        for (int q = 0; row != 0 && q < Q; ++q) {
          real weight = row * cols[(k * Q + q) * W + w];
          if (weight == 0) continue;
          const real *bin = y + ((k * C + first) * P + p) * Q + q;
          for (int c = 0; c < CHANNELS && first + c < C; ++c) sum[c] += weight * bin[c * P * Q];
        }
      }
    }                  // no barrier here: the list is not written before the next round's first
  }
  for (int c = 0; c < CHANNELS && first + c < C && h < H && w < W; ++c)
    x[((n * C + first + c) * H + h) * W + w] = sum[c];
}
"""


@fast(roi_align_kernel)
def _(x, batch, rows, cols, tall, wide, y):
    rung = "gpu_turned" if turned_pays(x, y) else "gpu_naive"
    roi_align_kernel.variants[rung](x, batch, rows, cols, tall, wide, y)


def turned_pays(x, y):
    """Whether the bins read enough to turn x around.

    A bin reads about 9 pixels (2 x 2 samples of 2 x 2, shared). In pieces of NCHW rows that moves
    some 1.4 times the bytes; turning moves 2 x. So from 5 x on it pays.
    """
    (_, C, P, Q), (N, _, H, W) = y.shape, x.shape
    return _lanes(C, P, Q, x.itemsize) > 0 and 9 * y.size > 5 * x.size


def _lanes(C, P, Q, item):
    """Threads along the channels (4 each): a warp, or what shared memory has room for; or 0."""
    fit = [n for n in (32, 16, 8, 4) if 4 * n * P * Q * item <= ROOM]
    return next((n for n in reversed(fit) if 4 * n >= C), fit[0]) if fit else 0


def turned(x, batch, rows, cols, tall, wide, y):
    """The rung `gpu_turned` of roi_align_kernel: NHWC, four channels a thread."""
    (K, C, P, Q), (N, _, H, W) = y.shape, x.shape
    lanes, width = _lanes(C, P, Q, x.itemsize), -(-C // 4) * 4
    if not lanes or not x.size:
        return roi_align_kernel.variants["gpu_naive"](x, batch, rows, cols, tall, wide, y)
    image = empty((N, H, W, width), like=x)
    launch(TURN, (-(-H * W // 32), -(-width // 32), N), (32, 8), x=x, y=image, C=C, L=H * W,
           width=width)
    launch(FORWARD, (K, -(-C // (4 * lanes))), (lanes, 256 // lanes),
           4 * lanes * P * Q * x.itemsize, x=image, batch=batch, rows=rows, cols=cols, tall=tall,
           wide=wide, y=y, C=C, width=width, P=P, Q=Q, H=H, W=W)


roi_align_kernel.python("gpu_turned", turned)


@fast(roi_align_adjoint_kernel)
def _(y, batch, rows, cols, tall, wide, x):
    (K, C, P, Q), (_, _, H, W) = y.shape, x.shape
    grid, slices = tiles(x)
    launch(BACKWARD, grid, (32, 8), y=y, batch=batch, bounds=bounds_of(tall, wide), rows=rows,
           cols=cols, x=x, K=K, C=C, P=P, Q=Q, H=H, W=W, slices=slices)


def tiles(x):
    """(grid, slices of channels) for blocks of 32 x 8 pixels and 8 channels of x (N, C, H, W)."""
    (N, C, H, W), slices = x.shape, -(-x.shape[1] // CHANNELS)
    return (-(-W // 32), -(-H // 8), N * slices), slices


def bounds_of(rows, cols):
    """int32 (K, 4): all that a RoI's bins reach, from their ranges of rows and of columns."""
    return module_of(rows).stack([rows[..., 0].min(1), rows[..., 1].max(1), cols[..., 0].min(1),
                                  cols[..., 1].max(1)], 1).astype("int32")
