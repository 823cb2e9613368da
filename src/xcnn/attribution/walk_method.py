"""Attribution methods that are a reverse walk of the traced network under a composite of rules."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from xcnn.attribution.backward import Composite, Recorded, Walk, read_composite
from xcnn.attribution.batch import Batch
from xcnn.attribution.input_method import InputMethod
from xcnn.models.graph import TracedNetwork


class WalkMethod(InputMethod):
    """A method whose relevance is the multiplier that a walk gives the images.

    Args:
        composite: a name in `conf/composite`, the path of a YAML file like those, or a composite.
        options: options of rules that stand before the composite's, wherever a rule has them; None leaves it as it is.
        model, chunk: as for `InputMethod`.

    Attributes:
        walk: the reverse walk.

    Raises:
        UserError: `torch.fx` cannot trace the network, an operation has no rule, or the composite is at fault.
    """

    def __init__(
        self, model: nn.Module, composite: str | Path | Composite, chunk: int | None = None, **options: Any
    ) -> None:
        super().__init__(model, chunk)
        self.composite = composite if isinstance(composite, Composite) else read_composite(composite)
        self.walk = Walk(TracedNetwork(model), lambda call: self.composite.choose(call, options))

    def record(self, images: Tensor) -> Recorded:
        return self.walk.forward(images)

    def attribute(self, batch: Batch) -> Tensor:
        assert isinstance(batch, Recorded)
        return batch.send(keep=batch.again)[0]
