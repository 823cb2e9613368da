"""Networks of torchvision and timm by name, with weights from a file; nothing is downloaded."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn

from xcnn.errors import UserError
from xcnn.models.weights import load_weights

# torchvision sets these itself, but only when it fetches the weights.
_AS_TRAINED: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "init_weights": True},
    "inception_v3": {"transform_input": True, "init_weights": True},
}


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing a network was trained with: shorter side resized, centre cropped, channels normalised.

    Args:
        mean, std: mean and standard deviation of each channel, for values in [0, 1].
        resize: length of the shorter side in pixels.
        crop: side of the central square, at most `resize`.

    Raises:
        UserError: a value out of its range.
    """

    mean: Sequence[float]
    std: Sequence[float]
    resize: int = 256
    crop: int = 224

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if len(self.mean) != 3 or len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise UserError(f"mean and std need three numbers each, std positive, not {self.mean} and {self.std}.")
        if not 0 < self.crop <= self.resize:
            raise UserError(f"crop must be in 1..resize ({self.resize}), not {self.crop}.")

    def normalise(self, images: Tensor) -> Tensor:
        """Network input of images (N, 3, H, W), floats in [0, 1]: (images - mean) / std."""
        mean, std = (images.new_tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (images - mean) / std


def backbone(name: str, n_classes: int = 1000, weights: str | Path | None = None, **options: Any) -> nn.Module:
    """A classification network in eval mode, on the CPU in float32.

    Args:
        name: torchvision's name ("resnet50", "vgg16_bn"), or "timm/" and timm's name.
        n_classes: width of the last layer.
        weights: path of a `.safetensors` file with the network's own tensor names, in any float type; None keeps the
            random initialisation.
        options: keyword arguments of the network's own builder, such as `dropout=0.0` of torchvision's VGG.

    Raises:
        UserError: an unknown name (lists near ones); no file at `weights`, or one of another network.
    """
    network = _build(name, n_classes, options)
    if weights is not None:
        target = Path(weights).stem.replace("_", "-")
        load_weights(network, weights, f"Run `make weights-{target}`, or name another file with model.weights=PATH.")
    return network.eval()


def _build(name: str, n_classes: int, options: Mapping[str, Any]) -> nn.Module:
    source, _, short = name.rpartition("/")
    if source == "timm":
        import timm  # takes seconds

        if short not in timm.list_models():
            raise _unknown(name, [f"timm/{known}" for known in timm.list_models()])
        return timm.create_model(short, pretrained=False, num_classes=n_classes, **options)
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise _unknown(name, known)
    return torchvision.models.get_model(
        name, weights=None, num_classes=n_classes, **_AS_TRAINED.get(name, {}), **options
    )


def _unknown(name: str, known: Sequence[str]) -> UserError:
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    hint = f"near ones: {', '.join(near)}" if near else "e.g. resnet50, vgg16 (torchvision) or timm/resnet50"
    return UserError(f"unknown network {name!r}; {hint}.")
