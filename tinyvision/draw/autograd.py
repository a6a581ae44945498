"""Automatic differentiation in numbers: a graph of scalars, and what a network makes of a plane.

    tape(loss, w=w, x=x, u=u)
    plane(points, labels, score)
"""
from dataclasses import dataclass, field

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from tinyvision.draw.board import DPI, Picture, number, to_array
from tinyvision.draw.graphs import Vertex, _by_number, _extent, _layout, vertices
from tinyvision.draw.palette import COLOURS, INK, PAPER, category, tint
from tinyvision.engine import Tensor, grad

FORMS = {"Add": "{} + {}", "Sub": "{} − {}", "Mul": "{} · {}", "Div": "{} / {}", "Neg": "−{}"}
POWERS = str.maketrans("-.0123456789", "⁻·⁰¹²³⁴⁵⁶⁷⁸⁹")
FORWARD, BACKWARD = COLOURS[0], "#b36b00"      # the second is the palette's orange, to be read


# --- a graph of numbers ---------------------------------------------------------------------------
@dataclass(eq=False)
class Number(Vertex):
    """A box: a number, the loss's gradient with respect to it, the slopes towards its inputs."""
    value: float = 0.0
    gradient: float = 0.0
    slopes: list = field(default_factory=list)


def tape(loss, **names):
    """The graph behind a number, from left to right: in every box its value and the gradient of
    `loss` with respect to it, on every arrow the slope of that one step.

    So the chain rule can be read off: a gradient is the sum, over the arrows that leave its box,
    of the arrow's slope times the gradient where it ends.

    Args:
        loss: a Tensor of one element, computed from such Tensors.
        names: what to call the tensors in it, as w=w; every leaf has a name.

    Raises:
        ValueError: a tensor of several elements, a leaf without a name, or a constant of which
            the graph kept nothing.
        GraphError: a backward pass has freed the graph.
    """
    vertices(loss, names)                                    # refuses what cannot be drawn
    boxes = numbers(loss, names)
    sizes = {v: (0.8, max(1.0, 0.083 * len(v.label) + 0.35)) for v in boxes}     # (tall, wide)
    places, routes = _layout(boxes, sizes)
    (top, left), (bottom, right) = _extent(places, sizes, routes, 0.3)
    top -= 0.35
    figure = Picture(dpi=110, figsize=(right - left, bottom - top))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.axis("off")
    for (source, target), (points, _, _) in zip(arrows(boxes), routes):
        put_arrow(axes, [(y, x) for x, y in points], slope(source, target))
    for v in boxes:
        put_number(axes, v, places[v][::-1], sizes[v][::-1])
    for k, (words, colour) in enumerate((("value, computed forwards", FORWARD),
                                         ("gradient, computed backwards", BACKWARD))):
        axes.text(left + 0.2 + 2.0 * k, top + 0.2, f"■ {words}", size=8, weight="bold",
                  color=colour, va="center")
    return figure


def numbers(loss, names):
    """The boxes, each after those that it was computed from."""
    tensors = {t._node: (name, t) for name, t in names.items() if t._node is not None}
    nodes, found = _by_number(loss._node), {}
    for k, node in enumerate(nodes):
        if node.shape not in ((), (1,)):
            raise ValueError(f"tape: one number a box, got a tensor of shape {node.shape}; "
                             "draw.graph shows tensors")
        name = tensors[node][0] if node in tensors else "" if node is loss._node else f"#{k}"
        found[node] = leaf(name, tensors.get(node)) if node.op is None else step(name, node, found)
    for node, gradient in zip(nodes, grad(loss, nodes, retain_graph=True)):
        found[node].gradient = gradient.item()
    return list(found.values())


def leaf(name, known):
    """The box of a tensor that was given."""
    if known is None:
        raise ValueError("tape: a leaf has no name; name every tensor that requires a gradient")
    return Number(name, "", "leaf", name, value=known[1].item())


def step(name, node, found):
    """The box of one application of an op, replayed alone for its value and its slopes."""
    behind = [found.get(x._node, x) for x in node.inputs]
    if not all(isinstance(x, (Number, Tensor)) for x in behind):
        raise ValueError(f"tape: {node.op!r} kept nothing of a constant; write it as a Python "
                         "number, or let it require a gradient")
    inputs = [Tensor(np.float64(x.value if isinstance(x, Number) else x.item()), requires_grad=True)
              for x in behind]
    y = node.op(*inputs)
    slopes = [(x, g.item()) for x, g in zip(behind, grad(y, inputs)) if isinstance(x, Number)]
    text = expression(node.op, [x.name if isinstance(x, Number) else number(x.item())
                                for x in behind])
    return Number(f"{name} = {text}" if name else text, "", "forward", name,
                  [x for x, _ in slopes], y.item(), slopes=slopes)


def expression(op, inputs):
    """What an op computes, as one writes it: "w · x", "v − 2", "e²"."""
    kind = type(op).__name__
    if kind == "Shift":
        return f"{inputs[0]} {'+' if op.c >= 0 else '−'} {number(abs(op.c))}"
    if kind == "Scale":
        return f"{number(op.c)} · {inputs[0]}"
    if kind == "Pow":
        return inputs[0] + number(op.n).translate(POWERS)
    return FORMS.get(kind, kind.lower() + "({})").format(*inputs)


def arrows(boxes):
    """(source, target) in the order of the routes: an input that is used twice has one arrow."""
    return list(dict.fromkeys((x, v) for v in boxes for x in v.inputs))


def slope(source, target):
    """The slopes from one box to another, a sum where it is used more than once."""
    slopes = [number(g) for x, g in target.slopes if x is source]
    return slopes[0] if len(slopes) == 1 else "(" + " + ".join(slopes) + ")"


def put_arrow(axes, points, words):
    """A smooth arrow to the right, the slope beside its middle."""
    route, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        middle = (x0 + x1) / 2
        route += [(middle, y0), (middle, y1), (x1, y1)]
        codes += [Path.CURVE4] * 3
    axes.add_patch(FancyArrowPatch(path=Path(route, codes), arrowstyle="-|>", mutation_scale=10,
                                   linewidth=1.2, color="#777777", fill=False, zorder=1))
    (x0, y0), (x1, y1) = points[0], points[1]
    axes.text((x0 + x1) / 2, (y0 + y1) / 2, f"× {words}", size=8.5, color=INK, ha="center",
              va="center", zorder=2, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1})


def put_number(axes, v, place, size):
    """A box: what it is, its value, its gradient."""
    (x, y), (width, height), colour = place, size, COLOURS[2 if v.kind == "leaf" else 0]
    axes.add_patch(FancyBboxPatch(
        (x - width / 2 + 0.08, y - height / 2 + 0.08), width - 0.16, height - 0.16,
        boxstyle="round,pad=0.08", facecolor=tint(colour, 0.12), edgecolor=colour, linewidth=1.3,
        zorder=3))
    rows = ((v.label, INK, 10.5), (number(v.value), FORWARD, 10),
            (number(v.gradient), BACKWARD, 10))
    for k, (words, ink, points) in enumerate(rows):
        axes.text(x, y + 0.24 * (k - 1), words, size=points, weight="bold", color=ink, ha="center",
                  va="center", zorder=4)


# --- a plane --------------------------------------------------------------------------------------
def plane(points, labels, score=None, title=None, side=3.4):
    """Points of two classes, and on which side of a network's border each place lies.

    points (N, 2); labels (N,) of 0 and 1; score: a function of points (M, 2) that gives (M,)
    numbers, above 0 for class 1, as an array or a Tensor; or a dictionary of titles and such
    functions, one picture each.
    """
    points, labels = to_array(points), to_array(labels)
    panels = score if isinstance(score, dict) else {title or "": score}
    margin = 0.12 * np.ptp(points, 0).max()
    low, high = points.min(0) - margin, points.max(0) + margin
    tall = side * (high - low)[1] / (high - low)[0]
    figure = Picture(figsize=(side * len(panels), tall + 0.3), dpi=DPI, layout="constrained")
    for axes, (name, one) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        if one is not None:
            put_sides(axes, one, low, high)
        for k in (0, 1):
            axes.scatter(*points[labels == k].T, s=11, color=category(k), edgecolor=PAPER,
                         linewidth=0.4, zorder=3)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[],
                 yticks=[])
        axes.set_title(name, size=10, color=INK)
    return figure


def put_sides(axes, score, low, high, steps=160):
    """The two sides tinted, the border as a line."""
    x, y = np.linspace(low, high, steps).T
    places = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    values = to_array(score(places.astype(np.float32))).reshape(steps, steps)
    axes.contourf(x, y, values, levels=[-np.inf, 0, np.inf],
                  colors=[tint(category(0), 0.25), tint(category(1), 0.25)])
    if values.min() < 0 < values.max():
        axes.contour(x, y, values, levels=[0], colors=INK, linewidths=1.2)
