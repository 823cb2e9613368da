"""Clear methods, adversarial defence: do maps or conformal sets betray an attacked image?

Paper:      Abbas 2024, "Robustness and Adversarial Defense".
Command:    make visual-revelations-robustness
Reports:    no number; that explanations should be designed to detect adversarial attacks.
Cost:       on one CPU core 2 minutes for each seed on the embedded data; sweep `imagenette` (VGG-16, 200 images): 1.5
            hours; `cifar10`: 10 minutes, 2 GB. These two are not run by default.
Deviations: the paper names no attack and no detector. A detector sees one image, not what it was made of: a map's
            change is that under a slight blur of the image. Confidence alone and the probabilities' change under the
            same blur are the detectors without an explanation; noise of the attack's norm is the control.
"""

from collections.abc import Sequence
from dataclasses import replace

from xcnn.evaluation.attacked import BESIDE, CLEAN, SETS, VERSIONS, attacked_rows, detection
from xcnn.evaluation.robustness import ATTACKS, Attacks
from xcnn.figures import Estimate, protocol_plot
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Claim, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.verdicts import part, spread

PLAIN = {
    "confidence": "low confidence",
    "squeezed": "probabilities' change",
    **{f"set_{s}": f"size of the set, {s.upper()}" for s in SETS},
}
SAID = ("fgsm", "pgd", "deepfool")  # the attacks that the claims are of


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    methods = {name: setup.variant(f"attribution={name}").attribution(subject) for name in options.methods}
    attacks = Attacks(**options.attacks, seed=options.seed)
    rows = attacked_rows(cell, subject, methods, attacks, options.sigma, options.chunk)
    values = detection(rows, methods, options.alpha, options.seed, **options.raps)
    return subject.measured(values, int((~rows["broken"].astype(bool)).sum()))


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, claims, networks = {}, list[Claim](), []
    for row in rows:
        scores = [name.split("/")[2] for name in row.mean if name.startswith("auroc/fgsm/")]
        scores = [name for name in PLAIN if name in scores] + sorted(name for name in scores if name not in PLAIN)
        file = f"robustness-{row.dataset}-{row.model}.png"
        drawings[file] = protocol_plot(
            [
                Estimate("", f"AUROC, {titled(version)}", named_score(name), *ends(row, f"auroc/{version}/{name}"))
                for name in scores
                for version in (*SAID, "noise")
            ],
            title=f"{titled(row.dataset)}, {titled(row.model)}",
        )
        best = {version: max(scores, key=lambda name: row.mean[f"auroc/{version}/{name}"]) for version in ATTACKS}
        networks.append({"row": row, "scores": scores, "file": file, "best": best})
        claims += [
            over(row, version, name) for version in SAID for name in ("map_grad_cam", "set_lac") if name in scores
        ]
    columns = [Column(f"turned/{version}", f"given another class, {version}") for version in VERSIONS[1:]]
    columns += [Column(f"coverage/{version}/lac", f"coverage, {version}") for version in VERSIONS]
    facts = {
        "networks": networks,
        "attacks": ATTACKS,
        "versions": VERSIONS,
        "clean": CLEAN,
        "beside": BESIDE,
        "sets": SETS,
        "score": named_score,
        "claim_digits": 3,
    }
    return Summary("Clear methods and visual revelations: robustness", columns, drawings, claims, facts=facts)


def named_score(name: str) -> str:
    """`map_grad_cam` as `map's change, Grad-CAM`."""
    return PLAIN.get(name) or f"map's change, {titled(name.removeprefix('map_'))}"


def ends(row: Row, metric: str) -> tuple[float, float, float]:
    """A value and the ends of its interval: over seeds, or over images where there is one seed."""
    found = spread(row, metric)
    return found.value, found.low, found.high


def over(row: Row, version: str, score: str) -> Claim:
    """That a score tells an attack better than low confidence does, seed by seed where there are several."""

    def only(name: str) -> Row:
        own = {"auroc": f"auroc/{version}/{name}"}
        own |= {part("auroc", end): part(own["auroc"], end) for end in ("low", "high")}
        records = [{**each, "values": {new: each["values"][old] for new, old in own.items()}} for each in row.records]
        return replace(
            row, method=f"{version}:{name}", mean={new: row.mean[old] for new, old in own.items()}, records=records
        )

    rows = (only(score), only("confidence"))
    return Claim("auroc", (rows[0].method, rows[1].method), rows, "higher")


if __name__ == "__main__":
    launch(__file__, measure, summarise)
