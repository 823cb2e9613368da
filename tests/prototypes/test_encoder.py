"""Theorem 1 on real networks, the blocks' outputs, and the network left as it was."""

import pytest
import torch
from torch import Tensor, nn

from tests.prototypes.networks import NETWORKS, build, state
from xcnn.errors import UserError
from xcnn.prototypes import Encoder


def side(name: str) -> int:
    return 32 if name == "resnet" else 16


def pictures(name: str, n: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(n, 3, side(name), side(name), dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("name", NETWORKS)
def test_theorem_1_the_mean_similarity_to_a_column_is_the_logit(name: str) -> None:
    network, blocks = build(name)
    images = pictures(name)
    with torch.no_grad():
        logits = network(images)
    encoder = Encoder(network.train(), blocks)
    maps = encoder.maps(images)[-1]
    assert maps.shape[2:].numel() > 1 or name == "resnet"
    similarity = torch.einsum("ndhw,cd->nchw", maps, encoder.columns)
    torch.testing.assert_close(similarity.mean((2, 3)) + encoder.bias, logits, rtol=0, atol=1e-12)
    torch.testing.assert_close(encoder.logits(encoder.embeddings(images)), logits, rtol=0, atol=1e-12)


def test_columns_are_the_rows_of_the_linear_layer(network: nn.Module) -> None:
    encoder = Encoder(network, ["relu3"])
    torch.testing.assert_close(encoder.columns, network.classifier.weight.detach(), rtol=1e-14, atol=0)
    assert torch.equal(encoder.bias, network.classifier.bias.detach())
    assert not encoder.columns.requires_grad and not encoder.bias.requires_grad


def test_a_normalisation_before_the_pooling_is_part_of_the_columns() -> None:
    network, blocks = build("folded")
    norm, linear = network[2], network[6]
    slope = norm.weight / (norm.running_var + norm.eps).sqrt()
    encoder = Encoder(network, blocks)
    torch.testing.assert_close(encoder.columns, (linear.weight * slope).detach(), rtol=1e-12, atol=0)
    shift = linear.bias + linear.weight @ (norm.bias - slope * norm.running_mean)
    torch.testing.assert_close(encoder.bias, shift.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_are_the_outputs_of_the_blocks_in_evaluation_mode(name: str) -> None:
    network, blocks = build(name)
    images = pictures(name)
    expected: list[Tensor] = []
    for block in blocks:
        network.get_submodule(block).register_forward_hook(lambda *call: expected.append(call[2].clone()))
    with torch.no_grad():
        network(images.clone())
    maps = Encoder(network.train(), blocks).maps(images)
    assert len(expected) == len(maps) == len(blocks)
    for found, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-14, atol=1e-14)
        assert not found.requires_grad


def test_what_follows_a_block_in_place_changes_neither_its_maps_nor_the_images() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2),
    ).double()  # fmt: skip
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    kept = images.clone()
    before, after, last = Encoder(network, ["1", "2", "4"]).maps(images)
    assert torch.equal(images, kept)
    torch.testing.assert_close(before, network[1](kept.relu()).detach())
    assert (before < 0).any() and torch.equal(after, before.relu())
    torch.testing.assert_close(last, network[3](after).relu().detach())


def test_batches_change_nothing_and_images_are_prepared(network: nn.Module, images: Tensor) -> None:
    whole = Encoder(network, ["relu3"]).embeddings(images)
    torch.testing.assert_close(Encoder(network, ["relu3"], batch=4).embeddings(images), whole, rtol=0, atol=1e-13)
    raw = (images * 255).to(torch.uint8)
    found = Encoder(network, ["relu3"], prepare=lambda part: part.double() / 255, batch=5)
    torch.testing.assert_close(found.embeddings(raw), Encoder(network, ["relu3"]).embeddings(raw.double() / 255))
    assert found.embeddings(raw[:0]).shape == (0, 128)


def test_another_weight_is_another_identity(network: nn.Module) -> None:
    first = Encoder(network, ["relu3"]).identity
    assert first == Encoder(network.train(), ["relu2", "relu3"]).identity
    with torch.no_grad():
        network.conv1.bias[3] += 1e-9
    assert Encoder(network, ["relu3"]).identity != first


def test_weights_that_change_later_are_seen(network: nn.Module, images: Tensor) -> None:
    encoder = Encoder(network, ["relu3"])
    first, columns = encoder.identity, encoder.columns
    assert encoder.columns is columns and encoder.identity is first  # formed once
    network.load_state_dict({name: value * 1.5 for name, value in network.state_dict().items()})
    assert encoder.identity == Encoder(network, ["relu3"]).identity != first
    assert torch.equal(encoder.columns, Encoder(network, ["relu3"]).columns)
    with torch.no_grad():
        torch.testing.assert_close(encoder.logits(encoder.embeddings(images)), network(images), rtol=0, atol=1e-12)
    network.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder.columns.dtype == torch.float32
    torch.testing.assert_close(encoder.columns, network.classifier.weight.detach(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_of_a_network_in_half_precision_maps_and_columns_are_float32(
    network: nn.Module, images: Tensor, dtype: torch.dtype
) -> None:
    encoder = Encoder(network.to(dtype), ["relu1", "relu3"])
    assert {maps.dtype for maps in encoder.maps(images.to(dtype))} == {torch.float32}
    found = encoder.logits(encoder.embeddings(images.to(dtype)))
    assert found.dtype == encoder.columns.dtype == encoder.bias.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(found, network(images.to(dtype)).float(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (["relu7"], "relu1"),
        (["relu3", "relu2"], r"order, each once: \['relu2', 'relu3'\]"),
        (["relu3", "relu3"], r"order, each once: \['relu3'\]"),
        ([], "blocks is empty"),
        (["relu2"], "'relu2' is something else"),  # convolutions follow
        (["relu1", "conv3"], "'conv3' is something else"),  # a ReLU follows
        (["relu3", "gap"], "'gap' is something else"),  # the pooling itself
        (["classifier"], "'classifier' is something else"),
    ],
)
def test_blocks_that_cannot_be_are_refused(network: nn.Module, blocks: list[str], message: str) -> None:
    before = state(network.train())
    with pytest.raises(UserError, match=message):
        Encoder(network, blocks)
    assert state(network) == before


def test_a_classifier_that_weighs_locations_is_refused() -> None:
    flat = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(UserError, match="averages the maps"):
        Encoder(flat, ["1"])
    convolved = nn.Sequential(
        nn.Conv2d(3, 2, 3),
        nn.ReLU(),
        nn.Conv2d(2, 2, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2, 3),
    )  # affine, but borders count less
    with pytest.raises(UserError, match="averages the maps"):
        Encoder(convolved, ["1"])
    no_linear = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UserError, match="averages the maps"):
        Encoder(no_linear, ["1"])
    with pytest.raises(UserError, match="batch must be at least 1"):
        Encoder(build("conv3")[0], ["relu3"], batch=0)


def test_images_that_give_nan_are_named(network: nn.Module, images: Tensor) -> None:
    images[[3, 7], 1, 2, 2] = torch.tensor([torch.nan, torch.inf], dtype=torch.float64)
    with pytest.raises(UserError, match=r"block 'relu2' for image\(s\) 3, 7 of the batch"):
        Encoder(network, ["relu2", "relu3"]).maps(images)


def test_the_network_is_left_as_it_was(network: nn.Module, images: Tensor) -> None:
    network.train()
    network.conv1.weight.requires_grad_(False)
    network.pool2.eval()
    network.classifier.bias.grad = torch.ones(3, dtype=torch.float64)
    seen: list[object] = []
    network.relu2.register_forward_hook(lambda *call: seen.append(call))
    before = state(network)
    encoder = Encoder(network, ["relu2", "relu3"])
    encoder.embeddings(images)
    with pytest.raises(UserError, match="NaN"):
        encoder.maps(images * torch.nan)
    assert state(network) == before and not seen


def test_under_autocast_maps_and_logits_are_in_the_weights_precision(network: nn.Module, images: Tensor) -> None:
    network, images = network.float(), images.float()
    encoder = Encoder(network, ["relu1", "relu3"])
    exact = encoder.maps(images)
    with torch.autocast("cpu", torch.bfloat16):
        maps = encoder.maps(images)
        embeddings = encoder.embeddings(images)
        logits = encoder.logits(embeddings)
    assert {maps[0].dtype, maps[1].dtype, embeddings.dtype, logits.dtype} == {torch.float32}
    assert not torch.equal(maps[1], exact[1])  # the network ran in bfloat16
    torch.testing.assert_close(maps[1], exact[1], rtol=0.1, atol=0.02)
    assert torch.equal(logits, embeddings @ encoder.columns.T + encoder.bias)  # what follows did not
