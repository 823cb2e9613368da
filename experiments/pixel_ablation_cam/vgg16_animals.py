"""Pixel Ablation-CAM: the VGG-16 that stands in where torchvision's ImageNet weights cannot be had.

Paper:      Samanta et al. 2025; table 2 uses VGG-16 with ImageNet weights.
Command:    make pixel-ablation-cam-vgg16-animals
Reports:    nothing on such a network; it gives table 2 a VGG-16 row that says what it is.
Cost:       one training of 10 epochs, 77 minutes on one core of a busy CPU (bfloat16), 3 GB; the weights' file has
            32 MB.
Deviations: VGG-16 with BatchNorm and a classifier of 512 units in place of 4096, trained from scratch on 48 animal
            classes of Tiny ImageNet (64 x 64, 500 images each): ImageNet's images have been seen by every network with
            ImageNet weights. 32 x 32 for the first 9 epochs. Kernels and matrices are kept, and measured, in float16.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from experiments.pixel_ablation_cam.kept_weights import restore, save_network, weights_file
from xcnn.data.tensors import Labelled, TensorDataModule, drawn
from xcnn.fingerprint import file_hash
from xcnn.launch import Setup, launch
from xcnn.models import Preprocessing
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary

ORIGIN = "trained in this repository"


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    run, path = setup.trained(), weights_file(setup)
    save_network(run.network, path, ORIGIN)
    kept = setup.model(weights=path)
    preprocessing = setup.preprocessing
    assert preprocessing is not None
    sample = drawn(run.data.train, min(options.train_sample, len(run.data.train)), options.seed, "train_sample")
    values = {
        **top(kept, run.data, run.data.test, preprocessing),
        **{f"train_{name}": value for name, value in top(kept, run.data, sample, preprocessing).items()},
        "accuracy_float32": top(run.network, run.data, run.data.test, preprocessing)["accuracy"],
    }
    details = {"train_sample": len(sample), "train": len(run.data.train), "file": path.name, "kept_as": "float16"}
    return replace(run, weights=file_hash(path)).measured(values, details=details)


@torch.inference_mode()
def top(network: nn.Module, data: TensorDataModule, images: Labelled, preprocessing: Preprocessing) -> dict[str, float]:
    """Share of the images whose class is the network's first choice, and among its first five."""
    hits = torch.zeros(2, dtype=torch.int64)
    for batch, labels in data.loader(images, batch_size=256):
        ranked: Tensor = network(preprocessing.normalise(batch)).topk(5).indices == labels[:, None]
        hits += torch.stack([ranked[:, :1].sum(), ranked.sum()])
    accuracy, top5 = (hits / len(images)).tolist()
    return {"accuracy": accuracy, "top5": top5}


def keep(setup: Setup) -> None:
    restore(setup, lambda: setup.trained().network, ORIGIN)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """The paper has no such network."""
    columns = [
        Column("accuracy", "test top-1"),
        Column("top5", "test top-5"),
        Column("train_accuracy", "training top-1, a sample"),
        Column("accuracy_float32", "test top-1 before rounding to float16"),
    ]
    return Summary("Pixel Ablation-CAM: the VGG-16 trained here", columns=columns, verdict="not comparable")


if __name__ == "__main__":
    launch(__file__, measure, summarise, keep)
