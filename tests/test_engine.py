"""The engine's fine print: every line of it has broken an engine that looked right."""
import gc
import sys
import threading
import tracemalloc
import weakref
from dataclasses import FrozenInstanceError, dataclass

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import engine, ops
from tinyvision.engine import GraphError, Op, Tensor
from tinyvision.kernel import use_variant

f4, f8 = np.float32, np.float64


def leaf(*shape, dtype=f4, seed=0):
    """A random tensor that wants gradients."""
    return Tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype), True)


@pytest.fixture
def without_gc():
    """Only reference counting frees anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# --- dtypes ---------------------------------------------------------------------------------------
SCALAR_EXPRESSIONS = {
    "p * 2.0": lambda p: p * 2.0, "2 * p": lambda p: 2 * p,
    "np.float64(2) * p": lambda p: np.float64(2) * p, "p * np.float64(2)": lambda p: p * np.float64(2),
    "p + np.float64(1)": lambda p: p + np.float64(1), "1.5 - p": lambda p: 1.5 - p,
    "p - np.int64(3)": lambda p: p - np.int64(3), "p / 3": lambda p: p / 3, "3 / p": lambda p: 3 / p,
    "np.float64(3) / p": lambda p: np.float64(3) / p, "p ** 2": lambda p: p ** 2,
    "p ** np.float64(3)": lambda p: p ** np.float64(3), "2.0 ** p": lambda p: 2.0 ** p, "-p": lambda p: -p,
    "mean": ops.mean, "mean over 1": lambda p: ops.mean(p, 1), "sum": ops.sum, "sqrt": ops.sqrt,
    "exp": ops.exp, "log": ops.log, "tanh": ops.tanh, "sigmoid": ops.sigmoid, "relu": ops.relu,
    "leaky_relu": ops.leaky_relu, "pad": lambda p: ops.pad(p, (1, 1), value=3.0), "p[0]": lambda p: p[0],
    "p * mask": lambda p: p * (p > 0), "p * counts": lambda p: p * np.arange(4),
}


@pytest.mark.parametrize("dtype", [f4, f8])
@pytest.mark.parametrize("name", SCALAR_EXPRESSIONS)
def test_numbers_take_the_dtype_of_the_tensor_forward_and_backward(name, dtype):
    p = Tensor(np.linspace(0.5, 2, 12).reshape(3, 4).astype(dtype), True)
    y = SCALAR_EXPRESSIONS[name](p)
    assert y.dtype == dtype
    first, = tv.grad(y.sum(), p, create_graph=True)
    assert first.dtype == dtype
    (first * p).sum().backward()
    assert p.grad.dtype == dtype


def test_a_number_on_the_left_of_every_operator_gives_a_tensor():
    p = leaf(3)
    for number in (2, 2.0, np.float32(2), np.float64(2), np.int64(2)):
        for y in (number + p, number - p, number * p, number / p, number ** p):
            assert isinstance(y, Tensor) and y.dtype == f4


def test_an_array_on_the_left_of_every_operator_gives_a_tensor():
    p, a = leaf(2, 2), np.ones((2, 2), f4)
    for y in (a + p, a - p, a * p, a / p, a @ p):
        assert isinstance(y, Tensor) and y.requires_grad and y.dtype == f4


def test_lists_and_python_numbers_become_float32():
    assert Tensor([1, 2]).dtype == Tensor([[1.5], [2]]).dtype == Tensor(3).dtype == f4
    assert (leaf(2) * [1, 2]).dtype == f4


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "i8", "u1", "bool"])
def test_arrays_keep_their_dtype_and_are_not_copied(dtype):
    a = np.ones(3, dtype)
    assert Tensor(a).dtype == a.dtype and Tensor(a).data is a


def test_numpy_scalars_as_data_keep_their_dtype():
    assert Tensor(np.float64(3)).dtype == f8 and Tensor(np.float32(3)).data.shape == ()


def test_masks_and_counts_in_tensors_take_the_dtype_of_the_floating_operand():
    p = leaf(4)
    assert (p * Tensor(np.arange(4))).dtype == f4
    assert (p + Tensor(np.ones(4, bool))).dtype == f4


def test_float32_and_float64_tensors_give_float64_and_each_gets_its_own_dtype_back():
    p, q = leaf(3), leaf(3, dtype=f8)
    (p * q + p).sum().backward()
    assert (p * q).dtype == f8 and p.grad.dtype == f4 and q.grad.dtype == f8


# --- .grad ----------------------------------------------------------------------------------------
def float64_for_float32(p):
    return p * np.ones(p.shape)


GRADIENTS_THAT_ARRIVE = {
    "as a broadcast view": lambda p: p.sum(), "transposed": lambda p: (p.transpose() * leaf(4, 3)).sum(),
    "as float64": lambda p: float64_for_float32(p).sum(), "as a slice": lambda p: ops.cat([p, p])[2:5].sum(),
    "as a sum of two": lambda p: (p + p.exp()).sum(), "shared with the output": lambda p: (p + 0.0).sum(),
    "through slices": lambda p: p[1].sum() + p[:, 2].sum(), "reversed": lambda p: (p[::-1, ::-1] * 2).sum(),
}


@pytest.mark.parametrize("name", GRADIENTS_THAT_ARRIVE)
def test_grad_is_owned_writable_contiguous_and_of_the_leafs_dtype(name):
    p = leaf(3, 4)
    for _ in range(2):
        GRADIENTS_THAT_ARRIVE[name](p).backward()
        g = p.grad.data
        assert g.flags.owndata and g.flags.writeable and g.flags.c_contiguous
        assert g.dtype == f4 and g.shape == (3, 4)


def test_grad_does_not_share_memory_with_the_cotangent():
    p, cotangent = leaf(3), np.ones(3, f4)
    (p + 0.0).backward(cotangent)
    p.grad.data[:] = 7
    assert (cotangent == 1).all()


def test_both_parents_of_an_addition_get_the_same_gradient_and_may_accumulate_apart():
    a, b = leaf(3), leaf(3)
    (a + b).sum().backward()
    np.testing.assert_array_equal(a.grad.data, b.grad.data)
    (a * 5).sum().backward()
    assert (a.grad.data == 6).all() and (b.grad.data == 1).all()


def test_accumulating_inside_one_pass_does_not_change_the_other_parent():
    a, b = leaf(3), leaf(3)
    c, d = a * 1.0, b * 1.0
    s = c + d                                   # hands both one cotangent
    (s.sum() + (c * 10).sum() + (c * 100).sum()).backward()
    assert (a.grad.data == 111).all() and (b.grad.data == 1).all()


def test_grad_adds_up_over_passes_and_stays_the_same_tensor():
    p = leaf(3)
    p.sum().backward()
    g = p.grad
    (p * 2).sum().backward()
    assert p.grad is g and (g.data == 3).all()


def test_grad_can_be_cleared_and_replaced():
    p = leaf(3)
    p.sum().backward()
    p.grad = None
    assert p.grad is None
    mine = Tensor(np.ones(3, f4))
    p.grad = mine
    p.sum().backward()
    assert (p.grad.data == 2).all() and (mine.data == 1).all()


def test_only_leaves_have_a_grad():
    p = leaf(3)
    y = p * 2
    y.sum().backward()
    assert y.grad is None and Tensor([1.0]).grad is None
    with pytest.raises(RuntimeError, match="only leaves"):
        y.grad = p
    with pytest.raises(ValueError, match=r"got shape \(4,\), expected \(3,\)"):
        p.grad = leaf(4)


def test_a_leaf_may_be_differentiated_by_itself():
    p = Tensor(3.0, True)
    p.backward()
    assert p.grad.item() == 1 and tv.grad(p, p)[0].item() == 1


# --- in place -------------------------------------------------------------------------------------
def subtract_in_data(p):
    p.data -= 1


def assign_data(p):
    p.data = p.data + 1


def set_items(p):
    with tv.no_grad():
        p[...] = 0


def set_one_item(p):
    with tv.no_grad():
        p[0] = 0


def through_detach(p):
    p.detach()[...] = 0


def through_detached_data(p):
    p.detach().data += 1


def through_reshape(p):
    p.detach().reshape(-1)[...] = 0


def through_a_slice(p):
    with tv.no_grad():
        p[1:][...] = 0


def through_transpose(p):
    with tv.no_grad():
        p.transpose(0, 1).data *= 2


CHANGES = [subtract_in_data, assign_data, set_items, set_one_item, through_detach,
           through_detached_data, through_reshape, through_a_slice, through_transpose]
NEED_THE_INPUT = {"mul": lambda p: p * p, "log": ops.log, "pow": lambda p: p ** 3, "matmul": lambda p: p @ p,
                  "div by": lambda p: leaf(3, 3) / p, "conv2d": lambda p: ops.conv2d(
                      leaf(1, 1, 5, 5), p.reshape(1, 1, 3, 3))}
NEED_NO_VALUE = {"sum": ops.sum, "scale": lambda p: 2 * p, "add": lambda p: p + leaf(3, 3), "slice": lambda p: p[1],
                 "reshape": lambda p: p.reshape(9), "relu": ops.relu, "exp": ops.exp, "over": lambda p: p / 2,
                 "cat": lambda p: ops.cat([p, p]), "pad": lambda p: ops.pad(p, (1, 1))}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NEED_THE_INPUT)
def test_a_change_in_place_of_a_value_that_backward_reads_raises(name, change):
    p = Tensor(np.full((3, 3), 1.5, f4), True)
    y = NEED_THE_INPUT[name](p).sum()
    change(p)
    with pytest.raises(GraphError, match="was changed in place after the forward pass"):
        y.backward()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", NEED_NO_VALUE)
def test_a_change_in_place_of_a_value_that_nobody_reads_is_fine(name, change):
    p = Tensor(np.full((3, 3), 1.5, f4), True)
    y = NEED_NO_VALUE[name](p).sum()
    change(p)
    y.backward()
    assert p.grad.shape == (3, 3)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("op", [ops.exp, ops.sqrt, ops.tanh, ops.sigmoid, ops.relu, lambda p: 1.0 / p])
def test_a_change_in_place_of_a_saved_output_raises(op, change):
    p = Tensor(np.full((3, 3), 1.5, f4), True)
    y = op(p)
    loss = y.sum()
    change(y)
    with pytest.raises(GraphError, match="the output of .* was changed in place"):
        loss.backward()


def test_a_constant_that_backward_reads_is_watched_too():
    p, mask = leaf(3), Tensor(np.ones(3, f4))
    y = (p * mask).sum()
    mask[0] = 0
    with pytest.raises(GraphError, match="an input of Mul"):
        y.backward()


def test_a_change_before_the_forward_pass_is_no_change():
    p = leaf(3)
    p.data -= 1
    (p * p).sum().backward()
    np.testing.assert_allclose(p.grad.data, 2 * p.data)


def test_the_same_change_is_found_by_tv_grad():
    p = leaf(3)
    y = p.exp()
    z = (y * y).sum()
    y.detach()[...] = 1
    with pytest.raises(GraphError):
        tv.grad(z, p)


def test_training_steps_in_place_after_backward_are_fine():
    p = leaf(3)
    for _ in range(3):
        p.grad = None
        (p * p).sum().backward()
        p.data -= 0.25 * p.grad.data
    np.testing.assert_allclose(p.data, leaf(3).data / 8, rtol=1e-6)


def test_writing_into_a_tensor_while_recording_raises():
    p = leaf(3)
    with pytest.raises(GraphError, match="no_grad"):
        p[0] = 1.0


def test_assigned_data_must_have_the_shape_the_graph_knows():
    p = leaf(3)
    with pytest.raises(ValueError, match=r"got shape \(4,\), expected \(3,\)"):
        p.data = np.zeros(4, f4)


# --- freeing --------------------------------------------------------------------------------------
def test_a_graph_is_freed_by_reference_counting_alone(without_gc):
    p = leaf(3)
    y = (p * p).exp()
    array, node = weakref.ref(y.data), weakref.ref(y)
    z = (y * p).relu().sum()
    del y
    assert array() is not None and node() is not None
    del z
    assert array() is None and node() is None


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_graph_of_gradients_is_freed_by_reference_counting_alone(create_graph, without_gc):
    p = leaf(3)
    y = p.exp()
    g, = tv.grad((y * y).sum(), p, create_graph=create_graph)
    arrays = weakref.ref(y.data), weakref.ref(g.data)
    del y, g
    assert [a() for a in arrays] == [None, None]


def test_a_leaf_and_its_grad_are_freed_by_reference_counting_alone(without_gc):
    p = leaf(3)
    (p * p).sum().backward()
    arrays = weakref.ref(p.data), weakref.ref(p.grad.data)
    del p
    assert [a() for a in arrays] == [None, None]


def test_backward_frees_the_graph_as_it_goes(without_gc):
    p = leaf(3)
    y = p.exp()
    array, z = weakref.ref(y.data), (y * y).sum()
    del y
    assert array() is not None
    z.backward()
    assert array() is None


def test_a_chain_of_a_million_additions_is_freed_without_recursion(without_gc):
    p = Tensor(np.zeros(1, f4), True)
    y = p
    for _ in range(1_000_000):
        y = y + 1.0
    last, before = y.item(), sys.getrefcount(p._node)
    del y
    after = sys.getrefcount(p._node)
    assert last == 1_000_000 and after == before - 1


def test_backward_through_a_chain_of_100000_operations_needs_no_recursion():
    p = Tensor(np.ones(1, f8), True)
    y = p
    for _ in range(50_000):
        y = y * 1.0 + p
    y.backward()
    assert p.grad.item() == 50_001


def test_inputs_that_backward_does_not_read_are_released(without_gc):
    p = leaf(1000)
    for op in (ops.sum, ops.relu, ops.exp, ops.mean, lambda x: x + 1.0, lambda x: 3.0 * x, lambda x: x + p,
               lambda x: ops.cat([x, x]), lambda x: ops.pad(x, (1, 1)), lambda x: x / 2):
        x = p * 1.0
        array, y = weakref.ref(x.data), op(x)
        del x
        assert array() is None, op
        assert y.requires_grad


def test_inputs_that_backward_reads_are_kept(without_gc):
    p = leaf(1000)
    for op in (ops.log, lambda x: x * x, lambda x: p / x, lambda x: x ** 2):
        x = p * p
        array, y = weakref.ref(x.data), op(x)
        del x
        assert array() is not None, op
        del y
        assert array() is None, op


def test_nothing_is_kept_without_recording(without_gc):
    p = leaf(3)
    with tv.no_grad():
        x = p * 2.0
        array, y = weakref.ref(x.data), x * x
        del x
    assert array() is None and y.op is None and not y.requires_grad


def test_a_training_loop_needs_no_more_memory_at_step_200_than_at_step_10(without_gc):
    p, x = leaf(64, 64), leaf(64, 64, seed=1).detach()
    tracemalloc.start()
    for step in range(200):
        p.grad = None
        ops.mean((x @ p).relu() ** 2).backward()
        p.data -= 0.01 * p.grad.data
        if step == 10:
            tracemalloc.reset_peak()
            at_10 = tracemalloc.get_traced_memory()[0]
    at_200, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert at_200 < at_10 + 100_000        # one map leaked a step would be 3 million bytes


# --- memory of the graph, against PyTorch ---------------------------------------------------------
def kept_arrays(y):
    """{address: bytes} of the memory that the graph behind `y` keeps, parameters not counted."""
    seen, stack, found = set(), [y._node], {}
    parameters = set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for x in node.inputs or ():
            stack.append(x._node)
            if isinstance(x, Tensor):
                owner = owner_of(x.data)
                found[owner.ctypes.data] = owner.nbytes
                if isinstance(x._node, engine.Leaf):
                    parameters.add(owner.ctypes.data)
        if node.output is not None:
            owner = owner_of(node.output[0])
            found[owner.ctypes.data] = owner.nbytes
        for value in vars(node.op).values() if node.op else ():
            if isinstance(value, np.ndarray):
                found[owner_of(value).ctypes.data] = owner_of(value).nbytes
    return {k: n for k, n in found.items() if k not in parameters}


def owner_of(array):
    """The array whose memory `array` looks at."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def kept_by_torch(make, *parameters):
    """Bytes that PyTorch saves for backward while `make()` runs, parameters not counted."""
    torch = pytest.importorskip("torch")
    found, own = {}, {p.untyped_storage().data_ptr() for p in parameters}

    def note(t):
        found[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        alive = make()
    del alive
    return sum(n for k, n in found.items() if k not in own)


def blocks():
    """{name: block(F, x, w, norm)}; F has conv2d and relu, norm is a batch norm or the identity."""
    def chain(F, x, w, norm):
        for _ in range(4):
            x = F.relu(norm(F.conv2d(x, w, padding=1)))
        return x

    def residual(F, x, w, norm):
        y = norm(F.conv2d(F.relu(norm(F.conv2d(x, w, padding=1))), w, padding=1))
        return F.relu(y + x)
    return {"chain": chain, "residual": residual}


def our_norm():
    """Our batch norm, in training; None where it is not there yet."""
    norm = getattr(ops, "batch_norm", None)
    if norm is None:
        return None
    scale, shift = Tensor(np.ones(8, f4), True), Tensor(np.zeros(8, f4), True)
    return lambda x: norm(x, np.zeros(8, f4), np.ones(8, f4), scale, shift, True, 0.1, 1e-5)


def identity(x):
    return x


MAPS = {("chain", False): 5, ("residual", False): 3, ("chain", True): 9, ("residual", True): 5}


@pytest.mark.parametrize("with_norm", [False, True])
@pytest.mark.parametrize("name", ["chain", "residual"])
def test_the_graph_keeps_no_more_maps_than_pytorch(name, with_norm):
    if with_norm and our_norm() is None:
        pytest.skip("ops.batch_norm is not there yet")
    block = blocks()[name]
    x, w = leaf(2, 8, 32, 32), leaf(8, 8, 3, 3)
    x = x * 1.0                                  # a map computed before: counted, as PyTorch's is
    ours = sum(kept_arrays(block(ops, x, w, our_norm() if with_norm else identity)).values())
    assert ours <= MAPS[name, with_norm] * x.data.nbytes * 1.02
    torch = pytest.importorskip("torch")
    a, b = torch.tensor(x.data, requires_grad=True) * 1.0, torch.tensor(w.data, requires_grad=True)
    scale, shift = torch.ones(8, requires_grad=True), torch.zeros(8, requires_grad=True)

    def norm(t):
        return torch.nn.functional.batch_norm(t, torch.zeros(8), torch.ones(8), scale, shift, True)
    theirs = kept_by_torch(
        lambda: block(torch.nn.functional, a, b, norm if with_norm else identity), b, scale, shift)
    assert ours <= theirs * 1.01


# --- slices ---------------------------------------------------------------------------------------
def test_the_gradients_of_many_slices_are_added_into_one_buffer(monkeypatch):
    made = []
    original = engine.Gradients.buffer

    def buffer(self, node, like):
        made.append(original(self, node, like))
        return made[-1]
    monkeypatch.setattr(engine.Gradients, "buffer", buffer)
    monkeypatch.setattr(ops.shape.Put, "forward", None)          # one Put a slice would be the waste
    p = leaf(100, 5)
    total = p[0] * 0.0
    for i in range(100):
        total = total + (i + 1.0) * p[i]
    total.sum().backward()
    assert len(made) == 101 and len({id(a) for a in made}) == 1
    np.testing.assert_array_equal(p.grad.data, np.arange(1.0, 101)[:, None].repeat(5, 1))


def test_a_hundred_slices_of_a_large_tensor_need_a_few_times_its_memory():
    p = leaf(100, 10_000)
    total = p[0]
    for i in range(1, 100):
        total = total + p[i]
    tracemalloc.start()
    total.sum().backward()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * p.data.nbytes


def test_slices_and_the_whole_tensor_add_up_in_any_order():
    p = leaf(4)
    (p[1:] + p[:3] + p.sum() + p[np.array([0, 0, 3])]).sum().backward()
    np.testing.assert_array_equal(p.grad.data, [6, 5, 5, 5])


# --- modes, identity ------------------------------------------------------------------------------
def test_no_grad_records_nothing_and_ends_with_its_block_also_after_an_error():
    p = leaf(3)
    with pytest.raises(ZeroDivisionError), tv.no_grad():
        assert not tv.is_grad_enabled() and not (p * 2).requires_grad
        raise ZeroDivisionError
    assert tv.is_grad_enabled() and (p * 2).requires_grad


def test_no_grad_is_per_thread():
    inside, checked, seen = threading.Event(), threading.Event(), []

    def other():
        with tv.no_grad():
            inside.set()
            checked.wait(5)
            seen.append(tv.is_grad_enabled())
    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(5)
    recorded = tv.is_grad_enabled() and (leaf(3) * 2.0).requires_grad
    checked.set()
    thread.join()
    assert recorded and seen == [False]


def test_a_new_thread_records():
    seen = []
    with tv.no_grad():
        thread = threading.Thread(target=lambda: seen.append(tv.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_two_threads_build_and_run_graphs_at_once():
    found = {}

    def work(seed):
        p = leaf(6, 6, dtype=f8, seed=seed)
        for _ in range(200):
            p.grad = None
            y = p
            for _ in range(5):
                y = (y @ p).tanh() * p + y[0]
            y.sum().backward()
        found[seed] = p.grad.data
    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    together = dict(found)
    for seed in (1, 2):
        work(seed)
        np.testing.assert_array_equal(together[seed], found[seed])


def test_tensors_hash_by_identity():
    a, b = Tensor([1.0]), Tensor([1.0])
    assert len({a, b, a}) == 2 and {a: 1, b: 2}[b] == 2


def test_equality_and_order_compare_elementwise():
    a = Tensor([1.0, 2.0, 3.0])
    assert (a == Tensor([1.0, 0.0, 3.0])).data.tolist() == [True, False, True]
    assert (a != [1.0, 0.0, 3.0]).data.tolist() == [False, True, False]
    assert (a < 2).data.tolist() == [True, False, False]
    assert (a >= np.array([1, 3, 3])).data.tolist() == [True, False, True]
    assert (2 > a).data.tolist() == [True, False, False]


def test_a_tensor_prints_its_values_and_where_it_came_from():
    assert repr(Tensor([1.0, 2.0])) == "Tensor([1., 2.])"
    assert repr(Tensor([1.0], True)) == "Tensor([1.], requires_grad=True)"
    assert repr(Tensor([1.0], True).exp()) == "Tensor([2.7183], op=Exp())"


def test_a_tensor_behaves_like_its_array_where_python_asks():
    t = Tensor([[1.0, 2.0]])
    assert len(t) == 1 and t.ndim == 2 and t.size == 2 and t.device == "cpu"
    assert float(Tensor(2.5)) == 2.5 and bool(Tensor(0.0)) is False and Tensor([4.0]).item() == 4
    np.testing.assert_array_equal(np.asarray(t), [[1, 2]])
    assert t.numpy() is t.data and [row.shape for row in t] == [(2,)]


# --- relu -----------------------------------------------------------------------------------------
def test_relu_of_minus_infinity_is_0_and_its_gradient_at_0_is_0():
    p = Tensor([-np.inf, -1.0, 0.0, 2.0, np.inf], True)
    y = p.relu()
    y.backward(np.full(5, np.inf, f4))
    assert y.data.tolist() == [0, 0, 0, 2, np.inf]
    assert p.grad.data.tolist() == [0, 0, 0, np.inf, np.inf]


# --- only what is needed --------------------------------------------------------------------------
def kernels_of_backward(x, w):
    y = ops.conv2d(x, w, padding=1).sum()
    with use_variant("cpu") as seen:
        y.backward()
    return set(seen)


def test_a_convolution_computes_only_the_gradients_that_are_needed():
    image, x, w = Tensor(leaf(1, 2, 5, 5).data), leaf(1, 2, 5, 5), leaf(3, 2, 3, 3)
    assert kernels_of_backward(image, w) == {"conv2d_weight_kernel"}
    assert kernels_of_backward(x, Tensor(w.data)) == {"conv_transpose2d_kernel"}
    assert kernels_of_backward(x, w) == {"conv2d_weight_kernel", "conv_transpose2d_kernel"}


def test_tv_grad_for_one_of_the_inputs_computes_only_that_one():
    x, w = leaf(1, 2, 5, 5), leaf(3, 2, 3, 3)
    y = ops.conv2d(x, w, padding=1).sum()
    with use_variant("cpu") as seen:
        tv.grad(y, w, retain_graph=True)
        assert seen == {"conv2d_weight_kernel"}
    with use_variant("cpu") as seen:
        tv.grad(y, x)
        assert seen == {"conv_transpose2d_kernel"}


def test_tv_grad_does_not_walk_below_the_inputs_it_is_asked_for():
    calls = []

    @dataclass(frozen=True)
    class Noted(Op):
        def forward(self, a):
            return a * 2

        def backward(self, g, y, a):
            calls.append("backward")
            return g * 2.0,
    x = leaf(3)
    middle = Noted()(x)
    tv.grad((middle * 3.0).sum(), middle)
    assert calls == []


def test_tv_grad_of_one_branch_leaves_the_other_alone():
    calls = []

    @dataclass(frozen=True)
    class Noted(Op):
        def forward(self, a):
            return a * 2

        def backward(self, g, y, a):
            calls.append("backward")
            return g * 2.0,
    x, z = leaf(3), leaf(3)
    tv.grad((Noted()(x) * z).sum(), z)
    assert calls == []


# --- tv.grad --------------------------------------------------------------------------------------
def test_tv_grad_for_a_tensor_in_the_middle_of_the_graph_and_for_leaves_together():
    x = Tensor([1.0, 2.0], True)
    y = x * 3.0
    z = (y * y).sum()
    gy, gx, again = tv.grad(z, (y, x, y))
    assert gy.data.tolist() == [6, 12] and gx.data.tolist() == [18, 36] and again is gy
    assert x.grad is None


def test_tv_grad_sums_over_outputs_with_their_cotangents():
    x = Tensor([1.0, 2.0], True)
    g, = tv.grad([x * 2.0, x * x], x, grad_outputs=[Tensor([1.0, 1.0]), np.array([10, 1], f4)])
    assert g.data.tolist() == [22, 6]


def test_an_unused_input_raises_or_is_none():
    x, other = leaf(3), leaf(3)
    y = x.sum()
    with pytest.raises(RuntimeError, match="do not depend on one of the inputs; pass allow_unused=True"):
        tv.grad(y, other, retain_graph=True)
    gx, none = tv.grad(y, [x, other], allow_unused=True)
    assert none is None and (gx.data == 1).all()


def test_an_input_without_gradients_raises():
    x = leaf(3)
    with pytest.raises(RuntimeError, match=r"an input of shape \(2,\) does not require a gradient"):
        tv.grad(x.sum(), Tensor([1.0, 2.0]))


def test_detach_cuts_the_graph_and_shares_the_data():
    x = leaf(3)
    d = (x * 2.0).detach()
    assert not d.requires_grad and d.op is None and x.detach().data is x.data


# --- a second pass --------------------------------------------------------------------------------
def test_a_second_backward_raises_unless_the_graph_was_retained():
    x = leaf(3)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.data, 4 * x.data)
    with pytest.raises(GraphError, match="freed by an earlier pass .*retain_graph=True"):
        y.backward()


def test_a_second_tv_grad_raises_the_same_error_also_with_allow_unused():
    x = leaf(3)
    y = x.exp().sum()
    tv.grad(y, x)
    with pytest.raises(GraphError, match="freed by an earlier pass"):
        tv.grad(y, x)
    with pytest.raises(GraphError, match="freed by an earlier pass"):
        tv.grad(y, x, allow_unused=True)


def test_graph_errors_are_runtime_errors_as_in_pytorch():
    assert issubclass(GraphError, RuntimeError)


# --- higher order ---------------------------------------------------------------------------------
@pytest.mark.parametrize("power", [lambda x: x ** 4, lambda x: x * x * x * x, lambda x: (x * x) ** 2,
                                   lambda x: (4.0 * x.log()).exp(), lambda x: x ** 6 / (x * x)])
def test_the_derivatives_of_x_to_the_fourth(power):
    x = Tensor(np.array(2.0), True)
    y, found = power(x), []
    for _ in range(4):
        y, = tv.grad(y, x, create_graph=True)
        found.append(y.item())
    np.testing.assert_allclose(found, [32, 48, 48, 24], rtol=1e-9)


def test_backward_with_create_graph_makes_differentiable_grads():
    x = Tensor(np.array([2.0]), True)
    (x ** 3).sum().backward(create_graph=True)
    g, x.grad = x.grad, None
    assert g.requires_grad and g.item() == 12
    assert tv.grad(g.sum(), x)[0].item() == 12


def test_without_create_graph_gradients_are_constants():
    x = leaf(3)
    g, = tv.grad((x * x).sum(), x)
    assert not g.requires_grad


def energy(m, w, x):
    """One formula for both libraries."""
    return (m.tanh(x @ w) ** 2).sum() + m.exp(x * w[0] * 0.1).sum() / (x * x + 1.0).sum()


def test_a_hessian_vector_product_equals_pytorchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    w, x, v = rng.standard_normal((4, 4)), rng.standard_normal((5, 4)), rng.standard_normal((4, 4))
    ours_w = Tensor(w, True)
    g, = tv.grad(energy(ops, ours_w, Tensor(x)), ours_w, create_graph=True)
    ours, = tv.grad((g * Tensor(v)).sum(), ours_w)
    theirs_w = torch.tensor(w, requires_grad=True)
    tg, = torch.autograd.grad(energy(torch, theirs_w, torch.tensor(x)), theirs_w, create_graph=True)
    theirs, = torch.autograd.grad((tg * torch.tensor(v)).sum(), theirs_w)
    np.testing.assert_allclose(ours.data, theirs.numpy(), rtol=1e-10)


def test_slices_under_create_graph():
    x = Tensor(np.arange(1.0, 5.0), True)
    g, = tv.grad((x[:3] * x[1:]).sum() + (x[0] ** 3), x, create_graph=True)
    h, = tv.grad((g * g).sum(), x)
    hessian = np.diag(np.ones(3), 1) + np.diag(np.ones(3), -1)
    hessian[0, 0] = 6
    np.testing.assert_allclose(h.data, 2 * hessian @ g.data)


# --- ops ------------------------------------------------------------------------------------------
def test_ops_are_frozen():
    op = ops.relu(leaf(3)).op
    with pytest.raises(FrozenInstanceError):
        op.mask = 3
    with pytest.raises(FrozenInstanceError):
        (leaf(3) * 2.0).op.c = 4


@dataclass(frozen=True)
class Cubed(Op):
    """What a student writes."""
    needs = "a",

    def forward(self, a):
        return a ** 3

    def backward(self, g, y, a):
        return g * 3.0 * a * a,


def test_an_op_of_your_own_works_to_every_order():
    x = Tensor(np.array([2.0]), True)
    y, found = Cubed()(x).sum(), []
    for _ in range(3):
        y, = tv.grad(y.sum(), x, create_graph=True)
        found.append(y.item())
    assert found == [12, 12, 6] and Cubed()([3.0]).item() == 27


def test_an_op_may_take_any_number_of_inputs():
    @dataclass(frozen=True)
    class Total(Op):
        def forward(self, *arrays):
            return sum(arrays)

        def backward(self, g, y, *inputs):
            return (g,) * len(inputs)
    a, b, c = leaf(3), leaf(3), leaf(3)
    Total()(a, b, c).sum().backward()
    assert all((x.grad.data == 1).all() for x in (a, b, c))


def forgetful(read):
    """An op whose backward reads its input, which its `needs` does not name."""
    @dataclass(frozen=True)
    class Forgetful(Op):
        def forward(self, a):
            return a * a

        def backward(self, g, y, a):
            return read(g, a),
    return Forgetful()


READS = {"a * g": lambda g, a: a * g, "g * a": lambda g, a: g * a, "g + a": lambda g, a: g + a,
         "exp(a)": lambda g, a: ops.exp(a), "g / a": lambda g, a: g / a, "2 * a": lambda g, a: 2.0 * a,
         "g @ a": lambda g, a: g @ a, "a[0]": lambda g, a: ops.take(a, 0), "sum(a)": lambda g, a: ops.sum(a)}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("forward", [lambda op: op(leaf(3)), lambda op: op(leaf(3) * 1.0)])
def test_a_backward_that_reads_what_needs_does_not_name_is_told_so(name, forward):
    y = forward(forgetful(READS[name]))
    with pytest.raises(TypeError, match="`needs` does not name"):
        y.sum().backward()


def test_needs_that_names_no_argument_of_backward_raises_when_the_class_is_made():
    with pytest.raises(TypeError, match=r"Wrong.needs names \['b'\], which are no arguments of its "
                                        r"backward \(y, a\)"):
        class Wrong(Op):
            needs = "b",

            def backward(self, g, y, a):
                return g,


def test_a_backward_that_returns_the_wrong_shape_is_told_so():
    @dataclass(frozen=True)
    class Wrong(Op):
        def forward(self, a):
            return a.sum(0)

        def backward(self, g, y, a):
            return g,
    with pytest.raises(GraphError, match=r"shape \(2,\) for an input of shape \(3, 2\)"):
        Wrong()(leaf(3, 2)).sum().backward()


def test_cat_gives_every_part_its_gradient():
    a, b, c = leaf(2), leaf(1), leaf(3)
    (ops.cat([a, b, c]) * np.arange(6)).sum().backward()
    assert [t.grad.data.tolist() for t in (a, b, c)] == [[0, 1], [2], [3, 4, 5]]


def test_a_backward_may_return_none_where_there_is_no_gradient():
    @dataclass(frozen=True)
    class Picked(Op):
        def forward(self, a, b):
            return a + 0 * b

        def backward(self, g, y, a, b):
            return g, None
    a, b = leaf(3), leaf(3)
    Picked()(a, b).sum().backward()
    assert b.grad is None and (a.grad.data == 1).all()


# --- errors ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["i4", "i8", "u1", "bool"])
def test_integers_have_no_gradients(dtype):
    with pytest.raises(TypeError, match=f"need a floating dtype, this tensor is {np.dtype(dtype)}"):
        Tensor(np.ones(3, dtype), True)


@pytest.mark.parametrize("data", ["words", object(), [1, "a"], {"a": 1}])
def test_data_that_are_no_numbers_raise(data):
    with pytest.raises(TypeError, match="Tensor: data must be numbers, got"):
        Tensor(data)


def test_backward_of_several_elements_asks_for_a_cotangent():
    with pytest.raises(RuntimeError, match=r"backward: the output has shape \(3,\); pass its cotangent"):
        (leaf(3) * 2.0).backward()
    with pytest.raises(RuntimeError, match=r"grad: the output has shape \(3,\)"):
        x = leaf(3)
        tv.grad(x * 2.0, x)


def test_a_cotangent_of_another_shape_raises():
    with pytest.raises(ValueError, match=r"backward: the cotangent has shape \(2,\), the output \(3,\)"):
        (leaf(3) * 2.0).backward(np.ones(2, f4))


def test_backward_without_any_gradient_wanted_raises():
    with pytest.raises(RuntimeError, match="backward: the output does not require a gradient"):
        Tensor([1.0]).backward()


def test_requires_grad_cannot_be_changed_on_what_was_computed():
    y = leaf(3) * 2.0
    with pytest.raises(RuntimeError, match=r"use detach\(\)"):
        y.requires_grad = False


def test_requires_grad_can_be_switched_on_a_leaf():
    p = Tensor([1.0, 2.0])
    p.requires_grad = True
    (p * p).sum().backward()
    assert p.grad.data.tolist() == [2, 4]
    p.requires_grad = False
    assert not (p * p).requires_grad


def test_errors_are_one_sentence():
    for wrong in (lambda: Tensor("words"), lambda: Tensor([1.0]).backward(), lambda: leaf(3).backward(),
                  lambda: Tensor(np.arange(3), True), lambda: leaf(3).backward(leaf(2))):
        with pytest.raises(Exception) as caught:
            wrong()
        assert "\n" not in str(caught.value) and ". " not in str(caught.value)


@pytest.mark.parametrize("op", [
    lambda a, b: a * b, lambda a, b: a @ b,
    lambda a, b: ops.conv2d(a.reshape(1, 1, 4, 4), b.reshape(1, 1, 4, 4), padding=2),
    lambda a, b: ops.conv_transpose2d(a.reshape(1, 1, 4, 4), b.reshape(1, 1, 4, 4))])
def test_a_factor_is_kept_only_for_the_other_ones_gradient(op):
    """x * mask keeps the mask alone, a frozen convolution its weight alone: as PyTorch does."""
    for learned in (0, 1):
        arrays = [np.random.default_rng(0).standard_normal((4, 4)) for _ in range(2)]
        inputs = [Tensor(a, requires_grad=k == learned) for k, a in enumerate(arrays)]
        y = op(*inputs)
        kept = [x for x in y._node.inputs if isinstance(x, Tensor)]
        assert len(kept) == 1 and np.shares_memory(kept[0].data, arrays[1 - learned])
        y.sum().backward()
        assert inputs[learned].grad.shape == (4, 4) and inputs[1 - learned].grad is None


def test_none_is_no_number():
    with pytest.raises(TypeError, match="data must be numbers, got None"):
        tv.Tensor(None)
    with pytest.raises(TypeError, match="data must be numbers, got None"):
        tv.ops.relu(None)


def test_a_parameter_that_changes_its_dtype_has_gradients_of_the_new_one():
    p = Tensor(np.ones(3, np.float32), requires_grad=True)
    p.data = p.data.astype(np.float64)
    (p * p).sum().backward()
    assert p.dtype == p.grad.dtype == np.float64
