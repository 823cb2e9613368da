"""Training of two generators against a frozen classifier (Charachon et al. 2020).

Of an image x with predicted class c, the similar image g_s(x) is to keep c and the adversarial one g_a(x) to lose it,
and both are to be close: to x the first, to the first the second. Minimised is

    0.01  CE(f(g_s(x)), c)  +  0.2  T(f(g_a(x)))  +  0.005  CE(f(g_a(g_a(x))), c)
    + 10  d(g_s(x), x)  +  2  d(g_a(x), g_s(x)),        d = mean squared + mean absolute difference,

where T is -log(1 - p_c), that some other class wins, or the cross-entropy of the runner-up; of two classes these are
one, the binary cross-entropy. The paper's losses are public in words only; the weights are those of the authors' later
code (cGANsExplainer), and the third term is its cycle: what is turned twice is back.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from xcnn.data.tensors import TensorDataModule, scale
from xcnn.errors import Diverged, UserError
from xcnn.models.generators import GeneratorPair
from xcnn.training.classifier import Classifier, refused_settings

Aim = Literal["other", "runner_up"]


def other_class(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean of -log(1 - p_c) over images: logits (N, C), classes c (N,) -> scalar."""
    others = logits.scatter(1, classes[:, None], -torch.inf)
    return (logits.logsumexp(1) - others.logsumexp(1)).mean()


def distance(images: Tensor, others: Tensor) -> Tensor:
    """Mean squared plus mean absolute difference: two of (N, C, H, W) -> scalar."""
    return F.mse_loss(images, others) + F.l1_loss(images, others)


def generator_terms(
    generators: GeneratorPair, classifier: nn.Module, images: Tensor, aim: Aim = "other"
) -> dict[str, Tensor]:
    """The five terms of the loss, unweighted, as scalars.

    Args:
        generators: pair of generators.
        classifier: f, images (N, C, H, W) to logits (N, classes), frozen.
        images: x, as the classifier takes them.
        aim: class that the adversarial image is to have: any "other", or the "runner_up" of the image.

    Returns:
        `similar`, `adversarial`, `cyclic`, `image` (d of similar and image) and `between` (d of both).
    """
    with torch.no_grad():
        order = classifier(images).float().topk(2, 1).indices
    kept, runner_up = order.unbind(1)
    similar, adversarial = generators(images)
    turned = classifier(adversarial).float()
    back = generators(adversarial)[1]
    unit = generators.unit
    return {
        "similar": F.cross_entropy(classifier(similar).float(), kept),
        "adversarial": other_class(turned, kept) if aim == "other" else F.cross_entropy(turned, runner_up),
        "cyclic": F.cross_entropy(classifier(back).float(), kept),
        "image": distance(unit(similar), unit(images)),
        "between": distance(unit(adversarial), unit(similar)),
    }


class GeneratorTraining(Classifier):
    """Trains a pair of generators; the classifier is frozen, and copied, so that the caller's stays as it is.

    Args:
        network: pair of generators.
        classifier: network that is explained, images as it takes them to logits (N, classes).
        optimizer: constructor of the optimiser from parameters.
        aim: as in `generator_terms`.
        similar, adversarial, cyclic, image, between: weights of the terms.
        channels_last, normalise, augment, schedule: as in `Classifier`.

    Raises:
        UserError: an unknown aim.
        Diverged: as in `Classifier`.
    """

    network: GeneratorPair

    def __init__(
        self,
        network: GeneratorPair,
        classifier: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        aim: Aim = "other",
        similar: float = 0.01,
        adversarial: float = 0.2,
        cyclic: float = 0.005,
        image: float = 10.0,
        between: float = 2.0,
        channels_last: bool = False,
        normalise: Callable[[Tensor], Tensor] | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
        schedule: Callable[..., LRScheduler] | None = None,
    ):
        super().__init__(
            network, optimizer, channels_last=channels_last, normalise=normalise, augment=augment, schedule=schedule
        )
        if aim not in get_args(Aim):
            raise UserError(f"aim is {aim!r}; choose one of {', '.join(get_args(Aim))}.")
        self.classifier, self.aim = copy.deepcopy(classifier).eval().requires_grad_(False), aim
        self.weights = {
            "similar": similar, "adversarial": adversarial, "cyclic": cyclic, "image": image, "between": between,
        }  # fmt: skip

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        inputs = self.network_input(self.training_images(batch[0]))
        terms = generator_terms(self.network, self.classifier, inputs, self.aim)
        loss = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss became {loss.item()} at step {self.global_step} (epoch {self.current_epoch}, batch "
                f"{batch_idx}); the checkpoint of the last whole epoch is kept. Lower the learning rate."
            )
        values = {"loss": loss, **terms}
        self.log_dict({f"train/{name}": value.detach() for name, value in values.items()}, on_step=False, on_epoch=True)
        self.log("loss", loss.detach(), prog_bar=True, logger=False)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        inputs = self.network_input(batch[0])
        similar, adversarial = self.network(inputs)
        classes, kept, turned = (self.classifier(each).argmax(1) for each in (inputs, similar, adversarial))
        values = {"val/kept": (kept == classes).float().mean(), "val/turned": (turned != classes).float().mean()}
        self.log_dict(values, batch_size=len(inputs), prog_bar=True, sync_dist=True)

    def optimisation(self, total_steps: int) -> OptimizerLRScheduler:
        with refused_settings("generators.training"):
            return super().optimisation(total_steps)

    def check(self, data: TensorDataModule, max_epochs: int) -> None:
        """Refuse, before the first step, what the training would fail at; all is afterwards as it was before.

        Raises:
            UserError: the optimiser refuses its settings, or the images do not fit the generators or the classifier.
        """
        self.optimisation(len(data.train_dataloader()) * max_epochs)
        image = self.network_input(scale(data.train.images[:1]))
        with torch.no_grad():
            logits = self.classifier(copy.deepcopy(self.network).eval()(image)[1])
        if logits.ndim != 2 or logits.shape[1] < 2:
            raise UserError(f"the classifier gives {tuple(logits.shape)}; generators need at least two classes.")
