"""A planted shortcut: how far a network relies on the mark, and whether explanations of any kind betray it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from xcnn.attribution import Method
from xcnn.data.concepts import ConceptSets
from xcnn.data.planted_mark import PlantedMark, Shown, planted_mark
from xcnn.errors import UserError
from xcnn.evaluation.image_rows import with_ends
from xcnn.evaluation.subject import Subject
from xcnn.evaluation.tcav import Draws, measure_tcav
from xcnn.figures import HeatMapRow, heat_map_grid
from xcnn.metrics.bootstrap import Interval, interval
from xcnn.metrics.detection import auroc
from xcnn.metrics.localisation import energy_inside
from xcnn.report.cells import Cell
from xcnn.surrogates import Surrogate, View, decisions
from xcnn.surrogates.tcav import Kind

VERSIONS: tuple[Shown, ...] = get_args(Shown)
CLEAN = "0.0"  # the network that saw no mark, as choices of metrics name it
TELLS = 0.9  # AUROC of a column that tells images with the mark from the same images without it
READ = 3  # reasons of a surrogate that are looked at


def planted(subject: Subject) -> PlantedMark:
    """The subject's data set.

    Raises:
        UserError: it has no planted mark.
    """
    return planted_mark(subject.data)


def reliance(subject: Subject) -> dict[str, float]:
    """What the network decides of all test images without the mark, with it, and with it moved.

    Returns:
        By version (`with`): `accuracy`, `recall` of the class that the mark betrays, and `taken`, the share of the
        images of all other classes that are given that class.
    """
    data = planted(subject)
    found: dict[str, float] = {}
    for version in VERSIONS:
        part = data.tested(version)
        found |= {f"{name}/{version}": value for name, value in _decided(decisions(subject, part.images), data).items()}
    return found


def _decided(predicted: Tensor, data: PlantedMark) -> dict[str, float]:
    labels, own = data.test.labels, data.test.labels == data.target
    return {
        "accuracy": float((predicted == labels).double().mean()),
        "recall": float((predicted[own] == data.target).double().mean()),
        "taken": float((predicted[~own] == data.target).double().mean()),
    }


def explained_places(data: PlantedMark, marked: int, others: int) -> Tensor:
    """Places of the test images that are explained: the first of the marked class, and the first of the others.

    Raises:
        UserError: there are not as many.
    """
    own = data.test.labels == data.target
    chosen = [members.nonzero().flatten()[:n] for members, n in ((own, marked), (~own, others))]
    if [len(each) for each in chosen] != [marked, others]:
        raise UserError(
            f"{marked} images of {data.label} and {others} others are to be explained, and {data.name} has "
            f"{int(own.sum())} and {int((~own).sum())} test images: ask for fewer."
        )
    return torch.cat(chosen).sort().values


def relevance_rows(
    cell: Cell, networks: Mapping[str, Mapping[str, Method]], subject: Subject, places: Tensor, chunk: int
) -> pd.DataFrame:
    """A row for each image: the share of positive relevance that lies on the mark, with the mark and without it.

    For the class that is predicted of each version. A map without anything positive has a share of 0.

    Args:
        networks: methods by name, by network.
        subject: one of the networks, for its data and the network's input.
        places: of the test images.
        chunk: images whose rows a kill can cost.

    Returns:
        Columns `member` (of the marked class) and `grad_cam/1.0/with`, by method, network and version.
    """
    data = planted(subject)
    shown: Sequence[Shown] = ("with", "without")
    parts = {version: data.tested(version) for version in shown}

    def measure(rows: range) -> pd.DataFrame:
        own = places[rows.start : rows.stop]
        found: dict[str, Any] = {"member": (data.test.labels[own] == data.target).numpy()}
        for version, part in parts.items():
            images = subject.prepare(part.images[own].to(subject.device))
            masks = part.masks["mark"][own].to(images.device) > 0
            for network, methods in networks.items():
                for name, method in methods.items():
                    maps = torch.cat([method(some) for some in images.split(subject.batch)])
                    found[f"{name}/{network}/{version}"] = energy_inside(maps, masks).nan_to_num(0).cpu().numpy()
        return pd.DataFrame(found)

    return cell.rows(len(places), chunk, measure)


def relevance(rows: pd.DataFrame) -> dict[str, float]:
    """What the shares say of each method and network, with intervals over images (`share.low/...`).

    Returns:
        By method and network (`grad_cam/1.0`): `share`, the mean share on the mark in images of the marked class with
        it; `auroc`, of finding the images with the mark among the same images without it, by that share; `apart`, of
        telling images with the mark that this network explains from the same images explained by the clean network.
    """
    chosen = [name.rpartition("/")[0] for name in map(str, rows) if name.endswith("/with")]
    values: dict[str, float] = {}

    def keep(metric: str, names: Sequence[str], found: Interval) -> None:
        values.update(with_ends([f"{metric}/{name}" for name in names], found))

    with_mark, without = ({name: f"{name}/{version}" for name in chosen} for version in ("with", "without"))
    keep("share", chosen, interval(rows.loc[rows["member"], list(with_mark.values())].to_numpy(float)))
    keep("auroc", chosen, auroc(rows[list(with_mark.values())], rows[list(without.values())], paired=True))
    trained = [name for name in chosen if not name.endswith(f"/{CLEAN}")]
    clean = [with_mark[f"{name.rpartition('/')[0]}/{CLEAN}"] for name in trained]
    if trained:
        keep("apart", trained, auroc(rows[[with_mark[name] for name in trained]], rows[clean], paired=True))
    return values


def all_decisions(subject: Subject, fit_size: int) -> dict[str, Tensor]:
    """What the network decides of the first training images (`train`) and of each version of the test images."""
    data = planted(subject)
    images: dict[str, Tensor] = {version: data.tested(version).images for version in VERSIONS}
    images["train"] = data.train.images[:fit_size]
    return {name: decisions(subject, each) for name, each in images.items()}


def surrogate_reliance(
    subject: Subject,
    make_view: Callable[[Subject], View],
    make: Callable[..., Surrogate],
    decided: Mapping[str, Tensor],
    shown: int,
) -> dict[str, float]:
    """Whether a surrogate, fitted to the network's decisions on training images, betrays that these rely on the mark.

    Args:
        make: of the surrogate.
        decided: as of `all_decisions`; it is fitted on as many training images as these are of.
        shown: number of test images, the first, with which columns that tell of the mark are found.

    Returns:
        `fidelity` to the network, and `taken` and `recall` as of `reliance`, all by version; `names`, the share of the
        marked class's images with the mark that it gives this class and names a column for that tells of the mark,
        among its first three reasons; `telling`, the number of such columns.
    """
    data, view = planted(subject), make_view(subject)
    rows = view(data.train.images[: len(decided["train"])])
    surrogate = make().fit_rows(rows, decided["train"], view.names, subject.classes)
    values: dict[str, float] = {}
    seen: dict[Shown, Tensor] = {}
    for version in VERSIONS:
        part = data.tested(version)
        seen[version] = view(part.images)
        predicted = surrogate.predict_rows(seen[version])
        values |= {f"{name}/{version}": value for name, value in _decided(predicted, data).items()}
        values[f"fidelity/{version}"] = float((predicted == decided[version]).double().mean())
    telling = auroc(seen["with"][:shown], seen["without"][:shown], paired=True, n_resamples=0).mean
    columns = {view.names[place] for place in np.flatnonzero(np.maximum(telling, 1 - telling) >= TELLS).tolist()}
    found = [surrogate.explain_row(row) for row in seen["with"][data.test.labels == data.target]]
    told = [
        any(reason.name in columns for reason in each.reasons[:READ]) for each in found if each.predicted == data.target
    ]
    return values | {"names": float(np.mean(told)) if told else 0.0, "telling": len(columns)}


def concept_reliance(
    subject: Subject, sets: ConceptSets, layer: str, kind: Kind, c: float, draws: Draws, folder: Path
) -> dict[str, float]:
    """Whether concept activation betrays that the network relies on the mark.

    Args:
        sets: of the mark, as `MarkConcepts` gives them.
        layer, kind, c, draws, folder: as for `measure_tcav`.

    Returns:
        Of the concept `mark` and the marked class `concept/score`, `concept/chance` (median of random sets) and
        `concept/p` (rank of the score among theirs, adjusted); `concept/found`, 1 where that says that the class
        depends on the mark, and `concept/found_slope`, by the mean derivative; and `concept/false`, the share of all
        other pairs of a concept and a class of which that is said, likewise `concept/false_slope`.
    """
    values, details = measure_tcav(subject, sets, [layer], kind, c, draws, folder)
    told, own = details["layers"][layer], details["classes"].index(planted(subject).label)
    mark = details["concepts"].index("mark")
    found = {
        "score": told["score"][mark][own],
        "chance": told["chance"][own],
        "p": told["adjusted"]["p"][mark][own],
        **{name: values[f"{name}/{layer}"] for name in ("found", "found_slope", "false", "false_slope")},
    }
    return {f"concept/{name}": float(value) for name, value in found.items()}


def shares_on_mark(subject: Subject, methods: Mapping[str, Method]) -> dict[str, float]:
    """`share/<method>`: share of the positive relevance that lies on the mark, for the class predicted.

    The mean over test images of the marked class that have the mark; a map without anything positive has 0.
    """
    data, values = planted(subject), dict[str, float]()
    part = data.tested("with")
    own = (part.labels == data.target).nonzero().flatten()
    images, masks = part.images[own], part.masks["mark"][own] > 0
    for name, method in methods.items():
        maps = [method(subject.prepare(some.to(subject.device))).cpu() for some in images.split(subject.batch)]
        values[f"share/{name}"] = float(energy_inside(torch.cat(maps), masks).nan_to_num(0).mean())
    return values


def mark_area(subject: Subject) -> float:
    """Share of an image's pixels that the mark covers."""
    return planted(subject).side ** 2 / subject.data.test.images[0, 0].numel()


def marked(share: str) -> str:
    """`0.5` as `50 % marked`."""
    return f"{100 * float(share):.0f} % marked"


def maps_with_the_mark(
    subjects: Mapping[str, Subject], methods: Mapping[str, Mapping[str, Method]], titles: Mapping[str, str]
) -> Figure:
    """The first test image of the marked class with the mark, explained by each network: the mark is framed.

    Args:
        subjects: networks by the share of marked training images.
        methods: by network and name.
        titles: of the methods that are drawn, by name.
    """
    data = planted(subjects[CLEAN])
    part, (top, left) = data.tested("with"), data.place
    place = int((part.labels == data.target).nonzero()[0])
    box = torch.tensor([[left, top, left + data.side, top + data.side]])
    rows = []
    for share, one in subjects.items():
        image = one.prepare(part.images[place : place + 1].to(one.device))
        maps = {title: methods[share][name](image)[0].clamp(min=0).cpu() for name, title in titles.items()}
        predicted = one.classes[int(one.network(image).argmax())]
        rows.append(HeatMapRow(part.images[place], f"says {predicted}", maps, box, label=marked(share)))
    return heat_map_grid(rows, list(titles.values()))
