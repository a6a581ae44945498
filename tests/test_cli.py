"""The command line: every subcommand answers, and mistakes of use are one sentence."""
import numpy as np
import pytest

import tinyvision as tv
from tinyvision import cli


@pytest.mark.parametrize("command", ["tour", "gradcheck", "bench", "train", "zoo", "detect",
                                     "exercises", "start", "check", "grade"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == 0 and command in capsys.readouterr().out


def test_exercises_are_listed(capsys):
    assert cli.main(["exercises"]) == 0
    text = capsys.readouterr().out
    for name in ("box_iou", "nms", "conv2d", "conv_transpose2d", "max_unpool2d", "roi_align"):
        assert name in text


def test_start_then_check(tmp_path, capsys):
    assert cli.main(["start", "nms", "-o", str(tmp_path)]) == 0
    assert cli.main(["check", str(tmp_path / "nms.py")]) == 1
    assert "0 of 10" in capsys.readouterr().out


def test_an_unknown_exercise_is_one_sentence(tmp_path, capsys):
    assert cli.main(["start", "conv3d", "-o", str(tmp_path)]) == 2
    message = capsys.readouterr().err.strip()
    assert "conv3d" in message and "conv2d" in message and "\n" not in message


def test_gradcheck_of_an_unknown_operation(capsys):
    assert cli.main(["gradcheck", "convolution"]) == 2
    assert "convolution" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_explained():
    if tv.gpu_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(tv.DeviceError, match='"gpu" needs'):
        tv.Tensor([1.0]).to("gpu")
    with pytest.raises(ValueError, match="'cuda'"):
        tv.Tensor(np.ones(2)).to("cuda")
