"""The loader: order, randomness, position, and workers that end however the loop does."""
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyvision as tv
from tinyvision.data import (Compose, DataError, DataLoader, ElasticTransform, ItemError,
                             RandomHorizontalFlip, SimpleCopyPaste, Subset, TensorDataset,
                             list_collate, random_split)
from tinyvision.data.pipes import SMALL


class Numbers:
    """Item k is (an image full of k, k); wrong ones raise, slow ones take their time."""

    def __init__(self, length, wrong=(), error=DataError, size=2, seconds=0.0):
        self.length, self.wrong, self.error = length, wrong, error
        self.size, self.seconds = size, seconds

    def __len__(self):
        return self.length

    def __getitem__(self, k):
        time.sleep(self.seconds)
        if k in self.wrong:
            raise self.error(f"picture{k}.png: is damaged")
        return np.full((1, self.size, self.size), k, np.float32), k


class Killed(Numbers):
    """Item 3 kills the process that reads it."""

    def __getitem__(self, k):
        if k == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(k)


class Objects(Numbers):
    """Images with two masks each."""

    def __getitem__(self, k):
        masks = np.zeros((2, 16, 16), bool)
        masks[0, k % 8:8 + k % 8, :5], masks[1, 4:12, 7:15] = True, True
        boxes = np.array([[0, k % 8, 5, 8 + k % 8], [7, 4, 15, 12]], np.float32)
        image = np.random.default_rng(k).random((3, 16, 16), np.float32)
        return image, {"boxes": boxes, "labels": np.arange(2), "masks": masks, "image_id": k}


def scaled_noise(image, target, random):
    return image + random.random(image.shape, np.float32), target


def no_batch(items):
    raise KeyError("collate")


def lambda_batch(items):
    return lambda: items


def labels_of(loader):
    return [labels.tolist() for _, labels in loader]


def seeded(seed=0):
    return np.random.default_rng(seed)


def gone(pids, seconds=10.0):
    """Whether these processes end within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.01)
    return False


def alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:                                # it just went, or this is no Linux
        return not os.path.isdir("/proc")


def pids_of(loader):
    return [process.pid for process in loader._workers.processes]


# --- batches --------------------------------------------------------------------------------------
def test_batches_in_order_and_the_last_one_smaller():
    loader = DataLoader(Numbers(7), 3)
    assert len(loader) == 3 and labels_of(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    images, labels = next(iter(loader))
    assert images.shape == (3, 1, 2, 2) and images.dtype == np.float32
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


def test_drop_last_leaves_out_a_batch_that_is_not_full():
    loader = DataLoader(Numbers(7), 3, drop_last=True)
    assert len(loader) == 2 and labels_of(loader) == [[0, 1, 2], [3, 4, 5]]


@given(length=st.integers(1, 40), size=st.integers(1, 12), drop=st.booleans(),
       seed=st.integers(0, 9))
def test_a_shuffled_epoch_has_every_item_once(length, size, drop, seed):
    if drop and size > length:
        return
    loader = DataLoader(Numbers(length), size, True, drop_last=drop, generator=seeded(seed))
    batches = labels_of(loader)
    seen = sum(batches, [])
    assert len(batches) == len(loader) and len(set(seen)) == len(seen)
    assert len(seen) == (length - length % size if drop else length)
    assert all(len(batch) == size for batch in batches[:-1])


def test_epochs_differ_and_the_seed_decides_them():
    one, same, other = (DataLoader(Numbers(30), 4, True, generator=seeded(s)) for s in (1, 1, 2))
    epochs = [labels_of(one) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] and epochs == [labels_of(same) for _ in range(3)]
    assert epochs[0] != labels_of(other)


def test_without_a_generator_manual_seed_decides():
    def order():
        tv.manual_seed(5)
        return labels_of(DataLoader(Numbers(20), 4, shuffle=True))
    assert order() == order()


def test_no_item_is_drawn_from_the_global_random_state():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    labels_of(DataLoader(Numbers(9), 2, shuffle=True, transforms=scaled_noise))
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_targets_of_detection_stay_a_list_and_images_are_stacked():
    images, targets = next(iter(DataLoader(Objects(4), 4)))
    assert images.shape == (4, 3, 16, 16) and [t["image_id"] for t in targets] == [0, 1, 2, 3]


def test_images_of_several_sizes_need_list_collate():
    data = TensorDataset([np.zeros((3, 4, 4)), np.zeros((3, 4, 5))], [0, 1])
    with pytest.raises(ItemError, match=r"batch 0, items \[0, 1\]: item 1 of the batch has shape "
                                        r"\(3, 4, 5\).*collate_fn=list_collate"):
        next(iter(DataLoader(data, 2)))
    images, labels = next(iter(DataLoader(data, 2, collate_fn=list_collate)))
    assert [image.shape for image in images] == [(3, 4, 4), (3, 4, 5)] and labels == [0, 1]


# --- workers --------------------------------------------------------------------------------------
def batches(num_workers, epochs=2):
    augment = Compose(RandomHorizontalFlip(), ElasticTransform(1.0))
    loader = DataLoader(Objects(22), 4, True, num_workers=num_workers, generator=seeded(3),
                        transforms=augment, batch_transforms=SimpleCopyPaste())
    made = [batch for _ in range(epochs) for batch in loader]
    loader.close()
    return made


@functools.cache
def batches_without_workers():
    return batches(0)


def assert_same(these, those):
    assert len(these) == len(those)
    for (images, targets), (other_images, other_targets) in zip(these, those):
        np.testing.assert_array_equal(images, other_images)
        for target, other in zip(targets, other_targets, strict=True):
            assert target.keys() == other.keys()
            for key in target:
                np.testing.assert_array_equal(target[key], other[key])


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_the_same_batches_whatever_the_number_of_workers(num_workers):
    assert_same(batches(num_workers), batches_without_workers())


def test_arrays_from_a_worker_are_whole_and_writable():
    size = int(np.sqrt(SMALL))                               # so that they go apart from the text
    loader = DataLoader(Numbers(6, size=size), 3, num_workers=1)
    for images, labels in loader:
        assert images.flags.writeable and labels.flags.writeable and images.flags.c_contiguous
        assert (images == labels[:, None, None, None]).all()
    loader.close()


def test_workers_stay_for_the_next_epoch_and_end_with_close():
    loader = DataLoader(Numbers(8), 2, num_workers=2)
    expected = labels_of(loader)
    pids = pids_of(loader)
    assert labels_of(loader) == expected and pids_of(loader) == pids
    loader.close()
    assert gone(pids, 0.5)
    assert labels_of(loader) == expected                     # and new ones start
    loader.close()


def test_a_loop_that_is_left_does_not_disturb_the_next():
    loader = DataLoader(Numbers(40), 2, shuffle=True, num_workers=2, generator=seeded())
    plain = DataLoader(Numbers(40), 2, shuffle=True, generator=seeded())
    for end in (1, 3, 1, 2):
        for both in (loader, plain):
            both.left = []
            for _, labels in both:
                both.left.append(labels.tolist())
                if len(both.left) == end:
                    break
        assert loader.left == plain.left
    assert labels_of(loader) == labels_of(plain) and len(pids_of(loader)) == 2
    loader.close()


def test_workers_end_with_their_loader():
    loader = DataLoader(Numbers(8), 2, num_workers=2)
    next(iter(loader))
    pids = pids_of(loader)
    del loader
    assert gone(pids)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("error, words", [
    (DataError, "^DataLoader: item 5: picture5.png: is damaged$"),
    (KeyError, "^DataLoader: item 5: KeyError: 'picture5.png: is damaged'$"),
    (StopIteration, "^DataLoader: item 5: StopIteration: picture5.png: is damaged$")])
def test_an_error_names_the_item_and_where_it_happened(num_workers, error, words):
    loader = DataLoader(Numbers(8, {5}, error), 2, num_workers=num_workers)
    seen = []
    with pytest.raises(ItemError, match=words) as caught:
        for _, labels in loader:
            seen.append(labels.tolist())
    assert seen == [[0, 1], [2, 3]]
    cause = caught.value.__cause__
    assert isinstance(cause, error) if num_workers == 0 else "test_loader.py" in str(cause)
    if num_workers:                                          # the workers go on
        assert next(iter(loader))[1].tolist() == [0, 1]
    loader.close()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_of_the_batch_names_the_batch(num_workers):
    loader = DataLoader(Numbers(40), 20, num_workers=num_workers, collate_fn=no_batch)
    with pytest.raises(ItemError, match=r"batch 0, items \[0, 1, 2, 3, 4, 5, 6, '...'\]: KeyError"):
        next(iter(loader))
    loader.close()


def test_a_batch_that_cannot_be_sent_says_so():
    loader = DataLoader(Numbers(4), 2, num_workers=1, collate_fn=lambda_batch)
    with pytest.raises(ItemError, match="a worker cannot send its batch"):
        next(iter(loader))
    loader.close()


def test_what_only_the_main_program_has_is_unknown_to_the_workers():
    code = ("class Own:\n    __len__ = lambda self: 4\n    __getitem__ = lambda self, k: k\n"
            "from tinyvision.data import DataLoader\n"
            "next(iter(DataLoader(Own(), 2, num_workers=1)))")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1 and "define it in a file instead of a notebook" in run.stderr
    assert "Can't get attribute 'Own'" in run.stderr


def test_what_cannot_be_sent_to_a_worker_says_so_before_it_starts():
    loader = DataLoader(Numbers(4), 2, num_workers=1, collate_fn=lambda items: items)
    with pytest.raises(ValueError, match="DataLoader: with workers.*lambda.*num_workers=0"):
        next(iter(loader))


def test_a_killed_worker_is_an_error_and_not_silence():
    loader = DataLoader(Killed(8), 2, num_workers=2)
    with pytest.raises(RuntimeError, match="worker 1 ended unexpectedly, with exit code -9"):
        labels_of(loader)
    assert gone(pids_of(loader))


@pytest.mark.parametrize("wrong", [dict(batch_size=0), dict(num_workers=-1), dict(batch_size=2.5)])
def test_wrong_arguments(wrong):
    (name, value), = wrong.items()
    with pytest.raises(ValueError, match=f"DataLoader: {name} is a whole number.*got {value}"):
        DataLoader(Numbers(3), **wrong)


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="DataLoader: the data set has 0 items, too few"):
        DataLoader(Numbers(0), 4)
    with pytest.raises(ValueError, match="the data set has 3 items, too few"):
        DataLoader(Numbers(3), 4, drop_last=True)


def test_transforms_need_pairs():
    data = TensorDataset(np.zeros((3, 1, 2, 2)))
    with pytest.raises(ItemError, match=r"item 0: TypeError: transforms need items \(image, targ"):
        next(iter(DataLoader(data, 2, transforms=scaled_noise)))


# --- position -------------------------------------------------------------------------------------
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("steps", [0, 1, 4, 5, 6, 13])
def test_a_restored_loader_goes_on_where_the_saved_one_stood(steps, num_workers):
    def make(seed, workers):
        return DataLoader(Numbers(10), 2, True, generator=seeded(seed), transforms=scaled_noise,
                          num_workers=workers)

    def stream(loader, epochs=4):
        return ((loader.state_dict(), *batch) for _ in range(epochs) for batch in loader)
    straight = list(stream(make(1, 0)))
    saved = straight[steps - 1][0] if steps else make(1, 0).state_dict()
    loader = make(99, num_workers)
    loader.load_state_dict(saved)
    epochs = 4 - saved["epoch"]
    rest = stream(loader, epochs)
    for (_, images, labels), (_, a, b) in zip(straight[steps:], rest, strict=True):
        np.testing.assert_array_equal(images, a)
        np.testing.assert_array_equal(labels, b)
    loader.close()


def test_the_position_counts_epochs_and_batches():
    loader = DataLoader(Numbers(6), 2)
    start = loader.state_dict()
    assert start == {**start, "epoch": 0, "batch": 0, "items": 6, "batch_size": 2}
    assert [loader.state_dict() for _ in loader] == [{**start, "batch": b} for b in (1, 2, 3)]
    assert loader.state_dict() == {**start, "epoch": 1}
    next(iter(loader))
    next(iter(loader))                                       # a new loop is a new epoch
    assert loader.state_dict() == {**start, "epoch": 2, "batch": 1}


@pytest.mark.parametrize("change, words", [
    ({"batch": 4}, "batch 4 of epoch 0, but an epoch has 3 batches"), ({"epoch": -1}, "epoch -1"),
    ({"items": 7}, "of another loader, its items is 7, here it is 6"),
    ({"batch_size": 3}, "its batch_size is 3, here it is 2")])
def test_a_wrong_position_is_refused(change, words):
    loader = DataLoader(Numbers(6), 2)
    with pytest.raises(ValueError, match=words):
        loader.load_state_dict({**loader.state_dict(), **change})
    for wrong in (None, {"epoch": 1}):
        with pytest.raises(ValueError, match="expected seed, epoch, batch, items, batch_size; got"):
            loader.load_state_dict(wrong)


def test_two_loops_at_a_time_are_refused():
    loader = DataLoader(Numbers(6), 2)
    outer = iter(loader)
    next(outer)
    next(iter(loader))
    with pytest.raises(RuntimeError, match="a newer loop over this loader has begun"):
        next(outer)


# --- the end of the main process ------------------------------------------------------------------
SCRIPT = """
import os, signal, sys, time
sys.path.insert(0, {tests!r})
from test_loader import Numbers
from tinyvision.data import DataLoader

def main():
    print("starting", flush=True)
    loader = DataLoader(Numbers(10 ** 6, size=200, seconds={seconds}), 2, num_workers=2)
    for batch in loader:
        print(*[process.pid for process in loader._workers.processes], flush=True)
        {then}
{guard}
"""
GUARD = "if __name__ == '__main__':\n    main()"


def script(tmp_path, then, guard=GUARD, seconds=0.0):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(tests=os.path.dirname(__file__), then=then, guard=guard,
                                  seconds=seconds))
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "starting\n"
    return process


@pytest.mark.parametrize("then, code, said", [
    ("break", 0, ""),                                        # the interpreter's ordinary end
    ("raise ValueError('in the loop')", 1, "in the loop"),
    ("sys.exit(3)", 3, ""),
    ("os._exit(4)", 4, ""),                                  # nothing is cleaned up
    ("os.kill(os.getpid(), signal.SIGKILL)", -9, ""),
    ("os.kill(os.getpid(), signal.SIGTERM)", -15, "")])
def test_workers_end_with_the_main_process(tmp_path, then, code, said):
    process = script(tmp_path, then)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    out, err = process.communicate(timeout=20)
    assert process.returncode == code and len(pids) == 2 and gone(pids)
    assert said in err and err.count("Traceback") == (1 if said else 0)


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_ctrl_c_ends_all_with_one_traceback(tmp_path, seconds):
    process = script(tmp_path, "pass", seconds=seconds)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    os.killpg(process.pid, signal.SIGINT)                    # as a terminal does
    out, err = process.communicate(timeout=20)
    assert process.returncode != 0 and gone(pids)
    assert err.count("Traceback") == 1 and "KeyboardInterrupt" in err


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.03, 0.1, 0.2])
def test_ctrl_c_while_the_workers_start_ends_all(tmp_path, seconds):
    process = script(tmp_path, "pass")
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode != 0 and err.count("Traceback") == 1 and "KeyboardInterrupt" in err


def test_a_script_without_a_guard_is_told_so(tmp_path):
    process = script(tmp_path, "break", guard="main()")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'put what it does under `if __name__ == "__main__":`' in err
    assert 'worker 0 ended unexpectedly, with exit code 1; if this is a script' in err


def test_after_an_interrupt_the_loader_can_be_used_again():
    loader = DataLoader(Numbers(8, seconds=0.1), 2, num_workers=1)
    next(iter(loader))
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(KeyboardInterrupt):
        labels_of(loader)
    signal.signal(signal.SIGALRM, before)
    pids = pids_of(loader)
    assert gone(pids) and labels_of(loader) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    loader.close()


def test_no_process_is_left():
    assert [p.name for p in multiprocessing.active_children() if "data worker" in p.name] == []


# --- data sets ------------------------------------------------------------------------------------
def test_a_tensor_dataset_gives_the_rows_of_all_its_arrays():
    data = TensorDataset(np.arange(6).reshape(3, 2), ["a", "b", "c"])
    row, name = data[1]
    assert len(data) == 3 and row.tolist() == [2, 3] and name == "b"
    with pytest.raises(ValueError, match=r"arrays of one length, got \[3, 2\]"):
        TensorDataset(np.zeros(3), np.zeros(2))


def test_a_subset_has_the_chosen_items():
    data = Subset(Numbers(5), [4, 0])
    assert [label for _, label in (data[k] for k in range(len(data)))] == [4, 0]
    with pytest.raises(ValueError, match="Subset: item 5 of a data set of 5 items"):
        Subset(Numbers(5), [1, 5])


def test_random_split_parts_all_items():
    parts = random_split(Numbers(10), [0.7, 0.2, 0.1], seeded())
    assert [len(p) for p in parts] == [7, 2, 1]
    assert sorted(k for p in parts for k in p.indices.tolist()) == list(range(10))
    assert [len(p) for p in random_split(Numbers(10), [4, 6], seeded())] == [4, 6]
    with pytest.raises(ValueError, match="lengths .4, 5. do not add up to the 10 items"):
        random_split(Numbers(10), [4, 5], seeded())
