"""tinyvision: deep learning for computer vision, from scratch, to be read.

    import tinyvision as tv
"""
from tinyvision import ops
from tinyvision.device import DeviceError, gpu_available, manual_seed
from tinyvision.engine import GraphError, Tensor, grad, is_grad_enabled, no_grad

__version__ = "0.1.0"
