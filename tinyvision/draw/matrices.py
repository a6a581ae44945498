"""Images as the matrices of numbers that they are."""
from itertools import zip_longest

import numpy as np

from tinyvision.draw.board import Board, to_matrix, value_fills, written


def numbers(array, title=None, highlight=None):
    """An image (H, W), or (1, 1, H, W), as its numbers: blue above 0, orange below.

    highlight: (row, column) pairs, or a mask (H, W), of cells to frame.
    """
    return numbers_row([array], [title], highlights=[highlight])


def numbers_row(arrays, titles=None, symbols=None, highlights=None):
    """Several matrices beside each other. titles: one for each; symbols: what stands between
    them ("→" unless told otherwise), as in ["·", "="]; highlights: as in `numbers`, one for each.
    """
    matrices = [to_matrix(array, "numbers_row") for array in arrays]
    tallest = max(matrix.shape[0] for matrix in matrices)
    symbols = ["→"] * (len(matrices) - 1) if symbols is None else symbols
    board, x = Board(), 0
    for matrix, title, symbol, mark in zip_longest(matrices, titles or [], symbols,
                                                   highlights or []):
        width = max(matrix.shape[1], title_width(title))
        put_matrix(board, x + (width - matrix.shape[1]) / 2, (tallest - matrix.shape[0]) / 2,
                   matrix, title, mark)
        if symbol is not None:
            board.words(x + width + 0.8, tallest / 2, symbol, size=18)
        x += width + 1.6
    return board.figure()


def title_width(title):
    """The width of a title, which may have several lines, in cells."""
    return 0.21 * max((len(line) for line in (title or "").split("\n")), default=0)


def put_matrix(board, x, y, matrix, title=None, highlight=None):
    """A matrix with its upper left corner at (x, y), its title above, some cells framed."""
    board.grid(x, y, written(matrix), value_fills(matrix))
    if title:
        board.words(x + matrix.shape[1] / 2, y - 0.45, title, weight="bold", size=10)
    for row, column in marked(highlight):
        board.frame(x + column, y + row)


def marked(highlight):
    """(row, column) pairs of a mask, or the pairs as they are."""
    if highlight is None:
        return []
    if isinstance(highlight, np.ndarray) and highlight.dtype == bool:
        return np.argwhere(highlight)
    return highlight
