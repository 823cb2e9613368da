"""Data sets as LightningDataModules; one file each."""

from xcnn.data.chosen_classes import ChosenClasses, ShapesPresence
from xcnn.data.cifar10 import CIFAR10, image_folder
from xcnn.data.concepts import ConceptSets, FolderConcepts, MarkConcepts, PartConcepts
from xcnn.data.cub200 import CUB200
from xcnn.data.imagenet import ImageNetVal
from xcnn.data.imagenette import Imagenette
from xcnn.data.mnist import MNIST
from xcnn.data.pictures import PictureBatch, PictureFiles, Pictures, PictureTensors
from xcnn.data.planted_mark import PlantedMark
from xcnn.data.rationales import Rationales
from xcnn.data.resampled import Resampled
from xcnn.data.shapes import PARTS, Shapes
from xcnn.data.stl10 import STL10
from xcnn.data.tensors import EpochOrder, Labelled, TensorDataModule, scale
from xcnn.data.tiny_imagenet import TinyImageNet

__all__ = [
    "CIFAR10",
    "CUB200",
    "MNIST",
    "PARTS",
    "STL10",
    "ChosenClasses",
    "ConceptSets",
    "EpochOrder",
    "FolderConcepts",
    "ImageNetVal",
    "Imagenette",
    "Labelled",
    "MarkConcepts",
    "PartConcepts",
    "PictureBatch",
    "PictureFiles",
    "PictureTensors",
    "Pictures",
    "PlantedMark",
    "Rationales",
    "Resampled",
    "Shapes",
    "ShapesPresence",
    "TensorDataModule",
    "TinyImageNet",
    "image_folder",
    "scale",
]
