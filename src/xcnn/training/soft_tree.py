"""Training a soft decision tree, on labels or on what a network says of the images (Frosst & Hinton 2017)."""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from xcnn.data.tensors import Labelled, TensorDataModule
from xcnn.errors import Diverged, UserError
from xcnn.models.soft_tree import Balance, SoftDecisionTree, tree_loss
from xcnn.training.classifier import Classifier


class SoftLabels(TensorDataModule):
    """A data set whose training images have distributions over the classes in their labels' place.

    Args:
        data: the data set; its validation and test images keep their labels.
        probabilities: (N, classes), of its training images in their order.

    Raises:
        UserError: when set up, probabilities that do not fit the training images.
    """

    def __init__(self, data: TensorDataModule, probabilities: Tensor):
        super().__init__(data.root, data.batch_size, data.val_share, data.seed, data.train_size, data.test_size)
        self.source, self.probabilities = data, probabilities

    def setup(self, stage: str = "") -> None:
        self.source.setup(stage)
        data = self.source
        if self.probabilities.shape != (len(data.train), len(data.classes)):
            raise UserError(
                f"probabilities {tuple(self.probabilities.shape)} for {len(data.train)} training images and "
                f"{len(data.classes)} classes: give those of the same images."
            )
        self.name, self.classes, self.manifest = data.name, data.classes, data.manifest
        self.train, self.val, self.test = Labelled(data.train.images, self.probabilities), data.val, data.test
        self.pictures = data.pictures


class SoftTreeTraining(Classifier):
    """Minimises the loss of a soft decision tree and its balance penalty.

    Args:
        network: the tree.
        optimizer: constructor of the optimiser, as for `Classifier`.
        balance: lambda of the penalty.
        augment, schedule: as for `Classifier`.
    """

    network: SoftDecisionTree

    def __init__(
        self,
        network: SoftDecisionTree,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        balance: float = 0.1,
        augment: Callable[[Tensor], Tensor] | None = None,
        schedule: Callable[..., LRScheduler] | None = None,
    ):
        super().__init__(network, optimizer, augment=augment, schedule=schedule)
        self.balance = Balance(network.depth, balance)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        images, targets = self.training_images(batch[0]), batch[1]
        if targets.ndim == 1:
            targets = F.one_hot(targets, self.network.leaves.shape[1])
        paths = self.network.paths(images)
        data_term = tree_loss(paths, self.network.leaves, targets.to(paths.leaves.dtype))
        penalty = self.balance(paths)
        loss = data_term + penalty
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss became {loss.item()} at step {self.global_step} (epoch {self.current_epoch}, batch "
                f"{batch_idx}); the checkpoint of the last whole epoch is kept. Lower the learning rate."
            )
        values = {"train/loss": loss, "train/data_term": data_term, "train/balance": penalty}
        self.log_dict({name: value.detach() for name, value in values.items()}, on_step=False, on_epoch=True)
        self.log("loss", loss.detach(), prog_bar=True, logger=False)
        return loss

    def check(self, data: TensorDataModule, max_epochs: int) -> None:
        """As a `Classifier`'s; of distributions in the labels' place, that they have a column for each class."""
        targets = data.train.labels
        if targets.ndim == 1:
            super().check(data, max_epochs)
            return
        self.optimisation(len(data.train_dataloader()) * max_epochs)
        if targets.shape[1] != self.network.leaves.shape[1]:
            raise UserError(
                f"the distributions have {targets.shape[1]} classes, and the tree {self.network.leaves.shape[1]}."
            )
