"""The pair of generators: one body or two, images of the classifier's size and range."""

import pytest
import torch
from torch.nn import functional

from xcnn.errors import UserError
from xcnn.models import GeneratorPair


def pair(**options: object) -> GeneratorPair:
    torch.manual_seed(0)
    return GeneratorPair(**{"widths": (4, 6, 8), **options}).eval()  # type: ignore[arg-type]


def test_images_of_the_same_size_within_the_bounds() -> None:
    generators = pair(low=[-2.0, -1.0, 0.0], high=[2.0, 3.0, 0.5])
    with torch.no_grad():
        for output in generators.outputs:
            output.weight.mul_(100)  # type: ignore[operator,union-attr]
        images = torch.randn(2, 3, 12, 8)
        similar, adversarial = generators(images)
    for each in (similar, adversarial):
        assert each.shape == images.shape
        assert (each >= generators.low).all() and (each <= generators.high).all()
        unit = generators.unit(each)
        assert unit.min() >= -1e-6 and unit.max() <= 1 + 1e-6
    assert not torch.equal(similar, adversarial)


def test_a_shared_body_is_counted_once() -> None:
    numbers = {shared: sum(p.numel() for p in pair(shared=shared).parameters()) for shared in (True, False)}
    outputs = 2 * (4 * 3 * 9 + 3)
    assert numbers[False] - outputs == 2 * (numbers[True] - outputs)


def test_separate_bodies_have_an_image_each() -> None:
    generators, images = pair(shared=False), torch.rand(1, 3, 8, 8)
    before = generators(images)
    with torch.no_grad():
        for parameter in generators.bodies[1].parameters():
            parameter.add_(0.1)
    after = generators(images)
    assert torch.equal(before[0], after[0]) and not torch.equal(before[1], after[1])


def test_the_u_net_by_hand() -> None:
    """With one width there is no pooling: two convolutions and an output block, written out."""
    generators = pair(widths=(4,), channels=1)
    images = torch.rand(2, 1, 5, 5)
    maps = images
    layers = list(generators.bodies[0].down[0])  # type: ignore[union-attr,index,arg-type]
    for convolution, norm in ((layers[0], layers[1]), (layers[4], layers[5])):
        maps = functional.conv2d(maps, convolution.weight, padding=1)
        maps = ((maps - norm.running_mean[:, None, None]) / (norm.running_var[:, None, None] + norm.eps).sqrt()).relu()
    expected = functional.conv2d(maps, generators.outputs[1].weight, generators.outputs[1].bias, padding=1).sigmoid()  # type: ignore[arg-type]
    torch.testing.assert_close(generators(images)[1], expected)


def test_skipped_maps_reach_the_output() -> None:
    """A change of one pixel is seen where it is, through the finest resolution."""
    generators = pair()
    images = torch.rand(1, 3, 16, 16)
    other = images.clone()
    other[..., 8, 8] += 0.5
    change = (generators(images)[0] - generators(other)[0]).abs().sum(1)[0]
    assert change.argmax() // 16 in (7, 8, 9) and change[0, 0] < change.max() / 5


def test_refusals() -> None:
    with pytest.raises(UserError, match="low below high"):
        pair(low=1.0, high=1.0)
    with pytest.raises(UserError, match="give widths"):
        pair(widths=())
    with pytest.raises(UserError, match="multiples of 4"):
        pair()(torch.rand(1, 3, 10, 12))
