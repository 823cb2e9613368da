"""The encoder's explanations by brute force, theorem 1 at every depth, and one result however it is batched."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.prototypes.networks import build, state
from xcnn.errors import UserError
from xcnn.metrics.cost import peak_bytes
from xcnn.prototypes import Codebook, Encoder, EncoderExplanation, KMeans, KMEx, composite, encoder_explanation, kmex

BLOCKS = ("relu1", "relu2", "relu3")


@pytest.fixture(autouse=True)
def _few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (encoder_explanation, kmex):
        monkeypatch.setattr(module, "KMeans", partial(KMeans, n_init=2))


def explained(
    network: nn.Module, blocks: tuple[str, ...] = BLOCKS, batch: int = 4, **options: object
) -> EncoderExplanation:
    return EncoderExplanation(Encoder(network, blocks, batch=batch), **({"per_class": 2} | options))  # type: ignore[arg-type]


def prototypes(method: EncoderExplanation) -> list[Tensor]:
    return [book.prototypes for book in method.codebooks]


# Explaining


@pytest.mark.parametrize("options", [{}, {"block_weight": "1", "norm": "map", "interpolation": "bicubic"}])
def test_segments_scores_and_distances_by_brute_force(
    network: nn.Module, images: Tensor, labels: Tensor, options: dict[str, str]
) -> None:
    method = explained(network, BLOCKS[1:], **options).fit(images, labels)
    found = method.explain(images)
    rows = composite(method.encoder.maps(images), **options)  # type: ignore[arg-type]
    distances = torch.cdist(rows.flatten(1, 2), method.codebook.prototypes).square()
    assert torch.equal(found.segments.flatten(1), distances.argmin(2))
    torch.testing.assert_close(found.distances.flatten(1), distances.amin(2), rtol=0, atol=1e-12)
    assert found.segments.shape == found.distances.shape == (18, 8, 8)
    for n in range(18):
        counts = [int(((found.segments[n] >= 2 * j) & (found.segments[n] < 2 * j + 2)).sum()) for j in range(3)]
        assert found.scores[n].tolist() == [count / 2 for count in counts]  # eq. 10
        assert bool(found.tied[n]) == (counts.count(max(counts)) > 1)
        if not found.tied[n]:
            assert found.predicted[n] == counts.index(max(counts))
    with torch.no_grad():
        torch.testing.assert_close(found.logits, network(images), rtol=0, atol=1e-12)
    assert torch.equal(method.predict(images), found.predicted)
    assert found.attribution is None and torch.equal(found.targets, found.logits.argmax(1))


def unit(*entries: tuple[int, float]) -> Tensor:
    row = torch.zeros(128, dtype=torch.float64)
    for place, value in entries:
        row[place] = value
    return row / row.norm()


def by_hand(network: nn.Module, *rows: Tensor) -> EncoderExplanation:
    """B4 whose prototypes, one for each class, are given."""
    method = explained(network, ("relu3",), per_class=1)
    encoder, ones = method.encoder, torch.ones(3)
    method.codebooks = [Codebook(torch.stack(rows), 1, "EncoderExplanation", encoder.identity, {}, ones, ones)]
    return method


@pytest.mark.parametrize("turn", [0, 1])
def test_a_tie_goes_to_the_class_that_is_nearer_over_all_locations(network: nn.Module, turn: int) -> None:
    # Two locations: one is on the prototype of class 1, the other near that of class 0. So both have one location, and
    # class 1 the smaller sum, 2 + 0 against 2 + a little. Class 2, between them, has a smaller one, and no location.
    exact, near = unit((1, 1.0)), unit((0, 1.0), (3, 0.3))
    classes = [unit((0, 1.0)), unit((1, 1.0))]
    method = by_hand(network, classes[turn], classes[1 - turn], unit((0, 1.0), (1, 1.0)))
    maps = 5 * torch.stack([near, exact], 1)[None, :, None]
    found = method.explain_maps([maps])
    assert found.scores.tolist() == [[1, 1, 0]] and found.tied.tolist() == [True]
    assert found.predicted.tolist() == [1 - turn]
    sums = torch.cdist(torch.stack([near, exact]), method.codebook.prototypes).square().sum(0)
    assert sums.argmin() == 2
    alone = method.explain_maps([maps[..., :1]])
    assert alone.predicted.tolist() == [turn] and alone.tied.tolist() == [False]


def test_most_locations_decide_not_the_most_frequent_prototype(network: nn.Module) -> None:
    directions = [unit((place, 1.0)) for place in range(6)]
    method = by_hand(network, *directions)
    object.__setattr__(method.codebooks[0], "per_class", 2)
    method.per_class = 2
    chosen = [0, 0, 0, 2, 2, 3, 3]  # prototype 0 is the most frequent; class 1 has 4 of 7 locations
    found = method.explain_maps([torch.stack([directions[place] for place in chosen], 1)[None, :, None]])
    assert found.segments.flatten().tolist() == chosen
    assert found.scores.tolist() == [[1.5, 2, 0]] and found.predicted.tolist() == [1]


@pytest.mark.parametrize(("name", "depths"), [("conv3", 3), ("conv3", 2), ("conv3", 1), ("folded", 1)])
def test_theorem_1_holds_at_every_depth(name: str, depths: int, images: Tensor, labels: Tensor) -> None:
    network, blocks = build(name)
    size = 16 if name == "conv3" else 15  # sides are whole multiples
    images = images[..., :size, :size]
    method = explained(network, blocks[-depths:], attributes=True).fit(images, labels)
    encoder, targets = method.encoder, torch.arange(18) % 3
    for chosen in (None, targets):
        found = method.explain(images, chosen, attribute=True)
        with torch.no_grad():
            logits = network(images.clone())
        wanted = logits.argmax(1) if chosen is None else chosen
        assert torch.equal(found.targets, wanted)
        columns = encoder.columns[wanted]
        expected = (logits.gather(1, wanted[:, None])[:, 0] - encoder.bias[wanted]) / columns.square().sum(1)
        assert found.attribution is not None and found.attribution.shape == found.segments.shape
        torch.testing.assert_close(found.attribution.mean((1, 2)), expected, rtol=0, atol=1e-13)


def test_the_attribution_is_brought_through_the_segments_of_every_depth(
    network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    method = explained(network, attributes=True).fit(images, labels)
    found = method.explain(images, attribute=True)
    maps = method.encoder.maps(images)
    middle = torch.cdist(composite(maps[1:]).flatten(1, 2), method.codebooks[1].prototypes).argmin(2).view(18, 8, 8)
    attribution = torch.einsum("ndhw,nd->nhw", maps[2], method.encoder.columns[found.targets])
    attribution /= method.encoder.columns[found.targets].square().sum(1)[:, None, None]
    for segments in (middle, found.segments):
        size = segments.shape[1:]
        attribution = nn.functional.interpolate(attribution[:, None], size, mode="bilinear", align_corners=False)[:, 0]
        for n in range(18):
            for label in segments[n].unique():
                own = segments[n] == label
                attribution[n][own] = attribution[n][own].mean()
    torch.testing.assert_close(found.attribution, attribution, rtol=0, atol=1e-13)


def test_two_blocks_and_one_need_no_prototypes_of_deeper_blocks(
    network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    for blocks in (BLOCKS[1:], BLOCKS[2:]):
        with_them, without = (explained(network, blocks, attributes=flag).fit(images, labels) for flag in (True, False))
        assert len(with_them.codebooks) == len(without.codebooks) == 1
        one, two = (method.explain(images, attribute=True).attribution for method in (with_them, without))
        assert one is not None and two is not None and torch.equal(one, two)


# However it is batched and kept


def test_batches_change_no_segment(
    network: nn.Module, images: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = explained(network, batch=256, attributes=True).fit(images, labels)
    small = explained(network, batch=5, attributes=True)
    small.codebooks = whole.codebooks
    expected = whole.explain(images, attribute=True)
    monkeypatch.setattr(encoder_explanation, "PRODUCT_BYTES", 1)  # one image at a time
    found = small.explain(images, attribute=True)
    for name in ("segments", "scores", "predicted", "tied", "targets"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    for name in ("distances", "logits", "attribution"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=1e-12)
    refitted = explained(network, batch=5, attributes=True).fit(images, labels)
    for one, other in zip(prototypes(whole), prototypes(refitted), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert small.explain(images[:0]).segments.shape == (0, 16, 16)


@pytest.mark.parametrize("sample", [20_000, 300])
def test_what_is_kept_changes_nothing(
    network: nn.Module, images: Tensor, labels: Tensor, sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_explanation, "KMeans", partial(KMeans, sample=sample, n_init=2))
    fits = [
        explained(network, BLOCKS[1:], cache_bytes=room).fit(images, labels) for room in (2**30, 0, 300_000, 2**30)
    ]  # a class's rows take 300 to 900 KB
    for found in fits[1:]:
        torch.testing.assert_close(found.codebook.prototypes, fits[0].codebook.prototypes, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.codebook.inertia, fits[0].codebook.inertia, rtol=1e-12, atol=0)
    assert torch.equal(fits[3].codebook.prototypes, fits[0].codebook.prototypes)  # bit by bit
    assert fits[0].codebook.rows.tolist() == [64 * 3, 64 * 6, 64 * 9]


def test_rows_are_formed_a_batch_at_a_time_and_no_more_maps_are_kept_than_there_is_room_for(
    network: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, sizes = Encoder(network, BLOCKS[1:], batch=3), []

    def spy(maps: tuple[Tensor, ...]) -> Tensor:
        sizes.append(len(maps[0]))
        return composite(maps)

    one = sum(maps.nbytes for maps in encoder.maps(images[:3]))
    rows = composite(encoder.maps(images)).nbytes
    for room, kept in ((0, 0), (2 * one, 2), (6 * one, 6), (6 * one + rows - 1, 6), (6 * one + rows, 6)):
        source = encoder_explanation._ClassMaps(encoder, images, torch.arange(18), room)
        found = source.rows(spy)  # type: ignore[arg-type]
        assert isinstance(found, Tensor) == (room >= 6 * one + rows)  # rows and maps together within the room
        chunks = [found] if isinstance(found, Tensor) else list(found())
        torch.testing.assert_close(torch.cat(chunks), composite(encoder.maps(images)).flatten(0, 2), rtol=0, atol=1e-13)
        assert len(source.kept) == kept and max(sizes) == 3
        assert sum(maps.nbytes for held in source.kept.values() for maps in held) <= room


def test_memory_does_not_grow_with_the_images(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_explanation, "KMeans", partial(KMeans, sample=50, n_init=1, max_iter=1))
    network = network.float()

    def peak(n: int) -> int:
        images = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        method = explained(network, BLOCKS[1:], batch=3, cache_bytes=0)
        return peak_bytes(lambda: method.fit(images, torch.arange(n) % 3))

    assert peak(36) < peak(18) + 18 * 1024  # an image's rows take 48 KiB, a batch of them 144 KiB


def test_one_location_in_one_block_is_normalised_kmex(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    images = images[..., :4, :4]
    encoder = Encoder(network, ["relu3"], batch=5)
    pooled = KMEx(encoder, 2, normalised=True, seed=4).fit(images, labels)
    method = EncoderExplanation(encoder, 2, seed=4).fit(images, labels)
    assert pooled.codebook is not None
    torch.testing.assert_close(method.codebook.prototypes, pooled.codebook.prototypes, rtol=0, atol=1e-12)
    torch.testing.assert_close(method.codebook.inertia, pooled.codebook.inertia, rtol=1e-9, atol=1e-15)
    found, expected = method.explain(images), pooled.explain(images)
    assert found.segments.shape == (18, 1, 1)
    assert torch.equal(found.segments.flatten(), expected.prototype)
    assert torch.equal(found.predicted, expected.predicted)


# As data


def test_saved_and_loaded_it_says_the_same(network: nn.Module, images: Tensor, labels: Tensor, tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    method = explained(network, attributes=True).fit(images, labels)
    method.save(path)
    again = explained(network, attributes=True, seed=5).load(path)
    found, expected = again.explain(images, attribute=True), method.explain(images, attribute=True)
    for name in vars(found):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    for book, loaded in zip(method.codebooks, again.codebooks, strict=True):
        assert torch.equal(book.inertia, loaded.inertia) and torch.equal(book.rows, loaded.rows)
    assert len(explained(network).load(path).codebooks) == 1  # the deeper blocks' are not asked for


def test_prototypes_of_something_else_are_refused(
    network: nn.Module, images: Tensor, labels: Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "p.safetensors"
    explained(network).fit(images, labels).save(path)
    for method, message in (
        (explained(network, BLOCKS[1:]), r"blocks \['relu1', 'relu2', 'relu3'\], not \['relu2', 'relu3'\]: give the"),
        (explained(network, block_weight="1"), "block_weight '1/D', not '1': give"),
        (explained(network, norm="map", per_class=3), "per_class 2, not 3; norm 'row', not 'map': give"),
        (explained(network, interpolation="bicubic"), "interpolation 'bilinear', not 'bicubic': give"),
        (explained(network, attributes=True), "saved without attributes=True"),
        (explained(network, attributes=True, norm="map"), "norm 'row', not 'map': give"),
        (explained(build("conv3")[0].float()), "another backbone"),
    ):
        with pytest.raises(UserError, match=message):
            method.load(path)
        assert not method.codebooks
    KMEx(Encoder(network, ["relu3"]), 2).fit(images, labels).save(path)
    for attributes in (False, True):
        with pytest.raises(UserError, match="prototypes of KMEx, not of EncoderExplanation"):
            explained(network, attributes=attributes).load(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_is_explained_in_float32(
    network: nn.Module, images: Tensor, labels: Tensor, tmp_path: Path, dtype: torch.dtype
) -> None:
    network, images = network.to(dtype), images.to(dtype)
    for method in (explained(network, attributes=True), KMEx(Encoder(network, ["relu3"]), 2)):
        found = method.fit(images, labels).explain(images)
        assert found.logits.dtype == method.codebook.prototypes.dtype == torch.float32  # type: ignore[union-attr]
        method.save(tmp_path / "p")
        again = method.load(tmp_path / "p").explain(images)
        assert torch.equal(again.predicted, found.predicted) and torch.equal(again.logits, found.logits)


# What cannot be


def test_prototypes_of_weights_that_changed_since_are_refused(
    network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    methods = explained(network).fit(images, labels), KMEx(Encoder(network, ["relu3"]), 2).fit(images, labels)
    with torch.no_grad():
        network.conv1.bias += 1
    for method in methods:
        for call in (method.explain, method.predict):
            with pytest.raises(UserError, match="another backbone"):
                call(images)
        method.fit(images, labels).explain(images)


def test_what_cannot_be_fitted_or_explained(network: nn.Module, images: Tensor, labels: Tensor, tmp_path: Path) -> None:
    method = explained(network)
    for call in (method.explain, method.predict, lambda _: method.codebook, lambda _: method.save(tmp_path / "p")):
        with pytest.raises(UserError, match=r"call fit\(images, labels\) or load\(path\) first"):
            call(images)
    with pytest.raises(UserError, match="per_class must be at least 1"):
        explained(network, per_class=0)
    with pytest.raises(UserError, match="norm must be one of row, map"):
        explained(network, norm="l1")
    with pytest.raises(UserError, match="class 0 has 48 rows for 49 prototypes"):
        explained(network, ("relu3",), per_class=49).fit(images, labels)
    with pytest.raises(UserError, match="class 0 has 192 rows for 193 prototypes"):  # of the deepest that is clustered
        explained(network, attributes=True, per_class=193).fit(images, labels)
    with pytest.raises(UserError, match="class 1 has no images"):
        method.fit(images[labels != 1], labels[labels != 1])
    with pytest.raises(UserError, match="18 images and 17 labels"):
        method.fit(images, labels[1:])
    with pytest.raises(UserError, match="no images"):
        method.fit(images[:0], labels[:0])
    broken = images.clone()
    broken[4, 0, 3, 3] = torch.nan  # of class 1, whose images are 1, 4, 7, ...
    with pytest.raises(UserError, match=r"block 'relu1' for image\(s\) 1 of the batch"):
        method.fit(broken, labels)
    assert not method.codebooks
    method.fit(images, labels)
    with pytest.raises(UserError, match=r"image\(s\) 0 of the batch"):  # batches of four
        method.explain(broken)
    with pytest.raises(UserError, match="fit with attributes=True"):
        method.explain(images, attribute=True)
    for targets in (torch.full((18,), 3), torch.full((18,), -1), torch.zeros(17, dtype=torch.int64), torch.tensor(0)):
        with pytest.raises(UserError, match=r"targets must be 18 classes in 0\.\.2"):
            method.explain(images, targets)


# The user's network


def test_the_network_is_left_as_it_was_and_explained_in_evaluation_mode(images: Tensor, labels: Tensor) -> None:
    network, blocks = build("folded")  # with BatchNorm and dropout
    expected = explained(network, blocks).fit(images, labels).explain(images, attribute=True)
    network.train()
    network[0].weight.requires_grad_(False)
    network[6].bias.grad = torch.ones(3, dtype=torch.float64)
    network[1].register_forward_hook(lambda *call: call[2] * 100)
    before, kept = state(network), images.clone()
    method = explained(network, blocks).fit(images, labels)
    found = method.explain(images, attribute=True)
    for call in (lambda: method.fit(images * torch.nan, labels), lambda: method.explain(images * torch.nan)):
        with pytest.raises(UserError, match="NaN"):
            call()
    assert state(network) == before and torch.equal(images, kept)
    for name, value in vars(found).items():
        assert torch.equal(value, getattr(expected, name)), name


def test_autocast_reaches_the_network_only(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    network, images = network.float(), images.float()
    fits = []
    for room in (2**30, 0):
        with torch.autocast("cpu", torch.bfloat16):
            method = explained(network, attributes=True, cache_bytes=room).fit(images, labels)
            maps = method.encoder.maps(images[:4])
            found = method.explain(images[:4], attribute=True)
        fits.append(method)
        expected = method.explain_maps(maps, attribute=True)  # of the same maps, without autocast
        for name, value in vars(found).items():
            assert torch.equal(value, getattr(expected, name)), name
        assert found.attribution is not None and found.attribution.dtype == found.logits.dtype == torch.float32
    for one, other in zip(prototypes(fits[0]), prototypes(fits[1]), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)  # the network ran in bfloat16 in every pass


def test_an_attribution_may_come_through_prototypes_fitted_on_their_own(
    network: nn.Module, images: Tensor, labels: Tensor
) -> None:
    whole = explained(network, attributes=True).fit(images, labels)
    deeper = explained(network, BLOCKS[1:]).fit(images, labels)
    shallow = explained(network).fit(images, labels)
    with pytest.raises(UserError, match="fit with attributes=True"):
        shallow.explain(images, attribute=True)
    found, expected = shallow.through(deeper).explain(images, attribute=True), whole.explain(images, attribute=True)
    assert found.attribution is not None and expected.attribution is not None
    torch.testing.assert_close(found.attribution, expected.attribution, rtol=0, atol=1e-12)
    with pytest.raises(UserError, match="the deeper explanation holds prototypes made with blocks"):
        explained(network).fit(images, labels).through(shallow)
    with pytest.raises(UserError, match="there are no prototypes yet"):
        explained(network).fit(images, labels).through(explained(network, BLOCKS[1:]))
    with pytest.raises(UserError, match="block_weight"):
        explained(network).fit(images, labels).through(
            explained(network, BLOCKS[1:], block_weight="1").fit(images, labels)
        )
