"""The parts of a cell: options that a method has not."""

import pytest
from omegaconf import OmegaConf
from torch import nn

from xcnn.errors import UserError
from xcnn.evaluation.subject import Subject
from xcnn.launch import Setup


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
