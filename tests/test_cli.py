"""The command line: every subcommand answers, and mistakes of use are one sentence."""
import errno
import os
import subprocess
import sys

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
    assert "conv3d" in message and "did you mean 'conv2d'?" in message and len(message) < 120 and "\n" not in message


def test_a_typo_in_the_marker_is_told_the_nearest(tmp_path, capsys):
    for name, hint in (("conv_2d", "(or did you mean conv2d?)"), ("hw3", "")):
        file = tmp_path / "mine.py"
        file.write_text(f"# tinyvision exercise: {name}\nx = 1\n")
        assert cli.main(["check", str(file)]) == 2
        said = capsys.readouterr().err
        assert "only your instructor can check" in said and hint in said
        assert ("did you mean" in said) == bool(hint)


def test_the_invented_class_asks_for_its_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for words, said in (([], "FOLDER"), ([str(tmp_path / "file")], "cannot be: a part of")):
        done = subprocess.run([sys.executable, "-m", "tinyvision.grading.classroom", *words],
                              capture_output=True, text=True)
        assert done.returncode and said in done.stderr and "Traceback" not in done.stderr


def test_gradcheck_of_an_unknown_operation(capsys):
    assert cli.main(["gradcheck", "convolution"]) == 2
    assert "convolution" in capsys.readouterr().err


@pytest.mark.parametrize("number, name, words", [
    (errno.ENOSPC, "out/submissions.json", "out/submissions.json could not be written, the disk"),
    (errno.ENOSPC, None, "a file could not be written"),
    (errno.EACCES, "./.conv2d.py.adzfbum9", "conv2d.py may not be written"),
    (errno.EACCES, "closed/a/b", "closed/a/b may not be opened"),
    (errno.EROFS, ".a.json.0123456789ab.part", "a.json may not be written"),
    (errno.ENOENT, "nowhere", "there is no nowhere"),
    (errno.ENOTDIR, "a.py/b", "a.py/b cannot be: a part of that path is a file"),
    (errno.EEXIST, "out", "out is there already and is no folder"),
    (errno.EISDIR, "out", "out is a folder"), (errno.ENAMETOOLONG, "x" * 300, "is too long"),
    (errno.EIO, "disk", "disk: Input/output error"), (errno.EPERM, None, os.strerror(errno.EPERM))])
def test_what_the_system_refuses_is_one_sentence(monkeypatch, capsys, number, name, words):
    def refuse():
        raise OSError(number, os.strerror(number), name)
    monkeypatch.setattr("tinyvision.exercises.commands.table", refuse)
    assert cli.main(["exercises"]) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1 and "Errno" not in said


def test_the_commands_name_is_said_once(monkeypatch, capsys):
    def refuse():
        raise ValueError("exercises: nothing here")
    monkeypatch.setattr("tinyvision.exercises.commands.table", refuse)
    assert cli.main(["exercises"]) == 2
    assert capsys.readouterr().err == "tinyvision exercises: nothing here\n"


def test_an_unreadable_file_is_told_from_a_place_that_cannot_be_written(monkeypatch, tmp_path):
    file = tmp_path / "secret"
    file.write_text("x")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert f"{file} may not be read" in cli.refusal(PermissionError(13, "denied", str(file)))


def test_a_sentence_of_our_own_stays():
    assert cli.refusal(FileExistsError("nms.py exists already")) == "nms.py exists already"


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("both", [False, True])
def test_a_closed_pipe_ends_quietly(both):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "tinyvision", "exercises"], stdout=writing,
                          stderr=writing if both else subprocess.PIPE)
    os.close(writing)
    assert done.returncode == cli.CLOSED and not done.stderr


@pytest.mark.parametrize("words, joined", [
    ("replay --notebook out bob 1.2", "replay --notebook= out bob 1.2"),
    ("replay out bob 1.2 --notebook", "replay out bob 1.2 --notebook="),
    ("replay out --notebook a.ipynb bob 1", "replay out --notebook=a.ipynb bob 1"),
    ("replay out bob 1.2 --notebook=a", "replay out bob 1.2 --notebook=a"),
    ("start nms --notebook", "start nms --notebook")])
def test_the_name_of_a_notebook_may_be_left_away(words, joined):
    assert cli._joined(words.split()) == joined.split()


def test_a_gpu_that_is_not_there_is_explained():
    if tv.gpu_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(tv.DeviceError, match='"gpu" needs'):
        tv.Tensor([1.0]).to("gpu")
    with pytest.raises(ValueError, match="'cuda'"):
        tv.Tensor(np.ones(2)).to("cuda")
