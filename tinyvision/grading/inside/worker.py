"""The untrusted side: loads a student's file, calls its functions, sends raw bytes back.

It runs in the sandbox, beside the other files of this folder and no other of the project. It knows
no answers, decides no mark, and nothing that it says is believed without a check on the other side.

The first frame sets the worker up (limits, the student's source as its blob, the names of the
functions that are graded); it answers ``hello``. Each further frame is a request (`answering`) and
is answered by one frame and by the processor time that it took, but for the questions that are
asked on the way.
Where the system can fork, each request that runs a student's code does so in a fork of its own, so
that a crash costs one case; what a case leaves in the temporary folder is removed before the next.
"""
from __future__ import annotations

import functools
import gc
import linecache
import os
import shutil
import struct
import sys
import tempfile
import time
import warnings

import numpy as np

from . import plots
from .answering import respond
from .forks import captured, in_fork
from .messages import encode, pack, read_frame, unpack, write_frame

CAN_FORK = hasattr(os, "fork")
STAIN = 0x7f                            # the byte of memory that nobody has written: 1.4e306
SMALL = 1 << 16                         # bytes of a source that is read without a fork
WARM = b"import numpy as np\ndef f(x):\n    return np.einsum('i,i->', x, x) + np.zeros(2)\n"


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


def guard(wanted: dict):
    """Give up what no case needs; a function that gives up still more, to be called in its fork.

    ``wanted``: ``landlock``, the paths it allows, or None; ``seccomp``, whether to filter system
    calls. OSError where the kernel refuses what was wanted.
    """
    if not wanted.get("landlock") and not wanted.get("seccomp"):
        return lambda: None
    from . import landlock, seccomp     # Linux only
    seccomp.die_with_parent()           # a grader that is killed leaves no student running
    seccomp.no_new_privileges()
    seccomp.hide_memory()
    if wanted["landlock"]:
        landlock.restrict(wanted["landlock"])
    if wanted["seccomp"]:
        seccomp.install(seccomp.server(os.uname().machine))

    def more():
        seccomp.die_with_parent()       # a fork does not inherit it
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
        unpack(pack(*respond("warm.py", WARM, request, blobs)))
    with tempfile.TemporaryFile():      # finds out where temporary files can be
        pass
    sys.modules.pop("submission", None)
    linecache.clearcache()
    stain()
    gc.freeze()


def stain() -> None:
    """Leave numbers that answer nothing in the store of small pieces of memory that NumPy keeps,
    seven of each size: what is not written is not 0 by chance. (Larger ones: see `jail.SETTINGS`.)
    """
    for size in range(8, 1024, 8):
        _ = [np.full(size, STAIN, np.uint8) for _ in range(7)]


def become(user) -> None:
    """Give up root's rights for those of (uid, gid), for good; None: stay who this is."""
    if user:
        os.setgroups([])
        os.setresgid(user[1], user[1], user[1])
        os.setresuid(user[0], user[0], user[0])


def timed(work) -> tuple:
    """What ``work`` returns, and the processor time that it took."""
    start = time.process_time()
    return work(), time.process_time() - start


def quietly(name: str, source: bytes, request: dict) -> bytes | None:
    """The answer to a request that runs no line of the student's; what the compiler warns of it
    tells again in each fork. None for a source that leads the parser somewhere else than to a
    syntax error: a fork may end by it, the worker may not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pack(*respond(name, source, request, []))
        except Exception:
            return None


def in_a_line(message, category, filename, line, text=None) -> str:
    """A warning without its path, which is another in each sandbox."""
    return f"{os.path.basename(filename)}:{line}: {category.__name__}: {message}\n"


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
    plots.install()
    warnings.formatwarning = in_a_line
    sys.argv[:] = [setup["name"]]       # as if the file ran alone
    write_frame(replies, pack({"status": "hello", "fork": CAN_FORK}))
    while (message := read_frame(requests, 1 << 30)) is not None:
        request, blobs = unpack(message)
        tidy(setup.get("scratch"))

        def work(ask, request=request, blobs=blobs):
            return captured(lambda: respond(setup["name"], source, request, blobs, ask,
                                            setup.get("functions", ())))
        talks = any(one.get("talks") for one in request.get("calls", [request]))
        small = request["do"] == "read" and len(source) <= SMALL
        reply, seconds = timed(lambda: small and quietly(setup["name"], source, request))
        if not reply and CAN_FORK:
            reply, seconds = in_fork(work, [requests, replies], setup["frame_cap"], more,
                                     relay if talks else None)
        elif not reply:
            reply, seconds = timed(lambda: work(relay))
        write_frame(replies, reply)
        write_frame(replies, struct.pack("<d", seconds))


def main() -> None:
    """Serve on what were standard input and output; the student gets neither."""
    requests, replies = open(os.dup(0), "rb"), open(os.dup(1), "wb")
    serve(requests, replies)
