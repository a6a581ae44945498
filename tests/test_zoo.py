"""The zoo and `tinyvision train`: trained once, found again, whole or not there, resumed."""
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import cli, models, zoo
from tinyvision.train import (checkpoint, classifying, generating, recipe, recipes, report,
                              segmenting)
from tinyvision.train.recipe import Recipe, key, train
from tinyvision.weights import read_weights

SMALL = Recipe(
    "small", "segmentation", lambda: models.SegNet(((4, 1),)),
    {"shapes": segmenting.ShapesToSegment(24, 8, 16)}, segmenting.measure, segmenting.picture,
    segmenting.compare, "mean_iou", 0.0, minutes=1, epochs=2, batch_size=4, lr=1e-2)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A zoo of its own with one small recipe; compiled kernels stay where they are."""
    monkeypatch.setattr(zoo, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setitem(recipes.RECIPES, "small", SMALL)
    return tmp_path / "cache" / "zoo"


@pytest.fixture
def trainings(monkeypatch):
    """The recipes that were trained."""
    done = []

    def recorded(chosen, *rest):
        done.append(chosen.name)
        return train(chosen, *rest)
    monkeypatch.setattr(zoo, "train", recorded)
    return done


def state(model):
    return {k: v.tobytes() for k, v in model.state_dict().items()}


def files(cache, kind=".safetensors"):
    return [f for f in cache.iterdir() if f.suffix == kind]


def test_a_model_is_trained_once(cache, trainings):
    assert zoo.figures("small") == {}
    first = zoo.get("small", progress=False)
    again = zoo.get("small")
    assert trainings == ["small"] and state(first) == state(again)
    assert not first.training and not again.training
    assert zoo.figures("small")["score"]["mean_iou"] > 0 and zoo.figures("small")["steps"] == 12
    assert len(files(cache)) == 1 and not files(cache, ".checkpoint")


def test_fewer_epochs_for_tests_are_another_file(cache, trainings, monkeypatch):
    whole = zoo.get("small", progress=False)
    monkeypatch.setenv("TINYVISION_ZOO_EPOCHS", "1")
    assert zoo.figures("small") == {}
    short = zoo.get("small", progress=False)
    assert zoo.figures("small")["steps"] == 6 and state(short) != state(whole)
    monkeypatch.delenv("TINYVISION_ZOO_EPOCHS")
    assert state(zoo.get("small")) == state(whole) and zoo.figures("small")["steps"] == 12
    assert len(files(cache)) == 2 and trainings == ["small"] * 2
    monkeypatch.setenv("TINYVISION_ZOO_EPOCHS", "one")
    with pytest.raises(ValueError, match="TINYVISION_ZOO_EPOCHS is 'one', expected a whole number"):
        zoo.get("small")


def test_random_numbers_go_on_as_if_nothing_was(trainings):
    tv.manual_seed(3)
    expected = tv.device.generator().random(4).tolist()
    for _ in range(2):
        tv.manual_seed(3)
        zoo.get("small", progress=False)
        assert tv.device.generator().random(4).tolist() == expected


@pytest.mark.parametrize("damage", [lambda d: d[:-10], lambda d: b"", lambda d: d[:300],
                                    lambda d: d[:-9] + bytes([d[-9] ^ 16]) + d[-8:]])
def test_a_damaged_file_is_named_and_made_again(cache, trainings, damage):
    before = state(zoo.get("small", progress=False))
    file, = files(cache)
    file.write_bytes(damage(file.read_bytes()))
    assert isinstance(zoo.figures("small"), dict)
    with pytest.warns(UserWarning, match=f"{re.escape(str(file))}: .*; it is made again"):
        assert state(zoo.get("small", progress=False)) == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zoo.get("small")
    assert trainings == ["small"] * 2


def test_what_weights_depend_on_changes_the_key():
    own = key(SMALL)
    assert own == key(SMALL)
    others = [replace(SMALL, lr=2e-2), replace(SMALL, epochs=3), replace(SMALL, seed=1),
              replace(SMALL, build=lambda: models.SegNet(((5, 1),))),
              *(replace(SMALL, data={"shapes": segmenting.ShapesToSegment(*numbers)})
                for numbers in ((25, 8, 16), (24, 9, 16), (24, 8, 17), (24, 8, 16, "hard")))]
    assert len({own, *map(key, others)}) == 1 + len(others)


def test_a_killed_training_goes_on(cache, trainings, monkeypatch):
    whole = state(train(SMALL, SMALL.splits(), None, False).model)
    part = zoo.path(SMALL).with_suffix(".checkpoint")
    calls = []

    def killed(model, splits):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return segmenting.measure(model, splits)
    monkeypatch.setitem(recipes.RECIPES, "small", replace(SMALL, measure=killed))
    with pytest.raises(KeyboardInterrupt):
        zoo.get("small", progress=False)
    assert part.exists() and checkpoint.load(part)["data"]["epoch"] == 1
    assert state(zoo.get("small", progress=False)) == whole
    assert len(calls) == 3 and not part.exists()


def test_a_damaged_checkpoint_is_named_and_begun_anew(cache):
    whole = state(train(SMALL, SMALL.splits(), None, False).model)
    part = zoo.path(SMALL).with_suffix(".checkpoint")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 50)
    with pytest.warns(UserWarning, match=f"{re.escape(str(part))}: .*begun anew"):
        assert state(zoo.get("small", progress=False)) == whole


def test_an_unknown_model_is_one_sentence():
    with pytest.raises(ValueError, match="there is no recipe 'tiny_cat'; there are tiny_resnet"):
        zoo.get("tiny_cat")
    assert "tiny_segnet" in zoo.names()


# --- processes ------------------------------------------------------------------------------------
SCRIPT = """
import pathlib, sys
sys.path.insert(0, {tests!r})
from test_zoo import SMALL
from tinyvision import cli, zoo
from tinyvision.train import recipes
recipes.RECIPES["small"] = SMALL
zoo.user_cache = lambda: pathlib.Path({cache!r})
{code}
"""


def start(cache, code):
    text = SCRIPT.format(tests=os.path.dirname(__file__), cache=str(cache), code=code)
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once_train_once(tmp_path, cache):
    both = [start(tmp_path / "cache", "zoo.get('small', False)") for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("training small, once" in text for text in said) == 1
    assert state(zoo.get("small")) and len(files(cache)) == 1


def test_the_command_killed_and_started_again_leaves_the_same_numbers(tmp_path):
    code = "sys.exit(cli.main(['train', 'small', '--epochs', '12', '--quiet', '-o', {!r}]))"
    began = time.perf_counter()
    _, said = (process := start(tmp_path, code.format(str(tmp_path / "whole")))).communicate()
    assert process.returncode == 0, said
    seconds, rng = time.perf_counter() - began, random.Random(0)
    for _ in range(3):
        process = start(tmp_path, code.format(str(tmp_path / "part")))
        try:
            process.wait(seconds * rng.uniform(0.4, 0.9))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
    _, said = (process := start(tmp_path, code.format(str(tmp_path / "part")))).communicate()
    assert process.returncode == 0, said
    whole, part = (read_weights(tmp_path / name / "weights.safetensors")
                   for name in ("whole", "part"))
    assert all(np.array_equal(whole[k], part[k]) for k in whole)
    losses = [json.loads((tmp_path / name / "figures.json").read_text())["losses"]
              for name in ("whole", "part")]
    assert losses[0] == losses[1]


# --- the command ----------------------------------------------------------------------------------
def test_the_command_leaves_pictures_figures_and_weights(tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["train", "small", "--data", "shapes", "--quiet", "--out", str(out)]) == 0
    assert "mean_iou" in capsys.readouterr().out
    assert {f.name for f in out.iterdir()} == {"answers.png", "checkpoint", "curves.png",
                                               "figures.json", "plan.json", "weights.safetensors"}
    figures = json.loads((out / "figures.json").read_text())
    assert figures["score"] == figures["metrics"]["mean_iou"][-1]
    assert len(figures["losses"]["cross_entropy"]) == figures["steps"] == 12
    assert figures["command"].startswith("tinyvision ") and figures["seconds"] >= 0
    before = (out / "weights.safetensors").read_bytes()
    assert cli.main(["train", "small", "--quiet", "--out", str(out)]) == 0      # nothing left to do
    assert (out / "weights.safetensors").read_bytes() == before


def test_a_folder_of_another_training_is_refused(tmp_path, capsys):
    out = ["--quiet", "--out", str(tmp_path / "out")]
    assert cli.main(["train", "small", "--epochs", "1", *out]) == 0
    assert cli.main(["train", "small", "--epochs", "2", *out]) == 2
    said = capsys.readouterr().err.strip()
    assert "out: holds another training (epochs 1, not 2)" in said and "\n" not in said
    assert cli.main(["train", "small", "--epochs", "2", "--restart", *out]) == 0


@pytest.mark.parametrize("arguments, words", [
    (["tiny_cat"], "there is no recipe 'tiny_cat'; there are tiny_resnet"),
    (["small", "--epochs", "0"], "small: epochs is at least 1, got 0"),
    (["small", "--seed", "-1"], "small: seed is at least 0, got -1"),
    (["small", "--data", "photos"], "there is no recipe for the data 'photos', only for shapes")])
def test_mistakes_of_use_are_one_sentence(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *arguments]) == 2
    said = capsys.readouterr().err.strip()
    assert words in said and "\n" not in said
    assert not list(tmp_path.iterdir())


# --- the page -------------------------------------------------------------------------------------
DOCS = pathlib.Path(__file__).parent.parent / "docs"


def test_the_page_is_what_the_generator_makes_of_the_figures(monkeypatch, capsys):
    monkeypatch.chdir(DOCS.parent)
    assert cli.main(report.COMMAND.split()[1:]) == 0
    assert capsys.readouterr().out == (DOCS / "zoo.md").read_text()


@pytest.mark.parametrize("one", recipes.ALL, ids=lambda one: one.name)
def test_the_figures_are_of_the_recipe_as_it_is_and_reached_its_floor_in_time(one):
    found = json.loads((DOCS / "zoo" / f"{one.name}.json").read_text())
    assert found["recipe"] == one.settings()
    assert found["data"] == json.loads(json.dumps({"name": "shapes", **vars(one.source())}))
    assert one.reached(found["score"]) and found["seconds"] <= 60 * one.minutes
    assert found["score"] == found["metrics"][one.headline][-1]
    assert (DOCS / "zoo" / f"{one.name}.png").stat().st_size < 100_000


def test_neighbours_in_pixels_are_a_poor_classifier():
    found = json.loads((DOCS / "zoo" / "tiny_resnet.json").read_text())
    assert found["without_network"]["nearest neighbour in pixels"] <= 0.5


@pytest.mark.parametrize("text", [None, "{", '{"score": 1}', "[]"])
def test_a_page_of_what_are_no_figures_is_refused(text, tmp_path, capsys):
    if text is not None:
        (tmp_path / "tiny.json").write_text(text)
    assert cli.main(["zoo", "--page", str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip()
    assert str(tmp_path) in said and "no figures" in said and "\n" not in said


def test_the_list_says_what_is_trained_here(monkeypatch, capsys):
    monkeypatch.setattr(report, "ALL", (SMALL,))
    cli.main(["zoo"])
    assert "not trained here yet: at most 1 minutes" in capsys.readouterr().out
    zoo.get("small", progress=False)
    cli.main(["zoo"])
    assert str(zoo.path(SMALL)) in capsys.readouterr().out


# --- the recipes ----------------------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("name", [one.name for one in recipes.ALL])
def test_it_reaches_its_floor(name, tmp_path):
    assert cli.main(["train", name, "--quiet", "--out", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert recipes.recipe(name).reached(figures["score"])


@pytest.mark.parametrize("name", [one.name for one in recipes.ALL])
def test_every_recipe_makes_a_step_a_measurement_and_a_picture(name):
    one = replace(recipes.recipe(name, epochs=1), batch_size=4)
    splits = one.splits(limit=20)
    trained = train(one, splits, progress=False)
    assert trained.history.steps == 5 and np.isfinite(trained.score[one.headline])
    assert all(np.isfinite(v) for v in one.compare(splits).values())
    assert one.picture(trained.model, splits)._repr_png_().startswith(b"\x89PNG")


def test_a_reconstruction_of_the_mean_has_a_relative_error_of_one():
    splits = recipes.recipe("tiny_vae").splits(limit=30)
    mean = generating.images_of(splits.train).mean(0)

    class Mean:
        def predict(self, images):
            return np.broadcast_to(mean, images.shape)
    assert generating.measure(Mean(), splits)["relative_error"] == pytest.approx(1, abs=1e-6)


def test_components_are_those_of_the_whole_decomposition():
    splits = recipes.recipe("tiny_vae").splits(limit=60)
    known, asked = (generating.images_of(split).reshape(60, -1) for split in splits[:2])
    mean = known.mean(0)
    axes = np.linalg.svd(known - mean)[2][:8]
    again = mean + (asked - mean) @ axes.T @ axes
    expected = ((again - asked) ** 2).sum() / ((asked - mean) ** 2).sum()
    found = generating.compare(splits, 8)["8 principal components"]
    assert found == pytest.approx(expected, rel=1e-3) and 0.05 < found < 1
    assert list(generating.compare(splits._replace(held_out=splits.train), 60).values())[0] < 1e-9


def test_the_nearest_neighbour_is_that_of_the_loops():
    splits = recipes.recipe("tiny_resnet").splits(limit=60)

    def nearest(x):
        return min(splits.train, key=lambda item: ((item[0] - x) ** 2).sum())[1]
    right = np.mean([nearest(x) == y for x, y in splits.held_out])
    assert classifying.compare(splits)["nearest neighbour in pixels"] == pytest.approx(right)


def test_the_contact_sheet_ends_with_mistakes():
    right = np.ones(40, bool)
    assert classifying.first_and_wrong(right, 6, 2) == [0, 1, 2, 3, 4, 5]
    right[4] = False
    assert classifying.first_and_wrong(right, 6, 2) == [0, 1, 2, 3, 4, 5]
    right[[2, 20, 30, 35]], right[4] = False, True
    assert classifying.first_and_wrong(right, 6, 2) == [0, 1, 2, 3, 20, 30]
    right[:] = False
    assert classifying.first_and_wrong(right, 6, 2) == [0, 1, 2, 3, 4, 5]
    assert classifying.first_and_wrong(right[:3], 6, 2) == [0, 1, 2]
