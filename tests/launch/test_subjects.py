"""The parts of a cell: options that a method has not; a network whose classifier alone is trained."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from xcnn.errors import UserError
from xcnn.evaluation.subject import Subject
from xcnn.launch import Setup
from xcnn.launch.compose import compose
from xcnn.models.weights import weights_hash
from xcnn.surrogates import decisions


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            {"layer": "relu3"},
            r"LRP has no layer: it explains the input, not the features at a layer\. It has composite",
        ),
        ({"gamma": 1}, r"LRP has no gamma\. It has composite, bias, low, high, chunk"),
    ],
)
def test_an_option_that_the_method_has_not(option: dict[str, object], message: str) -> None:
    target = {"_target_": "xcnn.attribution.lrp.LRP", "_partial_": True}
    setup = Setup(OmegaConf.create({"attribution": {**target, **option}}))
    with pytest.raises(UserError, match=message):
        setup.attribution(Subject(nn.Identity(), None, nn.Identity(), None))  # type: ignore[arg-type]


def test_a_head_is_trained_on_the_features_of_a_trunk_that_keeps_its_weights(tmp_path: Path) -> None:
    choices = [
        "recipe=shapes",
        "training=head",
        "training.optimizer.lr=0.02",
        "training.max_epochs=4",
        "training.frozen.layer=relu2",
        "seed=3",
    ]
    sizes = ["data.n_train=400", "data.n_test=100", "data.val_share=0.1", "training.frozen.pooled=false"]
    places = [f"paths.runs={tmp_path}"]
    setup = Setup(compose("visual_revelations/surrogates", [*choices, *sizes, *places]))
    subject = setup.trained()
    torch.manual_seed(3)
    before, after = setup.model().state_dict(), subject.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"conv3.weight", "conv3.bias", "classifier.weight", "classifier.bias"}
    assert subject.training is not None
    held_out = subject.data.val
    right = (decisions(subject, held_out.images) == held_out.labels).double().mean()
    assert float(right) == pytest.approx(subject.training["selected"]["value"])  # on images as on features
    assert subject.weights == weights_hash(subject.network)
    again = Setup(compose("visual_revelations/surrogates", [*choices, *sizes, *places])).trained()
    assert again.weights == subject.weights and again.training == subject.training
    # Another seed's trunk has other features.
    Setup(compose("visual_revelations/surrogates", [*choices, *sizes, *places, "seed=4"])).trained()
    assert len(list((tmp_path / "features").glob("shapes-*-relu2/train/features.bin"))) == 2


@pytest.mark.parametrize(
    ("choice", "remedy"),
    [
        ("penalty=literal", "takes no penalty: penalty=none"),
        ("+training.augment={_target_: xcnn.training.ResizedCrop}", "takes no augment: training.augment=null"),
    ],
)
def test_what_needs_the_images_is_refused_where_only_the_head_is_trained(choice: str, remedy: str) -> None:
    setup = Setup(compose("visual_revelations/surrogates", ["recipe=shapes", "training=head", choice]))
    with pytest.raises(UserError, match=remedy):
        setup.trained()
