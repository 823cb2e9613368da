"""The parts that a cell's configuration describes, each built once; the subjects that they make up.

Where the networks come from: trained here (resumed or loaded if some cell trained them before), or from a file of
weights. What is handed on is plain: modules, tensors, numbers.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from xcnn.attribution import Method
from xcnn.data.concepts import ConceptSets
from xcnn.data.rationales import LONGEST, VOCABULARY, Rationales
from xcnn.errors import UserError
from xcnn.evaluation.prototypes import training_share
from xcnn.evaluation.subject import Subject
from xcnn.files import locked
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.language import Describer
from xcnn.launch.compose import build
from xcnn.launch.parts import Parts
from xcnn.models import DualEncoder, fold_batch_norm
from xcnn.models.generators import GeneratorPair
from xcnn.models.protopnet import ProtoPNet
from xcnn.models.soft_tree import SoftDecisionTree
from xcnn.models.split import split_at
from xcnn.models.weights import weights_hash
from xcnn.prototypes import Columns, Encoder
from xcnn.surrogates import Surrogate, View
from xcnn.surrogates.views import logits
from xcnn.training.classifier import Classifier
from xcnn.training.features import FeatureData, trunk_of
from xcnn.training.fit import RECORD
from xcnn.training.protopnet import ProtoPNetTraining
from xcnn.training.rationales import RationaleTraining
from xcnn.training.right_reasons import Feedback, RightReasons
from xcnn.training.soft_tree import SoftLabels, SoftTreeTraining
from xcnn.training.two_generators import GeneratorTraining

OF_CLASSIFIERS = ("model", "penalty", "layers", "training")  # settings that a trained classifier depends on


class Setup(Parts):
    """What one cell is made of: its parts, and the subjects and explainers made of them.

    Args:
        cfg, overrides: as for `Parts`.
    """

    def trained(self) -> Subject:
        """The network that this configuration trains: loaded if some cell trained it before, else resumed or trained.

        In eval mode on the CPU, to be measured in float32.
        """
        training, penalty = self._cfg.training, build(self._cfg.penalty)
        if self.options.training.get("frozen"):
            return self._trained_head()
        taught = Feedback(self.data, penalty.given(self.data)) if isinstance(penalty, RightReasons) else None
        if taught is not None:
            taught.setup()
        torch.manual_seed(self.options.seed)
        module = Classifier(
            self._trainable(),
            self.optimizer(),
            data_term=training.data_term,
            penalty=penalty,
            layers=self.options.layers,
            schedule=self.schedule(),
            sizes={int(epoch): side for epoch, side in (training.get("sizes") or {}).items()},
            **self._handling,
        )
        also = None if taught is None else {"feedback": taught.digest}
        select = training.get("select")
        return self._fitted(module, OF_CLASSIFIERS, training.max_epochs, select, data=taught, also=also)

    def features(self, network: nn.Module, layer: str, pooled: bool = False) -> FeatureData:
        """The data set's features at a layer of a network, kept below the runs folder, for each trunk in its own.

        Args:
            pooled: keep their means over locations.
        """
        trunk = weights_hash(trunk_of(network, layer))
        name = f"{self.options.dataset}-{trunk}-{layer}"
        folder = self.kept_features / (f"{name}-pooled" if pooled else name)
        data = FeatureData(
            self.data, network, layer, folder, self.preprocessing, pooled=pooled, precision=self.precision
        )
        data.setup()
        return data

    def _trained_head(self) -> Subject:
        """The configured network with all that follows `training.frozen.layer` trained on the features there."""
        training, frozen = self.options.training, self.options.training.frozen
        off = {"penalty": "penalty=none", "augment": "training.augment=null", "sizes": "training.sizes=null"}
        for name, remedy in off.items():
            if (self.options if name == "penalty" else training).get(name):
                raise UserError(f"a classifier on features that are computed once takes no {name}: {remedy}.")
        torch.manual_seed(self.options.seed)
        network = self._trainable()
        features = self.features(network, frozen.layer, frozen.pooled)
        split = split_at(network, frozen.layer)
        head = fx.GraphModule(split.root, split.head_graph)  # its weights are the network's own
        module = Classifier(head, self.optimizer(), data_term=training.data_term, schedule=self.schedule())
        subject = self._fitted(
            module, OF_CLASSIFIERS, training.max_epochs, training.get("select"), data=features,
            also={"features": features.manifest},
        )  # fmt: skip
        return replace(subject, network=network.eval(), weights=weights_hash(network))

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

    def dual_encoder(self) -> Subject:
        """The dual encoder that this configuration trains on images and rationales; its data have facts for labels.

        Raises:
            UserError: the data set has no rationales.
        """
        chosen = self.options.rationales
        data = Rationales(self.data, shuffled=chosen.texts == "shuffled_rationales")
        data.setup()
        torch.manual_seed(self.options.seed)
        network: DualEncoder = build(self._cfg.rationales.network)(data.input_size, len(VOCABULARY), LONGEST)
        module: RationaleTraining = build(self._cfg.rationales.training)(network, texts=chosen.texts)
        return replace(self._fitted(module, ("rationales",), chosen.max_epochs, data=data), data=data)

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
        path = self.runs / "prototypes" / f"{name}.safetensors"
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

    @property
    def is_trained(self) -> bool:
        """Whether `explained` finds its network's weights and need not train it.

        Raises:
            UserError: the data are not there.
        """
        return not self.options.get("training") or (self._training(OF_CLASSIFIERS)[1] / RECORD).is_file()

    def attribution(self, subject: Subject) -> Method:
        """The configured attribution method of a subject's network, with generators trained for it if it has them.

        Raises:
            UserError: as `method` and `generators` do.
        """
        trained = [self.generators(subject)[0]] if self.options.get("generators") else []
        return self.method(subject.network, *trained)

    def attributions(self, subject: Subject, names: Iterable[str]) -> dict[str, Method]:
        """Attribution methods of a network by their names in `conf/attribution`, configured as this one otherwise."""
        return {name: self.variant(f"attribution={name}").attribution(subject) for name in names}

    def method(self, network: nn.Module, *trained: nn.Module) -> Method:
        """The configured attribution method of any network, such as one with other weights than the subject's.

        Args:
            trained: what the method takes besides the network.

        Raises:
            UserError: an option that the method has not, such as a layer for one that explains the input.
        """
        make = build(self._cfg.attribution)
        known = list(inspect.signature(make.func).parameters)
        if unknown := [name for name in make.keywords if name not in known]:
            why = ": it explains the input, not the features at a layer" if unknown[0] == "layer" else ""
            raise UserError(f"{make.func.__name__} has no {unknown[0]}{why}. It has {', '.join(known[1:])}.")
        method: Method = make(network, *trained)
        return method

    @cached_property
    def describer(self) -> Describer:
        """What puts filters into words; a server is asked whether it is there, and takes pictures, here.

        Raises:
            UserError: none is configured, or its server is not as it must be.
        """
        found: Describer | None = build(self._cfg.get("describer"))
        if found is None:
            raise UserError("this experiment has no describer; choose one: describer=measured.")
        return found

    def generators(self, subject: Subject) -> tuple[GeneratorPair, Mapping[str, Any]]:
        """The pair of generators that explains a subject's network, on its device, and the record of their training.

        Loaded if some cell trained it before, else resumed or trained, on the training images of the subject's data.

        Raises:
            UserError: the data set has no training images.
        """
        if not hasattr(subject.data, "train"):
            raise UserError(f"{subject.name} has no training images, and generators are trained: choose other data.")
        chosen, normalise = self._cfg.generators, self.normalise or nn.Identity()
        channels = subject.data.input_size[0]
        low, high = (normalise(torch.full((1, channels, 1, 1), end)).flatten().tolist() for end in (0.0, 1.0))
        torch.manual_seed(self.options.seed)
        pair: GeneratorPair = build(chosen.network)(channels=channels, low=low, high=high)
        handling = {"channels_last": self.options.trainer.channels_last, "normalise": self.normalise}
        module: GeneratorTraining = build(chosen.training)(pair, subject.network.cpu(), **handling)
        explained = {"classifier": subject.weights, "precision": subject.precision}
        trained = self._fitted(module, ("generators",), chosen.max_epochs, also=explained)
        subject.network.to(subject.device)
        assert trained.training is not None
        return pair.to(subject.device), trained.training

    def view(self, subject: Subject) -> View:
        """What the configured surrogate sees of a subject."""
        view: View = build(self._cfg.view)(subject)
        return view

    def concepts(self, subject: Subject) -> ConceptSets:
        """Images of the configured concepts, of chance, and of the classes that are asked about them.

        Raises:
            Missing: there are no such images at hand.
        """
        sets: ConceptSets = build(self._cfg.concepts)(subject.data)
        return sets

    def surrogate(self) -> Callable[..., Surrogate]:
        """The configured surrogate, of the option that sets its size."""
        make: Callable[..., Surrogate] = build(self._cfg.surrogate)
        return make

    @property
    def fit_share(self) -> float | None:
        """Share of each class's training images that prototypes are fitted on; None for all."""
        share: float | None = self.options.get("fit_share")
        return None if share == 1 else share

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
