"""Titles of everything that a page can name."""

from pathlib import Path

import pytest
import yaml

from xcnn.errors import UserError
from xcnn.launch.compose import CONF
from xcnn.launch.titles import read_titles, titled


def test_titles_of_all_files_together(tmp_path: Path) -> None:
    (tmp_path / "attribution").mkdir()
    (tmp_path / "attribution/a.yaml").write_text("method: a\ntitles:\n  a: {title: A, definition: the first}\n")
    (tmp_path / "attribution/b.yaml").write_text("# nothing\n")
    (tmp_path / "c.yaml").write_text("titles:\n  a: {title: A, definition: the first}\n  c: {title: C}\n")
    assert read_titles(tmp_path) == {"a": {"title": "A", "definition": "the first"}, "c": {"title": "C"}}


@pytest.mark.parametrize("parts", ["A", "{titel: A}", "{title: 3}"])
def test_titles_of_another_form(tmp_path: Path, parts: str) -> None:
    (tmp_path / "a.yaml").write_text(f"titles:\n  a: {parts}\n")
    with pytest.raises(UserError, match=r"a\.yaml: titles\.a has a title and a definition"):
        read_titles(tmp_path)


def test_two_titles_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("titles:\n  a: {title: A}\n")
    (tmp_path / "b.yaml").write_text("titles:\n  a: {title: B}\n")
    with pytest.raises(UserError, match=r"b\.yaml: titles\.a is .*'B'.*elsewhere .*'A'"):
        read_titles(tmp_path)


@pytest.mark.parametrize(
    ("group", "key"),
    [
        ("attribution", "method"),
        ("prototypes", "method"),
        ("penalty", "method"),
        ("model", "network"),
        ("data", "dataset"),
    ],
)
def test_every_configuration_has_a_definition(group: str, key: str) -> None:
    titles = read_titles(CONF)
    for path in sorted((CONF / group).glob("*.yaml")):
        name = yaml.safe_load(path.read_text()).get(key)
        if name is not None and "${" not in name:
            assert titles[name].keys() == {"title", "definition"}, path


def test_titled() -> None:
    assert titled("grad_cam_plus_plus") == "Grad-CAM++"
    assert titled("no_such_method") == "no_such_method"
