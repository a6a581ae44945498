"""Calls whose arguments cannot all be sent: a student's function gets a function of ours.

Whatever lies in the student's process can be read there: a closure's numbers, the frames of who
calls, the arguments of later calls. So the exercise's driver runs here, and what it calls as the
student's function is `Conversation.call`: the arguments of this one call go to the worker, a
function among them stays here and is asked for each value, and the next call's arguments follow
when this one is answered.
"""
from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from tinyvision.grading.inside import answering, messages
from tinyvision.grading.verdict import received

END = messages.pack({"status": "end"})
CAP = 1 << 26                           # bytes of an answer


class Over(Exception):
    """The worker said its last: its (header, blobs)."""


class Unanswered(Exception):
    """A call brought no answer: its (header, blobs)."""


class Talk:
    """The conversations of one request, in the order of its calls.

    Arguments:
        calls: number of a call in the request -> (exercise, case).
    """

    def __init__(self, calls: dict):
        self.calls, self.found = calls, {}

    @classmethod
    def needed(cls, calls) -> Talk | None:
        """For a request with these calls, (exercise, case) each; None where nothing is to be said
        between request and answer."""
        talking = {k: (exercise, case) for k, (exercise, case) in enumerate(calls)
                   if exercise.beside(case)}
        return cls(talking) if talking else None

    def __call__(self, step, header: dict, blobs: list) -> tuple[dict, list]:
        """Hold them all; (header, blobs) of the answer to the request. ``step`` sends a message
        and returns what comes back."""
        self.found = {}
        try:
            for k, (exercise, case) in self.calls.items():
                if header["status"] != "asks":
                    break
                self.found[k] = Conversation(step, exercise, case).hold()
                header, blobs = step(END)
        except Over as over:
            header, blobs = over.args
        return header, blobs

    def told(self, k: int, header: dict, blobs: list) -> tuple[dict, list]:
        """What call ``k`` brought, as if it had been answered at once. The worker's own header says
        what was printed, and how it ended."""
        if k not in self.calls or not isinstance(header, dict) or header.get("status") != "ok":
            return header, blobs
        own, answers = self.found.get(k, ({"status": "garbled", "message": "no answer"}, []))
        return {**header, **own}, answers


class Conversation:
    """One case: its driver here, the student's function there."""

    def __init__(self, step, exercise, case):
        self.step, self.exercise, self.case = step, exercise, case
        self.beside, self.unearned = exercise.beside(case), ""

    def hold(self) -> tuple[dict, list]:
        """(header, blobs) of the case's answer, with ``unearned``: why the student's function
        cannot have worked it out."""
        args, answers = copy.deepcopy(self.case.args), []
        try:
            returned = self.exercise.answer(replace(self.case, args=args), self.call)
        except Unanswered as nothing:
            return nothing.args
        except (Over, OSError, EOFError):
            raise
        except Exception as error:      # of a forged answer the driver may make anything
            raise ValueError(f"{type(error).__name__}: {error}") from None
        header = answering.answered(returned, args, answers, CAP)
        return header | {"unearned": self.unearned}, answers

    def call(self, *args):
        """Call the student's function; arrays that it changed are changed here, too."""
        blobs, places = [], []
        codes = [self.code(arg, k, blobs) for k, arg in enumerate(args)]
        header, answers = self.exchange(messages.pack({"args": codes}, blobs))
        while header["status"] == "asks":
            header, answers = self.exchange(self.value(args, header, answers, places))
        if header["status"] != "ok":
            raise Unanswered(header, answers)
        answer, after = received(header, answers)
        part, = answer.parts            # ValueError: forged, as is any other that follows
        if part is None:
            raise ValueError("the answer is no number")
        self.unearned = self.unearned or self.beside.unearned(part[()], places, *args)
        for arg, data in zip([arg for arg in args if isinstance(arg, np.ndarray)], after):
            arg[...] = np.frombuffer(data, arg.dtype).reshape(arg.shape)
        return part[()]

    def exchange(self, message: bytes) -> tuple[dict, list]:
        """A message to the student's process and what comes back; Over if that was its last."""
        header, blobs = self.step(message)
        if header["status"] != "asks":
            raise Over(header, blobs)
        header, blobs = messages.unpack(blobs[0] if blobs else b"")
        if not isinstance(header.get("status"), str):
            raise ValueError("a message without a status")
        return header, blobs

    @staticmethod
    def code(arg, k: int, blobs: list):
        """An argument as `answering.argument` takes it."""
        if callable(arg):
            return {"function": k}
        if isinstance(arg, np.ndarray) and arg.flags.f_contiguous and not arg.flags.c_contiguous:
            return {"turned": messages.encode(arg.T, blobs)}
        return messages.encode(arg, blobs)

    @staticmethod
    def value(args: tuple, header: dict, blobs: list, places: list) -> bytes:
        """The message with a function's value; where it has one is added to ``places``."""
        answer, _ = received(header, blobs)
        k = header.get("function")
        f = args[k] if isinstance(k, int) and 0 <= k < len(args) else None
        if not callable(f) or len(answer.parts) != 1:
            raise ValueError("a garbled question")
        found: list = []
        try:
            with np.errstate(all="ignore"):
                value = np.asarray(f(answer.parts[0]))
        except Exception as error:      # what f does not take, it says
            return messages.pack({"raised": str(error)[:300]})
        places.append(answer.parts[0])
        return messages.pack({"value": messages.encode(value, found)}, found)
