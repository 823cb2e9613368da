"""What surrogates see of images whose colours are known."""

import pytest
import torch

from tests.surrogates.networks import Known, images
from xcnn.errors import UserError
from xcnn.prototypes import KMEx
from xcnn.prototypes.encoder import Encoder
from xcnn.surrogates import LastFeatures, Pixels, PrototypeDistances, decisions


def test_features_are_means_of_the_layer_and_the_head_decides_on_them_as_the_network() -> None:
    subject, given = Known(), images(20)
    view = LastFeatures(subject, "features")
    rows = view(given)
    assert torch.allclose(rows, given.float().mean((2, 3)) / 255) and view.names == ("filter 0", "filter 1", "filter 2")
    assert torch.equal(view.decided(rows), given[:, :, 0, 0].argmax(1))
    assert torch.equal(decisions(subject, given), given[:, :, 0, 0].argmax(1))


def test_pixels_are_named_and_averaged() -> None:
    given = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4).to(torch.uint8)
    view = Pixels(Known(), side=2)
    rows = view(given)
    assert view.names[5] == "green at row 0, column 1" and len(view.names) == 12
    assert float(rows[1, 5]) * 255 == pytest.approx(float(given[1, 1, :2, 2:].float().mean()))
    assert Pixels(Known())(given[:, :1]).shape == (2, 16)
    with pytest.raises(UserError, match="side must be at least 1 pixel"):
        Pixels(Known(), side=0)
    with pytest.raises(UserError, match="call the view first"):
        _ = Pixels(Known()).names


def test_distances_are_to_the_prototypes_of_kmex() -> None:
    subject, given = Known(), images(60)
    encoder = Encoder(subject.network, ["features"], subject.prepare)
    method = KMEx(encoder, per_class=2).fit(given, given[:, :, 0, 0].argmax(1))
    subject.method = method
    view = PrototypeDistances(subject)
    assert view.names[:3] == ("distance to red 1", "distance to red 2", "distance to green 1")
    assert method.codebook is not None
    colours = given[:, :, 0, 0].float() / 255
    expected = torch.stack([(colours - each).norm(dim=1) for each in method.codebook.prototypes], 1)
    assert torch.allclose(view(given), expected, atol=1e-5)
    assert torch.equal(view(given).argmin(1) // 2, method.predict(given))
    with pytest.raises(UserError, match="choose prototypes=kmex"):
        PrototypeDistances(Known())
