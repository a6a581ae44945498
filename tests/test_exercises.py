"""Exercises: solutions are right, mistakes are told apart, stubs hold no solution."""
import argparse
import ast
import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tinyvision import cuda, exercises
from tinyvision.exercises import load, names
from tinyvision.exercises.box_iou import box_iou
from tinyvision.exercises.commands import add, table
from tinyvision.exercises.conv2d import conv2d, conv2d_backward
from tinyvision.exercises.conv_transpose2d import conv_transpose2d, conv_transpose2d_backward
from tinyvision.exercises.max_unpool2d import max_unpool2d, max_unpool2d_backward
from tinyvision.exercises.nms import nms
from tinyvision.exercises.roi_align import roi_align, roi_align_backward
from tinyvision.exercises.start import notebook_text, solution_text, start, stub

every = pytest.mark.parametrize("name", names())


def cases_of(name, function, seed=0):
    found = load(name).cases(np.random.default_rng(seed))
    return [case for case in found if case.function == function]


def needs_compiler():
    if cuda.compiler() is None:
        pytest.skip("no C++ compiler: CUDA text was not run on the host")


def parts(answer):
    return answer if isinstance(answer, tuple) else (answer,)


def equal(a, b):
    return len(parts(a)) == len(parts(b)) and all(
        u.shape == v.shape and np.allclose(u, v, rtol=1e-6, atol=1e-9, equal_nan=True)
        for u, v in zip(parts(a), parts(b)))


def closer(a, b):
    """Too alike for a version, or for a mistake: 1e-12 too much is another version than 1e-10."""
    return len(parts(a)) == len(parts(b)) and all(
        u.shape == v.shape and np.allclose(u, v, rtol=1e-14, atol=0, equal_nan=True)
        for u, v in zip(parts(a), parts(b)))


def image(rows):
    return np.array(rows, float)[None, None]


# ---- the lectures' numbers -----------------------------------------------------------------------

GT_X = image([[120, 150, 120], [100, 50, 110], [25, 25, 10]])
GT_K = image([[1, -1], [2, -2]])


def test_georgia_tech_transposed_convolution():
    y = conv_transpose2d(GT_X, GT_K, np.zeros(1), 1, 0, 0)
    assert np.array_equal(y, image([[120, 30, -30, -120], [340, 10, 0, -350],
                                    [225, -100, 105, -230], [50, 0, -30, -20]]))


def test_georgia_tech_first_two_stamps():
    two = GT_X * image([[1, 1, 0], [0, 0, 0], [0, 0, 0]])
    y = conv_transpose2d(two, GT_K, np.zeros(1), 1, 0, 0)
    assert np.array_equal(y[0, 0, :2], [[120, -120 + 150, -150, 0], [240, -240 + 300, -300, 0]])


def test_georgia_tech_unpooling_sums():
    values, places = image([[300, 450], [100, 250]]), np.array([[[[1, 1], [3, 5]]]])
    y = max_unpool2d(values, places, (3, 3))
    assert np.array_equal(y, image([[0, 750, 0], [100, 0, 250], [0, 0, 0]]))


def test_washington_convolution_in_one_dimension():
    x, y, z, a, b, c, d = 1, 2, 3, 4, 5, 6, 7
    kernel = image([[0, 0, 0], [x, y, z], [0, 0, 0]])           # padding 1 adds rows too
    got = conv2d(image([[a, b, c, d]]), kernel, np.zeros(1), 2, 1)
    assert np.array_equal(got, image([[a * y + b * z, b * x + c * y + d * z]]))
    gx, gweight, _ = conv2d_backward(image([[1, 10]]), image([[a, b, c, d]]), kernel, np.zeros(1),
                                     2, 1)
    assert np.array_equal(gx, image([[2, 13, 20, 30]]))
    assert np.array_equal(gweight[0, 0, 1], [50, 64, 75])


def test_washington_transposed_convolution_in_one_dimension():
    x, y, z, a, b = 1, 2, 3, 4, 5
    got = conv_transpose2d(image([[a, b]]), image([[x, y, z]]), np.zeros(1), 2, 0, 1)
    assert np.array_equal(got[0, 0, 0], [a * x, a * y, a * z + b * x, b * y, b * z, 0])


def test_box_iou_by_hand():
    others = np.array([[2.0, 1, 5, 7], [1, 1, 1, 1], [9, 9, 0, 0]])
    got = box_iou(np.array([[0.0, 0, 4, 3]]), others)
    assert np.allclose(got, [[4 / 26, 0, 0]])
    empty = np.ones((2, 4))
    assert np.array_equal(box_iou(empty, empty), np.zeros((2, 2)))


def test_nms_by_hand():
    boxes = np.array([[0.0, 0, 4, 4], [0, 0, 4, 3], [6, 6, 8, 9]])
    keep = nms(boxes, np.array([0.6, 0.9, 0.3]), 0.5)
    assert keep.dtype == np.int64 and keep.tolist() == [1, 2]
    assert nms(boxes, np.array([0.6, 0.9, 0.3]), 0.75).tolist() == [1, 0, 2]     # exactly: stays
    assert nms(boxes, np.zeros(3), 0.5).tolist() == [0, 2]
    assert nms(np.zeros((0, 4)), np.zeros(0), 0.5).shape == (0,)


def test_roi_align_by_hand():
    x, boxes = image([[1, 3], [2, 8]]), np.array([[0.0, 0, 0, 2, 2]])
    assert np.array_equal(roi_align(x, boxes, (1, 2), 1.0, 1, True), image([[1.5, 5.5]]))


# ---- independent references ----------------------------------------------------------------------

SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name, call", [
    ("conv2d", lambda f, x, w, b, s, p: f.conv2d(x, w, b, s, p)),
    ("conv_transpose2d", lambda f, x, w, b, s, p, o: f.conv_transpose2d(x, w, b, s, p, o))])
def test_convolutions_equal_torch(name, call, seed):
    torch = pytest.importorskip("torch")
    forward, backward = load(name).functions.values()
    for case in cases_of(name, f"{name}_backward", seed):
        g, *args = (torch.tensor(a) if isinstance(a, np.ndarray) else a for a in case.args)
        leaves = [a.requires_grad_() for a in args[:3]]
        y = call(torch.nn.functional, *leaves, *args[3:])
        assert np.allclose(forward(*case.args[1:]), y.detach().numpy())
        for mine, theirs in zip(backward(*case.args), torch.autograd.grad(y, leaves, g)):
            assert np.allclose(mine, theirs.numpy())


def iou_of_two(p, q):
    """The definition, on numbers."""
    def area(x0, y0, x1, y1):
        return (x1 - x0) * (y1 - y0) if x1 > x0 and y1 > y0 else 0.0
    both = area(max(p[0], q[0]), max(p[1], q[1]), min(p[2], q[2]), min(p[3], q[3]))
    union = area(*p) + area(*q) - both
    return both / union if union else 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_box_iou_equals_the_definition(seed):
    for case in cases_of("box_iou", "box_iou", seed):
        first, second = case.args
        assert np.allclose(box_iou(first, second), [[iou_of_two(p, q) for q in second]
                                                    for p in first])


@pytest.mark.parametrize("seed", range(10))
def test_nms_equals_the_definition(seed):
    for case in cases_of("nms", "nms", seed):
        boxes, scores, threshold = case.args
        keep = []
        for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
            if all(iou_of_two(boxes[i], boxes[j]) <= threshold for j in keep):
                keep.append(i)
        assert nms(*case.args).tolist() == keep


def bilinear(plane, y, x):
    """torchvision's bilinear_interpolate, line by line."""
    H, W = plane.shape
    if y < -1.0 or y > H or x < -1.0 or x > W:
        return 0.0
    y, x = max(y, 0.0), max(x, 0.0)
    low_y, low_x = int(y), int(x)
    high_y, high_x = low_y + 1, low_x + 1
    if low_y >= H - 1:
        high_y = low_y = H - 1
        y = float(low_y)
    if low_x >= W - 1:
        high_x = low_x = W - 1
        x = float(low_x)
    ly, lx = y - low_y, x - low_x
    return ((1 - ly) * (1 - lx) * plane[low_y, low_x] + (1 - ly) * lx * plane[low_y, high_x]
            + ly * (1 - lx) * plane[high_y, low_x] + ly * lx * plane[high_y, high_x])


def torchvision_roi_align(x, boxes, output_size, scale, samples, aligned):
    """torchvision's roi_align_forward_kernel_impl, line by line."""
    PH, PW = output_size
    out = np.zeros((len(boxes), x.shape[1], PH, PW))
    for k, c, ph, pw in np.ndindex(out.shape):
        offset = 0.5 if aligned else 0.0
        x0, y0, x1, y1 = (v * scale - offset for v in boxes[k, 1:])
        width, height = x1 - x0, y1 - y0
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        bin_h, bin_w = height / PH, width / PW
        for iy, ix in np.ndindex(samples, samples):
            out[k, c, ph, pw] += bilinear(x[int(boxes[k, 0]), c],
                                          y0 + ph * bin_h + (iy + 0.5) * bin_h / samples,
                                          x0 + pw * bin_w + (ix + 0.5) * bin_w / samples)
    return out / samples ** 2


@pytest.mark.parametrize("seed", SEEDS)
def test_roi_align_equals_torchvision(seed):
    for case in cases_of("roi_align", "roi_align", seed):
        assert np.allclose(roi_align(*case.args), torchvision_roi_align(*case.args))


@pytest.mark.parametrize("aligned", (False, True))
def test_roi_align_on_the_limits(aligned):
    rng = np.random.default_rng(3)
    x, boxes = rng.standard_normal((1, 2, 5, 4)), []
    for x0, y0, x1, y1 in itertools.product((-2, -1, 0, 4), (-2, -1, 5), (-1, 0, 4, 5, 6), (0, 6)):
        boxes.append((0, x0, y0, x1, y1))
    args = np.array(boxes, float), (2, 4), 1.0, 1, aligned
    assert np.allclose(roi_align(x, *args), torchvision_roi_align(x, *args))


@pytest.mark.parametrize("seed", SEEDS)
def test_max_unpool_equals_scattered_sums(seed):
    for case in cases_of("max_unpool2d", "max_unpool2d", seed):
        x, indices, (H, W) = case.args
        one_hot = indices.reshape(*indices.shape[:2], -1, 1) == np.arange(H * W)
        want = np.einsum("nck,nckp->ncp", x.reshape(*x.shape[:2], -1), one_hot)
        assert np.allclose(max_unpool2d(*case.args), want.reshape(*x.shape[:2], H, W))


# ---- adjoints: <A x, g> = <x, A* g> --------------------------------------------------------------

def inner(a, b):
    return float((a * b).sum())


@pytest.mark.parametrize("forward, backward", [(conv2d, conv2d_backward),
                                               (conv_transpose2d, conv_transpose2d_backward)])
def test_convolutions_adjoint(forward, backward):
    for case in cases_of(forward.__name__, backward.__name__, 5):
        g, x, weight, bias, *how = case.args
        gx, gweight, gbias = backward(*case.args)
        form = inner(forward(x, weight, 0 * bias, *how), g)
        assert np.isclose(form, inner(x, gx)) and np.isclose(form, inner(weight, gweight))
        assert np.isclose(inner(forward(0 * x, weight, bias, *how), g), inner(bias, gbias))


def test_max_unpool_adjoint():
    for case in cases_of("max_unpool2d", "max_unpool2d_backward", 5):
        g, indices = case.args
        x = np.random.default_rng(1).standard_normal(indices.shape)
        assert np.isclose(inner(max_unpool2d(x, indices, g.shape[2:]), g),
                          inner(x, max_unpool2d_backward(g, indices)))


def test_roi_align_adjoint():
    for case in cases_of("roi_align", "roi_align_backward", 5):
        g, boxes, shape, *how = case.args
        x = np.random.default_rng(1).standard_normal(shape)
        assert np.isclose(inner(roi_align(x, boxes, *how), g),
                          inner(x, roi_align_backward(*case.args)))


# ---- cases and mistakes --------------------------------------------------------------------------

def shape_of(value):
    return (value.shape, value.dtype) if isinstance(value, np.ndarray) else value


@every
def test_cases_have_the_same_form_for_every_generator(name):
    exercise = load(name)
    forms = [[(c.function, c.name, c.points, [shape_of(a) for a in c.args])
              for c in exercise.cases(np.random.default_rng(seed))] for seed in (0, 1, 99)]
    assert forms[0] == forms[1] == forms[2]
    assert exercise.points == 10 and 6 <= len(forms[0]) <= 14 * len(exercise.functions)
    assert len({form[1] for form in forms[0]}) == len(forms[0])
    assert {form[0] for form in forms[0]} == set(exercise.functions)


@every
def test_the_numbers_change_with_the_generator(name):
    one, two = (load(name).cases(np.random.default_rng(seed)) for seed in (0, 1))
    again = load(name).cases(np.random.default_rng(0))
    def bytes_of(cases):
        return [[a.tobytes() for a in c.args if isinstance(a, np.ndarray)] for c in cases]
    assert bytes_of(one) == bytes_of(again) != bytes_of(two)


@pytest.mark.parametrize("name", ("conv2d", "conv_transpose2d"))
def test_sizes_are_pairwise_different(name):
    for case in load(name).cases(np.random.default_rng(0)):
        x, weight = case.args[1:3] if case.function.endswith("backward") else case.args[:2]
        if x.shape[1] > 1:
            sizes = {*x.shape, *weight.shape}
            assert len(sizes) == 7, case.name


@every
def test_solutions_do_not_change_their_arguments(name):
    exercise = load(name)
    one, two = (exercise.cases(np.random.default_rng(0)) for _ in range(2))
    for case, kept in zip(one, two):
        exercise.answer(case)
        assert all(np.array_equal(a, b) for a, b in zip(case.args, kept.args))


@every
@pytest.mark.parametrize("seed", range(5))
def test_mistakes_are_caught_and_told_apart(name, seed):
    exercise = load(name)
    cases = exercise.cases(np.random.default_rng(seed))
    for function, solution in exercise.functions.items():
        mine = [case for case in cases if case.function == function]
        bank = [("right", solution)]
        bank += [(m.name, m.implementation) for m in exercise.mistakes if m.function == function]
        answers = [(who, [exercise.answer(case, f) for case in mine]) for who, f in bank]
        for (one, first), (two, second) in itertools.combinations(answers, 2):
            alike = closer if one == two or one == "right" else equal
            assert not all(map(alike, first, second)), f"{one} and {two} answer alike"


@every
def test_mistakes_are_well_formed(name):
    mistakes = load(name).mistakes
    assert len(mistakes) >= 5
    assert len({(m.function, m.name, m.hint) for m in mistakes}) == len(
        {(m.function, m.name) for m in mistakes})
    assert all(m.hint.endswith((".", "?", ")")) and m.function in load(name).functions
               for m in mistakes)


# ---- error bounds --------------------------------------------------------------------------------

def in_float32(exercise):
    """The solution, computing in float32 throughout."""
    if exercise.texts:
        needs_compiler()
    text = solution_text(exercise).replace("np.zeros(", "zeros32(").replace("np.empty(", "zeros32(")
    text = text.replace("np.zeros_like(", "zeros32_like(")
    scope = {"zeros32": lambda shape, dtype=np.float32: np.zeros(shape, dtype),
             "zeros32_like": lambda a: np.zeros(a.shape, np.float32)}
    exec(text, scope)
    return scope


def narrow(value):
    wide = isinstance(value, np.ndarray) and value.dtype == np.float64
    return value.astype(np.float32) if wide else value


def bounds(exercise, case, count):
    """magnitude * gamma_n for each part; four more roundings: the inputs, the bias, the store."""
    magnitude = exercise.magnitude[case.function](*case.args)
    terms = exercise.terms[case.function](*case.args)
    for i in range(count):
        nu = ((terms[i] if isinstance(terms, tuple) else terms) + 4) * 2.0 ** -24
        scale = magnitude[i] if isinstance(magnitude, tuple) else magnitude
        yield None if scale is None else scale * nu / (1 - nu)          # None: compared exactly


@every
@pytest.mark.parametrize("seed", range(5))
def test_float32_lies_within_the_bound_and_an_error_of_a_thousandth_outside(name, seed):
    exercise = load(name)
    functions = in_float32(exercise)
    for case in exercise.cases(np.random.default_rng(seed)):
        right = parts(exercise.answer(case))
        narrowed = replace(case, args=tuple(map(narrow, case.args)))
        got = parts(exercise.answer(narrowed, functions[case.function]))
        if case.function not in exercise.magnitude:
            assert all(map(np.array_equal, right, got))
            continue
        for want, have, bound in zip(right, got, bounds(exercise, case, len(right))):
            if bound is None:
                assert np.array_equal(have, want), case.name
                continue
            assert have.dtype == np.float32, case.name
            assert (np.abs(have - want) <= bound).all(), case.name
            wrong = want * (1 + 1e-3)
            assert not want.any() or (np.abs(wrong - want) > 2 * bound).any(), case.name


# ---- what the student gets -----------------------------------------------------------------------

def bodies(name):
    """The lines that stand between the markers in an exercise's file."""
    inside = []
    for block in open(sys.modules[f"tinyvision.exercises.{name}"].__file__).read().split(
            "### BEGIN SOLUTION\n")[1:]:
        inside += block.split("### END SOLUTION")[0].splitlines()
    return {line.strip() for line in inside if len(line.strip()) > 24}


@every
def test_stub_holds_no_solution(name):
    exercise = load(name)
    text = stub(exercise)
    assert text.splitlines()[0] == f"# tinyvision exercise: {name}"
    assert f"tinyvision check {name}.py" in text and exercise.__class__.__name__ not in text
    assert not [line for line in bodies(name) if line in text]
    assert "SOLUTION" not in text and max(map(len, text.splitlines())) <= 100
    scope = {}
    exec(text, scope)
    for function in exercise.functions:
        first = cases_of(name, function)[0]
        if function in exercise.texts:
            needs_compiler()
            assert not equal(exercise.answer(first, scope[function]), exercise.answer(first))
            continue
        assert scope[function].__doc__ == exercise.functions[function].__doc__
        with pytest.raises(NotImplementedError, match="write me"):
            exercise.answer(first, scope[function])


@every
def test_solution_text_is_the_solution(name):
    exercise, scope = load(name), {}
    if exercise.texts:
        needs_compiler()
    text = solution_text(exercise)
    assert "SOLUTION" not in text and "Mistake" not in text
    exec(text, scope)
    for case in exercise.cases(np.random.default_rng(2)):
        assert equal(exercise.answer(case, scope[case.function]), exercise.answer(case))


@every
def test_notebook_is_valid(name):
    text, exercise = notebook_text(load(name)), load(name)
    book = json.loads(text)
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.reads(text, as_version=4))
    assert book["metadata"]["tinyvision"] == {"exercise": name}
    code = ["".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code"]
    assert len(code) == 2 + len(exercise.functions) and code[-1].endswith("check()")
    for source in code[:-1]:
        ast.parse(source)
    assert not [line for line in bodies(name) if line in "\n".join(code)]
    assert "$$" in "".join(book["cells"][0]["source"])


@every
def test_markdown_takes_no_asterisk_for_emphasis(name):
    """`4*2 + 5*3` is shown as "42 + 53", unless it is code or mathematics."""
    text = "".join(json.loads(notebook_text(load(name)))["cells"][0]["source"])
    prose = re.sub(r"(?ms)^ {4}.*?$|^```.*?^```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`", "", text)
    assert "**By hand" in prose and not re.findall(r".*[\w)\]]\*+[\w(\[].*", prose)


@pytest.mark.parametrize("notebook, ending", [(False, "py"), (True, "ipynb")])
def test_start_writes_a_file_once(tmp_path, notebook, ending):
    path = start("nms", tmp_path / "new", notebook)
    assert path == tmp_path / "new" / f"nms.{ending}" and [*path.parent.iterdir()] == [path]
    before = path.read_bytes()
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        start("nms", tmp_path / "new", notebook)
    assert path.read_text() == "mine"
    assert start("nms", tmp_path / "new", notebook, force=True).read_bytes() == before


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'roi_align'.* 'tinyvision exercises' lists"):
        load("RoIAlign")


def test_commands(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    args = parser.parse_args(["start", "conv2d", "-o", str(tmp_path)])
    assert args.run(args) == 0 and (tmp_path / "conv2d.py").exists()
    args = parser.parse_args(["exercises"])
    assert args.run(args) == 0
    assert capsys.readouterr().out.endswith(table() + "\n")
    assert all(line.split()[0] in names() for line in table().splitlines()[1:])
    assert max(map(len, table().splitlines())) <= 140


def test_the_package_imports_no_exercise():
    code = ("import sys, tinyvision.exercises as e; "
            "sys.exit(any(f'tinyvision.exercises.{n}' in sys.modules for n in e.names()))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert exercises.names() == names()
