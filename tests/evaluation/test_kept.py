"""What cells share of a batch is made once for each network, input and setting, and comes back bit for bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from xcnn.evaluation.kept import kept
from xcnn.evaluation.subject import Subject
from xcnn.models import conv3


@pytest.fixture
def subject() -> Subject:
    return Subject(conv3(2).eval(), None, torch.nn.Identity(), None)  # type: ignore[arg-type]


def test_made_once_for_each_network_input_and_setting(subject: Subject, tmp_path: Path) -> None:
    made = []

    def make() -> dict[str, Tensor]:
        made.append(len(made))
        return {"maps": torch.arange(6.0).view(2, 3).t() / 7, "turned": torch.tensor([True, False])}

    inputs = torch.rand(2, 3, 8, 8)
    first = kept(tmp_path, {"steps": 1}, subject, inputs, make)
    again = kept(tmp_path, {"steps": 1}, subject, inputs.contiguous(memory_format=torch.channels_last), make)
    assert made == [0]
    for name, each in first.items():
        assert torch.equal(each, again[name]) and each.dtype == again[name].dtype
    kept(tmp_path, {"steps": 2}, subject, inputs, make)
    kept(tmp_path, {"steps": 1}, subject, inputs + 1e-6, make)
    kept(tmp_path, {"steps": 1}, replace(subject, precision="bf16-mixed"), inputs, make)
    kept(tmp_path, {"steps": 1}, replace(subject, network=conv3(3).eval()), inputs, make)
    assert made == [0, 1, 2, 3, 4]


def test_a_killed_make_leaves_nothing_behind(subject: Subject, tmp_path: Path) -> None:
    def killed() -> dict[str, Tensor]:
        raise KeyboardInterrupt

    inputs = torch.rand(1, 3, 8, 8)
    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path, {}, subject, inputs, killed)
    assert kept(tmp_path, {}, subject, inputs, lambda: {"a": torch.ones(1)})["a"] == 1
