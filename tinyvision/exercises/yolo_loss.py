r"""# The loss of YOLO v1

Write `yolo_loss`: the five sums of the paper's equation 3, for one image.

The image is divided into S x S cells. Each cell predicts B boxes with a confidence each, and the
probabilities of C classes: 5 B + C numbers, for each box (x, y, w, h, confidence), one box behind
the other, then the classes. x and y are the box's centre within the cell, from 0 (left, top) to 1;
w and h are fractions of the whole image.

An object belongs to the cell that holds its centre. Of that cell's B boxes the one with the
highest IoU with the object is **responsible** for it (the first of equal ones). Then

$$\begin{aligned}
& \lambda_{coord} \sum_{obj} (x - \hat x)^2 + (y - \hat y)^2 \qquad
\lambda_{coord} \sum_{obj} (\sqrt w - \sqrt{\hat w})^2 + (\sqrt h - \sqrt{\hat h})^2 \\
& \sum_{obj} (c - \text{IoU})^2 \qquad \lambda_{noobj} \sum_{no\,obj} c^2 \qquad
\sum_{obj} \sum_{k} (p_k - \hat p_k)^2
\end{aligned}$$

- the first three sums are over the responsible boxes: centres (within the cell), roots of the
  sizes, and the confidence c, which should be the IoU;
- the fourth is over **all other** boxes, also those in a cell with an object: their confidence
  should be 0;
- the fifth is over the cells with an object: p^ is 1 for the object's class and 0 for the others.

**By hand**: S = 2, B = 1, C = 1, an object with the centre (0.75, 0.25), 0.25 wide and 0.25 high,
so in row 0 and column 1, at (0.5, 0.5) of the cell. There the network says (0.5, 0.5, 0.25, 1,
0.75) and class 0.9; the other cells have the confidence 0.1. The predicted box is four times as
high, so the IoU is 1/4, and with lambdas 5 and 0.5 the sums are

    0,   5 * (1 - 0.5)^2 = 1.25,   (0.75 - 0.25)^2 = 0.25,   0.5 * 3 * 0.1^2 = 0.015,   0.1^2 = 0.01

**Shapes.** prediction (S, S, 5 B + C), row by row; boxes (M, 4) with (centre x, centre y, width,
height) as fractions of the image; labels (M,). No two objects share a cell; there may be none.
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake


def centred_iou(boxes, box):
    """IoU of boxes (B, 4) with one box (4,), all as (centre x, centre y, width, height)."""
    low = np.maximum(boxes[:, :2] - boxes[:, 2:] / 2, box[:2] - box[2:] / 2)
    high = np.minimum(boxes[:, :2] + boxes[:, 2:] / 2, box[:2] + box[2:] / 2)
    both = np.maximum(high - low, 0).prod(axis=1)
    return both / (boxes[:, 2:].prod(axis=1) + box[2:].prod() - both)


def yolo_loss(prediction, boxes, labels, per_cell, lambda_coord, lambda_noobj):
    """The five sums of YOLO v1's loss, for one image.

    Arguments:
        prediction: (S, S, 5 per_cell + C).
        boxes: (M, 4) objects (centre x, centre y, width, height), fractions of the image.
        labels: (M,) their classes, from 0 to C - 1.
        per_cell: how many boxes a cell predicts (B).
        lambda_coord: the weight of the first two sums.
        lambda_noobj: the weight of the fourth.

    Returns:
        (5,): centres, sizes, confidences with and without an object, classes; weighted.
    """
    ### BEGIN SOLUTION
    S, sums = len(prediction), np.zeros(5)
    predicted = prediction[:, :, :5 * per_cell].reshape(S, S, per_cell, 5)
    classes = prediction[:, :, 5 * per_cell:]
    without_object = np.ones((S, S, per_cell), bool)
    for box, label in zip(boxes, labels):
        x, y, w, h = box
        row, column = int(y * S), int(x * S)
        mine = predicted[row, column]                       # (B, 5)
        in_image = np.stack([(column + mine[:, 0]) / S, (row + mine[:, 1]) / S,
                             mine[:, 2], mine[:, 3]], axis=1)
        iou = centred_iou(in_image, box)
        best = iou.argmax()
        px, py, pw, ph, confidence = mine[best]
        sums[0] += (px - (x * S - column)) ** 2 + (py - (y * S - row)) ** 2
        sums[1] += (pw ** 0.5 - w ** 0.5) ** 2 + (ph ** 0.5 - h ** 0.5) ** 2
        sums[2] += (confidence - iou[best]) ** 2
        sums[4] += ((classes[row, column] - (np.arange(classes.shape[2]) == label)) ** 2).sum()
        without_object[row, column, best] = False
    sums[3] = (predicted[without_object][:, 4] ** 2).sum()
    sums[:2] *= lambda_coord
    sums[3] *= lambda_noobj
    return sums
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _in_image(mine, row, column, S):
    """A cell's boxes (B, 4) in the units of the image."""
    return np.concatenate([(mine[:, :2] + [column, row]) / S, mine[:, 2:4]], axis=1)


def _corner_iou(mine, box, S):
    """The IoU if all centres were corners, and the cell began at 0."""
    def centred(b):
        return np.concatenate([b[..., :2] + b[..., 2:4] / 2, b[..., 2:4]], axis=-1)
    return centred_iou(centred(mine), centred(box))


def _other_iou(grown=1.0, areas_grown=1.0, union=1.0, clipped=0.0):
    """The IoU of boxes in the image with sides (or areas) grown, with another share of the
    intersection taken from the two areas, or with sides below 0."""
    def iou(mine, box):
        half, other = grown * mine[:, 2:4] / 2, grown * box[2:] / 2
        low = np.maximum(mine[:, :2] - half, box[:2] - other)
        high = np.minimum(mine[:, :2] + half, box[:2] + other)
        both = np.maximum(high - low, clipped).prod(axis=1)
        areas = areas_grown * (mine[:, 2:4].prod(axis=1) + box[2:].prod())
        return both / (areas - union * both)
    return iou


def _of_classes(p, label):
    return ((p - (np.arange(len(p)) == label)) ** 2).sum()


def _squares(a, b):
    return ((a - b) ** 2).sum()


def _centres(mine, box, cell, S):
    return _squares(mine, box * S - cell)


def _sizes(mine, box):
    return _squares(np.sqrt(mine), np.sqrt(box))


def _loss(chosen=lambda iou, mine: iou.argmax(),
          wanted=lambda iou: iou, sizes=_sizes, others=lambda others, objects: others,
          centres=_centres, in_image=_in_image, iou_of=None, iou_in_image=centred_iou,
          of_classes=_of_classes, turned=1, summed=lambda line, B: line,
          empty=lambda classes: 0.0):
    """The loss with some of its parts changed."""
    def loss(prediction, boxes, labels, B, lambda_coord, lambda_noobj):
        S = len(prediction)
        predicted = prediction[..., :5 * B].reshape(S, S, B, 5)
        sums, free, objects = np.zeros(5), np.ones((S, S, B), bool), np.zeros((S, S), bool)
        for box, label in zip(boxes, labels):
            column, row = (box[:2] * S).astype(int)[::turned]
            at = row, column
            mine = predicted[at]
            iou = iou_in_image(in_image(mine, row, column, S), box) if iou_of is None else (
                iou_of(mine, box, S))
            objects[at] = True
            for k in np.atleast_1d(chosen(iou, mine)):
                free[*at, k] = False
                sums[0] += centres(mine[k, :2], box[:2], np.array([column, row]), S)
                sums[1] += sizes(mine[k, 2:4], box[2:])
                sums[2] += (mine[k, 4] - wanted(iou[k])) ** 2
            sums[4] += of_classes(prediction[at][5 * B:], label)
        sums[4] += empty(prediction[~objects][:, 5 * B:])
        sums[3] = (predicted[others(free, objects[..., None])][:, 4] ** 2).sum()
        return summed(sums, B) * [lambda_coord, lambda_coord, 1, lambda_noobj, 1]
    return loss


_by_confidence = _loss(chosen=lambda iou, mine: mine[:, 4].argmax())
_first_box = _loss(chosen=lambda iou, mine: 0)
_all_boxes = _loss(chosen=lambda iou, mine: np.arange(len(iou)))
_last_of_equal = _loss(chosen=lambda iou, mine: len(iou) - 1 - iou[::-1].argmax())
_confidence_one = _loss(wanted=lambda iou: 1.0)
_no_root = _loss(sizes=_squares)
_root_of_difference = _loss(sizes=lambda mine, box: np.abs(mine - box).sum())
_none_touches = _loss(chosen=lambda iou, mine: [iou.argmax()][:int(iou.max() > 0)])
_all_exchanged = _loss(turned=-1)
_centre_without_cell = _loss(centres=lambda mine, box, cell, S: _squares(mine, box * S))
_centres_both_in_image = _loss(centres=lambda mine, box, cell, S: _squares((mine + cell) / S, box))
_right_class_only = _loss(of_classes=lambda p, label: (1 - p[label]) ** 2)
_classes_everywhere = _loss(empty=lambda classes: (classes ** 2).sum())
_empty_cells = _loss(others=lambda free, objects: free & ~objects)
_every_box = _loss(others=lambda free, objects: free | True)
_centre_in_image = _loss(centres=lambda mine, box, cell, S: _squares(mine, box))
_iou_of_cell = _loss(iou_of=lambda mine, box, S: centred_iou(
    mine[:, :4], np.array([*(box[:2] * S % 1), *box[2:]])))
_iou_not_moved = _loss(in_image=lambda mine, row, column, S: mine[:, :4])
_iou_exchanged = _loss(in_image=lambda mine, row, column, S: _in_image(mine, column, row, S))
_iou_of_corners = _loss(iou_of=_corner_iou)
_classes_for_each_box = _loss(summed=lambda sums, B: sums * [1, 1, 1, 1, B])


def _cells_exchanged(prediction, *others):
    return yolo_loss(prediction.swapaxes(0, 1), *others)


def _interleaved(prediction, boxes, labels, B, lambda_coord, lambda_noobj):
    """The x of all boxes lie together, then their y, and so on."""
    order = np.arange(5 * B).reshape(5, B).T.reshape(-1)
    return yolo_loss(np.concatenate([prediction[..., order], prediction[..., 5 * B:]], -1), boxes,
                     labels, B, lambda_coord, lambda_noobj)


def _total(*args):
    return yolo_loss(*args).sum()


def _coord_not_weighted(prediction, boxes, labels, B, lambda_coord, lambda_noobj):
    return yolo_loss(prediction, boxes, labels, B, 1.0, lambda_noobj)


def _confidence_weighted(weights):
    """The loss whose third sum is weighted, too: by weights(lambda_coord, lambda_noobj)."""
    def loss(prediction, boxes, labels, B, *lambdas):
        return yolo_loss(prediction, boxes, labels, B, *lambdas) * [1, 1, weights(*lambdas), 1, 1]
    return loss


def _lambdas_exchanged(prediction, boxes, labels, B, lambda_coord, lambda_noobj):
    return yolo_loss(prediction, boxes, labels, B, lambda_noobj, lambda_coord)


def _no_lambdas(prediction, boxes, labels, B, lambda_coord, lambda_noobj):
    return yolo_loss(prediction, boxes, labels, B, 1.0, 1.0)


def _sizes_not_weighted(prediction, boxes, labels, B, lambda_coord, lambda_noobj):
    return yolo_loss(prediction, boxes, labels, B, lambda_coord, lambda_noobj) / [
        1, lambda_coord, 1, 1, 1]


def _noobj_not_weighted(prediction, boxes, labels, B, lambda_coord, lambda_noobj):
    return yolo_loss(prediction, boxes, labels, B, lambda_coord, 1.0)


def _confidence_first(prediction, boxes, labels, B, lambda_coord, lambda_noobj):
    order = np.concatenate([[5 * b + k for k in (1, 2, 3, 4, 0)] for b in range(B)])
    return yolo_loss(np.concatenate([np.abs(prediction[..., order]), prediction[..., 5 * B:]], -1),
                     boxes, labels, B, lambda_coord, lambda_noobj)


def _classes_first(prediction, boxes, labels, B, lambda_coord, lambda_noobj):
    C = prediction.shape[2] - 5 * B
    return yolo_loss(np.roll(prediction, -C, axis=2), boxes, labels, B, lambda_coord,
                     lambda_noobj)


MISTAKES = (
    Mistake("yolo_loss", "row-and-column-exchanged", "y chooses the row, and the row is the first "
            "index of the prediction.", _cells_exchanged),
    Mistake("yolo_loss", "row-and-column-exchanged", "y chooses the row, and the row is the first "
            "index of the prediction.", _all_exchanged),
    Mistake("yolo_loss", "responsible-by-confidence", "The responsible box is the one that fits "
            "the object best, not the one that is most confident.", _by_confidence),
    Mistake("yolo_loss", "first-box-responsible", "You always take a cell's first box.",
            _first_box),
    Mistake("yolo_loss", "all-boxes-responsible", "All boxes of the cell pay for the object; only "
            "the best one should, so that boxes can specialise.", _all_boxes),
    Mistake("yolo_loss", "last-of-equal", "Of boxes with equal IoU the first is responsible.",
            _last_of_equal),
    Mistake("yolo_loss", "confidence-1", "The confidence should not be 1 but say how well the box "
            "fits.", _confidence_one),
    Mistake("yolo_loss", "no-root", "Sizes are compared by their roots, so that an error counts "
            "more in a small box.", _no_root),
    Mistake("yolo_loss", "root-of-difference", "The roots of the sizes are subtracted; yours is "
            "the root of a difference.", _root_of_difference),
    Mistake("yolo_loss", "none-responsible", "Where no box touches the object the IoU is 0 for "
            "all of them, and the first one is responsible.", _none_touches),
    Mistake("yolo_loss", "only-empty-cells", "A box that is not responsible should have the "
            "confidence 0 in a cell with an object, too.", _empty_cells),
    Mistake("yolo_loss", "responsible-without-object", "The fourth sum leaves out the responsible "
            "boxes.", _every_box),
    *(Mistake("yolo_loss", "centre-in-image", "A box's x and y count from its cell's corner in "
              "units of a cell, and so they are compared. Yours count otherwise.", loss)
      for loss in (_centre_in_image, _centre_without_cell, _centres_both_in_image)),
    Mistake("yolo_loss", "iou-in-two-units", "Your IoU takes the centre in units of the cell and "
            "the size in units of the image.", _iou_of_cell),
    Mistake("yolo_loss", "iou-not-in-image", "Before you compare a predicted box with an object, "
            "where in the image is its centre?", _iou_not_moved),
    Mistake("yolo_loss", "iou-cell-exchanged", "x is added to the column and y to the row.",
            _iou_exchanged),
    Mistake("yolo_loss", "iou-of-corners", "x and y are the centre of a box, not its corner, and "
            "the cell has a place in the image.", _iou_of_corners),
    Mistake("yolo_loss", "classes-for-each-box", "A cell has one set of class probabilities, "
            "however many boxes it has.", _classes_for_each_box),
    Mistake("yolo_loss", "classes-everywhere", "The fifth sum is over the cells with an object "
            "alone.", _classes_everywhere),
    Mistake("yolo_loss", "right-class-only", "All classes of the cell are compared: the others' "
            "probabilities should be 0.", _right_class_only),
    *(Mistake("yolo_loss", "iou-twice-as-large", "From the centre to a side is half of the width.",
              _loss(iou_in_image=_other_iou(2.0, areas))) for areas in (4.0, 1.0)),
    Mistake("yolo_loss", "iou-of-areas", "Two areas together count the intersection twice; the "
            "union counts it once.", _loss(iou_in_image=_other_iou(union=0.0))),
    Mistake("yolo_loss", "iou-not-clipped", "Boxes that lie apart in both directions have two "
            "negative sides, whose product is positive.",
            _loss(iou_in_image=_other_iou(clipped=-np.inf))),
    Mistake("yolo_loss", "lambdas-exchanged", "The two lambdas are exchanged.", _lambdas_exchanged),
    Mistake("yolo_loss", "no-lambdas", "The sums are not weighted by the lambdas.", _no_lambdas),
    Mistake("yolo_loss", "noobj-not-weighted", "lambda_noobj is not used.", _noobj_not_weighted),
    Mistake("yolo_loss", "coord-not-weighted", "lambda_coord is not used.", _coord_not_weighted),
    *(Mistake("yolo_loss", "confidence-weighted", "The third sum has no lambda.",
              _confidence_weighted(weights))
      for weights in (lambda coord, noobj: coord, lambda coord, noobj: noobj,
                      lambda coord, noobj: 1 - noobj)),
    Mistake("yolo_loss", "total", "Return the five sums, not their total.", _total),
    Mistake("yolo_loss", "sizes-not-weighted", "The sum of sizes is weighted by lambda_coord, "
            "too.", _sizes_not_weighted),
    Mistake("yolo_loss", "confidence-first", "A box's confidence is the last of its five numbers.",
            _confidence_first),
    Mistake("yolo_loss", "numbers-interleaved", "The five numbers of a box lie together, and one "
            "box behind the other.", _interleaved),
    Mistake("yolo_loss", "classes-first", "The class probabilities come behind the boxes.",
            _classes_first),
)


# ---- cases ---------------------------------------------------------------------------------------

def _prediction(rng, S, B, C):
    """Answers of an untrained network: boxes of a fifth to a half of the image."""
    boxes = np.concatenate([rng.uniform(0.1, 0.9, (S, S, B, 2)), rng.uniform(0.2, 0.5,
                            (S, S, B, 2)), rng.uniform(0.1, 0.9, (S, S, B, 1))], axis=-1)
    return np.concatenate([boxes.reshape(S, S, 5 * B), rng.uniform(0, 1, (S, S, C))], axis=2)


def _objects(rng, cells, S, C):
    """(boxes, labels): one object in each of the cells (row, column), well inside it."""
    corner = np.array(cells, float).reshape(-1, 2)[:, ::-1]
    centre = (corner + rng.uniform(0.2, 0.8, corner.shape)) / S
    return (np.concatenate([centre, rng.uniform(0.2, 0.5, corner.shape)], axis=1),
            rng.permutation(np.arange(len(cells)) % C))


def _fit(rng, prediction, boxes, B):
    """In each object's cell one box in turn fits well, and is less sure than the others."""
    S = len(prediction)
    for number, box in enumerate(boxes):
        column, row = (box[:2] * S).astype(int)
        mine = prediction[row, column, :5 * B].reshape(B, 5)        # a view
        mine[:, 2:4] *= 0.6
        k = (B - 1 + number) % B
        mine[k, :2] = box[:2] * S - [column, row] + rng.uniform(-0.15, 0.15, 2)
        mine[k, 2:4] = box[2:] * rng.uniform(0.8, 0.9, 2)
        mine[k, 4] = 0.5 * mine[:, 4].min()


def _case(rng, name, sizes, cells, lambdas=(5.0, 0.5), points=1.0):
    """A case of sizes S, B, C."""
    S, B, C = sizes
    prediction, (boxes, labels) = _prediction(rng, S, B, C), _objects(rng, cells, S, C)
    _fit(rng, prediction, boxes, B)
    return Case("yolo_loss", name, (prediction, boxes, labels, B, *lambdas), points)


def _apart(rng):
    """An object that none of its cell's boxes touch: the first one is responsible."""
    prediction = _prediction(rng, 2, 3, 2)
    prediction[0, 1, :15].reshape(3, 5)[:, :4] = rng.uniform(0.1, 0.2, (3, 4))
    boxes = np.array([[0.9, 0.4, 0.1, 0.1]]) + rng.uniform(-0.02, 0.02, (1, 4))
    return prediction, boxes, rng.integers(0, 2, 1), 3, 5.0, 0.5


def _plain(rng):
    """One cell with one box, in quarters; its sides have roots, its centre is not the object's."""
    centre, sides = rng.integers([1, 2], [3, 4]) / 4, rng.choice([0.25, 1.0], 2)
    prediction = np.array([[[*centre, *sides, *rng.integers(1, 4, 2) / 4]]])
    return prediction, np.array([[0.75, 0.25, 0.25, 0.25]]), np.array([0]), 1, 4.0, 0.5


def cases(rng):
    """Ten points; see `Exercise.cases`."""
    return [
        Case("yolo_loss", "one cell, one box", _plain(rng)),
        _case(rng, "beside the diagonal", (2, 1, 3), [(0, 1)]),
        _case(rng, "two boxes", (2, 2, 3), [(1, 0)]),
        _case(rng, "no object", (3, 2, 2), []),
        Case("yolo_loss", "boxes apart from the object", _apart(rng)),
        _case(rng, "other lambdas", (3, 2, 4), [(0, 2), (2, 1)], (3.0, 0.25)),
        _case(rng, "three boxes", (3, 3, 2), [(2, 0), (1, 2), (0, 1)], points=2.0),
        _case(rng, "several objects", (4, 2, 5), [(0, 3), (3, 1), (2, 3), (1, 0)], points=2.0),
    ]


# ---- error bounds --------------------------------------------------------------------------------

def _iou_error(predicted, box):
    """First-order error of an IoU whose coordinates have errors of their own size."""
    areas = predicted[2] * predicted[3] + box[2] * box[3]
    sides = predicted[2:].sum() + box[2:].sum()
    iou = centred_iou(predicted[None], box)[0]
    return (2 * sides + areas) * (1 + iou) ** 2 / areas     # the union is areas / (1 + iou)


def _magnitude(prediction, boxes, labels, B, lambda_coord, lambda_noobj):
    """Of each squared difference d^2: d^2 + 2 |d| times the scale of the error of d."""
    S, sums = len(prediction), yolo_loss(prediction, boxes, labels, B, lambda_coord, lambda_noobj)
    for box in boxes:
        column, row = (box[:2] * S).astype(int)
        mine = prediction[row, column, :5 * B].reshape(B, 5)
        in_image = _in_image(mine, row, column, S)
        best = centred_iou(in_image, box).argmax()
        error, iou = _iou_error(in_image[best], box), centred_iou(in_image, box)[best]
        centre = np.abs(mine[best, :2] - (box[:2] * S - [column, row]))
        roots = np.sqrt(mine[best, 2:4]), np.sqrt(box[2:])
        sums[0] += lambda_coord * 2 * (centre * (mine[best, :2] + 2 * S * box[:2])).sum()
        sums[1] += lambda_coord * 2 * (np.abs(roots[0] - roots[1]) * (roots[0] + roots[1])).sum()
        sums[2] += 2 * abs(mine[best, 4] - iou) * (mine[best, 4] + error)
        sums[4] += 4 * np.abs(prediction[row, column, 5 * B:]).sum() + 4
    return sums


def _terms(prediction, boxes, labels, B, *lambdas):
    return prediction[..., 0].size * B + len(boxes) * prediction.shape[2] + 12


def _fractions(prediction, boxes, labels, per_cell, *lambdas):
    """Whether all numbers are shares of a cell or of the image, with a class for every object and
    a cell for each of them alone."""
    S = len(prediction)
    classes, cells = prediction.shape[2] - 5 * per_cell, np.floor(boxes[:, :2] * S)
    shares = (0 <= prediction).all() and (prediction <= 1).all() and (0 <= boxes).all() and (
        boxes[:, 2:] > 0).all() and (boxes[:, 2:] <= 1).all() and (boxes[:, :2] < 1).all()
    return shares and prediction.shape[1] == S > 0 < per_cell and classes > 0 and (
        len(boxes) == len(labels) == len(np.unique(cells, axis=0))) and (
        0 <= labels).all() and (labels < classes).all()


EXERCISE = Exercise(
    name="yolo_loss", title="The loss of YOLO v1", lecture="DSI, YOLO",
    source="tinyvision/models/detect/retinanet.py", functions={"yolo_loss": yolo_loss},
    cases=cases, mistakes=MISTAKES, magnitude={"yolo_loss": _magnitude},
    terms={"yolo_loss": _terms}, domain={"yolo_loss": _fractions})
