"""What words predict, in values worked out by hand."""

import math

import pytest
import torch

from xcnn.colour import BASIC_TERMS
from xcnn.language import Claim
from xcnn.language.simulate import Scenes, simulate, vocabulary


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    """A bird, red at the left and blue at the right, whose wing is the top left quarter; a cat that is all blue."""
    images = torch.zeros(2, 3, 12, 12)
    images[:, 2] = 1
    images[0, :, :, :6] = torch.tensor([1.0, 0, 0])[:, None, None]
    parts = torch.zeros(2, 12, 12, dtype=torch.uint8)
    parts[0, :6, :6] = 2
    return Scenes.of(images, ("bird", "cat"), (6, 6), parts, ("head", "wing"))


def one(kind: str, value: object) -> list[Claim]:
    return [Claim(kind, value)]


def test_what_is_seen(scenes: Scenes) -> None:
    assert scenes.shape == (2, 6, 6)
    red, blue = BASIC_TERMS.index("red"), BASIC_TERMS.index("blue")
    assert (scenes.colours[0, red, :, :3] == 1).all() and (scenes.colours[0, blue, :, 3:] == 1).all()
    assert (scenes.colours[1, blue] == 1).all() and (scenes.colours.sum(1) == 1).all()
    assert (scenes.edges[0, :, 2:4] == 0.5).all() and scenes.edges[0].sum() == 6 and not scenes.edges[1].any()
    assert scenes.parts.keys() == {"wing", "object"}  # of no head is there a pixel
    assert (scenes.parts["wing"][0, :3, :3] == 1).all() and scenes.parts["wing"].sum() == 9
    assert torch.equal(scenes.parts["object"], scenes.parts["wing"])


def test_each_word_by_itself(scenes: Scenes) -> None:
    red = scenes.colours[:, BASIC_TERMS.index("red")]
    blue = scenes.colours[:, BASIC_TERMS.index("blue")]
    assert torch.equal(simulate(one("colour", "red"), scenes), red)
    torch.testing.assert_close(simulate(one("colours", {"red": 0.6, "blue": 0.2}), scenes), 0.75 * red + 0.25 * blue)
    assert torch.equal(simulate(one("part", "wing"), scenes), scenes.parts["wing"])
    assert torch.equal(simulate(one("edges", 1.0), scenes), scenes.edges)
    torch.testing.assert_close(simulate(one("edges", 0.25), scenes), 0.75 - 0.5 * scenes.edges)
    bird = torch.tensor([1.0, 0])[:, None, None].expand(2, 6, 6)
    assert torch.equal(simulate(one("class", "bird"), scenes), bird)
    assert torch.equal(simulate(one("fires_for", {"bird": 0.9, "dog": 0.8}), scenes), bird)


def test_a_place_is_a_gaussian_as_wide_as_the_words_say(scenes: Scenes) -> None:
    narrow = simulate(one("position", "top left"), scenes)
    step = 1 / 6  # between cells; the middle of the field lies on the corner of four of them
    corner = math.exp(-2 * (step / 2) ** 2 / (2 * (1 / 6) ** 2))
    assert narrow[0, 0, 0] == pytest.approx(corner) and narrow[0, 1, 1] == pytest.approx(corner)
    far = math.exp(-(2 * (4.5 * step) ** 2) / (2 * (1 / 6) ** 2))
    assert narrow[1, 5, 5] == pytest.approx(far)
    wide = simulate([Claim("position", "top left"), Claim("dispersion", 0.4)], scenes)
    assert wide[1, 5, 5] == pytest.approx(math.exp(-2 * (4.5 * step) ** 2 / (0.4**2)))
    for name, (row, column) in {"bottom right": (5, 5), "right": (2, 5), "bottom": (5, 2), "centre": (2, 2)}.items():
        peak = simulate(one("position", name), scenes)[0]
        assert peak[row, column] == pytest.approx(float(peak.max()))


def test_several_words_vote_and_what_cannot_be_looked_up_does_not(scenes: Scenes) -> None:
    red, bird = (simulate([claim], scenes) for claim in (Claim("colour", "red"), Claim("class", "bird")))
    silent = [
        *(Claim("area", 0.5), Claim("components", 3), Claim("border", ["top"]), Claim("orientation", "vertical")),
        *(Claim("score", {"bird": 0.5}), Claim("predicted", "cat"), Claim("fires_for", {}), Claim("part", "beak")),
        *(Claim("colours", {}), Claim("position", "somewhere"), Claim("class", "dog"), Claim("mood", "blue")),
    ]
    torch.testing.assert_close(
        simulate([Claim("colour", "red"), *silent, Claim("class", "bird")], scenes), (red + bird) / 2
    )
    for nothing in ([], silent, [Claim("dead", True), Claim("colour", "red")]):
        assert not simulate(nothing, scenes).any()


def test_the_vocabulary_is_every_word_that_can_be_looked_up(scenes: Scenes) -> None:
    words = vocabulary(scenes)
    assert len(words) == len(set(map(str, words))) == 11 + 9 + 2 + 1 + 2
    assert {"red", "top left", "bird", 1.0, "wing", "object"} <= {word.value for word in words}
