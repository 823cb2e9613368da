"""ProtoPNet's distances, similarities and logits are the formulas; it works on the networks that the papers use."""

import math
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from xcnn.errors import UserError
from xcnn.models import backbone, conv3, load_weights, save_weights, small_vgg16
from xcnn.models.protopnet import ProtoPNet


def tiny(**options: int) -> ProtoPNet:
    """Float64, 2 maps of 3 x 3 from images of 6 x 6; 2 classes with 2 prototypes each, 3 channels."""
    torch.manual_seed(1)
    layers = OrderedDict(conv=nn.Conv2d(1, 2, 1), norm=nn.BatchNorm2d(2), pool=nn.AvgPool2d(2), out=nn.Flatten())
    sizes = {"n_classes": 2, "per_class": 2, "channels": 3, **options}
    return ProtoPNet(nn.Sequential(layers).double(), "pool", **sizes).double()


def test_logits_are_the_formulas() -> None:
    network = tiny().eval()
    images = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    maps = nn.functional.avg_pool2d(network.features.get_submodule("conv")(images) / math.sqrt(1 + 1e-5), 2)
    weights = [(layer.weight[:, :, 0, 0], layer.bias) for layer in (network.add_on[0], network.add_on[2])]
    expected = torch.zeros(2, 2, dtype=torch.float64)
    for i in range(2):
        for j in range(4):
            nearest = math.inf
            for y in range(3):
                for x in range(3):
                    hidden = (weights[0][0] @ maps[i, :, y, x] + weights[0][1]).clamp(min=0)
                    z = 1 / (1 + torch.exp(-(weights[1][0] @ hidden + weights[1][1])))
                    nearest = min(nearest, sum((z - network.prototypes[j, :, 0, 0]) ** 2).item())
            similarity = math.log((nearest + 1) / (nearest + 1e-4))
            for k in range(2):
                expected[i, k] += similarity * (1 if j // 2 == k else -0.5)
    torch.testing.assert_close(network(images), expected, atol=1e-12, rtol=0)


def test_logits_of_known_distances() -> None:
    # d = 0: log(10^4); d = 1: log(2 / 1.0001). Class 0 owns the first two prototypes.
    near, far = math.log(1e4), math.log(2 / 1.0001)
    logits = tiny().logits(torch.tensor([[0.0, 1, 1, 1]], dtype=torch.float64))
    expected = torch.tensor([[near + far - far, 2 * far - (near + far) / 2]], dtype=torch.float64)
    torch.testing.assert_close(logits, expected, atol=1e-12, rtol=0)


def test_distances_are_those_of_cdist_and_never_negative() -> None:
    network = tiny()
    latent = torch.rand(4, 3, 2, 5, dtype=torch.float64)
    rows = latent.permute(0, 2, 3, 1).reshape(-1, 3)
    expected = torch.cdist(rows, network.prototypes.flatten(1)).square().reshape(4, 2, 5, 4).permute(0, 3, 1, 2)
    torch.testing.assert_close(network.distances(latent), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(expected.flatten(2).amin(2), network.distances(latent).flatten(2).amin(2))
    wide = tiny(channels=128, per_class=64).float()
    for low, bound in ((0, 2e-5), (0.8, 1e-6)):  # far below the 1e-4 of the similarity
        wide.prototypes.data.uniform_(low, 1)
        latent = wide.prototypes.detach().flatten(1).T.reshape(1, 128, 8, 16)  # each location is a prototype
        distances = wide.distances(latent).flatten(2)[0]
        assert distances.min() == 0
        assert distances.diagonal().max() < bound


def test_under_autocast_distances_and_logits_are_float32() -> None:
    network = tiny().float()
    latent = torch.rand(1, 3, 2, 2).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        distances = network.distances(latent)
        logits = network.logits(distances.flatten(2).amin(2))
        assert network(torch.rand(1, 1, 6, 6)).dtype == torch.float32
    assert distances.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(distances, network.distances(latent.float()))


def test_prototypes_are_class_major_and_weights_those_of_the_paper() -> None:
    network = tiny(n_classes=3)
    assert network.class_of.tolist() == [0, 0, 1, 1, 2, 2]
    assert network.last.weight[1].tolist() == [-0.5, -0.5, 1, 1, -0.5, -0.5]
    assert network.last.bias is None
    assert network.source.tolist() == [[-1] * 3] * 6
    assert 0 <= network.prototypes.min() < 0.3 < 0.7 < network.prototypes.max() < 1
    torch.manual_seed(0)
    convolution = tiny(channels=2048).add_on[0]
    assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / 2048), rel=0.1)  # kaiming, fan-out
    assert not convolution.bias.any()


def test_saved_with_the_sources(tmp_path: Path) -> None:
    network, other = tiny(), tiny()
    network.source.copy_(torch.arange(12).view(4, 3))
    with torch.no_grad():
        network.prototypes.fill_(0.25)
    save_weights(network, tmp_path / "network.safetensors")
    load_weights(other, tmp_path / "network.safetensors")
    assert other.source.tolist() == network.source.tolist()
    assert other.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize(
    ("name", "layer", "n_maps"),
    [
        ("conv3", "relu3", 128),
        ("resnet18", "layer4", 512),
        ("small_vgg16", "features.42", 512),
        ("timm/resnet10t", "layer4", 512),
    ],
)
def test_takes_the_backbone_as_far_as_the_layer(name: str, layer: str, n_maps: int) -> None:
    torch.manual_seed(0)
    own = {"conv3": conv3, "small_vgg16": small_vgg16}
    whole = own[name](2).eval() if name in own else backbone(name, n_classes=2)
    before = {key: tensor.clone() for key, tensor in whole.state_dict().items()}
    network = ProtoPNet(whole, layer, n_classes=2, per_class=1).eval()
    assert not whole.training and all(torch.equal(before[key], tensor) for key, tensor in whole.state_dict().items())
    assert network.add_on[0].in_channels == n_maps
    maps = []
    hook = whole.get_submodule(layer).register_forward_hook(lambda module, args, output: maps.append(output))
    images = torch.rand(2, 3, 32, 32)
    whole(images)
    hook.remove()
    assert torch.equal(network.features(images)["maps"], maps[0])
    parameters = {id(parameter) for parameter in whole.parameters()}
    assert all(id(parameter) in parameters for parameter in network.features.parameters())
    for training in (True, False):  # its BatchNorm follows the mode
        network.train(training)
        norms = [norm for norm in network.features.modules() if isinstance(norm, nn.BatchNorm2d)]
        assert all(norm.training == training for norm in norms) and (norms or name == "conv3")


def test_refuses() -> None:
    with pytest.raises(UserError, match=r"no layer 'relu4'.*relu3"):
        ProtoPNet(conv3(2), "relu4", 2, 1)
    with pytest.raises(UserError, match="does not give maps"):
        ProtoPNet(conv3(2), "flatten", 2, 1)
    with pytest.raises(UserError, match="n_classes=1"):
        ProtoPNet(conv3(2), "relu3", 1, 1)
