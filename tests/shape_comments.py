"""Models say the shape of every line in a comment: this runs them and compares.

    x = self.pool(x)                     # (N, C, H / 2, W / 2)
    return self.head(x), maps            # (N, K), [(N, C, h, w)]

A number must be that number. A name is an integer variable of the function, or what it was where it
first stood, in the docstring's first shape (of the arguments) or in an earlier comment; arithmetic
of such names is computed, division rounds up. [ ] are lists, in which names may differ from item to
item. Anything else (`channels k`) only counts as one axis, `...` as any number of them.
"""
from __future__ import annotations

import ast
import math
import re
import sys
import tokenize

GROUP = re.compile(r"\[?\(([^()]*(?:\([^()]*\)[^()]*)*)\)\]?")
EXPRESSION = re.compile(r"[\w\s+*/^()-]+")


def groups(text):
    """The shapes in a comment: [(is a list, [axis, ...]), ...]."""
    return [(m[0][0] == "[", re.split(r",\s*", m[1])) for m in GROUP.finditer(text)]


def comments_of(path):
    """{first line: (last line, the statement, its shapes)} of the statements of a file that have
    a comment with a shape."""
    with open(path, "rb") as file:
        said = {t.start[0]: t.string for t in tokenize.tokenize(file.readline)
                if t.type == tokenize.COMMENT and t.line[:t.start[1]].strip()}
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.Assign, ast.Return)) and node.end_lineno in said:
            if re.match(r"# \[?\(", said[node.end_lineno]):
                found[node.lineno] = node.end_lineno, node, groups(said[node.end_lineno])
    return found


class Watch:
    """Compares while the code of these files runs.

        with Watch(paths) as seen: model(x)
        seen.wrong, seen.unseen
    """

    def __init__(self, paths):
        self.comments = {str(path): comments_of(path) for path in paths}
        self.checked, self.wrong, self.axes = set(), [], 0

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *error):
        sys.settrace(self.before)

    @property
    def unseen(self):
        """Comments on lines that did not run: [(file, line)]."""
        return [(path, line) for path, lines in self.comments.items() for line in lines
                if (path, line) not in self.checked]

    def _call(self, frame, event, arg):
        if frame.f_code.co_filename not in self.comments or frame.f_code.co_name.startswith("<"):
            return None
        pending, names = None, from_docstring(frame)
        lines = self.comments[frame.f_code.co_filename]

        def follow(frame, event, arg):
            nonlocal pending
            inside = pending and event == "line" and pending[0] <= frame.f_lineno <= pending[1][0]
            if pending and not inside and event in ("line", "return"):
                self._check(frame, *pending, arg, names)
                pending = None
            if event == "line" and not inside and frame.f_lineno in lines:
                pending = frame.f_lineno, lines[frame.f_lineno]
            return follow
        return follow

    def _check(self, frame, line, comment, value, names):
        _, node, shapes = comment
        if isinstance(node, ast.Assign):
            value = assigned(node.targets[0], frame.f_locals)
        values = value if isinstance(value, tuple) and not shapes[0][0] else (value,)
        path = frame.f_code.co_filename
        self.checked.add((path, line))
        for (many, axes), one in zip(shapes, values):
            for item in one if many else [one]:
                known = dict(names) if many else names
                shape = getattr(item, "shape", None)
                if shape is None or not self._agrees(axes, shape, known, frame.f_locals):
                    self.wrong.append(f"{path}:{line}: says ({', '.join(axes)}), is "
                                      f"{type(item).__name__ if shape is None else shape}")

    def _agrees(self, axes, shape, names, variables):
        if "..." in axes:
            k = axes.index("...")
            axes = [*axes[:k], *["?"] * (len(shape) - len(axes) + 1), *axes[k + 1:]]
        self.axes += len(axes)
        return len(axes) == len(shape) and all(
            [fits(axis, size, names, variables) for axis, size in zip(axes, shape)])


def assigned(target, variables):
    """The value of `x = ...`, or the tuple of `x, y = ...`."""
    if isinstance(target, ast.Tuple):
        return tuple(variables[one.id] for one in target.elts)
    return variables[target.id]


def fits(axis, size, names, variables):
    """Whether what is said of an axis can be its size; a name that is new is remembered."""
    axis = re.sub(r"(\d) ([A-Za-z])", r"\1 * \2", axis.strip())
    if re.fullmatch(r"[A-Za-z]\w*", axis) and not isinstance(variables.get(axis), int):
        return names.setdefault(axis, size) == size
    if not EXPRESSION.fullmatch(axis):
        return True
    try:
        known = {**names, **{k: v for k, v in variables.items() if isinstance(v, int)}}
        return math.ceil(eval(axis.replace("^", "**"), {"__builtins__": {}}, known)) == size
    except (NameError, SyntaxError):
        new = re.fullmatch(r"(\d+) \* (\w+)", axis)          # 2 P, and P is new
        return not new or names.setdefault(new[2], size // int(new[1])) * int(new[1]) == size


def from_docstring(frame):
    """The names in the docstring's first shape, by the first argument with as many axes."""
    code, names = frame.f_code, {}
    text = code.co_consts[0] if code.co_consts and isinstance(code.co_consts[0], str) else ""
    for many, axes in groups(text.split("->")[0])[:1]:
        for name in code.co_varnames[:code.co_argcount]:
            shape = getattr(frame.f_locals.get(name), "shape", None)
            if not many and shape is not None and len(shape) == len(axes):
                names.update((a, s) for a, s in zip(axes, shape) if re.fullmatch(r"[A-Za-z]\w*", a))
                break
    return names
