"""Scales of rounding errors, for answers that are sums of products."""
from __future__ import annotations

from typing import Callable

import numpy as np


def absolute(function: Callable) -> Callable:
    """The function of its arrays' absolute values: sum |terms| where it computes sum terms."""
    def magnitude(*args):
        return function(*(np.abs(a) if isinstance(a, np.ndarray) else a for a in args))
    return magnitude
