"""Plots that cost nothing: what stands for matplotlib and for Jupyter's own names in the sandbox.

Nothing but numpy and the standard library: this file also stands in the sandbox. A student's file
may well draw what it computes. Nobody looks at it while it is graded, and matplotlib takes longer
to start than all cases; a file that could not import it would lose every point for a picture. So
``import matplotlib.pyplot as plt`` finds modules of which every attribute, element and call is
`NOTHING`, which can be asked for anything and draws nothing.
"""
from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types

import numpy as np

PACKAGES = ("matplotlib", "mpl_toolkits", "IPython")


class Nothing:
    """Every attribute, element and result of it is itself; there is nothing in it."""

    def __getattr__(self, name):
        if name.startswith("__"):       # numpy and others ask what else it can do
            raise AttributeError(name)
        return CALLS.get(name, self)

    def __call__(self, *args, **options):
        return self

    def __getitem__(self, key):
        return self

    def __setitem__(self, key, value):
        pass

    def __iter__(self):
        return iter(())

    def __bool__(self):
        return True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def __or__(self, other):            # in a type hint: Axes | None
        return self

    __ror__ = __or__

    def __mro_entries__(self, bases):   # a class of one's own made from it
        return ()

    def __repr__(self):
        return "a plot that is not drawn while this is graded"


NOTHING = Nothing()


def subplots(nrows=1, ncols=1, *, squeeze=True, **options):
    """A figure and its axes, in an array where there are several."""
    axes = np.full((int(nrows), int(ncols)), NOTHING, dtype=object)
    if not squeeze:
        return NOTHING, axes
    return NOTHING, axes.item() if axes.size == 1 else axes.squeeze()


CALLS = {                               # whose results are taken apart
    "subplots": subplots, "plot": lambda *args, **options: [NOTHING],
    "xlim": lambda *args, **options: (0.0, 1.0), "ylim": lambda *args, **options: (0.0, 1.0),
    "hist": lambda *args, **options: (NOTHING, NOTHING, NOTHING)}
JUPYTER = {"display": NOTHING, "get_ipython": NOTHING}  # names that are there without an import


class Module(types.ModuleType):
    """A module in which every name is found."""
    __path__: list = []
    __all__: list = []
    __version__ = "0"

    def __getattr__(self, name):
        return getattr(NOTHING, name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `PACKAGES`, and whatever module is looked for in them."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in PACKAGES:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return Module(spec.name)

    def exec_module(self, module):
        pass


def install() -> None:
    """From now on, imports of plotting packages find nothing to draw with."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
