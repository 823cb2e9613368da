"""The page of `visual_revelations/robustness`: which score tells an attacked image, against low confidence."""

from collections.abc import Sequence

from xcnn.evaluation.attacked import BESIDE, CLEAN, SETS, VERSIONS
from xcnn.evaluation.robustness import ATTACKS
from xcnn.figures import Estimate, protocol_plot
from xcnn.launch.titles import titled
from xcnn.report import Claim, Column, PaperNumber, Row, Summary, claim_within
from xcnn.report.verdicts import Interval, spread

PLAIN = {
    "confidence": "low confidence",
    "squeezed": "probabilities' change",
    **{f"set_{s}": f"size of the set, {s.upper()}" for s in SETS},
}
SAID = ("fgsm", "pgd", "deepfool")  # the attacks that the claims are of


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    drawings, claims, networks = {}, list[Claim](), []
    for row in rows:
        scores = [name.split("/")[2] for name in row.mean if name.startswith("auroc/fgsm/")]
        scores = [name for name in PLAIN if name in scores] + sorted(name for name in scores if name not in PLAIN)
        file = f"robustness-{row.dataset}-{row.model}.png"
        drawings[file] = protocol_plot(
            [
                Estimate("", f"AUROC, {titled(version)}", named_score(name), *auroc(row, version, name).ends)
                for name in scores
                for version in (*SAID, "noise")
            ],
            title=f"{titled(row.dataset)}, {titled(row.model)}",
        )
        best = {version: max(scores, key=lambda name: row.mean[of(version, name)]) for version in ATTACKS}
        networks.append({"row": row, "scores": scores, "file": file, "best": best})
        for version in SAID:  # each told better than by low confidence
            plain = (f"{version}:confidence", of(version, "confidence"))
            claims += [
                claim_within(row, "auroc", (f"{version}:{name}", of(version, name)), plain, "higher")
                for name in ("map_grad_cam", "set_lac")
                if name in scores
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


def auroc(row: Row, version: str, score: str) -> Interval:
    """How well a score tells images of a version from those that nobody changed, with its interval."""
    return spread(row, f"auroc/{version}/{score}", "rate")


def of(version: str, score: str) -> str:
    """The metric of a score that is to tell a version."""
    return f"auroc/{version}/{score}"


def named_score(name: str) -> str:
    """`map_grad_cam` as `map's change, Grad-CAM`."""
    return PLAIN.get(name) or f"map's change, {titled(name.removeprefix('map_'))}"
