"""The networks that can be chosen: loaded once, with what their pages need of them."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property, lru_cache

import torch
import yaml
from torch import Tensor

from xcnn.apps.explorer.state import State
from xcnn.attribution import Method
from xcnn.errors import UserError
from xcnn.evaluation.filters import FilterExplainer
from xcnn.evaluation.predictions import accuracy
from xcnn.evaluation.subject import Subject
from xcnn.filters import score_filters
from xcnn.language import MeasuredDescriber
from xcnn.launch import Setup
from xcnn.launch.compose import CONF, checked, compose
from xcnn.launch.titles import titled
from xcnn.prototypes import Encoder, KMEx

CONTROL = "activation_sum"  # blind to the class, at the layer in question
PER_CLASS = 3  # prototypes
MOST_TRAINING_IMAGES = 10_000  # among which the nearest are looked for


@lru_cache
def attribution_methods() -> Mapping[str, str]:
    """Titles of the attribution methods in conf/attribution, by name; not of those that need a training."""
    found = {}
    for path in sorted((CONF / "attribution").glob("*.yaml")):
        text = yaml.safe_load(path.read_text(encoding="utf-8"))
        trained = "generators" in text or any("generators" in str(each) for each in text.get("defaults", []))
        named = path.stem in text.get("titles", {}) or titled(path.stem) != path.stem
        if named and not trained:  # an alias of another file has no title
            found[path.stem] = titled(path.stem)
    return found


class Neighbours:
    """The training images in the space before the classifier: the nearest ones, and prototypes of each class (KMEx).

    Args:
        subject: network whose last block is followed by pooling and one linear layer.
        block: name of that block.

    Raises:
        UserError: the network is not of that form.
    """

    def __init__(self, subject: Subject, block: str):
        self.encoder = Encoder(subject.network, [block], subject.prepare, subject.batch)
        chosen = torch.arange(len(subject.data.train))[:MOST_TRAINING_IMAGES]
        self.images, self.labels = subject.data.train.images[chosen], subject.data.train.labels[chosen]
        self.embeddings = self.encoder.embeddings(self.images)
        self.kmex = KMEx(self.encoder, PER_CLASS)
        members = [(self.labels == label).nonzero().flatten() for label in range(len(subject.classes))]
        self.kmex.fit_embeddings(self.embeddings, members)

    def nearest(self, embedding: Tensor, n: int = 6) -> tuple[list[int], list[float]]:
        """Places of the training images nearest to an embedding (D,), and their distances."""
        distances = torch.cdist(embedding[None], self.embeddings)[0]
        found = distances.topk(n, largest=False)
        return found.indices.tolist(), found.values.tolist()


class ExplainedNetwork:
    """A network with its data, ready to be explained. Safe to use from several threads.

    Args:
        name: what to call it in addresses.
        identity: experiment whose configuration describes it (`demo/shapes`).
        overrides: overrides of that configuration (`penalty=none`).

    Raises:
        UserError: as `Setup.explained`, or its images have no three channels.
    """

    def __init__(self, name: str, identity: str, *overrides: str):
        self.name = name
        self.setup = Setup(checked(compose(identity, overrides), overrides), overrides)
        self.subject = self.setup.explained()
        options = self.setup.options
        if self.subject.data.input_size[0] != 3:
            raise UserError(f"the explorer draws colour images; {self.subject.name} has other channels.")
        self.layers = tuple(dict.fromkeys([*options.get("layers", []), *options.blocks, options.cam_layer]))
        self.last = self.layers[-1]
        self._lock = threading.RLock()
        self._explainers: dict[str, FilterExplainer] = {}
        self._methods: OrderedDict[tuple[str, str], Method] = OrderedDict()

    @property
    def title(self) -> str:
        options = self.setup.options
        return f"{titled(options.network)}, {titled(options.method)}, on {titled(options.dataset)}"

    @cached_property
    def accuracy(self) -> float:
        """Share of the test images that the network classifies rightly."""
        return accuracy(self.subject)

    def layer(self, state: State) -> str:
        """The state's layer, or the last one.

        Raises:
            UserError: there is no such layer.
        """
        if state.layer and state.layer not in self.layers:
            raise UserError(f"{self.name} shows no layer {state.layer!r}; there are: {', '.join(self.layers)}.")
        return state.layer or self.last

    def explainer(self, layer: str, unit: str) -> FilterExplainer:
        """Scores, activity and words of a layer's filters, measured once; `unit` as of `State`."""
        with self._lock:
            if layer not in self._explainers:
                self._explainers[layer] = FilterExplainer(self.subject, layer, MeasuredDescriber())
            if unit == "one":
                return self._explainers[layer]
            key = f"{layer} {unit}"
            if key not in self._explainers:
                at_p95 = copy.copy(self._explainers[layer])
                size, values = self.subject.data.input_size, at_p95.activity.p95
                at_p95.scores = score_filters(self.subject.network, layer, size, unit=values)
                self._explainers[key] = at_p95
            return self._explainers[key]

    def method(self, name: str, layer: str) -> Method:
        """An attribution method of this network, at a layer where it has one.

        Raises:
            UserError: there is no such method, or it does not fit the network.
        """
        if name not in attribution_methods():
            raise UserError(f"there is no method {name!r}; there are: {', '.join(attribution_methods())}.")
        with self._lock:
            if (name, layer) not in self._methods:
                variant = self.setup.variant(f"attribution={name}", f"cam_layer={layer}")
                self._methods[name, layer] = variant.method(self.subject.network)
                if len(self._methods) > 64:
                    self._methods.popitem(last=False)
            return self._methods[name, layer]

    def warm_up(self) -> None:
        """Measure beforehand what the first page would wait for."""
        state = State()
        self.explainer(self.last, state.unit)
        for name in (state.first, state.second, CONTROL):
            self.method(name, self.last)
        _ = self.accuracy, self.neighbours

    @cached_property
    def neighbours(self) -> Neighbours | None:
        """None where the network's form has no pooled embedding, or its data no training images."""
        try:
            return Neighbours(self.subject, self.last) if hasattr(self.subject.data, "train") else None
        except UserError:
            return None
