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

from experiments.pixel_ablation_cam.kept_weights import head_of, restore, save_network, trained_head, weights_file
from xcnn.evaluation.predictions import top_shares
from xcnn.fingerprint import file_hash
from xcnn.launch import Setup, launch
from xcnn.models import weights_provenance
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary

ORIGIN = "ImageNet convolutions from a public package, classifier trained in this repository"


def measure(setup: Setup, cell: Cell) -> Measured:
    network, head, data, record = trained_head(setup)
    path = weights_file(setup)
    save_network(network, path, ORIGIN)
    kept = head_of(setup.model(weights=path, holds="network")).eval()
    values = {
        f"{name}accuracy{kind}": top_shares(one, data, part)[0]
        for name, kind, one, part in (
            ("train_", "", head, data.train),
            ("val_", "", head, data.val),
            ("", "_float32", head, data.test),
            ("", "", kept, data.test),
        )
    }
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
