"""An assignment's file: read, executed once, its ``EXERCISE``."""
from __future__ import annotations

import hashlib
import sys
import traceback
import types
from pathlib import Path

from tinyvision.exercises.exercise import Exercise

_SOURCES: dict[int, tuple] = {}         # id -> (the exercise, so that its id stays its own; text)


def load_file(path) -> Exercise:
    """The ``EXERCISE`` of an assignment's file; ValueError says what is wrong, and on which line.

    The file is the instructor's own and is executed here.
    """
    from tinyvision.grading import source
    path = Path(path)
    text = source.read(path)
    digest = hashlib.sha256(f"{path.resolve()}\0{text}".encode()).hexdigest()[:12]
    name = f"tinyvision_assignment_{digest}"
    if name not in sys.modules:
        _execute(name, path, text)
    exercise = getattr(sys.modules[name], "EXERCISE", None)
    _SOURCES[id(exercise)] = exercise, text
    if not isinstance(exercise, Exercise):
        raise ValueError(f"{path} defines no EXERCISE; end it with EXERCISE = homework(...) or "
                         "EXERCISE = Exercise(...)")
    return exercise


def source_of(exercise: Exercise) -> str:
    """The text of the file that an exercise was loaded from; "" for one of the catalogue."""
    return _SOURCES.get(id(exercise), (None, ""))[1]


def _execute(name: str, path: Path, text: str) -> None:
    module = sys.modules[name] = types.ModuleType(name)     # where inspect will look it up
    module.__file__ = str(path)
    try:
        exec(compile(text, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, (Exception, SystemExit)):
            raise                       # somebody pressed Ctrl-C
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
                 if frame.filename == str(path)]
        where = f" line {lines[-1]}" if lines else ""
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        if isinstance(error, SystemExit):
            said = ("the file ends Python here (sys.exit, exit or quit) and is not read any "
                    "further; take that out")
        raise ValueError(f"{path}{where}: {said}") from error
