"""Temporary folders of the grader's, that a grader which was killed leaves for the next one.

Each is locked by the process that made it (``flock`` of the folder itself, so no file of ours lies
where a student's code may write). The kernel ends a lock with its process, however that ends, and
whatever process number it had in whatever container: a folder whose lock can be taken is nobody's.
"""
from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import time
import weakref
from pathlib import Path

try:
    import fcntl
except ImportError:                     # Windows: folders of killed graders stay
    fcntl = None

PREFIX = "tinyvision-scratch-"          # nothing else is called so: whatever is may be removed
PAUSES = (0, 0.01, 0.1)                 # seconds: who is being killed may make one more file
HERE = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


class Folder:
    """A temporary folder, ``name``, locked by this process until `cleanup`, or until it is
    forgotten or the process ends. As a context it is its name."""

    def __init__(self):
        self.name = tempfile.mkdtemp(prefix=PREFIX)
        self.cleanup = weakref.finalize(self, _end, self.name, _locked(Path(self.name), wait=True))

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *_) -> None:
        self.cleanup()


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
            _end(str(path), lock)


def _end(name: str, lock: int | None) -> None:
    remove(name)
    if lock is not None:
        os.close(lock)


def _locked(path: Path, wait: bool = False) -> int | None:
    """A descriptor that holds the folder's lock; None where there is no such folder (any more),
    where another process holds it, or where its file system knows no locks."""
    if fcntl is None:
        return None
    try:
        handle = os.open(path, HERE)
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


# ---- removing what a stranger's program made -----------------------------------------------------

def remove(name: str) -> None:
    """Remove a folder with all that is in it, as far as this user may. No path in it is followed or
    spelled out: folders may lie a hundred thousand deep, or be closed to their owner."""
    if os.rename not in os.supports_dir_fd or os.scandir not in os.supports_fd:
        shutil.rmtree(name, ignore_errors=True)     # Windows, whose paths are short
        return
    for pause in PAUSES:
        time.sleep(pause)
        with contextlib.suppress(OSError):
            top = os.open(name, HERE)
            try:
                while _emptied(top, top):
                    pass
            finally:
                os.close(top)
            os.rmdir(name)
            return


def _emptied(folder: int, top: int) -> bool:
    """Remove what lies in a folder, its subfolders moved up into the topmost, or, in that one,
    emptied and removed. Whether anything was done: what was moved up meanwhile may be left."""
    done = False
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=folder)
                elif folder == top:
                    _without_folder(entry.name, top)
                else:
                    _open_to_us(entry.name, folder)
                    os.rename(entry.name, str(entry.inode()), src_dir_fd=folder, dst_dir_fd=top)
                done = True
    return done


def _without_folder(name: str, top: int) -> None:
    """Remove one folder of the topmost."""
    _open_to_us(name, top)
    folder = os.open(name, HERE, dir_fd=top)
    try:
        while _emptied(folder, top):
            pass
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _open_to_us(name: str, parent: int) -> None:
    """Give a folder's owner its rights back: without them it can be neither read nor moved."""
    if not hasattr(os, "O_PATH"):
        return
    handle = os.open(name, HERE | os.O_PATH, dir_fd=parent)
    try:
        if os.fstat(handle).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)      # what is open, never what a link names
    finally:
        os.close(handle)
