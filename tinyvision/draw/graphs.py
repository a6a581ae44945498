"""The autograd graph, as text and as a picture: what the engine remembers, and in which order.

    print(graph_text(y, x=x, w=w))
    graph(y, x=x, w=w)

A gradient made by `tv.grad(loss, x, create_graph=True)` has a graph too. Name the loss, and what
was computed after it is shown as the backward pass: `graph(gradient, x=x, loss=loss)`.
"""
import textwrap
from dataclasses import dataclass, field

from tinyvision.engine import GraphError, Tensor

@dataclass(eq=False)
class Vertex:
    """One box: an op's result, a leaf or a constant. `inputs` are the boxes it was made from."""
    label: str
    shape: str
    kind: str                                  # "leaf", "constant", "forward" or "backward"
    name: str = ""
    inputs: list = field(default_factory=list)


def vertices(tensor, names):
    """The vertices behind `tensor`, each after its inputs; the last is the tensor's own.

    Raises:
        TypeError: no Tensor.
        ValueError: a Tensor without a graph.
        GraphError: the graph was freed by a backward pass.
    """
    for name, t in {"tensor": tensor, **names}.items():
        if not isinstance(t, Tensor):
            raise TypeError(f"graph: {name} is {type(t).__name__}, expected a Tensor")
    if tensor._node is None:
        raise ValueError("graph: the tensor was not computed from anything that requires gradients")
    named = {t._node or id(t): name for name, t in names.items()}
    loss = max((t._node.number for t in names.values()
                if t.op is not None and t._node is not tensor._node), default=float("inf"))
    found = {}
    for node in _by_number(tensor._node):
        if node.inputs is None:
            raise GraphError("graph: a backward pass has freed it; draw it before, or pass "
                             "retain_graph=True")
        kind = "leaf" if node.op is None else "backward" if node.number > loss else "forward"
        found[node] = Vertex(repr(node.op) if node.op else "leaf", str(node.shape), kind,
                             named.get(node, ""),
                             [found.get(x._node) or _constant(x, found, named)
                              for x in node.inputs])
    return list(found.values())


def _by_number(root):
    """The nodes behind `root`, in the order in which they were made."""
    seen, stack = {root}, [root]
    while stack:
        new = {x._node for x in stack.pop().inputs or ()} - seen - {None}
        seen |= new
        stack += new
    return sorted(seen, key=lambda node: node.number)


def _constant(x, found, named):
    """The vertex of an input outside the graph; the engine may have kept nothing of it."""
    key = id(x) if isinstance(x, Tensor) else len(found)     # stand-ins are not one and the same
    if key not in found:
        shape = str(x.shape) if isinstance(x, Tensor) else ""
        found[key] = Vertex("constant", shape, "constant", named.get(id(x), ""))
    return found[key]


def graph_text(tensor, **names) -> str:
    """The graph as text: every line was computed from the further indented lines below it.

    Args:
        tensor: a Tensor that was computed.
        names: what to call the tensors in it, as x=x, weight=w.

    Returns:
        One line a result: its name, op and shape. What is used more than once has a number, and
        only that number is written from the second time on.
    """
    everything = vertices(tensor, names)
    uses = [v for user in everything for v in user.inputs]
    shared = [v for v in everything if uses.count(v) > 1 and v.kind in ("forward", "backward")]
    numbers = {v: f"[{k}] " for k, v in enumerate(shared, 1)}
    rows, written, stack = [], set(), [(everything[-1], 0)]
    while stack:
        v, depth = stack.pop()
        indent = "  " * depth
        if v in numbers and v in written:
            rows.append((f"{indent}{numbers[v].strip()} again", "", ""))
            continue
        written.add(v)
        title = v.name if v.name and v.kind in ("leaf", "constant") else (
            f"{v.name} = {v.label}" if v.name else v.label)
        rows.append((indent + numbers.get(v, "") + title, v.shape,
                     v.kind if v.kind == "backward" else ""))
        stack += [(x, depth + 1) for x in reversed(v.inputs)]
    wide = max(len(left) for left, _, _ in rows)
    shapes = max(len(shape) for _, shape, _ in rows)
    return "\n".join(f"{left:{wide}}  {shape:{shapes}}  {note}".rstrip()
                     for left, shape, note in rows)


# --- the picture ----------------------------------------------------------------------------------
LINE_WIDTH = 30                                # letters of an op's fields on one line
ROOM = 0.75                                    # inches between layers, for the shapes


def graph(tensor, **names):
    """The graph as a picture, from the leaves above to the result below.

    Args:
        tensor: a Tensor that was computed.
        names: what to call the tensors in it. Name a loss, and what came after it is drawn as the
            backward pass, in orange.

    Returns:
        A matplotlib Figure. Arrows carry shapes. Laid out by grandalf where it is installed.
    """
    from tinyvision.draw.board import Picture
    everything = vertices(tensor, names)
    sizes = {v: _size(v) for v in everything}
    places, routes = _layout(everything, sizes)
    two_passes = any(v.kind == "backward" for v in everything)
    low, high = _extent(places, sizes, routes, 0.75 if two_passes else 0.3)
    picture = Picture(dpi=110, figsize=(high[0] - low[0], high[1] - low[1]))
    axes = picture.add_axes((0, 0, 1, 1))
    axes.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]))
    axes.axis("off")
    for route, shape, kind in routes:
        _arrow(axes, route, shape, kind)
    for v in everything:
        _box(axes, v, places[v], sizes[v], last=v is everything[-1])
    if two_passes:
        _legend(axes, low)
    return picture


def _lines(v):
    """(bold line, small lines) of a box."""
    if v.kind in ("leaf", "constant"):
        return (v.name or v.kind), ([v.shape] if v.shape else [])
    title, _, fields = v.label.partition("(")
    title = f"{v.name} = {title}" if v.name else title
    return title, textwrap.wrap(fields.removesuffix(")"), LINE_WIDTH)


def _size(v):
    """(width, height) of a box in inches."""
    bold, small = _lines(v)
    width = max(0.098 * len(bold), *(0.066 * len(line) for line in small), 0.5)
    return width + 0.3, 0.4 + 0.15 * len(small)


def _layout(everything, sizes):
    """({vertex: (x, y)}, [(points, shape, kind)]), y growing downwards."""
    edges = list(dict.fromkeys((x, v) for v in everything for x in v.inputs))
    places = _simple(everything, edges, sizes)
    corners = {}
    try:
        places, corners = _sugiyama(everything, edges, sizes)
    except ImportError:
        pass
    routes = []
    for source, target in edges:
        inner = corners.get((source, target), [])
        x0, y0 = places[source][0], places[source][1] + sizes[source][1] / 2
        x1, y1 = places[target][0], places[target][1] - sizes[target][1] / 2
        times = target.inputs.count(source)
        shape = source.shape if source.kind not in ("leaf", "constant") else ""
        routes.append(([(x0, y0), *inner, (x1, y1)], f"{shape} twice" if times > 1 else shape,
                       target.kind))
    return places, routes


def _sugiyama(everything, edges, sizes):
    """The layered layout of Sugiyama et al. (1981), by grandalf."""
    from grandalf.graphs import Edge, Graph, Vertex as Point
    from grandalf.layouts import SugiyamaLayout
    points = {v: Point(v) for v in everything}
    lines = {pair: Edge(points[pair[0]], points[pair[1]]) for pair in edges}
    drawing = Graph(list(points.values()), list(lines.values())).C[0]
    for v, point in points.items():
        point.view = type("View", (), {"w": sizes[v][0], "h": sizes[v][1], "xy": (0, 0)})()
    layout = SugiyamaLayout(drawing)
    layout.xspace, layout.yspace = 0.45, ROOM
    layout.init_all(roots=[p for p in points.values() if not p.e_in()], optimize=True)
    layout.draw(8)
    corners = {}
    for pair, line in lines.items():
        inner = layout.ctrls.get(line) or {}
        bends = [inner[rank].view.xy for rank in sorted(inner)][1:-1]
        corners[pair] = bends if pair[0] in points else bends[::-1]
    return {v: point.view.xy for v, point in points.items()}, corners


def _simple(everything, edges, sizes):
    """Layers by depth; inside a layer, everything stands near what it is connected with."""
    depth = {}
    for v in everything:
        depth[v] = 1 + max((depth[x] for x in v.inputs), default=-1)
    for v in everything:
        if not v.inputs and (users := [depth[user] for source, user in edges if source is v]):
            depth[v] = min(users) - 1
    layers = [[v for v in everything if depth[v] == k] for k in range(max(depth.values()) + 1)]
    x = {v: float(k) for layer in layers for k, v in enumerate(layer)}
    for sweep in range(8):
        for layer in layers if sweep % 2 else reversed(layers):
            wish = {v: _mean([x[b if a is v else a] for a, b in edges if v in (a, b)], x[v])
                    for v in layer}
            layer.sort(key=wish.get)
            _spread(layer, wish, sizes, x)
    tops, y = {}, 0.0
    for layer in layers:
        tall = max(sizes[v][1] for v in layer)
        tops.update({v: y + tall / 2 for v in layer})
        y += tall + ROOM
    return {v: (x[v], tops[v]) for v in everything}


def _mean(values, otherwise):
    return sum(values) / len(values) if values else otherwise


def _spread(layer, wish, sizes, x):
    """Places in a row, near the wishes, none over another."""
    edge = float("-inf")
    for v in layer:
        x[v] = max(wish[v], edge + sizes[v][0] / 2)
        edge = x[v] + sizes[v][0] / 2 + 0.45
    shift = _mean([wish[v] - x[v] for v in layer], 0)
    for v in layer:
        x[v] += shift


def _extent(places, sizes, routes, above):
    """The corners of the paper, with room `above` for the legend."""
    xs = [x + s * sizes[v][0] / 2 for v, (x, _) in places.items() for s in (-1, 1)]
    ys = [y + s * sizes[v][1] / 2 for v, (_, y) in places.items() for s in (-1, 1)]
    xs += [x for route, _, _ in routes for x, _ in route]
    return (min(xs) - 0.3, min(ys) - above), (max(xs) + 0.3, max(ys) + 0.3)


def _colour(kind):
    from tinyvision.draw.palette import COLOURS, GREY
    return {"leaf": COLOURS[2], "constant": GREY, "forward": COLOURS[0],
            "backward": COLOURS[1]}[kind]


def _arrow(axes, route, shape, kind):
    """A smooth arrow through the points, with the shape beside its middle."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    from tinyvision.draw.palette import INK, PAPER
    points, codes = [route[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in zip(route, route[1:]):
        middle = (y0 + y1) / 2
        points += [(x0, middle), (x1, middle), (x1, y1)]
        codes += [Path.CURVE4] * 3
    axes.add_patch(FancyArrowPatch(
        path=Path(points, codes), arrowstyle="-|>", mutation_scale=10, linewidth=1.2, fill=False,
        color=_colour("backward") if kind == "backward" else "#777777",
        linestyle=(0, (4, 2)) if kind == "backward" else "-", zorder=1))
    if shape:
        (x0, y0), (x1, y1) = route[0], route[1]
        axes.text((x0 + x1) / 2, (y0 + y1) / 2, shape, size=7.5, color=INK, ha="center",
                  va="center",
                  zorder=2, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.2})


def _box(axes, v, place, size, last):
    """A rounded box: what it is in bold, its fields small below."""
    from matplotlib.patches import FancyBboxPatch

    from tinyvision.draw.palette import INK, tint
    (x, y), (width, height), colour = place, size, _colour(v.kind)
    round_ = height / 2 if v.kind in ("leaf", "constant") else 0.08
    axes.add_patch(FancyBboxPatch(
        (x - width / 2 + round_, y - height / 2 + round_), width - 2 * round_, height - 2 * round_,
        boxstyle=f"round,pad={round_}", facecolor=tint(colour, 0.16), edgecolor=colour,
        linewidth=2.2 if last else 1.3, zorder=3))
    bold, small = _lines(v)
    top = y - 0.075 * len(small)
    axes.text(x, top, bold, size=10, weight="bold", color=INK, ha="center", va="center", zorder=4)
    for k, line in enumerate(small):
        axes.text(x, top + 0.19 + 0.15 * k, line, size=7.5, color="#555555", ha="center",
                  va="center", zorder=4)


def _legend(axes, low):
    for k, (kind, words) in enumerate([("forward", "forward pass"), ("backward", "backward pass")]):
        axes.text(low[0] + 0.12, low[1] + 0.16 + 0.2 * k, f"\u25a0 {words}", size=8,
                  color=_colour(kind), ha="left", va="center", weight="bold")
