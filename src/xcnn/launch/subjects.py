"""The parts that a cell's configuration describes, each built once; the subjects that they make up.

Where the networks come from: trained here (resumed or loaded if some cell trained them before), or from a file of
weights. What is handed on is plain: modules, tensors, numbers.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from xcnn.attribution import Method
from xcnn.data.tensors import TensorDataModule, scale
from xcnn.device import device_of, training_precision
from xcnn.errors import UserError
from xcnn.evaluation.prototypes import training_share
from xcnn.evaluation.subject import Subject
from xcnn.files import locked
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.launch.compose import build, plain, settings, varied
from xcnn.launch.options import Options, as_options
from xcnn.models import Preprocessing, fold_batch_norm, recalibrate_batch_norm, weights_provenance
from xcnn.models.fine_tuned import statistics_folded
from xcnn.models.protopnet import ProtoPNet
from xcnn.models.soft_tree import SoftDecisionTree
from xcnn.prototypes import Columns, Encoder
from xcnn.report.loggers import curve_loggers
from xcnn.report.provenance import provenance
from xcnn.surrogates import Surrogate, View
from xcnn.surrogates.views import logits
from xcnn.training.classifier import Classifier
from xcnn.training.fit import fit
from xcnn.training.protopnet import ProtoPNetTraining
from xcnn.training.soft_tree import SoftLabels, SoftTreeTraining

RECALIBRATED = 512  # training images whose statistics stand in for those that a file of weights has not


class Setup:
    """What one cell is made of. `setup.options` is its configuration as plain values.

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

    def variant(self, *overrides: str) -> "Setup":
        """This setup with some choices changed (`penalty=none`): the "before" of a before and after.

        It shares the data set, if that is the same.
        """
        other = Setup(varied(self._cfg, self._overrides, *overrides), [*self._overrides, *overrides])
        if "data" in self.__dict__ and self.options["data"] == other.options["data"]:
            other.__dict__["data"] = self.data
        return other

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

    def trained(self) -> Subject:
        """The network that this configuration trains: loaded if some cell trained it before, else resumed or trained.

        In eval mode on the CPU, to be measured in float32.
        """
        training = self._cfg.training
        torch.manual_seed(self.options.seed)
        module = Classifier(
            self._trainable(),
            self.optimizer(),
            data_term=training.data_term,
            penalty=build(self._cfg.penalty),
            layers=self.options.layers,
            schedule=self.schedule(),
            sizes={int(epoch): side for epoch, side in (training.get("sizes") or {}).items()},
            **self._handling,
        )
        keys = ("model", "penalty", "layers", "training")
        return self._fitted(module, keys, training.max_epochs, training.get("select"))

    def protopnet(self) -> Subject:
        """The ProtoPNet that this configuration trains on its model, likewise loaded, resumed or trained."""
        chosen = self.options.protopnet
        torch.manual_seed(self.options.seed)
        network = ProtoPNet(
            self._trainable(), chosen.blocks[-1], self.options.n_classes, chosen.per_class, chosen.channels
        )
        module: ProtoPNetTraining = build(self._cfg.protopnet.training)(network, **self._handling)
        return self._fitted(module, ("model", "protopnet"), module.max_epochs, augment=True)

    def soft_tree(self) -> tuple[Subject, Subject]:
        """The soft tree that this configuration trains, on labels or on its network's outputs; and that network.

        The tree sees images in [0, 1], of the size and channels under `soft_tree`, where they are given there.
        """
        chosen, teacher = self.options.soft_tree, self._placed(self.trained())
        other = self.variant(*(f"data.{key}={value}" for key, value in chosen.sees.items() if value is not None))
        torch.manual_seed(self.options.seed)
        tree = SoftDecisionTree(other.data.input_size, self.options.n_classes, chosen.depth, chosen.sharpness)
        module = SoftTreeTraining(tree, build(self._cfg.soft_tree.optimizer), chosen.balance)
        data, also = other.data, {"labels": chosen.labels}
        if chosen.labels == "soft":
            assert teacher.training is not None
            outputs = logits(teacher, teacher.data.train.images)
            data = SoftLabels(data, (outputs / chosen.temperature).softmax(1))
            data.setup()
            also["teacher"] = teacher.training["fingerprint"]
        subject = other._fitted(module, ("soft_tree",), chosen.max_epochs, data=data, also=also)
        return self._placed(replace(subject, normalise=nn.Identity(), data=other.data)), teacher

    def prototyped(self) -> Subject:
        """The configured prototypes of the configured network: loaded if some cell fitted them before, else fitted.

        With `protopnet` in the configuration, they are those that a ProtoPNet learnt.
        """
        if "protopnet" in self.options:
            return self._placed(self.protopnet())
        subject = self._placed(self.trained())
        blocks, depth = self.options.encoder.blocks, self.options.encoder.depth
        if not 1 <= depth <= len(blocks):
            raise UserError(
                f"encoder.depth must be in 1..{len(blocks)}, the number of the network's blocks, not {depth}."
            )
        encoder = Encoder(subject.network, blocks[-depth:], subject.prepare, self.options.batch)
        method = build(self._cfg.prototypes)(encoder)
        if isinstance(method, Columns):
            return replace(subject, method=method)
        name = fingerprint(self._of_prototypes(subject, method))
        path = Path(self.options.paths.runs) / "prototypes" / f"{name}.safetensors"
        with locked(path.with_suffix(".lock")):
            if not path.is_file():
                train, share = subject.data.train, training_share(subject.data, self.fit_share, self.options.seed)
                with subject.autocast():
                    method.fit(train.images[share], train.labels[share])
                method.save(path)
            return replace(subject, method=method.load(path))

    def explained(self) -> Subject:
        """The configured network with its weights (BatchNorm folded), and the images of the configured data set.

        With `training=...` the network is the one that this configuration trains.

        Raises:
            Missing: there are no such weights at hand.
        """
        if self.options.get("training"):
            subject = self.trained()
            return self._placed(replace(subject, network=fold_batch_norm(subject.network)))
        data = self.data  # first: that it is missing is said before any weights are read
        network = fold_batch_norm(self.model())
        subject = Subject(
            network,
            data,
            self.normalise or nn.Identity(),
            self.weights(),
            weights_provenance=self.weights_provenance,
        )
        return self._placed(subject)

    def attribution(self, subject: Subject) -> Method:
        """The configured attribution method of a subject's network."""
        method: Method = build(self._cfg.attribution)(subject.network)
        return method

    def view(self, subject: Subject) -> View:
        """What the configured surrogate sees of a subject."""
        view: View = build(self._cfg.view)(subject)
        return view

    def surrogate(self) -> Callable[..., Surrogate]:
        """The configured surrogate, of the option that sets its size."""
        make: Callable[..., Surrogate] = build(self._cfg.surrogate)
        return make

    @property
    def fit_share(self) -> float | None:
        """Share of each class's training images that prototypes are fitted on; None for all."""
        share: float | None = self.options.get("fit_share")
        return None if share == 1 else share

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
        training = {key: self.settings[key] for key in (*keys, "trainer", "seed")}
        training["data"] = {key: value for key, value in self.settings["data"].items() if key != "test_size"}
        training["manifest"] = self.data.manifest
        if augment:
            training["augment"] = self.settings["training"].get("augment")
        training |= also or {}
        if self.preprocessing is not None:  # its resizing and cropping are for evaluation
            training["preprocessing"] = {"mean": self.preprocessing.mean, "std": self.preprocessing.std}
        folder = Path(self.options.paths.runs) / "trainings" / fingerprint(training)
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

    def _of_prototypes(self, subject: Subject, method: object) -> dict[str, Any]:
        """What fitted prototypes depend on."""
        assert subject.training is not None
        made = {key: self.settings[key] for key in ("prototypes", "encoder")}
        made |= {"fit_share": self.fit_share, "training": subject.training["fingerprint"]}
        if code := _foreign_code(method):
            made["code"] = code
        return made | {"seed": self.options.seed, "precision": subject.precision, "weights": subject.weights}


def _foreign_code(instance: object) -> str | None:
    """A hash of the file of an object's class, if that is not of this package, whose versions are known."""
    kind = type(instance)
    if kind.__module__.split(".")[0] == "xcnn":
        return None
    return file_hash(Path(inspect.getfile(kind)))
