"""A class that does not exist: what twelve invented students hand in for three exercises.

Each wrote the functions in a way of their own, some with mistakes that people make, some with
worse: for the lecture on grading, for trying an assignment's pages before a class does, for tests.

    python -m tinyvision.grading.classroom FOLDER        # write the submissions there
"""
from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent

# student -> exercise -> (file of this folder, replacements)
FLIPPED = ("kernel[:, :, i, j]", "kernel[:, :, -1 - i, -1 - j]")
RENAMED = (("H_out", "h2"), ("W_out", "w2"), ("kernel", "filt"), ("grad_x", "dx"),
           ("result", "out"), ("shifted", "moved"), ("One multiplication of", "I multiply"))
CLASS = {
    "Amira Haddad": {"conv2d": ("conv2d_loops", ()), "nms": ("nms_list", ()),
                     "box_iou": ("box_iou_loops", ())},
    "Bela Novak": {"conv2d": ("conv2d_columns", ()),
                   "nms": ("nms_matrix", (("> iou_threshold", ">= iou_threshold"),)),
                   "box_iou": ("box_iou_columns", ())},
    "Chidi Okafor": {"conv2d": ("conv2d_taps", (FLIPPED,)), "nms": ("nms_set", ()),
                     "box_iou": ("box_iou_meshgrid", ())},
    "Dana Lindqvist": {"conv2d": ("conv2d_windows", ((" + bias[None, :, None, None]", ""),)),
                       "nms": ("nms_alive", (("(x2 - x1) * (y2 - y1)",
                                              "(x2 - x1 + 1) * (y2 - y1 + 1)"),
                                             ("ww * hh", "(ww + 1) * (hh + 1)"))),
                       "box_iou": ("box_iou_rows", ())},
    "Emre Yilmaz": {"conv2d": ("conv2d_einsum", (("r, s = row * stride, col * stride",
                                                  "r, s = row, col"),)),
                    "nms": ("nms_unsorted", ()), "box_iou": ("box_iou_copied", ())},
    "Freya Madsen": {"conv2d": ("conv2d_matrix", (("g.sum(3).sum(2).sum(0)",
                                                   "g.mean(3).mean(2).mean(0)"),)),
                     "nms": ("nms_recursive", ())},
    "Goran Petrov": {"conv2d": ("conv2d_taps", (FLIPPED, *RENAMED)),
                     "nms": ("nms_endless", ()),
                     "box_iou": ("box_iou_broadcast", (("area_b[None, :] - inter",
                                                        "area_b[None, :]"),))},
    "Hana Sato": {"conv2d": ("conv2d_index", ()), "box_iou": ("box_iou_dice", ())},
    "Ines Carvalho": {"nms": ("nms_alive", ()),
                      "box_iou": ("box_iou_rows", (("def box_iou(a, b):", "def box_iou(a, b)"),))},
    "Jonas Weber": {"conv2d": ("conv2d_unfinished", ()),
                    "box_iou": ("box_iou_loops", (("- both", ""), ("p[", "first["),
                                                  ("row, p in", "row, first in"),
                                                  ("area(p)", "area(first)")))},
    "Kavya Rao": {"nms": ("nms_patched", ()),
                  "box_iou": ("box_iou_vectorize", ())},
    "Liam O'Connor": {"conv2d": ("conv2d_einsum", (("+ bias.reshape(-1, 1, 1)", ""),
                                                   ("big", "frame"),
                                                   ("out_h", "a"), ("out_w", "b"))),
                      "nms": ("nms_matrix", (("np.clip(right_bottom - left_top, 0, None)",
                                              "np.abs(right_bottom - left_top)"),))},
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


def write_class(folder: Path, students=None, homework: str | None = None) -> Path:
    """Write what the class hands in.

    Arguments:
        folder: a folder for each student is made in it.
        students: the names of some of them; by default all.
        homework: the name of an assignment made of the three exercises: each student then hands in
            one file, ``homework.py``, with everything in it.
    """
    for student, files in CLASS.items():
        texts = {exercise: source(file, changes) for exercise, (file, changes) in files.items()}
        if homework:
            texts = {homework: "\n\n\n".join(texts.values())}
        for exercise, text in texts.items() if not students or student in students else ():
            home = Path(folder) / student
            home.mkdir(parents=True, exist_ok=True)
            text = f"# tinyvision exercise: {exercise}\n" + text
            if (student, exercise) == ("Hana Sato", "conv2d"):
                (home / "conv2d.ipynb").write_text(notebook(text, exercise), encoding="utf-8")
            else:
                (home / f"{exercise}.py").write_text(text, encoding="utf-8")
    return Path(folder)
