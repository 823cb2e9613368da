"""Theorem 1: the classifier's columns are prototypes whose similarities average to the logits."""

import torch
from torch import Tensor, nn

from xcnn.prototypes import Columns, Encoder


def test_similarities_average_to_the_logits_and_the_columns_are_the_codebook(
    network: nn.Module, images: Tensor
) -> None:
    method = Columns(Encoder(network, ("relu3",), batch=5))
    with torch.no_grad():
        logits = network(images)
    similarities = method.similarities(images)
    assert similarities.shape[:2] == logits.shape and similarities.ndim == 4
    torch.testing.assert_close(similarities.mean((2, 3)) + method.encoder.bias, logits, rtol=0, atol=1e-12)
    assert torch.equal(method.predict(images), logits.argmax(1))
    classifier = list(network.modules())[-1]
    assert isinstance(classifier, nn.Linear)
    torch.testing.assert_close(method.codebook.prototypes, classifier.weight.detach(), rtol=0, atol=1e-12)
    assert method.codebook.class_of.tolist() == list(range(len(logits[0])))


def test_autocast_reaches_the_network_only(network: nn.Module, images: Tensor) -> None:
    network = network.float()
    method = Columns(Encoder(network, ("relu3",)))
    with torch.autocast("cpu", torch.bfloat16):
        similarities, maps = method.similarities(images.float()), method.encoder.maps(images.float())[-1]
    assert similarities.dtype == torch.float32
    expected = torch.einsum("ndhw,cd->nchw", maps.double(), method.encoder.columns.double())
    torch.testing.assert_close(similarities.double(), expected, rtol=0, atol=1e-6)
