"""The function that your `gradcheck` gets is made by `formula` from a case's coefficients, and
there are several gradients for it, right and wrong ones; `verdicts` returns what you say to each.
The other functions call it in less usual ways: with float32, with columns side by side in memory
(and return which elements of x are as they were), with gradients of other shapes or with NaN in
them.

When your file is checked, none of that runs beside your code. Your function gets one gradient at a
time, and an f that knows nothing: it sends x away, and the number comes back. So the coefficients
are nowhere to be read, nor are the other gradients, before this one is answered. What can still be
done without a difference quotient is to guess: of the gradients of a case one is right. So an
answer counts only if f was called where every element of x is moved (one of them, to say False).

The driver is no part of your file, and your file must not import it: tinyvision is not there when
the file is checked. To try it, start another Python in the folder where your file lies. In
a notebook use a cell that you delete afterwards, and leave out the line with "your file": once its
cell has run, `gradcheck` is there already.

    >>> import numpy as np
    >>> from gradcheck import gradcheck     # your file, gradcheck.py
    >>> from tinyvision.exercises.drivers.gradcheck import verdicts
    >>> none, product = np.zeros(2), np.array([[0.0, 1.0], [0.0, 0.0]])     # f(x) = x0 * x1
    >>> x, gradients = np.array([2.0, 3.0]), np.array([[3.0, 2.0], [2.0, 3.0]])
    >>> verdicts(gradcheck, none, product, none, 1.0, 1.0, x, gradients)
    array([ True, False])
"""
import numpy as np


def formula(linear, square, waves, scale, unit, shape):
    """f(x) = scale (linear . u + u . square u + waves . sin u), u = x / unit as one row of numbers.

    It computes in the precision of x, and takes arrays of that shape only.
    """
    rounded = {}                        # every number in each precision, made once

    def f(x):
        x = np.asarray(x)
        if x.shape != shape:
            raise ValueError(f"f takes an array of shape {shape}, got {x.shape}")
        if x.dtype not in rounded:
            rounded[x.dtype] = [np.asarray(part).astype(x.dtype)[()]
                                for part in (linear, square, waves, scale, unit)]
        b, A, w, c, v = rounded[x.dtype]
        u = x.reshape(-1) / v
        return c * (b @ u + u @ A @ u + w @ np.sin(u))
    return f


def asked(gradcheck, f, x, gradient):
    """What it says to one gradient: all of this file that runs beside your code."""
    return said(gradcheck(f, x, gradient))


def unearned(answer, places, f, x, gradient):
    """Why nobody can know an answer who has f's values at these places only; "" where one can."""
    if np.shape(gradient) != np.shape(x) or not np.isfinite(gradient).all():
        return ""                       # wrong, whatever f is
    moved = np.any([place != x for place in places], axis=0) if places else np.zeros(1, bool)
    if moved.all() if answer else moved.any():
        return ""
    return f"f was not called where {'every' if answer else 'an'} element of x is moved: without " \
           f"that nobody can say {bool(answer)}"


def said(answer):
    """The answer; TypeError where it is neither True nor False."""
    if not isinstance(answer, (bool, np.bool_)):
        raise TypeError(f"gradcheck returned a {type(answer).__name__}, expected True or False")
    return bool(answer)


def verdicts(gradcheck, linear, square, waves, scale, unit, x, gradients):
    """(K,) what gradcheck says to each of K gradients."""
    f = formula(linear, square, waves, scale, unit, x.shape)
    return np.array([said(gradcheck(f, x, gradient)) for gradient in gradients])


def single(gradcheck, linear, square, waves, scale, unit, x, gradients):
    """The same with x and the gradients in float32."""
    return verdicts(gradcheck, linear, square, waves, scale, unit, x.astype(np.float32),
                    gradients.astype(np.float32))


def columns(gradcheck, linear, square, waves, scale, unit, x, gradients):
    """What it says where the columns of x lie side by side in memory, and which elements of x are
    afterwards what they were."""
    turned = np.asfortranarray(x)
    answers = verdicts(gradcheck, linear, square, waves, scale, unit, turned, gradients)
    return answers, turned == x


def shapes(gradcheck, linear, square, waves, scale, unit, x, gradients):
    """(K, 3) what it says to each gradient, to one of a further axis, to its first row alone."""
    f = formula(linear, square, waves, scale, unit, x.shape)
    return np.array([[said(gradcheck(f, x, claimed)) for claimed in (g, g[None], g[:1])]
                     for g in gradients])


def with_nan(gradcheck, linear, square, waves, scale, unit, x, gradients):
    """(K, 3) what it says to each gradient, to one whose last element is NaN, to one all NaN."""
    f = formula(linear, square, waves, scale, unit, x.shape)
    nan = np.full(x.shape, np.nan)
    last = np.arange(x.size).reshape(x.shape) == x.size - 1
    return np.array([[said(gradcheck(f, x, claimed))
                      for claimed in (g, np.where(last, nan, g), nan)] for g in gradients])


# ---- as a person would type it -------------------------------------------------------------------

def verdicts_text(*case, x="", each="gradcheck(f, x, g)", dtype=""):
    """A case as a program: ``f = lambda x: ...; x = ...; g = ...; gradcheck(f, x, g)``."""
    *function, place, gradients = case
    lines = [f"f = {formula_text(*function, place.shape)}", f"x = {x or array_text(place, dtype)}"]
    if len(gradients) > 1:
        return "; ".join([*lines, f"[{each} for g in {array_text(gradients, dtype)}]"])
    return "; ".join([*lines, f"g = {array_text(gradients[0], dtype)}", each])


def single_text(*case):
    """The same of float32."""
    return verdicts_text(*case, dtype=", np.float32")


def columns_text(*case):
    """The same, with what becomes of x."""
    return verdicts_text(*case, x=f"np.asfortranarray({array_text(case[5])}); kept = x.copy()",
                         each="gradcheck(f, x, g), x == kept")


def shapes_text(*case):
    """The same of three arrays."""
    return verdicts_text(*case, each="[gradcheck(f, x, one) for one in (g, g[None], g[:1])]")


def with_nan_text(*case):
    """The same of three arrays."""
    return verdicts_text(*case, each="[gradcheck(f, x, one) for one in "
                         "(g, np.append(g[:-1], np.nan), np.nan * g)]")


def formula_text(linear, square, waves, scale, unit, shape):
    """`formula` of these numbers: ``lambda x: 2 * x[0] - x[0] * x[1]``."""
    u = [f"x[{', '.join(map(str, at))}]" for at in np.ndindex(shape)]
    u = u if unit == 1 else [f"({name} / {number(unit)})" for name in u]
    both = np.triu(square) + np.tril(square, -1).T
    terms = [*zip(linear, u), *((both[i, j], f"{u[i]} ** 2" if i == j else f"{u[i]} * {u[j]}")
                                for i, j in np.argwhere(both)),
             *zip(waves, (f"np.sin({name})" for name in u))]
    words = [f"{'-' if factor < 0 else '+'} "
             f"{'' if abs(factor) == 1 else number(abs(factor)) + ' * '}{name}"
             for factor, name in terms if factor]
    text = " ".join(words) or "0.0"
    text = "-" + text[2:] if text.startswith("- ") else text.removeprefix("+ ")
    return f"lambda x: {text}" if scale == 1 else f"lambda x: {number(scale)} * ({text})"


def array_text(array, dtype=""):
    """``np.array([2.0, 3.0])``."""
    def inner(one):
        return f"[{', '.join(map(inner, one))}]" if isinstance(one, list) else number(one, ".0")
    return f"np.array({inner(array.tolist())}{dtype})"


def number(value, point=""):
    """3 for 3.0, or 3.0 where it has to be a float."""
    text = f"{value:.12g}".replace("e-0", "e-")
    return text + point if text.lstrip("-").isdigit() else text


asked.unearned = unearned
for checking in (verdicts, single, columns, shapes, with_nan):
    checking.beside = asked
