"""What fine-tuning starts from: given weights, a new classifier, and BatchNorm that does the same in both modes."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from xcnn.errors import UserError
from xcnn.models import backbone, fine_tuned, recalibrate_batch_norm, save_weights
from xcnn.models.fine_tuned import statistics_folded

NAME = "shufflenet_v2_x0_5"  # small, and with a linear layer at the end


@pytest.fixture
def network() -> nn.Module:
    """As from a file whose BatchNorm statistics were folded into the weights."""
    torch.manual_seed(0)
    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3).double()
    with torch.no_grad():
        for norm in norms(network):
            norm.weight.uniform_(0.5, 3)
            norm.bias.normal_(0, 0.5)
    return network


@pytest.fixture
def images() -> Tensor:
    return torch.rand(12, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def logits(network: nn.Module, images: Tensor, training: bool = False) -> Tensor:
    """The network's, and its mode and buffers as before."""
    kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
    modes = [module.training for module in network.modules()]
    found = network.train(training)(images)
    for module, mode in zip(network.modules(), modes, strict=True):
        module.training = mode
    for name, buffer in network.named_buffers():
        buffer.copy_(kept[name])
    return found


def test_all_weights_but_the_classifiers_are_the_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = backbone(NAME)
    save_weights(source, tmp_path / "w.safetensors")
    network = fine_tuned(NAME, 7, tmp_path / "w.safetensors")
    own, given = network.state_dict(), source.state_dict()
    assert given.keys() - own.keys() == {"fc.bias"}
    for name, tensor in own.items():
        assert torch.equal(tensor, given[name]) == (name != "fc.weight"), name
    assert isinstance(network.fc, nn.Linear) and network.fc.bias is None
    assert network.fc.weight.shape == (7, 1024) and network.fc.weight.requires_grad
    assert not any(module.training for module in network.modules())
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 7)


def test_from_scratch_the_generator_draws_all() -> None:
    torch.manual_seed(3)
    one = fine_tuned(NAME, 2).state_dict()
    torch.manual_seed(3)
    other = fine_tuned(NAME, 2).state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_networks_that_cannot_be_fine_tuned_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"squeezenet1_1 ends in 'classifier\.3', a AdaptiveAvgPool2d"):
        fine_tuned("squeezenet1_1", 2)
    with pytest.raises(UserError, match="unknown network 'resnet3'"):
        fine_tuned("resnet3", 2)
    save_weights(backbone(NAME, 5), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"fc\.bias is 5 in the file and 1000 in the network"):
        fine_tuned(NAME, 2, tmp_path / "w.safetensors")


@pytest.mark.parametrize("folded", [True, False])
def test_batch_norm_recalibrated_does_the_same_in_both_modes(network: nn.Module, images: Tensor, folded: bool) -> None:
    if not folded:
        for norm in norms(network):
            norm.running_mean.normal_(0, 0.3)
            norm.running_var.uniform_(0.5, 2)
    assert statistics_folded(network) == folded
    expected = logits(network, images)
    scale = expected.std(0).mean()
    assert (logits(network, images, training=True) - expected).abs().max() > 0.1 * scale  # what is to be mended
    elsewhere = torch.rand(5, 3, 40, 40, dtype=torch.float64)
    unseen = logits(network, elsewhere)
    recalibrate_batch_norm(network, images)
    assert not statistics_folded(network)
    torch.testing.assert_close(logits(network, images), expected, rtol=0, atol=1e-10 * scale.item())
    torch.testing.assert_close(logits(network, elsewhere), unseen, rtol=0, atol=1e-10 * unseen.std().item())
    # On these images a training step normalises by what the buffers hold.
    torch.testing.assert_close(logits(network, images, training=True), expected, rtol=0, atol=1e-8 * scale.item())


def test_buffers_are_the_statistics_of_each_layers_input(network: nn.Module, images: Tensor) -> None:
    recalibrate_batch_norm(network, images)
    seen: dict[nn.Module, Tensor] = {}
    for norm in norms(network):
        norm.register_forward_pre_hook(lambda norm, inputs: seen.update({norm: inputs[0].clone()}))
    logits(network, images)
    assert len(seen) == len(norms(network)) == 12
    for norm, values in seen.items():
        channels = values.transpose(0, 1).flatten(1)
        torch.testing.assert_close(norm.running_mean, channels.mean(1), rtol=1e-8, atol=1e-9)
        biased = (channels - channels.mean(1, keepdim=True)).square().mean(1)
        torch.testing.assert_close(norm.running_var, biased, rtol=1e-8, atol=1e-9)


def test_the_rest_of_the_network_is_left_as_it_was(network: nn.Module, images: Tensor) -> None:
    network.train()
    network.layer2.eval()
    network.bn1.weight.requires_grad_(False)
    modes = {name: module.training for name, module in network.named_modules()}
    untouched = {
        name: tensor.clone()
        for name, tensor in network.state_dict().items()
        if not isinstance(network.get_submodule(name.rpartition(".")[0]), nn.BatchNorm2d)
    }
    for batch in (images, images[:, :2]):  # the second fails within the network
        try:
            recalibrate_batch_norm(network, batch)
        except RuntimeError:
            assert batch.shape[1] == 2
        assert {name: module.training for name, module in network.named_modules()} == modes
        assert not any(module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in untouched.items())
    trainable = {name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None}
    assert trainable == {name for name, _ in network.named_parameters()} - {"bn1.weight"}


def test_statistics_are_folded_only_where_all_layers_say_so(network: nn.Module) -> None:
    assert statistics_folded(network)
    network.layer3[0].bn2.running_var[1] = 1.5
    assert not statistics_folded(network)
    assert not statistics_folded(nn.Sequential(nn.Linear(2, 2)))
    assert not statistics_folded(nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False)))
