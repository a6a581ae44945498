"""PyTorch's files (.pt, .pth, since version 1.6): a zip archive, uncompressed.

    NAME/data.pkl       the tree of what was saved; in the tensors' places stand records
    NAME/data/0, 1, …   the storages: plain numbers in a row
    NAME/byteorder      "little" or "big"

A record says which storage, from which number on, of which shape and strides: several tensors may
share a storage, and a transposed one is the same numbers with other strides.
"""
from __future__ import annotations

import math
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from tinyvision.weights.unpickle import KEYS, Name, Refused, unpickle

DTYPES = {"float32": "<f4", "float64": "<f8", "float16": "<f2", "bfloat16": "bfloat16",
          "int8": "i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "uint8": "u1",
          "uint16": "<u2", "uint32": "<u4", "uint64": "<u8", "bool": "?"}
STORAGES = {"Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16",
            "Char": "int8", "Short": "int16", "Int": "int32", "Long": "int64", "Byte": "uint8",
            "Bool": "bool"}
ZIP_ERRORS = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OverflowError, OSError,
              struct.error)                                  # what zipfile raises for damage
UNTYPED = "torch.storage.UntypedStorage"


class Damaged(ValueError):
    """The file, or this part of it, is not what it should be; the text says in which way."""


@dataclass(frozen=True, eq=False)
class Storage:
    """The numbers of member `key`: `dtype` a key of DTYPES, None where the tensors say it."""
    key: str
    dtype: str | None


@dataclass(frozen=True, eq=False)
class Record:
    """A tensor as a file has it: which numbers of a storage stand where."""
    storage: Storage
    dtype: str
    offset: int
    shape: tuple
    stride: tuple


class TorchFile:
    """A file that `torch.save` wrote, to be used in a `with` block.

    Attributes:
        tree: what was saved, with a Record in the place of every tensor; no storage is read yet.

    Raises:
        Refused: the pickle asks for what is not data.
        Damaged: the file is cut short or damaged.
    """

    def __init__(self, path):
        self.storages = {}
        try:
            self.archive = zipfile.ZipFile(path)
        except ZIP_ERRORS as error:
            raise Damaged(str(error)) from error
        try:
            self.root = _root(self.archive)
            self.tree = unpickle(_member(self.archive, self.root + "data.pkl"), FUNCTIONS, _storage)
        except ValueError as error:
            self.archive.close()
            raise error if isinstance(error, Refused) else Damaged(str(error)) from error

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.archive.close()

    def array(self, record) -> np.ndarray:
        """The array of a Record, read-only; those of one storage share its memory."""
        key = record.storage.key, record.dtype
        if key not in self.storages:
            data = _member(self.archive, f"{self.root}data/{record.storage.key}")
            self.storages[key] = numbers(data, record.dtype)
        return strided(self.storages[key], record)


def _root(archive):
    """"NAME/", after a look at what else the archive says about itself."""
    found = [n.removesuffix("data.pkl") for n in archive.namelist() if n.endswith("/data.pkl")]
    if len(found) != 1:
        raise Damaged("a zip archive, but without PyTorch's data.pkl")
    if found[0] + "byteorder" in archive.namelist():
        if (order := _member(archive, found[0] + "byteorder")) != b"little":
            raise Damaged(f"its byte order is {order[:10]!r}, expected b'little': save it again on "
                          "another machine")
    return found[0]


def _member(archive, name):
    """The bytes of a member, not compressed: no small file becomes a large one in memory."""
    try:
        if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
            raise Damaged(f"{name} is compressed, which PyTorch never does")
        return archive.read(name)
    except KeyError as error:
        raise Damaged(f"it has no member {name}") from error
    except Damaged:
        raise
    except ZIP_ERRORS as error:
        raise Damaged(f"{name} is damaged ({error})") from error


# --- what the pickle may call ---------------------------------------------------------------------
def _storage(identity):
    """("storage", class, key, device, count) -> Storage."""
    kind, name, key, _, count = identity
    if kind != "storage" or not isinstance(name, Name) or not isinstance(key, str):
        raise TypeError(f"a persistent id {str(kind)[:20]!r}, expected a storage")
    _natural("a storage's size", (count,))
    return Storage(key, None if name == UNTYPED else STORAGES[name[len("torch."):-len("Storage")]])


def _tensor(storage, offset, size, stride, requires_grad=None, hooks=None, dtype=None, *_):
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without a storage")
    named = storage.dtype or (dtype.removeprefix("torch.") if isinstance(dtype, Name) else None)
    if named not in DTYPES:
        raise TypeError("a tensor without a dtype")
    _natural("a tensor's offset, shape and strides", (offset, *size, *stride))
    if len(size) != len(stride) or len(size) > 32:
        raise TypeError(f"{len(size)} sizes with {len(stride)} strides")
    return Record(storage, named, offset, tuple(size), tuple(stride))


def _natural(what, numbers):
    for n in numbers:
        if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n < 1 << 62:
            raise TypeError(f"{what}: not all are whole numbers of at least 0")


def _ordered_dict(pairs=()):
    for key, _ in pairs:
        if not isinstance(key, KEYS):
            raise Refused(f"a {type(key).__name__} as the key of a dict")
    return OrderedDict(pairs)


def _parameter(data, requires_grad=True, hooks=None):
    return data


FUNCTIONS = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": lambda sizes=(): tuple(sizes),
    UNTYPED: None,
    **{f"torch.{name}Storage": None for name in STORAGES},
    **{f"torch.{name}": None for name in DTYPES},
}


# --- numbers --------------------------------------------------------------------------------------
def strided(values: np.ndarray, record: Record) -> np.ndarray:
    """The array of a Record: a read-only view of its storage's numbers."""
    last = record.offset + sum((n - 1) * s for n, s in zip(record.shape, record.stride))
    if math.prod(record.shape) and last >= values.size:
        raise Damaged(f"storage {record.storage.key} has {values.size} numbers, but number {last} "
                      "is asked for")
    try:
        if not math.prod(record.shape):
            return np.zeros(record.shape, values.dtype)
        stride = [s * values.itemsize for s in record.stride]
        return np.lib.stride_tricks.as_strided(values[record.offset:], record.shape, stride,
                                               writeable=False)
    except ValueError as error:                              # numpy: maximum size exceeded
        raise Damaged(f"shape {record.shape}: {error}") from error


def numbers(data: bytes, dtype: str) -> np.ndarray:
    """Bytes as numbers of that dtype (a key of DTYPES), as many as are whole; bfloat16, which NumPy
    lacks, as float32, of which it is the upper half."""
    if dtype == "bfloat16":
        return (numbers(data, "uint16").astype("<u4") << 16).view("<f4")
    kind = np.dtype(DTYPES[dtype])
    return np.frombuffer(data, kind, len(data) // kind.itemsize)
