"""What ablations at earlier layers cost, by incremental inference and by running the head on each of them.

    make bench-incremental-inference

One image of 224 x 224 in float32 on one thread. The costs of all ablations follow from a part of them: seconds of the
values without a change, and for each ablation; both over those of a plain forward pass in the same run, in seconds of
the process, which other processes hardly disturb. The locations are some neighbouring rows in the middle of the maps,
whose changes meet the border least; the channels are the first ones. Memory is the peak of all tensors made, over a
pass's. At most 8 passes are aimed at for the locations of ResNet-50's `layer3`, 60 for `layer2`, 40 for the channels of
`layer3`; and 8 times the memory of a pass.

The costs at `layer2` and of the channels are out of reach of what is exact. In the last two blocks of `layer4` nearly
every such change has spread over all 7 x 7 places and 2048 channels: 437 million products an ablation, 281 million with
the 3 x 3 convolutions by Winograd's transform, against 4.1 billion of a pass. So these two blocks alone take 54 passes
for the 784 locations of `layer2` and 70 for the 1024 channels of `layer3`, before the blocks on the way to them. To
keep the transformed filters of those two from chunk to chunk would save an eighth of the cost at `layer2`, for 9 times
a pass's memory.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from pytorch_grad_cam import AblationCAM as GradCamsAblationCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchvision.transforms.functional import center_crop, normalize, resize, to_tensor

from xcnn.metrics.cost import forward_pass, peak_bytes
from xcnn.models import split_at
from xcnn.models.graph import Change, Incremental, channel_change, patch_change
from xcnn.models.weights import load_weights

LAYERS = [
    ("resnet50", "layer3"),
    ("resnet50", "layer2"),
    ("vgg16", "features.23"),
    ("densenet121", "features.transition3"),
    ("densenet121", "features.transition2"),
]
Ablations = Callable[[slice], Change]
SHARE = 0.05  # of the channels, which grad-cam ablates; its costs follow from those


def seconds(function: Callable[[], Any]) -> float:
    """Seconds that the process computes."""
    started = time.process_time()
    function()
    return time.process_time() - started


def ablations(features: Tensor, kind: str, count: int) -> tuple[int, int, Ablations]:
    """Number of all ablations, that of those measured, and these."""
    channels, (height, width) = features.shape[1], features.shape[2:]
    image = torch.zeros(count, dtype=torch.long)
    if kind == "channels":
        count = min(count, channels)
        which = torch.arange(count)
        return channels, count, lambda part: channel_change(features, image[: len(which[part])], which[part])
    count = min(count, height * width)
    start = max(0, height // 2 * width - count // 2)
    place = torch.arange(start, start + count)
    zeros = features.new_zeros(1, channels, 1, 1)

    def locations(part: slice) -> Change:
        some = place[part]
        new = zeros.expand(len(some), -1, -1, -1)
        return patch_change(features, image[: len(some)], some // width, some % width, new)

    return height * width, count, locations


def measure(name: str, network: nn.Module, layer: str, image: Tensor, count: int, brute: int) -> None:
    """Print the costs of all locations and channels of a layer over those of a forward pass."""
    forward = forward_pass(network, image)
    forward()
    one, memory = min(seconds(forward) for _ in range(3)), peak_bytes(forward)
    split = split_at(network, layer)
    with torch.no_grad():
        features = split.trunk(image)
        some = features.expand(brute, -1, -1, -1).clone()
        head = seconds(partial(split.head, some)) / brute
    incremental = Incremental(split.network, split.cut)
    before = seconds(partial(incremental.base, features))
    for kind in ("locations", "channels"):
        total, measured, change = ablations(features, kind, count)
        each = seconds(partial(incremental.base(features).deltas, measured, change)) / measured
        peak = peak_bytes(partial(_all, incremental, features, measured, change))
        print(
            f"{name} {layer}, {total} {kind}: {1 + (before + total * each) / one:.1f} passes and {peak / memory:.1f} "
            f"times the memory; the head on each: {1 + total * head / one:.0f} passes",
            flush=True,
        )
    if name == "resnet50":
        cam = GradCamsAblationCAM(network, [network.get_submodule(layer)], ratio_channels_to_ablate=SHARE)
        cam.batch_size = brute
        theirs = seconds(partial(cam, image, [ClassifierOutputTarget(0)]))
        print(f"grad-cam's AblationCAM at {layer}: {theirs / one / SHARE:.0f} passes", flush=True)


def _all(incremental: Incremental, features: Tensor, measured: int, change: Ablations) -> Tensor:
    return incremental.base(features).deltas(measured, change)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="weights of ResNet-50 (.safetensors)")
    parser.add_argument("--image", type=Path, help="a picture; noise without")
    parser.add_argument("--count", type=int, default=196, help="ablations measured of each kind")
    parser.add_argument("--brute", type=int, default=16, help="ablations that the head runs on")
    parser.add_argument("--layers", nargs="*", help="network:layer; all without")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    image = torch.randn(1, 3, 224, 224)
    if arguments.image:
        with Image.open(arguments.image) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        image = center_crop(resize(to_tensor(pixels), 256), 224)  # type: ignore[arg-type]
        image = normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])[None]
    for name, layer in LAYERS:
        if arguments.layers and f"{name}:{layer}" not in arguments.layers:
            continue
        network = getattr(torchvision.models, name)().eval()
        if name == "resnet50" and arguments.weights:
            load_weights(network, arguments.weights)
        measure(name, network, layer, image, arguments.count, arguments.brute)


if __name__ == "__main__":
    main()
