"""What is said of wrong answers that are no mistake of the bank: nothing that is not so."""
import pytest
from programs import graded


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
