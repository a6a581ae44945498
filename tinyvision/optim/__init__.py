"""Optimizers, learning-rate schedules, gradient clipping. Names and arguments are PyTorch's."""
from tinyvision.optim import lr_scheduler
from tinyvision.optim.clip import clip_grad_norm_, clip_grad_value_
from tinyvision.optim.optimizer import SGD, Adam, AdamW, Optimizer, RMSprop
