"""Similarity: copies are found however they are dressed up, independent work is not."""
from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from tinyvision.grading.classroom import CLASS, notebook, source  # noqa: E402

from tinyvision import exercises  # noqa: E402
from tinyvision.exercises import start  # noqa: E402
from tinyvision.grading import fingerprints, similarity, store  # noqa: E402
from tinyvision.grading.fingerprints import prepare  # noqa: E402
from tinyvision.grading.pages.sidebyside import similar_page  # noqa: E402
from tinyvision.grading.similarity import Member, in_class  # noqa: E402


def about(name):
    exercise = exercises.load(name)
    return {"stub": start.stub(exercise), "solution": start.solution_text(exercise)}


def members(texts):
    return [Member(name, name, prepare(text)) for name, text in texts.items()]


def found(exercise, texts):
    """{names of a group: why} of a class of one exercise."""
    return {tuple(member.label for member in group.members): group.why
            for group in in_class(exercise, members(texts), about(exercise))}


def handed_in(exercise):
    """What the invented class hands in: student -> text."""
    return {student: source(*files[exercise]) for student, files in CLASS.items()
            if exercise in files}


# ---- who copied from whom in the invented class --------------------------------------------------

@pytest.mark.parametrize("exercise, expected", [
    ("conv2d", {("Chidi Okafor", "Goran Petrov"): "the same after renaming",
                ("Emre Yilmaz", "Liam O'Connor"): "much in common"}),
    ("nms", {("Bela Novak", "Liam O'Connor"): "much in common",
             ("Dana Lindqvist", "Ines Carvalho"): "much in common"}),
    ("box_iou", {("Amira Haddad", "Jonas Weber"): "much in common",
                 ("Dana Lindqvist", "Ines Carvalho"): "much in common",
                 ("Emre Yilmaz", "the shipped solution"): "like what is shipped"})])
def test_those_who_share_a_text_are_found_and_nobody_else(exercise, expected):
    assert found(exercise, handed_in(exercise)) == expected


def test_groups_of_a_graded_folder_name_everybody(tmp_path):
    kept = store.Store(tmp_path)
    records = []
    for i, (student, text) in enumerate(handed_in("nms").items()):
        digest, file = f"{i:064}", f"{student}/nms.ipynb"
        store.write(tmp_path / "sources" / f"{digest}.ipynb", notebook(text, "nms"))
        records.append((student, {"student": student, "file": file, "exercise": "nms",
                                  "submission": digest}))
    kept.keep_exercise({"name": "nms"} | about("nms"))
    groups = similarity.groups(kept, records)
    assert sorted([member.label for member in group.members] for group in groups) == [
        ["Bela Novak", "Liam O'Connor"], ["Dana Lindqvist", "Ines Carvalho"]]
    page = similar_page(groups)
    assert page.count("<article") == 2 and page.count('class="same"') > 40


# ---- how a copy is dressed up --------------------------------------------------------------------

DISGUISES = {
    "renamed": lambda t: t.replace("weight", "w_").replace("columns", "stuff").replace("x", "xx"),
    "comments": lambda t: t.replace("\n", "  # my own idea\n"),
    "layout": lambda t: t.replace("    ", "\t").replace(", ", ",").replace(" = ", "="),
    "wrapped": lambda t: t.replace("np.pad(", "np.pad(\n        "),
    "windows": lambda t: t.replace("\n", "\r\n"),
    "docstrings": lambda t: t.replace("):\n", "):\n    '''I wrote\n    this.'''\n"),
    "another name for numpy": lambda t: t.replace("as np", "as xp").replace("np.", "xp."),
    "functions exchanged": lambda t: t[t.index("def conv2d_b"):] + t[:t.index("def conv2d_b")],
    "lines put in between": lambda t: t.replace("    for ", "    print('working')\n    for "),
}


@pytest.mark.parametrize("disguise", DISGUISES, ids=str)
def test_a_copy_is_found_however_it_is_dressed_up(disguise):
    texts = handed_in("conv2d")
    assert ("Bela Novak",) not in {names[:1] for names in found("conv2d", texts)}
    texts["Zed"] = DISGUISES[disguise](texts["Bela Novak"])
    assert texts["Zed"] != texts["Bela Novak"]
    assert ("Bela Novak", "Zed") in found("conv2d", texts)


def test_names_cells_and_encodings_do_not_matter():
    text = source("conv2d_columns")
    same = [text.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16")]
    assert len({tuple(prepare(one).tokens) for one in same}) == 1
    cells = json.loads(notebook(text, "conv2d"))
    cells["cells"][0]["source"].insert(0, "%matplotlib inline\n")
    cells["cells"].insert(0, {"cell_type": "markdown", "source": ["def not_code(): pass"]})
    assert prepare(json.dumps(cells).encode(), "a.ipynb").tokens == prepare(text).tokens


def test_the_file_to_start_from_does_not_count():
    for name in ("conv2d", "nms"):
        stub = about(name)["stub"]
        assert found(name, {f"s{i}": stub for i in range(5)}) == {}
        texts = {student: stub + text for student, text in handed_in(name).items()}
        assert set(found(name, texts)) == set(found(name, handed_in(name)))


def test_what_much_of_the_class_has_does_not_count():
    common = "def helper(a, b, c):\n" + "".join(
        f"    a[{i}] = b[c, {i}] * np.exp(a + {i}) - b[{i}:{i + 3}].sum(axis={i})\n"
        for i in range(12))
    texts = {student: text + common for student, text in handed_in("nms").items()}
    assert set(found("nms", texts)) == set(found("nms", handed_in("nms")))
    two = {student: text + common * (student in ("Amira Haddad", "Goran Petrov"))
           for student, text in handed_in("nms").items()}
    assert ("Amira Haddad", "Goran Petrov") in found("nms", two)


def test_what_all_have_is_marked_where_it_is_all_there_is():
    """Six who handed in one text: it counts for nothing, so nothing would be marked; said so."""
    text = source("conv2d_columns")
    group, = in_class("conv2d", members({name: text for name in "abcdef"}), {})
    assert group.why == "the same, letter for letter" and not group.counting
    page = similar_page([group])
    assert page.count("<article") == page.count("Much of the class has what is marked") == 5
    assert page.count('class="same"') > 5 * 2 * 20
    pair, = in_class("conv2d", members({name: text for name in "ab"}), {})
    assert pair.counting and "Much of the class" not in similar_page([pair])


def test_a_text_with_a_folder_of_files_is_not_compared_with_itself():
    text = source("conv2d_columns")
    both = [Member("ada", "ada/a.py", prepare(text)), Member("ada", "ada/b.py", prepare(text))]
    assert in_class("conv2d", both, about("conv2d")) == []


def test_who_hands_in_the_librarys_own_file_is_found():
    text = (Path(exercises.__file__).parents[1] / "ops" / "nms.py").read_text()
    texts = handed_in("nms") | {"Zed": text.replace("boxes", "kisten").replace("keep", "behalten")}
    assert found("nms", texts)["Zed", "tinyvision/ops/nms.py"] == "like what is shipped"


def test_a_chain_of_copies_is_one_group():
    text = source("conv2d_index")
    texts = handed_in("conv2d") | {"Y": text.replace("frame", "f"), "Z": text.replace("back", "b")}
    del texts["Hana Sato"]
    texts["A"] = text
    assert found("conv2d", texts)["Y", "Z", "A"] == "the same after renaming"
    assert found("conv2d", {"a": text, "b": text})["a", "b"] == "the same, letter for letter"


# ---- winnowing -----------------------------------------------------------------------------------

@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(0, 60))
def test_any_long_enough_run_of_equal_tokens_is_found(seed, before, after):
    rng = random.Random(seed)

    def tokens(n):
        return [rng.choice(["v", "(", ")", ".sum", "+", "for", "0", ","]) for _ in range(n)]
    run = tokens(fingerprints.K + fingerprints.WINDOW - 1)
    one, other = (tokens(before) + run + tokens(after), tokens(after) + run + tokens(before))
    prints = [fingerprints.fingerprints(t) for t in (one, other)]
    assert prints[0].keys() & prints[1].keys()
    places = [at for found_at in prints[0].values() for at in found_at]
    assert all(0 <= at <= len(one) - fingerprints.K for at in places)


def test_fingerprints_are_few_and_the_same_on_every_machine():
    text = prepare(source("conv2d_columns"))
    count = sum(map(len, text.prints.values()))
    assert 0.2 < count / len(text.tokens) < 0.5         # 2 / (WINDOW + 1) are expected
    assert fingerprints.fingerprints(list("abcdefghijkl")) == {12772821095981: [0]}


def test_marked_lines_are_those_in_common():
    one = prepare("import os\n\n\n" + source("conv2d_columns"))
    other = prepare(source("conv2d_columns").replace("columns", "c") + "\nx = 1\n")
    lines = fingerprints.same_lines(one, other, frozenset(one.prints))
    texts = [{text.text.split("\n")[i].strip() for i in marked}
             for text, marked in zip((one, other), lines)]
    assert "import os" not in texts[0] and "x = 1" not in texts[1]
    assert "rows = (height - KH) // stride + 1" in texts[0] & texts[1]


@pytest.mark.parametrize("text, file", [
    ("x=" + "-" * 500_000 + "1", "a.py"), ("(" * 500_000, "a.py"), ("'" * 500_000, "a.py"),
    ('"""' + "a\n" * 200_000, "a.py"), ("\\" * 400_000, "a.py"), ("\\\n" * 200_000, "a.py"),
    ("rb" * 250_000, "a.py"), ("." * 500_000, "a.py"), ("[" * 500_000, "a.ipynb"),
    ('{"cells": ' * 90_000, "a.ipynb"), ('{"cells": [{"cell_type": "code"}]}', "a.ipynb"),
    ('{"cells": 3}', "a.ipynb"), ("null", "a.ipynb"), ("\x00\ud800\u202e" * 9, "a.py"),
    ("'\\" * 250_000, "a.py"), ("1" * 500_000, "a.py")], ids=range(16))
def test_hostile_texts_cost_time_in_proportion_to_their_length(text, file):
    start_time = time.perf_counter()
    prepared = prepare(text.encode("utf-8", "surrogatepass"), file)
    assert time.perf_counter() - start_time < 20        # minutes or a crash, if it were otherwise
    assert len(prepared.tokens) == len(prepared.lines)


def test_nothing_is_alike_in_nothing():
    assert in_class("nms", [], {}) == []
    assert in_class("nms", members({"a": "", "b": ""}), {}) == []
    assert "No two submissions" in similar_page([])
