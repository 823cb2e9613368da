"""Grad-CAM against captum's, and by hand."""

import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor

from tests.attribution.networks import LAYERS, assert_same, headed, network, pictures
from xcnn.attribution import GradCAM
from xcnn.models.split import Split

TARGETS = [3, 1]


@pytest.mark.parametrize(("name", "layer", "size"), LAYERS)
def test_captum(name: str, layer: str, size: tuple[int, int]) -> None:
    """For every class, because a small network has few locations that speak for one."""
    model, images, targets = network(name), pictures(2, *size).repeat(5, 1, 1, 1), list(range(10))
    oracle = LayerGradCam(model, model.get_submodule(layer)).attribute(images, targets, relu_attributions=True)
    assert_same(GradCAM(model, layer)(images, targets), oracle[:, 0].detach())


def test_by_hand() -> None:
    """On a pooled linear head alpha is the class's weight over the number of locations."""
    model, images = headed("gap, linear"), pictures(2, 4, 7)
    features, weight = model.features(images).detach(), model.only.weight.detach() / 28
    by_hand = torch.stack([(weight[t][:, None, None] * a).sum(0) for t, a in zip(TARGETS, features, strict=True)])
    maps = GradCAM(model, "features")(images, TARGETS)
    assert_same(maps, by_hand.clamp(min=0))
    assert (by_hand < 0).any() and (maps == 0).any()  # the ReLU had something to do


def test_one_pass_and_no_gradient_of_the_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[tuple[str, bool]] = []
    for name in ("trunk", "head"):
        run = getattr(Split, name)

        def counted(self: Split, values: Tensor, run=run, name=name) -> Tensor:  # type: ignore[no-untyped-def]
            passes.append((name, torch.is_grad_enabled()))
            return run(self, values)

        monkeypatch.setattr(Split, name, counted)
    GradCAM(headed("convolution, relu"), "features")(pictures(2, 4, 7))
    assert passes == [("trunk", False), ("head", True)]
