"""The autograd graph as text and as a picture."""
import subprocess
import sys

import numpy as np
import pytest

import tinyvision as tv
from tinyvision import ops
from tinyvision.draw.graphs import graph_text
from tinyvision.engine import GraphError, Tensor


def layer():
    """(loss, x, weight, bias) of relu(conv2d(x, weight, bias)).sum()."""
    x, w = Tensor(np.ones((2, 3, 8, 8), np.float32)), Tensor(np.ones((4, 3, 3, 3), np.float32), True)
    b = Tensor(np.zeros(4, np.float32), True)
    return ops.relu(ops.conv2d(x, w, b, padding=1)).sum(), x, w, b


def cubed():
    """(gradient, x, loss) of the sum of x * x * x."""
    x = Tensor(np.ones(5, np.float32), True)
    loss = (x * x * x).sum()
    return tv.grad(loss, x, create_graph=True)[0], x, loss


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_text_has_ops_shapes_and_the_given_names():
    y, x, w, b = layer()
    lines = graph_text(y, loss=y, x=x, weight=w, bias=b).splitlines()
    assert [line.split("(")[0].strip() for line in lines][:4] == ["loss = Reshape", "Sum", "ReLU", "Conv2d"]
    assert "padding=(1, 1)" in lines[3] and lines[3].endswith("(2, 4, 8, 8)")
    assert [line.split()[0] for line in lines[4:]] == ["x", "weight", "bias"]
    assert lines[4].endswith("(2, 3, 8, 8)") and lines[4].startswith("        x")


def test_the_text_is_aligned():
    y, x, w, b = layer()
    lines = graph_text(y, x=x, weight=w, bias=b).splitlines()
    starts = {line.rstrip().rfind("  (") for line in lines}
    assert len(starts) == 1


def test_what_is_used_twice_is_written_once():
    x = Tensor([1.0, 2.0], True)
    y = x.exp()
    text = graph_text((y * y + y).sum(), x=x)
    assert text.count("Exp()") == 1 and text.count("[1] Exp()") == 1 and text.count("[1] again") == 2


def test_a_text_of_shared_nodes_does_not_double_with_every_level():
    y = Tensor([1.0], True)
    for _ in range(60):
        y = y * y
    assert len(graph_text(y).splitlines()) < 130


def test_a_deep_graph_needs_no_recursion():
    y = Tensor([1.0], True)
    for _ in range(3000):
        y = y + 1.0
    assert len(graph_text(y).splitlines()) == 3001


def test_the_backward_pass_is_marked_where_the_loss_is_named():
    g, x, loss = cubed()
    marked = graph_text(g, x=x, loss=loss)
    assert marked.count("backward") == 6 and "backward" not in graph_text(g, x=x)
    assert [line for line in marked.splitlines() if "Mul()" in line and "backward" not in line]


def test_a_tensor_without_a_graph_and_a_freed_graph_are_told_apart():
    with pytest.raises(ValueError, match="not computed from anything that requires gradients"):
        graph_text(Tensor([1.0]))
    with pytest.raises(TypeError, match="graph: w is ndarray, expected a Tensor"):
        graph_text(layer()[0], w=np.ones(3))
    y = layer()[0]
    y.backward()
    with pytest.raises(GraphError, match="freed"):
        graph_text(y)


def test_importing_it_does_not_import_matplotlib():
    code = "import sys, tinyvision.draw.graphs; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(params=["grandalf", "own layers"])
def graph(request, monkeypatch):
    """The picture, by either layout."""
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from tinyvision.draw import graph as _
    module = sys.modules["tinyvision.draw.graphs"]
    if request.param == "grandalf":
        pytest.importorskip("grandalf")
    else:
        monkeypatch.setitem(sys.modules, "grandalf", None)
        monkeypatch.setitem(sys.modules, "grandalf.graphs", None)
    return module.graph


def test_the_picture_has_a_box_for_every_node(graph, tmp_path):
    y, x, w, b = layer()
    figure = graph(y, x=x, weight=w, bias=b)
    figure.savefig(tmp_path / "graph.png")
    found = words(figure)
    assert {"x", "weight", "bias", "Conv2d", "ReLU", "Sum", "Reshape", "(2, 4, 8, 8)"} <= set(found)
    assert "backward pass" not in " ".join(found)


def test_the_picture_of_a_gradient_tells_the_two_passes_apart(graph):
    g, x, loss = cubed()
    figure = graph(g, x=x, loss=loss)
    assert "backward pass" in " ".join(words(figure)) and words(figure).count("Mul") == 5
    edges = {patch.get_edgecolor() for patch in figure.axes[0].patches}
    assert len(edges) >= 5                       # leaf, constant, forward, backward, arrow


def test_no_box_lies_over_another(graph):
    y, x, w, b = layer()
    z = y + (w * w).sum() + b.exp().sum() * 2.0
    figure = graph(z, x=x, weight=w, bias=b)
    from matplotlib.patches import FancyBboxPatch
    boxes = [p.get_window_extent() for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]
    assert len(boxes) == 16
    assert not any(a.overlaps(c) for k, a in enumerate(boxes) for c in boxes[:k])
