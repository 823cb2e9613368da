"""Training a soft tree: it learns what a tree can say, from labels and from distributions; resumed equal."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from xcnn.data.tensors import Labelled, TensorDataModule
from xcnn.errors import UserError
from xcnn.models.soft_tree import SoftDecisionTree
from xcnn.training import fit
from xcnn.training.soft_tree import SoftLabels, SoftTreeTraining


class Quadrants(TensorDataModule):
    """Images of two pixels, whose class says which of them are bright."""

    name = "quadrants"

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        generator = torch.Generator().manual_seed(0)
        bright = torch.randint(0, 2, (400, 2), generator=generator)
        images = (bright * 200 + torch.randint(0, 55, (400, 2), generator=generator)).to(torch.uint8)
        labels = bright[:, 0] * 2 + bright[:, 1]
        whole = Labelled(images.view(400, 1, 1, 2), labels)
        places = torch.arange(400)
        return whole.subset(places[:300]), whole.subset(places[300:]), ("00", "01", "10", "11")


def training(depth: int = 2) -> SoftTreeTraining:
    torch.manual_seed(3)
    return SoftTreeTraining(SoftDecisionTree((1, 1, 2), 4, depth), partial(torch.optim.Adam, lr=0.1))


def trained(data: TensorDataModule, folder: Path, epochs: int = 12, module: SoftTreeTraining | None = None) -> Tensor:
    module = module or training()
    options: dict[str, Any] = {"settings": {}, "provenance": {}, "progress": False, "seed": 0, "accelerator": "cpu"}
    fit(module, data, folder, max_epochs=epochs, **options)
    test = data.test
    return (module.network(test.images.float() / 255).argmax(1) == test.labels).double().mean()


def test_it_learns_from_labels_and_from_distributions(tmp_path: Path) -> None:
    data = Quadrants(batch_size=50)
    data.setup()
    assert trained(data, tmp_path / "hard") == 1
    soft = SoftLabels(data, 0.9 * torch.eye(4)[data.train.labels] + 0.025)
    soft.setup()
    module = training()
    assert trained(soft, tmp_path / "soft", module=module) == 1
    # What a leaf says is what it was told, and not more.
    said = module.network.averaged(data.test.images.float() / 255).amax(1).detach()
    assert float(said.min()) > 0.7 and float(said.max()) < 0.95


def test_a_training_that_was_cut_off_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Quadrants(batch_size=50)
    data.setup()
    whole, cut = training(), training()
    trained(data, tmp_path / "whole", 4, whole)

    class Killed(BaseException): ...

    step = SoftTreeTraining.training_step

    def killed(self: SoftTreeTraining, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        if self.current_epoch == 2 and batch_idx == 1:
            raise Killed
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(SoftTreeTraining, "training_step", killed)
        trained(data, tmp_path / "cut", 4, cut)
    again = training()
    trained(data, tmp_path / "cut", 4, again)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


def test_distributions_that_do_not_fit(tmp_path: Path) -> None:
    data = Quadrants(batch_size=50)
    with pytest.raises(UserError, match=r"probabilities \(4, 4\) for 300 training images and 4 classes"):
        SoftLabels(data, torch.eye(4)).setup()
    soft = SoftLabels(data, torch.full((300, 4), 0.25))
    soft.setup()
    module = SoftTreeTraining(SoftDecisionTree((1, 1, 2), 3, 1), partial(torch.optim.Adam, lr=0.1))
    with pytest.raises(UserError, match="have 4 classes, and the tree 3"):
        module.check(soft, 1)
