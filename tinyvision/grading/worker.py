"""The untrusted side: loads a student's file, calls its functions, sends raw bytes back.

This file runs in the sandbox, as ``python -I -S -B worker.pyc SITE``, where SITE is a folder that
holds numpy; beside it lie `seccomp` and `landlock`, and no other file of the project. It needs the
standard library and numpy, knows no answers, decides no mark, and nothing that it says is believed
without a check on the other side.

A *message* is a JSON header and some blobs; a *frame* is a message behind its length (u32, little
endian). The first frame sets the worker up (limits; the student's source as its blob); it answers
``hello``. Each further frame is a request, ``read``, ``call`` or ``sequence`` (of calls), and is
answered by one frame, unless it *talks*: a function among a call's arguments cannot be sent, so the
worker asks for its values, frame by frame, and for the arguments of each call only when the one
before is answered.
Where the system can fork, each request runs in a fork of its own, so that a crash costs one case;
what a case leaves in the temporary folder is removed before the next.
"""
from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

import ast
import contextlib
import difflib
import functools
import gc
import inspect
import json
import linecache
import os
import re
import shutil
import signal
import struct
import tempfile
import types

import numpy as np

CAN_FORK = hasattr(os, "fork")
WARM = b"import numpy as np\ndef f(x):\n    return np.einsum('i,i->', x, x) + np.zeros(2)\n"
PRINTED = 64 * 1024                     # how much of what a student prints is kept
GUARDED = b"+"                           # said by a fork before the student's code runs in it
ASKS, LAST = b"?", b"."                 # said by a fork before a question, and before its answer
FRAMES = 3                              # of a long traceback: as many at either end
PLAIN_KINDS = "biufc"                   # numpy kinds whose bytes mean something elsewhere
PYTHON_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun")
MAGIC = re.compile(r"^(\s*)(?:[%!?].*|[\w\s,.]+=\s*[%!].*|[\w.]+\?{1,2}\s*)$")
UNUSUAL = {"os", "sys", "subprocess", "socket", "ctypes", "shutil", "signal", "inspect", "gc",
           "pickle", "multiprocessing", "threading", "urllib", "requests", "importlib",
           "tinyvision", "torch", "torchvision", "tensorflow", "scipy", "cv2", "skimage"}


# ---- messages ------------------------------------------------------------------------------------

def pack(header: dict, blobs=()) -> bytes:
    """One message: the header's length, the header as JSON (with the blobs' lengths), the blobs."""
    text = json.dumps({**header, "lengths": [len(blob) for blob in blobs]}).encode()
    return b"".join([struct.pack("<I", len(text)), text, *blobs])


def unpack(message: bytes) -> tuple[dict, list[bytes]]:
    """The header and the blobs of a message; ValueError if it is anything else."""
    try:
        size, = struct.unpack_from("<I", message)
        header = json.loads(message[4:4 + size])
        stops = np.cumsum([4 + size] + [int(n) for n in header.pop("lengths")], dtype=np.int64)
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, OverflowError,
            RecursionError) as error:
        raise ValueError(f"garbled message: {error}") from None
    if stops[-1] != len(message) or (np.diff(stops) < 0).any():
        raise ValueError("garbled message: the lengths do not add up")
    return header, [message[a:b] for a, b in zip(stops[:-1], stops[1:])]


def read_frame(stream, cap: int) -> bytes | None:
    """The next frame's message; None at the end of the stream or where it is cut short."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    size, = struct.unpack("<I", head)
    if size > cap:
        raise ValueError(f"a frame of {size} bytes, at most {cap} are allowed")
    message = stream.read(size)
    return message if len(message) == size else None


def write_frame(stream, message: bytes) -> None:
    """Send one message behind its length."""
    stream.write(struct.pack("<I", len(message)) + message)
    stream.flush()


# ---- values --------------------------------------------------------------------------------------

def encode(value, blobs: list) -> object:
    """An argument as JSON; arrays leave their bytes in ``blobs``."""
    if isinstance(value, np.ndarray):
        blobs.append(value.tobytes())
        return {"array": len(blobs) - 1, "dtype": value.dtype.str, "shape": value.shape}
    if isinstance(value, (tuple, list)):
        return {type(value).__name__: [encode(item, blobs) for item in value]}
    return value.item() if isinstance(value, np.generic) else value


def decode(code, blobs):
    """The argument that `encode` described; arrays are fresh and writable."""
    if not isinstance(code, dict):
        return code
    if "array" in code:
        data = np.frombuffer(blobs[code["array"]], code["dtype"])
        return data.reshape(code["shape"]).copy()
    (kind, items), = code.items()
    return {"tuple": tuple, "list": list}[kind](decode(item, blobs) for item in items)


def describe(value, blobs: list, cap: int) -> dict:
    """What a student returned: its type, and the bytes of a true array or number."""
    plain = type(value) is np.ndarray
    about = {"type": type(value).__name__[:80]}
    if not plain and not isinstance(value, (bool, int, float, complex, np.generic)):
        return about
    array = value if plain else np.asarray(value)
    about.update(dtype=array.dtype.str[:80], shape=array.shape, plain=plain)
    if array.dtype.kind in PLAIN_KINDS and array.nbytes <= cap:
        about["blob"] = len(blobs)
        blobs.append(array.tobytes())
    return about


# ---- the student's source ------------------------------------------------------------------------

class Unreadable(Exception):
    """The file is not what its name says."""


def text_of(source: bytes) -> str:
    """Source as text: UTF-8 with or without a mark, UTF-16 by its mark, or a declared encoding."""
    if source[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return source.decode("utf-16")
    first = b"\n".join(source[:400].split(b"\n", 2)[:2])       # where Python looks (PEP 263)
    cookie = re.search(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", first, re.M)
    try:
        return source.decode(cookie[1].decode() if cookie else "utf-8-sig").lstrip("\ufeff")
    except (UnicodeDecodeError, LookupError) as error:
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
        cells = json.loads(source.decode("utf-8-sig"))["cells"]
        codes = [(i, cell["source"]) for i, cell in enumerate(cells, 1)
                 if cell["cell_type"] == "code"]
        return [(f"cell {i}", "".join(code)) for i, code in codes]
    except json.JSONDecodeError as error:
        raise Unreadable(f"not a notebook: {error.msg} (byte {error.pos})") from None
    except RecursionError:
        raise Unreadable("not a notebook: nested too deeply") from None
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"not a notebook: {type(error).__name__}: {error}") from None


def without_magics(code: str) -> str:
    """A cell that does not parse, with its magics and shell lines replaced by ``pass``."""
    first, _, rest = code.lstrip().partition("\n")
    if first.startswith("%%"):
        return rest if first.split()[0] in PYTHON_CELLS else ""
    return "\n".join(MAGIC.sub(r"\1pass", line) for line in code.split("\n"))


def parse(name: str, code: str, notebook: bool) -> ast.Module:
    """The cell's tree; SyntaxError if it has none, also for what overflows the parser."""
    try:
        return ast.parse(code, name)
    except SyntaxError:
        if not notebook:
            raise
        return ast.parse(without_magics(code), name)
    except (MemoryError, RecursionError, ValueError) as error:
        raise SyntaxError(f"cannot be parsed: {error or type(error).__name__}") from None


def is_definition(node: ast.stmt) -> bool:
    """Imports, functions, classes and constants: what may run before any demonstration does."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        return not any(isinstance(part, ast.Call) for part in ast.walk(node))
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))


class Submission:
    """A student's file: parsed once, executed when a function of it is asked for.

    A ``.py`` file runs whole. Of a notebook the definitions run first; all cells follow only if a
    name is missing, and a cell that fails costs nothing but itself. With ``keep`` a second call
    finds what the first one left.
    """

    def __init__(self, name: str, source: bytes):
        self.notebook = name.endswith(".ipynb")
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

    def execute(self, definitions_only: bool) -> None:
        """Fill the name space anew."""
        module = types.ModuleType("submission")
        sys.modules["submission"], self.space, self.failed = module, module.__dict__, []
        for title, tree in self.trees:
            body = tree.body
            if definitions_only:
                for node in filter(is_definition, body):
                    self.run([node], title)
            else:
                self.run(body, title)

    def run(self, body: list, title: str) -> None:
        """Run statements; a notebook survives their exceptions."""
        try:
            exec(compile(ast.Module(body, []), title, "exec", dont_inherit=True), self.space)
        except Exception as error:
            if not self.notebook:
                raise
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
            self.execute(definitions_only=self.notebook)
        try:
            return self.call_once(function, arguments(), driver)
        except (LookupFailed, NameError):
            if not self.notebook:
                raise
        self.execute(definitions_only=False)
        return self.call_once(function, arguments(), driver)

    def call_once(self, function: str, args: tuple, driver) -> tuple[object, tuple]:
        """Look the function up, see that it takes the arguments, call it."""
        chosen = self.space.get(function)
        if chosen is None or not (driver or callable(chosen)):
            raise LookupFailed(function)
        if driver:
            return driver(chosen, *args), args
        fits(chosen, args)
        return chosen(*args), args

    def similar(self, function: str) -> list[str]:
        """Names of functions defined here that could have been meant."""
        names = {re.sub(r"[^a-z0-9]", "", name.lower()): name
                 for name, value in self.space.items() if callable(value)}
        wanted = re.sub(r"[^a-z0-9]", "", function.lower())
        return [names[near] for near in difflib.get_close_matches(wanted, names, 3, 0.8)]


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


# ---- requests ------------------------------------------------------------------------------------

def respond(name: str, source: bytes, request: dict, blobs: list, ask=None) -> bytes:
    """The message that answers a request; a student's exceptions become part of it.

    ``ask``: takes a message to the grader's side and returns its answer.
    """
    answers: list = []
    try:
        submission = Submission(name, source)
        if request["do"] == "read":
            header = {"status": "ok", "remarks": remarks(submission.trees),
                      "functions": defined(submission.trees)}
        elif request["do"] == "load":
            header = loaded(submission)
        elif request["do"] == "sequence":
            header = sequence(submission, request, blobs, answers, ask)
        else:
            header = call(submission, request, blobs, answers, ask)
    except Unreadable as error:
        header = {"status": "unreadable", "message": str(error)}
    except SyntaxError as error:
        header = {"status": "syntax", "error": about_syntax(error)}
    return pack(header, answers)


def loaded(submission: Submission) -> dict:
    """Run the file without a call: asked after a time-out, to see whether the file itself ends."""
    try:
        submission.execute(definitions_only=submission.notebook)
    except BaseException:
        pass                            # it ended
    return {"status": "ok"}


def defined(trees) -> list[str]:
    """The functions and classes defined at the top of any cell."""
    return [node.name for _, tree in trees for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def driver_of(request: dict):
    """The driver's function, in a name space of its own; None where the request has no driver."""
    if "driver" not in request:
        return None
    space = {"__name__": "driver"}
    exec(compile(request["driver_text"], "<driver>", "exec", dont_inherit=True), space)
    return space[request["driver"]]


def call(submission: Submission, request: dict, blobs: list, answers: list, ask=None) -> dict:
    """Call one function; ``answers`` gets the bytes that it returned, then those of its inputs."""
    driver = driver_of(request)         # before any line of the student's runs
    if request.get("talks"):
        return talk(submission, request, driver, ask)
    library = blobs[request["library"]] if "library" in request else None
    return called(submission, request, lambda: decode(request["args"], blobs), answers, driver,
                  library)


def talk(submission: Submission, request: dict, driver, ask) -> dict:
    """Call one function as often as the other side wants, each time with what it sends. It judges
    what it was told on the way, so nothing is returned."""
    submission.keep, message = True, pack({"status": "talks"})
    while True:
        header, blobs = unpack(ask(message))
        if "args" not in header:
            return {"status": "ok"}
        answers: list = []

        def arguments(codes=header["args"], blobs=blobs):
            return tuple(argument(code, blobs, ask) for code in codes)
        message = pack(called(submission, request, arguments, answers, driver), answers)


def argument(code, blobs: list, ask):
    """An argument of a call that is talked about: what `decode` knows, a function, or an array
    whose columns lie side by side."""
    if isinstance(code, dict) and "function" in code:
        return elsewhere(code["function"], ask)
    return decode(code["turned"], blobs).T if isinstance(code, dict) and "turned" in code else (
        decode(code, blobs))


def elsewhere(number: int, ask):
    """A function whose values are asked for: nothing here knows how it is computed."""
    def f(x):
        blobs: list = []
        question = {"status": "asks", "function": number, "inputs": 1,
                    "several": "", "answers": [describe(np.asarray(x), blobs, 1 << 20)]}
        header, values = unpack(ask(pack(question, blobs)))
        if "raised" in header:
            raise ValueError(header["raised"])
        return decode(header["value"], values)[()]
    return f


def called(submission: Submission, request: dict, arguments, answers: list, driver=None,
           library=None) -> dict:
    """What became of one call: the header that describes it."""
    function = request["function"]
    np.random.seed()                    # a fork inherits the state: two runs would agree by chance
    try:
        returned, args = submission.call(function, arguments, driver, library)
    except LookupFailed:
        return missing(submission, function)
    except MemoryError as error:
        return {"status": "memory", "message": str(error)[:200]}
    except SystemExit:
        return {"status": "exited", "message": "calls sys.exit()"}
    except SyntaxError as error:
        return {"status": "syntax", "error": about_syntax(error)}
    except BaseException as error:
        return {"status": "exception", "error": about(error, submission)}
    return answered(returned, args, answers, request["cap"])


def answered(returned, args: tuple, answers: list, cap: int) -> dict:
    """The header for what a function returned and left of its arguments."""
    several = isinstance(returned, (tuple, list)) and type(returned) in (tuple, list)
    values = returned[:16] if several else (returned,)
    described = [describe(value, answers, cap) for value in values]
    inputs = [arg for arg in args if isinstance(arg, np.ndarray)]
    header = {"status": "ok", "several": type(returned).__name__ if several else "",
              "answers": described, "inputs": len(answers)}
    answers.extend(arg.tobytes() for arg in inputs)
    return header


def sequence(submission: Submission, request: dict, blobs: list, answers: list, ask=None) -> dict:
    """Several calls, one after the other, as in a program: the header of each."""
    submission.keep, headers = True, []
    for one in request["calls"]:
        headers.append(call(submission, one, blobs, answers, ask))
        shorten_output()                # the limit is one call's
    return {"status": "ok", "calls": headers}


def shorten_output() -> None:
    """Forget what was printed beyond what is kept."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        if os.lseek(1, 0, os.SEEK_CUR) > PRINTED:
            os.ftruncate(1, PRINTED)
            os.lseek(1, 0, os.SEEK_END)
    except (OSError, ValueError, AttributeError):
        pass                            # closed by the student, or full: the next call will say so


def missing(submission: Submission, function: str) -> dict:
    """Why there is no such function: a cell that does not parse or that failed, or none at all."""
    if submission.broken:
        return {"status": "syntax", "error": about_syntax(submission.broken[0])}
    if submission.failed and function in defined(submission.trees):
        return {"status": "exception", "error": about(submission.failed[0], submission)}
    failed = {"error": about(submission.failed[0], submission)} if submission.failed else {}
    return {"status": "no_function", "similar": submission.similar(function),
            "code_cells": len(submission.trees), **failed}


def about_syntax(error: SyntaxError) -> dict:
    """A syntax error's place and words."""
    return {"type": type(error).__name__, "message": str(error.msg)[:300],
            "where": str(error.filename or ""), "line": error.lineno or 0,
            "column": error.offset or 0, "text": (error.text or "")[:200].rstrip()}


def about(error: BaseException, submission: Submission) -> dict:
    """An exception's type, words and the frames that are the student's own."""
    titles, frames, trace = {title for title, _ in submission.trees}, [], error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        if code.co_filename in titles:
            text = linecache.getline(code.co_filename, trace.tb_lineno).strip()[:200]
            frames.append({"where": code.co_filename, "line": trace.tb_lineno,
                           "function": code.co_name[:80], "text": text})
        trace = trace.tb_next
    kept = frames if len(frames) <= 2 * FRAMES else frames[:FRAMES] + frames[-FRAMES:]
    return {"type": type(error).__name__[:80], "message": words(error), "frames": kept,
            "depth": len(frames), "signature": isinstance(error, WrongSignature),
            "no_space": isinstance(error, OSError) and error.errno in (27, 28)}


def words(error: BaseException) -> str:
    """str(error), also where that fails."""
    try:
        return str(error)[:500]
    except BaseException:
        return "(an exception whose message cannot be read)"


# ---- the process ---------------------------------------------------------------------------------

def captured(work) -> bytes:
    """Run ``work`` with standard input empty and output kept in a file; add what was printed."""
    with tempfile.TemporaryFile() as sink:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        message = work()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass                    # the file is full, or the student closed the stream
        printed = os.lseek(sink.fileno(), 0, os.SEEK_END)
        os.lseek(sink.fileno(), 0, os.SEEK_SET)
        text = os.read(sink.fileno(), min(printed, PRINTED)).decode("utf-8", "replace")
    header, blobs = unpack(message)
    return pack({**header, "printed": text, "printed_bytes": printed}, blobs)


def in_fork(work, close: list, cap: int, guard=lambda: None, relay=None) -> bytes:
    """Run ``work`` in a fork; the message says so if it ended any other way than by answering.
    ``guard`` takes away the fork's rights first; where it fails the worker ends, too. ``relay``
    answers the fork's questions: ``work`` is given a function that asks them."""
    reader, writer = os.pipe()
    below, above = os.pipe() if relay else (None, None)
    pid = os.fork()
    if pid == 0:
        for stream in close:
            os.close(stream.fileno())
        for end in (reader, above):
            end is None or os.close(end)
        try:
            guard()
            os.write(writer, GUARDED)
            with open(writer, "wb", closefd=False) as stream:
                message = work(asking(stream, below) if relay else None)
                stream.write(LAST)
                write_frame(stream, message)
        finally:
            os._exit(0)
    os.close(writer)
    below is None or os.close(below)
    with open(reader, "rb") as stream, contextlib.ExitStack() as ends:
        down = ends.enter_context(open(above, "wb", buffering=0)) if relay else None
        if stream.read(1) != GUARDED:
            os._exit(1)
        try:
            message = last_frame(stream, down, cap, relay)
            garbled = False
        except ValueError:
            message, garbled = None, True
    if message is None and not garbled:
        return pack(ending(os.waitpid(pid, 0)[1]))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return pack({"status": "garbled"}) if garbled else message


def asking(stream, below: int):
    """In a fork: a function that sends a question up and waits for what comes down."""
    answers = open(below, "rb")

    def ask(message: bytes) -> bytes:
        stream.write(ASKS)
        write_frame(stream, message)
        return read_frame(answers, 1 << 30)
    return ask


def last_frame(stream, down, cap: int, relay) -> bytes | None:
    """A fork's answer, once its questions are answered; None where it ended before. ValueError for
    what is neither."""
    while (kind := stream.read(1)) == ASKS and relay:
        question = read_frame(stream, cap)
        if question is None:
            return None
        try:
            write_frame(down, relay(question))
        except BrokenPipeError:
            pass                        # it has ended: nothing follows
    if kind not in (LAST, b""):
        raise ValueError("neither a question nor an answer")
    return read_frame(stream, cap) if kind else None


def ending(status: int) -> dict:
    """How a process ended that sent no answer."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return {"status": "crashed", "message": signal.Signals(number).name}
    return {"status": "exited", "message": f"ended the process (status {os.WEXITSTATUS(status)})"}


def limit(limits: dict) -> None:
    """Set the resource limits that this system has; they can never be raised again."""
    try:
        import resource
    except ImportError:
        return
    for name, value in limits.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):
            pass                        # macOS refuses some; the level that was probed says so


def beside(name: str):
    """A module that lies beside this file; the student's imports do not look there."""
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, folder)
    try:
        return __import__(name)
    finally:
        sys.path.remove(folder)


def guard(wanted: dict):
    """Give up what no case needs; a function that gives up still more, to be called in its fork.

    ``wanted``: ``landlock``, the paths it allows, or None; ``seccomp``, whether to filter system
    calls. OSError where the kernel refuses what was wanted.
    """
    if not wanted.get("landlock") and not wanted.get("seccomp"):
        return lambda: None
    seccomp, landlock = beside("seccomp"), beside("landlock")
    seccomp.no_new_privileges()
    seccomp.hide_memory()
    if wanted["landlock"]:
        landlock.restrict(wanted["landlock"])
    if wanted["seccomp"]:
        seccomp.install(seccomp.server(os.uname().machine))

    def more():
        if wanted["landlock"]:
            landlock.scope()
        if wanted["seccomp"]:
            seccomp.install(seccomp.student(os.uname().machine, os.getpid()))
    return more


def tidy(folder: str | None) -> None:
    """Remove what the last case left; where that fails end the worker: a new one starts clean."""
    try:
        for entry in os.scandir(folder) if folder else ():
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
    except (OSError, RecursionError):
        os._exit(1)


def silence() -> None:
    """Standard output and error go nowhere; a case gets its own."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


@functools.cache
def warm() -> None:
    """Do once what every request does: imports, caches and first calls are then shared by all
    forks, which copy only the pages that they change."""
    blobs: list = []
    code = encode((np.ones(3),), blobs)
    for request in ({"do": "read"}, {"do": "call", "function": "f", "args": code, "cap": 99}):
        unpack(respond("warm.py", WARM, request, blobs))
    with tempfile.TemporaryFile():      # finds out where temporary files can be
        pass
    sys.modules.pop("submission", None)
    linecache.clearcache()
    gc.freeze()


def become(user) -> None:
    """Give up root's rights for those of (uid, gid), for good; None: stay who this is."""
    if user:
        os.setgroups([])
        os.setresgid(user[1], user[1], user[1])
        os.setresuid(user[0], user[0], user[0])


def serve(requests, replies) -> None:
    """Set up, then answer requests until there are no more."""
    def relay(question: bytes) -> bytes:
        write_frame(replies, pack({"status": "asks"}, [question]))
        answer = read_frame(requests, 1 << 30)
        return os._exit(1) if answer is None else answer
    setup, (source,) = unpack(read_frame(requests, 1 << 30))
    limit(setup["limits"])
    warm()
    become(setup.get("user"))
    more = guard(setup.get("guard", {}))
    silence()
    sys.argv[:] = [setup["name"]]       # as if the file ran alone
    write_frame(replies, pack({"status": "hello", "fork": CAN_FORK}))
    while (message := read_frame(requests, 1 << 30)) is not None:
        request, blobs = unpack(message)
        tidy(setup.get("scratch"))

        def work(ask, request=request, blobs=blobs):
            return captured(lambda: respond(setup["name"], source, request, blobs, ask))
        talks = any(one.get("talks") for one in request.get("calls", [request]))
        if CAN_FORK:
            reply = in_fork(work, [requests, replies], setup["frame_cap"], more,
                            relay if talks else None)
        else:
            reply = work(relay)
        write_frame(replies, reply)


def main() -> None:
    """Serve on what were standard input and output; the student gets neither."""
    requests, replies = open(os.dup(0), "rb"), open(os.dup(1), "wb")
    serve(requests, replies)


if __name__ == "__main__":
    main()
