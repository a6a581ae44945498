"""Whom we compare with, where installed: how each takes arrays, runs, and gives results back.

A case runs on a peer if it has a method of the peer's name. The inputs are the same numbers on all
sides and lie ready in each one's own form before the clock starts.
"""
from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util

import numpy as np

from tinyvision.bench import apart, timing


class Peer:
    """One peer; subclasses say how it differs from plain arrays in, plain arrays out.

    Attributes:
        name: the method of a case that runs it.
        label: the name in tables.
        module: what must be importable.
        home: the title of the process that it runs in; empty: this one.
    """
    name = label = module = home = ""

    def missing(self) -> bool:
        """Whether it is not installed."""
        return importlib.util.find_spec(self.module) is None

    def start(self, threads: int) -> None:
        """Import it and give it so many threads."""
        importlib.import_module(self.module)

    def inputs(self, arrays, device="cpu") -> list:
        """The arrays in its own form, on "cpu" or "gpu"."""
        return list(arrays)

    def around(self):
        """What holds while it runs: nothing is recorded for backward."""
        return contextlib.nullcontext()

    def wait(self) -> None:
        """Until its work is done (GPU)."""

    def numpy(self, result):
        """An array of its result."""
        return np.asarray(result)

    def contender(self, case, arrays, device="cpu") -> timing.Contender | None:
        """The case, run by it; None if it cannot run this one."""
        around = contextlib.nullcontext if case.recorded else self.around
        with around():
            call = getattr(case, self.name)(*self.inputs(arrays, device))
        if call is None:
            return None
        wait = self.wait if device == "gpu" else timing.nothing
        return timing.Contender(self.name, call, around, wait, self.numpy)


class Torch(Peer):
    """PyTorch on contiguous tensors."""
    name, label, module, home = "torch", "PyTorch", "torch", "PyTorch"

    def start(self, threads):
        """Also: float32 products in float32, on a GPU too."""
        with apart.with_default_openmp():
            import torch
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def inputs(self, arrays, device="cpu"):
        """Tensors; what is no array stays."""
        import torch
        return [torch.tensor(a, device="cuda" if device == "gpu" else None)
                if isinstance(a, np.ndarray) else a for a in arrays]

    def around(self):
        """inference_mode, PyTorch's fastest."""
        import torch
        return torch.inference_mode()

    def wait(self):
        """Until the device is idle."""
        import torch
        torch.cuda.synchronize()

    def numpy(self, result):
        """From any device."""
        return result.detach().cpu().numpy()


class ChannelsLast(Torch):
    """PyTorch on channels-last tensors, the mode that it recommends for convolutions."""
    name, label = "channels_last", "PyTorch, channels last"

    def inputs(self, arrays, device="cpu"):
        """Tensors whose channels lie beside each other, where they have four axes."""
        import torch
        return [t.contiguous(memory_format=torch.channels_last)
                if isinstance(t, torch.Tensor) and t.ndim == 4 else t
                for t in super().inputs(arrays, device)]


class Fused(Torch):
    """PyTorch's fused optimizers."""
    name, label = "fused", "PyTorch, fused"


class TorchVision(Torch):
    """torchvision's operators."""
    name, label, module = "torchvision", "torchvision", "torchvision"

    def start(self, threads):
        """PyTorch first."""
        super().start(threads)
        importlib.import_module("torchvision")


class Jax(Peer):
    """JAX: functions compiled by XLA; it takes as many threads as the process has cores."""
    name, label, module, home = "jax", "JAX", "jax", "JAX"

    def inputs(self, arrays, device="cpu"):
        """Its own arrays."""
        import jax
        place = jax.devices("gpu" if device == "gpu" else "cpu")[0]
        return [jax.device_put(a, place) if isinstance(a, np.ndarray) else a for a in arrays]


class DeZero(Peer):
    """DeZero: a book's framework on NumPy (im2col and tensordot)."""
    name, label, module, home = "dezero", "DeZero", "dezero", "DeZero"

    def start(self, threads):
        """It was written for NumPy 1, which had a name `int`."""
        np.int = int
        try:
            super().start(threads)
        finally:
            del np.int

    def around(self):
        """Its no_grad."""
        import dezero
        return dezero.no_grad()

    def numpy(self, result):
        """From its Variable."""
        return result.data


PEERS = {peer.name: peer for peer in (Torch(), ChannelsLast(), Fused(), TorchVision(), Jax(),
                                      DeZero())}


@functools.cache
def why_not(name: str, threads: int) -> str:
    """"" if the peer can take part: it is imported and has its threads; else the reason."""
    peer = PEERS[name]
    if peer.missing():
        return "not installed"
    if peer.home:
        return apart.process(peer.home).ask("call", name, begin, name, threads)
    return begin(name, threads)


def begin(name: str, threads: int) -> str:
    """Import the peer into this process; why that failed, or ""."""
    try:
        PEERS[name].start(threads)
    except Exception as error:                               # whatever a foreign import raises
        return f"cannot be imported: {type(error).__name__}: {str(error)[:200]}"
    return ""


def contender(name: str, case, arrays, device: str):
    """The case as run by the peer, where the peer lives; None if it cannot run this one."""
    if home := PEERS[name].home:
        return apart.process(home).contender(name, made, name, case, arrays, device)
    return made(name, case, arrays, device)


def made(name: str, case, arrays, device: str):
    """The case as run by the peer in this process."""
    return PEERS[name].contender(case, arrays, device)


def ready(name: str, threads: int) -> bool:
    """Whether the peer can take part."""
    return not why_not(name, threads)


def of(case, options) -> tuple[list[Peer], list[str]]:
    """(the peers that can run the case, words about those that could if they were here)."""
    able = [peer for name, peer in PEERS.items() if hasattr(case, name)
            and (options.beside is None or name in options.beside)]
    reasons = {peer: why_not(peer.name, options.threads) for peer in able}
    return ([peer for peer, reason in reasons.items() if not reason],
            [f"{peer.label} {reason}" for peer, reason in reasons.items() if reason])
