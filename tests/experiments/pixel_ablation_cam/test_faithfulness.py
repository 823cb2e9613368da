"""What the pages of tables 1 and 2 say of given numbers."""

from collections.abc import Sequence
from typing import Any

import pytest

from experiments.pixel_ablation_cam.comparisons import NAMED
from experiments.pixel_ablation_cam.faithfulness_page import METRICS, NEAREST, OTHERS, faithfulness_summary
from tests.evaluation.test_faithfulness import frames
from xcnn.evaluation.faithfulness import pool_faithfulness
from xcnn.report import PaperNumber, aggregate, compare
from xcnn.report.page import Page
from xcnn.report.provenance import REPOSITORY

TITLES = {"pixel_ablation_cam": {"title": "Pixel Ablation-CAM", "definition": "drops times sums"}}


def records(values: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Pooled records of methods on two images, as the cells of table 1 leave them."""
    shared = {
        "dataset": "imagenet", "model": "resnet50", "seed": 0, "n": 2, "weights": "w", "training": None, "files": {},
        "data": {"name": "two images", "manifest": "m"}, "git_sha": "0123456789ab", "dirty": False, "lock": "l",
        "versions": {"torch": "2"}, "device": "cpu", "machine": "a machine", "precision": "32-true", "wall_s": 60.0,
        "details": {"pooled": {}, "seconds": {"masked_passes": 6.0, "total": 8.0}},
    }  # fmt: skip
    kept = {f"kept/{keep}": 0.2 for keep in ("top_fraction", "threshold", "soft")}
    return [
        {**shared, "method": method, "values": kept | found, "settings": {"method": method, "data": {}}}
        for method, found in values.items()
    ]


def page(drops: Sequence[float], name: str = "table1", **options: Any) -> str:
    """The page for methods that lose `drop` of one image's confidence and none of the other's."""
    rows = frames(**{method: [drop, drop - 0.9] for method, drop in zip(NAMED, drops, strict=True)}, random=[0.1, 0.1])
    for frame in rows.values():
        frame.columns = [column.replace("soft-black", NEAREST) for column in frame.columns]
    found = aggregate(records(pool_faithfulness(rows, NAMED, OTHERS)), order=NAMED)
    paper = [
        PaperNumber(method, "drop_confidence/*", f"{100 * drop / 2:.1f}", "table 1", "", "imagenet", "resnet50")
        for method, drop in zip(NAMED, drops, strict=True)
    ]
    summary = faithfulness_summary(name, "Title", found, paper, **options)
    pictures = dict.fromkeys(summary.drawings)
    made = Page(f"pixel_ablation_cam/{name}", "make it", summary, found, compare(found, paper), pictures, TITLES)
    return made.render(REPOSITORY / "experiments")


def test_the_first_screen_answers() -> None:
    text = page((0.5, 0.4, 0.3))
    first = text.partition("<details>")[0].splitlines()
    assert first[1] == "# Title"
    assert "loses 15.0 % of its confidence with Pixel Ablation-CAM, 25.0 % with grad_cam and 20.0 % with" in first[3]
    assert "Against grad_cam the difference is -10.0 [" in first[3]
    assert "Against ablation_cam the difference is -5.0 [" in first[3]
    assert "Of the paper's 3 numbers, 3 agree with ours" in first[3]
    assert "a control that is blind to the class (random) loses no more confidence" in first[3]
    assert first[3].endswith("Weights of resnet50: unknown provenance, hash w.")
    for other in OTHERS:
        claimed = f"| Pixel Ablation-CAM's drop of confidence below {other}'s"
        assert any(line.startswith(claimed) and "2 images, paired" in line for line in first)
    assert any(
        line.startswith("| top fifth of the pixels, black | -10.0 [") and line.count("**") == 4 for line in first
    )
    assert any("| 25.0 / 25.0 [" in line and line.count("✓") == 3 for line in first)


DROPS = "average drop of confidence, %; average drop of activation, %"


@pytest.mark.parametrize(
    ("drops", "says"),
    [
        ((0.5, 0.4, 0.3), f"no protocol, and in some under {NEAREST} ({DROPS})."),  # all increase on one image: a tie
        ((0.3, 0.4, 0.5), "no protocol."),
    ],
)
def test_the_order_of_the_methods(drops: tuple[float, ...], says: str) -> None:
    text = page(drops)
    assert f"then Pixel Ablation-CAM the best) holds in all four metrics under {says}\n" in text
    assert "All cells took 0.67 times their counted passes" in text  # 8 s for 6 s and as much again for the images


def test_another_network_is_not_comparable() -> None:
    text = page((0.5, 0.4, 0.3), "table2", comparable=False)
    assert "\n**Not comparable.** The paper's VGG-16 with ImageNet weights is not at hand" in text
    assert '"verdict": "not comparable"' in text.splitlines()[0]
    assert all(f"{metric}/{NEAREST}" not in text.partition("<details>")[0] for metric in METRICS)


def test_before_any_method_is_whole() -> None:
    shards = records({"grad_cam": {f"drop_confidence/{NEAREST}": 50.0}})
    for shard in shards:
        del shard["details"]["pooled"]
    rows = aggregate(shards)
    summary = faithfulness_summary("table1", "Title", rows, [], verdict="not run")
    text = Page("pixel_ablation_cam/table1", "make it", summary, rows, [], {}, TITLES).render(
        REPOSITORY / "experiments"
    )
    assert "**Not run.** No method has all its shards measured yet." in text
