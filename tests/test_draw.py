import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from matplotlib.figure import Figure  # noqa: E402

from tinyvision import draw  # noqa: E402
from tinyvision.data import shapes  # noqa: E402
from tinyvision.draw.palette import ACCENT, rgb  # noqa: E402

X = np.array([[120, 150, 120], [100, 50, 110], [25, 25, 10]])
K = np.array([[1, -1], [2, -2]])


def texts(figure):
    """All texts of a figure, in the order in which they were drawn."""
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def frames(figure):
    """(x, y) of the corners of all accented frames."""
    return [patch.get_xy() for axes in figure.axes for patch in axes.patches
            if patch.get_edgecolor()[:3] == rgb(ACCENT)]


def after(words, title, count):
    """The `count` texts before `title`: the cells of a step are drawn before its title."""
    end = words.index(title)
    return words[end - count:end]


def test_importing_draw_does_not_import_matplotlib():
    code = "import sys, tinyvision, tinyvision.draw; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_of_draw_is_a_function_that_is_there():
    for name in ("numbers", "numbers_row", "stamps", "switches", "conv_matrix", "images", "masks",
                 "curve", "graph", "graph_text", "roofline", "tile_heights", "register_tile",
                 "shared_tile", "warp_reads"):
        assert callable(getattr(draw, name)) and name in dir(draw)
    with pytest.raises(AttributeError, match="no 'cat'; it has graph, graph_text, numbers"):
        draw.cat


def test_a_figure_shows_itself_as_png():
    figure = draw.numbers(X)
    assert isinstance(figure, Figure) and figure._repr_png_().startswith(b"\x89PNG")


def test_numbers_writes_every_number_and_frames_what_is_highlighted():
    figure = draw.numbers(X, title="image", highlight=[(1, 2)])
    assert texts(figure) == [str(v) for v in X.ravel()] + ["image"]
    assert frames(figure) == [(2, 1)]
    assert frames(draw.numbers(X, highlight=X == 150)) == [(1, 0)]


def test_numbers_are_written_short():
    written = texts(draw.numbers([[0.5, -0.0, 1 / 3, 2.0, -0.001]]))
    assert written == ["0.5", "0", "0.33", "2", "0"]


def test_tensors_and_leading_axes_of_one_are_accepted():
    class Tensor:
        def numpy(self):
            return X.reshape(1, 1, 3, 3)

    assert texts(draw.numbers(Tensor())) == [str(v) for v in X.ravel()]
    with pytest.raises(ValueError, match=r"expected one matrix .* got \(2, 3, 3\)"):
        draw.numbers(np.zeros((2, 3, 3)))


def test_numbers_row_puts_titles_and_symbols():
    words = texts(draw.numbers_row([[[1]], [[2]], [[3]]], ["a", "b", "c"], ["·", "="]))
    assert words == ["1", "a", "·", "2", "b", "=", "3", "c"]


def test_stamps_writes_the_sums_of_the_lecture():
    words = texts(draw.stamps(X, K))
    assert after(words, "+ 150 · kernel", 16)[:8] == [
        "120", "-120+150", "-150", "0", "240", "-240+300", "-300", "0"]
    total = [120, 30, -30, -120, 340, 10, 0, -350, 225, -100, 105, -230, 50, 0, -30, -20]
    assert after(words, "sum of the stamps", 16) == [str(v) for v in total]


def test_stamps_with_stride_and_padding():
    figure = draw.stamps([[1, 2], [3, 4]], np.ones((3, 3)), stride=2, padding=1)
    assert "1+2" in texts(figure) and len(frames(figure)) == 4
    with pytest.raises(ValueError, match="3x3 sums; got stride 1, padding 2"):
        draw.stamps([[1]], np.ones((3, 3)), padding=2)


def test_switches_write_the_lectures_sum():
    words = texts(draw.switches(X, 2, 1, values=[[300, 450], [100, 250]]))
    assert after(words, "unpooled", 9) == ["0", "300+450", "0", "100", "0", "250", "0", "0", "0"]
    assert after(words, "2x2 max, stride 1", 4) == ["150", "150", "100", "110"]
    with pytest.raises(ValueError, match=r"one for each window, \(2, 2\); got \(1, 1\)"):
        draw.switches(X, 2, 1, values=[[1]])
    with pytest.raises(ValueError, match="does not fit"):
        draw.switches(X, 4)


def test_conv_matrix_writes_the_products_of_the_lecture():
    matrix, letters = [[1, 2, 3, 0, 0, 0], [0, 0, 1, 2, 3, 0]], {1: "x", 2: "y", 3: "z"}
    words = texts(draw.conv_matrix(matrix, list("0abcd0"), letters))
    assert words[:6] == ["x", "y", "z", "0", "0", "0"]
    assert words[-2:] == ["ay + bz", "bx + cy + dz"]
    words = texts(draw.conv_matrix(matrix, ["a", "b"], letters, transpose=True))
    assert words[-6:] == ["ax", "ay", "az + bx", "by", "bz", "0"]
    assert texts(draw.conv_matrix(matrix, [0, 1, 2, 3, 4, 0]))[-2:] == ["8", "20"]
    with pytest.raises(ValueError, match="6 columns, .* got 2"):
        draw.conv_matrix(matrix, [1, 2])


def test_images_in_a_grid():
    scenes = shapes(5)
    figure = draw.images(scenes.images, titles=["a", "b", "c", "d", "e"], columns=3)
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "d", "e", ""]
    draw.images([np.zeros((4, 5)), np.zeros((1, 4, 5))])
    with pytest.raises(ValueError, match=r"got \(2, 4, 4\)"):
        draw.images([np.zeros((2, 4, 4))])


def test_masks_have_a_legend_and_rows():
    scenes = shapes(3)
    figure = draw.masks(scenes.images, scenes.masks, scenes.masks, scenes.names)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(scenes.names)
    assert len(figure.axes) == 9 and texts(figure) == ["image", "truth", "predicted"]
    assert len(draw.masks(scenes.images, scenes.masks - 1).axes) == 6


def test_curve_names_its_lines():
    figure = draw.curve({"training": [3, 2, 1], "held out": [3, 3, 2]}, title="loss", floor=1)
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["training", "held out"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [3, 2, 1])
    assert draw.curve([1.0, 0.5], log=True).axes[0].get_legend() is None


def bench_result(*rungs):
    """A result of the benchmark, with (name, seconds, whether on a smaller layer) as rungs."""
    from tinyvision.bench import ladder, machine
    from tinyvision.bench.cases.convolution import Conv2d
    layer = Conv2d(8, 64, 56, 56, 64, (3, 3), padding=(1, 1))
    result = ladder.Result(layer, machine.Machine("a machine", 2, peak=4e11, bandwidth=4e10))
    for name, seconds, small in rungs:
        case = layer.smaller(1e5) if small else layer
        result.rungs.append(ladder.Measured(name, name, False, [[seconds]], case.operations,
                                            case.moved, case.size * small))
    return result


def test_roofline_names_every_rung_and_ceiling():
    result = bench_result(("reference", 0.02, True), ("cpu_gemm", 0.02, False),
                          ("cpu", 0.019, False))
    figure = draw.roofline(result, guesses={"cpu": 0.1})
    words = texts(figure)
    for one in ("peak 400 GFLOP/s", "copy 40 GB/s", "one core", "reference, a smaller layer",
                "cpu_gemm", "cpu", "guess: cpu"):
        assert one in words
    low, high = sorted(label.xyann[1] for label in figure.axes[0].texts
                       if label.get_text() in ("cpu", "cpu_gemm"))
    assert low == 0 and high > 5                                 # moved out of each other's way


def test_roofline_ends_at_the_measured_peak():
    roof = draw.roofline(bench_result(("cpu", 0.01, False))).axes[0].lines[0]
    assert roof.get_ydata().max() == 400 and roof.get_ydata()[0] == 40 * roof.get_xdata()[0]


def test_tile_heights_colours_what_spills():
    bars = draw.tile_heights({1: 1e9, 2: 2e9, 3: 1e9}, largest=2).axes[0].patches
    assert [bar.get_height() for bar in bars] == [1, 2, 1]
    assert [bar.get_facecolor()[:3] == rgb(ACCENT) for bar in bars] == [False, False, True]


def test_register_tile_counts_registers():
    assert "32 of 32 registers" in texts(draw.register_tile(10, 16))
    spilled = draw.register_tile(11, 16)
    assert "35 are needed, there are 32" in texts(spilled) and len(frames(spilled)) == 3
    assert "15 of 16 registers" in texts(draw.register_tile(6, 8, registers=16, ahead=1))


def test_shared_tile_names_its_three_levels():
    words = " ".join(texts(draw.shared_tile(64, 16, 4)))
    for part in ("64 x 16", "16 x 64", "64 x 64: one block", "4 x 4: one thread"):
        assert part in words


def test_warp_reads_counts_what_memory_hands_out():
    lane = np.arange(32)
    words = texts(draw.warp_reads({"row": lane, "shifted": lane + 4, "one": 0 * lane,
                                   "far": 100 * lane}))
    assert [text.split("\n")[1] for text in words] == [
        "128 bytes fetched for 128", "160 bytes fetched for 128", "32 bytes fetched for 4",
        "1024 bytes fetched for 128"]
