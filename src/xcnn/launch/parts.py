"""What a configuration describes: data, network, preprocessing, optimiser, each built once; and how it is trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from xcnn.data.tensors import TensorDataModule, scale
from xcnn.device import device_of, training_precision
from xcnn.errors import UserError
from xcnn.evaluation.subject import Subject
from xcnn.fingerprint import fingerprint
from xcnn.launch.compose import build, cell_of, compose, plain, settings, varied
from xcnn.launch.options import Options, as_options
from xcnn.models import Preprocessing, recalibrate_batch_norm, weights_provenance
from xcnn.models.fine_tuned import statistics_folded
from xcnn.report.cells import Cell
from xcnn.report.loggers import curve_loggers
from xcnn.report.provenance import provenance
from xcnn.training.classifier import Classifier
from xcnn.training.fit import fit

RECALIBRATED = 512  # training images whose statistics stand in for those that a file of weights has not


class Parts:
    """The parts of one cell. `options` is its configuration as plain values.

    Args:
        cfg: the composed configuration of the cell.
        overrides: the cell's own overrides, which its variants share.
    """

    def __init__(self, cfg: DictConfig, overrides: Sequence[str] = ()):
        self._cfg, self._overrides = cfg, overrides

    @cached_property
    def options(self) -> Options:
        """The whole configuration as plain values."""
        found: Options = as_options(plain(self._cfg))
        return found

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the result depends on; see `compose.settings`."""
        return settings(self._cfg)

    @cached_property
    def data(self) -> TensorDataModule:
        """The data set, loaded.

        Raises:
            Missing: it is not at hand.
            UserError: the network has another number of classes.
        """
        data: TensorDataModule = build(self._cfg.data)
        data.setup()
        if len(data.classes) != self.options.n_classes:
            raise UserError(
                f"{data.name} has {len(data.classes)} classes, and the network {self.options.n_classes}: n_classes="
                f"{len(data.classes)}, or choose the classes."
            )
        return data

    @cached_property
    def preprocessing(self) -> Preprocessing | None:
        """What the network expects of its images; None where it takes them as they are."""
        found: Preprocessing | None = build(self._cfg.get("preprocessing"))
        return found

    @property
    def normalise(self) -> Callable[[Tensor], Tensor] | None:
        """Images in [0, 1] to the network's input; None where it takes them as they are."""
        return None if self.preprocessing is None else self.preprocessing.normalise

    @property
    def device(self) -> torch.device:
        return device_of(self.options.trainer.accelerator)

    @property
    def precision(self) -> str:
        """The configured precision; where that is "auto", what is fast on this machine's processor."""
        return training_precision(self.options.trainer.accelerator, self.options.trainer.precision)

    def variant(self, *overrides: str) -> Self:
        """This setup with some choices changed (`penalty=none`): the "before" of a before and after.

        It shares the data set, if that is the same.
        """
        other = type(self)(varied(self._cfg, self._overrides, *overrides), [*self._overrides, *overrides])
        if "data" in self.__dict__ and self.options["data"] == other.options["data"]:
            other.__dict__["data"] = self.data
        return other

    def part(self, identity: str) -> tuple[Self, Cell]:
        """The setup and the cell of another experiment with this one's own overrides, for results made of others.

        Raises:
            UserError: the other experiment has no such option.
        """
        own = [each for each in self._overrides if not each.startswith(("experiment=", "identity=", "cell="))]
        cfg = compose(identity, own)
        return type(self)(cfg, own), cell_of(cfg, own)

    # Places

    @property
    def runs(self) -> Path:
        """The folder of all that is computed once and kept."""
        return Path(self.options.paths.runs)

    @property
    def kept_features(self) -> Path:
        """The folder of features of images; each has its own below it."""
        return self.runs / "features"

    # Networks

    def model(self, **arguments: Any) -> nn.Module:
        """The configured network, as its configuration makes it."""
        network: nn.Module = build(self._cfg.model, **arguments)
        return network

    def weights(self) -> str | None:
        """Hash of the configured file of weights; None where there is none."""
        return (self.settings["model"]["weights"] or {}).get("hash")

    @property
    def weights_provenance(self) -> str | None:
        """Origin of the configured file of weights; None where there is none."""
        path = (self.options.get("model") or {}).get("weights")
        return weights_provenance(path) if path and Path(path).is_file() else None

    def optimizer(self) -> Any:
        """The training's optimiser, of parameters yet to be given."""
        return build(self._cfg.training.optimizer)

    def schedule(self) -> Any:
        """The training's schedule, of an optimiser and steps yet to be given; None where the rate is constant."""
        return build(self._cfg.training.get("schedule"))

    @property
    def _handling(self) -> dict[str, Any]:
        """What any training here does with its images."""
        return {
            "channels_last": self.options.trainer.channels_last,
            "normalise": self.normalise,
            "augment": build(self._cfg.training.get("augment")),
        }

    def _trainable(self) -> nn.Module:
        """The configured network, ready to be trained: BatchNorm has statistics, also if its weights' file has none."""
        network = self.model()
        if self.options.model.get("weights") and statistics_folded(network):
            sample = scale(self.data.train.images[:RECALIBRATED])
            recalibrate_batch_norm(network, sample if self.normalise is None else self.normalise(sample))
        return network

    def _placed(self, subject: Subject) -> Subject:
        """A subject on the configured device, in the configured precision and memory format, in eval mode."""
        network = subject.network.eval().to(self.device)
        if self.options.trainer.channels_last:
            network = network.to(memory_format=torch.channels_last)
        batch = self.options.get("batch") or subject.batch
        return replace(subject, network=network, device=self.device, precision=self.precision, batch=batch)

    def _training(
        self, keys: Sequence[str], augment: bool = False, also: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], Path]:
        """The settings that a training depends on, and its folder; arguments as for `_fitted`."""
        training = {key: self.settings[key] for key in (*keys, "trainer", "seed")}
        of_test = ("test_size", "shown")
        training["data"] = {key: value for key, value in self.settings["data"].items() if key not in of_test}
        training["manifest"] = self.data.manifest
        if augment:
            training["augment"] = self.settings["training"].get("augment")
        training |= also or {}
        if self.preprocessing is not None:  # its resizing and cropping are for evaluation
            training["preprocessing"] = {"mean": self.preprocessing.mean, "std": self.preprocessing.std}
        return training, self.runs / "trainings" / fingerprint(training)

    def _fitted(
        self,
        module: Classifier,
        keys: Sequence[str],
        max_epochs: int,
        select: str | None = None,
        augment: bool = False,
        data: TensorDataModule | None = None,
        also: Mapping[str, Any] | None = None,
    ) -> Subject:
        """Bring a module to the end of its training, in a folder named after `keys` of the settings and what all share.

        Args:
            augment: whether, of the settings under `training`, the augmentation alone is this training's.
            data: what to train on in the configured data's place.
            also: what else the training depends on.
        """
        training, folder = self._training(keys, augment, also)
        trainer = self.options.trainer
        label = f"{self.options.dataset}-{self.options.network}-{self.options.method}-s{self.options.seed}"
        record = fit(
            module,
            data or self.data,
            folder,
            settings=training,
            provenance=provenance(),
            max_epochs=max_epochs,
            seed=self.options.seed,
            accelerator=trainer["accelerator"],
            devices=trainer["devices"],
            strategy=trainer["strategy"],
            precision=trainer["precision"],
            loggers=curve_loggers(self.options.logger.curves, folder, label),
            progress=trainer["progress"],
            select=select,
        )
        normalise = self.normalise or nn.Identity()
        return Subject(
            module.network,
            self.data,
            normalise,
            record["weights"],
            record,
            folder,
            weights_provenance=self.weights_provenance,
        )
