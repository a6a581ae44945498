"""Upsampling step by step: stamps, switches, and the matrix of a convolution."""
import numpy as np

from tinyvision.draw.board import Board, number, to_array, to_matrix, written
from tinyvision.draw.matrices import put_matrix
from tinyvision.draw.palette import INK, PAPER, category, rgb, signed, tint


# Transposed convolution

def stamps(x, kernel, stride=1, padding=0, output_padding=0):
    """Transposed convolution, one picture for each input pixel: the pixel times the kernel is
    stamped onto the output, and where stamps overlap the sum is written out, as in "-120+150".

    x (H, W) and kernel (I, J); the others are integers. The picture of pixel (row, column) stands
    in that row and column. Output padding adds rows and columns at the lower right, padding then
    takes some off on every side: the dashed frame is what remains.
    """
    x, kernel = to_matrix(x, "stamps"), to_matrix(kernel, "stamps")
    steps = list(stamping(x, kernel, stride, padding, output_padding))
    board = Board(longest_text(texts for _, _, texts, _ in steps))
    put_equation(board, x, kernel, steps[-1][-1], padding)
    top = max(len(x), len(kernel), len(steps[-1][-1])) + 1.8
    for (row, column), stamp, texts, after in steps:
        place = column * (after.shape[1] + 0.8), top + row * (len(after) + 1.5)
        put_stamp(board, place, texts, stamp, f"+ {number(x[row, column])} · kernel")
        put_kept(board, place, after.shape, padding)
    return board.figure()


def stamping(x, kernel, stride, padding, output_padding):
    """Yields for each pixel: (row, column), its stamp (NaN where it is not), the texts of all
    cells, the sums after it."""
    total = np.zeros(canvas_size(x, kernel, stride, padding, output_padding))
    for row, column in np.ndindex(x.shape):
        stamp, top, left = np.full(total.shape, np.nan), row * stride, column * stride
        stamp[top:top + len(kernel), left:left + kernel.shape[1]] = x[row, column] * kernel
        texts, total = sums(total, stamp), total + np.nan_to_num(stamp)
        yield (row, column), stamp, texts, total


def canvas_size(x, kernel, stride, padding, output_padding):
    """(H, W) of the sum of all stamps, before padding crops it."""
    size = tuple((n - 1) * stride + k + output_padding for n, k in zip(x.shape, kernel.shape))
    if stride < 1 or padding < 0 or min(size) <= 2 * padding:
        raise ValueError(f"stamps: stride is at least 1 and padding leaves something of the "
                         f"{size[0]}x{size[1]} sums; got stride {stride}, padding {padding}.")
    return size


def longest_text(tables):
    """The length of the longest text in the tables."""
    return max(len(text) for table in tables for line in table for text in line)


def put_equation(board, x, kernel, total, padding):
    """What goes in and what comes out, in one row above the steps."""
    put_matrix(board, 0, 0, x, "input")
    put_matrix(board, x.shape[1] + 0.8, 0, kernel, "kernel")
    left = x.shape[1] + kernel.shape[1] + 2.2
    board.words(left - 0.7, min(len(x), len(kernel)) / 2, "→", size=18)
    put_matrix(board, left, 0, total, "sum of the stamps")
    put_kept(board, (left, 0), total.shape, padding)


def put_stamp(board, place, texts, stamp, title):
    """One step: all sums, the new stamp coloured and framed."""
    largest = np.nanmax(np.abs(stamp))
    fills = [[PAPER if new != new else signed(new, largest) for new in line] for line in stamp]
    board.grid(*place, texts, fills)
    rows, columns = np.nonzero(~np.isnan(stamp))
    board.frame(place[0] + columns[0], place[1] + rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1)
    board.words(place[0] + stamp.shape[1] / 2, place[1] - 0.45, title, size=10, weight="bold")


def sums(before, stamp):
    """What stands in each cell: the sum so far, the stamp, or both written out."""
    return [[number(old) if new != new else written_sum([v for v in (old, new) if v])
             for old, new in zip(*lines)] for lines in zip(before, stamp)]


def written_sum(values):
    """"-120+150" for [-120, 150]; "0" for none."""
    return "+".join(number(value) for value in values).replace("+-", "-") or "0"


def put_kept(board, place, size, padding):
    """The dashed frame around what padding leaves."""
    if padding:
        board.frame(place[0] + padding, place[1] + padding, size[1] - 2 * padding,
                    size[0] - 2 * padding, colour=INK, line=1.6, style="--")


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
    texts, windows = unpooled(values, places, x.shape)
    board, gap = Board(longest_text([texts])), 1.4
    lefts = np.cumsum([0] + [m.shape[1] + gap for m in (x, maxima, values)])
    put_windows(board, x, places)
    put_coloured(board, lefts[1], maxima, f"{kernel_size}x{kernel_size} max, stride {stride}")
    put_coloured(board, lefts[2], values, "to unpool")
    board.grid(lefts[3], 0, texts, [[mixed(cell) for cell in line] for line in windows])
    board.words(lefts[3] + x.shape[1] / 2, -0.45, "unpooled", weight="bold", size=10)
    for left in lefts[1:]:
        board.words(left - gap / 2, len(x) / 2, "→", size=18)
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


def put_windows(board, x, places):
    """The input; each remembered place is framed in the colour of its window, a second window
    inside the first's frame."""
    board.grid(0, 0, written(x))
    board.words(x.shape[1] / 2, -0.45, "input", weight="bold", size=10)
    frames = np.zeros(x.shape, int)
    for k, (row, column) in enumerate(places.reshape(-1, 2)):
        inset = 0.04 + 0.09 * frames[row, column]
        board.frame(column + inset, row + inset, 1 - 2 * inset, 1 - 2 * inset, category(k))
        frames[row, column] += 1


def put_coloured(board, x0, matrix, title):
    """One value a window, in the colour of its window."""
    fills = [[tint(category(a * matrix.shape[1] + b), 0.4) for b in range(matrix.shape[1])]
             for a in range(matrix.shape[0])]
    board.grid(x0, 0, written(matrix), fills)
    board.words(x0 + matrix.shape[1] / 2, -0.45, title, weight="bold", size=10)


def unpooled(values, places, shape):
    """The text of each place, sums written out, and the windows that remember it."""
    windows = [[[] for _ in range(shape[1])] for _ in range(shape[0])]
    for k, (row, column) in enumerate(places.reshape(-1, 2)):
        windows[row][column].append(k)
    texts = [[written_sum([values.flat[k] for k in cell]) for cell in line] for line in windows]
    return texts, windows


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
    """The colour of the kernel element `text`; paper for a zero."""
    return rgb(PAPER) if text == "0" else tint(category(elements.index(text)), 0.4)


def put_product(board, texts, vector):
    """The matrix times the input, written out beside it."""
    rows, columns = texts.shape
    if len(vector) != columns:
        raise ValueError(f"conv_matrix: the matrix has {columns} columns, so the vector has "
                         f"{columns} elements; got {len(vector)}.")
    middle, results = rows / 2, [product(line, vector) for line in texts]
    board.words(columns + 0.5, middle, "·", size=24)
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
    """Whether a text is a number and not a symbol."""
    return text.lstrip("-").replace(".", "", 1).isdigit()
