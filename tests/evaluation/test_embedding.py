"""Prototypes of some classes among these classes' embeddings."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from xcnn.data import Shapes
from xcnn.errors import UserError
from xcnn.evaluation.embedding import class_marks, class_places, group_embeddings
from xcnn.evaluation.subject import Subject
from xcnn.models import conv3
from xcnn.prototypes import Columns, Encoder, KMEx


def test_marks_are_of_the_chosen_classes_and_columns_get_their_class_s_norm() -> None:
    torch.manual_seed(0)
    data = Shapes(n_train=60, n_test=30)
    data.setup()
    subject = Subject(conv3(10).eval(), data, nn.Identity(), "w")
    encoder = Encoder(subject.network, ("relu3",), subject.prepare)
    method = KMEx(encoder, per_class=2).fit(data.train.images, data.train.labels)
    network, kmex, chosen = (
        replace(subject, method=Columns(encoder)),
        replace(subject, method=method),
        torch.tensor([2, 5]),
    )
    parts = group_embeddings(network, chosen, None, 0)
    z, labels = parts["train"]
    places = torch.isin(data.train.labels, chosen)
    assert torch.equal(labels, (data.train.labels[places] == 5).long())
    torch.testing.assert_close(z, encoder.embeddings(data.train.images[places]))
    assert len(group_embeddings(network, chosen, 4, 0)["train"][0]) == 4
    marks = class_marks(network, kmex, chosen, z, labels)
    torch.testing.assert_close(marks["columns"][0], encoder.columns[chosen])
    rescaled = marks["columns, rescaled"][0]
    torch.testing.assert_close(rescaled[1].norm(), z[labels == 1].norm(dim=1).mean())
    assert torch.cosine_similarity(rescaled, encoder.columns[chosen]).allclose(torch.ones(2))
    points, classes = marks["KMEx"]
    assert classes.tolist() == [0, 0, 1, 1] and torch.equal(points, method.codebook.prototypes[[4, 5, 10, 11]])  # type: ignore[union-attr]


def test_places_of_named_classes() -> None:
    data = Shapes(n_train=10, n_test=10)
    data.setup()
    assert class_places(data, [data.classes[4], data.classes[2]]).tolist() == [2, 4]
    assert class_places(data, None).tolist() == list(range(len(data.classes)))
    with pytest.raises(UserError, match="shapes has no class 'zebra'; there are: house"):
        class_places(data, ["car", "zebra"])
