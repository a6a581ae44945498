"""What is seen while a folder is graded: one line, redrawn; plain lines where there is no terminal.

    hw3  ████████████░░░░  743/1000  14.9/s  eta 00:17   ok 512  partial 187  zero 31  …
"""
from __future__ import annotations

import collections
import sys
import time

from tqdm import tqdm

STATES = ("ok", "partial", "zero", "timeout", "crashed", "flagged", "grader-error")
EVERY = 10.0                            # seconds between plain lines
_CRASHED = ("CRASHED", "EXITED", "MEMORY", "OUTPUT_LIMIT", "DISK_LIMIT", "BAD_RESULT")


def state(record: dict) -> str:
    """A record in one word, one of `STATES` (``flagged`` is counted beside them)."""
    if record["verdict"] == "GRADER_ERROR":
        return "grader-error"
    if record["score"]:
        return "ok" if record["score"] >= record["points"] else "partial"
    if record["verdict"] == "TIMEOUT":
        return "timeout"
    return "crashed" if record["verdict"] in _CRASHED else "zero"


class Live:
    """Counts records as they come.

    Arguments:
        name: what is graded.
        total: how many records there will be.
        show: False keeps silent.
        stream: by default standard error.
    """

    def __init__(self, name: str, total: int, show: bool = True, stream=None):
        self.name, self.total, self.show = name, total, show
        self.stream = stream or sys.stderr
        self.done, self.counts = 0, collections.Counter()
        self.next = time.monotonic() + EVERY
        name = name.replace("{", "{{").replace("}", "}}")
        self.bar = tqdm(total=total, unit="", file=self.stream, dynamic_ncols=True, leave=False,
                        disable=not (show and self.stream.isatty()),
                        bar_format=f"{name}  {{bar:20}}  {{n_fmt}}/{{total_fmt}}  {{rate_fmt}}  "
                                   "eta {remaining}   {desc}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def add(self, record: dict) -> None:
        """One more record is there."""
        self.done += 1
        self.counts[state(record)] += 1
        self.counts["flagged"] += bool(record["remarks"])
        self.bar.set_description_str(self.text(), refresh=False)
        self.bar.update()
        if self.bar.disable and self.show and time.monotonic() >= self.next:
            self.next = time.monotonic() + EVERY
            print(f"{self.name}  {self.done}/{self.total}   {self.text()}", file=self.stream,
                  flush=True)

    def text(self) -> str:
        """The counts in words."""
        return "  ".join(f"{word} {self.counts[word]}" for word in STATES
                         if self.counts[word] or word in ("ok", "grader-error"))
