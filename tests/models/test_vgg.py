"""The small VGG-16 is torchvision's where it says so, and its head is one that is not linear."""

from pathlib import Path

import pytest
import torch
import torchvision

from xcnn.errors import Missing
from xcnn.models import save_weights, small_vgg16, split_at
from xcnn.models.channelwise import channelwise_prefix


def test_features_are_torchvisions() -> None:
    network = small_vgg16(5, width=8)
    with torch.device("meta"):
        theirs = torchvision.models.vgg16_bn()
    ours = {name: tuple(tensor.shape) for name, tensor in network.features.state_dict().items()}
    assert ours == {name: tuple(tensor.shape) for name, tensor in theirs.features.state_dict().items()}
    for side in (32, 64):
        assert network(torch.rand(2, 3, side, side)).shape == (2, 5)


def test_head_enters_a_linear_layer() -> None:
    found = channelwise_prefix(split_at(small_vgg16(5, width=8), "features.42"))
    assert found is not None and found.linear is not None
    assert found.strides((4, 4)) == (2, 2)


def test_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = small_vgg16(5, width=8)
    save_weights(network, tmp_path / "mine.safetensors")
    again, images = small_vgg16(5, width=8, weights=tmp_path / "mine.safetensors"), torch.rand(1, 3, 32, 32)
    assert torch.equal(network(images), again(images))
    with pytest.raises(Missing, match="make weights-vgg16-animals"):
        small_vgg16(5, weights=tmp_path / "vgg16_animals.safetensors")
