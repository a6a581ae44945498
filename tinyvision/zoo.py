"""The zoo: small trained models by name. Trained once on this machine, kept in the user's cache.

    model = tv.zoo.get("tiny_segnet")

A file's name ends with a hash of what the weights depend on (`recipe.key`), so that a changed
recipe, generator or layer means another file. A file carries a checksum; a damaged one is named and
made again. A training that is killed goes on from its checkpoint at the next call. Two processes
that ask at once: one trains, the other waits.

For tests of what uses a model, not of what it is worth: TINYVISION_ZOO_EPOCHS=1 trains for one
epoch. Such a model has another key, so it never takes the place of the real one.
"""
from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sys
import warnings

from tinyvision import weights
from tinyvision.kernel import user_cache
from tinyvision.train import CheckpointError
from tinyvision.train.recipe import key, random_numbers, train
from tinyvision.train.recipes import RECIPES, recipe
from tinyvision.weights import WeightsError

ABOUT = "tinyvision.zoo"


def names() -> list[str]:
    """The models that there are."""
    return list(RECIPES)


def get(name: str, progress: bool = True):
    """The trained model of that name, in inference mode; trained here where it is not in the cache.

    Args:
        progress: show a bar while it is trained (a few minutes at most).

    Raises:
        ValueError: there is no such model.
    """
    chosen = _recipe(name)
    file = path(chosen)
    model = _load(chosen, file)
    if model is not None:
        return model
    with _alone(file):
        model = _load(chosen, file)                          # another process may have made it
        return _make(chosen, file, progress) if model is None else model


def figures(name: str) -> dict:
    """What the cached model was measured to be worth: its scores, seconds and steps; {} if it is
    not in the cache, or its file is damaged, which `get` names and makes again."""
    try:
        content = path(_recipe(name)).read_bytes()
        return json.loads(weights.files.read_metadata(content).get(ABOUT, "{}"))
    except (FileNotFoundError, ValueError, AttributeError):  # no file, no JSON, no dictionary
        return {}


def folder() -> pathlib.Path:
    """Where the files are; TINYVISION_CACHE chooses another place."""
    return user_cache() / "zoo"


def path(chosen) -> pathlib.Path:
    """The file of a recipe's weights."""
    return folder() / f"{chosen.name}-{key(chosen)}.safetensors"


def _recipe(name):
    """The recipe of that name, with as many epochs as TINYVISION_ZOO_EPOCHS says if it is set."""
    epochs = os.environ.get("TINYVISION_ZOO_EPOCHS")
    if epochs and not epochs.isdecimal():
        raise ValueError(f"TINYVISION_ZOO_EPOCHS is {epochs!r}, expected a whole number")
    return recipe(name, epochs=int(epochs) if epochs else None)


def _load(chosen, file):
    """The model of a file; None where it is not there, or damaged and deleted."""
    try:
        with random_numbers(chosen.seed):
            model = chosen.build()
        weights.load_weights(model, file)
        return model.eval()
    except FileNotFoundError:
        return None
    except WeightsError as error:
        warnings.warn(f"{error}; it is made again", stacklevel=3)
        file.unlink(missing_ok=True)
        return None


def _make(chosen, file, progress):
    print(f"tinyvision: training {chosen.name}, once; it is kept in {file.parent}", file=sys.stderr)
    splits = chosen.splits()
    part = file.with_suffix(".checkpoint")
    try:
        trained = train(chosen, splits, part, progress)
    except CheckpointError as error:
        warnings.warn(f"{error}; it is begun anew", stacklevel=3)
        part.unlink(missing_ok=True)
        trained = train(chosen, splits, part, progress)
    about = {"score": trained.score, "seconds": trained.history.seconds,
             "steps": trained.history.steps, **chosen.settings()}
    weights.save_weights(trained.model, file, {ABOUT: json.dumps(about)})
    part.unlink(missing_ok=True)
    return trained.model


@contextlib.contextmanager
def _alone(file):
    """Inside the block no other process is; the system ends the claim of one that is killed.

    Where the system has no such locks, both train, and the files, written in one motion, are whole.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file.with_suffix(".lock"), "w") as lock:
        _claim(lock, file.stem)
        yield


def _claim(lock, name):
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"tinyvision: another process is training {name}: waiting", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        return                                               # a file system without locks
