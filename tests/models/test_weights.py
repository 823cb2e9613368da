"""Which weights a network has, by their hash."""

from pathlib import Path

import pytest
import torch
from torch import nn

from xcnn.fingerprint import file_hash
from xcnn.models import conv3, load_weights, save_weights, weights_hash, weights_provenance
from xcnn.report.provenance import UNKNOWN


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_the_hash_is_of_names_and_values_alone(network: nn.Module, tmp_path: Path) -> None:
    first = weights_hash(network)
    assert len(first) == 16 and int(first, 16) >= 0
    same = [network.train(), network.to(memory_format=torch.channels_last), network.requires_grad_(False)]
    assert {weights_hash(again) for again in same} == {first}
    save_weights(network, tmp_path / "w.safetensors")
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    assert weights_hash(other) != first
    load_weights(other, tmp_path / "w.safetensors")
    assert weights_hash(other) == first
    renamed = nn.Sequential(network[0], network[1], nn.Identity(), network[2], network[3])
    assert weights_hash(renamed) != first


@pytest.mark.parametrize("name", ["0.weight", "1.running_var", "1.num_batches_tracked", "3.bias"])
def test_every_tensor_counts(network: nn.Module, name: str) -> None:
    first = weights_hash(network)
    tensor = network.state_dict()[name]
    with torch.no_grad():
        tensor.view(-1)[-1] += 1
    assert weights_hash(network) != first


def test_bfloat16_is_hashed_as_it_is() -> None:
    torch.manual_seed(0)
    network = conv3(2)
    assert weights_hash(network.bfloat16()) == weights_hash(network) != weights_hash(network.float())


def test_provenance_stands_beside_the_file_or_is_said_to_be_unknown(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "resnet50.safetensors"
    save_weights(network, path)
    unknown = f"{UNKNOWN}, hash {file_hash(path)}"
    assert weights_provenance(path) == unknown
    path.with_suffix(".txt").write_text(" \n")
    assert weights_provenance(path) == unknown
    path.with_suffix(".md").write_text("product-quantised;\n70.8 % top-1\n")
    assert weights_provenance(str(path)) == "product-quantised, 70.8 % top-1"  # `;` parts a row's setting
    path.with_suffix(".txt").write_text("torchvision's IMAGENET1K_V1\n")
    assert weights_provenance(path) == "torchvision's IMAGENET1K_V1"
