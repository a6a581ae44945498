"""Files of weights: arrays by name, in safetensors' format or PyTorch's. Reading runs nothing."""
from __future__ import annotations

import hashlib
import json
import pathlib

import numpy as np

from tinyvision.train import checkpoint
from tinyvision.weights import torch_files
from tinyvision.weights.unpickle import Refused

CHECKSUM = "sha256"
SAFETENSORS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
               "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
               "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool"}
WRITTEN = sorted(set(SAFETENSORS.values()) - {"bfloat16"})
PLACES = ("state_dict", "model_state_dict", "model", "module", "net", "ema")
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."      # the magic number, pickled


class WeightsError(ValueError):
    """A file of weights is damaged, refused, or does not fit; the text names file and key."""


def read_weights(path) -> dict[str, np.ndarray]:
    """The arrays of a file by name. Nothing that the file says is executed.

    Args:
        path: a safetensors file; a zip file of `torch.save` (a state dict, or a checkpoint with one
            under "state_dict", "model" or the like); a checkpoint or weights of tinyvision. What it
            is, its first bytes say.

    Returns:
        Read-only arrays, bfloat16 as float32. The prefix "module." that
        DataParallel puts before every name is dropped.

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: it is damaged, of an unknown format, or asks for what is not data.
    """
    path = pathlib.Path(path)
    with open(path, "rb") as file:
        head = file.read(16)
    try:
        if head.startswith(b"PK"):
            state = _read_torch(path)
        elif head[8:9] == b"{":
            state = _read_safetensors(path)
        else:
            raise WeightsError(f"{path}: {_unknown(head)}")
    except Refused as error:
        raise WeightsError(f"{path}: its pickle asks for {error}, which is not data: refused, and "
                           "nothing was run; save a state_dict() of tensors alone") from error
    except torch_files.Damaged as error:
        raise WeightsError(f"{path}: cut short or damaged: {error}") from error
    return _without_prefix(state)


def _unknown(head):
    if head.startswith(LEGACY):
        return ("PyTorch's format from before version 1.6, which is not read; load it with PyTorch "
                "and save its state_dict() again")
    if len(head) < 16:
        return f"cut short: a file of {len(head)} bytes"
    return f"neither a safetensors file nor one of PyTorch's; it begins with {head[:8]!r}"


def _without_prefix(state):
    if state and all(name.startswith("module.") for name in state):
        return {name.removeprefix("module."): array for name, array in state.items()}
    return state


# --- PyTorch --------------------------------------------------------------------------------------
def _read_torch(path):
    with torch_files.TorchFile(path) as file:
        state = _find(file.tree)
        if state is None:
            raise WeightsError(f"{path}: no arrays by name are in it, but {_content(file.tree)}; "
                               f"expected a state_dict, or one under {', '.join(PLACES)}")
        return {name: _array(path, file, name, record) for name, record in state.items()}


def _content(tree):
    if isinstance(tree, dict):
        return ", ".join(str(key)[:40] for key in list(tree)[:8]) or "nothing"
    return f"a {type(tree).__name__}"


def _array(path, file, name, record):
    try:
        return file.array(record)
    except torch_files.Damaged as error:
        raise WeightsError(f"{path}: {name}: cut short or damaged: {error}") from error


def _find(tree, depth=3):
    """The records by name in a tree, where weights are usually put; None if there are none."""
    if not isinstance(tree, dict) or not depth:
        return None
    for place in PLACES:
        if (found := _find(tree.get(place), depth - 1)) is not None:
            return found
    records = {k: v for k, v in tree.items()
               if isinstance(k, str) and isinstance(v, torch_files.Record)}
    return records or None


# --- safetensors ----------------------------------------------------------------------------------
def _read_safetensors(path):
    from safetensors import SafetensorError, deserialize
    data = path.read_bytes()
    try:
        entries = dict(deserialize(data))
    except SafetensorError as error:
        raise WeightsError(f"{path}: no safetensors file, cut short or damaged: {error}") from error
    about = read_metadata(data)
    if checkpoint.HEADER in about:
        return _model_of(path)
    state = {name: _entry(path, name, entries[name]) for name in sorted(entries)}
    if about.get(CHECKSUM) not in (None, digest(state)):
        raise WeightsError(f"{path}: damaged: its numbers are not those that were written")
    return state


def _entry(path, name, entry):
    if entry["dtype"] not in SAFETENSORS:
        raise WeightsError(f"{path}: {name} is of dtype {entry['dtype']}, which is not read; "
                           f"expected one of {', '.join(SAFETENSORS)}")
    values = torch_files.numbers(entry["data"], SAFETENSORS[entry["dtype"]])
    array = values.reshape(entry["shape"])
    array.flags.writeable = False
    return array


def _model_of(path):
    tree = checkpoint.load(path)
    if not isinstance(tree, dict) or not isinstance(tree.get("model"), dict):
        raise WeightsError(f"{path}: a checkpoint without a model")
    return tree["model"]


def read_metadata(data: bytes) -> dict:
    """What a safetensors file says about itself: texts by name."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8:8 + length]).get("__metadata__", {})


def save_weights(weights, path, metadata=None) -> pathlib.Path:
    """Write weights as a safetensors file, in one motion: killed at any moment, the old file or the
    new one is there. A checksum goes with them, and reading notices every changed bit.

    Args:
        weights: a Module, or arrays (or Tensors) by name.
        path: the file.
        metadata: texts by name, to be kept with them.

    Raises:
        TypeError: an array of a dtype that safetensors files do not have.
    """
    from safetensors.numpy import save
    state = weights.state_dict() if hasattr(weights, "state_dict") else weights
    state = {name: _plain(name, array) for name, array in state.items()}
    return checkpoint.write(path, save(state, {**(metadata or {}), CHECKSUM: digest(state)}))


def _plain(name, array):
    """Contiguous, of the machine's own byte order: safetensors writes the memory as it lies, and
    would mix up the numbers of any other array."""
    array = np.asarray(array.numpy() if hasattr(array, "numpy") else array)
    if array.dtype.name not in WRITTEN:
        raise TypeError(f"save_weights: {name} is of dtype {array.dtype}, expected one of "
                        f"{', '.join(WRITTEN)}")
    return np.array(array, array.dtype.newbyteorder("="), order="C")


def digest(state) -> str:
    """A checksum of names, dtypes, shapes and numbers, whatever the arrays' order."""
    total = hashlib.sha256()
    for name in sorted(state):
        array = np.asarray(state[name], order="C")
        total.update(f"{name} {array.dtype.name} {array.shape};".encode())
        total.update(array.tobytes())
    return total.hexdigest()
