"""Temporary folders of the grader's, that a grader which was killed leaves for the next one.

Each is locked by the process that made it (``flock`` of the folder itself, so no file of ours lies
where a student's code may write). The kernel ends a lock with its process, however that ends, and
whatever process number it had in whatever container: a folder whose lock can be taken is nobody's.
"""
from __future__ import annotations

import functools
import os
import shutil
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:                     # Windows: folders of killed graders stay
    fcntl = None

PREFIX = "tinyvision-scratch-"          # nothing else is called so: whatever is may be removed


class Folder(tempfile.TemporaryDirectory):
    """A temporary folder, ``name``, locked by this process until `cleanup`."""

    def __init__(self):
        super().__init__(prefix=PREFIX, ignore_cleanup_errors=True)
        self.lock = _locked(Path(self.name), wait=True)

    def cleanup(self) -> None:
        """Remove it, and everything in it."""
        super().cleanup()
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None


def folder() -> Folder:
    """A new folder. What killed graders left is removed before the first one."""
    sweep()
    made = Folder()
    while not os.path.isdir(made.name):             # a sweep elsewhere came before our lock
        made = Folder()
    return made


@functools.cache
def sweep() -> None:
    """Remove the folders of graders that are no more; once in a process."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = _locked(path)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)     # what is another user's refuses, and stays
            os.close(lock)


def _locked(path: Path, wait: bool = False) -> int | None:
    """A descriptor that holds the folder's lock; None where there is no such folder (any more),
    where another process holds it, or where its file system knows no locks."""
    if fcntl is None:
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
    except OSError:
        pass
    os.close(handle)
    return None
