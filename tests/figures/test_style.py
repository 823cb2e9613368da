"""PNG files: the same bytes for the same figure, whole or not at all."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from xcnn.errors import UserError
from xcnn.figures import heat_tables, save_png


def test_same_input_same_bytes(tmp_path: Path) -> None:
    for name, size, cell in (("a", 9, 0.5), ("b", 30, 0.5), ("c", 9, 0.6)):
        with matplotlib.rc_context({"font.size": size, "savefig.facecolor": "red", "figure.dpi": 10 * size}):
            save_png(heat_tables({"": [[cell, 1.0]]}, ["x"], ["y", "z"]), tmp_path / f"{name}.png")
    files = [(tmp_path / f"{name}.png").read_bytes() for name in "abc"]
    assert files[0] == files[1]  # whatever the caller has set
    assert files[0] != files[2]


def test_nothing_but_pixels_in_the_file(tmp_path: Path) -> None:
    save_png(heat_tables({"": [[0.0, 1.0]]}, ["x"], ["y", "z"]), tmp_path / "deep" / "table.png", dpi=50)
    with Image.open(tmp_path / "deep" / "table.png") as image:
        assert image.mode == "RGB"
        assert image.info == {}
        pixels = np.asarray(image)
    assert (pixels[0, 0] == 255).all()
    assert len(np.unique(pixels)) <= 64
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["table.png"]


def test_unwritable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        save_png(heat_tables({"": [[1.0]]}, ["x"], ["y"]), tmp_path / "file" / "folder" / "table.png", dpi=50)
