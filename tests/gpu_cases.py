"""What is run, checked and timed on a device, with operations and bytes counted by formula.

`python tests/gpu_cases.py` prints the table of docs/gpu.md; `pytest -m gpu tests/test_cuda.py -s`
runs the cases where there is a device.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

OPERATIONS, BYTES = 60e12, 4.3e12          # a second: float32 on an H200, and its copy, both reads


@dataclass(frozen=True)
class Case:
    """One kernel, one size; `arguments()` ends with `out`; `peer(torch, *arguments)` is PyTorch."""
    kernel: str
    size: str
    operations: float
    bytes: float
    arguments: Callable
    peer: Callable | None = None
    rtol: float = 1e-4

    @property
    def floor(self):
        """Microseconds that no kernel can beat on an H200: the larger of the two."""
        return 1e6 * max(self.operations / OPERATIONS, self.bytes / BYTES)


def normal(*shape):
    """Random float32."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def convolutions():
    """The three kernels at the sizes of SPEED, with a batch that fills a big chip."""
    for N, C, H, O, I, S, P in ((64, 64, 56, 64, 3, 1, 1), (64, 256, 14, 256, 3, 1, 1),
                                (64, 3, 224, 64, 7, 2, 3), (64, 256, 56, 64, 1, 1, 0)):
        A = (H + 2 * P - I) // S + 1
        work = 2 * N * O * A * A * C * I * I
        moved = 4 * (N * C * H * H + N * O * A * A + O * C * I * I)
        size, step = f"({N}, {C}, {H}, {H}), {O} of {I} x {I}, stride {S}", (S, S, P, P, 1, 1, 1)
        x, w, y = (N, C, H, H), (O, C, I, I), (N, O, A, A)
        yield Case("conv2d_kernel", size, work, moved, lambda x=x, w=w, y=y, s=step, O=O: (
            normal(*x), normal(*w), normal(O), *s, np.empty(y, "f4")),
            lambda torch, x, w, b, *s: torch.nn.functional.conv2d(x, w, b, s[0], s[2]))
        yield Case("conv_transpose2d_kernel", size, work, moved,
                   lambda x=x, w=w, y=y, s=step, C=C: (
            normal(*y), normal(*w), normal(C), *s, np.empty(x, "f4")),
            lambda torch, y, w, b, *s: torch.nn.grad.conv2d_input(s[-1].shape, w, y, s[0], s[2]))
        yield Case("conv2d_weight_kernel", size, work, moved, lambda x=x, w=w, y=y, s=step: (
            normal(*x), normal(*y), *s, np.empty(w, "f4")),
            lambda torch, x, y, *s: torch.nn.grad.conv2d_weight(x, s[-1].shape, y, s[0], s[2]),
            1e-3)


def detection():
    """NMS and RoI Align."""
    for N in (10_000, 100_000):
        # 12 operations a pair; the boxes, and the upper half of the mask, written and read once
        yield Case("nms_kernel", f"{N:,} boxes", 12 * N**2 / 2, 24 * N + 2 * N**2 / 16,
                   lambda N=N: (boxes(N), np.zeros(N, np.int64), np.float32(0.5),
                                np.empty(N, bool)))
    for K, C, P, H, W in ((1000, 256, 7, 200, 272), (1000, 256, 7, 50, 68)):
        # a bin of 2 x 2 samples reads 9 pixels: a multiplication and an addition each
        count, map_bytes = K * C * P * P, 4 * 2 * C * H * W
        region = 4 * K * C * (2 * P + 1)**2
        size = f"{K} RoIs, {P} x {P}, x (2, {C}, {H}, {W})"
        yield Case("roi_align_kernel", size, 18 * count, 4 * count + min(map_bytes, region),
                   lambda a=(K, C, P, H, W): roi_arguments(*a))
        yield Case("roi_align_adjoint_kernel", size, 18 * count, 4 * count + map_bytes,
                   lambda a=(K, C, P, H, W): roi_arguments(*a, adjoint=True))


def norms_and_pools():
    """What is bound by memory alone: one operation or a few for every element moved."""
    N, C, L, x = 64, 64, 56 * 56, (64, 64, 56 * 56)
    size = N * C * L
    yield Case("channel_moments", str(x), 4 * size, 4 * size, lambda: (
        normal(*x), np.empty((2, C), "f4")))
    yield Case("channel_sums", str(x), 4 * size, 8 * size, lambda: (
        normal(*x), normal(*x), abs(normal(2, C)), 1e-5, np.empty((2, C), "f4")), rtol=1e-3)
    yield Case("normalise", str(x), 3 * size, 8 * size, lambda: (
        normal(*x), normal(C), normal(C), normal(C), np.empty(x, "f4")))
    yield Case("batch_norm_backward", str(x), 9 * size, 20 * size, lambda: (
        normal(*x), normal(*x), normal(C), abs(normal(2, C)), 1e-5, False,
        np.empty(size + 2 * C, "f4")), rtol=1e-3)
    rows = (8192, 768)
    yield Case("layer_norm_kernel", str(rows), 8 * 8192 * 768, 8 * 8192 * 768, lambda: (
        normal(*rows), normal(768), normal(768), 1e-5, np.empty(rows, "f4")))
    yield Case("layer_norm_backward", str(rows), 18 * 8192 * 768, 20 * 8192 * 768, lambda: (
        normal(*rows), normal(*rows), normal(768), 1e-5, np.empty((8194, 768), "f4")), rtol=1e-3)
    pairs = np.stack([np.arange(0, 112, 2), np.arange(2, 113, 2)], 1).astype("i4")
    image, pooled = (64, 64, 112, 112), (64, 64, 56, 56)
    yield Case("max_places", f"{image}, 2 x 2", 4 * 4 * size, 4 * 6 * size, lambda: (
        normal(*image), pairs, pairs, 1, 1, np.empty(pooled, "i4"), np.empty(pooled, "f4")))


def boxes(N):
    """N random boxes (x0, y0, x1, y1) of up to 64 pixels, in a picture of 1000 x 1000."""
    rng = np.random.default_rng(0)
    corner, extent = rng.uniform(0, 936, (N, 2)), rng.uniform(4, 64, (N, 2))
    return np.concatenate([corner, corner + extent], 1).astype("f4")


def roi_arguments(K, C, P, H, W, adjoint=False):
    """K RoIs of up to a quarter of the map, as the kernels see them."""
    from tinyvision.ops.roi_align import reach, weights
    rng, sides = np.random.default_rng(0), np.array([[W], [H]])
    start, length = rng.uniform(0, 0.75, (2, K)) * sides, rng.uniform(0.05, 0.25, (2, K)) * sides
    cols, rows = (weights(s.astype("f4"), (s + d).astype("f4"), P, n, 2, False)
                  for s, d, n in zip(start, length, (W, H)))
    tables = rng.integers(0, 2, K).astype("i4"), rows, cols, reach(rows), reach(cols)
    x, y = (2, C, H, W), (K, C, P, P)
    return (normal(*(y if adjoint else x)), *tables, np.empty(x if adjoint else y, "f4"))


def cases():
    """All of them."""
    return [*convolutions(), *detection(), *norms_and_pools()]


def table():
    """The cases as a table in Markdown."""
    rows = ["| kernel | size | operations (G) | bytes (MB) | floor (µs) | bound by |",
            "|---|---|---|---|---|---|"]
    for c in cases():
        bound = "arithmetic" if c.operations / OPERATIONS > c.bytes / BYTES else "memory"
        rows.append(f"| `{c.kernel}` | {c.size} | {c.operations / 1e9:.3g} | {c.bytes / 1e6:.3g} | "
                    f"{c.floor:.3g} | {bound} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
