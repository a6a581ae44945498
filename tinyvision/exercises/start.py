"""What a student starts from: the task, the functions without their bodies, as .py or .ipynb.

Everything is taken from the exercise's own source text, so there is one version of it: the module's
docstring is the task, and what stands between the two markers in a function is left out.
"""
from __future__ import annotations

import ast
import inspect
import json
import os
import tempfile
from pathlib import Path

from tinyvision.exercises import Exercise, load

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
BODY = 'raise NotImplementedError("write me")'
IMPORTS = "import numpy as np"
CHECK = "from tinyvision.grading import check    # after running the cells above\n\ncheck()"


# ---- the exercise's source, taken apart ----------------------------------------------------------

def task(exercise: Exercise) -> str:
    """The task in Markdown: the docstring of the exercise's module, then that of its driver."""
    text = inspect.cleandoc(_module(exercise).__doc__)
    if exercise.driver is None:
        return text
    return f"{text}\n\n## How it is checked\n\n{inspect.cleandoc(exercise.driver.__doc__)}"


def _module(exercise: Exercise):
    return inspect.getmodule(next(iter(exercise.functions.values())))


def _pieces(exercise: Exercise) -> list[tuple[str, str]]:
    """(name, source) of each function, class and text down to the last that the student writes."""
    source = inspect.getsource(_module(exercise))
    lines, found = source.splitlines(), []
    for node in ast.parse(source).body:
        name = getattr(node, "name", None) or _assigned(node)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) or name in exercise.texts:
            found.append((name, "\n".join(lines[node.lineno - 1:node.end_lineno])))
    last = max(i for i, (name, _) in enumerate(found) if name in exercise.functions)
    return found[:last + 1]


def _assigned(node: ast.stmt) -> str | None:
    """The name in ``NAME = ...``."""
    return node.targets[0].id if isinstance(node, ast.Assign) and isinstance(
        node.targets[0], ast.Name) else None


def _bare(line: str) -> str:
    """A line without indentation, and without the mark of a comment in C++."""
    return line.strip().removeprefix("// ")


def _without_body(text: str) -> str:
    """The text with what stands between the markers replaced by a NotImplementedError."""
    kept, inside = [], False            # the last END is a comment after the function's last line,
    for line in text.splitlines():      # which the parser leaves out: nothing follows it
        if _bare(line) == BEGIN:
            kept.append(line.replace(BEGIN, BODY if line.strip() == BEGIN else "write me"))
            inside = True
        elif _bare(line) == END:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def _without_markers(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if _bare(line) not in (BEGIN, END))


def _blanks(exercise: Exercise) -> list[tuple[str, str]]:
    """(name, text) of the functions that the student writes, without their bodies."""
    return [(name, _without_body(text)) for name, text in _pieces(exercise)
            if name in exercise.functions]


# ---- files ---------------------------------------------------------------------------------------

def stub(exercise: Exercise) -> str:
    """The text of the student's .py file."""
    return _script(exercise, [text for _, text in _blanks(exercise)])


def solution_text(exercise: Exercise) -> str:
    """The same file with the solution in it, for tests and instructors."""
    return _script(exercise, [_without_markers(text) for _, text in _pieces(exercise)])


def _script(exercise: Exercise, functions: list[str]) -> str:
    name = exercise.name
    top = f'# tinyvision exercise: {name}\nr"""{task(exercise)}\n\n{_note(exercise, "py")}\n"""'
    return "\n\n\n".join([f"{top}\n{IMPORTS}", *functions]) + "\n"


def _note(exercise: Exercise, kind: str) -> str:
    return f"Lecture: {exercise.lecture}.\nRun: tinyvision check {exercise.name}.{kind}"


def notebook_text(exercise: Exercise) -> str:
    """The text of the student's .ipynb file (nbformat 4.5)."""
    name = exercise.name
    cells = [_cell("task", f"{task(exercise)}\n\n{_note(exercise, 'ipynb')}", "markdown"),
             _cell("imports", f"# tinyvision exercise: {name}\n{IMPORTS}"),
             *(_cell(function, text) for function, text in _blanks(exercise)),
             _cell("check", CHECK)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps({"cells": cells, "metadata": {
        "kernelspec": kernel, "language_info": {"name": "python"},
        "tinyvision": {"exercise": name}}, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _cell(name: str, source: str, kind: str = "code") -> dict:
    cell = {"cell_type": kind, "id": name.replace("_", "-"), "metadata": {},
            "source": source.splitlines(keepends=True)}
    return cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []}


def start(name: str, folder=".", notebook: bool = False, force: bool = False) -> Path:
    """Write the file that a student starts from.

    Arguments:
        name: the exercise's name.
        folder: where; made if it does not exist.
        notebook: NAME.ipynb instead of NAME.py.
        force: write over a file that exists.

    Returns:
        the file's path. FileExistsError where there is one already, ValueError for an unknown name.
    """
    exercise = load(name)
    path = Path(folder) / f"{name}.{'ipynb' if notebook else 'py'}"
    text = notebook_text(exercise) if notebook else stub(exercise)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, text, force)
    return path


def _write(path: Path, text: str, force: bool) -> None:
    """Write a temporary file beside it, then rename: the file is there whole or not at all."""
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists already: rename it, choose another folder with -o, "
                              "or write over it with --force.")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644)      # mkstemp makes files that only their owner may read
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
