"""What the grader and a worker say to each other: messages of a JSON header and some blobs.

Nothing but numpy and the standard library: this file also stands in the sandbox. A message is sent
as a *frame*, behind its length (u32, little endian). Nothing that is read here makes an object of
the other side's choice: arrays and numbers are all that crosses.
"""
from __future__ import annotations

import json
import struct

import numpy as np

PLAIN_KINDS = "biufc"                   # numpy kinds whose bytes mean something elsewhere


def pack(header: dict, blobs=()) -> bytes:
    """One message: the header's length, the header as JSON (with the blobs' lengths), the blobs."""
    text = json.dumps({**header, "lengths": [len(blob) for blob in blobs]}).encode()
    return b"".join([struct.pack("<I", len(text)), text, *blobs])


def unpack(message: bytes) -> tuple[dict, list[bytes]]:
    """The header and the blobs of a message; ValueError if it is anything else."""
    try:
        size, = struct.unpack_from("<I", message)
        header = json.loads(message[4:4 + size])
        stops = np.cumsum([4 + size] + [int(n) for n in header.pop("lengths")], dtype=np.int64)
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, OverflowError,
            RecursionError) as error:
        raise ValueError(f"garbled message: {error}") from None
    if stops[-1] != len(message) or (np.diff(stops) < 0).any():
        raise ValueError("garbled message: the lengths do not add up")
    return header, [message[a:b] for a, b in zip(stops[:-1], stops[1:])]


def read_frame(stream, cap: int) -> bytes | None:
    """The next frame's message; None at the end of the stream or where it is cut short."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    size, = struct.unpack("<I", head)
    if size > cap:
        raise ValueError(f"a frame of {size} bytes, at most {cap} are allowed")
    message = stream.read(size)
    return message if len(message) == size else None


def write_frame(stream, message: bytes) -> None:
    """Send one message behind its length."""
    stream.write(struct.pack("<I", len(message)) + message)
    stream.flush()


# ---- values --------------------------------------------------------------------------------------

def encode(value, blobs: list) -> object:
    """An argument as JSON; arrays leave their bytes in ``blobs``."""
    if isinstance(value, np.ndarray):
        blobs.append(value.tobytes())
        return {"array": len(blobs) - 1, "dtype": value.dtype.str, "shape": value.shape}
    if isinstance(value, (tuple, list)):
        return {type(value).__name__: [encode(item, blobs) for item in value]}
    return value.item() if isinstance(value, np.generic) else value


def decode(code, blobs):
    """The argument that `encode` described; arrays are fresh and writable."""
    if not isinstance(code, dict):
        return code
    if "array" in code:
        data = np.frombuffer(blobs[code["array"]], code["dtype"])
        return data.reshape(code["shape"]).copy()
    (kind, items), = code.items()
    return {"tuple": tuple, "list": list}[kind](decode(item, blobs) for item in items)


def several(returned) -> tuple[str, list]:
    """("tuple" or "list", its elements), or ("", [the value]). A namedtuple is a tuple."""
    kind = next((one for one in (tuple, list) if isinstance(returned, one)), None)
    return (kind.__name__, list(kind.__iter__(returned))) if kind else ("", [returned])


def describe(value, blobs: list, cap: int) -> dict:
    """What a student returned: its type, and the bytes of a true array or number."""
    plain = type(value) is np.ndarray
    about = {"type": type(value).__name__[:80]}
    if not plain and not isinstance(value, (bool, int, float, complex, np.generic)):
        return about
    array = value if plain else np.asarray(value)
    about.update(dtype=array.dtype.str[:80], shape=array.shape, plain=plain)
    if array.dtype.kind in PLAIN_KINDS and array.nbytes <= cap:
        about["blob"] = len(blobs)
        blobs.append(array.tobytes())
    return about
