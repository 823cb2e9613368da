"""What the plots of embeddings show, read back from the figure."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from tests.figures.drawn import overlapping
from xcnn.errors import UserError
from xcnn.figures import EmbeddingPanel, Marks, distinct_colours, embedding_plot, save_png


def sparrows(classes: int, marker: str = "s") -> EmbeddingPanel:
    centres = np.stack([np.arange(classes), np.arange(classes) ** 2 % 7], 1).astype(float)
    train = np.concatenate([centres, centres + 0.2, centres - 0.2])
    labels = np.tile(np.arange(classes), 3)
    names = [f"Nelson Sharp-tailed Sparrow {index}" for index in range(classes)]
    marks = Marks(centres + 0.1, np.arange(classes), marker)  # type: ignore[arg-type]
    return EmbeddingPanel("KMEx", names, train, labels, centres + 0.3, np.arange(classes), {"prototypes": marks})


def scattered(axes: Axes, label: str) -> PathCollection:
    (found,) = [part for part in axes.collections if part.get_label() == label and isinstance(part, PathCollection)]
    return found


def hexes(colours: Sequence[object]) -> list[str]:
    return [to_hex(colour) for colour in colours]  # type: ignore[arg-type]


def test_embedding_plot() -> None:
    panel = sparrows(3)
    turned = replace(sparrows(3, "x"), name="classifier", classes=list(panel.classes)[::-1])
    figure = embedding_plot([turned, panel], "UMAP")
    for given, axes in zip((turned, panel), figure.axes, strict=True):
        assert axes.get_title() == given.name
        by_class = dict(zip(turned.classes, distinct_colours(3), strict=True))
        expected = [by_class[name] for name in given.classes]
        train, test, marks = (scattered(axes, label) for label in ("train", "test", "prototypes"))
        np.testing.assert_array_equal(train.get_offsets(), given.train)
        np.testing.assert_array_equal(test.get_offsets(), given.test)
        np.testing.assert_array_equal(marks.get_offsets(), given.marks["prototypes"].points)
        assert hexes(train.get_facecolors()) == expected * 3
        assert hexes(test.get_facecolors()) == expected
        assert hexes(marks.get_edgecolors() if given is turned else marks.get_facecolors()) == expected
        assert (test.get_alpha() or 1) < (train.get_alpha() or 1)
    for axes, marker in zip(figure.axes, "xs", strict=True):
        legend = axes.get_legend()
        assert legend is not None
        kinds = {text.get_text(): part for text, part in zip(legend.texts, legend.legend_handles, strict=True)}
        assert list(kinds) == ["train", "test", "prototypes"]
        assert isinstance(kinds["prototypes"], Line2D)
        assert kinds["prototypes"].get_marker() == marker
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(turned.classes)
    # Prototypes have white edges, or a white cross below the coloured one.
    squares = scattered(figure.axes[1], "prototypes")
    assert hexes(squares.get_edgecolors()) == ["#ffffff"]
    crosses = [part for part in figure.axes[0].collections if isinstance(part, PathCollection)]
    assert hexes(crosses[-2].get_edgecolors()) == ["#ffffff"]
    assert max(crosses[-2].get_linewidths()) > max(crosses[-1].get_linewidths())


@pytest.mark.parametrize(("n", "size"), [(30, 30.0), (60_000, 3.0)])
def test_points_are_as_large_as_their_number_allows(n: int, size: float) -> None:
    points = np.zeros((n, 2))
    panel = EmbeddingPanel("KMEx", ["crow"], points, np.zeros(n, dtype=int), [], [])
    assert list(scattered(embedding_plot([panel]).axes[0], "train").get_sizes()) == [size]


def test_embedding_plot_has_no_names_at_points() -> None:
    figure = embedding_plot([sparrows(3)])
    assert [text for axes in figure.axes for text in axes.texts] == []


@pytest.mark.parametrize(("classes", "legends", "names"), [(21, 1, 0), (48, 0, 48)])
def test_many_classes(classes: int, legends: int, names: int) -> None:
    panel = sparrows(classes)
    figure = embedding_plot([panel, panel])
    assert len(figure.legends) == legends
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == list(panel.classes[:names])
    assert overlapping(figure) == []
    # A name that had to move is tied to its class's median, here the class's first point.
    ties = np.reshape([line.get_xydata() for line in axes.lines], (names, 2, 2))  # type: ignore[arg-type]
    np.testing.assert_allclose(ties[:, 0], np.asarray(panel.train)[:names])
    np.testing.assert_allclose(ties[:, 1], np.reshape([text.get_position() for text in axes.texts], (names, 2)))
    inside = axes.get_window_extent().padded(1)
    for text in axes.texts:
        box = text.get_window_extent()
        assert inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1)


def test_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_png(embedding_plot([sparrows(22)]), tmp_path / name, dpi=50)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_refusals() -> None:
    panel = sparrows(3)
    with pytest.raises(UserError, match="panels is empty"):
        embedding_plot([])
    with pytest.raises(UserError, match=r"KMEx, test: points are \(3, 2\) and labels \(2,\)"):
        embedding_plot([replace(panel, test_labels=[0, 1])])
    with pytest.raises(UserError, match="KMEx, train: labels go from 0 to 2, but it has 2 classes"):
        embedding_plot([replace(panel, classes=panel.classes[:2])])
