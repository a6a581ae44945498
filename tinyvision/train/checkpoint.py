"""Checkpoints: all that a training needs to go on, in one file that is whole or not there at all.

A checkpoint is a tree of dicts, lists, tuples, numbers, strings and arrays. It is kept as a
safetensors file: the arrays under numbers, and in the header, as JSON, the tree with these numbers
in the arrays' places, and a checksum of all. Reading it executes nothing.
"""
from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import pathlib
import time

import numpy as np

HEADER, CHECKSUM = "tinyvision.checkpoint", "sha256"
ABANDONED = 600            # seconds


class CheckpointError(ValueError):
    """A file is no checkpoint, is damaged, or does not belong to what it is loaded into."""


def save(path, tree) -> pathlib.Path:
    """Write a tree to `path`, in one motion: killed at any moment, the old file is there or the
    new one.

    Raises:
        TypeError: in the tree is something else than dicts, lists, tuples, numbers, strings and
            arrays.
    """
    from safetensors.numpy import save as pack
    arrays = []
    text = json.dumps(_without_arrays(tree, arrays))
    data = pack({str(k): a for k, a in enumerate(arrays)},
                {HEADER: text, CHECKSUM: digest(text, arrays)})
    return write(path, data)


def write(path, data: bytes) -> pathlib.Path:
    """Write bytes to a temporary file beside `path`, make sure they are on the disk, and rename."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(made, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, path)
    finally:
        made.unlink(missing_ok=True)
    _sweep(path)
    with contextlib.suppress(OSError):                       # not every system opens folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return path


def _sweep(path):
    """Delete the temporary files of processes that were killed; no write takes that long."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        with contextlib.suppress(OSError):                   # another process swept, too
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()


def digest(text: str, arrays) -> str:
    """A checksum of the tree without its arrays, and of their numbers."""
    total = hashlib.sha256(text.encode())
    for array in arrays:
        total.update(array.tobytes())
    return total.hexdigest()


def load(path):
    """The tree that was saved.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is no checkpoint, or cut short, or damaged.
    """
    from safetensors import SafetensorError, safe_open
    if pathlib.Path(path).is_dir():
        raise CheckpointError(f"{path}: a folder, expected a file")
    try:
        with safe_open(path, "numpy") as file:
            about = file.metadata() or {}
            arrays = [file.get_tensor(str(k)) for k in range(len(file.keys()))
                      ] if HEADER in about else []
    except SafetensorError as error:
        raise CheckpointError(f"{path}: no checkpoint, cut short or damaged ({error}); delete it "
                              "to begin anew") from error
    if HEADER not in about:
        raise CheckpointError(f"{path}: a safetensors file, but no checkpoint of a training; "
                              "weights are loaded by tv.weights.load_weights")
    if about.get(CHECKSUM) != digest(about[HEADER], arrays):
        raise CheckpointError(f"{path}: damaged, its numbers are not those that were written; "
                              "delete it to begin anew")
    return _with_arrays(json.loads(about[HEADER]), arrays)


def _without_arrays(tree, arrays):
    """The tree as JSON has it: every container a pair of its kind and its contents."""
    if isinstance(tree, (np.ndarray, np.generic)):
        arrays.append(np.array(tree, order="C"))             # safetensors takes no other order
        return ["array", len(arrays) - 1]
    if isinstance(tree, dict):
        return ["dict", [[_without_arrays(k, arrays), _without_arrays(v, arrays)]
                         for k, v in tree.items()]]
    if isinstance(tree, (list, tuple)):
        return [type(tree).__name__, [_without_arrays(v, arrays) for v in tree]]
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    raise TypeError(f"checkpoint: cannot keep a {type(tree).__name__}, expected dicts, lists, "
                    "tuples, numbers, strings and arrays")


def _with_arrays(tree, arrays):
    if not isinstance(tree, list):
        return tree
    kind, value = tree
    if kind == "array":
        return arrays[value]
    if kind == "dict":
        return {_with_arrays(k, arrays): _with_arrays(v, arrays) for k, v in value}
    return {"list": list, "tuple": tuple}[kind](_with_arrays(v, arrays) for v in value)
