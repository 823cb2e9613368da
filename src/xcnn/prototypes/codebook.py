"""Prototypes as data: what is kept of them in a file, and whose they are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from xcnn.errors import Missing, UserError
from xcnn.files import atomic

FORMAT = "xcnn prototypes 2"  # the one key of the header: of several, the order would differ from file to file


@dataclass(frozen=True)
class Codebook:
    """Prototypes, class by class, and what they were made with.

    Args:
        prototypes: (K, D), those of class 0 first, as many for each class.
        per_class: K/C.
        method: the name of the class that fitted them.
        backbone: hash of the network's weights.
        options: the method's own, and the blocks; plain values.
        inertia: per class (C,), float64: the sum of squared distances of its rows to their prototypes.
        rows: per class (C,) int64: how many rows that was.
    """

    prototypes: Tensor
    per_class: int
    method: str
    backbone: str
    options: Mapping[str, Any]
    inertia: Tensor
    rows: Tensor

    @property
    def class_of(self) -> Tensor:
        """(K,) int64: the class of each prototype."""
        return torch.arange(len(self.prototypes), device=self.prototypes.device) // self.per_class

    def expect(self, method: str, backbone: str, options: Mapping[str, Any], where: str) -> None:
        """Raises UserError if these are not the prototypes of this method, backbone and options (says what differs)."""
        if self.method != method:
            raise UserError(f"{where} holds prototypes of {self.method}, not of {method}: load them with that.")
        self.expect_backbone(backbone, where)
        wrong = [
            f"{key} {self.options.get(key)!r}, not {value!r}"
            for key, value in options.items()
            if self.options.get(key) != value
        ]
        if wrong:
            raise UserError(f"{where} holds prototypes made with {'; '.join(wrong)}: give the same, or fit anew.")

    def expect_backbone(self, backbone: str, where: str) -> None:
        """Raises UserError if these are the prototypes of a network with other weights."""
        if self.backbone != backbone:
            raise UserError(
                f"{where} holds the prototypes of another backbone (weights {self.backbone}, not {backbone}): fit them "
                "anew for this network, or load the network that they belong to."
            )


def save_codebooks(path: str | Path, codebooks: Sequence[Codebook]) -> None:
    """Write codebooks to one `.safetensors` file, atomically; nothing is pickled."""
    tensors, about = {}, []
    for place, book in enumerate(codebooks):
        about.append(
            {
                "per_class": book.per_class,
                "method": book.method,
                "backbone": book.backbone,
                "options": dict(book.options),
            }
        )
        for name in ("prototypes", "inertia", "rows"):
            tensors[f"{place}.{name}"] = getattr(book, name).detach().cpu().contiguous()
    with atomic(path, "wb") as stream:
        stream.write(save(tensors, {FORMAT: json.dumps(about, sort_keys=True)}))


def load_codebooks(path: str | Path, device: torch.device | str = "cpu") -> list[Codebook]:
    """The codebooks of a file of `save_codebooks`, their prototypes on `device`.

    Raises:
        Missing: there is no such file.
        UserError: it is damaged, or holds something else.
    """
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping: it cannot be iterated
    except FileNotFoundError as error:
        raise Missing(f"no prototypes at {path}: fit and save them first.") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}). Delete it and fit the prototypes again.") from error
    if FORMAT not in about:
        raise UserError(f"{path} does not hold {FORMAT!r}: name another file, or fit the prototypes again.")
    try:
        books = [
            Codebook(
                tensors[f"{place}.prototypes"].to(device),
                inertia=tensors[f"{place}.inertia"],
                rows=tensors[f"{place}.rows"],
                **known,
            )
            for place, known in enumerate(json.loads(about[FORMAT]))
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error!r}). Delete it and fit the prototypes again.") from error
    if not books:
        raise UserError(f"{path} holds no prototypes. Delete it and fit them again.")
    return books


def classes_of(labels: Tensor, n_images: int, n_classes: int, per_class: int, rows_each: int = 1) -> list[Tensor]:
    """The images of each class, as indices.

    Args:
        labels: (n_images,), in 0..n_classes - 1.
        rows_each: rows that an image gives to be clustered.

    Raises:
        UserError: labels that are not one for each image or not of a class; a class without images, or with fewer
            rows than prototypes (named).
    """
    if labels.shape != (n_images,):
        raise UserError(f"{n_images} images and {'x'.join(map(str, labels.shape))} labels: give one for each image.")
    found = [(labels == j).nonzero()[:, 0] for j in range(n_classes)]
    if len(labels) and (int(labels.max()) >= n_classes or int(labels.min()) < 0):
        raise UserError(
            f"labels go from {int(labels.min())} to {int(labels.max())}, and the network has {n_classes} classes."
        )
    empty = [j for j, indices in enumerate(found) if not len(indices)]
    if empty:
        raise UserError(
            f"class {empty[0]} has no images, so it can have no prototypes ({len(empty)} such of {n_classes}): fit on "
            "images of every class."
        )
    few = [j for j, indices in enumerate(found) if len(indices) * rows_each < per_class]
    if few:
        raise UserError(
            f"class {few[0]} has {len(found[few[0]]) * rows_each} rows for {per_class} prototypes: lower per_class or "
            "fit on more images."
        )
    return found


def fitted(codebook: Codebook | None) -> Codebook:
    """The codebook, if there is one.

    Raises:
        UserError: nothing was fitted or loaded yet.
    """
    if codebook is None:
        raise UserError("there are no prototypes yet: call fit(images, labels) or load(path) first.")
    return codebook
