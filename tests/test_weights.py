"""Weights in files: what PyTorch and safetensors write is read to the last bit; what is damaged is
named; what is no data is refused, and nothing runs."""
import json
import os
import pickle
import re
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import tinyvision as tv
from tinyvision import nn, train, weights
from tinyvision.weights import WeightsError, load_weights, read_weights, save_weights

try:
    import torch
except ImportError:
    torch = None
with_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")


def network(classes=3):
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Linear(4, classes))


def torch_network(classes=3):
    t = torch.nn
    return t.Sequential(t.Conv2d(1, 4, 3), t.BatchNorm2d(4), t.ReLU(), t.Linear(4, classes))


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


# --- our own files --------------------------------------------------------------------------------
def test_weights_come_back(tmp_path):
    a, b = network(), network()
    file = save_weights(a, tmp_path / "deep" / "w.safetensors", {"note": "x"})
    report = load_weights(b, file)
    assert report.complete and same(a.state_dict(), b.state_dict())
    assert len(report.loaded) == len(a.state_dict()) and "arrays loaded" in str(report)
    assert [f.name for f in file.parent.iterdir()] == ["w.safetensors"]
    assert weights.files.read_metadata(file.read_bytes())["note"] == "x"


def test_arrays_of_every_order_come_back(tmp_path):
    base = np.arange(24.0).reshape(2, 3, 4)
    state = {"turned": base.T, "fortran": np.asfortranarray(base[0]), "stepped": base[:, ::2],
             "reversed": base[::-1], "scalar": np.array(3, "f4"), "empty": np.zeros((0, 3), "f4"),
             "big": np.arange(3, dtype=">i4"), "half": np.arange(3, dtype="f2"),
             "flags": np.array([True, False]), "tensor": tv.Tensor([1.0, 2.0])}
    back = read_weights(save_weights(state, tmp_path / "w"))
    assert same(back, {k: np.asarray(getattr(v, "data", v) if k == "tensor" else v)
                       for k, v in state.items()})
    assert back["scalar"].shape == () and back["half"].dtype == np.float16


@settings(max_examples=40, deadline=None)
@given(arrays_of.arrays(st.sampled_from([np.float32, np.float64, np.int16, np.uint8]),
                        arrays_of.array_shapes(min_dims=0, min_side=0, max_side=4)),
       st.randoms(use_true_random=False))
def test_any_array_in_any_order_comes_back(tmp_path_factory, array, random):
    axes = list(range(array.ndim))
    random.shuffle(axes)
    turned = array.transpose(axes)
    back = read_weights(save_weights({"a": turned}, tmp_path_factory.mktemp("w") / "w"))["a"]
    assert back.dtype == turned.dtype and back.shape == turned.shape
    assert back.tobytes() == turned.tobytes()


def test_what_safetensors_cannot_hold_is_named(tmp_path):
    with pytest.raises(TypeError, match="z is of dtype complex64, expected one of bool, float16"):
        save_weights({"z": np.zeros(2, "c8")}, tmp_path / "w")
    assert not list(tmp_path.iterdir())


def test_every_changed_bit_is_noticed(tmp_path):
    state = network().state_dict()
    file = save_weights(state, tmp_path / "w", {"note": "of no weight"})
    data, rng = file.read_bytes(), np.random.default_rng(0)
    for at in rng.integers(0, len(data), 200).tolist():
        changed = bytearray(data)
        changed[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(changed)
        try:
            assert same(read_weights(file), state)           # a bit of what else the header says
        except WeightsError as error:
            assert str(file) in str(error)


@pytest.mark.parametrize("left", [0, 7, 12, 100, -1])
def test_a_safetensors_file_cut_short_is_named(tmp_path, left):
    file = save_weights(network(), tmp_path / "w")
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(WeightsError, match=f"{re.escape(str(file))}: .*cut short"):
        load_weights(network(), file)


def test_files_of_safetensors_itself_and_bfloat16(tmp_path):
    values = np.array([1.5, -2.0, 3e38, np.inf], "f4")
    upper = (values.view("u4") >> 16).astype("u2")
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + upper.tobytes())
    np.testing.assert_array_equal(read_weights(tmp_path / "w")["a"],
                                  (upper.astype("u4") << 16).view("f4").reshape(2, 2))
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + upper.tobytes())
    with pytest.raises(WeightsError, match="w: a is of dtype F8_E4M3, which is not read"):
        read_weights(tmp_path / "w")


def test_a_checkpoint_of_a_training_holds_weights(tmp_path):
    state = network().state_dict()
    train.checkpoint.save(tmp_path / "c", {"model": state, "epoch": 3})
    assert same(read_weights(tmp_path / "c"), state)
    train.checkpoint.save(tmp_path / "c", {"epoch": 3})
    with pytest.raises(WeightsError, match="c: a checkpoint without a model"):
        read_weights(tmp_path / "c")


# --- the report -----------------------------------------------------------------------------------
def test_what_does_not_fit_is_named_and_nothing_changes(tmp_path):
    file, model = save_weights(network(7), tmp_path / "w"), network()
    before = model.state_dict()
    with pytest.raises(WeightsError, match=r"w: 3.bias has shape 7, Sequential expects 3 "
                       r"\(2 such mismatches; nothing was loaded\)"):
        load_weights(model, file)
    assert same(before, model.state_dict())


def test_what_fits_is_loaded_where_one_asks_for_it(tmp_path):
    state = network(7).state_dict() | {"head.bias": np.zeros(3)}
    del state["0.bias"]
    file, model = save_weights(state, tmp_path / "w"), network()
    before = model.state_dict()
    report = load_weights(model, file, strict=False)
    after = model.state_dict()
    assert (report.missing, report.unexpected) == (["0.bias"], ["head.bias"])
    assert report.misshapen == {"3.weight": ((7, 4), (3, 4)), "3.bias": ((7,), (3,))}
    for name in before:
        np.testing.assert_array_equal(after[name], state[name] if name in report.loaded
                                      else before[name])
    assert str(report).splitlines()[1:] == ["  1 missing: 0.bias", "  1 unexpected: head.bias",
                                            "  2 misshapen: 3.bias 7, expected 3, "
                                            "3.weight 7x4, expected 3x4"]


@pytest.mark.parametrize("change, words", [
    (lambda s: s.pop("0.bias"), "w: the file has no '0.bias' for Sequential"),
    (lambda s: s.update(x=np.zeros(2)), "w: the file has an unexpected 'x' for Sequential")])
def test_names_of_only_one_are_errors(tmp_path, change, words):
    state = network().state_dict()
    change(state)
    with pytest.raises(WeightsError, match=words):
        load_weights(network(), save_weights(state, tmp_path / "w"))


def test_names_are_changed_on_the_way(tmp_path):
    state = network().state_dict()
    file = save_weights({f"backbone.{k}": v for k, v in state.items()} | {"head": np.zeros(3)},
                        tmp_path / "w")
    model = network()
    load_weights(model, file, rename=lambda name: name.partition(".")[2] or None)
    assert same(model.state_dict(), state)
    with pytest.raises(WeightsError, match="two arrays one name"):
        load_weights(model, file, rename=lambda name: "0.bias")


def test_a_module_built_without_weights_gets_them(tmp_path):
    file = save_weights(network(), tmp_path / "w")
    with nn.init.skip_init():
        model = network()
    assert load_weights(model, file).complete
    assert same(model.state_dict(), read_weights(file))


def test_counts_of_batches_are_no_weights(tmp_path):
    state = network().state_dict() | {"1.num_batches_tracked": np.array(7)}
    model = network()
    assert load_weights(model, save_weights(state, tmp_path / "w")).complete
    del state["1.num_batches_tracked"]
    assert load_weights(model, save_weights(state, tmp_path / "w")).complete


def test_weights_of_data_parallel_lose_their_prefix(tmp_path):
    state = network().state_dict()
    file = save_weights({f"module.{k}": v for k, v in state.items()}, tmp_path / "w")
    assert same(read_weights(file), state)


# --- PyTorch's files ------------------------------------------------------------------------------
@with_torch
@pytest.mark.parametrize("wrap", [
    lambda m: m.state_dict(), lambda m: {"state_dict": m.state_dict(), "epoch": 3, "lr": 0.1},
    lambda m: {"epoch": 3, "model": m.state_dict(),
               "optimizer": torch.optim.Adam(m.parameters()).state_dict()},
    lambda m: dict(m.named_parameters()) | dict(m.named_buffers()),
    lambda m: torch.nn.DataParallel(m).state_dict()])
def test_what_pytorch_saves_is_loaded(tmp_path, wrap):
    theirs, ours = torch_network(), network()
    torch.nn.init.normal_(theirs[1].running_mean)
    torch.save(wrap(theirs), tmp_path / "w.pth")
    assert load_weights(ours, tmp_path / "w.pth").complete
    assert all(np.array_equal(array, theirs.state_dict()[name].numpy())
               for name, array in ours.state_dict().items())


@with_torch
def test_every_dtype_stride_and_shared_storage(tmp_path):
    x = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    dtypes = "float64 float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool"
    state = {name: x.to(getattr(torch, name)) for name in dtypes.split()}
    state |= {"x": x, "turned": x.t(), "part": x[1:3, ::2], "row": x[2], "scalar": x[1, 1],
              "expanded": x[0].expand(5, 6), "empty": torch.zeros(0, 3), "size": torch.zeros(2, 0),
              "parameter": torch.nn.Parameter(x[1:])}
    torch.save(state, tmp_path / "w.pt")
    back = read_weights(tmp_path / "w.pt")
    for name, tensor in state.items():
        expected = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
        np.testing.assert_array_equal(back[name], expected)
        assert back[name].dtype == expected.dtype and back[name].shape == expected.shape
    assert np.shares_memory(back["x"], back["turned"])
    assert not back["x"].flags.writeable


@with_torch
@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_any_view_of_a_storage(tmp_path_factory, shape, data):
    x = torch.arange(float(np.prod(shape))).reshape(shape).permute(
        data.draw(st.permutations(range(len(shape)))))
    for axis in range(x.ndim):
        start = data.draw(st.integers(0, x.shape[axis]))
        x = x[(slice(None),) * axis + (slice(start, None, data.draw(st.integers(1, 3))),)]
    file = tmp_path_factory.mktemp("w") / "w.pt"
    torch.save({"x": x}, file)
    np.testing.assert_array_equal(read_weights(file)["x"], x.numpy())


@with_torch
@pytest.mark.parametrize("left", [0, 3, 20, 600, 0.5, -1])
def test_a_torch_file_cut_short_is_named(tmp_path, left):
    file = tmp_path / "w.pth"
    torch.save(torch_network().state_dict(), file)
    data = file.read_bytes()
    file.write_bytes(data[:int(left * len(data)) if isinstance(left, float) else left])
    with pytest.raises(WeightsError, match=f"{re.escape(str(file))}: .*(cut short|neither)"):
        load_weights(network(), file)


@with_torch
def test_changed_bits_never_do_worse_than_an_error(tmp_path):
    file, rng = tmp_path / "w.pth", np.random.default_rng(0)
    torch.save({"state_dict": torch_network().state_dict(), "epoch": 1}, file)
    data = file.read_bytes()
    for at in rng.integers(0, len(data), 300).tolist():
        changed = bytearray(data)
        changed[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(changed)
        try:
            read_weights(file)
        except WeightsError as error:
            assert str(file) in str(error) and "\n" not in str(error)


@with_torch
def test_the_old_format_is_refused_with_advice(tmp_path):
    state = torch_network().state_dict()
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match="w.pth: PyTorch's format from before version 1.6"):
        read_weights(tmp_path / "w.pth")


@with_torch
def test_a_whole_model_is_refused_by_name(tmp_path):
    torch.save(torch_network(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w.pth: its pickle asks for torch.nn.modules.container."
                       r"Sequential, which is not data: refused, and nothing was run"):
        read_weights(tmp_path / "w.pth")


@with_torch
def test_a_file_without_weights_says_what_it_has(tmp_path):
    torch.save({"epoch": 3, "lr": 0.1}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="no arrays by name are in it, but epoch, lr; expected"):
        read_weights(tmp_path / "w.pth")


# --- strangers' pickles, made without PyTorch -----------------------------------------------------
def archive(path, pickled, members=(), compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        for name, data in dict(members).items():
            file.writestr(f"archive/{name}", data)
    return path


class Evil:
    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("function, argument", [
    (os.system, "touch {}"), (eval, "open({!r}, 'w')"), (exec, "open({!r}, 'w')"),
    (os.mkdir, "{}")])
def test_a_stranger_s_program_does_not_run(tmp_path, function, argument, protocol):
    made = tmp_path / "made"
    evil = pickle.dumps({"state_dict": Evil(function, argument.format(str(made)))}, protocol)
    file = archive(tmp_path / "w.pth", evil)
    with pytest.raises(WeightsError, match=rf"w.pth: its pickle asks for \w+\.{function.__name__}"):
        read_weights(file)
    assert not made.exists()
    pickle.loads(evil)
    assert made.exists()                     # where pickle reads it, it runs


class Build:
    """Sets an attribute of something else by BUILD."""

    def __reduce__(self):
        return OrderedDict, (), {"update": 1}


def storage(kind="FloatStorage", key="0", count=6):
    return b"(X\x07\x00\x00\x00storagectorch\n%s\nX\x01\x00\x00\x00%sX\x03\x00\x00\x00cpuK%ctQ" % (
        kind.encode(), key.encode(), count)


def tensor(offset=0, shape=(2, 3), stride=(3, 1), **options):
    numbers = [b"K%c" % n for n in (*shape, *stride)]
    n = len(shape)
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(**options) + b"K%c(" % offset
            + b"".join(numbers[:n]) + b"t(" + b"".join(numbers[n:])
            + b"t\x89ccollections\nOrderedDict\n)RtR")


def state(*parts):
    return b"\x80\x02}(" + b"".join(b"X\x01\x00\x00\x00%s" % name + part
                                    for name, part in zip((b"a", b"b"), parts)) + b"u."


NUMBERS = {"data/0": np.arange(6, dtype="<f4").tobytes()}


def test_a_file_written_by_hand(tmp_path):
    turned = tensor(shape=(3, 2), stride=(1, 3))
    back = read_weights(archive(tmp_path / "w", state(tensor(), turned), NUMBERS))
    np.testing.assert_array_equal(back["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(back["b"], back["a"].T)


@pytest.mark.parametrize("pickled, members, words", [
    (state(tensor(offset=1)), NUMBERS, "a: cut short or damaged: storage 0 has 6 numbers, but "
                                       "number 6 is asked for"),
    (state(tensor(stride=(200, 1))), NUMBERS, "storage 0 has 6 numbers, but number 202"),
    (state(tensor(shape=(2, 3, 4))), NUMBERS, "3 sizes with 2 strides"),
    (state(tensor()), {}, "a: cut short or damaged: it has no member archive/data/0"),
    (state(tensor(kind="ComplexFloatStorage")), NUMBERS, "asks for torch.ComplexFloatStorage"),
    (state(tensor()), NUMBERS | {"byteorder": b"big"}, "its byte order is b'big'"),
    (state(tensor())[:-9], NUMBERS, "its pickle is damaged"),
    (b"\x80\x02.", {}, "its pickle is damaged"),
    (b"\x80\x02)))R.", {}, "a call of a tuple"),
    (b"\x80\x02ctorch\nFloatStorage\n)R.", {}, "a call of torch.FloatStorage"),
    (b"\x80\x02})K\x01s.", {}, "a tuple as the key of a dict"),
    (b"\x80\x02)\x81.", {}, "the instruction NEWOBJ"),
    (b"\x80\x02cos\nsystem\n.", {}, "its pickle asks for os.system"),
    (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.", {}, "its pickle is damaged"),
    (b"\x80\x02" + b")\x85" * 9 + b"K\x01Q.", {}, "its pickle is damaged")])
def test_what_is_wrong_with_a_pickle_is_said(tmp_path, pickled, members, words):
    with pytest.raises(WeightsError, match=words) as caught:
        read_weights(archive(tmp_path / "w.pth", pickled, members))
    assert "w.pth: " in str(caught.value) and "\n" not in str(caught.value)


def test_attributes_are_not_set(tmp_path):
    pickled = pickle.dumps({"state_dict": Build()}, 2)
    with pytest.raises(WeightsError, match="no arrays by name are in it"):
        read_weights(archive(tmp_path / "w.pth", pickled))


def test_a_deep_pickle_is_an_error_and_no_crash(tmp_path):
    deep = b"\x80\x02)" + b"\x85" * 300_000 + b"."
    with pytest.raises(WeightsError, match="but a tuple; expected a state_dict"):
        read_weights(archive(tmp_path / "w.pth", deep))


def test_a_compressed_archive_is_refused(tmp_path):
    file = archive(tmp_path / "w.pth", state(tensor()), NUMBERS, zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="archive/data.pkl is compressed, which PyTorch n"):
        read_weights(file)


@pytest.mark.parametrize("data, words", [
    (b"", "cut short: a file of 0 bytes"),
    (b"\x89PNG" + b"0" * 40, "neither a safetensors file nor one of PyTorch's; it begins with"),
    (b"PK\x03\x04" + b"0" * 40, "cut short or damaged")])
def test_other_files_are_named(tmp_path, data, words):
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(WeightsError, match=f"w: {words}"):
        read_weights(tmp_path / "w")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_weights(tmp_path / "nowhere")
