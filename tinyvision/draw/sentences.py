"""Sentences about images, word by word: where the decoder looked, what it might have said, and the
tree of a beam search."""
import numpy as np

from tinyvision.draw.board import DPI, Picture, to_array
from tinyvision.draw.palette import ACCENT, GREY, INK, LINE, POSITIVE
from tinyvision.draw.pictures import displayable

SIDE, BARS, GAP = 1.0, 0.17, 0.08          # inches: an image, the bar of a word, between panels
DARK = 0.68                                # how much of the light goes where nobody looks


def captions(images, told, words, true=None, best=3, columns=8):
    """How sentences came about. Each image stands at the left, its true caption below if it is
    given (orange where the answer is another one). Then step after step: the word that was chosen,
    bright where the decoder looked for it, and the most probable words.

    images: a list of N (3, H, W) in [0, 1]; told: N of `models.language.Told` (words (L,),
    probabilities (L, V), looks (L, h, w) or None); words: the word of each number (V); true: N
    sentences; best: how many words are listed; columns: steps side by side.
    """
    images = [displayable(image) for image in images]
    heights = [max(1, -(-len(one.words) // columns)) for one in told]
    tall = SIDE + best * BARS + 0.36                         # a step
    board = Panels((columns + 1) * (SIDE + GAP) + 0.3, sum(heights) * tall)
    top = 0.0
    for k, (image, one) in enumerate(zip(images, told)):
        board.image(0, top + 0.22, image)
        if true is not None:
            below(board.axes(0, top + SIDE + 0.26, SIDE, best * BARS), one, words, true[k])
        for t in range(len(one.words)):
            x = 0.3 + (1 + t % columns) * (SIDE + GAP)
            step(board, x, top + t // columns * tall + 0.22, image, one, t, words, best)
        top += heights[k] * tall
    return board.figure


class Panels:
    """Axes at places measured in inches from the upper left corner."""

    def __init__(self, width, height):
        self.size = width, height
        self.figure = Picture(figsize=self.size, dpi=DPI)

    def axes(self, x, y, width, height):
        """Empty ones, without lines around."""
        W, H = self.size
        axes = self.figure.add_axes((x / W, 1 - (y + height) / H, width / W, height / H))
        axes.axis("off")
        return axes

    def image(self, x, y, image):
        """Axes with an image (H, W, 3) in them."""
        axes = self.axes(x, y, SIDE, SIDE)
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        return axes


def below(axes, told, words, true):
    """The true caption, in lines as wide as the image."""
    said = " ".join(words[k] for k in told.words if words[k] != "<end>")
    lines, colour = [""], INK if said == true else ACCENT
    for word in true.split():
        lines += [""] if len(lines[-1]) + len(word) > 18 else []
        lines[-1] = f"{lines[-1]} {word}".strip()
    axes.text(0, 1, "\n".join(lines), size=7, color=colour, va="top", transform=axes.transAxes)


def step(board, x, y, image, told, t, words, best):
    """One word: where it was looked for, and the most probable ones."""
    axes = board.image(x, y, image)
    axes.set_title(words[told.words[t]], size=9, color=INK, pad=3)
    if told.looks is not None:
        darken(axes, to_array(told.looks[t]), image.shape[:2])
    p = to_array(told.probabilities[t])
    axes = board.axes(x, y + SIDE + 0.03, SIDE, best * BARS)
    axes.set(xlim=(0, 1), ylim=(best, 0))
    for row, k in enumerate(np.argsort(-p, kind="stable")[:best].tolist()):
        axes.barh(row + 0.5, p[k], 0.84, color=POSITIVE if k == told.words[t] else LINE)
        axes.text(0.02, row + 0.5, words[k], size=6.5, color=INK, va="center")
        axes.text(0.98, row + 0.5, odds(p[k]), size=6.5, color=INK, va="center", ha="right")


def darken(axes, look, size):
    """Let an image be bright only where the weights (h, w) are large."""
    shade = np.zeros((*look.shape, 4))
    shade[..., 3] = DARK * (1 - look / max(float(look.max()), 1e-12))
    axes.imshow(shade, extent=(-0.5, size[1] - 0.5, size[0] - 0.5, -0.5), interpolation="bilinear")


def beam_tree(steps, words):
    """The beginnings that a beam search kept: a column for every step, best above; with each word
    its probability behind the words before. Orange is the answer, grey what was given up.

    steps: what `models.language.search.beam` returned; words: the word of each number.
    """
    places = positions(steps)
    depth, width = len(steps), max(map(len, steps))
    figure = Picture(figsize=(0.95 * (depth + 1), 0.62 * width + 0.2), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.6, depth + 0.6), ylim=(width - 0.4, -0.6))
    axes.axis("off")
    answer, alive = (family(some) for some in (steps[-1][:1], steps[-1]))
    for one, (x, y) in places.items():
        colour = ACCENT if one in answer else INK if one in alive else GREY
        if one.parent is not None:
            a, b = places[one.parent]
            axes.plot((a + 0.3, x - 0.3), (b, y), color=colour, linewidth=1.2, alpha=0.7)
            axes.text(x, y + 0.24, odds(np.exp(one.log_p - one.parent.log_p)), size=7, color=GREY,
                      ha="center", va="center")
        axes.text(x, y, words[one.word], size=9, color=colour, ha="center", va="center")
    return figure


def odds(p):
    """A probability in few letters, also a small one."""
    return f"{p:.2f}" if p >= 0.005 else f"{p:.0e}".replace("e-0", "e-")


def positions(steps):
    """(column, row) of every beginning: the step in which it came, its rank there; also of those
    that were dropped later, and of the first."""
    places = {}
    for t, kept in enumerate(steps):
        for row, one in enumerate(kept):
            places.setdefault(one, (t + 1, row))
            if one.parent is not None and one.parent.parent is None:
                places.setdefault(one.parent, (0, 0))
    return places


def family(some):
    """These beginnings and all that they are continued from."""
    found = set()
    for one in some:
        while one is not None:
            found.add(one)
            one = one.parent
    return found
