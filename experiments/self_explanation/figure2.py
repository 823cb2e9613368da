"""Post-hoc self-explanation, figure 2: embeddings in the plane, with the classifier's columns and KMEx's prototypes.

Paper:      Boubekki & Clemmensen 2026, figure 2 and section 4.
Command:    make self-explanation-figure2
Reports:    a picture of CUB-200's twenty sparrow classes: columns are rarely near their class, KMEx's prototypes are.
Cost:       the trainings of `make self-explanation-table2` (shared), then one to two minutes a cell on 2 CPU cores.
Deviations: other data (table 2), by any named group of classes (`figure.group`): of CUB-200 the classes 113 to 132,
            because it has 21 sparrows and the paper says twenty. UMAP with its own defaults, seeded, fitted on training
            embeddings; it only draws. What it shows is counted in the space of the embeddings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from xcnn.data.tensors import drawn
from xcnn.errors import UserError
from xcnn.evaluation.prototypes import embeddings, prototypes_of
from xcnn.figures import EmbeddingPanel, Marks, embedding_plot, save_png
from xcnn.launch import Setup, launch
from xcnn.metrics.embedding import plane
from xcnn.prototypes import Columns, KMEx, nearest
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    if options.figure.classes is None and options.figure.group != "all":
        groups = ", ".join(["all", *(options.groups or ())])
        raise UserError(f"{options.dataset} has no group {options.figure.group!r}; there are: {groups}.")
    kmex = setup.prototyped()
    if not isinstance(kmex.method, KMEx):
        raise UserError("figure 2 sets the classifier's columns beside KMEx's prototypes: prototypes=kmex or kmex_1.")
    network = replace(kmex, method=Columns(kmex.method.encoder))
    data, group = network.data, options.figure.group
    wanted = data.classes if options.figure.classes is None else options.figure.classes
    if unknown := [name for name in wanted if name not in data.classes]:
        raise UserError(f"{data.name} has no class {unknown[0]!r}; there are: {', '.join(data.classes)}.")
    chosen = torch.tensor(sorted(map(data.classes.index, wanted)))
    names = [data.classes[j] for j in chosen]
    parts = {}
    for name, part in (("train", data.train), ("test", data.test)):
        own = part.subset(torch.isin(part.labels, chosen).nonzero()[:, 0])
        if name == "train" and len(own) > (options.figure.train_size or len(own)):
            own = drawn(own, options.figure.train_size, options.seed, "figure.train_size")
        parts[name] = (embeddings(network, own.images).float().cpu(), torch.searchsorted(chosen, own.labels))
    z, labels = parts["train"]
    columns = prototypes_of(network)[0].float().cpu()[chosen]
    norms = torch.stack([torch.linalg.vector_norm(z[labels == j], dim=1).mean() for j in range(len(chosen))])
    rescaled = columns * (norms / torch.linalg.vector_norm(columns, dim=1))[:, None]
    prototypes, class_of = (values.cpu() for values in prototypes_of(kmex))
    kept = torch.isin(class_of, chosen)
    marks = {
        "columns": (columns, torch.arange(len(chosen))),
        "columns, rescaled": (rescaled, torch.arange(len(chosen))),
        "KMEx": (prototypes[kept].float(), torch.searchsorted(chosen, class_of[kept])),
    }
    values = {f"own/{name}": _own(*found, z, labels) for name, found in marks.items()}
    values |= {f"distance/{name}": _distance(*found, z, labels) for name, found in marks.items()}
    flat = plane(z, [parts["test"][0], *(points for points, _ in marks.values())], options.seed)
    shown = {"left": ("columns", "columns, rescaled"), "right": ("KMEx",)}
    markers = {"columns": "x", "columns, rescaled": "^", "KMEx": "s"}
    at = dict(zip(marks, flat[2:], strict=True))
    panels = [
        EmbeddingPanel(
            heading,
            names,
            flat[0],
            labels,
            flat[1],
            parts["test"][1],
            {name: Marks(at[name], marks[name][1], markers[name]) for name in shown[side]},  # type: ignore[arg-type]
        )
        for side, heading in (("left", "the classifier's columns"), ("right", "KMEx's prototypes"))
    ]
    file = f"figure2-{options.dataset}-{options.network}-{group}.png"
    save_png(embedding_plot(panels, f"{data.name}, {options.network}: {group}"), cell.folder / file)
    details = {"group": group, "classes": names, "shown": [len(part[1]) for part in parts.values()]}
    return network.measured(values, len(z), details=details, files=[file])


def _own(points: Tensor, classes: Tensor, z: Tensor, labels: Tensor) -> float:
    """Share in % of the points whose nearest training embedding, among those of the group, is of their own class."""
    return 100 * float((labels[nearest(points, z)[0]] == classes).double().mean())


def _distance(points: Tensor, classes: Tensor, z: Tensor, labels: Tensor) -> float:
    """Mean over points of the distance to their class's mean, over the class's own root mean square distance to it."""
    ratios = []
    for j in classes.unique():
        own = z[labels == j]
        spread = (own - own.mean(0)).square().sum(1).mean().sqrt()
        ratios.append(torch.linalg.vector_norm(points[classes == j] - own.mean(0), dim=1) / spread)
    return float(torch.cat(ratios).mean())


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    kinds = ("columns", "columns, rescaled", "KMEx")
    columns = [
        *(Column(f"own/{name}", f"{name}: nearest embedding is of its class, %", 0) for name in kinds),
        *(
            Column(f"distance/{name}", f"{name}: distance to the class mean over the class's spread", 2)
            for name in kinds
        ),
    ]
    text = [
        "The picture is UMAP's, which keeps neighbours and little else; the numbers are of the embeddings themselves, "
        "among the classes shown. Rescaled columns have the mean norm of their class's embeddings. A spread is the "
        "root mean square distance of a class's embeddings to their mean."
    ]
    captions: dict[str, str] = {}
    for record in (record for row in rows for record in row.records):
        values, details = record["values"], record["details"]
        captions |= dict.fromkeys(
            record["files"],
            f"Figure 2. {record['data']['name']}, {record['model']}, {len(details['classes'])} classes: "
            f"{details['shown'][0]} training and {details['shown'][1]} test images.",
        )
        n = len(details["classes"])
        found = {kind: (values[f"own/{kind}"], values[f"distance/{kind}"]) for kind in kinds}
        text.append(
            f"**{record['data']['name']}, {details['group']}** (seed {record['seed']}). The nearest training embedding "
            f"is of their own class for {found['columns'][0]:.0f} % of the {n} columns as they are, "
            f"{found['columns, rescaled'][0]:.0f} % of them rescaled, and {found['KMEx'][0]:.0f} % of KMEx's "
            f"{n * record['settings']['prototypes']['per_class']} prototypes. They lie {found['columns'][1]:.1f}, "
            f"{found['columns, rescaled'][1]:.1f} and {found['KMEx'][1]:.1f} spreads from their class's mean. "
            + _verdict(found)
        )
    return Summary("Post-hoc self-explanation, figure 2: embeddings", "\n\n".join(text), columns, captions=captions)


def _verdict(found: Mapping[str, tuple[float, float]]) -> str:
    """The paper's claim, that prototypes of k-means represent their class and columns do not, beside the numbers.

    Args:
        found: of each kind the share near its class in %, and the distance to the class's mean.
    """
    (near, far), columns = found["KMEx"], [found["columns"], found["columns, rescaled"]]
    nearer, closer = near > max(own for own, _ in columns), far < min(away for _, away in columns)
    if nearer and closer:
        return "As the paper says, KMEx's prototypes represent their class better than either."
    if closer:
        return "KMEx's prototypes lie closest to the mean; by the nearest embedding the columns do as well or better."
    return "The paper's claim does not hold here."


if __name__ == "__main__":
    launch(__file__, measure, summarise)
