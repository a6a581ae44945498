"""Weights into a module, and the report of what fitted and what did not."""
from __future__ import annotations

from dataclasses import dataclass, field

from tinyvision.weights.files import WeightsError, read_weights

SHOWN = 5                  # names in a report before it says how many more there are
COUNTER = "num_batches_tracked"


@dataclass
class Report:
    """What came of loading a file.

    Attributes:
        path: the file.
        loaded: names of the arrays that were copied.
        missing: names that the module has and the file has not; they keep their values.
        unexpected: names that only the file has.
        misshapen: by name, (shape in the file, shape in the module); they keep their values.
    """
    path: str
    loaded: list = field(default_factory=list)
    missing: list = field(default_factory=list)
    unexpected: list = field(default_factory=list)
    misshapen: dict = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether everything fitted."""
        return not (self.missing or self.unexpected or self.misshapen)

    def __str__(self):
        shapes = [f"{name} {_by(has)}, expected {_by(expected)}"
                  for name, (has, expected) in self.misshapen.items()]
        lines = [f"{self.path}: {len(self.loaded)} arrays loaded"]
        for title, names in (("missing", self.missing), ("unexpected", self.unexpected),
                             ("misshapen", shapes)):
            if names:
                more = f", … {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                lines.append(f"  {len(names)} {title}: {', '.join(names[:SHOWN])}{more}")
        return "\n".join(lines)

    def complaint(self, module) -> str:
        """One sentence on the first thing that did not fit."""
        wrong = len(self.missing) + len(self.unexpected) + len(self.misshapen)
        for name, (has, expected) in self.misshapen.items():
            return (f"{self.path}: {name} has shape {_by(has)}, {module} expects {_by(expected)} "
                    f"({wrong} such mismatches; nothing was loaded)")
        name, text = ((self.missing[0], "has no") if self.missing else
                      (self.unexpected[0], "has an unexpected"))
        return (f"{self.path}: the file {text} {name!r} for {module} ({wrong} such mismatches; "
                "nothing was loaded; strict=False loads what fits)")


def _by(shape):
    return "x".join(map(str, shape)) or "scalar"


def load_weights(module, path, strict: bool = True, rename=None) -> Report:
    """Copy the arrays of a file into the parameters and buffers of the same names.

    Args:
        module: a Module; its arrays keep their dtype and device.
        path: see `read_weights`.
        strict: load nothing unless all names and shapes fit. Otherwise what fits is loaded, so a
            network can be fine-tuned for other classes; look at the report.
        rename: a function from a name in the file to the module's name for it, or None to leave it
            out. If None, the module's own `name_of_weights`, where it has one.

    Returns:
        A Report; print it. Counts of batches (`num_batches_tracked`), which are no weights, and
        which old files lack, may be in only one of the two.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: the file is damaged or refused, or strict and something does not fit.
    """
    rename = rename or getattr(module, "name_of_weights", None)
    state = _renamed(read_weights(path), rename)
    report = compare(module, state, str(path))
    if strict and not report.complete:
        raise WeightsError(report.complaint(type(module).__name__))
    module.load_state_dict({name: state[name] for name in report.loaded}, strict=False)
    return report


def compare(module, state, path="the state") -> Report:
    """What fits and what does not, before anything is loaded."""
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    report = Report(path, missing=[n for n in own if n not in state and not _counts(n)])
    for name, array in state.items():
        if name not in own:
            report.unexpected += [] if _counts(name) else [name]
        elif array.shape != own[name].shape:
            report.misshapen[name] = (array.shape, own[name].shape)
        else:
            report.loaded.append(name)
    return report


def _counts(name):
    return name.rpartition(".")[2] == COUNTER


def _renamed(state, rename):
    if rename is None:
        return state
    renamed = {new: array for name, array in state.items() if (new := rename(name)) is not None}
    kept = [name for name in state if rename(name) is not None]
    if len(renamed) < len(kept):
        raise WeightsError("load_weights: rename gives two arrays one name")
    return renamed
