"""Post-hoc self-explanation, figure 2: embeddings in the plane, with the classifier's columns and KMEx's prototypes.

Paper:      Boubekki & Clemmensen 2026, figure 2 and section 4.
Command:    make self-explanation-figure2
Reports:    a picture of CUB-200's twenty sparrow classes: columns are rarely near their class, KMEx's prototypes are.
Cost:       the trainings of `make self-explanation-table2` (shared), then one to two minutes a cell on 2 CPU cores.
Deviations: other data (table 2), by any named group of classes (`figure.group`): of CUB-200 the classes 113 to 132,
            because it has 21 sparrows and the paper says twenty; five of them are among the 100 classes at hand, whose
            network is a ResNet-18 that keeps its ImageNet weights. UMAP with its own defaults, seeded, fitted on
            training embeddings; it only draws. What it shows is counted in the space of the embeddings.
"""

from collections.abc import Sequence
from dataclasses import replace

from experiments.self_explanation.networks import STANDS_IN
from xcnn.errors import UserError
from xcnn.evaluation.embedding import class_marks, class_places, embedding_panels, group_embeddings
from xcnn.figures import embedding_plot, save_png
from xcnn.launch import Setup, launch
from xcnn.metrics.embedding import class_distance, own_share
from xcnn.prototypes import Columns, KMEx
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, claim_within
from xcnn.report.verdicts import Says

KINDS = ("columns", "columns, rescaled", "KMEx")
SHOWN = {
    "own": "nearest embedding is of its class, %",
    "distance": "distance to the class mean over the class's spread",
}
SAYS: dict[str, Says] = {"own": "higher", "distance": "lower"}


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
    chosen = class_places(data, options.figure.classes)
    names = [data.classes[j] for j in chosen]
    parts = group_embeddings(network, chosen, options.figure.train_size, options.seed)
    z, labels = parts["train"]
    marks = class_marks(network, kmex, chosen, z, labels)
    values = {f"own/{name}": own_share(*found, z, labels) for name, found in marks.items()}
    values |= {f"distance/{name}": class_distance(*found, z, labels) for name, found in marks.items()}
    panels = embedding_panels(parts, marks, names, options.seed)
    file = f"figure2-{options.dataset}-{options.network}-{group}.png"
    save_png(embedding_plot(panels, f"{data.name}, {options.network}: {group}"), cell.folder / file)
    details = {"group": group, "classes": names, "shown": [len(part[1]) for part in parts.values()]}
    return network.measured(values, len(z), details=details, files=[file])


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    columns = [
        Column(f"{metric}/{name}", f"{name}: {title}", 0 if metric == "own" else 2)
        for metric, title in SHOWN.items()
        for name in KINDS
    ]
    # KMEx's prototypes are more often among their class's embeddings than columns are, and closer to its mean.
    claims = [
        claim_within(row, metric, ("KMEx", f"{metric}/KMEx"), (kind, f"{metric}/{kind}"), says)
        for row in rows
        for metric, says in SAYS.items()
        for kind in KINDS
        if kind != "KMEx"
    ]
    birds = [each for each in claims if each.rows[0] and each.rows[0].dataset in ("cub200", *STANDS_IN["cub200"])]
    facts = {"rows": rows, "kinds": KINDS, "claim_digits": 1, "everywhere": claims, "birds": birds}
    title = "Post-hoc self-explanation, figure 2: embeddings"
    return Summary(title, columns, claims=birds, verdict=None if birds else "not comparable", facts=facts)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
