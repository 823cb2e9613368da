"""B34 and B234 against B4, by the weight of the blocks: what is lost, and what of it the weight explains."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.self_explanation.networks import Network
from xcnn.figures import AccuracySeries
from xcnn.report import claim

SUFFIXES = {"1/D": "", "1/sqrt(D)": "_sqrt", "1": "_equal"}  # of the methods, by the weight of a block
TITLES = {"b4": "B4", "b34": "B34", "b234": "B234"}


def compared(network: Network, deep: str) -> dict[str, Any]:
    """What a deeper explanation loses against B4 by the weight 1/D, and what each other weight gives back."""
    rows = {
        weight: network.methods[deep + suffix]
        for weight, suffix in SUFFIXES.items()
        if deep + suffix in network.methods
    }
    chosen = list(network.methods.values())
    fall = claim(chosen, "test", deep, "b4", "lower", unit="%").difference
    gains = {
        weight: claim(chosen, "test", deep + suffix, deep, "higher", unit="%").difference
        for weight, suffix in SUFFIXES.items()
        if suffix and weight in rows
    }
    stds = [x for row in (network.methods["b4"], network.methods[deep]) if (x := row.std["test"]) == x]
    means = [gain.value for gain in gains.values() if gain]
    explained = explanation(fall.value, max(stds, default=0.0), means) if fall else "not run"
    equal = claim(chosen, "test", f"{deep}_equal", "b4", "lower", unit="%").difference
    found = {"fall": fall, "gains": gains, "equal": equal, "explained": explained}
    return {"network": network, "deep": deep, "rows": rows, **found}


def over_weights(case: Mapping[str, Any]) -> AccuracySeries:
    """Accuracies of a deeper explanation by the weight of a block, from what `compared` found."""
    rows = case["rows"]
    parts = ([getattr(row, of)[part] for row in rows.values()] for of in ("mean", "std") for part in ("train", "test"))
    return AccuracySeries(case["network"].label, TITLES[case["deep"]], list(rows), *parts)


def explanation(fall: float, spread: float, gained: Sequence[float]) -> str:
    """How much of what a deeper explanation loses the weight 1/D explains, by what the other weights give back.

    Args:
        fall: difference of the accuracy with 1/D from B4's, in points.
        spread: the larger of the two's standard deviations over seeds.
        gained: difference that each other weight makes, in points.

    Returns:
        "no loss", "within the seeds", "not run", or of the loss "all", "most", "a part", "nothing".
    """
    if fall >= 0:
        return "no loss"
    if -fall <= spread:
        return "within the seeds"
    if not gained:
        return "not run"
    least = min(gained)
    return (
        "all" if least >= -fall else "most" if least >= -fall / 2 else "a part" if max(gained) > spread else "nothing"
    )
