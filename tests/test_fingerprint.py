"""Fingerprints see every setting and nothing else."""

from pathlib import Path

from xcnn.fingerprint import differences, file_hash, fingerprint, flatten


def test_order_does_not_matter_and_values_do() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2.0}}) == fingerprint({"b": {"c": 2.0}, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1, "b": None})
    assert fingerprint({}) == "44136fa355b3678a"  # SHA-256 of "{}"


def test_differences_name_what_changed_came_and_went() -> None:
    before = {"training": {"epochs": 50, "lr": 0.1}, "old": True}
    after = {"training": {"epochs": 2, "lr": 0.1}, "new": [1]}
    assert differences(before, after) == ["new: - -> [1]", "old: True -> -", "training.epochs: 50 -> 2"]
    assert differences(before, before) == []
    assert flatten({"a": {"b": {"c": 1}, "d": [2]}}) == {"a.b.c": 1, "a.d": [2]}


def test_file_hash(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert file_hash(tmp_path / "f") == "ba7816bf8f01cfea"
