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

from torch import nn

from experiments.pixel_ablation_cam.kept_weights import restore, save_network, weights_file
from xcnn.data.tensors import Labelled, drawn
from xcnn.evaluation.predictions import top_shares
from xcnn.fingerprint import file_hash
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary

ORIGIN = "trained in this repository"


def measure(setup: Setup, cell: Cell) -> Measured:
    options = setup.options
    run, path = setup.trained(), weights_file(setup)
    save_network(run.network, path, ORIGIN)
    kept = setup.model(weights=path)
    sample = drawn(run.data.train, min(options.train_sample, len(run.data.train)), options.seed, "train_sample")

    def top(network: nn.Module, images: Labelled) -> list[float]:
        return top_shares(lambda batch: network(run.normalise(batch)), run.data, images, (1, 5))

    values = dict(zip(("accuracy", "top5"), top(kept, run.data.test), strict=True))
    values |= dict(zip(("train_accuracy", "train_top5"), top(kept, sample), strict=True))
    values["accuracy_float32"] = top(run.network, run.data.test)[0]
    details = {"train_sample": len(sample), "train": len(run.data.train), "file": path.name, "kept_as": "float16"}
    return replace(run, weights=file_hash(path)).measured(values, details=details)


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
