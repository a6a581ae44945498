"""tinyvision bench: what it counts; its checks can fail; its verdicts follow the times."""
import dataclasses
import json
import sys
import time

import numpy as np
import pytest

from tinyvision import cli
from tinyvision.bench import (apart, cases, commands, ladder, machine, memory, peers, random_shapes,
                              report, roofline, timing, train)
from tinyvision.bench.cases.activation import ReLU
from tinyvision.bench.cases.convolution import Conv2d, ConvTranspose2d
from tinyvision.kernel import KERNELS

MACHINE = machine.Machine("a machine", 2, peak=1e11, bandwidth=1e10)
SHORT = ladder.Options(runs=2, rounds=2, seconds=0.001, small=2e3, beside=())
TINY = Conv2d(2, 3, 9, 7, 5, (3, 2), (2, 1), (1, 0), goal=1.0)


@pytest.fixture(autouse=True)
def quick_machine(monkeypatch):
    """Peaks are not measured again, and nobody sleeps, in every test."""
    monkeypatch.setattr(machine, "measure", lambda *arguments: MACHINE)
    monkeypatch.setattr(timing, "GAP", 0.0)


@pytest.fixture
def numpy_as_peer(monkeypatch):
    """A peer that is always installed."""
    class NumPy(peers.Peer):
        name, label, module = "numpy", "NumPy", "numpy"

        def numpy(self, result):
            return result
    monkeypatch.setitem(peers.PEERS, "numpy", NumPy())


class Relu(ReLU):
    """relu beside NumPy, which is what the goal speaks of."""
    against = "numpy"

    def numpy(self, x, g=None):
        return None if g is not None else lambda: np.maximum(x, 0)


# --- timing ---------------------------------------------------------------------------------------
class Clock:
    """Time that passes by sleeping only."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_the_slower_contender_takes_longer(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    fast, slow = (timing.Contender(name, lambda s=s: clock.sleep(s))
                  for name, s in (("fast", 1e-3), ("slow", 4e-3)))
    runs = [timing.race([fast, slow], rounds=3, seconds=0.005) for _ in range(2)]
    assert runs[0]["slow"] == pytest.approx([4e-3] * 3)
    ratio = timing.ratios(*([run[name] for run in runs] for name in ("slow", "fast")))
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((4, 4, 4))


def test_ratios_are_taken_round_by_round():
    ratio = timing.ratios([[1.0, 2.0, 30.0], [8.0, 4.0, 6.0]], [[1.0, 1.0, 10.0], [2.0, 2.0, 2.0]])
    assert ratio == timing.Spread(median=2.5, low=2.0, high=3.0)


def test_what_holds_around_a_contender_is_entered_outside_of_the_clock():
    class Around:
        def __enter__(self):
            time.sleep(0.02)

        def __exit__(self, *error):
            pass
    contender = timing.Contender("one", lambda: None, Around)
    assert timing.block(contender, 0.001) < 1e-3


# --- counting -------------------------------------------------------------------------------------
def test_a_convolutions_operations_and_bytes_by_hand():
    case = Conv2d(2, 4, 10, 8, 6, (3, 2), (2, 1), (1, 0), groups=2)
    assert case.shapes == ((2, 4, 10, 8), (6, 2, 3, 2), (2, 6, 5, 7))
    assert case.operations == 2 * (2 * 6 * 5 * 7) * (2 * 3 * 2)
    assert case.moved == 4 * (2 * 4 * 80 + 6 * 12 + 2 * 6 * 35)
    assert ConvTranspose2d(2, 4, 5, 7, 6, (3, 2), (2, 1)).shapes[2] == (2, 6, 11, 8)


def test_the_floor_is_the_larger_of_computing_and_moving():
    assert MACHINE.floor(1e11, 1e9) == 1.0
    assert MACHINE.floor(1e9, 1e10) == 1.0


@pytest.mark.parametrize("case", cases.every(), ids=str)
def test_every_row_shrinks_and_counts(case):
    small = case.smaller(1e5)
    assert 0 < small.operations <= max(1e5, case.operations / 2) or small == case
    assert case.moved > 0 and case.size and (case.goal is None or case.goal > 0)


def first_rows():
    """One row of every operation and part."""
    return {(case.operation, case.part): case for case in reversed(cases.every())}.values()


@pytest.mark.parametrize("case", first_rows(), ids=str)
def test_every_row_passes_its_own_check(case):
    small = case.smaller(2e3)
    stage, result = ladder.Stage(small, SHORT), ladder.Result(small, MACHINE)
    here, _ = peers.of(small, ladder.Options(beside=("torch", "channels_last", "fused")))
    beside = [peers.contender(peer.name, small, stage.arrays, "cpu") for peer in here]
    assert all(stage.passes(c, result) for c in [stage.ours("cpu"), *beside]), result.failed


# --- checks that can fail -------------------------------------------------------------------------
def test_the_ladder_of_a_tiny_convolution():
    result = ladder.climb(TINY, MACHINE, SHORT)
    names = [m.name for m in result.rungs]
    assert names[0] == "reference" and names[-1] == "cpu" and {"cpu_loops", "cpu_gemm"} < set(names)
    assert not result.failed and result.fast.name == "cpu"
    assert all(m.error < 1e-5 and m.seconds > 0 for m in result.rungs)
    assert [len(run) for run in result.fast.times] == [2, 2]


@pytest.mark.parametrize("stride, applies", [((1, 1), True), ((2, 1), False)])
def test_a_rung_that_does_not_apply_is_left_out(stride, applies):
    case = Conv2d(2, 3, 9, 7, 5, (3, 3), stride, (1, 1))
    names = [m.name for m in ladder.climb(case, MACHINE, SHORT).rungs]
    assert ("cpu_winograd" in names) == applies and names[-1] == "cpu"


def wrong(kernel, how):
    """The kernel's `cpu` variant with its result changed."""
    right = kernel.variants["cpu"]

    def variant(*arguments):
        right(*arguments)
        how(arguments[-1])
    return variant


def off_by_little(out):
    out.flat[-1] += 1e-2


def not_a_number(out):
    out.flat[0] = np.nan


@pytest.mark.parametrize("how", [off_by_little, not_a_number])
def test_a_wrong_kernel_is_caught_and_not_timed(monkeypatch, how, capsys):
    kernel = KERNELS["conv2d_kernel"]
    monkeypatch.setitem(kernel.variants, "cpu", wrong(kernel, how))
    result = ladder.climb(TINY, MACHINE, SHORT)
    assert result.fast is None and result.get("cpu_loops")
    assert "cpu is wrong" in result.failed[0] and "conv2d forward" in result.failed[0]
    assert "✗ conv2d" in report.summary(result) and "✗ conv2d" in report.ladder(result)
    monkeypatch.setattr(cases, "every", lambda: [TINY])
    assert cli.main(["bench", "conv2d", "--quick"]) == 1


def test_a_slow_kernel_does_not_meet_its_goal(monkeypatch, numpy_as_peer):
    case, options = Relu(4000, (4000,), goal=50.0), ladder.Options(runs=2, rounds=2, seconds=0.002,
                                                                   all_rungs=False)
    assert ladder.climb(case, MACHINE, options).met("numpy") is True
    monkeypatch.setattr(Relu, "ours", lambda self, x, g=None: lambda: slow_relu(x))
    result = ladder.climb(case, MACHINE, options)
    assert result.met("numpy") is False and not result.failed
    assert "✗" in report.summary(result)
    assert "0 of 1 goals" in report.tally([result])
    assert "not met: relu forward (4000)" in report.tally([result])


def slow_relu(x):
    time.sleep(0.005)
    return np.maximum(x, 0)


def test_a_peer_that_computes_something_else_fails_too(monkeypatch, numpy_as_peer):
    monkeypatch.setattr(Relu, "numpy", lambda self, x, g=None: lambda: np.maximum(x, 0.1))
    result = ladder.climb(Relu(400, (400,)), MACHINE, ladder.Options(all_rungs=False))
    assert "NumPy is wrong" in result.failed[0]


@pytest.mark.parametrize("got, expected, far", [
    ([1.0, 2.0], [1.0, 2.0], 0.0), ([1.0, 2.2], [1.0, 2.0], 0.1), ([np.nan, 1.0], [np.nan, 1.0], 0),
    ([np.inf, 1.0], [np.inf, 1.0], 0.0), ([np.nan, 1.0], [1.0, 1.0], np.inf),
    ([np.inf, 1.0], [-np.inf, 1.0], np.inf), ([1.0], [1.0, 1.0], np.inf)])
def test_distance(got, expected, far):
    assert ladder.distance([np.array(got)], [np.array(expected)]) == pytest.approx(far)


def test_whole_numbers_must_be_equal():
    assert ladder.distance([np.array([3, 4])], [np.array([3, 5])]) == np.inf


def remote(value):
    return None if value is None else timing.Contender("one", lambda: np.full(2, value))


def test_a_process_apart_passes_on_results_and_errors():
    there = apart.Process("a test")
    one = there.contender("one", remote, 2.0)
    assert one.arrays()[0].tolist() == [2.0, 2.0] and one.block(0.001) > 0
    assert there.contender("none", remote, None) is None
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        there.ask("call", "", divmod, 1, 0)
    with pytest.raises(RuntimeError, match="a test has died"):
        there.ask("call", "", sys.exit, 1)


# --- memory ---------------------------------------------------------------------------------------
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the high-water mark")
def test_extra_memory_is_what_a_call_needs_beyond_what_was_there():
    found = memory.extra(timing.Contender("one", lambda: np.ones(5_000_000)))
    if found is None:
        pytest.skip("this system does not let a process start its high-water mark over")
    assert 38e6 < found < 60e6


# --- the command ----------------------------------------------------------------------------------
@pytest.fixture
def small_tables(monkeypatch, numpy_as_peer):
    monkeypatch.setattr(cases, "every", lambda: [
        Relu(3000, (3000,), goal=100.0), Relu(4000, (50, 80), part="input gradient")])
    monkeypatch.delattr(Relu.__bases__[0], "torch")


def test_json_holds_what_the_table_shows(small_tables, tmp_path, capsys):
    file = tmp_path / "figures.json"
    assert cli.main(["bench", "--quick", "--json", str(file)]) == 0
    text = capsys.readouterr().out
    found = json.loads(file.read_text())
    assert [p.name for p in tmp_path.iterdir()] == ["figures.json"]
    assert found["machine"]["peak"] == MACHINE.peak and "--quick" in found["command"]
    forward, gradient = found["results"]
    assert (forward["operation"], forward["size"], forward["goal"]) == ("relu", "(3000)", 100.0)
    assert forward["met"] is True and gradient["met"] is None
    assert {rung["name"] for rung in forward["rungs"]} == {"cpu", "numpy"}
    assert forward["ratios"]["numpy"]["median"] > 0
    assert "relu forward (3000)" in text and "1 of 1 goals are met" in text


def test_the_picture_has_a_mark_for_every_rung(small_tables, tmp_path):
    file = tmp_path / "roof.png"
    assert cli.main(["bench", "relu", "--quick", "--picture", str(file)]) == 0
    assert file.read_bytes()[:4] == b"\x89PNG"
    result = ladder.climb(TINY, MACHINE, SHORT)
    axes, = roofline.picture([result]).axes
    labels = {line.get_label() for line in axes.lines}
    assert {m.label for m in result.rungs} <= labels and axes.get_title() == "conv2d, forward"


@pytest.mark.parametrize("words, hint", [
    (["conv3d"], "conv2d"), (["relu", "--random", "3"], "--random"),
    (["--random", "0"], "--random"),
    (["relu", "--runs", "0"], "at least 1"), (["train", "conv2d"], "alone"),
    (["relu", "--json", "no/such/folder/f.json"], "no such folder"),
    (["relu", "--threads", "100000"], "cores")])
def test_mistakes_of_use_are_one_sentence(words, hint, capsys):
    assert cli.main(["bench", *words]) == 2
    message = capsys.readouterr().err.strip()
    assert hint in message and "\n" not in message


def test_the_command_line_is_rebuilt_from_the_options(monkeypatch):
    line, seen = ["bench", "conv2d", "--random", "4", "--seed", "7", "--threads", "1", "--runs", "2",
                  "--device", "cpu", "--quick"], []

    def check(options):
        seen.append(commands.words(options))
        raise ValueError("that is enough")
    monkeypatch.setattr(commands, "_check", check)
    assert cli.main(line) == 2 and seen == [line]


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(TypeError):
        report.write_json(tmp_path / "f.json", {"a set": {1}})
    with pytest.raises(ValueError, match="--picture"):
        report.write_picture(tmp_path / "f.docx", roofline.Picture())
    assert not list(tmp_path.iterdir())


# --- random sizes ---------------------------------------------------------------------------------
def test_random_sizes_are_varied_and_the_same_for_a_seed():
    shapes = random_shapes.shapes(40, seed=3)
    assert shapes == random_shapes.shapes(40, seed=3) != random_shapes.shapes(40, seed=4)
    for case in shapes:
        assert min(case.shapes[2]) >= 1 and case.operations <= random_shapes.OPERATIONS
        assert case.C % case.groups == 0 and case.O % case.groups == 0
    assert any(case.groups > 1 for case in shapes) and any(case.C < 8 for case in shapes)


def test_random_sizes_run_and_a_slow_one_fails(monkeypatch, numpy_as_peer):
    monkeypatch.setattr(random_shapes, "shapes", lambda count, seed: [TINY])
    results = random_shapes.run(1, 0, MACHINE, SHORT, show=lambda line: None)
    assert [r.case.part for r in results] == ["forward", "input gradient", "weight gradient"]
    assert not any(r.failed for r in results)
    slow = ladder.Result(random_shapes.replace(TINY, goal=1.5), MACHINE, rungs=[
        ladder.Measured("cpu", "cpu", times=[[1.6, 1.6]]),
        ladder.Measured("torch", "PyTorch", peer=True, times=[[1.0, 1.0]])])
    text, fine = random_shapes.verdict([slow])
    assert not fine and "1.60  too slow" in text and "1 slower than 1.5" in text


# --- training -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, size", [("segnet", 16), ("resnet", 16), ("unet", 16),
                                        ("retinanet", 64), ("mask_rcnn", 64)])
def test_training_of_both_sides_is_the_same(name, size):
    pytest.importorskip("torch")
    task = dataclasses.replace(train.TASKS[name], title="tiny", batch=(2, 3, size, size),
                               goals={"torch": 1e9})
    result = train.measure(task, SHORT, fresh=False)
    assert not result.failed and result.met("torch") is True
    assert set(result.times) == set(train.SIDES)
    text = train.table(result)
    assert "PyTorch, channels last" in text and "✓" in text
    assert json.loads(json.dumps(train.as_dict(result)))["task"] == name


def test_training_that_differs_is_noticed():
    result = train.Trained(train.TASKS["cnn"])
    train._same_losses([timing.Contender("ours", lambda: 1.0),
                        timing.Contender("torch", lambda: 1.1)], result)
    assert "not the same training" in result.failed[0]
