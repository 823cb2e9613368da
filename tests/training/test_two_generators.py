"""The generators' loss by hand; a frozen classifier; killed and resumed equals uninterrupted; they learn to turn."""

import functools
import importlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.training.test_fit import Bars, _Kill
from xcnn.errors import Diverged, UserError
from xcnn.models import GeneratorPair
from xcnn.training import GeneratorTraining, fit, load_weights
from xcnn.training.two_generators import distance, generator_terms, other_class

fit_module = importlib.import_module("xcnn.training.fit")  # the package shows the function under this name


class Brightness(nn.Module):
    """Two or three classes by the mean of the image: logits 0, 4 (mean - 1/2), and -10 for the third."""

    def __init__(self, classes: int = 2):
        super().__init__()
        self.classes, self.slope = classes, nn.Parameter(torch.tensor(4.0))

    def forward(self, images: Tensor) -> Tensor:
        score = self.slope * (images.mean((1, 2, 3)) - 0.5)
        columns = [torch.zeros_like(score), score, torch.full_like(score, -10.0)]
        return torch.stack(columns[: self.classes], 1)


class Fixed(GeneratorPair):
    """Generates x + 0.1 and 1 - x."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images + 0.1, 1 - images


def pair(shared: bool = True) -> GeneratorPair:
    torch.manual_seed(0)
    return GeneratorPair(widths=(4, 8), shared=shared)


def module(lr: float = 1e-3, **options: Any) -> GeneratorTraining:
    return GeneratorTraining(
        options.pop("network", None) or pair(), Brightness(), functools.partial(torch.optim.Adam, lr=lr), **options
    )


def run(folder: Path, epochs: int, trained: GeneratorTraining) -> dict[str, Any]:
    data = Bars(batch_size=16, seed=0)
    data.setup()
    return fit(trained, data, folder, settings={}, provenance={}, max_epochs=epochs, seed=0, accelerator="cpu",
               progress=False)  # fmt: skip


def state(trained: GeneratorTraining) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trained.network.state_dict().items()}


def test_the_terms_by_hand() -> None:
    images = torch.cat([torch.full((1, 3, 4, 4), 0.7), torch.full((1, 3, 4, 4), 0.25)])
    terms = generator_terms(Fixed(widths=(4,)), Brightness(), images)

    def of_class(brightness: float, label: int) -> float:
        one = 1 / (1 + math.exp(-4 * (brightness - 0.5)))
        return -math.log(one if label else 1 - one)

    kept = (1, 0)
    assert terms["similar"].item() == pytest.approx((of_class(0.8, 1) + of_class(0.35, 0)) / 2, rel=1e-5)
    # the adversarial images have brightness 0.3 and 0.75, and are to be of the other class
    assert terms["adversarial"].item() == pytest.approx((of_class(0.3, 0) + of_class(0.75, 1)) / 2, rel=1e-5)
    assert terms["cyclic"].item() == pytest.approx(
        sum(of_class(b, c) for b, c in zip((0.7, 0.25), kept, strict=True)) / 2, rel=1e-5
    )
    assert terms["image"].item() == pytest.approx(0.1 + 0.01, rel=1e-5)
    # 1 - x less x + 0.1: -0.5 and 0.4
    assert terms["between"].item() == pytest.approx((0.5 + 0.4) / 2 + (0.25 + 0.16) / 2, rel=1e-5)


def test_the_aims_are_one_for_two_classes_and_not_for_three() -> None:
    images, generators = torch.rand(4, 3, 4, 4), Fixed(widths=(4,))
    two = [generator_terms(generators, Brightness(2), images, aim)["adversarial"] for aim in ("other", "runner_up")]
    three = [generator_terms(generators, Brightness(3), images, aim)["adversarial"] for aim in ("other", "runner_up")]
    torch.testing.assert_close(*two)
    assert three[0] < three[1]  # the third class counts as another


def test_other_class_is_the_probability_of_all_others() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64)
    classes = torch.tensor([0, 3, 1, 1, 2])
    left = 1 - logits.softmax(1).gather(1, classes[:, None])[:, 0]
    torch.testing.assert_close(other_class(logits, classes), -left.log().mean())
    sure = torch.tensor([[200.0, 0.0]])
    assert other_class(sure, torch.tensor([0])).item() == 200  # where 1 - p rounds to 0


def test_distances_are_shares_of_the_range() -> None:
    assert distance(torch.full((2, 2), 3.0), torch.full((2, 2), 1.0)).item() == 6
    wide = Fixed(widths=(4,), low=-2.0, high=2.0)
    assert generator_terms(wide, Brightness(), torch.rand(2, 3, 4, 4))["image"].item() == pytest.approx(
        0.1 / 4 + (0.1 / 4) ** 2, rel=1e-5
    )


def test_the_loss_is_their_weighted_sum(tmp_path: Path) -> None:
    log = run(tmp_path, 1, module(similar=0.5, adversarial=0.25, cyclic=0.125, image=2.0, between=3.0))["log"]
    weights = {"similar": 0.5, "adversarial": 0.25, "cyclic": 0.125, "image": 2.0, "between": 3.0}
    expected = sum(weight * log[f"train/{name}"] for name, weight in weights.items())
    assert log["train/loss"] == pytest.approx(expected, rel=1e-5)
    default = module().weights
    assert default == {"similar": 0.01, "adversarial": 0.2, "cyclic": 0.005, "image": 10.0, "between": 2.0}


def test_the_classifier_stays_as_it_is(tmp_path: Path) -> None:
    classifier = Brightness().train()
    trained = GeneratorTraining(pair(), classifier, functools.partial(torch.optim.Adam, lr=1e-2))
    run(tmp_path, 1, trained)
    assert classifier.training and classifier.slope.requires_grad and classifier.slope.grad is None
    assert classifier.slope.item() == 4 == trained.classifier.slope.item()  # type: ignore[union-attr,operator]
    assert trained.classifier.slope.grad is None and not trained.classifier.training  # type: ignore[union-attr]
    assert not trained.network.training


@pytest.mark.parametrize("shared", [True, False])
def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    whole = module(network=pair(shared))
    run(tmp_path / "whole", 3, whole)
    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "SeedEachEpoch", _Kill)
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path / "parts", 3, module(network=pair(shared)))
    resumed = module(network=pair(shared))
    record = run(tmp_path / "parts", 3, resumed)
    assert record["resumed"]
    for name, tensor in state(whole).items():
        assert torch.equal(tensor, state(resumed)[name]), name
    loaded = pair(shared)
    load_weights(loaded, tmp_path / "parts" / "network.safetensors")
    assert torch.equal(loaded.outputs[0].weight, resumed.network.outputs[0].weight)  # type: ignore[arg-type]


def test_they_learn_to_reconstruct_and_to_turn(tmp_path: Path) -> None:
    """With little weight on the distance of both, so that a few steps suffice."""
    weights = {"lr": 1e-2, "adversarial": 5.0, "image": 1.0, "between": 0.1}
    first = run(tmp_path / "one", 1, module(**weights))["log"]
    last = run(tmp_path / "all", 15, module(**weights))["log"]
    assert last["train/adversarial"] < 0.7 * first["train/adversarial"]
    assert last["train/image"] < 0.7 * first["train/image"]


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="aim is 'next'; choose one of other, runner_up"):
        module(aim="next")
    with pytest.raises(UserError, match="at least two classes"):
        one = GeneratorTraining(pair(), Brightness(1), functools.partial(torch.optim.Adam, lr=1e-3))
        run(tmp_path / "one", 1, one)
    with pytest.raises(UserError, match="multiples of 16"):
        run(tmp_path / "size", 1, module(network=GeneratorPair(widths=(2, 2, 2, 2, 2))))
    with pytest.raises(UserError, match=r"generators.training cannot be used|training.optimizer cannot be used"):
        run(tmp_path / "lr", 1, module(lr=-1.0))
    with pytest.raises(Diverged, match="loss became nan"):
        run(tmp_path / "nan", 1, module(image=math.nan))
    assert not list(tmp_path.rglob("training.json"))
