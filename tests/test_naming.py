"""What is said of wrong answers that are no mistake of the bank: nothing that is not so."""
import numpy as np
import pytest
from programs import graded
from test_strangers import findings

from tinyvision.exercises import load
from tinyvision.exercises.start import solution_text
from tinyvision.grading.patterns import PATTERNS, channel, unchanging
from tinyvision.grading.verdict import Answer, Expected

CONFUSED = """counts = np.zeros((num_classes, num_classes), np.int64)
    for label, prediction in zip(labels.ravel(), predictions.ravel()):
        if label != ignore_index:
            counts[label, prediction] += 1
    return counts
"""


@pytest.mark.parametrize("name, body", [
    ("conv2d", "def conv2d(x, weight, bias, stride, padding):\n    return np.zeros((0,))\n"),
    ("nms", "def nms(boxes, scores, iou_threshold):\n    return np.zeros(0, np.int64)\n")])
def test_an_empty_answer_is_not_said_to_be_zero(name, body):
    said = [one["name"] for one in graded(name, f"import numpy as np\n\n{body}")["diagnoses"]]
    assert "all-zero" not in said


@pytest.mark.parametrize("body", [
    "    return np.arange(len(scores)), scores.copy()\n",
    "    best = scores.argmax()\n    return np.array([best]), scores[[best]]\n"])
def test_a_right_answer_without_elements_says_nothing_of_its_arguments(body):
    """Of soft-NMS's cases one has another score_threshold: that of no boxes."""
    record = graded("soft_nms", "import numpy as np\n\ndef soft_nms(boxes, scores, sigma, "
                    f"score_threshold):\n{body}")
    assert not [one for one in record["diagnoses"] if one["name"].startswith("only-")]


@pytest.mark.parametrize("exercise, function, old, new, said", [
    ("rpn_proposals", "rpn_proposals", "boxes[:, ::2].clip(0, size[1])",
     "boxes[:, ::2].clip(size[1], 0)", "empty"),
    ("rpn_proposals", "rpn_proposals", "[centres - halves, centres + halves]",
     "[centres + halves, centres - halves]", "empty"),
    ("rpn_proposals", "rpn_proposals", "sides * np.exp(codes[:, 2:]) / 2",
     "sides * np.log(codes[:, 2:]) / 2", "empty"),
    ("nms", "nms", "keep.append(best)", "keep", "empty"),
    ("mean_iou", "mean_iou", "counts.sum(axis=0) + counts.sum(axis=1) - overlap",
     "overlap - counts.sum(axis=0) - counts.sum(axis=1)", "not-a-number"),
    ("mean_iou", "mean_iou", "overlap[union > 0] / union[union > 0]",
     "overlap[union > 0] // union[union > 0]", "all-zero"),
    ("mean_iou", "mean_iou", CONFUSED, "return np.eye(num_classes, dtype=np.int64)\n", "constant"),
    ("cross_entropy", "cross_entropy_backward", "[kept] = g / len", "[target] = g / len", ""),
    ("conv_matrix", "conv_matrix", "(W - J) // T + 1", "(J - W) // T + 1", "empty"),
    ("panoptic_quality", "count_segments", "if label == other and", "if label == other or", ""),
    ("rpn_proposals", "rpn_proposals", "boxes[:, 1::2].clip(0, size[0])", "boxes[:, 1::2]", ""),
    ("attention", "scaled_dot_product_attention", "e.sum(axis=2, keepdims=True)",
     "e.sum(axis=1, keepdims=True)", ""),
    ("max_pool2d", "max_pool2d", "x[n, c, h, w] > y[n, c, a, b]", "x[n, c, h, w] < y[n, c, a, b]",
     "constant"),
    ("autograd", "Value", "float(self.data > 0)", "float(self.data > -1)", ""),
    ("hard_negative_mining", "mined_loss", "(labels > 0).sum()), 1)", "(labels > 1).sum()), 1)",
     ""),
    ("focal_loss", "sigmoid_focal_loss_backward", "+ gamma * (1", "+ (gamma > 1) * gamma * (1", ""),
    ("nms", "nms", "np.prod(box[2:] - box[:2]) + np.prod", "np.prod", ""),
    ("panoptic_quality", "count_segments", "mine.sum() / 2", "mine.sum() / 3", ""),
    ("nms", "nms", "return intersection / np", "return intersection // np", ""),
    ("nms", "nms", "union, 1)", "union + 1e-3, 1)", ""),
    ("nms", "nms", "iou(boxes[best], boxes[left])", "iou(boxes[best], boxes[left]).round(1)", ""),
    ("gradcheck", "gradcheck", "<= 1e-4 *", "<= 1e-2 *", "too-loose"),
    ("gradcheck", "gradcheck", "<= 1e-4 *", "<= 1e-6 *", "too-strict"),
    ("gradcheck", "gradcheck", "        x[i] = kept\n", "", "not-restored"),
    ("hard_negative_mining", "hard_negatives", "argsort(-losses[n, negatives]",
     "argsort(-losses[n, negatives].astype(int)", ""),
    ("mean_iou", "confusion_matrix", "num_classes), np.int64)", "num_classes), np.uint8)", ""),
    ("panoptic_quality", "count_segments", "<= mine.sum() / 2", "< mine.sum() / 1.5",
     "only-void-excuses"),
    ("roi_align", "roi_align", "if not aligned", "if True", "least-size-always"),
    ("roi_align", "roi_align", "-1 <= place <= size", "-1 < place < size", "limits-read-0"),
    ("roi_align", "roi_align_backward", "-1 <= place <= size", "-1 < place < size",
     "limits-read-0"),
    ("roi_align", "roi_align_backward", "gx[int(roi[0])]", "gx[k % len(gx)]", ""),
    ("soft_nms", "soft_nms", "np.exp(-o ** 2", "np.expm1(-o ** 2", "the-best-alone"),
    # of an argument only what another call bears out: the right cases share it by chance
    ("kmeans_anchors", "kmeans_anchors", "if (nearest == k).any()", "if (nearest == k).sum() > 1",
     ""),
    ("mean_iou", "mean_iou", "return ious[union > 0].mean()", "return np.median(ious[union > 0])",
     ""),
    ("conv2d", "conv2d", "b * stride:b * stride", "b * min(stride, 2):b * min(stride, 2)", "")])
def test_a_name_needs_evidence_that_could_have_been_otherwise(exercise, function, old, new, said):
    """Single mistakes of which something else was said: no exp, absent are NaN, shifted, the last
    window forgotten, right with four classes, relu's slope at 0, divided by the images."""
    text = solution_text(load(exercise))
    assert old in text
    assert findings(exercise, function, text.replace(old, new, 1)) == (True, [said])


@pytest.mark.parametrize("answer, said", [
    ("True", "constant"), ("False", "constant"), ("gradient.shape == x.shape", "everything-passes"),
    ("gradient.shape == x.shape and bool(np.isfinite(gradient).all())", "everything-passes")])
def test_a_gradcheck_that_does_not_look_has_a_name(answer, said):
    text = f"import numpy as np\n\ndef gradcheck(f, x, gradient):\n    return {answer}\n"
    assert findings("gradcheck", "gradcheck", text) == (True, [said])


@pytest.mark.parametrize("loop", ["for a in range(1, A)", "for a in range(A - 1)"])
def test_memory_that_was_never_written_is_no_evidence(loop):
    """The solution's array is one of np.empty: what is skipped is left as it lies in memory."""
    text = solution_text(load("conv2d"))
    assert "np.empty" in text and "for a in range(A)" in text
    named = findings("conv2d", "conv2d", text.replace("for a in range(A)", loop, 1))[1]
    assert set(named) <= {"", "all-zero"}


def test_one_wrong_number_is_no_wrong_channel():
    want = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    got = want.copy()
    got[1, 2, 3, 3] = 1e6
    assert channel(got, want, 1e-9) == {}
    got[1, 2] = got[0, 2] = 1e6
    assert ("one-index", "Your result is only wrong in channel 2.") in channel(got, want, 1e-9)


def test_equal_numbers_fit_too_many_patterns():
    """Three equal numbers are moved, multiplied and added to at once."""
    want = np.full((1, 1, 4, 4), 2.0)
    assert not [one for test in PATTERNS for one in test(want * 3, want, 1e-9).items() if one[1]]


def test_right_numbers_beside_a_constant_are_no_constant():
    def seen(*answers):
        return [(Answer((np.array(a),), ("",), ""), Expected((np.array([1.0, 2]),), False, (None,),
                                                             (1,))) for a in answers]
    assert unchanging(seen([3.0, 3], [3.0, 3]))[0] == "constant"
    assert unchanging(seen([np.nan, np.nan]))[0] == "not-a-number"
    assert unchanging(seen([3.0, 3], [1.0, 2])) is None


@pytest.mark.parametrize("exercise, old, new, name, said", [
    ("max_pool2d", "return y, indices", "return y, 0 * indices", "all-zero",
     "In answer 2 of 2 every number of your result is zero"),
    ("max_pool2d", "return y, indices", "return y, indices + 1", "offset",
     "In answer 2 of 2 your result is the right one plus 1 everywhere."),
    ("lstm_cell", "gb, gb", "gb, 0 * gb", "all-zero",
     "In answer 7 of 7 every number of your result is zero"),
    ("lstm_cell", "gb, gb", "2 * gb, 2 * gb", "factor",
     "In answers 6 and 7 of 7 your result is 2 times the right one."),
    ("lstm_cell", "gb, gb", "2 * gb, 3 * gb", "factor",
     "In answer 6 of 7 your result is 2 times the right one."),
    ("max_pool2d", "return y, indices", "return 3 * y, 3 * indices", "factor",
     "Your result is 3 times the right one.")])
def test_of_a_tuple_it_is_said_which_arrays_are_wrong_that_way(exercise, old, new, name, said):
    text = solution_text(load(exercise))
    assert old in text
    found = graded(exercise, text.replace(old, new, 1))["diagnoses"]
    assert found[0]["name"] == name and found[0]["hint"].startswith(said)


def test_of_a_tuple_of_constants_the_right_one_is_not_meant():
    right = Expected((np.ones(3), np.arange(3.0)), True, (None, None), (1, 1))
    answers = [Answer((np.ones(3), np.zeros(3)), ("", ""), "tuple"),
               Answer((np.zeros(3), np.zeros(3)), ("", ""), "tuple")]
    assert [unchanging([(answer, right)])[1][:17] for answer in answers] == [
        "In answer 2 of 2 ", "Every number of y"]


@pytest.mark.parametrize("old, new, name, words", [
    ("1e-5 * max(1, abs(x[i]))", "1e-12", "step-too-small", "x = np.array([-49.0])"),
    ("1e-5 * max(1, abs(x[i]))", "1e-14 * max(1, abs(x[i]))", "step-too-small", "yours"),
    ("1e-4 * np.abs(numerical).max()", "1e-4 * max(1, np.abs(numerical).max())",
     "small-errors-pass", "f = lambda x: 1e-9 * (3 * x[0])"),
    ("np.abs(gradient - numerical).max() <= 1e-4 * np.abs(numerical).max()",
     "np.allclose(gradient, numerical)", "small-errors-pass", "f = lambda x: 1e-9 * (3 * x[0])")])
def test_a_gradcheck_too_fine_or_too_coarse_has_a_name_and_a_call(old, new, name, words):
    text = solution_text(load("gradcheck"))
    assert old in text
    found, = graded("gradcheck", text.replace(old, new, 1))["diagnoses"]
    assert found["name"] == name and words in str(found["counterexample"])
