"""Concept vectors and scores against captum, scikit-learn on whole features, finite differences and by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.concept import TCAV, Classifier, Concept
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.utils.data import DataLoader

from xcnn.errors import UserError
from xcnn.models import conv3, split_at
from xcnn.surrogates import concept_vector, gradients, inner_products, tcav_scores
from xcnn.surrogates.tcav import Kind, coefficients

KINDS: tuple[Kind, ...] = ("logistic", "mean_difference")


def images(n: int, seed: int) -> Tensor:
    return torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


class Vectors(Classifier):
    """Our vectors in the place of captum's classifier: its scores are then of the same vectors."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def train_and_eval(self, dataloader: DataLoader, **kwargs: Any) -> dict[str, Any]:
        rows, labels = (torch.cat(part) for part in zip(*dataloader, strict=True))
        first, second = (rows[labels == label] for label in labels.unique())
        vector = concept_vector(first, second, self.kind)
        self._found, self._classes = torch.stack([vector, -vector]), labels.unique().tolist()
        return {"accs": 1.0}

    def weights(self) -> Tensor:
        return self._found

    def classes(self) -> list[int]:
        return self._classes


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_captums_on_the_same_vectors(kind: Kind, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = conv3().eval()
    of_concept, others, explained = images(6, 1), images(6, 2), images(15, 3)
    sets = [
        Concept(place, name, DataLoader(part, batch_size=3))  # type: ignore[arg-type]
        for place, (name, part) in enumerate((("concept", of_concept), ("others", others)))
    ]
    oracle = TCAV(network, ["relu2"], classifier=Vectors(kind), save_path=str(tmp_path))
    expected = oracle.interpret(explained, [sets], target=4)["0-1"]["relu2"]

    split = split_at(network, "relu2")
    with torch.no_grad():
        features = [split.trunk(part) for part in (of_concept, others, explained)]
    vector = concept_vector(features[0], features[1], kind)
    along = gradients(split, features[2], 4).flatten(1) @ vector
    assert 0 < float(tcav_scores(along)) < 1
    torch.testing.assert_close(tcav_scores(along).float(), expected["sign_count"][0], atol=1e-6, rtol=0)
    torch.testing.assert_close(along.mean(), expected["magnitude"][0], atol=1e-6, rtol=1e-6)


def test_logistic_vector_is_the_regression_on_whole_features() -> None:
    generator = torch.Generator().manual_seed(0)
    concept, others = (torch.randn(n, 200, generator=generator).double() + shift for n, shift in ((12, 0.3), (9, 0.0)))
    rows = torch.cat([concept, others]).numpy()
    scale = np.sqrt(((rows - rows.mean(0)) ** 2).sum(1).mean())
    model = LogisticRegression(C=0.7, tol=1e-10, max_iter=1000).fit(rows / scale, np.arange(21) < 12)
    found = concept_vector(concept, others, "logistic", c=0.7).numpy()
    np.testing.assert_allclose(found, model.coef_[0] / np.linalg.norm(model.coef_[0]), atol=1e-5)


def test_mean_difference_by_hand() -> None:
    concept, others = torch.tensor([[3.0, 1.0], [5.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, -4.0], [1.0, -2.0]])
    torch.testing.assert_close(concept_vector(concept, others, "mean_difference"), torch.tensor([3.0, 3.0]) / 18**0.5)


def test_gradients_are_the_logits_slope() -> None:
    torch.manual_seed(0)
    split = split_at(conv3().double().eval(), "conv2")
    with torch.no_grad():
        features = split.trunk(images(3, 0).double())
    step = torch.randn(features.shape, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        slope = (split.head(features + 1e-6 * step) - split.head(features - 1e-6 * step))[:, 7] / 2e-6
    found = (gradients(split, features, 7) * step).flatten(1).sum(1)
    torch.testing.assert_close(found, slope, atol=1e-7, rtol=1e-5)
    with pytest.raises(UserError, match="no class 10: the network has classes 0 to 9"):
        gradients(split, features, 10)


def test_before_global_pooling_and_a_linear_layer_every_score_is_0_or_1() -> None:
    torch.manual_seed(0)
    network = conv3().eval()
    scores = {}
    for layer in ("relu2", "relu3"):
        split = split_at(network, layer)
        with torch.no_grad():
            features, random = split.trunk(images(40, 0)), split.trunk(images(60, 1))
        slopes = gradients(split, features, 2).flatten(1)
        vectors = torch.stack([concept_vector(*random[6 * i : 6 * i + 6].chunk(2)) for i in range(10)])
        scores[layer] = tcav_scores(slopes @ vectors.T)
    assert ((scores["relu3"] == 0) | (scores["relu3"] == 1)).all()
    assert ((scores["relu2"] > 0) & (scores["relu2"] < 1)).any()


def test_inner_products_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xcnn.surrogates.tcav.BLOCK", 21)
    rows = images(7, 0).half()
    found = inner_products(rows.split(2), rows)
    flat = rows.double().flatten(1)
    np.testing.assert_allclose(found, (flat @ flat.T).numpy(), rtol=1e-6)


def test_refusals() -> None:
    gram = np.eye(4)
    with pytest.raises(UserError, match="at least two images on each side, not 1 and 3"):
        coefficients(gram, 1)
    with pytest.raises(UserError, match="unknown kind of concept vector 'svm'; there are: logistic"):
        coefficients(gram, 2, "svm")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="have the same features"):
        concept_vector(torch.ones(2, 3), torch.ones(2, 3))


def test_the_network_is_left_as_it_was() -> None:
    network = conv3().train()
    split = split_at(network, "relu2")
    gradients(split, split.trunk(images(2, 0)), 0)
    assert network.training and all(parameter.grad is None for parameter in network.parameters())
    assert isinstance(network.relu2, nn.ReLU) and not network.relu2._forward_hooks
