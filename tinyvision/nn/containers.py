"""Modules that hold other modules: in a list, by name, or applied one after the other."""
from __future__ import annotations

from tinyvision.nn.module import Module


class ModuleList(Module):
    """Modules in a list; children are named 0, 1, 2, ... It has no forward of its own."""

    def __init__(self, modules=()):
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end; returns the list."""
        setattr(self, str(len(self)), module)
        return self

    def __len__(self):
        return sum(1 for _ in self.children())

    def extend(self, modules) -> ModuleList:
        """Add modules at the end; returns the list."""
        for module in modules:
            self.append(module)
        return self

    def __iter__(self):
        return self.children()

    def __getitem__(self, k):
        """A module, or of a slice another of this kind with the same modules."""
        chosen = list(self)[k]
        return type(self)._of(chosen) if isinstance(k, slice) else chosen

    @classmethod
    def _of(cls, modules):
        return cls(modules)


class Sequential(ModuleList):
    """Modules applied one after the other; children are named 0, 1, 2, ..."""

    def __init__(self, *modules):
        super().__init__(modules)

    @classmethod
    def _of(cls, modules):
        return cls(*modules)

    def forward(self, x):
        """x through every module in turn."""
        for module in self:
            x = module(x)
        return x


class ModuleDict(Module):
    """Modules by name, in the order in which they were added."""

    def __init__(self, modules=None):
        for name, module in (modules or {}).items():
            self[name] = module

    def __setitem__(self, name, module):
        setattr(self, name, module)

    def __getitem__(self, name):
        return dict(self.named_children())[name]

    def __contains__(self, name):
        return name in self.keys()

    def __iter__(self):
        return iter(self.keys())

    def __len__(self):
        return len(self.keys())

    def keys(self):
        """The names."""
        return dict(self.named_children()).keys()

    def values(self):
        """The modules."""
        return dict(self.named_children()).values()

    def items(self):
        """(name, module)."""
        return dict(self.named_children()).items()
