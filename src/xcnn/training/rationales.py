"""Training a dual encoder on (image, class, rationale) with several positives (DeConvolve, section 5)."""

from collections.abc import Callable, Iterable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from xcnn.data.rationales import class_names, drawn_rationales, holds, sentence, tokens
from xcnn.data.tensors import TensorDataModule
from xcnn.errors import Diverged, UserError
from xcnn.models.dual_encoder import DualEncoder
from xcnn.training.classifier import Classifier

Texts = Literal["class_names", "rationales", "shuffled_rationales"]


def multi_positive_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """Symmetric InfoNCE with several positives (as Khosla et al. 2020 for one tower).

    Cross-entropy of each row's and each column's softmax against its positives in equal shares, averaged over both;
    with one positive for each it is CLIP's loss.

    Args:
        logits: (images, texts).
        positive: (images, texts) bool, at least one in each row and column.
    """
    shares = positive.to(logits.dtype)
    rows = -(logits.log_softmax(1) * shares / shares.sum(1, keepdim=True)).sum(1).mean()
    columns = -(logits.log_softmax(0) * shares / shares.sum(0)).sum(0).mean()
    return (rows + columns) / 2


class RationaleTraining(Classifier):
    """Minimises the multi-positive loss; a positive is every sentence of the batch that is true of an image.

    Args:
        network: the dual encoder.
        optimizer, schedule, augment: as for `Classifier`.
        texts: a sentence for each image and step: its class's name (`class_names`), or a drawn share of what the data
            set's facts say of it (`rationales`; `shuffled_rationales` where these are another image's).

    Raises:
        UserError: unknown texts.
    """

    network: DualEncoder

    def __init__(
        self,
        network: DualEncoder,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        texts: Texts = "rationales",
        schedule: Callable[..., LRScheduler] | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
    ):
        super().__init__(network, optimizer, schedule=schedule, augment=augment)
        if texts not in get_args(Texts):
            raise UserError(f"rationales.texts is one of {', '.join(get_args(Texts))}, not {texts!r}.")
        self.texts = texts

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        images, facts = self.training_images(batch[0]), batch[1].cpu()
        said = class_names(facts[:, 0]) if self.texts == "class_names" else drawn_rationales(facts)
        words = tokens([sentence(row) for row in said]).to(images.device)
        loss = multi_positive_loss(self.network(images, words).float(), holds(said, facts).to(images.device))
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss became {loss.item()} at step {self.global_step} (epoch {self.current_epoch}, batch "
                f"{batch_idx}); the checkpoint of the last whole epoch is kept. Lower the learning rate."
            )
        self.log_dict(
            {"train/loss": loss.detach(), "train/scale": self.network.scale.detach()}, on_step=False, on_epoch=True
        )
        self.log("loss", loss.detach(), prog_bar=True, logger=False)
        return loss

    def check(self, data: TensorDataModule, max_epochs: int) -> None:
        """That the optimiser and its schedule take their settings, and that the data set has facts."""
        self.optimisation(len(data.train_dataloader()) * max_epochs)
        if data.train.labels.ndim != 2:
            raise UserError(f"{data.name} has labels and no facts: train on `xcnn.data.Rationales`.")
