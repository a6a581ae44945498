"""A class that does not exist: what twelve invented students hand in for three exercises.

Each wrote the functions in a way of their own, some with mistakes that people make, some with
worse. Used by the tests of the pages, of similarity and of clusters, and for the pictures in docs/.

    python -m tests.classroom FOLDER        # write the submissions there
"""
from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent

# student -> exercise -> (file of this folder, replacements).
CLASS = {
    "Amira Haddad": {"conv2d": ("conv2d_loops", ()), "nms": ("nms_list", ()),
                     "box_iou": ("box_iou_loops", ())},
    "Bela Novak": {"conv2d": ("conv2d_columns", ()),
                   "nms": ("nms_matrix", (("> iou_threshold", ">= iou_threshold"),)),
                   "box_iou": ("box_iou_broadcast", ())},
    "Chidi Okafor": {"conv2d": ("conv2d_taps", (("kernel[:, :, i, j]",
                                                 "kernel[:, :, -1 - i, -1 - j]"),)),
                     "nms": ("nms_alive", ()), "box_iou": ("box_iou_meshgrid", ())},
    "Dana Lindqvist": {"conv2d": ("conv2d_windows", ((" + bias[None, :, None, None]", ""),)),
                       "nms": ("nms_alive", (("(x2 - x1) * (y2 - y1)",
                                 "(x2 - x1 + 1) * (y2 - y1 + 1)"),)),
                       "box_iou": ("box_iou_rows", (("max(0.0, ", "abs("),))},
    "Emre Yilmaz": {"conv2d": ("conv2d_loops", (("image[n, c, a * stride + i, b * stride + j]",
                                                 "image[n, c, a + i, b + j]"),)),
                    "nms": ("nms_list", (("reverse=True", "reverse=False"),)),
                    "box_iou": ("box_iou_copied", ())},
    "Freya Madsen": {"conv2d": ("conv2d_columns", (("dy.sum(axis=(0, 2, 3))",
                                                    "dy.mean(axis=(0, 2, 3))"),)),
                     "nms": ("nms_recursive", ()), "box_iou": ("box_iou_copied", ())},
    "Goran Petrov": {"conv2d": ("conv2d_taps", (("kernel[:, :, i, j]",
                                                 "kernel[:, :, -1 - i, -1 - j]"),
                                                ("grad_bias", "db"))),
                     "nms": ("nms_list", (("while remaining:", "while True:"),)),
                     "box_iou": ("box_iou_broadcast", (("area_a[:, None] + area_b[None, :] - ",
                                                        "area_a[:, None] + area_b[None, :] + 0 * "),
                                                       ))},
    "Hana Sato": {"conv2d": ("conv2d_windows", ()), "nms": ("nms_recursive", (
        ("return np.array(kept, dtype=np.int64)", "return sorted(kept)"),)),
                  "box_iou": ("box_iou_meshgrid", ())},
    "Ines Carvalho": {"conv2d": ("conv2d_taps", (("kernel[:, :, i, j]",
                                                  "kernel[:, :, -1 - i, -1 - j]"),
                                                 ("H_out", "h2"), ("W_out", "w2"),
                                                 ("kernel", "filt"), ("grad_x", "dx"),
                                                 ("result", "out"))),
                      "nms": ("nms_matrix", ()),
                      "box_iou": ("box_iou_rows", (("def box_iou(a, b):", "def box_iou(a, b)"),))},
    "Jonas Weber": {"conv2d": ("conv2d_unfinished", ()),
                    "nms": ("nms_alive", (("order = ", "import os; order = "),)),
                    "box_iou": ("box_iou_loops", (("- both", ""),))},
    "Kavya Rao": {"conv2d": ("conv2d_loops", (("+ 2 * padding - I", "+ padding - I"),)),
                  "nms": ("nms_patched", ()),
                  "box_iou": ("box_iou_broadcast", (("inter / np.where(union > 0, union, 1.0)",
                                                     "inter / union"),))},
    "Liam O'Connor": {"conv2d": ("conv2d_columns", ()), "nms": ("nms_matrix", ())},
}


def source(file: str, changes=()) -> str:
    """A file of this folder with replacements; each must be found."""
    text = (HERE / f"{file}.txt").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, (file, old)
        text = text.replace(old, new)
    return text


def notebook(text: str, exercise: str) -> str:
    """The text in a notebook with one cell of code."""
    cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [],
            "source": text.splitlines(keepends=True)}
    return json.dumps({"cells": [cell], "metadata": {"tinyvision": {"exercise": exercise}},
                       "nbformat": 4, "nbformat_minor": 5})


def write_class(folder: Path, students=None) -> Path:
    """Write every student's folder; ``students`` names some of them."""
    for student, files in CLASS.items():
        home = Path(folder) / student
        for exercise, (file, changes) in files.items() if not students or student in students \
                else ():
            text = f"# tinyvision exercise: {exercise}\n" + source(file, changes)
            home.mkdir(parents=True, exist_ok=True)
            if (student, exercise) == ("Hana Sato", "conv2d"):
                (home / "conv2d.ipynb").write_text(notebook(text, exercise), encoding="utf-8")
            else:
                (home / f"{exercise}.py").write_text(text, encoding="utf-8")
    return Path(folder)
