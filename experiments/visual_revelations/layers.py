"""Clear methods, feature maps by layer: what do filters see at each depth, and how early can a class be told?

Paper:      Abbas 2024, "Interpretation of Feature Maps" and "Conclusion" (feature visualisation, hierarchical layers).
Command:    make visual-revelations-layers
Reports:    no number; that networks "learn hierarchical representations" from simple to abstract features.
Cost:       the trainings of `make self-explanation-table2` (shared); then, on the embedded data, half a core-minute a
            cell, most of it for the images by gradient ascent. CIFAR-10 and Imagenette: 1 and 15 core-minutes a cell.
Deviations: the paper describes no method. Probes are logistic regressions on maps pooled to 2 x 2; the filters shown
            are a layer's first that fire at all, chosen by nobody.
"""

from collections.abc import Sequence

import torch

from xcnn.evaluation.layers import Probe, Shown, draw_layers, probe_accuracies, seen_by_layers
from xcnn.figures import AccuracySeries, tradeoff_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Claim, Column, Measured, PaperNumber, Row, Summary, claim_within

NETWORKS = {"probe": "trained", "probe_untrained": "untrained"}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    layers = list(options.probed)
    values, drawn, details = seen_by_layers(
        subject, layers, Shown(options.seen.filters, options.seen.patches, dict(options.seen.ascent), options.seed)
    )
    torch.manual_seed(options.seed)
    arguments = {"weights": None} if options.model.get("weights") else {}
    untrained = setup.model(**arguments).eval().to(subject.device)
    probe = Probe(**options.probe)
    for name, network in (("probe", subject.network), ("probe_untrained", untrained)):
        accuracies = probe_accuracies(subject, network, layers, probe)
        values |= {f"{name}/{layer}": accuracy for layer, accuracy in accuracies.items()}
    files = []
    if options.seed == 0:
        name = f"layers-{options.dataset}-{options.network}-filters"
        files = [draw_layers(drawn, cell.folder, name, f"{titled(options.dataset)}, {titled(options.network)}")]
    return subject.measured(values, files=files, details=details | {"layers": layers})


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    claims = list[Claim]()
    for row in rows:
        first, *_, last = row.details["layers"]
        others = ((first, f"probe/{first}"), (f"{last}, untrained", f"probe_untrained/{last}"))
        claims += [claim_within(row, "probe", (last, f"probe/{last}"), other, "higher", "share") for other in others]
    series = [over_layers(row, name) for row in rows for name in NETWORKS]
    probes = tradeoff_plot(series, "layer", "accuracy of a linear probe, %", parts=False)
    return Summary(
        "Clear methods and visual revelations: what each layer sees",
        columns=[
            Column(f"{name}/{layer}", f"probe at {layer}, {title}")
            for layer in dict.fromkeys(layer for row in rows for layer in row.details["layers"])
            for name, title in NETWORKS.items()
        ],
        drawings={"layers-probes.png": probes},
        claims=claims,
        facts={"claim_digits": 3},
    )


def over_layers(row: Row, name: str) -> AccuracySeries:
    """Accuracy of the probes of a network, in %, by layer."""
    layers = row.details["layers"]
    mean, std = ([100 * part[f"{name}/{layer}"] for layer in layers] for part in (row.mean, row.std))
    return AccuracySeries.tested(titled(row.dataset), NETWORKS[name], layers, mean, std)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
