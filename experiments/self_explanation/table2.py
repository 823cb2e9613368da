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
            out of the training images, which is left out of "train". The input of MNIST and CIFAR-10 is 32 px, whose
            last map is 1 x 1, of the animals 64 px, with 2 x 2. B34 and KMEx with one prototype for each class
            are ours.
"""

from collections.abc import Sequence
from typing import Literal

from experiments.self_explanation.networks import in_columns, networks_of, of_column
from xcnn.evaluation.predictions import accuracies, prediction_rows
from xcnn.evaluation.prototypes import learnt_parts
from xcnn.figures import part_prototypes, save_png
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Claim, Column, Measured, PaperNumber, Row, Summary, claim

CLASSES = 4  # of a ProtoPNet whose prototypes are drawn
PAPERS = ("cnn", "kmex", "protopnet", "b4", "b234")  # methods of the paper's table
EXPLAINED = ("kmex", "kmex_1", "b4", "b34", "b234", "protopnet", "cnn_adam")  # by their difference from the CNN


def measure(setup: Setup, cell: Cell) -> Measured:
    subject = setup.prototyped()
    rows = prediction_rows(cell, subject, setup.options.chunk)
    details = {"train": len(subject.data.train), "held_out": len(subject.data.val)}
    files = []
    if subject.method is None and setup.options.seed == 0:  # a ProtoPNet; the other seeds' parts look alike
        files.append(f"table2-parts-{cell.name}.png")
        save_png(part_prototypes(learnt_parts(subject, CLASSES)), cell.folder / files[0])
    return subject.measured(accuracies(rows), len(subject.data.test), details=details, files=files)


def summarise(rows: Sequence[Row], paper: Sequence[PaperNumber]) -> Summary:
    networks = sorted(networks_of(rows), key=lambda network: -network.mean("cnn", "train"))
    columns = in_columns(networks)
    fitting = [network for network in columns.values() if network and network.fits()]
    own = [row for network in fitting if not network.stands_in for row in network.methods.values()]
    claims: list[Claim] = []
    for network in fitting:
        numbers = of_column(paper, network)
        for method in (name for name in PAPERS if name != "cnn" and name in network.methods):
            # In another data set's column only the loss is the paper's, not its size.
            says: Literal["lower"] | list[PaperNumber] = (
                "lower" if network.stands_in and method in ("b234", "protopnet") else numbers
            )
            chosen = list(network.methods.values())
            claims.append(claim(chosen, "test", method, "cnn", says, network.dataset, network.model, "%"))
    apart = [
        {
            method: claim(list(network.methods.values()), "test", method, "cnn", "lower", unit="%").difference
            for method in EXPLAINED
            if method in network.methods and "cnn" in network.methods
        }
        for network in networks
    ]
    lost = [kmex.value for each in apart if (kmex := each.get("kmex"))]
    return Summary(
        "Post-hoc self-explanation, table 2: accuracy",
        columns=[
            Column("train", "train %", 1),
            Column("test", "test %", 1),
            Column("agrees/test", "as the CNN says, test %", 1),
            Column("tied/test", "ties, test %", 1),
        ],
        claims=claims,
        comparable=bool(fitting),
        counts=lambda comparison: any(comparison.row is row for row in own),
        facts={
            "networks": list(zip(networks, apart, strict=True)),
            "columns": columns,
            "fitting": fitting,
            "methods": PAPERS,
            "others": [row for row in rows if all(row is not each for n in networks for each in n.methods.values())],
            "explained": EXPLAINED,
            "falls_with_fit": len(lost) > 1 and lost == sorted(lost, reverse=True),
        },
    )


if __name__ == "__main__":
    launch(__file__, measure, summarise)
