"""The loss is eq. 1, a resumed training equals an uninterrupted one, a diverging one keeps its last good weights."""

import functools
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from xcnn.data.tensors import Labelled, TensorDataModule
from xcnn.errors import Diverged, UserError
from xcnn.models import capture, conv3
from xcnn.training import Classifier, ConcisePenalty, FlipCrop, fit, load_weights
from xcnn.training.classifier import mse


class Bars(TensorDataModule):
    """Two classes, told apart by the direction of a bar: quickly learnt."""

    name = "bars"

    def load(self) -> tuple[Labelled, Labelled, tuple[str, ...]]:
        generator = torch.Generator().manual_seed(3)
        images = torch.randint(0, 60, (96, 3, 8, 8), dtype=torch.uint8, generator=generator)
        labels = torch.arange(96) % 2
        where = torch.randint(0, 8, (96,), generator=generator)
        for image, label, place in zip(images, labels, where, strict=True):
            (image[:, place] if label else image[:, :, place]).fill_(255)
        data = Labelled(images, labels)
        return data.subset(torch.arange(64)), data.subset(torch.arange(64, 96)), ("vertical", "horizontal")


fit_module = importlib.import_module("xcnn.training.fit")  # the package shows the function under this name
ADAM = functools.partial(torch.optim.Adam, lr=1e-2)


def module(penalty: ConcisePenalty | None = None, **options: Any) -> Classifier:
    torch.manual_seed(0)
    layers = ["relu1", "relu2", "relu3"]
    return Classifier(conv3(2), ADAM, penalty=penalty, layers=layers, **options)


def run(
    folder: Path, epochs: int, trained: Classifier | None = None, **options: Any
) -> tuple[Classifier, dict[str, Any]]:
    trained = trained or module(ConcisePenalty())
    data = options.pop("data", None) or Bars(batch_size=16, seed=0)
    data.setup()
    settings = {"epochs": epochs}
    record = fit(
        trained, data, folder, settings=settings, provenance={}, max_epochs=epochs, seed=0,
        progress=False, **{"accelerator": "cpu", **options},
    )  # fmt: skip
    return trained, record


def weights(classifier: Classifier) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in classifier.network.state_dict().items()}


def test_the_training_loss_is_eq_1() -> None:
    classifier = module(ConcisePenalty(alpha=0.1, beta=0.05))
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 1, 0])
    classifier.log_dict = classifier.log = lambda *arguments, **options: None  # type: ignore[method-assign,assignment]
    loss = classifier.training_step((images, labels), 0)
    with capture(classifier.network, ["relu1", "relu2", "relu3"]) as maps:
        logits = classifier.network(images)
    expected = functional.cross_entropy(logits, labels)
    for activations in maps.values():
        for one in activations.flatten(0, 1):
            if one.max() > 0:
                mask = (one > 0.1 * one.max()).double()
                y, x = (((torch.arange(n) + 0.5) / n).double() for n in one.shape)
                mass = mask.sum()
                mu_y, mu_x = (mask.sum(1) * y).sum() / mass, (mask.sum(0) * x).sum() / mass
                square = (mask * ((y[:, None] - mu_y) ** 2 + (x[None] - mu_x) ** 2)).sum() / mass
                term = 0.1 * mask.mean() + 0.05 * square.sqrt()
                expected = expected + term / (3 * activations.shape[0] * activations.shape[1])
    torch.testing.assert_close(loss.double(), expected.double(), atol=1e-6, rtol=0)


def test_mse_is_the_squared_error_of_the_softmax() -> None:
    logits = torch.tensor([[0.0, 0.0], [torch.log(torch.tensor(3.0)), 0.0]])
    # softmax: (1/2, 1/2) and (3/4, 1/4); squared errors 1/2 and 1/8
    assert mse(logits, torch.tensor([1, 0])).item() == pytest.approx((0.5 + 0.125) / 2)


def test_it_learns_and_is_finished_only_once(tmp_path: Path) -> None:
    classifier, record = run(tmp_path, 12)
    data = Bars()
    data.setup()
    images, labels = next(iter(data.test_dataloader()))
    with torch.no_grad():
        assert (classifier.network(images).argmax(1) == labels).float().mean() > 0.9
    assert not classifier.network.training
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.name != "lock"}
    again, second = run(tmp_path, 12)
    assert second == record
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.name != "lock"} == before
    for name, tensor in weights(classifier).items():
        assert torch.equal(weights(again)[name], tensor), name


class _Kill(fit_module.SeedEachEpoch):
    """Ends the process's training as a kill between two batches would: no clean-up runs."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if (trainer.current_epoch, batch_idx) == (2, 1):
            raise RuntimeError("killed")


def recipe() -> Classifier:
    """All that a training may depend on besides its batches: draws in the network and before it, epoch and step."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(conv3(8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
    optimizer = functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, fused=True)
    schedule = functools.partial(OneCycleLR, max_lr=0.1)
    return Classifier(network, optimizer, augment=FlipCrop(2), sizes={0: 4, 1: 6, 3: 8}, schedule=schedule)


@pytest.mark.parametrize("make", [lambda: module(ConcisePenalty()), recipe])
def test_a_resumed_training_equals_an_uninterrupted_one(
    make: Callable[[], Classifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, record = run(tmp_path / "whole", 4, make())
    seed = fit_module.SeedEachEpoch
    monkeypatch.setattr(fit_module, "SeedEachEpoch", _Kill)
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "killed", 4, make())
    assert not (tmp_path / "killed" / "training.json").exists()
    monkeypatch.setattr(fit_module, "SeedEachEpoch", seed)
    resumed, second = run(tmp_path / "killed", 4, make())
    assert second["resumed"] and not record["resumed"]
    assert (second["steps"], second["epochs"]) == (record["steps"], record["epochs"])
    for name, tensor in weights(whole).items():
        assert torch.equal(weights(resumed)[name], tensor), name


class _Scored(Classifier):
    """Validation accuracies as they are given, epoch by epoch; keeps the weights after each."""

    def __init__(self, accuracies: list[float]):
        torch.manual_seed(0)
        super().__init__(conv3(2), ADAM)
        self.accuracies, self.after = accuracies, {}

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        self.log("val/accuracy", self.accuracies[self.current_epoch])

    def on_train_epoch_end(self) -> None:
        self.after[self.current_epoch] = weights(self)


def held_out() -> Bars:
    return Bars(batch_size=16, seed=0, val_share=0.25)


@pytest.mark.parametrize(
    ("accuracies", "best"), [([0.5, 0.75, 0.25, 0.75], 1), ([0.5, 0.75, 0.8, 0.85], 3), ([0.0, 0.0, 0.0, 0.0], 0)]
)
def test_the_first_epoch_of_the_highest_score_is_selected_also_by_a_resumed_training(
    accuracies: list[float], best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, record = run(tmp_path / "whole", 4, _Scored(accuracies), select="val/accuracy", data=held_out())
    assert record["selected"] == {"epoch": best + 1, "by": "val/accuracy", "value": pytest.approx(accuracies[best])}
    assert record["epochs"] == 4 and record["weights"] == fit_module.file_hash(tmp_path / "whole/network.safetensors")
    for epoch, after in whole.after.items():
        same = all(torch.equal(weights(whole)[name], tensor) for name, tensor in after.items())
        assert same == (epoch == best), epoch
    seed = fit_module.SeedEachEpoch
    monkeypatch.setattr(fit_module, "SeedEachEpoch", _Kill)  # in the third epoch
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "killed", 4, _Scored(accuracies), select="val/accuracy", data=held_out())
    monkeypatch.setattr(fit_module, "SeedEachEpoch", seed)
    resumed, second = run(tmp_path / "killed", 4, _Scored(accuracies), select="val/accuracy", data=held_out())
    assert second["resumed"] and second["selected"] == record["selected"]
    again, third = run(tmp_path / "killed", 4, _Scored(accuracies), select="val/accuracy", data=held_out())
    assert third == second
    for name, tensor in weights(whole).items():
        assert torch.equal(weights(resumed)[name], tensor) and torch.equal(weights(again)[name], tensor), name


def test_without_a_selection_the_last_epoch_stands(tmp_path: Path) -> None:
    trained, record = run(tmp_path, 2, _Scored([0.9, 0.1]), data=held_out())
    assert "selected" not in record and not (tmp_path / "best.ckpt").exists()
    assert all(torch.equal(weights(trained)[name], tensor) for name, tensor in trained.after[1].items())


def test_nothing_to_select_by_is_refused_before_a_step_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the data a val_share above 0"):
        run(tmp_path / "run", 1, select="val/accuracy")
    assert not (tmp_path / "run").exists()


class _Seen(torch.nn.Module):
    """Keeps what the network is given, by mode."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.batches: list[tuple[bool, torch.Tensor]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches.append((self.training, images.detach().clone()))
        return self.linear(images.mean((2, 3)))


def test_training_images_are_augmented_resized_and_normalised_and_validation_images_only_normalised(
    tmp_path: Path,
) -> None:
    network = _Seen().eval()  # as a network with given weights comes
    half = functools.partial(torch.mul, 0.5)
    classifier = Classifier(network, ADAM, normalise=lambda images: images - 2, augment=half, sizes={0: 4, 2: 8})
    data = Bars(batch_size=24, val_share=0.25, seed=0)
    run(tmp_path, 3, classifier, data=data)
    trained = [images for training, images in network.batches if training]
    validated = [images for training, images in network.batches if not training][1:]  # the first is `check`'s
    assert [images.shape[2] for images in trained] == [4, 4, 4, 4, 8, 8]
    assert [images.shape[2] for images in validated] == [8, 8, 8]
    torch.testing.assert_close(validated[0], data.val.images / 255 - 2)
    order = torch.randperm(48, generator=torch.Generator().manual_seed(2))  # EpochOrder's, of epoch 2
    torch.testing.assert_close(trained[4], data.train.images[order[:24]] / 255 / 2 - 2)
    first = torch.randperm(48, generator=torch.Generator().manual_seed(0))[:24]
    means = (data.train.images[first] / 255 / 2 - 2).mean((1, 2, 3))  # resizing keeps an image's mean, about
    torch.testing.assert_close(trained[0].mean((1, 2, 3)), means, atol=0.03, rtol=0)


def test_the_schedule_covers_the_training_step_by_step(tmp_path: Path) -> None:
    rates = []

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        made = torch.optim.SGD(parameters, lr=1.0)
        made.register_step_pre_hook(lambda *_: rates.append(made.param_groups[0]["lr"]))
        return made

    def linear(optimizer: torch.optim.Optimizer, total_steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total_steps)

    torch.manual_seed(0)
    run(tmp_path, 2, Classifier(conv3(2), optimizer, schedule=linear))
    assert rates == pytest.approx([1 - step / 8 for step in range(8)])  # 64 images in batches of 16, 2 epochs


@pytest.mark.parametrize("sizes", [{1: 8}, {0: 0}, {0: 8, -1: 4}])
def test_sizes_must_be_positive_and_begin_with_epoch_0(sizes: dict[int, int]) -> None:
    with pytest.raises(UserError, match="from epoch 0 on"):
        Classifier(conv3(2), ADAM, sizes=sizes)


def test_a_loss_that_becomes_nan_stops_at_once_and_keeps_the_last_whole_epoch(tmp_path: Path) -> None:
    classifier = module()
    data_term = classifier.data_term
    classifier.data_term = lambda logits, labels: (
        data_term(logits, labels)
        * (  # type: ignore[method-assign]
            float("nan") if classifier.global_step >= 6 else 1
        )
    )
    with pytest.raises(Diverged, match=r"nan at step 6 \(epoch 1, batch 2\)"):
        run(tmp_path, 3, classifier)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)  # loads without unpickling code
    assert checkpoint["epoch"] == 0 and checkpoint["global_step"] == 4
    assert all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values())
    assert all(tensor.isfinite().all() for tensor in weights(classifier).values())
    assert not (tmp_path / "training.json").exists()


@pytest.mark.slow
def test_two_processes_on_the_cpu_train_like_one(tmp_path: Path) -> None:
    alone, _ = run(tmp_path / "one", 2, module(ConcisePenalty()))
    data = Bars(batch_size=16, seed=0)
    shared, record = run(tmp_path / "two", 2, module(ConcisePenalty()), devices=2, strategy="ddp_spawn", data=data)
    assert record["processes"] == 2
    assert sum(len(labels) for _, labels in data.test_dataloader()) == len(data.test)  # not a process's share of it
    for name, tensor in weights(alone).items():  # the same batches in two halves: equal up to the order of sums
        torch.testing.assert_close(weights(shared)[name], tensor, atol=2e-3, rtol=0)


@pytest.mark.slow
def test_two_processes_select_what_one_does(tmp_path: Path) -> None:
    scored = _Scored([0.5, 0.75, 0.25])
    options = {"select": "val/accuracy", "data": held_out(), "devices": 2, "strategy": "ddp_spawn"}
    _, record = run(tmp_path, 3, scored, **options)
    assert record["selected"] == {"epoch": 2, "by": "val/accuracy", "value": 0.75}


def test_layers_are_checked_before_a_step_is_made(tmp_path: Path) -> None:
    classifier = Classifier(conv3(2), ADAM, penalty=ConcisePenalty(), layers=["relu9"])
    with pytest.raises(UserError, match="relu1"):
        run(tmp_path, 1, classifier)


def test_a_penalty_without_layers_and_an_unknown_data_term_are_refused() -> None:
    with pytest.raises(UserError, match="layers"):
        Classifier(conv3(2), ADAM, penalty=ConcisePenalty())
    with pytest.raises(UserError, match="cross_entropy, mse"):
        Classifier(conv3(2), ADAM, data_term="hinge")  # type: ignore[arg-type]


def test_foreign_weights_are_named(tmp_path: Path) -> None:
    run(tmp_path / "good", 1)
    with pytest.raises(UserError, match="another network"):
        load_weights(conv3(5), tmp_path / "good" / "network.safetensors")
    with pytest.raises(UserError, match="no weights at"):
        load_weights(conv3(5), tmp_path / "absent.safetensors")


def test_the_record_is_written_last_and_names_the_weights(tmp_path: Path) -> None:
    _, record = run(tmp_path, 1)
    on_disk = json.loads((tmp_path / "training.json").read_text())
    assert on_disk == record
    assert record["epochs"] == 1 and record["steps"] == 4 and record["precision"] == "32-true"
    assert record["weights"] == fit_module.file_hash(tmp_path / "network.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf8"}, "unknown precision 'bf8'; there are: auto, 32-true, bf16-mixed"),
        ({"devices": 0}, r"trainer\.devices=0 .*One process does with trainer\.devices=1"),
        ({"strategy": "ddp_everywhere"}, r"trainer\.strategy=ddp_everywhere .*trainer\.strategy=auto"),
        ({"accelerator": "tpus"}, "unknown accelerator 'tpus'; there are: auto, cpu, gpu"),
    ],
)
def test_a_trainer_that_cannot_be_is_refused_before_a_step_is_made(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    trained = module()
    before = weights(trained)
    with pytest.raises(UserError, match=message):
        run(tmp_path, 1, trained, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(trained).items())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_where_there_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"accelerator=gpu, but PyTorch .* sees no GPU here\. Choose trainer=cpu"):
        run(tmp_path, 1, accelerator="gpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": functools.partial(torch.optim.Adam, lr=-1)}, r"training\.optimizer .*learning rate: -1"),
        ({"optimizer": functools.partial(torch.optim.SGD, lr="fast")}, r"training\.optimizer cannot be used"),
        ({"schedule": OneCycleLR}, r"training\.schedule cannot be used: .*max_lr"),
        ({"schedule": functools.partial(OneCycleLR, max_lr=0.1, pct_start=2)}, r"training\.schedule .*pct_start"),
        ({"augment": lambda images: images.view(7)}, r"training\.augment cannot be used: shape '\[7\]'"),
        ({"augment": FlipCrop(8)}, "padding 8 needs images of more than that"),
        ({"layers": ["relu9"]}, "there is no layer 'relu9'. Layers: .*relu1"),
        ({"network": conv3(1)}, r"bars has labels up to 1, and the network has 1 outputs\. Set n_classes to .*, 2\."),
    ],
)
def test_settings_that_cannot_be_trained_with_are_refused_before_a_step_is_made(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    settings = {"network": conv3(2), "optimizer": ADAM, "penalty": ConcisePenalty(), "layers": ["relu1"], **options}
    with pytest.raises(UserError, match=message):
        run(tmp_path, 1, Classifier(**settings))
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_the_check_leaves_everything_as_it_was() -> None:
    trained, data = recipe(), Bars(batch_size=16, seed=0, val_share=0.25)
    data.setup()
    trained.network[1].eval()
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    modes = [part.training for part in trained.network.modules()]
    generator = torch.get_rng_state()
    trained.check(data, 4)
    assert torch.equal(torch.get_rng_state(), generator)
    assert [part.training for part in trained.network.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())


def test_the_precision_auto_is_recorded_as_what_it_came_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def resolve(accelerator: str, precision: str) -> str:
        asked.append((accelerator, precision))
        return "bf16-mixed"

    monkeypatch.setattr(fit_module, "training_precision", resolve)
    _, record = run(tmp_path, 1, precision="auto")
    assert asked == [("cpu", "auto")] and record["precision"] == "bf16-mixed"
