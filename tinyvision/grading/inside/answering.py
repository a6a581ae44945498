"""A request, and what answers it: student functions called, what became of them described.

``read`` says what is in the file, ``load`` runs it without a call, ``call`` calls one function,
``sequence`` several; ``whole`` asks for all of the file to be run. A call *talks* where a function
among its arguments cannot be sent: then its values are asked for, message by message, and so are
the arguments of each call, only when the one before is answered.
"""
from __future__ import annotations

import linecache
import os
import sys

import numpy as np

from .messages import decode, describe, pack, several, unpack
from .submitted import LookupFailed, Submission, Unreadable, WrongSignature, defined, remarks

PRINTED = 64 * 1024                     # how much of what a student prints is kept
MOST_ARRAYS = 16                        # of one answer
FRAMES = 3                              # of a long traceback: as many at either end


def respond(name: str, source: bytes, request: dict, blobs: list, ask=None,
            functions=()) -> tuple[dict, list]:
    """(header, blobs) of the answer to a request; a student's exceptions become part of it.

    ``ask``: takes a message to the grader's side and returns its answer. ``functions``: the names
    of the graded ones.
    """
    answers: list = []
    # A fork inherits the state: two runs would agree by chance. Without a number it takes longer.
    np.random.seed(int.from_bytes(os.urandom(4), "little"))
    try:
        submission = Submission(name, source, functions, request.get("whole", False))
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
    return header, answers


def loaded(submission: Submission) -> dict:
    """Run the file without a call: asked after a time-out, to see whether the file itself ends."""
    try:
        submission.execute()
    except BaseException:
        pass                            # it ended
    return {"status": "ok"}


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
    library = blobs[request["library"]] if "library" in request else None
    header = talk(submission, request, driver, ask) if request.get("talks") else called(
        submission, request, lambda: decode(request["args"], blobs), answers, driver, library)
    return header | {"partly": True} if submission.partly else header


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
        found = about(error, submission)
        if isinstance(error, NameError) and submission.failed:
            earlier = submission.failed[0]
            found["message"] += f" (before: {type(earlier).__name__[:80]}: {words(earlier)[:200]})"
        return {"status": "exception", "error": found}
    return answered(returned, args, answers, request["cap"])


def answered(returned, args: tuple, answers: list, cap: int) -> dict:
    """The header for what a function returned and left of its arguments."""
    kind, values = several(returned)
    described = [describe(value, answers, cap) for value in values[:MOST_ARRAYS]]
    inputs = [arg for arg in args if isinstance(arg, np.ndarray)]
    header = {"status": "ok", "several": kind,
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
