"""Upsampling step by step: stamps, switches, and the matrix of a convolution."""
import numpy as np

from .board import Board, number, to_array, to_matrix, value_fills, written
from .matrices import put_matrix
from .palette import ACCENT, GREY, LINE, category, rgb, signed, tint, PAPER


# Transposed convolution

def stamps(x, kernel, stride=1, padding=0):
    """Transposed convolution, one picture for each input pixel: the pixel times the kernel is
    stamped onto the output, and where stamps overlap the sum is written out, as in "-120+150".

    x (H, W) and kernel (I, J); stride and padding are integers. The picture of pixel (row,
    column) stands in that row and column. Padding takes rows and columns off the result: the
    dashed frame is what remains.
    """
    x, kernel = to_matrix(x, "stamps"), to_matrix(kernel, "stamps")
    board, size = Board(), canvas_size(x, kernel, stride, padding)
    put_question(board, x, kernel)
    top = max(x.shape[0], kernel.shape[0]) + 1.8
    total = np.zeros(size)
    for row, column in np.ndindex(x.shape):
        place = column * (size[1] + 1.2), top + row * (size[0] + 1.5)
        total = put_stamp(board, place, total, x, kernel, (row, column), stride)
        put_kept(board, place, size, padding)
    return board.figure()


def canvas_size(x, kernel, stride, padding):
    size = tuple((n - 1) * stride + k for n, k in zip(x.shape, kernel.shape))
    if stride < 1 or padding < 0 or min(size) <= 2 * padding:
        raise ValueError(f"stamps: stride is at least 1 and padding leaves something of the "
                         f"{size[0]}x{size[1]} sums; got stride {stride}, padding {padding}.")
    return size


def put_question(board, x, kernel):
    put_matrix(board, 0, 0, x, "input")
    put_matrix(board, x.shape[1] + 1.5, 0, kernel, "kernel")


def put_stamp(board, place, before, x, kernel, pixel, stride):
    """One step: the sums so far, the new stamp framed; returns the new sums."""
    row, column = pixel[0] * stride, pixel[1] * stride
    stamp = np.full(before.shape, np.nan)
    stamp[row:row + kernel.shape[0], column:column + kernel.shape[1]] = x[pixel] * kernel
    largest = np.abs(x).max() * np.abs(kernel).max()
    after = before + np.nan_to_num(stamp)
    fills = [[signed(new, largest) if new == new else PAPER for new in line] for line in stamp]
    board.grid(*place, sums(before, stamp), fills)
    board.frame(place[0] + column, place[1] + row, kernel.shape[1], kernel.shape[0])
    title = f"+ {number(x[pixel])} · kernel"
    board.words(place[0] + before.shape[1] / 2, place[1] - 0.45, title, size=10, weight="bold")
    return after


def sums(before, stamp):
    """What stands in each cell: the sum so far, the stamp, or both written out."""
    return [[number(old) if new != new else written_sum([v for v in (old, new) if v])
             for old, new in zip(*lines)] for lines in zip(before, stamp)]


def written_sum(values):
    """"-120+150" for [-120, 150]; "0" for none."""
    return "+".join(number(value) for value in values).replace("+-", "-") or "0"


def put_kept(board, place, size, padding):
    if padding:
        board.frame(place[0] + padding, place[1] + padding, size[1] - 2 * padding,
                    size[0] - 2 * padding, colour="#222222", line=1.6, style="--")


# Max-pooling and max-unpooling

def switches(x, kernel_size, stride=None, values=None):
    """Max-pooling with the places it remembers, and unpooling to these places.

    x (H, W); kernel_size and stride (the kernel size, unless given) are integers; values (A, B):
    what is unpooled, the maxima themselves unless given. Each window has a colour; windows that
    remember the same place are summed there, and the sum is written out.
    """
    x, stride = to_matrix(x, "switches"), stride or kernel_size
    maxima, places = pooled(x, kernel_size, stride)
    values = maxima if values is None else to_matrix(values, "switches")
    if values.shape != maxima.shape:
        raise ValueError(f"switches: values are one for each window, {maxima.shape}; "
                         f"got {values.shape}.")
    board, gap = Board(), 1.6
    put_windows(board, 0, x, places)
    put_coloured(board, x.shape[1] + gap, maxima, f"{kernel_size}x{kernel_size} max, stride "
                 f"{stride}")
    left = x.shape[1] + maxima.shape[1] + 2 * gap
    put_coloured(board, left, values, "to unpool")
    put_unpooled(board, left + maxima.shape[1] + gap, x.shape, values, places)
    for at in (x.shape[1], x.shape[1] + gap + maxima.shape[1], left + maxima.shape[1]):
        board.words(at + gap / 2, x.shape[0] / 2, "→", size=18)
    return board.figure()


def pooled(x, size, stride):
    """The maximum of each window (A, B), and its (row, column) in x (A, B, 2)."""
    shape = tuple((n - size) // stride + 1 for n in x.shape)
    if min(shape) < 1:
        raise ValueError(f"switches: a {size}x{size} window does not fit into {x.shape}.")
    maxima, places = np.zeros(shape, x.dtype), np.zeros((*shape, 2), int)
    for a, b in np.ndindex(shape):
        window = x[a * stride:a * stride + size, b * stride:b * stride + size]
        row, column = np.unravel_index(window.argmax(), window.shape)
        maxima[a, b], places[a, b] = window[row, column], (a * stride + row, b * stride + column)
    return maxima, places


def put_windows(board, x0, x, places):
    """The input; each remembered place is framed in the colour of its window, a second window
    inside the first's frame."""
    board.grid(x0, 0, written(x))
    board.words(x0 + x.shape[1] / 2, -0.45, "input", weight="bold", size=10)
    frames = np.zeros(x.shape, int)
    for k, (row, column) in enumerate(places.reshape(-1, 2)):
        inset = 0.04 + 0.09 * frames[row, column]
        board.frame(x0 + column + inset, row + inset, 1 - 2 * inset, 1 - 2 * inset, category(k))
        frames[row, column] += 1


def put_coloured(board, x0, matrix, title):
    """One value a window, in the colour of its window."""
    fills = [[tint(category(a * matrix.shape[1] + b), 0.4) for b in range(matrix.shape[1])]
             for a in range(matrix.shape[0])]
    board.grid(x0, 0.5, written(matrix), fills)
    board.words(x0 + matrix.shape[1] / 2, 0.05, title, weight="bold", size=10)


def put_unpooled(board, x0, shape, values, places):
    terms = np.frompyfunc(lambda _: [], 1, 1)(np.zeros(shape))
    windows = np.frompyfunc(lambda _: [], 1, 1)(np.zeros(shape))
    for k, (row, column) in enumerate(places.reshape(-1, 2)):
        terms[row, column].append(values.flat[k])
        windows[row, column].append(k)
    fills = [[mixed(cell) for cell in line] for line in windows]
    board.grid(x0, 0, [[written_sum(cell) for cell in line] for line in terms], fills)
    board.words(x0 + shape[1] / 2, -0.45, "unpooled", weight="bold", size=10)


def mixed(windows):
    """The mean of the windows' tints; white for none."""
    if not windows:
        return PAPER
    return tuple(np.mean([tint(category(k), 0.4) for k in windows], axis=0))


# The matrix of a convolution

def conv_matrix(matrix, vector=None, symbols=None, transpose=False):
    """The matrix X of a convolution, each kernel element in a colour of its own.

    matrix (A, B): numbers or letters. vector: what it is multiplied with, numbers or letters,
    and then the product is drawn too, as in "ay+bz". symbols: letters for values, as in
    {1: "x", 2: "y", 3: "z"}. transpose: draw X^T instead of X.
    """
    texts = lettered(to_matrix(matrix, "conv_matrix"), symbols or {})
    elements = list(dict.fromkeys(text for text in texts.flat if text != "0"))
    texts, name = (texts.T, "Xᵀ") if transpose else (texts, "X")
    board = Board()
    fills = [[element_fill(text, elements) for text in line] for line in texts]
    board.grid(0, 0, texts, fills)
    board.words(texts.shape[1] / 2, -0.45, name, weight="bold")
    if vector is not None:
        put_product(board, texts, lettered(to_array(vector).reshape(1, -1), symbols or {})[0])
    return board.figure()


def lettered(array, symbols):
    """The texts of an array, values replaced by their symbols."""
    return np.array([[symbols.get(value, number(value)) for value in row]
                     for row in array.tolist()], dtype=object)


def element_fill(text, elements):
    return rgb(PAPER) if text == "0" else tint(category(elements.index(text)), 0.4)


def put_product(board, texts, vector):
    rows, columns = texts.shape
    if len(vector) != columns:
        raise ValueError(f"conv_matrix: the matrix has {columns} columns, so the vector has "
                         f"{columns} elements; got {len(vector)}.")
    middle, results = rows / 2, [product(line, vector) for line in texts]
    board.words(columns + 0.5, middle, "·", size=18)
    board.grid(columns + 1, middle - columns / 2, [[v] for v in vector])
    board.words(columns + 2.7, middle, "=", size=18)
    for row, result in enumerate(results):
        board.words(columns + 3.4, row + 0.5, result, align="left", size=12)


def product(line, vector):
    """A row times a column: "ay+bz" of letters, the sum of numbers."""
    terms = [(v, w) for w, v in zip(line, vector) if w != "0" and v != "0"]
    if all(is_number(v) and is_number(w) for v, w in terms):
        return number(sum(float(v) * float(w) for v, w in terms))
    return " + ".join(v + w for v, w in terms) or "0"


def is_number(text):
    return text.lstrip("-").replace(".", "", 1).isdigit()
