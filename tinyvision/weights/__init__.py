"""Weights in files: safetensors and PyTorch's, read without running anything a file says."""
from tinyvision.weights.files import WeightsError, read_weights, save_weights
from tinyvision.weights.load import Report, load_weights

__all__ = ["Report", "WeightsError", "load_weights", "read_weights", "save_weights"]
