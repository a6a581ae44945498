"""What a student is told: the smallest call, what is kept between calls, hints."""
import ast
import builtins
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tinyvision import exercises
from tinyvision.exercises.start import solution_text
from tinyvision.grading import check, checking, submissions
from tinyvision.grading import trials as trials_module
from tinyvision.grading.assignment import as_received, expect, prepare
from tinyvision.grading.counterexample import of_mistake
from tinyvision.grading.examine import examine
from tinyvision.grading.forms import form
from tinyvision.grading.shrink import cut, joined, shrink, text, tied, times, weight
from tinyvision.grading.trials import Trials
from tinyvision.grading.verdict import Answer, Expected, judge, received

RIGHT = solution_text(exercises.load("conv2d"))
FLIPPED = RIGHT.replace('"ncij,ocij->no", window, weight)',
                        '"ncij,ocij->no", window, weight[:, :, ::-1, ::-1])')
FOLLOWING = FLIPPED.replace("g[:, :, a, b], weight)", "g[:, :, a, b], weight[:, :, ::-1, ::-1])"
                            ).replace("padded[here])", "padded[here])[:, :, ::-1, ::-1]")


@pytest.fixture
def conv(tmp_path):
    """Write source and check it."""
    def checked(source, name="conv2d", **options):
        path = tmp_path / "mine.py"
        path.write_text(source)
        return check(path, name, **options)
    return checked


def graded(source, name="conv2d", seed=7, **options):
    made = prepare(exercises.load(name), np.random.default_rng(seed))
    one = submissions.Submission("ada", "ada.py", source.encode(), name)
    return examine(one, made, "medium", **options)[0]


# ---- right numbers in another form ---------------------------------------------------------------

def returning(exercise, function, expression):
    """The record of a solution that returns something made of its answer ``y`` and arguments."""
    return graded(f"{solution_text(exercises.load(exercise))}\n_right = {function}\n\n"
                  f"def {function}(*args):\n    y = _right(*args)\n    return {expression}\n",
                  exercise)


@pytest.mark.parametrize("exercise, function, expression, verdict, name", [
    ("focal_loss", "sigmoid_focal_loss", "y.mean()", "WRONG_TYPE", "mean"),         # of the bank
    ("focal_loss", "sigmoid_focal_loss", "float(y.sum())", "WRONG_TYPE", "sum"),
    ("focal_loss", "sigmoid_focal_loss", "y.sum(0)", "WRONG_TYPE", "summed"),
    ("focal_loss", "sigmoid_focal_loss", "y.mean(-1, keepdims=True)", "WRONG_SHAPE", "averaged"),
    ("smooth_l1", "smooth_l1_loss", "y.mean(0, dtype='f4')", "WRONG_TYPE", "averaged"),
    ("cross_entropy", "cross_entropy", "np.full(3, y) + [-1, 0, 1]", "WRONG_SHAPE", "not-averaged"),
    ("cross_entropy", "cross_entropy", "np.array([y - 2, 2])", "WRONG_SHAPE", "not-summed"),
    ("nms", "nms", "args[0][y]", "WRONG_SHAPE", "rows-for-indices"),
    ("nms", "nms", "args[1][y].astype('f4')", "WRONG_DTYPE", "rows-for-indices"),
    ("nms", "nms", "np.isin(np.arange(len(args[0])), y)", "WRONG_DTYPE", "mask-for-indices"),
])
def test_right_numbers_in_another_form_are_named(exercise, function, expression, verdict, name):
    record = returning(exercise, function, expression)
    assert verdict in {case["verdict"] for case in record["cases"]}
    found, = [one for one in record["diagnoses"] if one["function"] == function]
    assert found["name"] == name and found["hint"].endswith(".")


@pytest.mark.parametrize("expression", ["list(y)", "[int(i) for i in y]", "y.astype('f8')", "len(y)",
                                        "tuple(y)", "None", "(y, args[1])", "'kept'"])
def test_of_a_wrong_type_the_verdict_says_enough(expression):
    assert returning("nms", "nms", expression)["diagnoses"] == []


@pytest.mark.parametrize("expression", ["args[0][y][:, :2]", "args[0][y] + 1", "args[0][y[::-1]]",
                                        "args[0][y].sum(0)"])
def test_rows_that_are_others_are_not_recognised(expression):
    found, = returning("nms", "nms", expression)["diagnoses"]
    assert found["name"] == ""


def formed(*pairs, arrays=None, magnitude=1.0):
    """What `form` says of pairs (got, want)."""
    wrong = []
    for got, want in pairs:
        right = Expected((np.asarray(want),), False, (None if magnitude is None else np.full(
            np.shape(want), magnitude),), (4.0,))
        wrong.append((Answer((np.asarray(got),), ("",), ""), right,
                      judge(Answer((np.asarray(got),), ("ndarray of",), "", (np.shape(got),)), right),
                      arrays or {}))
    found = form(wrong)
    return found and found[0]


def test_a_form_needs_evidence_and_must_explain_every_case():
    row = np.array([1.0, 2.0, 4.0])
    assert formed((7.0, row), (3.0, [3.0])) == "summed"
    assert formed((7.0, row), (3.5, [3.0])) is None                 # the second is another mistake
    assert formed((3.0, [3.0])) is None                             # a shape, and no sum
    assert formed((1.0, [1.0, 0.0])) is None and formed((0.0, [1.0, -1.0])) is None     # chance
    assert formed((7.0 + 1e-9, row)) is None and formed((7.0 + 1e-14, row)) == "summed"
    assert formed((row, 7.0)) == "not-summed" and formed((row + 1e-9, 7.0)) is None
    assert formed((row, 7.0), (row, 7.0 / 3)) is None               # neither sum nor mean of both
    assert formed((np.outer(row, row), row * 7), (row, 7.0)) == "not-summed"
    assert formed((np.full(3, np.nan), np.nan), (np.inf, np.full(3, np.inf))) is None
    boxes = {"boxes": np.arange(8.0).reshape(2, 4), "scores": np.array([0.5, 0.5])}
    assert formed((boxes["boxes"][1:], np.array([1])), arrays=boxes, magnitude=None) == (
        "rows-for-indices")
    assert formed((np.zeros((0, 4)), np.zeros(0, int)), arrays=boxes, magnitude=None) is None
    assert formed((np.array([1]), boxes["boxes"][1:]), arrays=boxes) == "indices-for-rows"
    assert formed((np.array([7]), boxes["boxes"][1:]), arrays=boxes) is None


# ---- the smallest call ---------------------------------------------------------------------------

def numbers(words):
    return [float(n) for n in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", words)]


def test_a_call_a_person_can_work_out(conv):
    record = conv(FLIPPED)
    example = record["diagnoses"][0]["counterexample"]
    assert example["call"] == ("conv2d(x=[[[[0, 1]]]], weight=[[[[0, 1]]]], bias=[0], stride=1, "
                               "padding=0)")
    assert (example["yours"], example["expected"]) == ("[[[[0]]]]", "[[[[1]]]]")


def test_what_nobody_knows_has_a_smallest_call_too(conv):
    started = time.perf_counter()
    record = conv(RIGHT.replace("window, weight) + bias", "window, weight) + bias "
                                "+ (stride == 3)"))
    example = record["diagnoses"][0]["counterexample"]
    assert "stride=3" in example["call"] and max(map(abs, numbers(example["call"]))) <= 3
    assert text(np.array(numbers(example["yours"])) - numbers(example["expected"])) in (
        "[1]", "[1, 1]")
    assert time.perf_counter() - started < 10           # two seconds on a machine of one's own


def test_a_call_that_raises_is_made_small(conv):
    record = conv(RIGHT.replace("    y = np.empty", "    assert padding < 2, 'too much'\n"
                                "    y = np.empty"))
    case = next(case for case in record["cases"] if case["verdict"] == "EXCEPTION")
    assert case["counterexample"]["yours"] == "AssertionError: too much"
    assert "padding=2" in case["counterexample"]["call"]


def test_the_call_shows_the_values_that_the_hint_speaks_of():
    """Of zeros around an image of zeros only the indices are wrong."""
    made = prepare(exercises.load("max_pool2d"), np.random.default_rng(0))
    found = [of_mistake(made, one) for one in made.exercise.mistakes if one.name == "zero-padding"]
    assert len(found) == 2
    for case, words in found:
        x, kernel, _, padding = case.args
        assert x.max() < 0 and words["yours"].startswith("([[[[0")
        assert all(2 * p <= k for p, k in zip(padding, kernel))


@pytest.mark.parametrize("name", exercises.names())
def test_nearly_every_known_mistake_has_a_small_call(name):
    """Where a driver's numbers are a program there is none; some need many numbers to show."""
    made = prepare(exercises.load(name), np.random.default_rng(0))
    driven = {case.function for case in made.cases if case.driver}
    asked = [one for one in made.exercise.mistakes if one.function not in driven and any(
        answer is not None for answer in dict(made.bank)[one].values())]
    found = [example[1] for one in asked if (example := of_mistake(made, one))]
    assert len(found) >= 0.7 * len(asked)
    assert all(example["yours"] != example["expected"] for example in found)


def test_only_what_varies_between_cases_is_cut():
    exercise = exercises.load("nms")
    cases = exercise.cases(np.random.default_rng(0))
    assert joined(cases) == [[(0, 0, 1), (1, 0, 1)]]
    assert tied(cases) == [[(0, 0), (1, 0)]]            # boxes and scores; never a box's four
    case = max(cases, key=lambda case: case.args[0].size)

    def fails(smaller):
        boxes, scores, _ = smaller.args
        assert boxes.shape == (len(scores), 4)
        return len(boxes) >= 3
    assert len(shrink(exercise, cases, case, fails).args[0]) == 3


@pytest.mark.parametrize("function, first", [("lstm_cell", 0), ("lstm_cell_backward", 2)])
def test_rows_of_four_gates_are_cut_with_the_state(function, first):
    exercise = exercises.load("lstm_cell")
    cases = [case for case in exercise.cases(np.random.default_rng(0)) if case.function == function]

    def fails(smaller):
        x, h, c, w_ih, w_hh, *_ = smaller.args[first:]
        assert expect(exercise, smaller) and w_hh.shape == (4 * h.shape[1], h.shape[1])
        return len(x) > 1 and h.shape[1] > 1
    x, h, c, w_ih, *_ = shrink(exercise, cases, cases[3], fails).args[first:]
    assert (x.shape, h.shape, c.shape, w_ih.shape) == ((2, 1), (2, 2), (2, 2), (8, 1))
    assert cut(np.arange(12), [(0, 4)], [0, 2], 3).tolist() == [0, 2, 3, 5, 6, 8, 9, 11]


def test_lengths_of_two_cases_are_multiples_by_chance():
    assert times((4, 12), (1, 3)) == 4 and times((4, 8), (1, 3)) == times((3, 6), (2, 4)) == 0
    assert times((None, None), (1, 2)) == times((0, 0), (1, 2)) == times((1, 2), (0, 0)) == 0
    exercise = exercises.load("corner_pooling")
    cases = [case for case in exercise.cases(np.random.default_rng(0))
             if case.function == "bottom_right_pool"]
    lengths = {tuple(case.args[0].shape[axis] for case in cases) for axis in (0, 2)}
    assert len(cases) == 2 and lengths == {(1, 2), (3, 6)}
    assert all(blocks == 1 for axes in joined(cases) for *_, blocks in axes)


def test_the_mean_over_a_batch_shows_in_two_rows():
    text = solution_text(exercises.load("lstm_cell")).replace("before.sum(axis=0)",
                                                              "before.mean(axis=0)", 1)
    found, = graded(text, "lstm_cell", deep=True)["diagnoses"]
    assert "gh=[[0], [0]]" in found["counterexample"]["call"]
    assert "w_ih=[[0], [0], [0], [0]]" in found["counterexample"]["call"]


def test_a_mask_shrinks_with_the_queries_and_keys_that_it_is_for():
    found, = (one for one in exercises.load("attention").mistakes
              if (one.function, one.name) == ("attention_weights", "mask-reversed"))
    _, words = of_mistake(prepare(exercises.load("attention"), np.random.default_rng(0)), found)
    call = re.sub(r"\s", "", words["call"])
    mask = call.partition("attn_mask=")[2].strip(")")
    assert np.shape(ast.literal_eval(mask)) in ((1, 1), (1, 2))


def test_nobody_reads_warnings_of_the_reference(recwarn):
    text = solution_text(exercises.load("cross_entropy")).replace("g / len(labels)",
                                                                  "g / kept.size")
    assert graded(text, "cross_entropy", deep=True)["score"] < 10
    assert not [one for one in recwarn if issubclass(one.category, RuntimeWarning)]


def test_options_grow_simpler():
    assert sorted([(2, 1), 3, None, 1, 0.25, (1, 1), 0], key=weight) == [
        None, 0, 1, 3, 0.25, (1, 1), (2, 1)]


def test_a_cotangent_keeps_its_shape():
    exercise = exercises.load("conv2d")
    cases = exercise.cases(np.random.default_rng(0))
    forward = exercise.functions["conv2d"]

    def fails(smaller):
        assert smaller.args[0].shape == forward(*smaller.args[1:]).shape
        return True
    case = shrink(exercise, cases, cases[-1], fails)
    assert case.args[0].size == 1 and expect(exercise, case)


# ---- between calls -------------------------------------------------------------------------------

def test_an_answer_kept_by_shape_is_found():
    record = graded(RIGHT.replace("def conv2d(", "KEPT = {}\n\ndef conv2d(").replace(
        "    (N, C, H, W), (O, _, I, J) = x.shape, weight.shape\n",
        "    key = x.shape, weight.shape, stride, padding\n    if key in KEPT:\n"
        "        return KEPT[key]\n"
        "    (N, C, H, W), (O, _, I, J) = x.shape, weight.shape\n", 1).replace(
        "    return y\n", "    KEPT[key] = y\n    return y\n", 1))
    forward = [case for case in record["cases"] if case["function"] == "conv2d"]
    assert {case["verdict"] for case in forward} == {"NONDETERMINISTIC"}
    assert "kept between calls" in forward[0]["message"] and forward[0]["earned"] == 0


def test_a_counter_is_found_and_a_table_of_constants_is_not():
    counted = graded("CALLS = []\n" + RIGHT.replace(
        "    return y\n", "    CALLS.append(1)\n    return y + (len(CALLS) > 3)\n", 1))
    assert "kept between calls" in counted["message"]
    assert graded("TABLE = {n: n * n for n in range(100)}\n" + RIGHT)["verdict"] == "OK"


def test_answers_to_the_public_numbers_alone_are_pointed_out():
    exercise = exercises.load("box_iou")
    public = prepare(exercise, np.random.default_rng(0))
    known = {case.args[0].tobytes() + case.args[1].tobytes(): right.parts[0].tolist()
             for case, right in zip(public.cases, public.expected)}
    record = graded(f"import numpy as np\nKNOWN = {known!r}\ndef box_iou(a, b):\n"
                    "    return np.array(KNOWN.get(a.tobytes() + b.tobytes(), "
                    "np.zeros((len(a), len(b)))), float)\n", "box_iou")
    assert "right with the public numbers only" in record["remarks"] and record["score"] < 5
    assert not graded(solution_text(exercise), "box_iou")["remarks"]


# ---- credit, hints, words ------------------------------------------------------------------------

def test_right_numbers_of_a_wrong_dtype_may_be_worth_something():
    exercise = exercises.load("conv2d")
    half = RIGHT.replace("    return y\n", "    return y.astype('float16')\n", 1)
    wrong = half.replace("window, weight) + bias", "window, weight) - bias")
    scores = []
    for shares, source in (({}, half), ({"WRONG_DTYPE": 0.5}, half), ({"WRONG_DTYPE": 0.5}, wrong)):
        made = prepare(replace(exercise, credit=shares), np.random.default_rng(7))
        one = submissions.Submission("ada", "ada.py", source.encode(), "conv2d")
        scores.append(examine(one, made, "medium")[0]["score"])
    assert scores == [4, 7, 4]


def test_hints_come_one_by_one(conv, monkeypatch):
    everything, call, cases = (str(conv(FLIPPED, hints=hints)) for hints in (2, 1, 0))
    assert "kernel flipped" in everything and "smallest case" in everything
    assert "kernel flipped" not in call and "smallest case" in call and "--hint 2" in call
    assert "smallest case" not in cases and "✗ 2x3 kernel" in cases and "--hint 1" in cases
    made = replace(exercises.load("conv2d"), stepwise=True)
    monkeypatch.setattr(exercises, "load", lambda name: made)
    assert str(conv(FLIPPED)) == cases and "--hint" not in str(conv(RIGHT))


def test_pictures_fit_a_terminal(conv):
    lines = str(conv(FLIPPED)).splitlines()
    at = next(i for i, line in enumerate(lines) if "expected" in line and "difference" in line)
    wide = [numbers(line) for line in lines[at + 1:at + 3]]
    for row in wide:
        expected, yours, difference = np.array_split(row, 3)
        assert np.allclose(yours - expected, difference)
    assert all(len(line) <= checking.WIDTH for line in lines)


def test_a_wrong_shape_has_no_difference():
    picture = {"expected": [[1.0, 2.0]], "received": [[1.0], ["nan"]]}
    assert checking.grids(picture) == ["        expected    yours", "        1 2           1",
                                       "                    nan"]
    assert checking.grids({"expected": [[1.0] * 9], "received": [[1.0]]}) == []


def test_a_cell_of_a_notebook_checks_what_was_run(monkeypatch):
    class Shell:
        user_ns = {"In": ["", "# tinyvision exercise: conv2d\nimport numpy as np",
                          FLIPPED, "%matplotlib inline", RIGHT, "check()"]}
    monkeypatch.setattr(builtins, "get_ipython", Shell, raising=False)
    record = check()
    assert record["score"] == 10 and "everything is right" in str(record)
    Shell.user_ns["In"].insert(-1, FLIPPED)             # the last definition counts
    page = check()._repr_html_()
    assert "kernel flipped" in page and "<img" in page and "<script" not in page


def test_without_a_notebook_a_file_is_needed():
    with pytest.raises(ValueError, match="this is no notebook"):
        check()


# ---- one process or many -------------------------------------------------------------------------

@pytest.mark.parametrize("prints", ["", "    print('hello')\n"])
def test_a_function_that_needs_another_call_gets_the_same_marks_everywhere(prints, conv):
    """Whether all cases ran in one process, or each alone because it printed, shows in no mark."""
    source = RIGHT.replace("    y = np.empty", f"{prints}    globals()['SET'] = 1\n    y = np.empty"
                           ).replace("    gpadded, gweight", "    SET\n    gpadded, gweight")
    alone, record = conv(source), graded(source)
    assert alone["score"] == record["score"] == 6
    assert {case["verdict"] for case in record["cases"][-4:]} == {"EXCEPTION"}


def test_a_forward_that_ignores_an_argument_earns_no_easy_gradient():
    record = graded("""
import numpy as np
def reparameterize(mu, logvar, eps):
    return mu
def reparameterize_backward(g, mu, logvar, eps):
    return g.copy(), np.zeros_like(logvar)
""", "vae")
    backward = [case for case in record["cases"] if case["function"].endswith("_backward")]
    assert not any(case["earned"] for case in backward)


# ---- forged in the second run --------------------------------------------------------------------

NOBODY = SimpleNamespace(spent=0.0)     # runs nothing


@pytest.mark.parametrize("forged", [
    {"answers": [{"dtype": "<f8", "shape": [1], "blob": float("inf"), "type": "ndarray"}],
     "inputs": 1, "several": ""},
    {"answers": [], "inputs": float("inf"), "several": ""},
    *({"answers": [{"dtype": dtype, "shape": [1], "blob": 0, "type": "ndarray"}], "inputs": 1,
       "several": ""} for dtype in (",", "2)", "<,", "(2,2)f8, (")),
    {"answers": [{"dtype": "<f8", "shape": [float("inf")], "blob": 0, "type": "ndarray"}],
     "inputs": 0, "several": ""}, {"answers": None, "inputs": 0, "several": ""}, [], None])
def test_what_is_forged_in_the_second_run_only_is_no_fault_of_ours(forged):
    made = prepare(exercises.load("box_iou"), np.random.default_rng(1))
    trials = Trials(made, NOBODY)
    trials.answers = {0: as_received(made.expected[0].parts[0])}
    trials.judgements = {0: judge(trials.answers[0], made.expected[0])}
    assert not trials.agrees(0, forged, [bytes(8)])


def test_an_answer_without_numbers_agrees_with_nothing():
    made = prepare(exercises.load("box_iou"), np.random.default_rng(1))
    trials = Trials(made, NOBODY)
    header = {"answers": [{"type": "Liar"}], "inputs": 0, "several": ""}
    trials.answers = {0: received(header, [])[0]}
    trials.judgements = {0: judge(trials.answers[0], made.expected[0])}
    other = {"answers": [{"type": "Liar", "dtype": "<f8", "shape": [1], "blob": 0}], "inputs": 1,
             "several": ""}
    assert trials.agrees(0, header, []) and not trials.agrees(0, other, [bytes(8)])


def test_a_gradient_belongs_to_the_very_version_of_a_mistake(monkeypatch):
    """Two versions of one mistake have one name; only the student's own is differentiated."""
    seen = []
    monkeypatch.setattr(trials_module, "follows",
                        lambda case, forward, implementation, parts: bool(
                            seen.append(implementation)))
    graded(FOLLOWING)
    flipped = [one.implementation for one in exercises.load("conv2d").mistakes
               if one.name == "kernel-flipped"]
    assert len(set(seen)) == 1 and seen[0] in flipped
