"""Pictures of the lectures on autograd and on convolution: what stands in them is computed."""
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from matplotlib.patches import FancyBboxPatch, Rectangle  # noqa: E402

import tinyvision as tv  # noqa: E402
from tinyvision import draw, ops  # noqa: E402
from tinyvision.draw import convolution  # noqa: E402
from tinyvision.draw.palette import ACCENT, PAPER, category, rgb, tint  # noqa: E402
from tinyvision.engine import GraphError  # noqa: E402


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def scalar(value):
    return tv.Tensor(np.float64(value), requires_grad=True)


def rows(figure):
    """{expression: (value, gradient)} of a tape: every box has three lines."""
    words = texts(figure)
    boxes = sum(isinstance(p, FancyBboxPatch) for p in figure.axes[0].patches)
    lines = [w for w in words if not w.startswith(("×", "■"))]
    assert len(lines) == 3 * boxes
    return {lines[k]: (float(lines[k + 1]), float(lines[k + 2])) for k in range(0, len(lines), 3)}


class TestTape:
    def test_has_every_value_and_every_gradient(self):
        w, x, b = scalar(3), scalar(2), scalar(-1)
        u = w * x
        v = u + b
        e = v - 2
        L = e ** 2
        figure = draw.tape(L, w=w, x=x, b=b, u=u, v=v, e=e, L=L)
        assert rows(figure) == {"w": (3, 12), "x": (2, 18), "b": (-1, 6), "u = w · x": (6, 6),
                                "v = u + b": (5, 6), "e = v − 2": (3, 6), "L = e²": (9, 1)}
        slopes = sorted(w for w in texts(figure) if w.startswith("×"))
        assert slopes == ["× 1", "× 1", "× 1", "× 2", "× 3", "× 6"]

    def test_adds_the_slopes_of_what_is_used_twice(self):
        x = scalar(3)
        s = x * x
        y = s + x
        figure = draw.tape(y, x=x, s=s, y=y)
        assert rows(figure)["x"] == (3, 7)
        assert "× (3 + 3)" in texts(figure)

    def test_names_what_has_no_name_and_writes_other_ops(self):
        x = scalar(0)
        found = rows(draw.tape(2.0 * (x.exp() - x), x=x))
        assert {"#1 = exp(x)", "#2 = #1 − x", "2 · #2"} < set(found)
        assert found["#1 = exp(x)"] == (1, 2) and found["x"] == (0, 0)

    def test_leaves_the_graph_as_it_was(self):
        x = scalar(3)
        y = x * x
        draw.tape(y, x=x)
        y.backward()
        assert x.grad.item() == 6
        with pytest.raises(GraphError, match="freed"):
            draw.tape(y, x=x)

    def test_refuses_what_it_cannot_draw(self):
        x, several = scalar(3), tv.Tensor(np.ones(3), requires_grad=True)
        with pytest.raises(ValueError, match=r"a leaf has no name"):
            draw.tape(x * x)
        with pytest.raises(ValueError, match=r"one number a box, got a tensor of shape \(3,\)"):
            draw.tape((several * several).sum(), several=several)
        with pytest.raises(ValueError, match="kept nothing of a constant"):
            draw.tape(x + tv.Tensor(np.float64(1)), x=x)
        with pytest.raises(ValueError, match="not computed"):
            draw.tape(tv.Tensor(1.0))

    def test_shows_a_constant_that_was_kept(self):
        x = scalar(3)
        assert rows(draw.tape(x * tv.Tensor(np.float64(5)), x=x))["x · 5"] == (15, 1)


class TestPlane:
    points = np.array([[-1.0, 0.0], [1.0, 0.5], [0.5, -1.0]])

    def test_tints_the_sides_and_draws_the_border_where_the_score_is_0(self):
        axes, = draw.plane(self.points, [0, 1, 1], lambda p: p[:, 0] - 0.25).axes
        border = axes.collections[1].get_paths()[0].vertices
        assert np.allclose(border[:, 0], 0.25, atol=1e-6)
        sides = [c for c in axes.collections[0].get_facecolor()]
        assert np.allclose(sides[0][:3], tint(category(0), 0.25), atol=0.01)
        offsets = [len(c.get_offsets()) for c in axes.collections[-2:]]
        assert offsets == [1, 2]

    def test_takes_several_scores_tensors_and_none(self):
        figure = draw.plane(self.points, [0, 1, 1], {"before": lambda p: tv.Tensor(p)[:, 0] + 100,
                                                     "after": lambda p: tv.Tensor(p)[:, 1]})
        assert [axes.get_title() for axes in figure.axes] == ["before", "after"]
        assert len(draw.plane(self.points, [0, 1, 1]).axes[0].collections) == 2


class TestSlides:
    def test_writes_the_lectures_sums(self):
        words = texts(draw.slides(list("abcd"), list("xyz"), stride=2, padding=1))
        assert [w for w in words if "+" in w] == ["ay + bz", "bx + cy + dz"]

    @pytest.mark.parametrize("stride, padding, dilation", [(1, 0, 1), (2, 1, 1), (1, 2, 3),
                                                           (3, 2, 2)])
    def test_has_the_numbers_that_conv1d_has(self, stride, padding, dilation):
        signal, kernel = np.array([4., 5, 6, 7, 8, 9, 2]), np.array([1., 2, -3])
        figure = draw.slides(signal, kernel, stride, padding, dilation)
        words = texts(figure)
        found = [float(words[k + 1]) for k, w in enumerate(words) if w == "="]
        expected = ops.conv1d(signal[None, None], kernel[None, None], stride=stride,
                              padding=padding, dilation=dilation)
        assert found == expected.numpy().ravel().tolist()
        frames = [p for p in figure.axes[0].patches if p.get_edgecolor()[:3] == rgb(ACCENT)]
        assert [p.get_x() for p in frames] == [stride * k for k in range(len(found))]
        assert {p.get_width() for p in frames} == {2 * dilation + 1}

    def test_refuses_a_kernel_that_does_not_fit(self):
        with pytest.raises(ValueError, match="7 wide, fits into the padded signal, 4"):
            draw.slides([1, 2, 3, 4], [1, 2, 3], dilation=3)
        with pytest.raises(ValueError, match="got stride 0"):
            draw.slides([1, 2, 3, 4], [1, 2, 3], stride=0)


class TestWindows:
    @pytest.mark.parametrize("settings", [dict(), dict(stride=2), dict(padding=1),
                                          dict(dilation=2), dict(stride=2, padding=2, dilation=2)])
    def test_has_the_size_that_conv2d_has(self, settings):
        found = convolution.Window(6, 3, **settings).count
        image, kernel = np.zeros((1, 1, 6, 6)), np.zeros((1, 1, 3, 3))
        assert (found, found) == ops.conv2d(image, kernel, **settings).shape[2:]
        assert f"{found}x{found}" in texts(draw.windows(6, 3, [settings]))

    def test_colours_the_pixels_that_the_first_windows_read(self):
        axes, = draw.windows(5, 3, [dict(stride=2)]).axes
        for k in (0, 1):
            seen = {(p.get_x() - 0.3, p.get_y() - 2.4) for p in axes.patches
                    if isinstance(p, Rectangle) and p.get_alpha() == 0.42
                    and p.get_facecolor()[:3] == rgb(category(k))}
            expected = {(x + 2 * k, y) for x in range(3) for y in range(3)}
            assert {(round(x), round(y)) for x, y in seen} == expected

    def test_titles_say_what_is_not_as_usual(self):
        words = texts(draw.windows(5, 3, [dict(), dict(stride=2, padding=1)]))
        assert "stride 1" in words and "stride 2, padding 1" in words

    def test_refuses_a_kernel_that_does_not_fit(self):
        with pytest.raises(ValueError, match="a 3x3 kernel with dilation 3, stride 1 does not fit"):
            draw.windows(5, 3, [dict(dilation=3)])
        with pytest.raises(ValueError, match="stride 0 does not fit into 5x5"):
            draw.windows(5, 3, [dict(stride=0)])


class TestGroups:
    def test_connects_what_conv2d_connects(self):
        axes, = draw.groups(4, 6, [2]).axes
        lines = {tuple(np.round(line.get_ydata(), 6)) for line in axes.lines}
        left, right = (1.7 + 7.8 * (np.arange(n) + 0.5) / n for n in (4, 6))
        image = tv.Tensor(np.ones((1, 4, 1, 1)), requires_grad=True)
        y = ops.conv2d(image, np.ones((6, 2, 1, 1)), groups=2)
        expected = {(round(left[c], 6), round(right[o], 6)) for o in range(6) for c in range(4)
                    if tv.grad(y[0, o, 0, 0], image, retain_graph=True)[0].numpy()[0, c, 0, 0]}
        assert lines == expected and len(lines) == 12

    def test_counts_filters_and_refuses_what_does_not_divide(self):
        assert "16 filters of I x J" in texts(draw.groups(4, 4, [1, 4]))
        with pytest.raises(ValueError, match="3 groups do not divide 4 input and 6"):
            draw.groups(4, 6, [3])


@pytest.mark.parametrize("layers", [[(3, 1)], [(3, 1), (3, 1)], [(3, 1), (3, 2), (3, 1)],
                                    [(3, 1, 1), (3, 1, 2), (3, 1, 4)], [(5, 2), (2, 2), (3, 1)]])
def test_receptive_field_is_where_the_gradient_is_not_0(layers):
    figure = draw.receptive_field(layers)
    image = y = tv.Tensor(np.ones((1, 1, 101)), requires_grad=True)
    for kernel, stride, *dilation in layers:
        y = ops.conv1d(y, np.ones((1, 1, kernel)), stride=stride,
                       dilation=dilation[0] if dilation else 1)
    gradient, = tv.grad(y[0, 0, y.shape[2] // 2], image)
    seen = np.flatnonzero(gradient.numpy())
    assert f"input: {np.ptp(seen) + 1} seen" in texts(figure)
    lowest = max(p.get_y() for p in figure.axes[0].patches)
    coloured = [p for p in figure.axes[0].patches
                if p.get_y() == lowest and p.get_facecolor()[:3] != rgb(PAPER)]
    assert len(coloured) == len(seen)


class TestSigned:
    def test_is_white_at_0_blue_above_and_orange_below(self):
        figure = draw.signed([np.array([[0.0, 2.0], [-2.0, -1.0]])])
        picture = figure.axes[0].images[0].get_array()
        assert np.allclose(picture[0, 0], 1)
        blue, orange, half = picture[0, 1], picture[1, 0], picture[1, 1]
        assert blue[2] > blue[0] and orange[0] > orange[2]
        assert np.allclose(half, (orange + 1) / 2)

    def test_scales_each_map_or_all_alike(self):
        maps = [np.full((2, 2), 1.0), np.full((2, 2), 4.0)]
        own = [axes.images[0].get_array()[0, 0] for axes in draw.signed(maps).axes]
        alike = [axes.images[0].get_array()[0, 0] for axes in draw.signed(maps, largest=4).axes]
        assert np.allclose(*own) and not np.allclose(*alike)
        assert np.allclose(draw.signed([np.zeros((2, 2))]).axes[0].images[0].get_array(), 1)

    def test_refuses_several_channels(self):
        with pytest.raises(ValueError, match=r"a map is \(H, W\) or \(1, H, W\); got \(3, 2, 2\)"):
            draw.signed(np.zeros((1, 3, 2, 2)))


class TestFilters:
    def test_are_drawn_to_one_scale_grey_at_0(self):
        weights = np.zeros((2, 3, 2, 2))
        weights[0, 0], weights[1, 0] = 1, -0.5
        first, second = (axes.images[0].get_array() for axes in draw.filters(weights).axes)
        assert np.allclose(first[0, 0], (1, 0.5, 0.5)) and np.allclose(second[0, 0], (.25, .5, .5))

    def test_of_one_channel_are_signed_and_others_are_refused(self):
        weights = np.array([1.0, -0.5]).reshape(2, 1, 1, 1)
        first, second = (axes.images[0].get_array()[0, 0] for axes in draw.filters(weights).axes)
        assert first[2] > first[0] and second[0] > second[2] and second[0] > first[0]
        with pytest.raises(ValueError, match=r"expected \(O, 3, I, J\) or .* got \(2, 4, 3, 3\)"):
            draw.filters(np.zeros((2, 4, 3, 3)))
