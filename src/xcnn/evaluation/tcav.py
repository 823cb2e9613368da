"""Which concepts a network's classes depend on, against random concepts, at several layers."""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import ttest_ind
from torch import Tensor
from tqdm import tqdm

from xcnn.data.concepts import ConceptSets
from xcnn.errors import UserError
from xcnn.evaluation.kept import digest
from xcnn.evaluation.subject import Subject
from xcnn.filters import auroc
from xcnn.fingerprint import fingerprint
from xcnn.metrics.significance import holm, rank_p
from xcnn.models.split import Split, split_at_each
from xcnn.surrogates.tcav import Kind, coefficients, gradients, inner_products, tcav_scores
from xcnn.training import cached

Floats = NDArray[np.float64]
Places = NDArray[np.int64]  # of images among the concepts' and those of chance
ALPHA = 0.05
SUFFIXES = {"p": "", "slope": "_slope", "t": "_t", "permuted": "_permuted"}  # of values, by test
CHUNK = 32  # images whose features a kill can cost, and whose gradients are held at a time


@dataclass(frozen=True)
class Draws:
    """The random sets of images that a measurement draws.

    Args:
        set_size: images of every set, a concept's own and a random one.
        counterparts: random sets that each concept's vectors point away from, a vector for each.
        tested: random sets that are tested as if they were concepts, none of which should be found.
        chance: random sets among whose scores a concept's score is ranked.
        permutations: shufflings of the images of a concept and of its first counterpart.
        held_out: share of each set that the vector is not fitted on, and tells apart.
        seed: random seed of the draws.
    """

    set_size: int = 40
    counterparts: int = 10
    tested: int = 50
    chance: int = 600
    permutations: int = 600
    held_out: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.counterparts, self.tested, self.chance, self.permutations) < 2 or not 0 < self.held_out < 1:
            raise UserError(
                f"{self.counterparts} counterparts, {self.tested} tested and {self.chance} random sets, "
                f"{self.permutations} permutations and held_out {self.held_out}: give at least 2 of each, and a share "
                "in (0, 1)."
            )

    @property
    def fitted(self) -> int:
        """Images of a set that vectors are fitted on."""
        return self.set_size - max(1, round(self.held_out * self.set_size))


def measure_tcav(
    subject: Subject,
    sets: ConceptSets,
    layers: Sequence[str],
    kind: Kind,
    c: float,
    draws: Draws,
    folder: Path,
    dtype: Literal["float16", "float32"] = "float32",
) -> tuple[dict[str, float], dict[str, Any]]:
    """Scores of every concept for every class at every layer, and how sure they are.

    A concept's score is the mean over its vectors, one for each counterpart, of the share of the class's images whose
    logit rises along it. Of four tests `p` ranks it among the scores of random sets, and `slope` the mean derivative
    in its place; `t` is the t-test that Kim et al. propose, of the scores of its vectors against those of as many
    random sets; `permuted` ranks the score of its first vector among those of vectors fitted on shuffled images. All
    are two-sided, and adjusted by Holm over the concepts of a class.

    Args:
        folder: below which features are kept.
        dtype: in which they are kept.

    Returns:
        Values, `<name><test>/<layer>`, where the test is one of `SUFFIXES`: `found` (share of the true pairs of concept
        and class that are significant and above the median of chance), `false` and `against` (share of the pairs that
        are not true, and are significantly above and below it), `unowned` (share of the significant pairs of concepts
        that no class has), `auroc` (of the score or mean derivative, for telling true pairs), where truth is known;
        `fpr` (share of random concepts with p of at most 0.05, not adjusted); and `extreme` (share of vectors' scores
        that are 0 or 1), `spread` and `spread_null` (standard deviation of a concept's and of a random set's scores
        over its vectors), `held_out` (accuracy of the vectors on the images held out), `seconds` (of the random
        concepts, for all classes) and `seconds_inner` (of all inner products). Details: by layer, the pairs.

    Raises:
        UserError: fewer images than sets ask for, or as `split_at` and `cached`.
    """
    order = _checked(sets, draws)
    values: dict[str, float] = {}
    details: dict[str, Any] = {"layers": {}, "concepts": list(sets.concepts), "classes": list(sets.classes)}
    for layer, split in split_at_each(subject.network, layers).items():
        space = _space(subject, split, sets, folder, dtype, kind, c)
        found, told = _at_layer(space, sets, order, draws, layer)
        found["seconds_inner"] = space.seconds
        values |= {f"{name}/{layer}": value for name, value in found.items()}
        details["layers"][layer] = told
    details["images"] = {name: len(images) for name, images in {**sets.concepts, **sets.classes}.items()}
    details["pool"] = len(sets.pool)
    return values, details


@dataclass(frozen=True)
class _Space:
    """Inner products at a layer: of images with each other (P, P), and of each class's gradients with them (M, P)."""

    gram: Floats
    sensitivities: Mapping[str, Floats]
    kind: Kind
    c: float
    seconds: float  # that the inner products took, of features that were there

    def vector(self, concept: Places, others: Places) -> tuple[Places, Floats]:
        """Images of a vector and their coefficients."""
        places = np.concatenate([concept, others])
        return places, coefficients(self.gram[np.ix_(places, places)], len(concept), self.kind, self.c)

    def scores(self, places: Places, found: Floats) -> Floats:
        """Share of the images with a positive derivative, and the mean derivative, of each class: (2, classes)."""
        along = [rows[:, places] @ found for rows in self.sensitivities.values()]
        return np.array([[tcav_scores(each) for each in along], [each.mean() for each in along]])

    def accuracy(self, vector: tuple[Places, Floats], n: int, concept: Places, others: Places) -> float:
        """Accuracy on other images of both, by the middle of the projected means."""
        places, found = vector

        def projected(images: Places) -> Floats:
            values: Floats = self.gram[np.ix_(images, places)] @ found
            return values

        middle = (projected(places[:n]).mean() + projected(places[n:]).mean()) / 2
        return float(((projected(concept) > middle).mean() + (projected(others) <= middle).mean()) / 2)


def _checked(sets: ConceptSets, draws: Draws) -> dict[str, Places]:
    """Places of each concept's images and of the two halves of those of chance, `counterparts` and `random`."""
    size = draws.set_size
    for name, images in sets.concepts.items():
        if len(images) < size or draws.fitted < 2:
            raise UserError(
                f"concept {name!r} has {len(images)} {'image' if len(images) == 1 else 'images'} and set_size is "
                f"{size}: a concept needs set_size images, of which at least two are fitted on. Give more images, or "
                "a smaller set_size."
            )
    half = len(sets.pool) // 2
    if half < size:
        raise UserError(
            f"{len(sets.pool)} random images are too few for the {len(sets.concepts)} concepts: half of them are "
            f"counterparts, and a random set has {size} of the other half. Give at least {2 * size}."
        )
    found, start = {}, 0
    for name, images in sets.concepts.items():
        found[name] = np.arange(start, start + len(images))
        start += len(images)
    drawn = start + np.random.default_rng(draws.seed).permutation(len(sets.pool))
    return found | {"counterparts": drawn[:half], "random": drawn[half:]}


def _space(
    subject: Subject, split: Split, sets: ConceptSets, folder: Path, dtype: Literal["float16", "float32"],
    kind: Kind, c: float,
) -> _Space:  # fmt: skip
    """Inner products at a layer, from features that are computed once and kept."""

    @torch.inference_mode()
    def features(images: Tensor) -> Tensor:
        with subject.autocast():
            return split.trunk(subject.prepare(images.to(subject.device))).float()

    images = torch.cat([*sets.concepts.values(), sets.pool])
    about = {"images": sets.manifest, "weights": subject.weights, "layer": split.layer, "part": "concepts"}
    about |= {"precision": subject.precision, "data": subject.data.manifest}
    about |= {"input": digest(subject.prepare(images[:1]))}  # what the preprocessing makes of an image
    rows = cached(features, images, folder / fingerprint(about), about, CHUNK, dtype)
    started = time.perf_counter()
    gram = inner_products((rows[i : i + 512] for i in range(0, len(rows), 512)), rows)
    sensitivities = {}
    for name, own in tqdm(sets.classes.items(), f"gradients at {split.layer}", leave=False, disable=None):
        target = list(subject.classes).index(name)
        parts = (gradients(split, features(part), target) for part in own.split(CHUNK))
        sensitivities[name] = inner_products(parts, rows)
    return _Space(gram, sensitivities, kind, c, time.perf_counter() - started)


def _at_layer(
    space: _Space, sets: ConceptSets, order: Mapping[str, Places], draws: Draws, layer: str
) -> tuple[dict[str, float], dict[str, Any]]:
    rng = np.random.default_rng((draws.seed, 1))
    n = draws.fitted

    def drawn(name: str, count: int) -> list[Places]:
        return [rng.choice(order[name], draws.set_size, replace=False) for _ in range(count)]

    own = [rng.choice(order[name], draws.set_size, replace=False) for name in sets.concepts]
    counterparts = drawn("counterparts", draws.counterparts)
    tested, null = drawn("random", draws.tested), drawn("random", draws.chance)

    def scores(concepts: Sequence[Places], told: str) -> tuple[Floats, Floats, float]:
        """Shares and means (concepts, counterparts, classes), and the mean accuracy on the images held out."""
        found, right = np.empty((len(concepts), len(counterparts), 2, len(sets.classes))), []
        for i, concept in enumerate(tqdm(concepts, f"{told} at {layer}", leave=False, disable=None)):
            for j, others in enumerate(counterparts):
                vector = space.vector(concept[:n], others[:n])
                found[i, j] = space.scores(*vector)
                right.append(space.accuracy(vector, n, concept[n:], others[n:]))
        return found[:, :, 0], found[:, :, 1], float(np.mean(right))

    started = time.perf_counter()
    of_tested, slope_tested, _ = scores(tested, "random concepts")
    seconds = time.perf_counter() - started
    of_concepts, slope_concepts, held_out = scores(own, "concepts")
    of_null, slope_null, _ = scores(null, "random sets")
    chance = of_null.mean(1)

    def p_values(shares: Floats, slopes: Floats) -> dict[str, Floats]:
        return {
            "p": rank_p(shares.mean(1), chance),
            "slope": rank_p(slopes.mean(1), slope_null.mean(1)),
            "t": _t_test(shares, of_null),
        }

    tests = p_values(of_concepts, slope_concepts)
    tests["permuted"] = np.stack(
        [_permuted(space, concept[:n], counterparts[0][:n], draws.permutations, rng)[1] for concept in own]
    )
    adjusted = {name: holm(p) for name, p in tests.items()}
    middle = np.median(chance, 0)
    score = of_concepts.mean(1)  # (concepts, classes)
    of_random = {name: p <= ALPHA for name, p in p_values(of_tested, slope_tested).items()}
    values = {f"fpr{SUFFIXES[name]}": float(wrong.mean()) for name, wrong in of_random.items()}
    values |= {
        "extreme": float(np.isin(of_concepts, (0, 1)).mean()),
        "spread": float(of_concepts.std(1, ddof=1).mean()),
        "spread_null": float(of_null.std(1, ddof=1).mean()),
        "held_out": held_out,
        "seconds": seconds,
    }
    if sets.truth:
        above = dict.fromkeys(adjusted, score > middle)
        above["slope"] = slope_concepts.mean(1) > np.median(slope_null.mean(1), 0)
        values |= _against_truth(sets, adjusted, above)
        values |= _told(sets, {"": score - middle, "_slope": slope_concepts.mean(1)})
    details = {
        "score": score.round(4).tolist(),
        "chance": middle.round(4).tolist(),
        "chance_low": np.quantile(chance, 0.025, axis=0).round(4).tolist(),
        "chance_high": np.quantile(chance, 0.975, axis=0).round(4).tolist(),
        "adjusted": {name: p.round(5).tolist() for name, p in adjusted.items()},
        "fpr_by_class": of_random["p"].mean(0).round(4).tolist(),
        "relative": [],
    }
    by_name = dict(zip(sets.concepts, own, strict=True))
    for group in sets.relative:
        for name in group:
            others = np.concatenate([by_name[other][:n] for other in group if other != name])
            found, p = _permuted(space, by_name[name][:n], others, draws.permutations, rng)
            details["relative"].append(
                {"concept": name, "others": [other for other in group if other != name]}
                | {"score": found.round(4).tolist(), "p": p.round(5).tolist()}
            )
    return values, details


def _t_test(of_concepts: Floats, of_null: Floats) -> Floats:
    """Kim et al.'s two-sided p: scores (V, counterparts, classes) against one of each of as many random sets."""
    count = of_concepts.shape[1]
    single = of_null[np.arange(count) % len(of_null), np.arange(count)]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of scores that are all the same, which are seen to below
        p = ttest_ind(of_concepts, single[None], axis=1).pvalue
    same = np.isclose(of_concepts.mean(1), single.mean(0))
    return np.where(np.isnan(p), np.where(same, 1.0, 0.0), p)  # without any spread


def _permuted(
    space: _Space, concept: Places, others: Places, permutations: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Scores of a vector and their two-sided p among those of vectors fitted on shuffled images, (classes,) each."""
    found = space.scores(*space.vector(concept, others))
    together = np.concatenate([concept, others])
    shuffled = []
    for _ in range(permutations):
        mixed = rng.permutation(together)
        shuffled.append(space.scores(*space.vector(mixed[: len(concept)], mixed[len(concept) :])))
    return found[0], rank_p(found[None, 0], np.stack(shuffled)[:, 0])[0]


def _against_truth(
    sets: ConceptSets, adjusted: Mapping[str, Floats], above: Mapping[str, NDArray[np.bool_]]
) -> dict[str, float]:
    """What each test finds of the pairs of concept and class that are true, and of those that are not."""
    true = _true(sets)
    unowned = ~true.any(1)  # concepts that no class has
    values: dict[str, float] = {}
    for test, suffix in SUFFIXES.items():
        significant = adjusted[test] <= ALPHA
        higher, lower = significant & above[test], significant & ~above[test]
        shares = {
            "found": higher[true],
            "false": higher[~true],
            "against": lower[~true],
            "unowned": significant[unowned],
        }
        values |= {f"{name}{suffix}": float(share.mean()) for name, share in shares.items() if share.size}
    return values


def _told(sets: ConceptSets, scores: Mapping[str, Floats]) -> dict[str, float]:
    """How well scores tell true pairs from others, by the area under the ROC curve."""
    true = torch.from_numpy(_true(sets).reshape(-1).astype(np.int64))
    return {
        f"auroc{suffix}": float(auroc(torch.from_numpy(values.reshape(-1, 1)), true, 2)[1, 0])
        for suffix, values in scores.items()
        if true.any() and not true.all()
    }


def _true(sets: ConceptSets) -> NDArray[np.bool_]:
    """Which pairs are true, (concepts, classes); all concepts have a truth where some have."""
    return np.array([[label in sets.truth[name] for label in sets.classes] for name in sets.concepts])
