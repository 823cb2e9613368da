"""How sure an attribution map is: its interval over networks that differ in the training's seed or in a bootstrap."""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.stats import t
from torch import Tensor

from xcnn.attribution import Method
from xcnn.data.pictures import PictureBatch
from xcnn.errors import UserError
from xcnn.evaluation.gallery import Gallery
from xcnn.evaluation.image_rows import Columns, image_rows
from xcnn.evaluation.subject import Subject
from xcnn.figures import Scale, relevance_grid
from xcnn.metrics.ranking import at_size
from xcnn.metrics.similarity import rank_correlation
from xcnn.report.cells import Cell

FEWEST = 3  # networks behind an interval, one of which is left out in turn


def normalised(maps: Tensor) -> Tensor:
    """Maps (..., h, w) over the mean of their absolute values, so that maps of several networks compare; 0 stays 0."""
    size = maps.abs().mean((-2, -1), keepdim=True)
    return maps / size.clamp(min=torch.finfo(maps.dtype).tiny)


def half_width(maps: Tensor, level: float) -> Tensor:
    """Half of Student's t interval of the mean over networks, at each location: (networks, ..., h, w) -> (..., h, w).

    Raises:
        UserError: fewer than two networks, or a level outside (0, 1).
    """
    n = len(maps)
    if n < 2 or not 0 < level < 1:
        raise UserError(f"an interval needs two networks at least, and a level in (0, 1), not {n} and {level}.")
    return maps.std(0) * float(t.ppf(0.5 + level / 2, n - 1)) / n**0.5


def check_enough(networks: int) -> None:
    """Refuse a number of networks from which no interval can be told.

    Raises:
        UserError: fewer than three.
    """
    if networks < FEWEST:
        raise UserError(f"{networks} networks are too few for an interval: train {FEWEST} at least.")


def map_values(maps: Tensor, level: float) -> dict[str, Tensor]:
    """What an image's maps of several networks have in common: (networks, n, h, w) -> values (n,).

    Returns:
        `width`: mean half-width of the interval, over the mean absolute value of a map; `sure`: share of the locations
        whose interval lies wholly above or below the mean map's own mean; `agree`: mean rank correlation of two
        networks' maps, NaN where one is constant; `covered`: share of the locations at which a network's value lies in
        the prediction interval of the others', each left out in turn.

    Raises:
        UserError: fewer than three networks, or a level outside (0, 1).
    """
    networks = len(maps)
    check_enough(networks)
    maps = normalised(maps)
    half, mean = half_width(maps, level), maps.mean(0)
    away = (mean - mean.mean((1, 2), keepdim=True)).abs()
    pairs = [(i, j) for i in range(networks) for j in range(i)]
    agree = torch.stack([rank_correlation(maps[i], maps[j]) for i, j in pairs]).mean(0)
    covered = []
    for place in range(networks):
        others = torch.cat([maps[:place], maps[place + 1 :]])
        wide = half_width(others, level) * networks**0.5  # sqrt(1 + 1/n) s = s / sqrt(n) sqrt(n + 1)
        covered.append(((maps[place] - others.mean(0)).abs() <= wide).double().mean((1, 2)))
    return {
        "width": half.mean((1, 2)),
        "sure": (away > half).double().mean((1, 2)),
        "agree": agree,
        "covered": torch.stack(covered).mean(0),
    }


def interval_rows(
    cell: Cell,
    subjects: Mapping[str, Sequence[Subject]],
    methods: Mapping[str, Mapping[str, Sequence[Method]]],
    level: float,
    chunk: int,
) -> pd.DataFrame:
    """A row for each image: `width/grad_cam/seeds` and its like, of each method and kind of network.

    For the class that the first network of all predicts.

    Args:
        subjects: networks of each kind (`seeds`, `bootstrap`), with the same test images.
        methods: of each kind, by name, one for each network.
        level: of the intervals.
    """
    first = next(iter(subjects.values()))[0]

    def columns(batch: PictureBatch) -> Columns:
        pictures = first.scaled(batch)
        inputs = first.normalise(pictures)
        with torch.no_grad():
            targets = first.network(inputs).argmax(1)
        found: dict[str, Tensor] = {"target": targets}
        for kind, by_name in methods.items():
            for name, own in by_name.items():
                maps = torch.stack([at_size(method(inputs, targets), pictures.shape[2:]) for method in own])
                found |= {f"{metric}/{name}/{kind}": each for metric, each in map_values(maps, level).items()}
        return found

    return image_rows(cell, first, chunk, columns)


def means_and_widths(
    subject: Subject, methods: Mapping[str, Sequence[Method]], shown: PictureBatch, level: float
) -> Figure:
    """Mean map over networks, with its sign where it has one, and half the width of its interval at each location.

    Args:
        subject: the first of the networks; maps are for the class that it predicts.
        methods: by title, one for each network.
        shown: images.
        level: of the intervals.
    """
    panels: dict[str, Tensor] = {}
    scales: dict[str, Scale] = {}
    for title, own in methods.items():
        gallery = Gallery.of(subject, {title: own[0]}, shown)
        inputs, targets = subject.normalise(subject.scaled(shown)), gallery.explanations[title].targets
        maps = normalised(torch.stack([at_size(each(inputs, targets), shown.images.shape[2:]) for each in own])).cpu()
        mean, width = f"{title}, mean", f"half-width of {title}"
        panels |= {mean: maps.mean(0), width: half_width(maps, level)}
        scales |= {mean: "signed" if maps.amin() < 0 else "heat", width: "heat"}
    return relevance_grid(gallery.rows(panels), scales)
