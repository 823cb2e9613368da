"""Folded networks are the same function, with the same layers."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.weight_norm import WeightNorm

from xcnn.models import cuttable_layers, fold_batch_norm
from xcnn.models.fold import Folded


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "densenet121"])
def test_same_function(name: str) -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        network = torchvision.models.get_model(name, num_classes=5)
        if hasattr(network, "classifier") and name.startswith("vgg"):
            network.classifier = nn.Sequential(nn.Linear(25088, 5))
    network = network.to_empty(device="cpu").double().train()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1) if tensor.ndim == 1 else tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = fold_batch_norm(network)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected, found = network.eval()(images), folded(images)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    kinds = [type(module) for module in folded.modules()]
    normal = [type(module) for module in network.modules()].count(nn.BatchNorm2d)
    assert kinds.count(nn.BatchNorm2d) < 0.6 * normal  # DenseNet normalises before its convolutions, too
    assert cuttable_layers(folded) == cuttable_layers(network)


def test_what_is_not_to_be_folded() -> None:
    """A convolution whose output is used elsewhere, one that is used twice, and statistics of the batch."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            self.twice, self.other = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
            self.parametrised, self.behind = weight_norm(nn.Conv2d(3, 3, 1)), nn.BatchNorm2d(3)
            self.last, self.batch = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.conv(images)
            maps = self.norm(maps) + maps
            maps = self.other(self.twice(self.twice(maps)))
            maps = self.behind(self.parametrised(maps))
            return self.batch(self.last(maps))

    network = Network().eval()
    with torch.no_grad():
        for norm in (network.norm, network.other, network.behind):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
        images = torch.randn(2, 3, 4, 4)
        torch.testing.assert_close(fold_batch_norm(network)(images), network(images))
    assert [type(module) for module in fold_batch_norm(network).modules()].count(nn.BatchNorm2d) == 4


def test_for_many_passes() -> None:
    """The weights as they are at each call, by folded norms, and the first convolution apart."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), nn.Flatten()).double().eval()
    images, folded = torch.randn(2, 3, 4, 4, dtype=torch.float64), Folded(network)
    for scale in (1.0, 3.0):
        with torch.no_grad():
            network[0].weight.fill_(scale)
            network[1].running_mean.fill_(scale)
            first, rest = folded()
            torch.testing.assert_close(rest(first(images)), network(images), rtol=1e-12, atol=1e-12)
        assert isinstance(first, nn.Conv2d)
        assert not any(isinstance(module, nn.BatchNorm2d | nn.Conv2d) for module in rest.modules())
    assert isinstance(network[0], nn.Conv2d)
    assert isinstance(network[1], nn.BatchNorm2d)


class Beside(nn.Sequential):
    """Uses the images beside its first convolution as well."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + images.mean()


class Twice(nn.Sequential):
    """Its first convolution is called twice."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(self[0](images))


class Untraceable(nn.Sequential):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images if images.sum() > 0 else -images)


def test_what_is_run_as_it_is() -> None:
    """Where nothing can be folded or taken apart, and where bfloat16 would round."""
    hooked, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
    with pytest.warns(FutureWarning):
        WeightNorm.apply(hooked, "weight", 0)  # forms the weight anew before each call
    networks = [nn.Sequential(hooked, norm), nn.Sequential(norm), nn.Sequential(nn.Conv2d(3, 3, 1), norm).bfloat16()]
    networks += [kind(nn.Conv2d(3, 3, 1)) for kind in (Beside, Twice, Untraceable)]
    for network in networks:
        first, rest = Folded(network.eval())()
        assert isinstance(first, nn.Identity)
        assert rest is network
    norm.eval()
    first, rest = Folded(Beside(nn.Conv2d(3, 3, 1), norm).eval())()
    assert isinstance(first, nn.Identity)
    assert isinstance(rest[1], nn.Identity)  # what can be folded still is
