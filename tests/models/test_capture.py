"""Watching layers during forward passes."""

import pytest
import torch

from xcnn.errors import UserError
from xcnn.models import capture, conv3, split_at


def _hooks(model: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_outputs_in_forward_order_with_their_graph() -> None:
    model, images = conv3(), torch.rand(2, 3, 8, 8)
    with capture(model, ["relu3", "relu1"]) as outputs:
        assert not outputs
        model(images).sum().backward()
        assert list(outputs) == ["relu1", "relu3"]
        first = outputs["relu1"]
        model(images + 1)
        assert list(outputs) == ["relu1", "relu3"] and outputs["relu1"] is not first
    torch.testing.assert_close(first, split_at(model, "relu1").trunk(images))
    (gradient,) = torch.autograd.grad(outputs["relu3"].sum(), model.conv1.weight)
    assert gradient.abs().sum() > 0
    assert not _hooks(model) and model.training


def test_autocast_outputs_stay_in_bfloat16() -> None:
    model = conv3()
    with capture(model, ["relu2"]) as outputs, torch.autocast("cpu", torch.bfloat16):
        model(torch.rand(1, 3, 8, 8))
    assert outputs["relu2"].dtype == torch.bfloat16


def test_hooks_go_on_any_exit() -> None:
    model = conv3()
    with pytest.raises(ZeroDivisionError), capture(model, ["relu1"]):
        assert _hooks(model) == 1
        raise ZeroDivisionError
    assert not _hooks(model)
    with pytest.raises(UserError, match=r"no layer 'relu11'\. Layers: relu1, "), capture(model, ["relu1", "relu11"]):
        pass
    assert not _hooks(model)
