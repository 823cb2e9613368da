"""How well a soft decision tree does beside the network that it is distilled from, and what is drawn of it."""

from pathlib import Path

import torch
from torch import Tensor

from xcnn.data.tensors import scale
from xcnn.evaluation.subject import Subject
from xcnn.figures import Step, save_png, soft_path_figure, soft_tree_figure
from xcnn.models.soft_tree import SoftDecisionTree
from xcnn.surrogates import decisions


@torch.inference_mode()
def soft_tree_values(tree: Subject, teacher: Subject) -> dict[str, float]:
    """Accuracies in %, and how the tree decides, on all test images; the network sees the same ones.

    `accuracy` is that of the most probable leaf, `accuracy/averaged` of all leaves together, `accuracy/train` of the
    training images, `accuracy/network` the network's; `fidelity` the share of images on which tree and network agree;
    `leaves` the number of leaves that are the most probable of some image, and `certain` the mean probability of it.
    """
    network = _tree(tree)
    test = tree.data.test
    probabilities = [network.paths(part).leaves for part in _images(tree)]
    paths = torch.cat(probabilities).cpu()
    leaf = paths.argmax(1)
    distributions = network.leaves.softmax(1).cpu()
    predicted, decided = distributions.argmax(1)[leaf], decisions(teacher, teacher.data.test.images)
    return {
        "accuracy": _percent(predicted, test.labels),
        "accuracy/averaged": _percent((paths @ distributions).argmax(1), test.labels),
        "accuracy/train": _percent(decisions(tree, tree.data.train.images), tree.data.train.labels),
        "accuracy/network": _percent(decided, test.labels),
        "fidelity": _percent(predicted, decided),
        "leaves": float(len(leaf.unique())),
        "certain": float(paths.amax(1).mean()),
    }


@torch.inference_mode()
def draw_soft_tree(tree: Subject, levels: int, image: int, folder: Path, name: str) -> list[str]:
    """`<name>-tree.png`, the first levels, and `<name>-path.png`, the path of a test image; their names.

    Below the last level stand the classes of the leaves there, by how many test images come to them, to 90 %.
    """
    network, classes = _tree(tree), tree.classes
    levels = min(levels, network.depth)
    filters = network.filter_images().sum(1).cpu().numpy()
    leaf = torch.cat([network.paths(part).leaves.argmax(1) for part in _images(tree)]).cpu()
    label = network.leaves.argmax(1).cpu()[leaf]
    below = leaf // 2 ** (network.depth - levels)
    texts = [_commonest(label[below == place], classes) for place in range(2**levels)]
    figure = soft_tree_figure(list(filters[: 2**levels - 1]), texts, f"The first {levels} of {network.depth} levels")
    save_png(figure, folder / f"{name}-tree.png")
    shown = scale(tree.data.test.images[image])
    placed = shown.to(tree.device)
    nodes, end = network.path(placed)
    right = network.paths(placed[None]).right[0].tolist()
    steps = [Step(f"node {node}", filters[node], right[node]) for node in nodes]
    distribution = network.leaves[end].softmax(0).cpu().numpy()
    heading = f"Test image {image}, {classes[int(tree.data.test.labels[image])]}"
    save_png(soft_path_figure(shown.numpy(), steps, distribution, classes, heading), folder / f"{name}-path.png")
    return [f"{name}-tree.png", f"{name}-path.png"]


def _commonest(labels: Tensor, classes: object) -> str:
    """Names of the classes, the most common first, until 90 % of the labels are named; a dash for none."""
    assert isinstance(classes, tuple | list)
    counts = labels.bincount(minlength=len(classes))
    order = counts.argsort(descending=True)
    share = counts[order].cumsum(0) / max(len(labels), 1)
    named = order[: int((share < 0.9).sum()) + 1]
    between = " " if max(map(len, classes)) <= 2 else "\n"  # digits, or words
    return between.join(classes[index] for index in named.tolist()) if len(labels) else "–"


def _images(tree: Subject) -> list[Tensor]:
    return [tree.prepare(part.to(tree.device)) for part in tree.data.test.images.split(tree.batch)]


def _tree(subject: Subject) -> SoftDecisionTree:
    assert isinstance(subject.network, SoftDecisionTree)
    return subject.network


def _percent(found: Tensor, expected: Tensor) -> float:
    return 100 * float((found == expected).double().mean())
