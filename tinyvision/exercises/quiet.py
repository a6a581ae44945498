"""Calls of which nobody wants to read NumPy's warnings: of the mean of nothing, and the like."""
from __future__ import annotations

import contextlib
import threading
import warnings

import numpy as np

_LOCK = threading.RLock()               # filters of warnings belong to the whole process


@contextlib.contextmanager
def quiet():
    """A context without warnings, one thread at a time."""
    with _LOCK, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
