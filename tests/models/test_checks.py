"""What is no network is refused with the remedy, by everything that takes one."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from xcnn.attribution import GradCAM
from xcnn.errors import UserError
from xcnn.models import conv3, cuttable_layers, fold_batch_norm, split_at
from xcnn.models.checks import check_model, first_weight, fitting_images


def compiled() -> nn.Module:
    return torch.compile(conv3())  # type: ignore[return-value]


def half_parallel() -> nn.Module:
    """As VGG's authors trained it: the convolutions alone in parallel."""
    return nn.Sequential(nn.DataParallel(conv3()[:-1]), nn.Linear(128, 10))


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return conv3()


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "None": (lambda: None, "the model is None; pass a torch.nn.Module"),
    "a number": (lambda: 3.5, "the model is 3.5; pass a torch.nn.Module"),
    "a class": (lambda: nn.Sequential, r"the model is the class Sequential; pass an instance of it: Sequential\(...\)"),
    "a function": (lambda: conv3, r"the model is the function conv3; pass a torch.nn.Module: what conv3\(\) returns"),
    "a partial": (lambda: partial(conv3, 5), "the model is the function partial; pass a torch.nn.Module"),
    "on meta": (on_meta, r"weights of Sequential are on the meta device.* model.to_empty\(device=...\)"),
    "parallel": (lambda: nn.DataParallel(conv3()), "the model is wrapped in DataParallel; .*: model.module"),
    "half parallel": (half_parallel, "layer '0' is wrapped in DataParallel; pass the module inside: model.0.module"),
    "compiled": (compiled, "the model is compiled by torch.compile; pass the module inside: model._orig_mod"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refusals(name: str) -> None:
    build, message = WRONG[name]
    model = build()
    for call in (check_model, cuttable_layers, fold_batch_norm, partial(split_at, layer="relu3")):
        with pytest.raises(UserError, match=message):
            call(model)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        GradCAM(model, "relu3")  # type: ignore[arg-type]


def test_the_remedies_work() -> None:
    images = torch.rand(1, 3, 8, 8)
    for model in (nn.DataParallel(conv3()).module, compiled()._orig_mod, on_meta().to_empty(device="cpu")):
        check_model(model)
    model = conv3().bfloat16()
    with pytest.raises(UserError, match=r"torch.float32 on cpu and the weights torch.bfloat16 on cpu; pass images.to"):
        split_at(model, "relu3").trunk(images)
    assert split_at(model, "relu3").trunk(images.to("cpu", torch.bfloat16)).dtype == torch.bfloat16
    model.compile()  # in place, and undone by nothing: its forward is the same
    assert split_at(model, "relu3").trunk(images.bfloat16()).dtype == torch.bfloat16


def test_other_errors_of_a_pass_are_left_as_they_are() -> None:
    network, images = conv3(), torch.rand(1, 3, 8, 8)
    with pytest.raises(RuntimeError, match="channels") as caught, fitting_images(images, network):
        network(images[:, :1])
    assert not isinstance(caught.value, UserError)
    with pytest.raises(torch.OutOfMemoryError), fitting_images(images.double(), network):
        raise torch.OutOfMemoryError
    with pytest.raises(RuntimeError, match="other"), fitting_images(images, nn.ReLU()):
        raise RuntimeError("other")
    assert first_weight(nn.ReLU()) is None and first_weight(network) is not None


def test_a_network_that_casts_by_itself_is_run() -> None:
    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = conv3().bfloat16()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.inner(images.bfloat16())

    assert split_at(Casts(), "inner.relu3").trunk(torch.rand(1, 3, 8, 8)).dtype == torch.bfloat16
