"""Matrix products: linear layers, batches of small products, attention."""
from __future__ import annotations

from dataclasses import dataclass

from tinyvision import ops
from tinyvision.bench.cases import Case, call_of, normal, round_by_torch, round_of

PARTS = {"forward": None, "input gradient": 0, "weight gradient": 1}


@dataclass(frozen=True)
class Linear(Case):
    """x (N, K) times weight (M, K) transposed, plus bias (M,)."""
    operation = "linear"
    halved = "N", "K", "M"
    N: int
    K: int
    M: int

    @property
    def size(self):
        """Such as "(64,4096) to 1000"."""
        return f"({self.N},{self.K}) to {self.M}"

    @property
    def operations(self):
        """One product, in all three parts alike."""
        return 2 * self.N * self.K * self.M

    @property
    def moved(self):
        """x, weight and y, each once."""
        return 4 * (self.N * self.K + self.M * self.K + self.N * self.M)

    def inputs(self, rng):
        """x, weight, bias and, for a gradient, the cotangent."""
        arrays = [normal(rng, self.N, self.K), normal(rng, self.M, self.K, scale=self.K ** -0.5),
                  normal(rng, self.M)]
        return arrays if self.part == "forward" else [*arrays, normal(rng, self.N, self.M)]

    def ours(self, x, w, b, g=None):
        """tinyvision's."""
        return call_of(ops.linear, (x, w, b), PARTS[self.part], g)

    def torch(self, x, w, b, g=None):
        """PyTorch's; its gradients are the products that its autograd makes."""
        import torch
        return {"forward": lambda: torch.nn.functional.linear(x, w, b),
                "input gradient": lambda: g.mm(w),
                "weight gradient": lambda: g.t().mm(x)}[self.part]

    def jax(self, x, w, b, g=None):
        """JAX's."""
        import jax
        run = {"forward": jax.jit(lambda: x @ w.T + b), "input gradient": jax.jit(lambda: g @ w),
               "weight gradient": jax.jit(lambda: g.T @ x)}[self.part]
        return lambda: run().block_until_ready()

    def dezero(self, x, w, b, g=None):
        """DeZero's, forward."""
        import dezero.functions as F
        turned = w.T.copy()
        return None if g is not None else lambda: F.linear(x, turned, b)


@dataclass(frozen=True)
class MatMul(Case):
    """N products of (L, K) by (K, M)."""
    operation = "matmul"
    halved = "N", "L", "K", "M"
    N: int
    L: int
    K: int
    M: int

    @property
    def size(self):
        """Such as "64 of (197,64) @ (64,197)"."""
        return f"{self.N} of ({self.L},{self.K}) @ ({self.K},{self.M})"

    @property
    def operations(self):
        """A multiply-add for each of L K M."""
        return 2 * self.N * self.L * self.K * self.M

    @property
    def moved(self):
        """a, b and y, each once."""
        return 4 * self.N * (self.L * self.K + self.K * self.M + self.L * self.M)

    def inputs(self, rng):
        """a and b."""
        return normal(rng, self.N, self.L, self.K), normal(rng, self.N, self.K, self.M)

    def ours(self, a, b):
        """tinyvision's."""
        return call_of(ops.matmul, (a, b))

    def torch(self, a, b):
        """PyTorch's."""
        return lambda: a @ b


@dataclass(frozen=True)
class Attention(Case):
    """softmax(q k^T / sqrt(D)) v for N images, `heads` heads, L places of D numbers."""
    operation = "scaled_dot_product_attention"
    halved = "N", "heads", "L", "D"
    N: int
    heads: int
    L: int
    D: int

    @property
    def recorded(self):
        """The round records a graph."""
        return self.part != "forward"

    @property
    def size(self):
        """Such as "(8,8,197,64)"."""
        return f"({self.N},{self.heads},{self.L},{self.D})"

    @property
    def operations(self):
        """Two products forward, four more on the way back."""
        return (4 if self.part == "forward" else 12) * self.N * self.heads * self.L ** 2 * self.D

    @property
    def moved(self):
        """q, k, v and y; for gradients also the cotangent and three gradients."""
        return (16 if self.part == "forward" else 32) * self.N * self.heads * self.L * self.D

    def inputs(self, rng):
        """q, k, v and, for gradients, the cotangent."""
        count = 3 if self.part == "forward" else 4
        return [normal(rng, self.N, self.heads, self.L, self.D) for _ in range(count)]

    def ours(self, q, k, v, g=None):
        """tinyvision's."""
        function = ops.scaled_dot_product_attention
        return (call_of(function, (q, k, v)) if g is None else
                round_of(function, (q, k, v), (0, 1, 2), g))

    def torch(self, q, k, v, g=None):
        """PyTorch's."""
        import torch
        function = torch.nn.functional.scaled_dot_product_attention
        return ((lambda: function(q, k, v)) if g is None else
                round_by_torch(function, (q, k, v), (0, 1, 2), g))


CASES = [
    *(Linear(1576, 384, 1536, part=part, goal=1.0) for part in PARTS),
    *(Linear(64, 4096, 1000, part=part, goal=1.0) for part in PARTS),
    MatMul(64, 197, 64, 197, goal=1.0),
    Attention(8, 8, 197, 64, goal=0.8),
    Attention(8, 8, 197, 64, part="forward and gradients", goal=0.8),
]
