"""Prototypes as a file: all comes back, and what is not theirs is named."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from xcnn.errors import Missing, UserError
from xcnn.prototypes import Codebook, load_codebooks, save_codebooks
from xcnn.prototypes.codebook import classes_of


def codebook(**changes: object) -> Codebook:
    known = {
        "prototypes": torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        .T.contiguous()
        .T,
        "per_class": 2,
        "method": "KMEx",
        "backbone": "0123456789abcdef",
        "options": {"block": "layer4", "normalised": False, "blocks": ["layer3", "layer4"]},
        "inertia": torch.tensor([1.5, 2.5, 3.5], dtype=torch.float64),
        "rows": torch.tensor([7, 8, 9]),
    }
    return Codebook(**(known | changes))  # type: ignore[arg-type]


def test_a_round_trip_keeps_all_of_several(tmp_path: Path) -> None:
    books = [codebook(), codebook(prototypes=torch.randn(3, 5), per_class=1, method="EncoderExplanation")]
    save_codebooks(tmp_path / "prototypes.safetensors", books)
    loaded = load_codebooks(tmp_path / "prototypes.safetensors")
    assert len(loaded) == 2
    for book, again in zip(books, loaded, strict=True):
        for name in ("prototypes", "inertia", "rows"):
            assert torch.equal(getattr(book, name), getattr(again, name))
            assert getattr(book, name).dtype == getattr(again, name).dtype
        for name in ("per_class", "method", "backbone", "options"):
            assert getattr(book, name) == getattr(again, name)
    assert loaded[0].class_of.tolist() == [0, 0, 1, 1, 2, 2] and loaded[1].class_of.tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["prototypes.safetensors"]


def test_files_that_hold_no_prototypes(tmp_path: Path) -> None:
    path = tmp_path / "prototypes.safetensors"
    with pytest.raises(Missing, match="fit and save them first"):
        load_codebooks(path)
    save_codebooks(path, [codebook()])
    whole = path.read_bytes()
    for damaged in (b"", whole[:40], whole[:-8], b"PK not this at all"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"prototypes\.safetensors is damaged"):
            load_codebooks(path)
    for about in (None, {"format": "pt"}):
        save_file({"weight": torch.ones(2)}, path, about)
        with pytest.raises(UserError, match="does not hold 'xcnn prototypes 2': name another file"):
            load_codebooks(path)
    for about in ('[{"per_class": 2}]', '[{"wrong": 2}]', "[", "7"):
        save_file({"weight": torch.ones(2)}, path, {"xcnn prototypes 2": about})
        with pytest.raises(UserError, match="is damaged"):
            load_codebooks(path)
    save_codebooks(path, [])
    with pytest.raises(UserError, match="holds no prototypes"):
        load_codebooks(path)
    with pytest.raises(UserError, match="is damaged"):
        load_codebooks(tmp_path)


def test_files_of_equal_prototypes_are_equal(tmp_path: Path) -> None:
    path = tmp_path / "prototypes.safetensors"
    written = set()
    for _ in range(16):
        save_codebooks(path, [codebook(), codebook()])
        written.add(path.read_bytes())
    assert len(written) == 1


def test_what_differs_is_said() -> None:
    book = codebook()
    options = dict(book.options)
    book.expect("KMEx", book.backbone, options, "here")
    with pytest.raises(UserError, match="here holds prototypes of KMEx, not of EncoderExplanation"):
        book.expect("EncoderExplanation", "another", {}, "here")
    with pytest.raises(UserError, match=r"another backbone \(weights 0123456789abcdef, not fedc\)"):
        book.expect("KMEx", "fedc", options, "here")
    with pytest.raises(UserError, match=r"block 'layer4', not 'layer3'; normalised False, not True: give the same"):
        book.expect("KMEx", book.backbone, options | {"block": "layer3", "normalised": True}, "here")


def test_images_of_each_class() -> None:
    labels = torch.tensor([2, 0, 1, 2, 0])
    assert [found.tolist() for found in classes_of(labels, 5, 3, 1)] == [[1, 4], [2], [0, 3]]
    assert len(classes_of(labels, 5, 3, 4, rows_each=4)) == 3
    with pytest.raises(UserError, match=r"class 3 has no images.*\(2 such of 5\)"):
        classes_of(labels, 5, 5, 1)
    with pytest.raises(UserError, match="class 1 has 4 rows for 5 prototypes"):
        classes_of(labels, 5, 3, 5, rows_each=4)
    with pytest.raises(UserError, match="labels go from 0 to 2, and the network has 2 classes"):
        classes_of(labels, 5, 2, 1)
    with pytest.raises(UserError, match="labels go from -1 to 1"):
        classes_of(labels - 1, 5, 3, 1)
    with pytest.raises(UserError, match="4 images and 5 labels"):
        classes_of(labels, 4, 3, 1)
    with pytest.raises(UserError, match="class 0 has no images"):
        classes_of(labels[:0], 0, 3, 1)
