"""DeconvNet against captum's Deconvolution, and without ReLUs."""

import pytest
from captum.attr import Deconvolution

from tests.attribution.backward.networks import Gated, Plain, images, small
from tests.attribution.networks import assert_same
from tests.attribution.test_guided_backprop import sequence
from xcnn.attribution import DeconvNet, Gradient
from xcnn.errors import UserError


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU")
def test_captum() -> None:
    model, x = sequence(), images()
    expected = Deconvolution(model).attribute(x.clone(), [1, 3])
    assert_same(DeconvNet(model).relevance(x, [1, 3]), expected)
    assert_same(DeconvNet(model)(x, [1, 3]), expected.abs().amax(1))


def test_the_gradient_without_relus() -> None:
    model, x = small(lambda: Plain(relu=False)), images()
    assert_same(DeconvNet(model).relevance(x, [1, 3]), Gradient(model).relevance(x, [1, 3]), 1e-12)


def test_other_activations() -> None:
    with pytest.raises(UserError, match="no rule for hardswish"):
        DeconvNet(small(Gated))
    assert DeconvNet(small(Gated), "all")(images()).abs().max() > 0
