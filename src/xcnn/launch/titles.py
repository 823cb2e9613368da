"""Titles and definitions of methods, networks and data sets, from the `titles:` of the files in `conf/`."""

import functools
from pathlib import Path

import yaml

from xcnn.errors import UserError
from xcnn.launch.compose import CONF

PARTS = {"title", "definition"}


def read_titles(conf: Path) -> dict[str, dict[str, str]]:
    """By the name that records have (`grad_cam`): its `title` and, in a line, its `definition`.

    Read as plain YAML, for all files at once, because a page names methods of many configurations.

    Raises:
        UserError: a name has other parts than these two, or two files give it different ones.
    """
    found: dict[str, dict[str, str]] = {}
    for path in sorted(conf.rglob("*.yaml")):
        for name, parts in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("titles", {}).items():
            if not (
                isinstance(parts, dict) and parts.keys() <= PARTS and all(isinstance(v, str) for v in parts.values())
            ):
                raise UserError(f"{path}: titles.{name} has a title and a definition, both text, not {parts!r}.")
            if found.setdefault(name, parts) != parts:
                raise UserError(f"{path}: titles.{name} is {parts!r}, and elsewhere {found[name]!r}; keep one of them.")
    return found


@functools.cache
def _all() -> dict[str, dict[str, str]]:
    return read_titles(CONF)


def titled(name: str) -> str:
    """`grad_cam_plus_plus` as `Grad-CAM++`, for figures; a name without a title as it is."""
    return _all().get(name, {}).get("title", name)
