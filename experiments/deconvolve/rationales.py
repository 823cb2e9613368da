"""DeConvolve, section 5: a dual encoder trained on images, classes and rationales.

Paper:      Meeradevi et al. 2025, abstract and section 5.
Command:    make deconvolve-rationales
Reports:    images, classes and "the rationale behind a professional's classification" are to train a CLIP-based model
            "for generating robust explanations"; no data, no model and no number.
Cost:       nine trainings of 12 epochs, under a minute each on a CPU core, and seconds to measure them.
Deviations: there are no data with rationales; ours are drawn shapes, whose rationales are generated from the masks of
            their parts (colours by the nearest term, places by the ninth of the picture). The model is a dual encoder
            from scratch and retrieves rationales, it writes none. What "robust" means is ours: rationales are found,
            also with pairs of part and colour that were never seen, more often than by a model of class names and by
            one of shuffled rationales.
"""

from collections.abc import Sequence

from xcnn.evaluation.rationales import examples, gains, majority, outcomes, with_intervals
from xcnn.evaluation.subject import networks
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary, claim
from xcnn.report.verdicts import spread

OWN = "rationales"
CONTROLS = ("class_names", "shuffled_rationales")


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    run, pool = setup.dual_encoder(), options.retrieval.pool
    found = outcomes(run, pool)
    values = with_intervals(found) | majority(run.data.train.labels, run.data.test.labels)
    used = {options.method: run}
    if options.method == OWN:
        for name in CONTROLS:
            used[name] = setup.variant(f"rationales.texts={name}").dual_encoder()
            values |= gains(found, outcomes(used[name], pool), name)
    details = {
        "train": len(run.data.train),
        "pool": len(found["by_class/unseen"]),
        "weights": sum(each.numel() for each in run.network.parameters()),
        "examples": examples(run, pool, options.retrieval.examples),
        "networks": networks(**used),
    }
    return run.measured(values, details=details)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    by_method = {row.method: row for row in rows}
    return Summary(
        "DeConvolve, section 5: a dual encoder on images and rationales",
        columns=[
            Column("accuracy/seen", "class, seen"),
            Column("accuracy/unseen", "class, unseen"),
            *(
                Column(f"{side}_at_{k}/{group}", f"{side} at {k}, {group}")
                for side in ("texts", "images")
                for k in (1, 5)
                for group in ("seen", "unseen")
            ),
            Column("colour/seen", "colour, seen"),
            Column("colour/unseen", "colour, unseen"),
            Column("place", "place"),
            Column("swap_colours", "colours exchanged"),
            Column("swap_places", "places exchanged"),
        ],
        claims=[
            claim(rows, f"{side}_at_1/unseen", OWN, control, "higher", unit="share")
            for control in CONTROLS
            for side in ("texts", "images")
        ],
        facts={
            "by_method": by_method,
            "binds": OWN in by_method and spread(by_method[OWN], "swap_colours").low > 0.5,
            "claim_digits": 3,
        },
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
