"""Clear methods, uncertainty: are confidences calibrated, and do prediction sets cover as often as they promise?

Paper:      Abbas 2024, "Responsible Communication of Uncertainty".
Command:    make visual-revelations-uncertainty
Reports:    no number. Known of ResNet-50 on ImageNet val at 90 % (Angelopoulos et al. 2021, table 1): coverage 0.896
            naive, 0.900 APS, 0.900 RAPS; sets of 11.7, 12.3 and 2.55 classes.
Cost:       a forward pass for each image, whose logits are kept, then seconds for 100 splits: a minute for 1,000 images
            and ResNet-50 on a CPU core, seconds on the embedded data; 2 GB. Trainings are those of
            `make self-explanation-table2` (shared).
Deviations: the paper names confidence intervals and uncertainty quantification, no method. Logits are in float32,
            whatever the training's precision. RAPS has Angelopoulos' fixed penalty and rank, not tuned ones.
"""

from collections.abc import Sequence

from xcnn.evaluation.uncertainty import NAIVE, SCORES, SETS, THIRDS, Halves, logit_rows, uncertainty
from xcnn.figures import uncertainty_figure
from xcnn.launch import Setup, launch
from xcnn.launch.titles import titled
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.surrogates import coverage_band

NAMES = {"lac": "LAC", "aps": "APS", "raps": "RAPS", "naive": "naive", "naive_raw": "naive, not scaled"}


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    rows = logit_rows(cell, subject, options.chunk)
    halves = Halves(options.splits, options.temperature_share, options.seed)
    values, details = uncertainty(rows, options.alpha, halves, **options.raps)
    return subject.measured(values, int((~rows["broken"]).sum()), details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, networks = {}, []
    cases = sum(row.n for row in rows) * len(SCORES)  # that share an error of 5 %
    for row in rows:
        file = f"uncertainty-{row.dataset}-{row.model}.png"
        found = row.records[0]["details"]
        drawings[file] = uncertainty_figure(
            {name: (bins["confidence"], bins["accuracy"]) for name, bins in found["reliability"].items()},
            {NAMES[kind]: found["coverages"][kind] for kind in SETS},
            {NAMES[kind]: row.records[0]["values"][f"size/{kind}"] for kind in SETS},
            1 - found["alpha"],
            found["band"],
            f"{titled(row.dataset)}, {titled(row.model)}, seed {row.records[0]['seed']}",
        )
        band = coverage_band(found["calibration"], found["test"], found["alpha"], found["splits"], 1 - 0.05 / cases)
        means = {kind: [record["values"][f"coverage/{kind}"] for record in row.records] for kind in SETS}
        kept = {kind: all(band[0] <= mean <= band[1] for mean in means[kind]) for kind in SETS}
        networks.append({"row": row, "file": file, "found": found, "kept": kept, "band": band})
    promises = [each["kept"][kind] for each in networks for kind in SCORES]
    return Summary(
        "Clear methods and visual revelations: uncertainty",
        columns=[
            Column("accuracy", "accuracy"),
            Column("ece", "ECE"),
            Column("ece/scaled", "ECE, scaled"),
            *(Column(f"coverage/{kind}", f"coverage, {NAMES[kind]}", 4) for kind in SETS),
            *(Column(f"size/{kind}", f"size, {NAMES[kind]}", 2) for kind in SETS),
        ],
        drawings=drawings,
        verdict="reproduced" if all(promises) else "not reproduced",
        facts={
            "networks": networks,
            "names": NAMES,
            "scores": SCORES,
            "sets": SETS,
            "naive": list(NAIVE),
            "thirds": THIRDS,
            "kept": promises,
            "cases": cases,
        },
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
