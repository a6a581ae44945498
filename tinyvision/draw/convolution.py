"""Convolution step by step: where the window stands, what it sees, and what filters answer.

    slides(signal, kernel)            every position of a window over a signal
    windows(size, kernel, settings)   stride, padding and dilation of a window over an image
    groups(inputs, outputs, groups)   which channels are connected
    receptive_field(layers)           what one result sees through several layers
    signed(maps), filters(weights)    positive blue, negative orange
"""
import numpy as np
from matplotlib.patches import Rectangle

from tinyvision.draw import palette
from tinyvision.draw.board import Board, to_array
from tinyvision.draw.palette import GREY, INK, LINE, NEGATIVE, PAPER, POSITIVE, category, tint
from tinyvision.draw.pictures import panels, show
from tinyvision.draw.tiles import box, canvas, word
from tinyvision.draw.upsampling import element_fill, lettered, product

HATCH = tint(GREY, 0.16)                 # padding: not part of the image


# --- a signal -------------------------------------------------------------------------------------
def slides(signal, kernel, stride=1, padding=0, dilation=1):
    """A convolution of a signal, one picture for each result: the padded signal, the kernel under
    what it is multiplied with, and the sum that comes out. Padding is grey.

    signal (W,) and kernel (J,): numbers or letters; the others are integers.
    """
    kernel = lettered(to_array(kernel).reshape(1, -1), {})[0]
    padded = ["0"] * padding + list(lettered(to_array(signal).reshape(1, -1), {})[0])
    padded += ["0"] * padding
    reach = dilation * (len(kernel) - 1)
    count = (len(padded) - reach - 1) // max(1, stride) + 1
    if min(stride, dilation) < 1 or padding < 0 or count < 1:
        raise ValueError(f"slides: stride and dilation are at least 1, padding at least 0, and "
                         f"the kernel, {reach + 1} wide, fits into the padded signal, "
                         f"{len(padded)}; got stride {stride}, dilation {dilation}, "
                         f"padding {padding}.")
    board = Board()
    for k in range(count):
        put_position(board, 3 * k, padded, kernel, k * stride, dilation, padding)
    return board.figure()


def put_position(board, y, padded, kernel, first, dilation, padding):
    """One result: signal, kernel below, the sum at the right."""
    seen = [first + i * dilation for i in range(len(kernel))]
    for x, text in enumerate(padded):
        outside = not padding <= x < len(padded) - padding
        board.cell(x, y, text, HATCH if outside else PAPER, GREY if text == "0" else INK)
    for text, x in zip(kernel, seen):
        board.cell(x, y + 1, text, element_fill(text, list(dict.fromkeys(kernel))))
    board.frame(first, y, seen[-1] - first + 1)
    board.words(len(padded) + 0.7, y + 1, "=", size=18)
    row = np.array(["0"] * len(padded), dtype=object)
    row[seen] = kernel
    board.words(len(padded) + 1.4, y + 1, product(row, padded), align="left", size=12)


# --- windows over an image ------------------------------------------------------------------------
def windows(size, kernel, settings, scale=0.21):
    """Where the first two windows of a convolution stand, and the results that they give.

    size, kernel: of the square image and the square kernel; settings: dictionaries of any of
    stride, padding and dilation, one picture each. scale: inches a pixel. The first window is
    blue, the second (the next to the right) orange; padding is grey.
    """
    parts = [Window(size, kernel, **setting) for setting in settings]
    wide = sum(p.padded + p.count + 3.4 for p in parts) + 2.6 * (len(parts) - 1)
    figure, axes = canvas(wide + 0.6, max(p.padded for p in parts) + 3.4, scale)
    x = 0.3
    for part in parts:
        part.put(axes, x, 2.4)
        x += part.padded + part.count + 6
    return figure


class Window:
    """A square kernel over a square image: sizes, and its picture."""

    def __init__(self, size, kernel, stride=1, padding=0, dilation=1):
        self.kernel, self.stride, self.padding, self.dilation = kernel, stride, padding, dilation
        self.padded, self.reach = size + 2 * padding, dilation * (kernel - 1) + 1
        self.count = (self.padded - self.reach) // max(1, stride) + 1
        if self.count < 1 or min(stride, dilation) < 1 or padding < 0:
            raise ValueError(f"windows: a {kernel}x{kernel} kernel with dilation {dilation}, "
                             f"stride {stride} does not fit into {size}x{size} with padding "
                             f"{padding}.")

    @property
    def title(self):
        """What is not as usual."""
        words = [f"{name} {value}" for name, value, usual in
                 (("stride", self.stride, 1), ("padding", self.padding, 0),
                  ("dilation", self.dilation, 1)) if value != usual]
        return ", ".join(words) or "stride 1"

    def put(self, axes, x, y):
        """The padded image at the left, the result at the right."""
        inside = range(self.padding, self.padded - self.padding)
        for row, column in np.ndindex(self.padded, self.padded):
            fill = PAPER if row in inside and column in inside else HATCH
            box(axes, x + column, y + row, 1, 1, fill, LINE)
        for k in reversed(range(min(2, self.count))):
            self.put_window(axes, x + k * self.stride, y, k)
        right, top = x + self.padded + 3.4, y + (self.padded - self.count) / 2
        for row, column in np.ndindex(self.count, self.count):
            fill = tint(category(column), 0.75) if row == 0 and column < 2 else PAPER
            box(axes, right + column, top + row, 1, 1, fill, LINE)
        word(axes, x + self.padded + 1.7, y + self.padded / 2, "→", 14)
        word(axes, x, y - 1.2, self.title, 10, "left")
        word(axes, right + self.count / 2, top + self.count + 0.8, f"{self.count}x{self.count}", 9)

    def put_window(self, axes, x, y, k):
        """The pixels that one window reads, and a frame around them."""
        for row, column in np.ndindex(self.kernel, self.kernel):
            axes.add_patch(Rectangle((x + column * self.dilation, y + row * self.dilation), 1, 1,
                                     facecolor=category(k), alpha=0.42, edgecolor="none"))
        inset = 0.14 * k
        axes.add_patch(Rectangle((x + inset, y + inset), self.reach - 2 * inset,
                                 self.reach - 2 * inset, fill=False, edgecolor=category(k),
                                 linewidth=2, zorder=3))


# --- channels -------------------------------------------------------------------------------------
def groups(inputs, outputs, groups=(1,)):
    """Which input channels every output channel sees: one picture for each number of groups.

    inputs, outputs: numbers of channels; groups: numbers that divide both.
    """
    for count in groups:
        if count < 1 or inputs % count or outputs % count:
            raise ValueError(f"groups: {count} groups do not divide {inputs} input and {outputs} "
                             "output channels.")
    tall = 1.3 * max(inputs, outputs)
    figure, axes = canvas(9.4 * len(groups) - 1.8, tall + 2.8, 0.3)
    for k, count in enumerate(groups):
        put_group(axes, 0.7 + 9.4 * k, tall, inputs, outputs, count)
    return figure


def put_group(axes, x, tall, inputs, outputs, count):
    """Input channels at the left, output channels at the right, a line for every 2D filter."""
    left, right = (1.7 + tall * (np.arange(n) + 0.5) / n for n in (inputs, outputs))
    for o, c in np.ndindex(outputs, inputs):
        if o * count // outputs == c * count // inputs:
            axes.plot([x + 1.2, x + 5.4], [left[c], right[o]], linewidth=1.1, zorder=1,
                      color=category(o * count // outputs))
    for places, at in ((left, x), (right, x + 5.4)):
        for k, y in enumerate(places):
            fill = tint(category(k * count // len(places)), 0.4)
            box(axes, at, y - 0.42, 1.2, 0.84, fill)
    word(axes, x + 3.3, 0.7, f"groups {count}", 10)
    word(axes, x + 3.3, tall + 2.3, f"{inputs * outputs // count} filters of I x J", 9)


# --- the receptive field --------------------------------------------------------------------------
def receptive_field(layers, scale=0.3):
    """What one result sees of the layers before it, in one dimension: the input lies below.

    layers: (kernel, stride) or (kernel, stride, dilation) of every layer, the first first.
    """
    layers = [(*layer, 1)[:3] for layer in layers]
    seen = [np.array([0])]
    for kernel, stride, dilation in reversed(layers):
        taps = dilation * (np.arange(kernel) - (kernel - 1) / 2)
        seen.insert(0, np.unique((seen[0][:, None] * stride + taps).ravel()))
    spread = np.cumprod([1] + [stride for _, stride, _ in layers])    # pixels from one to the next
    half = np.ptp(seen[0]) / 2 + 1.5
    titles = [row_title(k, layers, int(np.ptp(seen[0])) + 1) for k in range(len(seen))]
    figure, axes = canvas(2 * half + 0.8 + 0.25 * max(map(len, titles)), 2.3 * len(seen) - 0.3,
                          scale)
    for k, (places, step) in enumerate(zip(seen, spread)):
        y = 2.3 * (len(layers) - k) + 0.6
        put_row(axes, half, y, places * step, step, half)
        if k:
            put_rays(axes, half, y, places * step, seen[k - 1] * spread[k - 1], layers[k - 1],
                     spread[k - 1])
        word(axes, 2 * half + 0.4, y + 0.5, titles[k], 9, "left")
    return figure


def row_title(k, layers, width):
    """What stands beside a row."""
    if k == 0:
        return f"input: {width} seen"
    kernel, stride, dilation = layers[k - 1]
    extra = f", stride {stride}" * (stride > 1) + f", dilation {dilation}" * (dilation > 1)
    return f"layer {k}: kernel {kernel}{extra}"


def put_row(axes, middle, y, places, step, half):
    """One layer's elements, those that are seen in colour."""
    first = places[0] - step * np.floor((places[0] + half - 0.5) / step)
    for at in np.arange(first, half, step):
        there = np.isclose(places, at).any()
        box(axes, middle + at - 0.42, y, 0.84, 1, tint(category(0), 0.55) if there else PAPER,
            category(0) if there else LINE)


def put_rays(axes, middle, y, places, below, layer, step):
    """Lines from every seen element to those that it was computed from."""
    kernel, _, dilation = layer
    reach = step * dilation * (kernel - 1) / 2 + 1e-6
    for at in places:
        for source in below[np.abs(below - at) <= reach]:
            axes.plot([middle + at, middle + source], [y + 1, y + 2.3], color=GREY, linewidth=0.6,
                      zorder=0)


# --- filters and their answers --------------------------------------------------------------------
def signed(maps, titles=None, columns=None, side=1.6, largest=None):
    """Maps of numbers as pictures: white at 0, blue above, orange below.

    maps (N, H, W), (N, 1, H, W) or a list of (H, W); titles: one for each; columns: how many
    stand in a row (at most 8 unless told otherwise); side: the width of one, in inches; largest:
    the number that has the full colour (in every map its own largest unless given).
    """
    maps = [to_array(m) for m in maps]
    maps = [m[0] if m.ndim == 3 and len(m) == 1 else m for m in maps]
    if wrong := [m.shape for m in maps if m.ndim != 2]:
        raise ValueError(f"signed: a map is (H, W) or (1, H, W); got {wrong[0]}.")
    columns = columns or min(8, len(maps))
    figure, axes = panels(-(-len(maps) // columns), columns, side, 0.28 if titles else 0.04)
    for k, one in enumerate(maps):
        show(axes[k], in_colour(one, largest), titles[k] if titles else None)
        axes[k].add_patch(Rectangle((-0.5, -0.5), one.shape[1], one.shape[0], fill=False,
                                    edgecolor=LINE, linewidth=1))
    return figure


def in_colour(matrix, largest=None):
    """(H, W, 3): white at 0, blue above, orange below."""
    most = np.abs(matrix).max(initial=0) if largest is None else largest
    amount = np.clip(np.abs(matrix) / (most or 1), 0, 1)[..., None]
    full = np.where(matrix[..., None] > 0, palette.rgb(POSITIVE), palette.rgb(NEGATIVE))
    full = 0.75 * full + 0.25 * full ** 2                    # the palette's, a little darker
    return 1 - amount * (1 - full)


def filters(weights, titles=None, columns=None, side=0.9):
    """Filters of a first layer, as the images that they answer to most.

    weights (O, 3, I, J): in colour, grey at 0; (O, 1, I, J): blue and orange, white at 0. All are
    drawn to one scale.
    """
    weights = to_array(weights)
    if weights.ndim != 4 or weights.shape[1] not in (1, 3):
        raise ValueError(f"filters: expected (O, 3, I, J) or (O, 1, I, J), got {weights.shape}.")
    largest = np.abs(weights).max(initial=0) or 1
    if weights.shape[1] == 1:
        return signed(weights, titles, columns, side, largest)
    columns = columns or min(8, len(weights))
    figure, axes = panels(-(-len(weights) // columns), columns, side, 0.28 if titles else 0.04)
    for k, one in enumerate(weights):
        show(axes[k], 0.5 + 0.5 * one.transpose(1, 2, 0) / largest, titles[k] if titles else None)
    return figure
