"""RoI pool's way back on a GPU: as in `roi_align_cuda`, a block lists the RoIs that reach its tile.

The plain kernel lets every pixel of every channel ask all K RoIs, K times the work; here a pixel
asks the few in its block's list, for eight channels at once.
"""
from __future__ import annotations

from tinyvision.cuda import fast, launch
from tinyvision.ops.roi_align_cuda import LIST, bounds_of, tiles
from tinyvision.ops.roi_pool import roi_put_kernel

BACKWARD = LIST + """
// x[n,c,h,w] = sum of y[k,c,p,q] over the bins of image n whose maximum was at (h, w)
// One block: 32 x 8 pixels of image n, CHANNELS channels; a thread owns one pixel.
extern "C" __global__ void __launch_bounds__(256) kernel(
    const real *y, const int *index, const int *batch, const int *bounds, const int *rows,
    const int *cols, real *x, int K, int C, int P, int Q, int H, int W, int slices) {
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
        const int *row = rows + 2 * (k * P + p);
        if (h < row[0] || h >= row[1]) continue;
        for (int q = 0; q < Q; ++q) {
          const int *col = cols + 2 * (k * Q + q);
          if (w < col[0] || w >= col[1]) continue;
          int bin = ((k * C + first) * P + p) * Q + q;
          for (int c = 0; c < CHANNELS && first + c < C; ++c, bin += P * Q)
            if (index[bin] == h * W + w) sum[c] += y[bin];
        }
      }
    }                  // no barrier here: the list is not written before the next round's first
  }
  for (int c = 0; c < CHANNELS && first + c < C && h < H && w < W; ++c)
    x[((n * C + first + c) * H + h) * W + w] = sum[c];
}
"""


@fast(roi_put_kernel)
def _(y, index, batch, rows, cols, x):
    (K, C, P, Q), (_, _, H, W) = y.shape, x.shape
    grid, slices = tiles(x)
    launch(BACKWARD, grid, (32, 8), y=y, index=index, batch=batch, bounds=bounds_of(rows, cols),
           rows=rows, cols=cols, x=x, K=K, C=C, P=P, Q=Q, H=H, W=W, slices=slices)
