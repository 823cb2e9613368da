"""The verifier: it agrees with the measured describer on anything, and catches every claim made wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from xcnn.language import Claim, Description, FilterEvidence, MeasuredDescriber, PartMasks, verify
from xcnn.language.measured import BORDERS, ORIENTATIONS, POSITIONS
from xcnn.language.verify import lies_on

Make = Callable[..., FilterEvidence]


def outcome(kind: str, value: Any, evidence: FilterEvidence) -> str:
    verdicts = verify(Description("", (Claim(kind, value),), "test", None, None, ""), evidence)
    assert len(verdicts) == 1
    return verdicts[0].outcome


@pytest.mark.parametrize("seed", range(60))
def test_every_measured_claim_is_supported(random_evidence: Make, seed: int) -> None:
    evidence = random_evidence(seed)
    description = MeasuredDescriber().describe(evidence)
    assert len(description.claims) >= 10
    assert [verdict for verdict in verify(description, evidence) if verdict.outcome != "supported"] == []


def test_dead(evidence: Make) -> None:
    dead = evidence(torch.zeros(8, 8))
    assert [verdict.outcome for verdict in verify(MeasuredDescriber().describe(dead), dead)] == ["supported"]
    assert outcome("dead", True, evidence(torch.ones(8, 8))) == "contradicted"
    assert outcome("area", 0.0, dead) == outcome("components", 0, dead) == "supported"
    assert outcome("position", "centre", dead) == outcome("colours", {"red": 1.0}, dead) == "contradicted"


def wrong(claim: Claim) -> list[Any]:
    """Values that the claim must not have, each close to the right one in form."""
    value: Any = claim.value
    match claim.kind:
        case "area" | "dispersion" | "edges":
            return [value + 0.02, value - 0.02]
        case "components":
            return [value + 1, value - 1]
        case "position":
            return [name for name in POSITIONS if name != value]
        case "orientation":
            return [name for name in ORIENTATIONS if name != value]
        case "border":
            return [list(set(BORDERS) - set(value)), value[1:] if value else ["top"]]
        case "colours":
            return [{name: share + 0.02 for name, share in value.items()} or {"red": 0.5}, {"purple": 1.02}]
        case "fires_for":
            fewer = dict(list(value.items())[1:])
            return [{name: auroc - 0.02 for name, auroc in value.items()} or {"cat": 0.99}, *([fewer] * bool(value))]
        case "score":
            return [
                {name: -score for name, score in value.items()},
                {name: 1.1 * score for name, score in value.items()},
            ]
        case "predicted":
            return ["dog"]
    raise AssertionError(f"no wrong value for {claim.kind}")


@pytest.mark.parametrize("seed", range(20))
def test_every_wrong_claim_is_contradicted(random_evidence: Make, seed: int) -> None:
    evidence = random_evidence(seed)
    for claim in MeasuredDescriber().describe(evidence).claims:
        for value in wrong(claim):
            assert outcome(claim.kind, value, evidence) == "contradicted", (claim, value)


def test_measured_value_is_given(evidence: Make) -> None:
    activation = torch.zeros(8, 8)
    activation[0, 0] = activation[7, 7] = 1
    claims = (Claim("components", 5), Claim("position", "top"), Claim("border", []), Claim("score", {"bird": -1.0}))
    verdicts = verify(Description("", claims, "test", None, None, ""), evidence(activation))
    assert [verdict.measured for verdict in verdicts] == [2, "centre", list(BORDERS), {"bird": 0.0312}]


def test_an_orientation_where_there_is_none(evidence: Make) -> None:
    assert outcome("orientation", "vertical", evidence(torch.ones(8, 8))) == "contradicted"


def test_a_value_on_the_border_of_two_names_supports_both(evidence: Make) -> None:
    activation = torch.zeros(6, 6)
    activation[1:3, 2] = 1  # the centroid is a third of the way down
    assert outcome("position", "top", evidence(activation)) == "supported"
    assert outcome("position", "centre", evidence(activation)) == "supported"
    assert outcome("position", "bottom", evidence(activation)) == "contradicted"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("object_part", "a beak"),
        ("area", "large"),
        ("area", True),
        ("position", "north"),
        ("orientation", "sideways"),
        ("border", ["ceiling"]),
        ("colours", ["red"]),
        ("fires_for", {"zebra": 0.9}),
        ("score", {"cat": 0.1}),
        ("dead", "yes"),
        ("predicted", 3),
    ],
)
def test_untestable(evidence: Make, kind: str, value: Any) -> None:
    assert outcome(kind, value, evidence(torch.ones(8, 8))) == "untestable"


def test_unmeasured_auroc_is_untestable(evidence: Make) -> None:
    unmeasured = evidence(torch.ones(8, 8), auroc=torch.full((4,), float("nan")))
    assert outcome("fires_for", {}, unmeasured) == outcome("fires_for", {"bird": 0.9}, unmeasured) == "untestable"


def test_a_description_of_another_filter_does_not_pass(random_evidence: Make) -> None:
    description = MeasuredDescriber().describe(random_evidence(1))
    other = random_evidence(2)
    assert sum(verdict.outcome == "contradicted" for verdict in verify(description, other)) >= 5


# Words without numbers, and parts


def test_one_colour_and_one_class_hold_where_they_are_dominant(evidence: Callable[..., FilterEvidence]) -> None:
    image = torch.zeros(3, 8, 8)
    image[0, :, :3], image[2, :, 3:] = 1, 1  # three eighths red, the rest blue
    one = evidence(torch.ones(8, 8), image=image)
    claims = [
        *(Claim("colour", "red"), Claim("colour", "blue"), Claim("colour", "green"), Claim("colour", "loud")),
        *(Claim("class", "bird"), Claim("class", "airplane"), Claim("class", "dog")),
    ]
    verdicts = verify(Description("", tuple(claims), "told", None, None, ""), one)
    assert [verdict.outcome for verdict in verdicts] == [
        *("supported", "supported", "contradicted", "untestable"),
        *("supported", "contradicted", "untestable"),
    ]
    assert verdicts[0].measured == pytest.approx(3 / 8) and verdicts[4].measured == pytest.approx(0.91)


def test_a_part_is_the_one_with_most_of_the_activation(evidence: Callable[..., FilterEvidence]) -> None:
    labels = np.zeros((32, 32), np.uint8)
    labels[:16, :16], labels[:16, 16:] = 1, 2  # a head, a wing, and background below
    masks = PartMasks(labels, ("head", "wing", "tail"))
    activation = torch.zeros(4, 4)
    activation[0, 0], activation[0, 3], activation[3, 0] = 1, 3, 2

    def outcomes(one: FilterEvidence, parts: PartMasks | None = masks) -> list[str]:
        claims = tuple(Claim("part", name) for name in ("head", "wing", "object", "beak"))
        return [verdict.outcome for verdict in verify(Description("", claims, "told", None, None, ""), one, parts)]

    assert lies_on(evidence(activation), masks) == "wing"
    assert outcomes(evidence(activation)) == ["contradicted", "supported", "supported", "untestable"]
    activation[3, 0] = 9
    assert lies_on(evidence(activation), masks) == "background"
    assert outcomes(evidence(activation)) == ["contradicted"] * 3 + ["untestable"]
    assert outcomes(evidence(activation), None) == ["untestable"] * 4
    assert lies_on(evidence(torch.zeros(4, 4)), masks) is None
    assert outcomes(evidence(torch.zeros(4, 4))) == ["contradicted"] * 4
