"""A student's file: its text or cells, and the functions in it, which are run.

A ``.py`` file runs whole. Of a notebook, and of a file in which something raises, the statements
run that are `needed`, in their order; all of them where the grader asks for it. A statement that
fails then costs nothing but itself, one that is neither definition nor quick is stopped: it may
train for an hour.
"""
from __future__ import annotations

import __future__
import ast
import contextlib
import difflib
import functools
import inspect
import json
import linecache
import re
import sys
import textwrap
import types

from . import plots
from .needed import DEFINES, is_definition, needed
from .patience import Patience

PYTHON_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun")
MAGIC = re.compile(r"^(\s*)(?:[%!?].*|[\w\s,.]+=\s*[%!].*|[\w.]+\?{1,2}\s*)$")
CONTINUED = re.compile(r"^[ \t]*[%!](?:.*\\\n)+", re.M)   # a shell line of several
PATIENCE = 1.2                          # seconds for all that is no definition
UNUSUAL = {"os", "sys", "subprocess", "socket", "ctypes", "shutil", "signal", "inspect", "gc",
           "pickle", "multiprocessing", "threading", "urllib", "requests", "importlib",
           "tinyvision", "torch", "torchvision", "tensorflow", "scipy", "cv2", "skimage"}


class Unreadable(Exception):
    """The file is not what its name says."""


def text_of(source: bytes) -> str:
    """Source as text: UTF-8 with or without a mark, UTF-16 by its mark, or a declared encoding."""
    first = b"\n".join(source[:400].split(b"\n", 2)[:2])       # where Python looks (PEP 263)
    cookie = re.search(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", first, re.M)
    marked = source[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return source.decode("utf-16" if marked else cookie[1].decode() if cookie else
                             "utf-8-sig").lstrip("\ufeff")
    except (UnicodeError, LookupError) as error:
        raise SyntaxError(f"is not UTF-8 text ({error}): save it as UTF-8") from None


def cells_of(name: str, source: bytes) -> list[tuple[str, str]]:
    """(file name for tracebacks, source) of each cell; a plain file is one cell."""
    if not name.endswith(".ipynb"):
        try:
            return [(name, text_of(source))]
        except SyntaxError as error:
            error.filename = name
            raise
    try:
        book = json.loads(source.decode("utf-8-sig"))
        if isinstance(book, dict) and "worksheets" in book:
            raise Unreadable("a notebook of format 3 or older: open it in Jupyter and save it anew")
        if not isinstance(book, dict) or not isinstance(book.get("cells"), list):
            raise Unreadable("not a notebook: it has no list of cells")
        return [(f"cell {i}", _text_of_cell(i, cell)) for i, cell in enumerate(book["cells"], 1)
                if not isinstance(cell, dict) or cell.get("cell_type") == "code"]
    except json.JSONDecodeError as error:
        raise Unreadable(f"not a notebook: {error.msg} (byte {error.pos})") from None
    except RecursionError:
        raise Unreadable("not a notebook: nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"not a notebook: {error}") from None


def _text_of_cell(i: int, cell) -> str:
    source = cell.get("source", 0) if isinstance(cell, dict) else 0
    lines = [source or ""] if source is None or isinstance(source, str) else source
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise Unreadable(f"not a notebook: cell {i} holds no text")
    return "".join(lines)


def without_magics(code: str) -> str:
    """A cell that does not parse, with its magics and shell lines replaced by ``pass``."""
    first, _, rest = code.lstrip().partition("\n")
    if first.startswith("%%"):
        return rest if first.split()[0] in PYTHON_CELLS else ""
    code = CONTINUED.sub(lambda found: found[0].replace("\\\n", " "), code)
    return "\n".join(MAGIC.sub(r"\1pass", line) for line in code.split("\n"))


@functools.lru_cache(maxsize=256)
def parse(name: str, code: str, notebook: bool) -> ast.Module:
    """The cell's tree, which is not to be changed; SyntaxError if it has none, also for what
    overflows the parser. Forks of a worker that has read a file inherit its trees."""
    try:
        try:
            return ast.parse(code, name)
        except SyntaxError:
            if not notebook:
                raise
            return ast.parse(textwrap.dedent(without_magics(code)), name)
    except SyntaxError:
        raise
    except (MemoryError, RecursionError, ValueError) as error:
        raise SyntaxError(f"cannot be parsed: {error or type(error).__name__}") from None


class Submission:
    """A student's file: parsed once, executed when a function of it is asked for. With ``keep`` a
    second call finds what the first one left.

    Arguments:
        functions: the names of those that are graded; by default all that it defines.
        whole: run all of it, whatever these need.
    Attributes:
        partly: whether something was left out.
    """

    def __init__(self, name: str, source: bytes, functions=(), whole: bool = False):
        self.name, self.notebook, self.functions = name, name.endswith(".ipynb"), functions
        self.whole, self.partly = whole, False
        self.trees, self.broken, self.failed = [], [], []
        for title, code in cells_of(name, source):
            linecache.cache[title] = (len(code), None, code.splitlines(True), title)
            try:
                self.trees.append((title, parse(title, code, self.notebook)))
            except SyntaxError as error:
                if not self.notebook:
                    raise
                self.broken.append(error)
        self.space, self.keep = {}, False

    def execute(self) -> None:
        """Fill the name space anew: by a file, or by what is needed of a notebook."""
        self.failed = []
        self.begin()
        if not self.notebook:
            try:
                for title, tree in self.trees:
                    self.run(tree.body, title)
                return
            except (MemoryError, ImportError):
                raise                   # what is not there is said, whoever needs it
            except Exception as error:  # a demonstration, maybe: what is defined can still be right
                self.failed = [error]
                self.begin()
        self.execute_statements()

    def begin(self) -> None:
        """A new module's name space."""
        module, self.flags = types.ModuleType("submission"), 0
        sys.modules["submission"], self.space = module, module.__dict__
        self.space.update(plots.JUPYTER, exit=sys.exit, quit=sys.exit, __file__=self.name)
        if self.notebook:               # there it always is
            self.space["__name__"] = "__main__"

    def execute_statements(self) -> None:
        """Run what the graded functions need, or everything, and survive what fails."""
        every = [(title, node) for title, tree in self.trees for node in tree.body]
        chosen = [self.whole or wanted for wanted in needed([node for _, node in every],
                                                            self.functions)]
        self.partly, clock = not all(chosen), Patience(PATIENCE)
        for (title, node), wanted in zip(every, chosen):
            if wanted:
                self.survive(node, title, contextlib.nullcontext() if is_definition(node)
                             else clock.half())

    def run(self, body: list, title: str) -> None:
        """Run statements of one cell; what one imports from the future holds for all that follow."""
        self.flags |= future(body)
        exec(compile(ast.Module(body, []), title, "exec", self.flags, dont_inherit=True),
             self.space)

    def survive(self, node: ast.stmt, title: str, within) -> None:
        """Run a statement ``within`` a context, and survive how it ends."""
        try:
            with within:
                self.run([node], title)
        except BaseException as error:  # also sys.exit(): in a notebook it ends a cell
            self.failed.append(error)

    def call(self, function: str, arguments, driver=None, library=None) -> tuple[object, tuple]:
        """(what the function returned, its arguments afterwards); LookupError if there is none.

        ``driver``: called in its place, with the function (or class, or text) before the arguments.
        ``library``: what the driver gets instead: the text that stands there, compiled.
        """
        if library is not None:
            args = arguments()
            return driver(library, *args), args
        if not self.space or not self.keep:
            self.execute()
        try:
            return self.call_once(function, arguments(), driver)
        except (LookupFailed, NameError):
            if self.failed and not self.notebook:
                raise self.failed[0]    # of a file: where it stopped
            raise

    def call_once(self, function: str, args: tuple, driver) -> tuple[object, tuple]:
        """Look the function up and call it; see why where that fails by its arguments."""
        chosen = self.space.get(function)
        if chosen is None or not (driver or callable(chosen)):
            raise LookupFailed(function)
        if driver:
            return driver(chosen, *args), args
        try:
            return chosen(*args), args
        except TypeError as error:
            if not error.__traceback__.tb_next:         # none of the function's own lines ran
                fits(chosen, args)
            raise

    def similar(self, function: str) -> list[str]:
        """Names of functions defined here that could have been meant."""
        names = {re.sub(r"[^a-z0-9]", "", name.lower()): name
                 for name, value in self.space.items() if callable(value)}
        wanted = re.sub(r"[^a-z0-9]", "", function.lower())
        return [names[near] for near in difflib.get_close_matches(wanted, names, 3, 0.8)]


def future(body: list) -> int:
    """The compiler's flags for what statements import from ``__future__``."""
    names = [item.name for node in body if isinstance(node, ast.ImportFrom)
             and node.module == "__future__" for item in node.names]
    return functools.reduce(lambda flags, name: flags | getattr(
        __future__, name).compiler_flag, names, 0)


class LookupFailed(Exception):
    """The submission defines no such function."""


class WrongSignature(TypeError):
    """The function does not take the arguments of the exercise."""


def fits(function, args: tuple) -> None:
    """Raise WrongSignature where a function cannot take these arguments."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return
    try:
        signature.bind(*args)
    except TypeError:
        raise WrongSignature(f"takes {signature} but is called with {len(args)} "
                             "arguments") from None


def defined(trees) -> list[str]:
    """The functions and classes defined at the top of any cell."""
    return [node.name for _, tree in trees for node in tree.body
            if isinstance(node, DEFINES)]


def remarks(trees) -> list[dict]:
    """What a person may want to look at: never a mark, only a line number and a few words."""
    found = []
    for title, tree in trees:
        for node in ast.walk(tree):
            text = remark(node)
            if text:
                found.append({"where": f"{title}:{node.lineno}", "text": text[:120]})
    return found[:20]


def remark(node: ast.AST) -> str | None:
    """A few words about a node that an exercise in array code does not need."""
    if isinstance(node, ast.Import):
        unusual = [item.name for item in node.names if item.name.split(".")[0] in UNUSUAL]
        return f"imports {', '.join(unusual)}" if unusual else None
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNUSUAL:
        if (node.module, [item.name for item in node.names]) == ("tinyvision.grading", ["check"]):
            return None                             # the last cell of every notebook that we made
        return f"imports from {node.module}"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in (
            "eval", "exec", "open", "compile", "__import__"):
        return f"calls {node.func.id}()"
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and (
            isinstance(node.value, ast.Name) and node.value.id in ("np", "numpy")):
        return f"replaces {node.value.id}.{node.attr}"
    if isinstance(node, ast.Attribute) and node.attr in ("_getframe", "__subclasses__"):
        return f"uses {node.attr}"
    return None
