"""Work in a fork of its own, with what it prints captured, and questions it asks on the way."""
from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile

from .answering import PRINTED
from .messages import pack, read_frame, write_frame

GUARDED = b"+"                           # said by a fork before the student's code runs in it
ASKS, LAST = b"?", b"."                 # said by a fork before a question, and before its answer


def captured(work) -> bytes:
    """The message of ``work``'s (header, blobs), run with standard input empty and output kept in a
    file, with what was printed."""
    with tempfile.TemporaryFile() as sink:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        header, blobs = work()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass                    # the file is full, or the student closed the stream
        printed = os.lseek(sink.fileno(), 0, os.SEEK_END)
        os.lseek(sink.fileno(), 0, os.SEEK_SET)
        text = os.read(sink.fileno(), min(printed, PRINTED)).decode("utf-8", "replace")
    return pack({**header, "printed": text, "printed_bytes": printed}, blobs)


def in_fork(work, close: list, cap: int, guard=lambda: None, relay=None) -> tuple[bytes, float]:
    """Run ``work`` in a fork: its message, and the processor time that it had, in seconds. The
    message says so if it ended any other way than by answering. ``guard`` takes away the fork's
    rights first; where it fails the worker ends, too. ``relay`` answers the fork's questions:
    ``work`` is given a function that asks them."""
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
    if message is not None or garbled:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    if message is None:
        message = pack({"status": "garbled"} if garbled else ending(status))
    return message, usage.ru_utime + usage.ru_stime


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
