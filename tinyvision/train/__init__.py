"""Training: the loop, checkpoints, and what to say when a loss is not finite."""
from tinyvision.train.checkpoint import CheckpointError
from tinyvision.train.fit import History, fit
from tinyvision.train.nonfinite import NonFiniteError
