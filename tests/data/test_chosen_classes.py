"""Problems of few classes keep their images, and say what they are."""

from functools import partial

import pytest
import torch

from xcnn.data import ChosenClasses, Shapes, ShapesPresence
from xcnn.data.shapes import CLASSES, draw
from xcnn.errors import UserError


def test_the_images_of_the_chosen_classes_in_their_order() -> None:
    data = ChosenClasses(partial(Shapes, n_train=40, n_test=20, draw_seed=0), ["truck", "car"], batch_size=4)
    data.setup()
    whole = draw(40, 32, 0, "train")
    assert data.classes == ("truck", "car") and data.name == "shapes, truck and car"
    of_label = [CLASSES.index("truck"), CLASSES.index("car")]
    places = torch.nonzero((whole.labels == of_label[0]) | (whole.labels == of_label[1])).flatten()
    assert torch.equal(data.train.images, whole.images[places])
    assert torch.equal(data.train.masks["object"], whole.masks["object"][places])
    assert torch.equal(torch.tensor(of_label)[data.train.labels], whole.labels[places])
    assert len(data.test) == 4


def test_half_of_the_scenes_have_no_object() -> None:
    data = ShapesPresence(n_train=40, n_test=20, draw_seed=0)
    data.setup()
    assert data.classes == ("no object", "object") and data.train.labels.float().mean() == 0.5
    present = data.train.labels == 1
    assert torch.equal(data.train.images[present], draw(40, 32, 0, "train").images[present])
    assert torch.equal(data.train.images[~present], draw(40, 32, 0, "train", objects=False).images[~present])
    assert data.train.masks["object"].flatten(1).any(1).equal(present)
    assert torch.equal(present[:20], torch.arange(20) < 10)  # every class of object is among both


def test_refusals() -> None:
    for labels in (["car"], ["car", "car"]):
        with pytest.raises(UserError, match="at least two classes, each once"):
            ChosenClasses(Shapes, labels)
    with pytest.raises(UserError, match="shapes has no class bus; there are: house"):
        ChosenClasses(partial(Shapes, n_train=10, n_test=10), ["car", "bus"]).setup()
