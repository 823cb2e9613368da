"""Words about filters, described on some images and scored on others: planted filters, controls, parts."""

import math
from collections.abc import Sequence

import pandas as pd
import pytest
import torch

from tests.evaluation.test_feature_maps import subject_of
from xcnn.data.shapes import PARTS, Shapes
from xcnn.evaluation.words import (
    SCORES,
    Responses,
    Sample,
    Words,
    best_words,
    planted,
    put_into_words,
    respond,
    score_words,
)
from xcnn.language import Claim, Describer, Description, FilterEvidence, MeasuredDescriber
from xcnn.models import conv3

SIZE = (8, 8)
TRUTH = [
    Claim("colour", "green"),
    Claim("class", "fish"),
    Claim("position", "top left"),
    Claim("part", "wheel"),
    Claim("position", "bottom right"),
]


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    data = Shapes(n_train=60, n_test=50)
    data.setup()
    return data


@pytest.fixture(scope="module")
def samples(shapes: Shapes) -> tuple[Sample, Sample]:
    return Sample.of(shapes.train, shapes.classes, 60, 0), Sample.of(shapes.test, shapes.classes, 40, 0)


class Told:
    """Says of each filter what it is told, whatever the evidence shows; of an image alone that it is blue."""

    def __init__(self, words: Sequence[Claim]):
        self.words = words

    def describe(self, evidence: FilterEvidence) -> Description:
        of_image = bool(evidence.auroc.isnan().all())
        claim = Claim("colour", "blue") if of_image else self.words[evidence.filter]
        return Description("words", (claim,), "told", None, None, evidence.evidence_hash)


def scored(
    samples: tuple[Sample, Sample], describer: Describer, truth: Sequence[Claim] = TRUTH
) -> tuple[Words, list[Claim], pd.DataFrame]:
    first, second = (planted(sample, sample.scenes(SIZE), truth)[0] for sample in samples)
    scores = torch.zeros(len(samples[0].classes), len(truth))
    words = put_into_words(first, first.live & second.live, "planted", scores, describer, 3)
    best = best_words(first, samples[0].scenes(SIZE), words.filters)
    return words, best, score_words(words, best, second, samples[1].scenes(SIZE))


def test_a_sample_is_drawn_at_random_with_its_masks(shapes: Shapes) -> None:
    found = Sample.of(shapes.test, shapes.classes, 20, 1)
    again, other = (Sample.of(shapes.test, shapes.classes, 20, seed) for seed in (1, 2))
    assert torch.equal(found.images, again.images) and not torch.equal(found.images, other.images)
    assert found.parts is not None and found.parts.shape == (20, 32, 32)
    places = [int((shapes.test.images == image).flatten(1).all(1).nonzero()) for image in (found.images * 255).round()]
    assert places == sorted(places) and torch.equal(shapes.test.labels[places], found.labels)


def test_responses_are_the_layers_maps(shapes: Shapes, samples: tuple[Sample, Sample]) -> None:
    torch.manual_seed(0)
    network = conv3(10).eval()
    found = respond(subject_of(network, shapes), ["relu2", "relu3"], samples[1])
    with torch.no_grad():
        torch.testing.assert_close(found["relu3"].maps, network[:8](samples[1].images))
        assert torch.equal(found["relu2"].predicted, network(samples[1].images).argmax(1))
    assert found["relu2"].size == (16, 16)


def test_true_words_score_one_and_shuffled_ones_next_to_nothing(samples: tuple[Sample, Sample]) -> None:
    words, best, rows = scored(samples, Told(TRUTH))
    assert list(words.filters) == [*range(len(TRUTH))] and list(best) == TRUTH
    assert rows["pearson"].tolist() == pytest.approx([1] * 5, abs=1e-6)
    assert rows["pearson_best_word"].tolist() == pytest.approx([1] * 5, abs=1e-6)
    assert rows["auprc"].min() > 0.99
    assert rows["pearson_shuffled"].abs().max() < 0.2
    assert (rows["pearson_net"] == rows["pearson"] - rows["pearson_shuffled"]).all()
    assert rows["pearson_image"].abs().max() < 0.3 and (rows["pearson_constant"] == 0).all()


def test_shuffled_is_the_mean_over_the_words_of_all_others(samples: tuple[Sample, Sample]) -> None:
    n = len(TRUTH)
    turned = [scored(samples, Told([*TRUTH[k:], *TRUTH[:k]]))[2] for k in range(n)]
    for metric in ("pearson", "auprc"):
        others = sum(rows[metric] for rows in turned[1:]) / (n - 1)
        assert turned[0][f"{metric}_shuffled"].tolist() == pytest.approx(others.tolist(), abs=1e-9)


def test_false_words_are_found_out(samples: tuple[Sample, Sample]) -> None:
    rows = scored(samples, Told([*TRUTH[1:], TRUTH[0]]))[2]
    assert rows["pearson"].abs().max() < 0.2 and rows["pearson_net"].max() < 0.1


def test_the_measured_describer_recovers_planted_places_and_classes(samples: tuple[Sample, Sample]) -> None:
    rows = scored(samples, MeasuredDescriber())[2]
    assert rows.loc[[1, 2, 4], "pearson_net"].min() > 0.5
    assert rows["pearson_net"].mean() > rows["pearson_image"].mean() + 0.2


def test_a_filter_is_described_on_its_strongest_images(samples: tuple[Sample, Sample]) -> None:
    sample = samples[0]
    maps = torch.zeros(60, 2, 8, 8)
    maps[5, 0, 3, 3], maps[9, 0, 1, 1], maps[7, 1, 2, 2] = 3, 4, 1
    responses = Responses(sample, maps, sample.labels)
    words = put_into_words(responses, responses.live, "relu", torch.rand(10, 2), MeasuredDescriber(), 3)
    assert words.filters == [0, 1]
    shown = [[float(one.activation.max()) for one in each] for each in words.evidence]
    assert shown == [[4, 3], [1]]  # an image on which it is silent shows nothing of it
    first = words.evidence[0][0]
    assert torch.equal(first.image, sample.images[9]) and first.target == sample.classes[sample.labels[9]]
    assert "fires_for" not in {claim.kind for claim in words.without_filter[0][0].claims}
    assert "active on 100% of the map" in words.without_filter[0][0].text


def test_parts_that_are_named_are_checked_against_the_masks(samples: tuple[Sample, Sample]) -> None:
    wheels = Claim("part", "wheel")
    words = scored(samples, Told([wheels, wheels]), [wheels, Claim("part", "eye")])[0]
    found = words.claims()
    assert found.pop("largest_part") >= 0
    assert found == {
        "claims": 6, "supported": 0.5, "contradicted": 0.5, "untestable": 0, "on_part": 1, "names_part": 1,
        "right_part": 0.5, "shuffled_part": 0.5, "commonest_part": 0.5,
    }  # fmt: skip
    heads = Claim("part", "head")  # the largest part of a face, as a wheel is of nothing
    both = scored(samples, Told([wheels, heads]), [wheels, heads])[0].claims()
    assert (both["right_part"], both["shuffled_part"]) == (1, 0)
    assert (both["commonest_part"], both["largest_part"]) == (0.5, 0.5)
    silent = scored(samples, MeasuredDescriber(), [wheels, Claim("part", "eye")])[0].claims()
    assert (silent["supported"], silent["on_part"], silent["names_part"], silent["right_part"]) == (1, 1, 0, 0)
    assert "wheel" in PARTS


def test_a_layer_without_a_live_filter_has_no_words(samples: tuple[Sample, Sample]) -> None:
    silent = [Responses(one, torch.zeros(len(one.images), 3, 8, 8), one.labels) for one in samples]
    words = put_into_words(silent[0], silent[0].live, "relu", torch.rand(10, 3), MeasuredDescriber(), 3)
    best = best_words(silent[0], samples[0].scenes(SIZE), words.filters)
    rows = score_words(words, best, silent[1], samples[1].scenes(SIZE))
    assert (words.filters, best, len(rows)) == ([], [], 0)
    assert list(rows) == [*SCORES] and set(SCORES) == set(scored(samples, MeasuredDescriber())[2])
    claims = words.claims()
    assert claims.pop("claims") == 0 and all(math.isnan(value) for value in claims.values())


def test_without_masks_a_part_is_untestable(samples: tuple[Sample, Sample]) -> None:
    bare = tuple(Sample(one.images, one.labels, one.classes) for one in samples)
    truth = [Claim("colour", "green"), Claim("class", "fish")]
    words = scored(bare, Told([Claim("part", "wheel")] * 2), truth)[0]  # type: ignore[arg-type]
    found = words.claims()
    assert found["untestable"] == 1 and found["on_part"] != found["on_part"]
