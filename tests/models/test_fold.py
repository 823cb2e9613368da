"""Folded networks are the same function, with the same layers."""

import pytest
import torch
import torchvision
from torch import nn

from xcnn.models import cuttable_layers, fold_batch_norm


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
            self.last, self.batch = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps = self.conv(images)
            maps = self.norm(maps) + maps
            maps = self.other(self.twice(self.twice(maps)))
            return self.batch(self.last(maps))

    network = Network().eval()
    with torch.no_grad():
        for norm in (network.norm, network.other):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
        images = torch.randn(2, 3, 4, 4)
        torch.testing.assert_close(fold_batch_norm(network)(images), network(images))
    assert [type(module) for module in fold_batch_norm(network).modules()].count(nn.BatchNorm2d) == 3
