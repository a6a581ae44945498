r"""# Anchor matching

Write `match`: decide which object each anchor has to learn, if any.

A detector learns from anchors, the truth is a list of objects: "map labels (bounding boxes) to
anchors to unify the target". An anchor stands for the object that it overlaps best:

$$\text{matched}_a = \begin{cases} \arg\max_k \text{IoU}_{k,a} & \max_k \text{IoU}_{k,a} \ge
\text{high} \quad \text{(positive)} \\ -1 & \max_k \text{IoU}_{k,a} < \text{low}
\quad \text{(background)} \\ -2 & \text{else} \quad \text{(counts for nothing)} \end{cases}$$

An object whose best anchor stays under `high` would never be learned. With force = True, each
object's best anchor, and every anchor as good as it for this object, is positive, too, whatever
its IoU. Such an anchor stands for the object that **it** overlaps best, as all others do.

**By hand.** Two objects, four anchors, high 0.75, low 0.25:

                  anchor    0     1     2     3
    IoU with object 0      0.8   0.5   0.1   0.0
    IoU with object 1      0.1   0.2   0.3   0.0

    force = False           0    -2    -2    -1         nobody learns object 1
    force = True            0    -2     1    -1         anchor 2 is its best one

**Conventions.** Of several objects that an anchor overlaps equally well it takes the first. An
object that overlaps no anchor at all forces none. Without objects every anchor is background.

**Shapes.** iou (M, N), M objects and N anchors, gives int64 (N,).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake, versions


def match(iou, high, low, force):
    """The object of every anchor.

    Arguments:
        iou: (M, N) of M objects with N anchors.
        high: from this IoU on an anchor is positive.
        low: under this IoU it is background; low <= high.
        force: whether each object's best anchors are positive whatever their IoU.

    Returns:
        int64 (N,): the object's index, -1 (background) or -2 (counts for nothing).
    """
    ### BEGIN SOLUTION
    matched = np.full(iou.shape[1], -1)
    if not len(iou):
        return matched
    for a in range(iou.shape[1]):
        best = iou[:, a].argmax()
        overlap = iou[best, a]
        wanted = (iou[:, a] == iou.max(axis=1)) & (iou[:, a] > 0)
        if overlap >= high or force and wanted.any():
            matched[a] = best
        elif overlap >= low:
            matched[a] = -2
    return matched
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _plain(iou, high, low, above=np.greater_equal, under=np.less, low_last=False):
    """Matching without force; `above` and `under` say what the thresholds mean."""
    if not len(iou):
        return np.full(iou.shape[1], -1)
    best = iou.max(axis=0)
    matched = np.where(above(best, high), iou.argmax(axis=0), -2)
    matched[under(best, low) & (low_last | ~above(best, high))] = -1
    return matched


def _forced(iou, matched, own=False, tied=True, empty=False, last=False, least=0.0, kept=False):
    """Force what `matched` lacks; own: the forced anchor learns the object that forces it; tied:
    all of the best anchors, else the first (or the last) one; kept: positive ones stay."""
    for k, row in enumerate(iou):
        places = np.flatnonzero((row == row.max()) & (empty | (row > 0)) & (row >= least))
        places = places if tied else places[-1:] if last else places[:1]
        places = places[matched[places] < 0] if kept else places
        matched[places] = k if own else iou.argmax(axis=0)[places]
    return matched


def _matcher(force_how=None, **how):
    """A wrong `match` from the pieces above."""
    def wrong(iou, high, low, force):
        matched = _plain(iou, high, low, **how)
        return _forced(iou, matched, **(force_how or {})) if force else matched
    return wrong


def _one_anchor_an_object(others, by_object=True):
    """Only one anchor of each object stays positive: the object's best, or its best of these."""
    def wrong(iou, high, low, force):
        matched = match(iou, high, low, force)
        for k in range(len(iou)):
            mine = np.flatnonzero(matched == k)
            best = iou[k] if by_object else np.where(matched == k, iou[k], -1)
            matched[mine[mine != best.argmax()]] = others
        return matched
    return wrong


def _objects_choose(iou, high, low, force):
    matched = np.where(match(iou, high, low, False) == -1, -1, -2)
    for k, row in enumerate(iou):
        if row.max() >= high or force and row.any():
            matched[row.argmax()] = k
    return matched


def _any_object(last=True):
    """Objects claim all that they overlap enough: the last one of them wins, or the first."""
    def wrong(iou, high, low, force):
        matched = match(iou, high, low, False)
        for k in range(len(iou))[::1 if last else -1]:
            matched[iou[k] >= high] = k
        return _forced(iou, matched) if force else matched
    return wrong


def _forced_from_low(iou, high, low, force):
    matched = match(iou, high, low, False)
    return _forced(iou, matched, least=low) if force else matched


def _none_without_objects(wrong, answer=-1):
    """A wrong `match` that looks for objects first."""
    return lambda iou, *how: wrong(iou, *how) if len(iou) else np.full(iou.shape[1], answer)


def _last_object(iou, high, low, force):
    found = match(iou[::-1], high, low, force)
    return np.where(found >= 0, len(iou) - 1 - found, found)


def _two_kinds(iou, high, low, force):
    found = match(iou, high, low, force)
    return np.where(found == -2, -1, found)


def _exchanged(iou, high, low, force):
    found = match(iou, high, low, force)
    return np.where(found == -2, -1, np.where(found == -1, -2, found))


def _positive_only(iou, high, low, force):
    return np.where(match(iou, high, low, force) >= 0, 0, match(iou, high, low, force))


def _from_one(iou, high, low, force):
    found = match(iou, high, low, force)
    return np.where(found >= 0, found + 1, found)


MISTAKES = tuple(Mistake("match", name, hint, wrong) for name, hint, wrong in (
    ("over-high", "An IoU of exactly `high` is positive.", _matcher(above=np.greater)),
    ("up-to-low", "An IoU of exactly `low` counts for nothing; it is not background.",
     _matcher(under=np.less_equal)),
    ("never-forced", "`force` has no effect: which object does nobody learn?",
     lambda iou, high, low, force: match(iou, high, low, False)),
    ("always-forced", "Anchors are forced although `force` is False.",
     lambda iou, high, low, force: match(iou, high, low, True)),
    ("forced-to-the-forcing-object", "A forced anchor learns the object that forced it in your "
     "code. Which object does every anchor stand for?", _matcher({"own": True})),
    ("one-best-only", "Where several anchors are equally good for an object, you force only one "
     "of them.", _matcher({"tied": False})),
    ("one-best-always", "You force one anchor for each object, whatever the object overlaps. What "
     "if several anchors are equally good for it, and what if none overlaps it?",
     _matcher({"tied": False, "empty": True})),
    ("nothing-forces", "An object that overlaps no anchor has IoU 0 with all of them, and all of "
     "them are then its 'best'. It should force none.", _matcher({"empty": True})),
    ("one-anchor-an-object", "Many anchors may stand for one object: all that overlap it enough.",
     _one_anchor_an_object(-2)),
    ("last-object", "Of equally good objects the first one counts.", _last_object),
    ("no-neither", "There are three kinds of anchors: those between the thresholds are not "
     "background.", _two_kinds),
    ("exchanged", "-1 is background and -2 counts for nothing, not the other way round.",
     _exchanged),
    ("which-object", "A positive anchor is marked with 0 whatever its object. The answer is the "
     "object's index.", _positive_only),
    ("counted-from-one", "Objects are counted from 0.", _from_one),
    ("low-ignored", "No anchor is background in your code, however little it overlaps.",
     lambda iou, high, low, force: match(iou, high, 0, force)),
    ("low-is-enough", "An anchor between the thresholds is not positive: it counts for nothing.",
     lambda iou, high, low, force: match(iou, low, low, force)),
    ("any-object", "An anchor that overlaps several objects enough stands for the one that it "
     "overlaps best.", _any_object()),
    ("forced-from-low", "An object's best anchor is positive whatever its IoU, also under `low`.",
     _forced_from_low),
    ("no-objects", "Without objects every anchor is background.",
     _none_without_objects(match, -2)),
))

MISTAKES += versions(MISTAKES, {("match", name): ways for name, ways in {
    "up-to-low": (_matcher(under=np.less_equal, low_last=True),),
    "forced-to-the-forcing-object": tuple(
        _matcher({"own": True, "tied": tied, "empty": empty, "kept": kept})
        for tied in (True, False) for empty in (True, False) for kept in (True, False)
        if not tied or empty or kept),
    "one-best-only": (_matcher({"tied": False, "last": True}),),
    "one-best-always": (_matcher({"tied": False, "last": True, "empty": True}),),
    "one-anchor-an-object": (
        _one_anchor_an_object(-1), _one_anchor_an_object(-2, False),
        _one_anchor_an_object(-1, False), _objects_choose),
    "exchanged": (_none_without_objects(_exchanged),),
    "low-ignored": (_none_without_objects(
        lambda iou, high, low, force: match(iou, high, 0, force), -2),),
    "any-object": (_any_object(last=False),),
}.items()})


# ---- cases ---------------------------------------------------------------------------------------
# All numbers are sixteenths: they are the same in float32, and so is what is equal.

def _table(rng, rows, objects=False, ends=0):
    """IoUs in sixteenths, the anchors (and the objects) in a random order; so many anchors at both
    ends stay there."""
    iou = np.array(rows, float) / 16
    inner = slice(ends, iou.shape[1] - ends)
    iou[:, inner] = rng.permutation(iou[:, inner], axis=1)
    return iou[rng.permutation(len(iou))] if objects else iou


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    hand = [(14, 8, 1, 0, 13), (1, 3, 5, 0, 2)]
    edge = [(12, 11, 13, 4, 3, 5, 0)]
    ties = [(13, 5, 5, 13, 2, 3, 5, 16, 2, 0), (13, 5, 2, 4, 2, 6, 6, 15, 13, 14),
            (9, 1, 5, 14, 2, 6, 0, 1, 1, 3)]
    lonely = [(2, 9, 1, 0, 0, 0, 8, 5), (0,) * 8, (3, 10, 0, 0, 0, 2, 3, 5),
              (0, 0, 0, 0, 1, 0, 0, 0)]
    equal = [(3, 1, 2, 1, 1, 15), (8, 1, 8, 2, 3, 0), (7, 7, 1, 2, 0, 14)]
    many = rng.permutation(np.arange(60) % 15).reshape(4, 15)
    many[:, 0] = 8, 3, 1, 0                                  # exactly at the one threshold
    sure = rng.permutation(np.arange(60) % 17).reshape(5, 12)
    return [
        Case("match", "by hand", (_table(rng, hand, True), 0.75, 0.25, False)),
        Case("match", "by hand, forced", (_table(rng, hand, True), 0.75, 0.25, True)),
        Case("match", "exactly at the thresholds", (_table(rng, edge), 0.75, 0.25, False)),
        Case("match", "equally good objects", (_table(rng, ties), 0.75, 0.25, False)),
        Case("match", "no objects", (np.zeros((0, 3)), 0.5, 0.25, True), 0.25),
        Case("match", "an object that nothing overlaps", (
            _table(rng, lonely, ends=1), 0.75, 0.125, True)),
        Case("match", "equally good anchors", (_table(rng, equal), 0.75, 0.25, True), 1.5),
        Case("match", "one threshold", (_table(rng, many), 0.5, 0.5, False), 1.25),
        Case("match", "many anchors", (_table(rng, many), 0.75, 0.5, True)),
        Case("match", "more objects than anchors are left for", (_table(rng, sure), 0.875, 0.5,
                                                                 True)),
    ]


EXERCISE = Exercise(
    name="anchor_matching", title="Which object an anchor learns",
    lecture="DLCV, Object detection steps", source="tinyvision/boxes/matching.py",
    functions={"match": match}, cases=cases, mistakes=MISTAKES,
    domain={"match": lambda iou, high, low, force: low <= high and iou.max(initial=0) <= 1})
