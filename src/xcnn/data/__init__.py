"""Data sets as LightningDataModules; one file each."""

from xcnn.data.cifar10 import CIFAR10, image_folder
from xcnn.data.mnist import MNIST
from xcnn.data.shapes import PARTS, Shapes
from xcnn.data.tensors import EpochOrder, Labelled, TensorDataModule, scale
from xcnn.data.tiny_imagenet import TinyImageNet

__all__ = [
    "CIFAR10",
    "MNIST",
    "PARTS",
    "EpochOrder",
    "Labelled",
    "Shapes",
    "TensorDataModule",
    "TinyImageNet",
    "image_folder",
    "scale",
]
