"""What the loss of DeConvolve costs: a training step of the 3-conv network with it, without it, and formed naively.

    make bench-training-step

A step is `Classifier.training_step`, backward and Adam, on 64 images of 32 x 32 (section 4.1). The naive form is eq. 1
written out in autograd operations, map by map in memory; it has the same value and the same gradient. The three take
turns, so that a change in the machine's load meets all of them; times are medians. In float32 the step with the loss is
to cost at most 1.5 times the one without.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from xcnn.models import conv3
from xcnn.training import Classifier, ConcisePenalty

LAYERS = ("relu1", "relu2", "relu3")


class NaivePenalty(ConcisePenalty):
    """Eq. 1 operation by operation, straight through the mask."""

    def forward(self, maps: list[Tensor], epoch: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
        areas, dispersions = zip(*(self._terms(activations) for activations in maps), strict=True)
        area, dispersion = torch.stack(areas).mean(), torch.stack(dispersions).mean()
        parts = {"area": area.detach(), "dispersion": dispersion.detach()}
        return self.alpha * area + self.beta * dispersion, parts

    def _terms(self, activations: Tensor) -> tuple[Tensor, Tensor]:
        maps = activations.float()
        height, width = maps.shape[2:]
        peak = maps.amax((2, 3), keepdim=True)
        relative = maps / torch.where(peak > 0, peak, 1)
        hard = (maps > self.threshold * peak).float()
        soft = ((relative - self.threshold) / self.temperature).sigmoid()
        mask = torch.where(peak > 0, hard + soft - soft.detach(), 0)
        y = ((torch.arange(height) + 0.5) / height)[:, None]
        x = (torch.arange(width) + 0.5) / width
        mass = mask.sum((2, 3), keepdim=True).clamp(min=1)
        mean_y = (mask * y).sum((2, 3), keepdim=True) / mass
        mean_x = (mask * x).sum((2, 3), keepdim=True) / mass
        distance = (y - mean_y).square() + (x - mean_x).square()
        variance = (mask * distance).sum((2, 3), keepdim=True) / mass
        return mask.mean((2, 3)).mean(), variance.clamp(min=1e-9).sqrt().mean()


def steps(bfloat16: bool, images: Tensor, labels: Tensor) -> dict[str, Callable[[], Tensor]]:
    """A step of each variant, all from the same weights, each returning its loss."""
    adam = functools.partial(torch.optim.Adam, lr=1e-3)
    variants = {"without": None, "with": ConcisePenalty(), "naive": NaivePenalty()}

    def variant(penalty: ConcisePenalty | None) -> Callable[[], Tensor]:
        torch.manual_seed(0)
        classifier = Classifier(conv3(), adam, penalty=penalty, layers=LAYERS, channels_last=bfloat16)
        for log in ("log", "log_dict"):  # they need a trainer
            setattr(classifier, log, lambda *_, **__: None)
        optimiser = classifier.configure_optimizers()

        def step() -> Tensor:
            optimiser.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = classifier.training_step((images, labels), 0)
            loss.backward()
            optimiser.step()
            return loss.detach()

        return step

    return {name: variant(penalty) for name, penalty in variants.items()}


def milliseconds(variants: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, float]:
    """Median time of a step of each, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, step in variants.items():
            start = time.perf_counter()
            step()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=50, help="steps of each variant (default: %(default)s)")
    options = parser.parse_args()
    torch.manual_seed(0)
    images, labels = torch.rand(64, 3, 32, 32), torch.randint(0, 10, (64,))
    lines = []
    for bfloat16, name in ((False, "float32"), (True, "bfloat16, channels_last")):
        variants = steps(bfloat16, images, labels)
        losses = {variant: [float(step()) for _ in range(3)] for variant, step in variants.items()}  # and the warm-up
        error = max(abs(a - b) for a, b in zip(losses["with"], losses["naive"], strict=True))
        found = milliseconds(variants, options.repeats)
        cells = [f"{ms:7.1f} ms {ms / found['without']:5.2f} x" for ms in found.values()]
        lines.append(f"{name:24}{'  '.join(cells)}  {error:.0e}")
    print(f"{'':24}{'without':>18}  {'with':>18}  {'naive':>18}  largest difference of the losses, 3 steps")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
