"""Tiles: what lies in registers, what in shared memory, and which words a warp reads."""
import numpy as np
from matplotlib.patches import Rectangle

from tinyvision.draw.board import DPI, Picture, to_array
from tinyvision.draw.palette import ACCENT, GREY, INK, LINE, PAPER, category, tint

A, B, C = tint(category(2), 0.5), tint(category(1), 0.55), tint(category(4), 0.55)
LANE = 0.42                              # the width of a lane; a row is 1 high
WORDS = 32                               # numbers of four bytes in a line of 128 bytes
SECTOR = 8                               # numbers in the 32 bytes that memory hands out at least


def canvas(width, height, scale):
    """A figure without axes, `scale` inches a unit, y growing downwards from the upper left."""
    figure = Picture(figsize=(width * scale, height * scale), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure, axes


def box(axes, x, y, width, height, fill, edge=INK, line=0.8):
    """A filled rectangle with its upper left corner at (x, y)."""
    axes.add_patch(Rectangle((x, y), width, height, facecolor=fill, edgecolor=edge, linewidth=line))


def word(axes, x, y, words, size=9, align="center", colour=INK):
    """Words around (x, y)."""
    axes.text(x, y, words, size=size, ha=align, va="center", color=colour, linespacing=1.35)


# --- the register tile ----------------------------------------------------------------------------
def register_tile(rows, lanes, vectors=2, registers=32, ahead=None):
    """One step of the register tile, C += a b, and the registers that it takes.

    rows, lanes, vectors: C has so many rows of so many vectors of so many lanes. registers: those
    of the processor; what does not fit is framed in orange. ahead: how many numbers of `a` are
    fetched before they are used (all of them unless told otherwise).
    """
    wide, across = vectors * lanes * LANE, 8
    taken = [C] * rows * vectors + [B] * vectors + [A] * (ahead or rows)
    tall = max(rows + 3.4, 2.4 + 1.15 * -(-max(len(taken), registers) // across))
    figure, axes = canvas(wide + 5.6 + across * 1.15, tall, 0.26)
    put_product(axes, 2.2, 2.2, rows, lanes, vectors)
    put_registers(axes, wide + 4.6, 2.2, taken, registers, across)
    return figure


def put_product(axes, x, y, rows, lanes, vectors):
    """The vectors of b above, the numbers of a at the left, the sums between them."""
    wide = lanes * LANE
    word(axes, x + vectors * wide / 2, 0.4, f"b: {vectors} x {lanes} numbers, loaded")
    for v in range(vectors):
        put_vector(axes, x + v * wide, y - 1.3, lanes, B)
        for m in range(rows):
            put_vector(axes, x + v * wide, y + m, lanes, C)
    for m in range(rows):
        box(axes, x - 1.3, y + m, 0.8, 1, A)
    word(axes, x - 0.9, y - 0.8, "a")
    word(axes, x + vectors * wide / 2, y + rows + 0.7,
         f"C: {rows} x {vectors * lanes} sums")


def put_vector(axes, x, y, lanes, fill):
    """One register: its lanes, and a frame."""
    for lane in range(lanes):
        box(axes, x + lane * LANE, y, LANE, 1, fill, PAPER, 0.5)
    box(axes, x, y, lanes * LANE, 1, "none", INK, 1.0)


def put_registers(axes, x, y, taken, registers, across):
    """One box a register, in the colour of what it holds; beyond the last they lie in memory."""
    spare = registers - len(taken)
    words = f"{len(taken)} of {registers} registers" if spare >= 0 else (
        f"{len(taken)} are needed, there are {registers}")
    word(axes, x, 0.4, words, align="left", colour=INK if spare >= 0 else ACCENT)
    for k in range(max(len(taken), registers)):
        fill, left, top = taken[k] if k < len(taken) else PAPER, x + k % across * 1.15, y - 1.3
        out = k >= registers
        box(axes, left, top + k // across * 1.15, 1, 1, fill, ACCENT if out else INK,
            2.4 if out else 0.8)


# --- the shared tile ------------------------------------------------------------------------------
def shared_tile(tile=64, depth=16, own=4):
    """The tiles of one CUDA block: a product w columns = y, with the strips of `depth` terms that
    lie in shared memory at a time, the `tile` x `tile` results of the block, and the `own` x `own`
    of one thread."""
    figure, axes = canvas(15.2, 11.6, 0.42)
    put_matrix(axes, 1.2, 5.4, 4, 4.8, "w: filters x terms")
    put_matrix(axes, 6.4, 0.8, 7.2, 4, "columns: terms x positions (never written down)")
    put_matrix(axes, 6.4, 5.4, 7.2, 4.8, "y: filters x positions")
    for x, y, width, height in ((1.2, 6.6, 4, 1.8), (7.4, 0.8, 1.8, 4)):
        box(axes, x, y, width, height, "none", GREY, 0.9)
    box(axes, 2.2, 6.6, 0.6, 1.8, A)
    box(axes, 7.4, 1.8, 1.8, 0.6, B)
    box(axes, 7.4, 6.6, 1.8, 1.8, C)
    box(axes, 8.1, 7.2, 0.3, 0.3, ACCENT, ACCENT)
    box(axes, 2.2, 7.2, 0.6, 0.3, ACCENT, ACCENT)
    box(axes, 8.1, 1.8, 0.3, 0.6, ACCENT, ACCENT)
    word(axes, 3.2, 8.9, f"{tile} x {depth}\nin shared memory", 8)
    word(axes, 9.4, 2.1, f"{depth} x {tile} in shared memory", 8, "left")
    word(axes, 8.3, 8.9, f"{tile} x {tile}: one block", 8)
    word(axes, 9.4, 7.35, f"{own} x {own}: one thread,\nin its registers", 8, "left", ACCENT)
    return figure


def put_matrix(axes, x, y, width, height, title):
    """An outline and its title below."""
    box(axes, x, y, width, height, tint(GREY, 0.08), LINE, 1.2)
    word(axes, x + width / 2, y + height + (0.5 if y > 5 else -height - 0.4), title)


# --- coalescing -----------------------------------------------------------------------------------
def warp_reads(reads):
    """Which words of memory the threads of a warp read at once: a row of 32 words is a line of 128
    bytes, of which memory hands out 32 bytes or more.

    reads: {title: places of the numbers, one a thread}, in numbers of four bytes.
    """
    panels = {title: np.unique(to_array(places)) for title, places in reads.items()}
    shown = {title: np.unique(places // WORDS) for title, places in panels.items()}
    tall = max(map(len, shown.values()))
    figure, axes = canvas(len(panels) * (WORDS + 6) - 4, tall + 6, 0.085)
    for k, (title, places) in enumerate(panels.items()):
        put_lines(axes, 1 + k * (WORDS + 6), 4.6, places, shown[title])
        fetched = 4 * SECTOR * len(np.unique(places // SECTOR))
        word(axes, 1 + k * (WORDS + 6), 2,
             f"{title}\n{fetched} bytes fetched for {4 * len(places)}", 9, "left")
    return figure


def put_lines(axes, x, y, places, lines):
    """The lines of memory that are touched: what is fetched pale, what is read dark."""
    fetched = np.unique(places // SECTOR) * SECTOR
    for row, line in enumerate(lines):
        box(axes, x, y + row, WORDS, 1, PAPER, LINE, 0.5)
        for first in fetched[fetched // WORDS == line]:
            box(axes, x + first % WORDS, y + row, SECTOR, 1, C, LINE, 0.5)
        for place in places[places // WORDS == line]:
            box(axes, x + place % WORDS, y + row, 1, 1, category(0), PAPER, 0.3)
