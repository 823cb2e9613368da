"""The difference of two generated images (Charachon et al. 2020)."""

from typing import ClassVar

from torch import Tensor, nn

from xcnn.attribution.batch import Batch
from xcnn.attribution.input_method import InputMethod
from xcnn.models.generators import GeneratorPair
from xcnn.models.graph import evaluation_copy


class TwoGenerators(InputMethod):
    """R = |g_s(x) - g_a(x)| (eq. 27), the greatest over the channels; the relevance is g_s(x) - g_a(x), signed.

    There is no target in it: the pair was trained (`xcnn.training.GeneratorTraining`) to keep, and to turn, the class
    that the network predicts, whatever class is asked for.

    Args:
        generators: trained pair, for this network and the images as it takes them.
        model, chunk: as for `InputMethod`.
    """

    absolute: ClassVar[bool] = True

    def __init__(self, model: nn.Module, generators: GeneratorPair, chunk: int | None = None):
        super().__init__(model, chunk)
        copied = evaluation_copy(generators)
        assert isinstance(copied, GeneratorPair)
        self.generators = copied

    def attribute(self, batch: Batch) -> Tensor:
        similar, adversarial = self.pair(batch.images)
        return similar - adversarial

    def pair(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The similar and the adversarial image of images (N, C, H, W), as the network takes them."""
        similar, adversarial = self.generators(images.to(next(self.generators.parameters()).dtype))
        return similar, adversarial
