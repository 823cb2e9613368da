"""One look for all figures, and PNG files that are the same bytes for the same figure."""

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from xcnn.files import atomic

# Okabe & Ito's palette: told apart under the common forms of colour blindness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
INK, FAINT, GRID = "#222222", "#6b6b6b", "#e8e8e8"
POSITIVE, NEGATIVE = PALETTE[0], PALETTE[1]
SEQUENTIAL = "cividis"

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that text looks the same on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.titlelocation": "center",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "figure.titlesize": 9,
    "figure.titleweight": "bold",
    "figure.facecolor": "white",
    "legend.frameon": False,
    "hatch.linewidth": 0.8,
    "lines.linewidth": 1.6,
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run `draw` under this style from matplotlib's defaults, whatever the caller has set, and then restore that."""

    @functools.wraps(draw)
    def with_style(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.style.context(STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return with_style


@styled
def save_png(figure: Figure, path: str | Path, dpi: int = 150) -> None:
    """Write a figure atomically; the same figure gives the same bytes (no date, no version in the file).

    Figures are at most 180 mm wide, with text of 7 points or more: `dpi=300` is fit to print.
    Colours are kept to six bits a channel, an error of at most 2 of 255 that spares two fifths of a picture's bytes.

    Raises:
        UserError: the folder cannot be written.
    """
    FigureCanvasAgg(figure)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi, bbox_inches="tight", pad_inches=0.08, pil_kwargs={"compress_level": 1})
    six_bits = [round(round(value * 63 / 255) * 255 / 63) for value in range(256)]
    with Image.open(drawn) as image, atomic(path, "wb") as stream:
        image.convert("RGB").point(six_bits * 3).save(stream, format="png", optimize=True)
