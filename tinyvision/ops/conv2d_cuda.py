"""The convolutions on a GPU: two rungs above the plain kernels, and which of them to take when.

`gpu_tiled` is one CUDA kernel. A convolution is a product of matrices,

    y[o, (n,a,b)] = sum over (i,j,c) of  w[o, (i,j,c)] columns[(i,j,c), (n,a,b)],
    columns[(i,j,c), (n,a,b)] = x[n, c, a S + i D - P, b T + j E - Q],

whose second matrix is never written down: whoever needs an element of it looks it up in x. A block
of 256 threads computes 64 x 64 results; every number that it fetches from memory into shared memory
is used 64 times, and every number that a thread fetches from there into registers 4 times.

`gpu_gemm` writes the columns down and lets cuBLAS multiply. cuBLAS is nearer the chip's peak, the
columns cost two passes over memory: it pays for many filters, and 1 x 1 has no columns to write.

`gpu` takes the one that needs the least time by counting operations and bytes (`cheapest`).
Nothing here uses atomics: the results are the same from run to run.
"""
from __future__ import annotations

import math

from tinyvision.cuda import LIMIT, fast, launch, per_element
from tinyvision.device import contiguous, empty, module_of
from tinyvision.ops.conv2d import conv2d_kernel, conv2d_weight_kernel, conv_transpose2d_kernel

OPERATIONS, BYTES = 60e12, 4.3e12          # a second: what `cheapest` reckons with (an H200's)
SCRATCH = 2**26                            # bytes of columns at a time: about what L2 can hold
TILE, DEPTH = 64, 16

# --- one kernel: the tiles ------------------------------------------------------------------------
TILES = """
const int TILE = 64;        // a block computes TILE x TILE results,
const int DEPTH = 16;       // from as many terms at a time as shared memory holds,
const int THREADS = 256;    // by this many threads,
const int OWN = 4;          // each of which keeps OWN x OWN sums in registers

struct __align__(16) four { real of[4]; };       // one load of 16 bytes instead of four

// Add the products of DEPTH terms to this thread's sums. It owns 4 neighbouring rows and columns.
// The 16 threads that share a row read the same word (a broadcast), the 16 that share a column
// read 16 neighbouring fours: no two words lie in one of the 32 banks, nobody waits.
__device__ void multiply(const real *left, const real *right, int pitch, real (*sum)[OWN]) {
  int row = threadIdx.x / 16 * OWN, column = threadIdx.x % 16 * OWN;
#pragma unroll
  for (int k = 0; k < DEPTH; ++k) {
    four a = *(const four *)(left + k * pitch + row);
    four b = *(const four *)(right + k * pitch + column);
#pragma unroll
    for (int r = 0; r < OWN; ++r)
#pragma unroll
      for (int s = 0; s < OWN; ++s) sum[r][s] += a.of[r] * b.of[s];
  }
}
"""

GATHER = TILES + """
// out[n, gM + m, a, b] = bias + sum over i, j, k of w[i, j, k, m] in[n, gK + k, the place of i, j]
// One block: 64 channels m of group g by 64 positions (n, a, b).
extern "C" __global__ void __launch_bounds__(THREADS) kernel(
    const real *in, const real *w, const real *bias, real *out, int N, int M, int K, int G,
    int A, int B, int H, int W, int I, int J, int S, int T, int P, int Q, int D, int E) {
  __shared__ __align__(16) real filters[DEPTH][TILE], pixels[DEPTH][TILE];
  real sum[OWN][OWN] = {};
  int first_m = blockIdx.y * TILE, first_l = blockIdx.x * TILE, g = blockIdx.z, L = N * A * B;

  // When it fetches, a thread owns one column of both tiles and every fourth row: neighbours in a
  // warp fetch neighbours in memory, 32 of them in one transaction.
  int column = threadIdx.x % TILE, m = first_m + column, l = first_l + column;
  int b = l % B, a = l / B % A, n = l / B / A;
  const real *planes = in + (long long)(n * G + g) * K * H * W;

  for (int i = 0; i < I; ++i)
    for (int j = 0; j < J; ++j) {
      PLACE
      bool there = l < L && meets && 0 <= h && h < H && 0 <= v && v < W;
      for (int k0 = 0; k0 < K; k0 += DEPTH) {
        for (int r = 0; r < DEPTH; r += THREADS / TILE) {          // all loads under way at once
          int row = r + threadIdx.x / TILE, k = k0 + row;
          pixels[row][column] = there && k < K ? planes[(k * H + h) * W + v] : 0;
          filters[row][column] =
              m < M && k < K ? w[(((i * J + j) * G + g) * K + k) * M + m] : 0;
        }
        __syncthreads();                         // both tiles are complete before anyone reads
        multiply(filters[0], pixels[0], TILE, sum);
        __syncthreads();                         // everyone has read before they are overwritten
      }
    }

  for (int s = 0; s < OWN; ++s) {
    int l = first_l + threadIdx.x % 16 * OWN + s, ab = l % (A * B), n = l / (A * B);
    for (int r = 0; r < OWN; ++r) {
      int m = first_m + threadIdx.x / 16 * OWN + r;
      if (l < L && m < M) out[((n * G + g) * M + m) * A * B + ab] = bias[g * M + m] + sum[r][s];
    }
  }
}
"""

# A convolution reads where the window lies; its transpose reads where a stamp came from, if any.
FORWARD = GATHER.replace("PLACE", """bool meets = true;
      int h = a * S + i * D - P, v = b * T + j * E - Q;""")
TRANSPOSED = GATHER.replace("PLACE", """int h = a + P - i * D, v = b + Q - j * E;
      bool meets = h >= 0 && v >= 0 && h % S == 0 && v % T == 0;
      h /= S, v /= T;""")

WEIGHT = TILES + """
// w[gF + f, (c,i,j)] = sum over positions l = (n, a, b) of  y[n, gF + f, a, b] x[n, gC + c, ...]
// One block: 64 filters f of group g by 64 columns (c,i,j), over one share of the positions.
extern "C" __global__ void __launch_bounds__(THREADS) kernel(
    const real *x, const real *y, real *shares, int N, int F, int C, int G, int A, int B, int H,
    int W, int I, int J, int S, int T, int P, int Q, int D, int E, int share) {
  // When it fetches, a thread owns one position: the 16 positions of a row of y are neighbours in
  // memory, but here they lie a row apart. Rows of 64 would put all of them into the same bank;
  // rows of 68 spread them, and keep the fours aligned.
  const int PITCH = TILE + 4, ROWS = THREADS / DEPTH;
  __shared__ __align__(16) real cotangents[DEPTH][PITCH], pixels[DEPTH][PITCH];
  real sum[OWN][OWN] = {};
  int g = blockIdx.z % G, part = blockIdx.z / G, L = N * A * B;
  int first_f = blockIdx.y * TILE, first_q = blockIdx.x * TILE;
  int depth = threadIdx.x % DEPTH, row = threadIdx.x / DEPTH;

  int plane[TILE / ROWS], down[TILE / ROWS], across[TILE / ROWS];    // of this thread's columns
  for (int r = 0; r < TILE / ROWS; ++r) {
    int q = first_q + row + r * ROWS, j = q % J, i = q / J % I, c = q / J / I;
    plane[r] = c < C ? c : -1, down[r] = i * D - P, across[r] = j * E - Q;
  }

  int end = min((part + 1) * share, L);
  for (int l0 = part * share; l0 < end; l0 += DEPTH) {
    int l = l0 + depth, b = l % B, a = l / B % A, n = l / B / A;
    for (int r = 0; r < TILE / ROWS; ++r) {
      int f = first_f + row + r * ROWS, h = a * S + down[r], v = b * T + across[r];
      bool there = l < end && plane[r] >= 0 && 0 <= h && h < H && 0 <= v && v < W;
      cotangents[depth][row + r * ROWS] =
          l < end && f < F ? y[((n * G + g) * F + f) * A * B + a * B + b] : 0;
      pixels[depth][row + r * ROWS] =
          there ? x[(((n * G + g) * C + plane[r]) * H + h) * W + v] : 0;
    }
    __syncthreads();
    multiply(cotangents[0], pixels[0], PITCH, sum);
    __syncthreads();
  }

  for (int r = 0; r < OWN; ++r)
    for (int s = 0; s < OWN; ++s) {
      int f = first_f + threadIdx.x / 16 * OWN + r, q = first_q + threadIdx.x % 16 * OWN + s;
      if (f < F && q < C * I * J) shares[((part * G + g) * F + f) * C * I * J + q] = sum[r][s];
    }
}
"""


def tiled(x, w, bias, S, T, P, Q, D, E, G, y):
    """The rung `gpu_tiled` of conv2d_kernel."""
    by_depth = contiguous(w.transpose(2, 3, 1, 0).reshape(*w.shape[2:], w.shape[1], G, -1)
                          .transpose(0, 1, 3, 2, 4))[0]      # (I, J, G, C, F): neighbours in f
    _gather(FORWARD, x, by_depth, bias, (S, T, P, Q, D, E), y)


def tiled_transpose(y, w, bias, S, T, P, Q, D, E, G, x):
    """The rung `gpu_tiled` of conv_transpose2d_kernel."""
    by_depth = contiguous(w.reshape(G, -1, *w.shape[1:]).transpose(3, 4, 0, 1, 2))[0]
    _gather(TRANSPOSED, y, by_depth, bias, (S, T, P, Q, D, E), x)


def _gather(text, source, w, bias, steps, out):
    (N, _, A, B), (H, W), (I, J, G, K, M) = out.shape, source.shape[2:], w.shape
    launch(text, (_tiles(N * A * B), _tiles(M), G), (256,), out=out, bias=bias, w=w, N=N, M=M,
           K=K, G=G, A=A, B=B, H=H, W=W, I=I, J=J, **dict(zip("STPQDE", steps)), **{"in": source})


def tiled_weight(x, y, S, T, P, Q, D, E, G, w):
    """The rung `gpu_tiled` of conv2d_weight_kernel: shares of the positions, then their sum."""
    (N, O, A, B), (C, I, J), (H, W) = y.shape, w.shape[1:], x.shape[2:]
    across, down = _tiles(C * I * J), _tiles(O // G)
    parts = shares_of(N * A * B, across * down * G)
    share = -(-max(N * A * B, 1) // parts)
    shares = empty((parts, *w.shape), like=w)
    launch(WEIGHT, (across, down, G * parts), (256,), x=x, y=y, shares=shares, N=N, F=O // G, C=C,
           G=G, A=A, B=B, H=H, W=W, I=I, J=J, S=S, T=T, P=P, Q=Q, D=D, E=E, share=share)
    per_element(w, "for (int k = 0; k < parts; ++k) out += shares[k * size + i];",
                shares=shares, parts=parts, size=w.size)


def shares_of(positions, blocks):
    """Into how many shares the sum is split: enough blocks for a big chip, 64 terms at least.

    It depends on the sizes alone, not on the chip: the same rounding everywhere.
    """
    return max(1, min(512 // max(blocks, 1), positions // 64))


def _tiles(size):
    return -(-size // TILE)


# --- cuBLAS: the columns, written down ------------------------------------------------------------
def gemm(x, w, bias, S, T, P, Q, D, E, G, y):
    """The rung `gpu_gemm` of conv2d_kernel: y = w columns, several images at a time."""
    (N, O, A, B), (C, I, J) = y.shape, w.shape[1:]
    xp, filters = module_of(x), w.reshape(G, O // G, C * I * J)
    for images in chunks(N, G * C * I * J * A * B * x.itemsize):
        columns = unfold(x[images], (I, J, S, T, P, Q, D, E), (A, B))
        xp.matmul(filters, columns.reshape(-1, G, C * I * J, A * B),
                  out=y[images].reshape(-1, G, O // G, A * B))
    y += bias.reshape(-1, 1, 1)


def gemm_transpose(y, w, bias, S, T, P, Q, D, E, G, x):
    """The rung `gpu_gemm` of conv_transpose2d_kernel: x = fold(w^T y)."""
    (N, O, A, B), (C, I, J) = y.shape, w.shape[1:]
    xp, filters = module_of(y), w.reshape(G, O // G, C * I * J).transpose(0, 2, 1)
    for images in chunks(N, G * C * I * J * A * B * y.itemsize):
        columns = xp.matmul(filters, y[images].reshape(-1, G, O // G, A * B))
        fold(columns, bias, (I, J, S, T, P, Q, D, E), (A, B), x[images])


def gemm_weight(x, y, S, T, P, Q, D, E, G, w):
    """The rung `gpu_gemm` of conv2d_weight_kernel: w = y columns^T, over all images at once."""
    (N, O, A, B), (C, I, J) = y.shape, w.shape[1:]
    xp, out = module_of(x), w.reshape(G, O // G, C * I * J)
    out[...] = 0
    for images in chunks(N, G * C * I * J * A * B * x.itemsize):
        columns = unfold(x[images], (I, J, S, T, P, Q, D, E), (A, B), images_inside=True)
        rows = xp.ascontiguousarray(y[images].swapaxes(0, 1)).reshape(G, O // G, -1)
        out += rows @ columns.reshape(G, C * I * J, -1).swapaxes(1, 2)


def chunks(N, size):
    """Slices of N images, so that `size` bytes each stay within the scratch memory."""
    step = max(1, SCRATCH // max(size, 1))
    return [slice(n, min(n + step, N)) for n in range(0, N, step)]


def unfold(x, window, size, images_inside=False):
    """columns[n, c, i, j, a, b] = x[n, c, a S + i D - P, b T + j E - Q], 0 outside.

    With `images_inside` columns[c, i, j, n, a, b]. A view of x where that is what it is.
    """
    (N, C, H, W), (I, J, S, T, P, Q, D, E), (A, B) = x.shape, window, size
    if not images_inside and is_view(window, (A, B), (H, W)):
        return x
    K, L = C * I * J, A * B
    columns = empty((K, N, L) if images_inside else (N, K, L), like=x)
    row, image = (N * L, L) if images_inside else (L, K * L)
    per_element(columns, """                     // neighbours in i are neighbours in b: coalesced
        int k = i / row % K, n = i / image % N, b = i % B, a = i / B % A;
        int h = a * S + k / J % I * D - P, v = b * U + k % J * E - Q;
        if (0 <= h && h < H && 0 <= v && v < W) out = x[((n * C + k / J / I) * H + h) * W + v];""",
                x=x, N=N, C=C, H=H, W=W, I=I, J=J, S=S, U=T, P=P, Q=Q, D=D, E=E, A=A, B=B, K=K,
                row=row, image=image)
    return columns


def fold(columns, bias, window, size, x):
    """x[n, c, h, v] = bias[c] + the columns that were read there; a thread owns one pixel."""
    (N, C, H, W), (I, J, S, T, P, Q, D, E), (A, B) = x.shape, window, size
    per_element(x, """
        int v = i % W, h = i / W % H, plane = i / W / H;
        out = bias[plane % C];
        for (int k = 0; k < I; ++k)
            for (int l = 0; l < J; ++l) {
                int p = h + P - k * D, q = v + Q - l * E;
                if (p < 0 || q < 0 || p % S || q % U || p / S >= A || q / U >= B) continue;
                out += columns[(((plane * I + k) * J + l) * A + p / S) * B + q / U];
            }""", columns=columns, bias=bias, C=C, H=H, W=W, I=I, J=J, S=S,
                U=T, P=P, Q=Q, D=D, E=E, A=A, B=B)


def is_view(window, size, image):
    """Whether the columns are the image: 1 x 1, stride 1, no padding."""
    return window[:6] == (1, 1, 1, 1, 0, 0) and size == image


# --- which one ------------------------------------------------------------------------------------
def seconds(N, O, A, B, C, I, J, G, H, W, S, T, padding, item=4, direction="forward"):
    """{rung: seconds} by counting operations and bytes; guesses of efficiency until measured.

    The plain kernel spends 10 instructions on every multiply-add; tiles reach 0.4 of the peak and
    cuBLAS 0.8, both of whole tiles only, of which the last may be nearly empty.
    """
    F, work, transposed = O // G, 2 * N * O * A * B * C * I * J, direction == "transpose"
    peak, maps = OPERATIONS * 4 / item, item * (N * G * C * H * W + N * O * A * B)
    rows, depth = (C, F) if transposed else (F, C)
    whole = _whole(rows, TILE) * _whole(depth, DEPTH)
    if direction == "weight":
        whole = _whole(F, TILE) * _whole(C * I * J, TILE)
    whole *= S * T if transposed else 1                      # most taps meet no stamp
    view = (I, J, S, T, *padding) == (1, 1, 1, 1, 0, 0)
    columns = 0 if view else item * N * G * C * I * J * A * B
    threads = O * C * I * J if direction == "weight" else 2**17
    return {"gpu_naive": max(10 * work / peak * max(1, 2**17 / threads), maps / BYTES),
            "gpu_tiled": max(work * whole / (0.4 * peak), maps / BYTES),
            "gpu_gemm": work * _whole(rows, 32) * _whole(depth * I * J, 8) / (0.8 * peak)
                        + 2 * (columns + maps) / BYTES}


def _whole(size, step):
    """The factor by which rounding up to whole tiles adds work."""
    return math.ceil(size / step) * step / size


def cheapest(x, w, y, S, T, P, Q, G, direction):
    """The rung that `seconds` finds fastest; nothing that an int could not index."""
    (N, _, H, W), (O, C, I, J), (A, B) = x.shape, w.shape, y.shape[2:]
    times = seconds(N, O, A, B, C, I, J, G, H, W, S, T, (P, Q), w.itemsize, direction)
    if G * C * I * J * A * B > LIMIT:
        del times["gpu_gemm"]
    return min(times, key=times.get)


@fast(conv2d_kernel)
def _(x, w, bias, S, T, P, Q, D, E, G, y):
    rung = cheapest(x, w, y, S, T, P, Q, G, "forward")
    conv2d_kernel.variants[rung](x, w, bias, S, T, P, Q, D, E, G, y)


@fast(conv_transpose2d_kernel)
def _(y, w, bias, S, T, P, Q, D, E, G, x):
    rung = cheapest(x, w, y, S, T, P, Q, G, "transpose")
    conv_transpose2d_kernel.variants[rung](y, w, bias, S, T, P, Q, D, E, G, x)


@fast(conv2d_weight_kernel)
def _(x, y, S, T, P, Q, D, E, G, w):
    rung = cheapest(x, w, y, S, T, P, Q, G, "weight")
    conv2d_weight_kernel.variants[rung](x, y, S, T, P, Q, D, E, G, w)


for _kernel, _tiled, _gemm in ((conv2d_kernel, tiled, gemm),
                               (conv_transpose2d_kernel, tiled_transpose, gemm_transpose),
                               (conv2d_weight_kernel, tiled_weight, gemm_weight)):
    _kernel.python("gpu_tiled", _tiled)
    _kernel.python("gpu_gemm", _gemm)
