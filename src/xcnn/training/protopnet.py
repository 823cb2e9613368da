"""Staged training of a ProtoPNet (Chen et al. 2019).

    warm   optimisation of add-on layers and prototypes; the backbone is fixed
    joint  optimisation of backbone, add-on layers and prototypes
    push   projection of each prototype onto the nearest latent patch of its own class's training images
    last   optimisation of the last layer alone, after every push

The loss of every stage is CE + 0.8 cluster - 0.08 separation + 1e-4 L1, where cluster and separation are the means over
images of the smallest distance to a prototype of the image's own class and of another class, and L1 is the norm of the
weights between a class and the prototypes of other classes.

Differences from the original implementation:

- The backbone is in evaluation mode in the stages that do not train it. The original leaves BatchNorm in training mode,
  so that its running statistics change and pushed prototypes drift away from their patches.
- The last layer is trained on the distances of the training images without augmentation, which are computed once per
  push, since nothing before the last layer changes; the original augments there.
- The learning rate falls after every fifth joint epoch; the original steps its schedule before an epoch, so that its
  first rate lasts for four.
- The training ends with a push and its last layer, and the final epoch is the result; the original selects an epoch by
  its accuracy on the test images.
- Ties between patches are resolved in favour of the first image and its first location. Several prototypes may have the
  same source image.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import StepLR

from xcnn.data.tensors import Batches, TensorDataModule
from xcnn.errors import Diverged, UserError
from xcnn.models.protopnet import ProtoPNet
from xcnn.training.classifier import Classifier, refused_settings

Stage = Literal["warm", "joint", "last"]
STAGES: tuple[Stage, ...] = ("warm", "joint", "last")  # in the order of their optimisers


def stages_of(warm: int, joint: int, push_start: int, push_every: int, last: int) -> list[Stage]:
    """The stage of each epoch; a push precedes each run of "last".

    Args:
        warm: number of epochs of the warm stage, at least 0.
        joint: number of epochs of the joint stage, at least 0.
        push_start: index of the warm or joint epoch after which the first push comes, from 0.
        push_every: number of warm and joint epochs between pushes; a push also follows the last of them.
        last: number of epochs of the last layer after each push, at least 1.

    Raises:
        UserError: a number out of its range.
    """
    if min(warm, joint, push_start) < 0 or warm + joint < 1 or push_every < 1 or last < 1:
        raise UserError(
            "warm, joint and push_start must be at least 0, push_every, last and warm + joint at least 1, not "
            f"warm={warm}, joint={joint}, push_start={push_start}, push_every={push_every}, last={last}."
        )
    stages: list[Stage] = []
    for epoch in range(warm + joint):
        stages.append("warm" if epoch < warm else "joint")
        due = epoch >= push_start and (epoch - push_start) % push_every == 0
        if due or epoch == warm + joint - 1:
            stages += ["last"] * last
    return stages


def loss_terms(network: ProtoPNet, min_distances: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Terms of the loss besides the cross-entropy, as scalars.

    Args:
        network: ProtoPNet with P prototypes.
        min_distances: squared distance of each image's nearest patch to each prototype, (N, P).
        labels: classes of the images, (N,).

    Returns:
        `cluster` and `separation` cost, and the `l1` norm of the weights between classes.
    """
    own = network.own
    of_label = own[labels]
    return {
        "cluster": min_distances.masked_fill(~of_label, torch.inf).min(1).values.mean(),
        "separation": min_distances.masked_fill(of_label, torch.inf).min(1).values.mean(),
        "l1": network.last.weight.masked_fill(own, 0).abs().sum(),
    }


@torch.no_grad()
def push(network: ProtoPNet, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Replace each prototype by the nearest latent patch of its class's images, and its `source` by the patch's place.

    Args:
        network: ProtoPNet in evaluation mode, changed in place; a prototype of a class without images is kept, with
            source -1.
        batches: batches of the network's input (n, C, H, W) and labels (n,), in the order of the training images.
    """
    prototypes = network.prototypes.flatten(1).clone()
    source = torch.full_like(network.source, -1)
    nearest = torch.full_like(prototypes[:, 0], torch.inf, dtype=torch.promote_types(prototypes.dtype, torch.float32))
    seen = 0
    for images, labels in batches:
        latent = network.latent(images)
        distances, place = network.distances(latent).flatten(2).min(2)  # (n, P) each
        distances, image = distances.masked_fill(~network.own[labels], torch.inf).min(0)  # (P,) each; ties: the first
        place = place.gather(0, image[None])[0]
        nearer = (distances < nearest)[:, None]
        nearest = torch.minimum(distances, nearest)
        patches = latent.flatten(2)[image, :, place].to(prototypes.dtype)
        prototypes = torch.where(nearer, patches, prototypes)
        width = latent.shape[3]
        source = torch.where(nearer, torch.stack([seen + image, place // width, place % width], 1), source)
        seen += len(labels)
    network.prototypes.copy_(prototypes.view_as(network.prototypes))
    network.source.copy_(source)


class ProtoPNetTraining(Classifier):
    """Staged training of a ProtoPNet over `max_epochs` epochs: fit it with `max_epochs=module.max_epochs`.

    A push, and the distances on which the last layer is trained, are computed in the epoch that needs them: a training
    resumed there computes them again, to the same values. Every process pushes onto all training images. The set of
    trained parameters changes, so that several processes need a strategy that finds unused parameters
    ("ddp_spawn_find_unused_parameters_true").

    Args:
        network: ProtoPNet to be trained.
        joint: number of epochs of the joint stage.
        warm, push_start, push_every, last: numbers of epochs as in `stages_of`; defaults of the original.
        warm_lr: learning rate of add-on layers and prototypes in the warm stage.
        joint_lr: learning rate of add-on layers and prototypes in the joint stage.
        features_lr: learning rate of the backbone in the joint stage.
        last_lr: learning rate of the last layer.
        weight_decay: weight decay of add-on layers and backbone (Adam's L2 penalty).
        decay_every: number of joint epochs between decays of the joint stage's learning rates.
        decay: factor of each of these decays.
        cluster: weight of the cluster cost in the loss.
        separation: weight of the separation cost, which is subtracted.
        l1: weight of the L1 norm.
        channels_last, normalise, augment: as in `Classifier`.

    Raises:
        UserError: a number of epochs out of its range.
        Diverged: as in `Classifier`.
    """

    network: ProtoPNet

    def __init__(
        self,
        network: ProtoPNet,
        joint: int,
        warm: int = 5,
        push_start: int = 10,
        push_every: int = 10,
        last: int = 20,
        warm_lr: float = 3e-3,
        joint_lr: float = 3e-3,
        features_lr: float = 1e-4,
        last_lr: float = 1e-4,
        weight_decay: float = 1e-3,
        decay_every: int = 5,
        decay: float = 0.1,
        cluster: float = 0.8,
        separation: float = 0.08,
        l1: float = 1e-4,
        channels_last: bool = False,
        normalise: Callable[[Tensor], Tensor] | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
    ):
        super().__init__(network, Adam, channels_last=channels_last, normalise=normalise, augment=augment)
        self.automatic_optimization = False  # one optimiser per stage
        self.stages = stages_of(warm, joint, push_start, push_every, last)
        self.warm_lr, self.joint_lr, self.features_lr, self.last_lr = warm_lr, joint_lr, features_lr, last_lr
        self.weight_decay, self.decay_every, self.decay = weight_decay, decay_every, decay
        self._min_distances: Tensor | None = None  # (N, P) of the training images, in the stage "last"
        self._order: list[Tensor] = []  # image indices of each batch of the current epoch, in the stage "last"
        self.weights = {"cluster": cluster, "separation": -separation, "l1": l1}

    @property
    def max_epochs(self) -> int:
        return len(self.stages)

    @property
    def stage(self) -> Stage:
        """Stage of the current epoch."""
        return self.stages[self.current_epoch]

    def optimisation(self, total_steps: int) -> OptimizerLRScheduler:
        network, decay = self.network, self.weight_decay

        def group(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0) -> dict[str, Any]:
            return {"params": list(parameters), "lr": lr, "weight_decay": weight_decay}

        def latent(lr: float) -> list[dict[str, Any]]:
            return [group(network.add_on.parameters(), lr, decay), group([network.prototypes], lr)]

        with refused_settings("protopnet.training"):
            joint = Adam([group(network.features.parameters(), self.features_lr, decay), *latent(self.joint_lr)])
            last = Adam([group(network.last.parameters(), self.last_lr)])
            return [Adam(latent(self.warm_lr)), joint, last], [StepLR(joint, self.decay_every, self.decay)]

    def check(self, data: TensorDataModule, max_epochs: int) -> None:
        """As a `Classifier`'s.

        Raises:
            UserError: besides, epochs other than the stages', classes other than the network's, or a class without
                training images.
        """
        n_classes = self.network.last.out_features
        if max_epochs != self.max_epochs:
            raise UserError(f"the stages take {self.max_epochs} epochs, not {max_epochs}.")
        if len(data.classes) != n_classes:
            raise UserError(f"{data.name} has {len(data.classes)} classes, and the network {n_classes}.")
        super().check(data, max_epochs)
        counts = data.train.labels.bincount(minlength=n_classes).tolist()
        empty = [name for name, count in zip(data.classes, counts, strict=True) if not count]
        if empty:
            raise UserError(
                f"a prototype is a patch of a training image of its class, and there is none of: {', '.join(empty)}. "
                "Give more training images, or fewer classes."
            )

    def on_train_epoch_start(self) -> None:
        # Lightning restores modes after a validation by setting flags; only train() switches the extractor's graph.
        self.network.eval()
        self.network.train()
        if self.stage != "joint":
            self.network.features.eval()
        self.network.requires_grad_(False)
        for group in self._optimizer().param_groups:
            for parameter in group["params"]:
                parameter.requires_grad_(True)
        if self.stage != "last":
            return
        # The sampler's order of this epoch, since batches come without the indices of their images.
        self._order = list(self.trainer.train_dataloader.sampler)  # type: ignore[union-attr]
        begins = self.stages[self.current_epoch - 1] != "last"
        with torch.no_grad(), self.trainer.precision_plugin.forward_context():
            if begins:
                push(self.network, self._training_set())
            if begins or self._min_distances is None:
                batches = [self.network.min_distances(images) for images, _ in self._training_set()]
                self._min_distances = torch.cat(batches)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        images, labels = batch
        if self.stage == "last":
            assert self._min_distances is not None
            min_distances = self._min_distances[self._order[batch_idx].to(labels.device)]
        else:
            min_distances = self.network.min_distances(self.network_input(self.training_images(images)))
        data_term = self.data_term(self.network.logits(min_distances), labels)
        terms = loss_terms(self.network, min_distances, labels)
        loss = data_term + sum(self.weights[name] * term for name, term in terms.items())
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss became {loss.item()} at step {self.global_step} (epoch {self.current_epoch}, batch "
                f"{batch_idx}, stage {self.stage}); the checkpoint of the last whole epoch is kept. Lower the learning "
                "rates."
            )
        optimizer = self._optimizer()
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        values = {"loss": loss, "data_term": data_term, **terms}
        self.log_dict(
            {f"train/{name}": value.detach() for name, value in values.items()},
            on_step=False,
            on_epoch=True,
            batch_size=len(labels),
        )
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=len(labels))
        return loss

    def on_train_epoch_end(self) -> None:
        if self.stage == "joint":
            self.lr_schedulers().step()  # type: ignore[union-attr]

    def on_train_end(self) -> None:
        self.network.requires_grad_(True)

    def _optimizer(self) -> LightningOptimizer:
        """Optimiser of the current stage."""
        return self.optimizers()[STAGES.index(self.stage)]  # type: ignore[index]

    def _training_set(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of the network's input and labels: all training images without augmentation, in file order."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        for indices in torch.arange(len(data.train)).split(data.batch_size):
            images, labels = (part.to(self.device) for part in Batches(data.train)[indices])
            yield self.network_input(self.trainer.precision_plugin.convert_input(images)), labels
