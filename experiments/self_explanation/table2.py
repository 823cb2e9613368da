"""Post-hoc self-explanation, table 2: train and test accuracy of the network and of what explains it.

Paper:      Boubekki & Clemmensen 2026, table 2 and section 4.
Command:    make self-explanation-table2
Reports:    MNIST 99.4 % on test images for all but B234 (98.5); CUB-200: 79.1 (CNN), 78.6 (KMEx), 75.2 (B4), 52.8
            (B234), 66.4 (ProtoPNet).
Cost:       on one CPU core each of two that are busy (bfloat16): a fine-tuning of MNIST 26 minutes, of the animals 26
            to 42, of CIFAR-10 17; a ProtoPNet about as long; a cell one minute to nine; 3 GB. STL10 and CUB-200 need a
            GPU: `ARGS="sweep=cub200 trainer=gpu"`, as do five seeds and the recipe's 10 epochs of MNIST:
            `ARGS="sweep=mnist trainer=gpu training.max_epochs=10 seed=0,1,2,3,4"`.
Deviations: ResNet-34 on MNIST is trained from scratch, for want of its ImageNet weights; the animals of Tiny ImageNet
            and CIFAR-10 (JPEG) stand in for STL10 and CUB-200, with ResNet-18, whose ImageNet weights have seen the
            animals' images. Fewer epochs and seeds on a CPU: ProtoPNet's whole network gets as many epochs as the CNN,
            fewer than its schedule is made for (conf/prototypes/protopnet.yaml). The epoch is chosen on a share held
            out of the training images, which is left out of "train". B34 and KMEx with one prototype for each class
            are ours.
"""

from collections.abc import Mapping, Sequence

from xcnn.evaluation.predictions import accuracies, prediction_rows
from xcnn.evaluation.prototypes import by_network, learnt_parts, per_class, points
from xcnn.figures import part_prototypes, save_png
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Column, Measured, PaperNumber, Row, Summary

SEEN = ("animals", "tiny_imagenet", "imagenette")  # drawn from ImageNet's own images
SHOWN = 4  # classes of a ProtoPNet whose prototypes are drawn


def measure(setup: Setup, cell: Cell) -> Measured:
    subject = setup.prototyped()
    rows = prediction_rows(cell, subject, setup.options.chunk)
    details = {"train": len(subject.data.train), "held_out": len(subject.data.val)}
    files = []
    if subject.method is None:  # a ProtoPNet
        files.append(f"table2-parts-{cell.name}.png")
        save_png(part_prototypes(learnt_parts(subject, SHOWN)), cell.folder / files[0])
    return subject.measured(accuracies(rows), len(subject.data.test), details=details, files=files)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    columns = [
        Column("train", "train %", 1),
        Column("test", "test %", 1),
        Column("agrees/test", "as the CNN says, test %", 1),
        Column("tied/test", "ties, test %", 1),
    ]
    groups = by_network(rows)
    text = [
        "Right predictions in %. The network's own training images are those that were not held out to choose the "
        "epoch. A tie, several classes with as many locations, goes to the class whose prototypes are nearer.",
        *(_answers(*name, methods) for name, methods in groups.items() if "cnn" in methods),
        *_over_fits([methods for methods in groups.values() if {"cnn", "kmex"} <= methods.keys()]),
    ]
    captions = {
        file: f"{record['data']['name']}, seed {record['seed']}: prototypes of ProtoPNet for the first classes, where "
        "the last push found them; the box is the location's own share of the training image."
        for row in rows
        for record in row.records
        for file in record["files"]
    }
    return Summary("Post-hoc self-explanation, table 2: accuracy", "\n\n".join(text), columns, captions=captions)


def _answers(dataset: str, model: str, methods: Mapping[str, Row]) -> str:
    """What the numbers say of the paper's claims on one data set."""
    record = methods["cnn"].records[0]
    total = sum(record["details"].values())
    parts = [
        f"**{record['data']['name']}, {model}** ({methods['cnn'].seeds}, {record['details']['train']} of {total} "
        f"training images): the CNN has {methods['cnn'].show('test', 1)} on test images, "
        f"{methods['cnn'].show('train', 1)} on its training images."
    ]
    if dataset in SEEN and record["settings"]["model"].get("weights"):
        parts.append("Its ImageNet weights have seen these images, the test images too.")
    cnn = methods["cnn"].mean["test"]
    kmex = f"KMEx with {per_class(methods['kmex'])} prototypes for each class" if "kmex" in methods else ""
    for method, said in (
        ("kmex", f"Does k-means keep the CNN's accuracy? {kmex} differs from the CNN by"),
        ("kmex_1", "With one prototype for each class it differs by"),
        ("b4", "Does the encoder's output? B4 differs by"),
        ("b34", "Where is it lost? B34 differs by"),
        ("b234", "B234 by"),
        ("protopnet", f"What does ProtoPNet cost? {_stages(methods)}it differs by"),
        ("cnn_adam", "Without prototypes, but with its optimiser and rates, the network differs by"),
    ):
        if method in methods:
            found = methods[method].mean["test"] - cnn
            parts.append(f"{said} {points(found)} points.")
    return " ".join(parts)


def _over_fits(data_sets: Sequence[Mapping[str, Row]]) -> list[str]:
    """What KMEx loses beside how well the network fits its training images; nothing for one data set."""
    if len(data_sets) < 2:
        return []
    ordered = sorted(data_sets, key=lambda methods: -methods["cnn"].mean["train"])
    each = (
        f"{methods['cnn'].mean['train']:.1f} ({methods['cnn'].records[0]['data']['name']}): "
        f"{points(methods['kmex'].mean['test'] - methods['cnn'].mean['test'])} points"
        for methods in ordered
    )
    return [f"KMEx's difference on test images by the CNN's accuracy on its training images: {', '.join(each)}."]


def _stages(methods: Mapping[str, Row]) -> str:
    if "protopnet" not in methods:
        return ""
    stages = methods["protopnet"].records[0]["settings"]["protopnet"]["training"]
    of_the_cnn = methods["cnn"].records[0]["settings"]["training"]["max_epochs"]
    return (
        f"After {stages['warm']} epoch{'s' * (stages['warm'] > 1)} of warm-up, {stages['joint']} of the whole network "
        f"(the CNN: {of_the_cnn}) and {stages['last']} of the last layer, "
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
