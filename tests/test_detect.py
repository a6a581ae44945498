"""`tinyvision detect`: a picture of one's own in, what is in it out; mistakes are one sentence."""
import json

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")
Image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")

from tinyvision import cli, data, detect, models, weights, zoo  # noqa: E402
from tinyvision.device import manual_seed  # noqa: E402

NAMES = ("tiny_retinanet", "tiny_mask_rcnn", "tiny_keypoint_rcnn")
SCENE = data.shapes(1, seed=5).images[0]


def save(path, image):
    Image.fromarray((image.transpose(1, 2, 0) * 255).round().astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """(folder with the weights of untrained models and a picture, for each model the score above
    which it finds three things there)."""
    folder, bars = tmp_path_factory.mktemp("detect"), {}
    save(folder / "photo.png", np.repeat(np.repeat(SCENE, 3, 1), 3, 2)[:, :150])
    for name in NAMES:
        manual_seed(1)
        model = models.get_model(name)
        weights.save_weights(model, folder / f"{name}.safetensors")
        model = detect.answering(detect.seeing(model.eval(), name), 0.0)
        found = detect.find(model, detect.read(folder / "photo.png")[0])["scores"]
        bars[name] = float(found[2:4].mean())
    return folder, bars


def run(drawn, name, *more):
    folder, bars = drawn
    return cli.main(["detect", str(folder / "photo.png"), "--model", name, "--weights",
                     str(folder / f"{name}.safetensors"), "--score", str(bars[name]),
                     *map(str, more)])


@pytest.mark.parametrize("name", NAMES)
def test_draws_and_tells_what_predict_finds(drawn, name, tmp_path, capsys):
    out, file = tmp_path / "out.png", tmp_path / "out.json"
    assert run(drawn, name, "-o", out, "--json", file) == 0
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert f"192 x 150 pixels, scaled to 64 x 50 for {name}: 3 found" in first
    assert last == f"picture: {out}" and Image.open(out).size[0] > 300
    written = json.loads(file.read_text())
    assert written["size"] == [150, 192] and len(written["detections"]) == len(lines) == 3

    model = models.get_model(name)
    weights.load_weights(model, drawn[0] / f"{name}.safetensors")
    image, _ = detect.read(drawn[0] / "photo.png")
    found = detect.find(detect.answering(detect.seeing(model.eval(), name), drawn[1][name]), image)
    for k, (row, line) in enumerate(zip(written["detections"], lines)):
        assert np.allclose(row["box"], found["boxes"][k], atol=0.006)
        assert row["score"] == pytest.approx(found["scores"][k], abs=1e-4)
        assert line.split()[0] == row["name"] and f"{row['score']:.3f}" == line.split()[1]
        if "masks" in found:
            assert (data.rle_decode(row["mask"]) == found["masks"][k]).all()
        if "keypoints" in found:
            assert np.allclose(row["keypoints"], found["keypoints"][k, :, :2], atol=0.006)


def test_the_picture_lies_beside_the_image(drawn, capsys):
    assert run(drawn, "tiny_retinanet") == 0
    assert (drawn[0] / "photo.detected.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name, extra", [
    ("tiny_retinanet", set()),
    ("tiny_mask_rcnn", {"levels", "roi_bins", "roi_sample", "mask_targets"}),
    ("tiny_keypoint_rcnn", {"levels", "roi_bins", "roi_sample", "keypoint_targets"})])
def test_explains_itself(drawn, name, extra, tmp_path, capsys):
    assert run(drawn, name, "-o", tmp_path / "a.png", "--explain", tmp_path / "why") == 0
    files = {file.stem for file in (tmp_path / "why").iterdir()}
    assert files - extra == {"anchors", "assignments", "scores", "proposals"}
    assert files >= extra - {"roi_bins", "roi_sample"}       # where a region is small enough
    told = capsys.readouterr().out
    assert all(f"{name}.png: " in told for name in files)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_found_is_said_and_explained(drawn, name, tmp_path, capsys):
    assert run(drawn, name, "--score", 1, "-o", tmp_path / "a.png", "--explain",
               tmp_path / "why") == 0
    assert "nothing found with a score above 1" in capsys.readouterr().out
    assert (tmp_path / "a.png").exists() and (tmp_path / "why" / "assignments.png").exists()


def test_a_model_of_the_zoo_has_its_names(drawn, monkeypatch, tmp_path, capsys):
    def untrained(name):
        model = models.get_model(name)
        weights.load_weights(model, drawn[0] / f"{name}.safetensors")
        return model.eval()
    monkeypatch.setattr(zoo, "get", untrained)
    assert cli.main(["detect", str(drawn[0] / "photo.png"), "--score",
                     str(drawn[1][detect.DEFAULT]), "-o", str(tmp_path / "a.png")]) == 0
    lines = capsys.readouterr().out.splitlines()[1:-1]
    assert len(lines) == 3 and all(line.split()[0] in data.CLASSES[:5] for line in lines)


def test_names_from_a_file_and_numbers_for_the_rest(drawn, tmp_path, capsys):
    names = tmp_path / "names.txt"
    names.write_text("cat\n\ndog\n")
    assert detect.read_names(names) == ["cat", "", "dog"]
    assert run(drawn, "tiny_retinanet", "--names", names, "-o", tmp_path / "a.png") == 0
    said = {line.rsplit(None, 5)[0] for line in capsys.readouterr().out.splitlines()[1:-1]}
    assert said <= {"cat", "dog", "class 1", "class 3", "class 4"}


def test_weights_for_other_classes(drawn, tmp_path, capsys):
    weights.save_weights(models.tiny_retinanet(num_classes=7), tmp_path / "seven.safetensors")
    arguments = ["detect", str(drawn[0] / "photo.png"), "--model", "tiny_retinanet", "--weights",
                 str(tmp_path / "seven.safetensors"), "-o", str(tmp_path / "a.png")]
    assert cli.main([*arguments, "--classes", "7"]) == 0
    assert cli.main(arguments) == 2
    assert "cls_logits" in capsys.readouterr().err


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (2, 2)])
def test_pictures_smaller_than_the_stride(drawn, size, tmp_path, capsys):
    photo = save(tmp_path / "small.png", np.full((3, *size), 0.5, np.float32))
    assert cli.main(["detect", str(photo), "--model", "tiny_retinanet", "--weights",
                     str(drawn[0] / "tiny_retinanet.safetensors"), "--explain",
                     str(tmp_path / "why")]) == 0


@pytest.mark.parametrize("arguments, sentence", [
    (["no.png"], "there is no such file"),
    (["text.png"], "no picture that Pillow can read"),
    (["photo.png", "--model", "tiny_yolo"], "tiny_yolo is no model; detectors are "),
    (["photo.png", "--model", "tiny_segnet"], "tiny_segnet does not detect; detectors are "),
    (["photo.png", "--model", "maskrcnn_resnet50_fpn"], "is not in the zoo: give a file with "),
    (["photo.png", "--weights", "no.safetensors"], "no.safetensors"),
    (["photo.png", "--weights", "text.png"], "text.png"),
    (["photo.png", "--score", "1.5"], "--score is 1.5, expected 0 to 1"),
    (["photo.png", "--score", "nan"], "--score is nan"),
    (["photo.png", "--size", "0"], "--size is 0, expected 1 to 4,096"),
    (["photo.png", "--classes", "3"], "give --weights, too"),
    (["photo.png", "--model", "tiny_retinanet", "--weights", "tiny_retinanet.safetensors",
      "--names", "no.txt"], "no.txt"),
    (["photo.png", "--model", "tiny_retinanet", "--weights", "tiny_retinanet.safetensors",
      "-o", "nowhere/a.png"], "nowhere/a.png"),
])
def test_mistakes_are_one_sentence(drawn, arguments, sentence, monkeypatch, capsys):
    monkeypatch.chdir(drawn[0])
    (drawn[0] / "text.png").write_text("no picture")
    assert cli.main(["detect", *arguments]) == 2
    message = capsys.readouterr().err.strip()
    assert sentence in message and "\n" not in message and message.startswith("tinyvision detect: ")


def test_a_large_picture_is_made_smaller_and_boxes_are_those_of_the_file(tmp_path):
    path = save(tmp_path / "large.png", np.random.default_rng(0).random((3, 35, 3301)))
    image, factor = detect.read(path)
    assert factor == 3 and image.shape == (3, 11, 1100)
    whole = data.read_image(path)
    assert np.allclose(image[:, 2, 5], whole[:, 6:9, 15:18].mean((1, 2)), atol=1e-6)
    found = {"boxes": np.array([[1, 2, 3, 4]], np.float32), "labels": [0], "scores": [0.5]}
    assert detect.table(found, factor, None)[0]["box"] == [3, 6, 9, 12]


@pytest.mark.parametrize("width", [1, 2, 5])
def test_blurred_is_the_mean_around(width):
    image = np.random.default_rng(0).random((3, 9, 11), np.float32)
    got, low, high = detect.blurred(image, width), width // 2, (width - 1) // 2
    padded = np.pad(image, ((0, 0), (low, high), (low, high)), "edge")
    for h, w in ((0, 0), (4, 5), (8, 10)):
        around = padded[:, h:h + width, w:w + width]
        assert np.allclose(got[:, h, w], around.mean((1, 2)), atol=1e-6)


def test_a_photo_stands_as_its_camera_was_held(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    held = Image.Exif()
    held[0x0112] = 6                                         # turned by 90 degrees, clockwise
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=held)
    stored = data.read_image(tmp_path / "photo.png")
    upright, _ = detect.read(tmp_path / "photo.png")
    assert stored.shape == (3, 6, 9) and upright.shape == (3, 9, 6)
    assert np.array_equal(upright, np.rot90(stored, -1, (1, 2)))


def test_what_is_explained_is_matched_by_the_models_own_rules():
    from tinyvision import explain
    model = models.tiny_retinanet()
    assert explain.matching(model) == {"high": 0.5, "low": 0.4, "force": False}
    model.force = True
    assert explain.matching(model)["force"]
    rules = explain.matching(models.tiny_mask_rcnn().rpn.options)
    assert rules == {"high": 0.7, "low": 0.3, "force": True}
