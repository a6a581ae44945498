"""fit: kill and resume to the last bit, stops that name the layer, damaged checkpoints."""
import gc
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import data, models, nn, ops, optim, train
from tinyvision.bench import memory, timing
from tinyvision.device import generator
from tinyvision.train import checkpoint


class Noisy(nn.Module):
    """Draws random numbers in every step, has running statistics and two losses."""

    def __init__(self, bad=None):
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 3)
        self.bad = bad

    def forward(self, x):
        noise = generator().standard_normal(x.shape).astype("f4") * self.training
        x = ops.mean(self.features(x + noise), (2, 3))
        return self.head(ops.log(x - 9.0) if self.bad == "head" else x)

    def loss(self, images, targets):
        scores = self(images)
        return {"class": ops.cross_entropy(scores, targets), "small": (scores ** 2).mean() * 0.1}


def parts(shuffle=True, seed=0, **options):
    tv.manual_seed(seed)
    rng = np.random.default_rng(1)
    dataset = data.TensorDataset(rng.standard_normal((22, 1, 6, 5)).astype("f4"),
                                 rng.integers(0, 3, 22))
    model = Noisy(**options)
    optimizer = optim.SGD(model.parameters(), 0.05, momentum=0.9)
    return dict(model=model, data=data.DataLoader(dataset, 4, shuffle), optimizer=optimizer,
                schedule=optim.lr_scheduler.CosineAnnealingLR(optimizer, 100))


def score(model):
    return {"size": sum(float((p.numpy() ** 2).sum()) for p in model.parameters())}


def same(a, b):
    """Whether two checkpoints hold the same, times apart."""
    a, b = checkpoint.load(a), checkpoint.load(b)
    del a["history"]["seconds"], b["history"]["seconds"]
    return repr_of(a) == repr_of(b)


def repr_of(tree):
    if isinstance(tree, dict):
        return {k: repr_of(v) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [repr_of(v) for v in tree]
    return (tree.dtype.str, tree.shape, tree.tobytes()) if isinstance(tree, np.ndarray) else tree


def test_a_model_learns_and_the_history_says_so():
    history = train.fit(**parts(), epochs=3, metric=score, progress=False)
    assert history.steps == 18 and len(history.losses["loss"]) == 18
    assert set(history.losses) == {"loss", "class", "small"} and len(history.metrics["size"]) == 3
    np.testing.assert_allclose(history.losses["loss"],
                               np.add(history.losses["class"], history.losses["small"]), rtol=1e-5)
    assert history.rates[0] == 0.05 > history.rates[-1]
    assert np.mean(history.losses["loss"][-6:]) < np.mean(history.losses["loss"][:6])


def test_same_seed_same_result_with_and_without_checkpoints(tmp_path):
    files = [tmp_path / name for name in ("a", "b")]
    train.fit(**parts(), epochs=2, checkpoint=files[0], progress=False)
    train.fit(**parts(), epochs=2, checkpoint=files[1], every=0, metric=score, progress=False)
    a, b = (checkpoint.load(file) for file in files)
    assert all(np.array_equal(a["model"][k], b["model"][k]) for k in a["model"])


@pytest.mark.parametrize("stop", [1, 3, 6, 7, 11])
def test_a_stopped_training_goes_on_to_the_same_numbers(tmp_path, stop):
    train.fit(**parts(), epochs=2, metric=score, checkpoint=tmp_path / "whole", progress=False)

    class Stop(Exception):
        pass
    some = parts()
    step, count = some["optimizer"].step, []

    def stopping():
        count.append(1)
        if len(count) > stop:
            raise Stop
        step()
    some["optimizer"].step = stopping
    with pytest.raises(Stop):
        train.fit(**some, epochs=2, metric=score, checkpoint=tmp_path / "part", every=0,
                  progress=False)
    train.fit(**parts(seed=5), epochs=2, metric=score, checkpoint=tmp_path / "part", progress=False)
    assert same(tmp_path / "whole", tmp_path / "part")


def small(loss=None):
    """A model with that loss, its loader and its optimizer."""
    class Small(nn.Linear):
        def loss(self, images, targets):
            scores = self(images)
            return {"cross_entropy": tv.ops.cross_entropy(scores, targets)} if loss is None else loss

    rng = np.random.default_rng(0)
    pairs = data.TensorDataset(rng.random((12, 4), np.float32), rng.integers(0, 3, 12))
    model = Small(4, 3)
    return model, data.DataLoader(pairs, 4, shuffle=True), optim.SGD(model.parameters(), 0.1)


def test_epochs_count_from_here_on(tmp_path):
    model, loader, optimizer = small()
    for _ in loader:                                         # somebody looked into it, and left
        break
    for epochs in (2, 2, 1):
        history = train.fit(model, loader, optimizer, epochs, progress=False)
        assert history.steps == 3 * epochs
    file = tmp_path / "checkpoint"
    assert train.fit(model, loader, optimizer, 2, checkpoint=file, progress=False).steps == 6
    assert train.fit(model, loader, optimizer, 3, checkpoint=file, progress=False).steps == 9


@pytest.mark.parametrize("epochs", [0, -1, 1.5])
def test_epochs_are_whole_and_some(epochs):
    with pytest.raises(ValueError, match="epochs is .*, expected a whole number of at least 1"):
        train.fit(*small(), epochs, progress=False)


def test_an_optimizer_of_another_model_is_refused():
    (model, loader, _), (_, _, other) = small(), small()
    with pytest.raises(ValueError, match="the optimizer has none of the model's parameters"):
        train.fit(model, loader, other, 1, progress=False)


def test_what_is_no_loader_is_refused():
    model, loader, optimizer = small()
    with pytest.raises(TypeError, match="TensorDataset, expected a DataLoader"):
        train.fit(model, loader.dataset, optimizer, 1, progress=False)


@pytest.mark.parametrize("loss, said", [
    (tv.Tensor(1.0), "loss gave Tensor, expected a dict of named losses"),
    ({}, "loss gave dict, expected a dict of named losses"),
    ({"a": tv.Tensor([1.0, 2.0])}, r"the loss 'a' is of shape \(2,\), expected a Tensor of one"),
    ({"a": np.float32(1)}, "the loss 'a' is of float32, expected a Tensor of one")])
def test_losses_of_the_wrong_kind_are_one_sentence(loss, said):
    with pytest.raises(TypeError, match=said):
        train.fit(*small(loss), 1, progress=False)


def test_a_model_without_a_loss_is_refused():
    model, loader, optimizer = small()
    with pytest.raises(TypeError, match=r"Sequential has no method loss\(images, targets\)"):
        train.fit(nn.Sequential(model), loader, optimizer, 1, progress=False)


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from test_train import parts, score
from tinyvision import train
train.fit(**parts(), epochs=40, metric=score, checkpoint={file!r}, every=0, progress=False)
"""


def run(file, seconds=None):
    """The script, killed after so many seconds; whether it came to its end."""
    text = SCRIPT.format(folder=os.path.dirname(__file__), file=str(file))
    process = subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.PIPE)
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    assert process.returncode == 0, said.decode()
    return True


def test_killed_at_any_moment_it_goes_on_to_the_same_numbers(tmp_path):
    start = time.perf_counter()
    assert run(tmp_path / "whole")
    whole, killed, rng = time.perf_counter() - start, 0, random.Random(0)
    while killed < 4 and not run(tmp_path / "part", whole * rng.uniform(0.3, 0.8)):
        killed += 1
    assert run(tmp_path / "part") and same(tmp_path / "whole", tmp_path / "part")


def test_the_process_that_compiles_and_those_after_it_agree(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYVISION_CACHE", str(tmp_path / "cache"))
    assert run(tmp_path / "compiled") and run(tmp_path / "cached")
    assert same(tmp_path / "compiled", tmp_path / "cached")


KILLS = 10


def train_command(out, name, epochs, seconds=None):
    """`tinyvision train`, killed after so many seconds; whether it was."""
    process = subprocess.Popen([sys.executable, "-m", "tinyvision", "train", name, "--quiet",
                                "--epochs", str(epochs), "--out", str(out)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    assert process.returncode == 0, said.decode()
    return False


def left(folder):
    """What a training left, to the last bit, times apart."""
    figures = json.loads((folder / "figures.json").read_text())
    return ((folder / "weights.safetensors").read_bytes(), figures["losses"], figures["metrics"])


@pytest.mark.slow
@pytest.mark.parametrize("name, epochs", [("tiny_resnet", 8), ("tiny_vae", 8)])
def test_ten_times_killed_it_ends_with_the_same_bits(tmp_path, name, epochs):
    whole, part, rng = tmp_path / "whole", tmp_path / "part", random.Random(name)
    began = time.perf_counter()
    assert not train_command(whole, name, epochs)
    seconds = json.loads((whole / "figures.json").read_text())["seconds"]
    start, done = time.perf_counter() - began - seconds, []
    while len(done) < KILLS:
        after = start * rng.uniform(0.5, 1) + seconds / epochs * rng.uniform(0, 3)
        if train_command(part, name, epochs, after):
            file = part / "checkpoint"
            done.append(checkpoint.load(file)["data"]["epoch"] if file.exists() else 0)
        else:                                                # it came to its end in between
            assert left(part) == left(whole)
            shutil.rmtree(part)
    assert not train_command(part, name, epochs) and left(part) == left(whole)
    print(f"{name}, {epochs} epochs, killed {KILLS} times, with so many epochs done: {done}")
    assert len(set(done)) > 1


# --- memory ---------------------------------------------------------------------------------------
def steps(model, dataset, count, batch_size=8):
    """So many steps of a training."""
    loader = data.DataLoader(dataset, batch_size, shuffle=True)
    optimizer = optim.AdamW(model.parameters(), 1e-3)
    train.fit(model, loader, optimizer, count // len(loader), progress=False)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak memory")
@pytest.mark.parametrize("build, size", [(models.tiny_resnet, ()), (models.tiny_unet, (32, 32))])
def test_the_peak_of_memory_does_not_grow_over_200_steps(build, size):
    """One map of the first stage is 512 kB: a single one kept per step would be 100 MB."""
    rng = np.random.default_rng(0)
    dataset = data.TensorDataset(rng.random((80, 3, 32, 32), np.float32),
                                 rng.integers(0, 6, (80, *size)))
    model = build()
    steps(model, dataset, 10)                                # kernels are compiled, buffers there
    few, many = (memory.extra(timing.Contender("", lambda: steps(model, dataset, count)))
                 for count in (10, 200))
    assert many <= few + 2 ** 23


def test_a_step_frees_its_graph_without_the_garbage_collector():
    some, alive, most = parts(), [], []

    def watch(module, inputs, y):
        most.append(sum(ref() is not None for ref in alive))
        alive.extend((weakref.ref(y), weakref.ref(y.data)))
    for module in some["model"].modules():
        module.register_forward_hook(watch)
    gc.collect()
    gc.disable()
    try:
        train.fit(**some, epochs=3, progress=False)
    finally:
        gc.enable()
    a_step = 2 * len(list(some["model"].modules()))
    assert len(alive) >= 18 * a_step and max(most) <= a_step
    assert not any(ref() is not None for ref in alive)


# --- what is not finite ---------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore:overflow")
def test_the_first_layer_whose_output_is_not_finite_is_named():
    some = parts()
    some["model"].features[1].weight.data = np.array([1, 1, np.finfo("f4").max, 1], "f4")
    some["model"].features[0].weight.data *= np.float32(1e3)
    with pytest.raises(train.NonFiniteError, match=r"step 1 of epoch 1: layer features.1 "
                       r"\(BatchNorm2d\) is the first whose output has -?inf at \(0, 2, "):
        train.fit(**some, epochs=1, progress=False)


def test_what_happens_between_layers_is_found_at_the_next_one():
    with np.errstate(all="ignore"), pytest.raises(
            train.NonFiniteError, match=r"layer head \(Linear\) was given nan at \(0, 0\), while "):
        train.fit(**parts(bad="head"), epochs=1, progress=False)


def test_parameters_that_are_not_finite_are_named():
    some = parts()
    some["model"].head.bias.data = np.array([0, np.inf, 0], "f4")
    with pytest.raises(train.NonFiniteError,
                       match=r"parameter head.bias has inf at \(1,\): a grad"):
        train.fit(**some, epochs=1, progress=False)


# --- what is wrong with the data ------------------------------------------------------------------
class Lazy:
    """The items of another data set, as if they were read from files."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, k):
        return self.dataset[k]


def bad_data(change, wrap=lambda dataset: dataset):
    """`parts` with a changed data set, and how many losses were computed."""
    some = parts()
    tensors = [t.copy() for t in some["data"].dataset.tensors]
    dataset = wrap(data.TensorDataset(*(change(*tensors) or tensors)))
    some["data"] = data.DataLoader(dataset, 4, shuffle=True)
    return some


def with_nan(images, labels):
    images[13, 0, 2, 3] = np.nan


def with_label(value):
    def change(images, labels):
        labels[13] = value
    return change


def of_another_size(images, labels):
    return [*images[:13], images[13, :, :4], *images[14:]], labels


@pytest.mark.parametrize("change, words", [
    (with_nan, r"item 13 of the data set: its image has nan at \(0, 2, 3\)"),
    (with_label(3), "item 13 of the data set: cross_entropy: target has the label 3, exp.* 0 to 2"),
    (with_label(-2), "item 13 of the data set: cross_entropy: target has the label -2"),
    (of_another_size, r"item 13 .*: its image has shape \(1, 4, 5\), that of item 0 \(1, 6, 5\)")])
def test_a_bad_item_is_named_before_the_first_step(change, words):
    some = bad_data(change)
    before, random = repr_of(some["model"].state_dict()), generator().bit_generator.state
    with pytest.raises(data.DataError, match=words):
        train.fit(**some, epochs=1, progress=False)
    assert repr_of(some["model"].state_dict()) == before and some["data"].batch == 0
    assert generator().bit_generator.state == random


@pytest.mark.parametrize("change, words", [
    (with_nan, r"step \d of epoch 1: the image of item 13 has nan at \(0, 2, 3\)"),
    (with_label(3), r"step \d of epoch 1, items .*\b13\b.*: cross_entropy: target has the label 3"),
    (of_another_size, r"batch \d, items .*\b13\b.* has shape \(1, 6, 5\)|has shape \(1, 4, 5\)")])
def test_a_bad_item_of_lazy_data_is_named_when_it_comes(change, words):
    with pytest.raises(ValueError, match=words):
        train.fit(**bad_data(change, Lazy), epochs=1, progress=False)


def test_a_part_of_a_data_set_is_looked_at_alone():
    first = bad_data(with_nan, lambda dataset: data.Subset(dataset, range(13)))
    assert train.fit(**first, epochs=1, progress=False).steps == 4
    rest = bad_data(with_nan, lambda dataset: data.Subset(dataset, range(10, 22)))
    with pytest.raises(data.DataError, match="item 3 of the data set: its image has nan"):
        train.fit(**rest, epochs=1, progress=False)


def test_ignored_labels_are_no_mistake_and_a_look_changes_no_number():
    assert train.fit(**bad_data(with_label(-1)), epochs=1, progress=False).steps == 6
    same = [train.fit(**bad_data(lambda *tensors: None, wrap), epochs=1, progress=False)
            for wrap in (Lazy, lambda dataset: dataset)]
    assert same[0].losses == same[1].losses


# --- checkpoints ----------------------------------------------------------------------------------
def test_a_tree_comes_back_as_it_was(tmp_path):
    tree = {"a": [1, 2.5, None, True, "x", (1, float("inf"))], "zero": np.array(7.0),
            3: {"b": np.arange(6).reshape(2, 3).T}, "big": 2 ** 127, "f": np.float32(2),
            "empty": np.zeros((0, 3), "f4")}
    back = checkpoint.load(checkpoint.save(tmp_path / "deep" / "t", tree))
    plain = {**tree, "f": np.array(2, "f4"), 3: {"b": tree[3]["b"].copy("C")}}
    assert repr_of(plain) == repr_of(back)
    assert isinstance(back["a"][5], tuple) and list(back) == list(tree)
    assert [f.name for f in (tmp_path / "deep").iterdir()] == ["t"]


def test_what_killed_processes_left_is_swept_away_in_time(tmp_path):
    fresh, old, other = (tmp_path / name for name in (".t.1", ".t.2", ".u.3"))
    for file in (fresh, old, other):
        file.write_bytes(b"")
    for file in (old, other):
        os.utime(file, (time.time() - 3600,) * 2)
    checkpoint.save(tmp_path / "t", {})
    assert {f.name for f in tmp_path.iterdir()} == {"t", ".t.1", ".u.3"}


def test_what_cannot_be_kept_is_refused_and_the_old_file_stays(tmp_path):
    checkpoint.save(tmp_path / "t", {"a": 1})
    with pytest.raises(TypeError, match="cannot keep a set"):
        checkpoint.save(tmp_path / "t", {"a": {1}})
    assert checkpoint.load(tmp_path / "t") == {"a": 1}


@pytest.mark.parametrize("left", [0, 3, 40, -1])
def test_a_checkpoint_cut_short_is_named(tmp_path, left):
    file = tmp_path / "cut"
    train.fit(**parts(), epochs=1, checkpoint=file, progress=False)
    file.write_bytes(file.read_bytes()[:left])
    words = f"{re.escape(str(file))}: no checkpoint, cut short"
    with pytest.raises(train.CheckpointError, match=words):
        train.fit(**parts(), epochs=1, checkpoint=file, progress=False)


@pytest.mark.parametrize("place", [0.5, 0.9])
def test_a_changed_bit_is_noticed(tmp_path, place):
    file = tmp_path / "changed"
    train.fit(**parts(), epochs=1, checkpoint=file, progress=False)
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(train.CheckpointError, match=f"{re.escape(str(file))}: .*damaged"):
        train.fit(**parts(), epochs=1, checkpoint=file, progress=False)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(train.CheckpointError, match=f"{re.escape(str(tmp_path))}: a folder, exp"):
        train.fit(**parts(), epochs=1, checkpoint=tmp_path, progress=False)


def test_a_checkpoint_of_another_training_is_named(tmp_path):
    file = tmp_path / "other"
    train.fit(**parts(), epochs=1, checkpoint=file, progress=False)
    other = parts()
    other["model"].head = nn.Linear(4, 7)
    words = r"head.weight has shape \(3, 4\), expected \(7, 4\)"
    with pytest.raises(train.CheckpointError, match=words):
        train.fit(**other, epochs=1, checkpoint=file, progress=False)
    with pytest.raises(train.CheckpointError, match="has a schedule, the other has none"):
        train.fit(**{**parts(), "schedule": None}, epochs=1, checkpoint=file, progress=False)
    from safetensors.numpy import save_file
    save_file({"a": np.zeros(2)}, tmp_path / "weights")
    with pytest.raises(train.CheckpointError, match="no checkpoint of a training"):
        checkpoint.load(tmp_path / "weights")


def test_the_bar_shows_losses_and_metric(capsys):
    train.fit(**parts(), epochs=1, metric=score)
    said = capsys.readouterr().err
    assert "6/6" in said and "loss=" in said and "class=" in said and "size=" in said
