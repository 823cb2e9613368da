"""The small VGG-16 is torchvision's where it says so, and its head is one that is not linear."""

from pathlib import Path

import pytest
import torch
import torchvision

from xcnn.errors import Missing, UserError
from xcnn.models import save_weights, small_vgg16, split_at, vgg16_for
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


@pytest.mark.parametrize(("width", "shapes"), [(None, [(5, 512)]), (8, [(8, 25088), (8, 8), (5, 8)])])
def test_vgg16_with_another_classifier(tmp_path: Path, width: int | None, shapes: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    network = vgg16_for(5, width)
    with torch.device("meta"):
        theirs = torchvision.models.vgg16()
    ours = {name: tuple(tensor.shape) for name, tensor in network.features.state_dict().items()}
    assert ours == {name: tuple(tensor.shape) for name, tensor in theirs.features.state_dict().items()}
    linear = [module for module in network.classifier if isinstance(module, torch.nn.Linear)]
    assert [tuple(module.weight.shape) for module in linear] == shapes

    save_weights(torch.nn.ModuleDict({"features": network.features}), tmp_path / "features.safetensors")
    save_weights(network, tmp_path / "whole.safetensors")
    torch.manual_seed(1)
    part = vgg16_for(5, width, weights=tmp_path / "features.safetensors", holds="features")
    whole = vgg16_for(5, width, weights=tmp_path / "whole.safetensors")
    for name, tensor in network.state_dict().items():
        assert torch.equal(whole.state_dict()[name], tensor)
        is_convolution, is_weight = name.startswith("features."), name.endswith("weight")
        assert torch.equal(part.state_dict()[name], tensor) == (is_convolution or not is_weight)


def test_vgg16_refuses_the_other_kind_of_file(tmp_path: Path) -> None:
    network = vgg16_for(5, None)
    save_weights(network, tmp_path / "whole.safetensors")
    with pytest.raises(UserError, match=r"another network: classifier.0.bias is 5 in the file and absent"):
        vgg16_for(5, None, weights=tmp_path / "whole.safetensors", holds="features")
    with pytest.raises(UserError, match=r"another network: classifier.0.bias is 5 in the file and 8 in the network"):
        vgg16_for(5, 8, weights=tmp_path / "whole.safetensors")
    with pytest.raises(Missing, match="make weights-vgg16-features"):
        vgg16_for(5, weights=tmp_path / "vgg16_features.safetensors", holds="features")
    with pytest.raises(UserError, match="'network' or 'features', not 'head'"):
        vgg16_for(5, None, holds="head")  # type: ignore[arg-type]
