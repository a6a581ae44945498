"""The threat list's programs, one file each in tests/hostile; here what cannot be kept in a
repository: links, archives, odd names, other encodings, and what is made from the public numbers.

`python tests/hostile_corpus.py FOLDER` writes all of them; `tinyvision grade FOLDER -o OUT` then
grades them. A file's expected verdict stands in its second line, or in a notebook's metadata.
"""
from __future__ import annotations

import inspect
import io
import os
import re
import shutil
import stat
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "hostile"
EXPECTED = re.compile(r'expected"?: "?(\w+), ([\d.]+) points(, flagged)?')


@dataclass(frozen=True)
class Expected:
    """What a submission must get: its verdict, its points, and whether a person must be told."""
    verdict: str
    points: float
    flagged: bool = False


RIGHT, UNREADABLE, SYNTAX = Expected("OK", 10), Expected("UNREADABLE", 0), Expected("SYNTAX", 0)
ODD_NAMES = ("52_a;touch tinyvision-owned", "52_a\nb", "52_\u202egnp.exe", "52_<img src=x>",
             "52_" + "x" * 200, "-rf", "=cmd()", "52_$(touch tinyvision-owned)", "52_..")


def build(folder: Path) -> dict[str, Expected]:
    """Write everything into a new folder: student -> what is expected."""
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    expected = {path.stem: read_expected(path) for path in folder.iterdir()}
    return expected | encodings(folder) | links(folder) | archives(folder) | odd_names(folder) \
        | parser_bombs(folder) | hard_coded(folder)


def read_expected(path: Path) -> Expected:
    """What a file says of itself."""
    found = EXPECTED.search(path.read_text())
    assert found, f"{path} does not say what is expected"
    return Expected(found[1], float(found[2]), bool(found[3]))


def honest() -> str:
    """A right file."""
    return (FOLDER / "58_original.py").read_text()


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def encodings(folder: Path) -> dict:
    """Rows 40 and 41: marks, line ends and encodings of other systems; bytes that are no text."""
    text = honest()
    _write(folder, {"40_bom.py": b"\xef\xbb\xbf" + text.encode(),
                    "40_crlf.py": text.replace("\n", "\r\n").encode(),
                    "41_utf16.py": text.encode("utf-16"),
                    "41_half_a_letter.py": text.encode("utf-16")[:-1],
                    "41_undefined.py": b"# coding: undefined\n" + text.encode(),
                    "41_null_bytes.py": text.encode() + b"x = 1\0\n"})
    return {"40_bom": RIGHT, "40_crlf": RIGHT, "41_utf16": RIGHT, "41_half_a_letter": SYNTAX,
            "41_undefined": SYNTAX, "41_null_bytes": SYNTAX}


def parser_bombs(folder: Path) -> dict:
    """Rows 42 and 44: what is too deep for a parser."""
    header = b"# tinyvision exercise: box_iou\n"
    _write(folder, {"42_parser_bomb.py": header + b"x = " + b"-" * 500_000 + b"1\n",
                    "42_deep_brackets.py": header + b"(" * 100_000 + b"\n",
                    "44_deep_json.ipynb": b'{"tinyvision": {"exercise": "box_iou"}, "cells": '
                                          + b"[" * 100_000})
    return {"42_parser_bomb": SYNTAX, "42_deep_brackets": SYNTAX, "44_deep_json": UNREADABLE}


def links(folder: Path) -> dict:
    """Row 50: files that are none."""
    (folder / "50_link_to_a_secret.py").symlink_to("/etc/passwd")
    (folder / "50_link_to_a_neighbour.py").symlink_to("58_original.py")
    os.mkfifo(folder / "50_pipe.py")
    (folder / "50_link_inside").mkdir()
    (folder / "50_link_inside" / "box_iou.py").symlink_to("/etc/passwd")
    names = ("link_to_a_secret", "link_to_a_neighbour", "pipe", "link_inside")
    return {f"50_{name}": UNREADABLE for name in names}


def odd_names(folder: Path) -> dict:
    """Row 52: names that mean something to a shell, a terminal, a spreadsheet or a page."""
    _write(folder, {f"{name}.py": honest().encode() for name in ODD_NAMES})
    return dict.fromkeys(ODD_NAMES, RIGHT)


# ---- archives ------------------------------------------------------------------------------------

def archive(entries: dict[str, bytes]) -> bytes:
    """A zip file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return stream.getvalue()


def with_link() -> bytes:
    """A zip file whose only entry is a symbolic link."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        entry = zipfile.ZipInfo("box_iou.py")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(entry, "/etc/passwd")
    return stream.getvalue()


def lying(content: bytes) -> bytes:
    """A zip file that declares fewer bytes than it holds."""
    made = bytearray(archive({"box_iou.py": content}))
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = made.index(signature) + offset
        made[at:at + 4] = (100).to_bytes(4, "little")
    return bytes(made)


def archives(folder: Path) -> dict:
    """Row 51, and archives of honest people."""
    text, bomb = honest().encode(), b"#" * (200 << 20)
    hostile = {"bomb": archive({"box_iou.py": bomb}), "slip": archive({"../../box_iou.py": text}),
               "absolute": archive({"/tmp/box_iou.py": text}),
               "many": archive({f"{i}.py": b"" for i in range(5000)}),
               "programs": archive({f"{i}/box_iou.py": text for i in range(101)}),
               "deep": archive({"a/" * 30 + "box_iou.py": text}),
               "nested": archive({"inner.zip": archive({"box_iou.py": text})}),
               "link": with_link(), "lying": lying(bomb), "cut": archive({"a.py": text})[:-30],
               "no_zip": b"# tinyvision exercise: box_iou\n"}
    fine = {"honest": archive({"homework/box_iou.py": text, "homework/data.bin": bomb[:1 << 20],
                               "__MACOSX/._box_iou.py": b"\0"}),
            "honest_windows": archive({"homework\\box_iou.py": text})}
    _write(folder, {f"51_{name}.zip": data for name, data in (hostile | fine).items()})
    return {f"51_{name}": UNREADABLE for name in hostile} | {f"51_{n}": RIGHT for n in fine}


# ---- the public numbers --------------------------------------------------------------------------

def hard_coded(folder: Path) -> dict:
    """Row 57: the answers to the numbers that everybody knows."""
    import numpy as np

    from tinyvision import exercises
    from tinyvision.grading.assignment import PUBLIC_SEED
    exercise = exercises.load("conv2d")
    known = {}
    for case in exercise.cases(np.random.default_rng(PUBLIC_SEED)):
        answer = exercise.answer(case)
        parts = answer if isinstance(answer, tuple) else (answer,)
        known[key(case.args)] = [(part.shape, part.tobytes()) for part in parts]
    (folder / "57_hard_coded.py").write_text(f'''# tinyvision exercise: conv2d
import numpy as np

KNOWN = {known!r}


{inspect.getsource(key)}

def conv2d(*args):
    parts = tuple(np.frombuffer(data).reshape(shape) for shape, data in KNOWN[key(args)])
    return parts[0] if len(parts) == 1 else parts


conv2d_backward = conv2d
''')
    return {"57_hard_coded": Expected("WRONG_VALUE", 0, flagged=True)}


def key(args):
    """A case's shapes and options: the same for all numbers."""
    return tuple(getattr(arg, "shape", arg) for arg in args)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
