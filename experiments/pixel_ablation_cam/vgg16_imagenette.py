"""Pixel Ablation-CAM: VGG-16 with ImageNet's convolutions, where torchvision's classifier cannot be had.

Paper:      Samanta et al. 2025; table 2 uses VGG-16 with ImageNet weights.
Command:    make pixel-ablation-cam-vgg16-imagenette
Reports:    nothing on such a network; it gives table 2 a VGG-16 whose maps at 224 px are the paper's 7 x 7.
Cost:       features of 4,500 images once, 15 minutes on one core that does nothing else (bfloat16), then a minute for
            each head; 4 GB, of the cache 226 MB; the weights' files have 55 and 29 MB.
Deviations: the convolutions come from a public package and may have been fine-tuned lightly; behind them two hidden
            layers of 512 units in place of 4096, or one linear layer on the maps' means, trained on Imagenette from
            cached features without augmentation. ImageNet weights have probably seen Imagenette's images, those of
            its validation part too. Kernels and matrices are kept, and measured, in float16.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from experiments.pixel_ablation_cam.kept_weights import restore, save_network, weights_file
from xcnn.data.tensors import Labelled, TensorDataModule
from xcnn.fingerprint import file_hash, fingerprint
from xcnn.launch import Setup, launch
from xcnn.models import weights_provenance
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary
from xcnn.report.provenance import provenance
from xcnn.training import Classifier, FeatureData, fit

ORIGIN = "ImageNet convolutions from a public package, classifier trained in this repository"


def trained_head(setup: Setup) -> tuple[nn.Module, nn.Module, FeatureData, dict[str, Any]]:
    """The network with its head trained, the head, the features that it was trained on, and the training's record."""
    options = setup.options
    torch.manual_seed(options.seed)
    network = setup.model().to(memory_format=torch.channels_last)
    data = setup.features(network, options.cam_layer)
    head = nn.Sequential(network.get_submodule("avgpool"), nn.Flatten(), network.get_submodule("classifier"))
    module = Classifier(head, setup.optimizer(), options.training.data_term, schedule=setup.schedule())
    made = {key: setup.settings[key] for key in ("model", "training", "data", "trainer", "preprocessing", "seed")}
    made |= {"features": data.manifest, "layer": options.cam_layer}
    folder = Path(options.paths.runs) / "trainings" / fingerprint(made)
    record = fit(
        module, data, folder, settings=made, provenance=provenance(),
        max_epochs=options.training.max_epochs, seed=options.seed, accelerator=options.trainer.accelerator,
        precision=options.trainer.precision, progress=options.trainer.progress, select=options.training.select,
    )  # fmt: skip
    return network.eval(), head.eval(), data, record


def measure(setup: Setup, cell: Cell) -> Measured:
    network, head, data, record = trained_head(setup)
    path = weights_file(setup)
    save_network(network, path, ORIGIN)
    values = {f"{name}accuracy": right(head, data, part) for name, part in (("train_", data.train), ("val_", data.val))}
    values["accuracy_float32"] = right(head, data, data.test)
    kept = setup.model(weights=path, holds="network")
    values["accuracy"] = right(kept.get_submodule("classifier"), data, data.test, kept.get_submodule("avgpool"))
    return Measured(
        values,
        len(data.test),
        {"name": data.name, "manifest": data.source_manifest},
        weights=file_hash(path),
        weights_provenance=weights_provenance(path),
        training=record,
        precision=setup.precision,
        details={
            "train": len(data.train),
            "held_out": len(data.val),
            "epoch": record["selected"]["epoch"],
            "file": path.name,
            "kept_as": "float16",
            "convolutions": file_hash(setup.options.model.weights),
        },
    )


@torch.inference_mode()
def right(head: nn.Module, data: TensorDataModule, part: Labelled, pool: nn.Module | None = None) -> float:
    """Share of the images whose class is the head's first choice, from their features."""
    hits = 0
    for batch, labels in data.loader(part, batch_size=256):
        features: Tensor = batch if pool is None else pool(batch).flatten(1)
        hits += int((head(features).argmax(1) == labels).sum())
    return hits / len(part)


def keep(setup: Setup) -> None:
    restore(setup, lambda: trained_head(setup)[0], ORIGIN)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    """The paper has no such network."""
    columns = [
        Column("accuracy", "validation top-1"),
        Column("val_accuracy", "held-out top-1"),
        Column("train_accuracy", "training top-1"),
        Column("accuracy_float32", "validation top-1 before rounding to float16"),
    ]
    return Summary("Pixel Ablation-CAM: VGG-16 with a head for Imagenette", columns=columns, verdict="not comparable")


if __name__ == "__main__":
    launch(__file__, measure, summarise, keep)
