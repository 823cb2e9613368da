"""LightningModule of a classifier: a data term, and an optional penalty on feature maps or on input gradients."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from xcnn.data.tensors import TensorDataModule, scale
from xcnn.errors import Diverged, UserError
from xcnn.models.capture import capture
from xcnn.training.concise import ConcisePenalty
from xcnn.training.right_reasons import FEEDBACK, RightReasons

DataTerm = Literal["cross_entropy", "mse"]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits (N, C) against labels (N,)."""
    return F.cross_entropy(logits, labels)


def mse(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over images of ||softmax(logits) - one-hot(labels)||^2, the data term printed in DeConvolve's eq. 1."""
    one_hot = F.one_hot(labels, logits.shape[1])
    return (logits.softmax(1) - one_hot).square().sum(1).mean()


DATA_TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross_entropy": cross_entropy, "mse": mse}


class Classifier(LightningModule):
    """Minimises the sum of a data term and a penalty on feature maps, or on the gradient of the input.

    Args:
        network: classifier, images (N, C, H, W) to logits (N, classes).
        optimizer: constructor of the optimiser from parameters, e.g. `functools.partial(torch.optim.Adam, lr=1e-3)`.
        data_term: loss on the logits: "cross_entropy", or "mse" on the softmax.
        penalty: penalty on the feature maps of `layers`, or `RightReasons` on the input's gradient, for which batches
            have masks (`Feedback`); None for the data term alone.
        layers: names of the post-ReLU layers whose feature maps are penalised.
        channels_last: whether images and weights have that memory format; a matter of speed, and of rounding.
        normalise: map from images in [0, 1] to the network's input, in training and in evaluation; None for identity.
        augment: augmentation of images (N, C, H, W), in training only; None for none.
        sizes: side in pixels of the training images from each epoch on (`{0: 32, 12: 64}`): progressive resizing, after
            the augmentation; empty for the images' own. Evaluation is at the images' own size.
        schedule: constructor of a per-step learning-rate schedule, called as `schedule(optimizer, total_steps=n)`, e.g.
            `functools.partial(OneCycleLR, max_lr=0.1)`; None for a constant rate.

    Raises:
        UserError: an unknown data term, a penalty without layers, a size that is not positive or none for epoch 0.
        Diverged: a loss that is not finite; raised before the step, so that the weights stay finite.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        data_term: DataTerm = "cross_entropy",
        penalty: ConcisePenalty | RightReasons | None = None,
        layers: Sequence[str] = (),
        channels_last: bool = False,
        normalise: Callable[[Tensor], Tensor] | None = None,
        augment: Callable[[Tensor], Tensor] | None = None,
        sizes: Mapping[int, int] | None = None,
        schedule: Callable[..., LRScheduler] | None = None,
    ):
        super().__init__()
        if data_term not in DATA_TERMS:
            raise UserError(f"unknown data term {data_term!r}; there are: {', '.join(DATA_TERMS)}.")
        if penalty is not None and not isinstance(penalty, RightReasons) and not layers:
            raise UserError("a penalty needs the names of the layers that it penalises: give layers=[...].")
        if isinstance(penalty, RightReasons) and (augment is not None or sizes):
            raise UserError("feedback is on images as they are: train without augmentation and without other sizes.")
        self.sizes = dict(sorted((sizes or {}).items()))
        if self.sizes and (0 not in self.sizes or min(self.sizes.values()) < 1 or min(self.sizes) < 0):
            raise UserError(f"sizes needs a positive side from epoch 0 on, not {self.sizes}.")
        self.network, self.penalty, self.layers = network, penalty, tuple(layers)
        self.data_term, self.optimizer = DATA_TERMS[data_term], optimizer
        self.normalise, self.augment, self.schedule = normalise, augment, schedule
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network.to(memory_format=self.memory_format).train()  # Lightning trains a module in the mode it comes in

    def network_input(self, images: Tensor) -> Tensor:
        """The network's input: images in [0, 1], normalised and in the memory format."""
        if self.normalise is not None:
            images = self.normalise(images)
        return images.contiguous(memory_format=self.memory_format)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.network_input(images))

    def training_images(self, images: Tensor) -> Tensor:
        """Training images of the current epoch: augmented, then resized to its side (bilinear, antialiased)."""
        if self.augment is not None:
            images = self.augment(images)
        begun = [size for epoch, size in self.sizes.items() if epoch <= self.current_epoch]
        if begun and images.shape[2:] != (begun[-1], begun[-1]):
            images = F.interpolate(images, (begun[-1], begun[-1]), mode="bilinear", antialias=True)
        return images

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        images, labels = self.training_images(batch[0]), batch[1]
        if isinstance(self.penalty, RightReasons):
            logits, penalty, parts = self._taught(self.penalty, images, batch[2])
        else:
            with capture(self.network, self.layers if self.penalty is not None else ()) as maps:
                logits = self(images).float()
            if self.penalty is not None:
                penalty, parts = self.penalty([maps[layer] for layer in self.layers], self.current_epoch)
        loss = data_term = self.data_term(logits, labels)
        if self.penalty is not None:
            loss = data_term + penalty
            self.log_dict({f"train/{name}": value for name, value in parts.items()}, on_step=False, on_epoch=True)
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss became {loss.item()} at step {self.global_step} (epoch {self.current_epoch}, batch "
                f"{batch_idx}); the checkpoint of the last whole epoch is kept. Lower the learning rate or "
                "the penalty's weights."
            )
        self.log_dict(
            {"train/loss": loss.detach(), "train/data_term": data_term.detach()}, on_step=False, on_epoch=True
        )
        self.log("loss", loss.detach(), prog_bar=True, logger=False)
        return loss

    def _taught(self, penalty: RightReasons, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Logits (N, classes), and the penalty with its parts.

        Images without a mask go through the network apart, where images do not meet in it (in BatchNorm), as no second
        derivative is needed of them.
        """
        meet = any(isinstance(module, _BatchNorm) for module in self.network.modules())
        spoken = (masks != 0).flatten(1).any(1)
        if not spoken.any():
            return self(images).float(), images.new_zeros(()), {}
        chosen = torch.ones_like(spoken) if meet else spoken
        own = images[chosen].requires_grad_()
        logits = self(own).float()
        value, parts = penalty(own, logits, masks[chosen], len(images))
        if not chosen.all():
            logits = torch.cat([logits, self(images[~chosen]).float()])
            logits = logits[torch.cat([chosen.nonzero(), (~chosen).nonzero()]).flatten().argsort()]
        return logits, value, parts

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        logits = self(images).float()
        values = {
            "val/loss": self.data_term(logits, labels),
            "val/accuracy": (logits.argmax(1) == labels).float().mean(),
        }
        self.log_dict(values, batch_size=len(labels), prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return self.optimisation(0 if self.schedule is None else int(self.trainer.estimated_stepping_batches))

    def optimisation(self, total_steps: int) -> OptimizerLRScheduler:
        """The optimiser and the schedule of a training of `total_steps` steps, as Lightning takes them.

        Raises:
            UserError: one of them refuses its settings.
        """
        with refused_settings("training.optimizer"):
            optimizer = self.optimizer(self.network.parameters())
        if self.schedule is None:
            return optimizer
        with refused_settings("training.schedule"):
            schedule = self.schedule(optimizer, total_steps=total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def check(self, data: TensorDataModule, max_epochs: int) -> None:
        """Refuse, before the first step, what the training would fail at.

        Parameters, BatchNorm's statistics, modes and torch's generator are afterwards as they were before.

        Raises:
            UserError: the optimiser, its schedule or the augmentation refuses its settings; the network lacks one of
                `layers`; a label is no output of the network; a penalty that learns from masks, and data without.
        """
        if isinstance(self.penalty, RightReasons) and FEEDBACK not in data.train.masks:
            raise UserError(f"the penalty learns from masks: train on Feedback(data, masks), not on {data.name} alone.")
        self.optimisation(len(data.train_dataloader()) * max_epochs)
        device = next(self.network.parameters()).device
        image = scale(data.train.images[:1]).to(device)
        if self.augment is not None:
            with refused_settings("training.augment"), torch.random.fork_rng(devices=[]):
                self.augment(image)
        modes = [(module, module.training) for module in self.network.modules()]
        self.network.eval()
        try:
            with torch.no_grad(), capture(self.network, self.layers):
                n_outputs = self(image).shape[1]
        finally:
            self.network.train(modes[0][1])  # by its own method: a traced network changes its graph with the mode
            for module, training in modes:
                module.training = training
        largest = int(torch.cat([data.train.labels, data.val.labels]).max())
        if largest >= n_outputs:
            raise UserError(
                f"{data.name} has labels up to {largest}, and the network has {n_outputs} outputs. Set n_classes to "
                f"the number of classes, {max(len(data.classes), largest + 1)}."
            )


@contextlib.contextmanager
def refused_settings(key: str) -> Iterator[None]:
    """Turn the error of a part that refuses its settings into one message that names the part's configuration key."""
    try:
        yield
    except UserError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError) as error:
        raise UserError(f"{key} cannot be used: {' '.join(str(error).split())}. Change its settings.") from error
