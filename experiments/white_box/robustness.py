"""White-box survey, section 7: how far maps move under FGSM, PGD and DeepFool, and under noise of the same norm.

Paper:      Ayyar et al. 2021, section 7, after Galli et al. 2021 (guided Grad-CAM, Dice's coefficient).
Command:    make white-box-robustness
Reports:    maps by gradients are highly sensitive to small changes of the input, such as FGSM's and DeepFool's; LRP,
            DeepLIFT and FEM are not, as they compute no gradient. No number.
Cost:       7 to 11 maps of each method, and 40 passes an image for the attacks, once: on one CPU core (float32) 80 s
            an image of ImageNet with ResNet-50 for all but SmoothGrad and integrated gradients, 140 s for these two;
            minutes on shapes.
Deviations: the survey names no network, strength or share: an attack changes a pixel's channel by at most 2/255, or as
            little as DeepFool needs; Dice of the highest fifth. PGD, the noise, and the class predicted anew are ours.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from experiments.white_box.families import APART, BACKWARD, CONTROLS, DRAWN_DATA, claims_between, leading, methods_plot
from xcnn.evaluation.image_rows import pool_metrics
from xcnn.evaluation.robustness import ATTACKS, NOISES, Attacks, measure_robustness
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.shards import side_by_side

DRAWN = {
    "dice/fgsm": "Dice under FGSM",
    "dice/deepfool": "Dice under DeepFool",
    "dice/noise": "Dice under noise of FGSM's norm",
}
CLAIMED = ("dice/fgsm", "dice/deepfool")
PLAIN = "gradient"  # the others of its family hardly depend on the class (class_sensitivity), which makes them robust


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    subject = setup.explained()
    attacks = Attacks(**options.attacks, seed=options.seed)
    return measure_robustness(cell, subject, setup.attribution(subject), attacks, options.share, options.chunk)


def pool(rows: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    return pool_metrics(rows, references=BACKWARD)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, claims, beside, networks, groups = {}, [], [], [], side_by_side(rows)
    main = leading(groups)
    for place, group in groups.items():
        file = f"robustness-dice-{place}.png"
        drawings[file] = methods_plot(group, DRAWN)
        ranked = sorted((row for row in group if row.method not in CONTROLS), key=lambda row: row.mean["dice/fgsm"])
        networks.append({"rows": group, "file": file, "ranked": ranked, "main": place in main})
        if place not in main:
            continue
        for metric in CLAIMED:  # against the most robust of those that are said to move: then against all
            rivals = sorted((row for row in group if row.method in BACKWARD), key=lambda row: row.mean[metric])
            least, counts = [row.method for row in rivals[-1:]], group[0].dataset != DRAWN_DATA
            claims += claims_between(group, [metric], APART, least, "higher", counts=counts)
            if least != [PLAIN]:
                beside += claims_between(group, [metric], APART, [PLAIN], "higher", counts=False)
    columns = [Column(f"dice/{name}", f"Dice, {name}") for name in (*ATTACKS, *NOISES)]
    facts = {
        "networks": networks,
        "strict": claims,
        "beside": beside,
        "attacks": ATTACKS,
        "noises": NOISES,
        "claim_digits": 3,
    }
    return Summary(
        "White-box survey: robustness", columns=columns, drawings=drawings, claims=claims + beside, facts=facts
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise, pool=pool)
