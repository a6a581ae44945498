"""What is said of a request that brought no answer, from a worker's header that may be forged."""
from __future__ import annotations

from tinyvision.grading import sandbox
from tinyvision.grading.assignment import LEAST_SECONDS, TIMES_REFERENCE
from tinyvision.grading.store import plain
from tinyvision.grading.verdict import Verdict

# No measured time stands in a record: regrading would give other bytes.
TIMED_OUT = (f"did not finish in {LEAST_SECONDS:g} s, or {TIMES_REFERENCE:g} times what the "
             "solution takes where that is longer")
LATE = ("did not finish in the time that was left after an earlier case of the same function had "
        "timed out")
IN_ALL = ("was not finished, or not begun: all cases of one submission together have {:g} s, or "
          "three times what one case may take where that is longer")
ENDLESS = ("the file itself does not finish, whatever is called: look for an endless loop at its "
           "top level, outside of all functions")
STATUS = {"unreadable": Verdict.UNREADABLE, "syntax": Verdict.SYNTAX, "memory": Verdict.MEMORY,
          "exited": Verdict.EXITED, "exception": Verdict.EXCEPTION, "timeout": Verdict.TIMEOUT,
          "no_function": Verdict.NO_FUNCTION, "crashed": Verdict.CRASHED,
          "crashed-worker": Verdict.CRASHED, "garbled": Verdict.BAD_RESULT}


def explain(header: dict, case, assignment) -> tuple[Verdict, str]:
    """(verdict, sentence) for a request that brought no answer. The header may be forged."""
    verdict = STATUS.get(header["status"], Verdict.BAD_RESULT)
    error = header.get("error") if isinstance(header.get("error"), dict) else {}
    said = plain(header.get("message", ""), 300)
    if verdict is Verdict.EXCEPTION:
        return _exception(header, error, case, assignment)
    if verdict is Verdict.SYNTAX and not error.get("line") and not error.get("text"):
        return verdict, plain(f"{error.get('where')} {error.get('message')}", 400).strip()
    if verdict is Verdict.SYNTAX:
        return verdict, plain(f"{error.get('where')} line {error.get('line')}: "
                              f"{error.get('message')}: {error.get('text')}", 400)
    if verdict is Verdict.NO_FUNCTION:
        return verdict, _no_function(header, case, assignment)
    if verdict is Verdict.TIMEOUT and "in_all" in header:
        return verdict, IN_ALL.format(header["in_all"])
    if verdict is Verdict.TIMEOUT:
        return verdict, ENDLESS if header.get("file") else (
            LATE if header.get("shared") else TIMED_OUT)
    words = {Verdict.MEMORY: "asked for more memory than there is: ",
             Verdict.CRASHED: "the process crashed: ",
             Verdict.BAD_RESULT: "what came back was no answer: "}
    return verdict, (words.get(verdict, "") + said).removesuffix(": ")


def _exception(header: dict, error: dict, case, assignment) -> tuple[Verdict, str]:
    name, message = plain(error.get("type"), 80), plain(error.get("message"), 300)
    printed = header.get("printed_bytes")
    if error.get("no_space") and isinstance(printed, int) and (
            printed >= sandbox.Limits().file - (1 << 16)):
        return Verdict.OUTPUT_LIMIT, f"printed more than {sandbox.Limits().file >> 20} MB"
    if error.get("no_space"):
        return Verdict.DISK_LIMIT, (f"wrote more than {sandbox.Limits().disk >> 20} MB, or more "
                                    f"than {sandbox.Limits().file >> 20} MB to one file")
    if error.get("signature") and case is not None:
        names = ", ".join(assignment.exercise.parameters(case))
        return Verdict.EXCEPTION, f"{case.function} {message}: ({names})"
    return Verdict.EXCEPTION, _raised(name, message)


def _raised(name: str, message: str) -> str:
    """An exception in words, with advice where what is missing is missing on purpose."""
    if name == "ModuleNotFoundError" and "tinyvision" in message:
        message += ": tinyvision is not there when your file is checked: take the import out"
    elif name == "ModuleNotFoundError":
        message += " (only numpy and the standard library are available here)"
    if name in ("EOFError", "BdbQuit"):
        message += " (input() is not available here)"
    return f"{name}: {message}" if message else name


def _no_function(header: dict, case, assignment) -> str:
    similar = header.get("similar")
    names = [plain(name, 60) for name in similar] if isinstance(similar, list) else []
    hint = f"; did you mean {' or '.join(names)}?" if names else ""
    if header.get("code_cells") == 0:
        hint = "; the notebook has no code cells"
    error = header.get("error")
    if isinstance(error, dict):         # of a notebook, whose other cells went on
        hint += "; a cell failed: " + _raised(plain(error.get("type"), 80),
                                              plain(error.get("message"), 300))
    return f"there is no {_sort(case.function, assignment.exercise)} {case.function}{hint}"


def _sort(name: str, exercise) -> str:
    """What a student has to write under that name."""
    if name in exercise.texts:
        return "text"
    return "class" if isinstance(exercise.functions[name], type) else "function"


def frames_of(header: dict) -> list[str]:
    """The student's lines in a traceback, one string each."""
    error = header.get("error") if isinstance(header.get("error"), dict) else {}
    frames = error.get("frames") if isinstance(error.get("frames"), list) else []
    return [plain(f"{frame.get('where')}:{frame.get('line')} in {frame.get('function')}: "
                  f"{frame.get('text')}", 300) for frame in frames[:8] if isinstance(frame, dict)]


def remarks_of(header: dict) -> list[str]:
    """What in the source a person may want to look at, one string each."""
    remarks = header.get("remarks") if isinstance(header.get("remarks"), list) else []
    return [plain(f"{remark.get('where')} {remark.get('text')}", 160)
            for remark in remarks[:20] if isinstance(remark, dict)]
