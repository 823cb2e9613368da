"""Post-hoc self-explanation, table 2: train and test accuracy of the network and of what explains it.

Paper:      Boubekki & Clemmensen 2026, table 2 and section 4.
Command:    make self-explanation-table2
Reports:    MNIST 99.4 % on test images for all but B234 (98.5); CUB-200: 79.1 (CNN), 78.6 (KMEx), 75.2 (B4), 52.8
            (B234), 66.4 (ProtoPNet).
Cost:       on one CPU core each of two that are busy (bfloat16): a fine-tuning of MNIST 26 minutes, of the animals 26
            to 42, of CIFAR-10 17; a ProtoPNet about as long; a cell one minute to nine; 3 GB. A classifier on the
            features of CUB's 100 classes (sweep `cub200_100_head`) takes 2 minutes, a cell 3; 5 GB. To fine-tune on
            STL10 and CUB-200 needs a GPU: `ARGS="sweep=cub200 trainer=gpu"`, as do the recipe's 10 epochs of MNIST:
            `ARGS="sweep=mnist trainer=gpu training.max_epochs=10"`.
Deviations: ResNet-34 on MNIST is trained from scratch, for want of its ImageNet weights. All other networks but that of
            shapes are ResNet-18 with ImageNet weights, which have seen the animals' images and Imagenette's. Imagenette
            stands in for STL10; of CUB-200 there are 100 classes, on which the network keeps its ImageNet weights and
            has a classifier without a bias trained on its features. The animals of Tiny ImageNet and CIFAR-10 (JPEG)
            are ours. Fewer epochs and seeds on a CPU: ProtoPNet's whole network gets as many epochs as the CNN, fewer
            than its schedule is made for (conf/prototypes/protopnet.yaml). The epoch is chosen on a share held out of
            the training images, which is left out of "train". The input of MNIST and CIFAR-10 is 32 px, whose last map
            is 1 x 1, of the animals 64 px, with 2 x 2. B34 and KMEx with one prototype for each class are ours.
"""

from experiments.self_explanation.table2_page import summarise
from xcnn.evaluation.predictions import accuracies, prediction_rows
from xcnn.evaluation.prototypes import learnt_parts
from xcnn.figures import part_prototypes, save_png
from xcnn.launch import Setup, launch
from xcnn.report import Cell, Measured

CLASSES = 4  # of a ProtoPNet whose prototypes are drawn


def measure(setup: Setup, cell: Cell) -> Measured:
    subject = setup.prototyped()
    rows = prediction_rows(cell, subject, setup.options.chunk)
    details = {"train": len(subject.data.train), "held_out": len(subject.data.val)}
    files = []
    if subject.method is None and setup.options.seed == 0:  # a ProtoPNet; the other seeds' parts look alike
        files.append(f"table2-parts-{cell.name}.png")
        save_png(part_prototypes(learnt_parts(subject, CLASSES)), cell.folder / files[0])
    return subject.measured(accuracies(rows), len(subject.data.test), details=details, files=files)


if __name__ == "__main__":
    launch(__file__, measure, summarise)
