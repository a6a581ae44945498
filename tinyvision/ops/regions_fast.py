"""What the fast kernels on regions share: maps whose channels lie side by side.

A bin covers few pixels, and with NCHW each channel's lie elsewhere. So the maps are turned once:

    turned[(n, b), h W + w, c] = x[n, 64 b + c, h, w]

Now one number of a bin (a weight, a place) serves 64 channels in a row, which the processor takes
16 at a time, and 64 channels of a map of 50 x 50 fit into a core's cache. The last block's missing
channels are computed too, and thrown away.
"""
from __future__ import annotations

from tinyvision.kernel import jit, prange

LANES = 64                                 # channels of a block: a constant, so loops are unrolled


def turning_pays(x_shape, bins):
    """Whether bins read enough for a pass over the maps, and channels fill enough of a block."""
    N, C, H, W = x_shape
    return C >= LANES // 4 and 2 * bins > N * H * W


def blocks(C):
    """How many blocks C channels are."""
    return -(-C // LANES)


@jit(parallel=True)
def turn(x, turned):
    """turned (N B, H W, 64) of x (N, C, H, W)."""
    (N, C, H, W), B = x.shape, len(turned) // len(x)
    maps = x.reshape(N, C, H * W)
    for k in prange(N * B * H):
        k = int(k)
        block, first = k // H, k % H * W
        n, start = block // B, block % B * LANES
        for c in range(LANES):
            if start + c < C:
                for w in range(W):
                    turned[block, first + w, c] = maps[n, start + c, first + w]
            else:
                turned[block, first:first + W, c] = 0


@jit(parallel=True)
def turn_back(turned, x):
    """x (N, C, H, W) of turned (N B, H W, 64)."""
    (N, C, H, W), B = x.shape, len(turned) // len(x)
    maps = x.reshape(N, C, H * W)
    for k in prange(N * B * H):
        k = int(k)
        block, first = k // H, k % H * W
        n, start = block // B, block % B * LANES
        for c in range(min(LANES, C - start)):
            for w in range(W):
                maps[n, start + c, first + w] = turned[block, first + w, c]


@jit(allocates=True)                       # a column's min does
def columns_used(cols, wide, used, spans):
    """List the columns in which some bin of a region has a weight; how many they are.

    cols (Q, W) and wide (Q, 2) are the region's; used (W,) receives the columns, and spans (Q, 2)
    where in that list each bin's begin and end.
    """
    count, spans[:] = 0, 0
    for w in range(wide[:, 0].min(), wide[:, 1].max()):
        there = False
        for q in range(len(cols)):
            there |= cols[q, w] != 0
            if w == wide[q, 0]:
                spans[q, 0] = count
            if w == wide[q, 1] - 1:
                spans[q, 1] = count + 1
        used[count] = w
        count += there
    return count
