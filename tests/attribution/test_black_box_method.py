"""What all methods that alter the image share: batches, chunks, precisions, refusals, and the user's network."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.attribution.backward.networks import images, small
from tests.attribution.networks import assert_same
from xcnn.attribution import LIME, RISE, BlackBoxMethod, MeaningfulPerturbation, Occlusion
from xcnn.errors import UserError

BRIEF = {"steps": 3, "cells": 4, "blur": 2.0, "spread": 1.0, "jitter": 2}
METHODS: dict[str, Callable[..., BlackBoxMethod]] = {
    "occlusion": lambda model, **options: Occlusion(model, 6, 4, **options),
    "rise": lambda model, **options: RISE(model, 20, 3, **options),
    "lime": lambda model, **options: LIME(model, 30, "slic", **options),
    "meaningful_perturbation": lambda model, **options: MeaningfulPerturbation(model, **BRIEF, **options),
}


@pytest.mark.parametrize("name", METHODS)
def test_calls(name: str) -> None:
    """Maps of the input's size; the same alone and in any chunk; the user's network and images left as they were."""
    model, x = small(), images(3)
    model.train()
    hook = model.stem.register_forward_hook(lambda *_: pytest.fail("a hook of the user's ran"))  # type: ignore[union-attr]
    weights, kept, random = {key: value.clone() for key, value in model.state_dict().items()}, x.clone(), torch.rand(1)
    state = torch.get_rng_state()
    method = METHODS[name](model)
    maps = method(x, [1, 2, 0])
    assert maps.shape == (3, 16, 16) and not maps.requires_grad and random.numel() == 1
    assert (maps.std((1, 2)) > 0).all() and (method(x, [2, 0, 1]) - maps).abs().max() > 0
    assert_same(METHODS[name](model, chunk=2)(x, [1, 2, 0]), maps, 1e-9)
    assert_same(method(x[1:2], 2), maps[1:2], 1e-9)
    explanation = method.explain(x)
    assert torch.equal(explanation.targets, method.logits(x).argmax(1)) and (explanation.ablations > 0).all()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert_same(method(x.clone(), [1, 2, 0]), maps, 1e-9)
    hook.remove()
    assert model.training and all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert torch.equal(x, kept) and torch.equal(torch.get_rng_state(), state)
    assert method(x[:0]).shape == (0, 16, 16)


@pytest.mark.parametrize("name", METHODS)
def test_float32(name: str) -> None:
    model, x = small(), images().float()
    exact = METHODS[name](model)(x.double(), [1, 2])
    found = METHODS[name](model.float())(x, [1, 2])
    assert found.dtype == torch.float32
    assert_same(found.double(), exact, 1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_refusals(name: str) -> None:
    model, x = small(), images()
    method = METHODS[name](model)
    with pytest.raises(UserError, match="target 5 is out of range: the network has classes 0 to 4"):
        method(x, 5)
    with pytest.raises(UserError, match=r"NaN or infinity in image\(s\) 1 of the batch"):
        method(x.index_fill(0, torch.tensor([1]), torch.nan), 1)
    with pytest.raises(UserError, match="pass a float tensor"):
        method(x[0], 1)
    with pytest.raises(UserError, match=r"images are torch.float32 .* weights torch.float64"):
        method(x.float())
    with pytest.raises(UserError, match="chunk must be at least 1, not 0"):
        METHODS[name](model, chunk=0)


def test_chunks_are_halved_where_memory_runs_out() -> None:
    sizes: list[int] = []

    class Small(nn.Module):
        limit = 3

        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            if len(x) > self.limit:
                raise torch.OutOfMemoryError
            return x.mean((2, 3))

    method = RISE(Small(), 8, chunk=8)
    rows = torch.arange(8.0)[:, None, None, None].expand(8, 2, 4, 4)
    found = method.altered(8, lambda part: rows[part], lambda logits, part: logits[:, 0])
    assert found.tolist() == list(range(8)) and sizes == [8, 4, 2, 2, 2, 2]
    method.network.limit = 0
    with pytest.raises(torch.OutOfMemoryError):
        method.altered(8, lambda part: rows[part], lambda logits, part: logits[:, 0])
